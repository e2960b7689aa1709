use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use eim::command::Command as Order;
use pki::issue::{CertificateTemplate, Credential};
use pki::{Certificate, Curve, FileKeyStore, KeyName, PrivateKey, UnixTime};
use rsp::der::Element;
use rsp::ids::Eid;
use rsp::sgp32::{EimConfigurationData, EimId};
use serde_json::json;

use super::shared::{ChangeArgs, DataFolder, list, number, text, time};
use super::{Ending, usage};
use crate::adapters::{SystemClock, SystemEntropy, create_private_directory};
use crate::config::{self, File};
use crate::control::NotRunning;
use crate::output::{self, Fields, Format, Table};
use crate::{serve, trust};

/// Set up this eIM, say what devices need to know of it, and manage the eIMs on devices.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  palisade eim init --data eim --pki pki --eim-id eim.example.com --fqdn eim.example.com:8443
  palisade eim association-data --data eim --out association.der
  palisade eim list 89049032123451234512345678901235 --refresh --wait";

#[derive(Debug, clap::Subcommand)]
enum Command {
    Init(InitArgs),
    AssociationData(AssociationArgs),
    /// Say how the running eIM is.
    Status {
        #[command(flatten)]
        data: DataFolder,
    },
    /// List the eIMs that a device is associated with, as its eUICC last said.
    #[command(
        after_help = "Examples:\n  palisade eim list <EID>\n  palisade eim list <EID> --refresh --wait"
    )]
    List {
        /// The device.
        eid: Eid,
        /// Ask the eUICC first (listEim).
        #[arg(long)]
        refresh: bool,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Associate a further eIM with a device (addEim).
    #[command(
        after_help = "Examples:\n  palisade eim add <EID> --configuration other-eim.der --wait"
    )]
    Add {
        /// The device.
        eid: Eid,
        #[command(flatten)]
        configuration: Configuration,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Replace what a device knows about an eIM, for example its keys (updateEim).
    #[command(
        after_help = "Examples:\n  palisade eim update <EID> --configuration new-keys.der --wait"
    )]
    Update {
        /// The device.
        eid: Eid,
        #[command(flatten)]
        configuration: Configuration,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Remove an eIM from a device (deleteEim).
    ///
    /// Removing the last one leaves the eUICC to whoever reaches its IPA first.
    #[command(
        after_help = "Examples:\n  palisade eim delete <EID> --eim-id other.example.com --wait"
    )]
    Delete {
        /// The device.
        eid: Eid,
        /// The name of the eIM to remove.
        #[arg(long)]
        eim_id: EimId,
        #[command(flatten)]
        change: ChangeArgs,
    },
}

/// Make the data folder of an eIM: configuration, keys, trust.
///
/// With --pki, keys and certificates come from a folder that `palisade pki new` made, and its CI is trusted. Without, a
/// signing key and a self-signed TLS certificate are made, which is all that devices need as they pin the key; the CI
/// certificates of the eUICCs then have to be put into trust/euicc. Nothing that is there is replaced.
#[derive(Debug, clap::Args)]
#[command(after_help = INIT_AFTER_HELP)]
struct InitArgs {
    #[command(flatten)]
    data: DataFolder,
    /// eimId: the name that eUICCs know the eIM by [default: that of the certificate in --pki, else the host of --fqdn].
    #[arg(long)]
    eim_id: Option<String>,
    /// Host name, with a port unless it is 443, under which devices reach ESipa.
    #[arg(long, value_name = "HOST[:PORT]")]
    fqdn: String,
    /// Folder that `palisade pki new` made.
    #[arg(long, value_name = "FOLDER", env = "PALISADE_PKI")]
    pki: Option<PathBuf>,
}

const INIT_AFTER_HELP: &str = "\
Examples:
  palisade eim init --data eim --pki pki --fqdn localhost:8443
  palisade eim init --data /var/lib/palisade --eim-id eim.example.com --fqdn eim.example.com";

/// Print what a device's AddInitialEim needs: the eIM Configuration Data of this eIM.
///
/// Put it into devices at the factory, or give it to `palisade ipa add-initial-eim`. It holds no secret, but whoever can
/// exchange it takes the devices: carry it on a way that keeps it whole.
#[derive(Debug, clap::Args)]
#[command(after_help = ASSOCIATION_AFTER_HELP)]
struct AssociationArgs {
    #[command(flatten)]
    data: DataFolder,
    /// Print DER in hexadecimal (as without any of these).
    #[arg(long, conflicts_with_all = ["json", "out"])]
    hex: bool,
    /// Print JSON with the members explained.
    #[arg(long, conflicts_with = "out")]
    json: bool,
    /// Write DER to a file.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

const ASSOCIATION_AFTER_HELP: &str = "\
Examples:
  palisade eim association-data --data eim --out association.der
  palisade eim association-data --data eim --hex | palisade decode - --as EimConfigurationData";

#[derive(Debug, clap::Args)]
struct Configuration {
    /// eIM Configuration Data: a file with DER or hexadecimal, or hexadecimal itself.
    #[arg(long, value_name = "FILE|HEX")]
    configuration: String,
}

impl Configuration {
    fn read(&self) -> anyhow::Result<EimConfigurationData> {
        read_configuration(&self.configuration)
    }
}

/// eIM Configuration Data from a file or as hexadecimal.
pub(crate) fn read_configuration(given: &str) -> anyhow::Result<EimConfigurationData> {
    let path = Path::new(given);
    let octets = match path.is_file() {
        true => fs::read(path).with_context(|| format!("{given} cannot be read"))?,
        false => given.as_bytes().to_vec(),
    };
    let octets = rsp::dump::parse_input(&octets)?;
    EimConfigurationData::from_der(&octets).with_context(|| {
        format!("{given} is neither a file with eIM Configuration Data nor its hexadecimal; `palisade eim association-data` makes such")
    })
}

pub(crate) fn run(args: Args, format: Format) -> anyhow::Result<Ending> {
    match args.command {
        Command::Init(args) => init(&args, format),
        Command::AssociationData(args) => association_data(&args),
        Command::Status { data } => status(&data, format),
        Command::List {
            eid,
            refresh,
            change,
        } => list_eims(eid, refresh, &change, format),
        Command::Add {
            eid,
            configuration,
            change,
        } => {
            let order = Order::AddEim {
                configuration: configuration.read()?,
            };
            change.propose(eid, &[order], format)
        }
        Command::Update {
            eid,
            configuration,
            change,
        } => {
            let order = Order::UpdateEim {
                configuration: configuration.read()?,
            };
            change.propose(eid, &[order], format)
        }
        Command::Delete {
            eid,
            eim_id,
            change,
        } => change.propose(eid, &[Order::DeleteEim { eim_id }], format),
    }
}

fn init(args: &InitArgs, format: Format) -> anyhow::Result<Ending> {
    let data = args.data.path();
    config::check_host(&args.fqdn)
        .map_err(|error| usage(format!("--fqdn {:?}: {error}", args.fqdn)))?;
    let config_path = data.join(config::FILE_NAME);
    if config_path.exists() {
        bail!(
            "{} is there already; change it, or choose another --data",
            config_path.display()
        );
    }
    let host = args.fqdn.split(':').next().unwrap_or_default();
    let material = match &args.pki {
        Some(pki) => Material::of_pki(pki)?,
        None => Material::new_self_signed(host)?,
    };
    let eim_id = match (&args.eim_id, &material.certified_eim_id) {
        (Some(id), _) => id.clone(),
        (None, Some(certified)) => certified.clone(),
        (None, None) => host.to_owned(),
    };
    config::check_eim_id(&eim_id).map_err(|error| usage(format!("{error:#}")))?;
    if !material
        .tls
        .certificate
        .dns_names()
        .iter()
        .any(|name| name.eq_ignore_ascii_case(host))
    {
        output::note(&format!(
            "note: the TLS certificate is not for {host}; devices that pin its key, as they are told to, do not mind"
        ));
    }

    create_private_directory(data)?;
    crate::adapters::is_private_directory(data)?;
    let trust_folders = [data.join("trust/euicc"), data.join("trust/smdp")];
    for folder in &trust_folders {
        create_private_directory(folder)?;
    }
    let keys = FileKeyStore::open(data.join("keys"))?;
    keys.import(&KeyName::new("eim-signing")?, &material.signing)
        .context("the signing key cannot be stored")?;
    keys.import(&KeyName::new("eim-tls")?, &material.tls.key)
        .context("the TLS key cannot be stored")?;
    write(
        &data.join("eim-tls.pem"),
        material.tls.certificate.to_pem()?.as_bytes(),
    )?;
    for (name, octets) in &material.trust {
        write(&data.join("trust").join(name), octets)?;
    }
    write(
        &config_path,
        configuration_text(&eim_id, &args.fqdn).as_bytes(),
    )?;

    let advice = match material.trust.is_empty() {
        true => format!(
            "Put the CI certificates of your eUICCs (*.der or *.pem, with their *.crl) into {}\nand the roots of your SM-DP+s' TLS certificates into {}, then start it:\n",
            trust_folders[0].display(),
            trust_folders[1].display(),
        ),
        false => "Start it:\n".to_owned(),
    };
    match format {
        Format::Json => output::print_json(&json!({
            "data": data,
            "eim_id": eim_id,
            "fqdn": args.fqdn,
            "configuration": config_path,
        }))?,
        Format::Table => output::print(&format!(
            "{}\n{advice}  palisade serve --data {}\n",
            Fields::default()
                .add("eimId", &eim_id)
                .add("fqdn", &args.fqdn)
                .add("configuration", config_path.display().to_string())
                .add("keys", data.join("keys").display().to_string())
                .to_text(),
            data.display(),
        ))?,
    }
    Ok(Ending::Done)
}

/// Keys and certificates of a new eIM.
struct Material {
    signing: PrivateKey,
    tls: Credential,
    /// The eimId in the signing certificate.
    certified_eim_id: Option<String>,
    /// Files below `trust`.
    trust: Vec<(&'static str, Vec<u8>)>,
}

impl Material {
    fn of_pki(folder: &Path) -> anyhow::Result<Self> {
        let load = |name| {
            Credential::load(folder, name).with_context(|| {
                format!(
                    "{} is not a folder that `palisade pki new` made",
                    folder.display()
                )
            })
        };
        let signing = load("eim-signing")?;
        let certificate = |name: &str| -> anyhow::Result<Vec<u8>> {
            Ok(trust::read_certificate(&folder.join(name))?.der().to_vec())
        };
        Ok(Self {
            certified_eim_id: signing.certificate.common_name().map(str::to_owned),
            signing: signing.key,
            tls: load("eim-tls")?,
            trust: vec![
                ("euicc/ci.der", certificate("ci.der")?),
                (
                    "euicc/ci.crl",
                    trust::read_crl(&folder.join("ci.crl"))?.der().to_vec(),
                ),
                ("smdp/tls-ca.der", certificate("tls-ca.der")?),
            ],
        })
    }

    fn new_self_signed(host: &str) -> anyhow::Result<Self> {
        const DAYS: i64 = 3650;
        let mut entropy = SystemEntropy;
        let key = PrivateKey::generate(Curve::P256, &mut entropy)?;
        let now = SystemClock.unix_time();
        let midnight = UnixTime(now.0.div_euclid(86_400) * 86_400);
        let certificate: Certificate = CertificateTemplate::eim_tls("XX", &[host.to_owned()], None)
            .valid(midnight, midnight.plus_days(DAYS))
            .random_serial(&mut entropy)
            .self_sign(&key)
            .context("the TLS certificate could not be made")?;
        Ok(Self {
            signing: PrivateKey::generate(Curve::P256, &mut entropy)?,
            tls: Credential { certificate, key },
            certified_eim_id: None,
            trust: Vec::new(),
        })
    }
}

/// Names and nothing else: everything else has a default that the example explains.
fn configuration_text(eim_id: &str, fqdn: &str) -> String {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    format!(
        "# Made by `palisade eim init`. `palisade config example` shows every setting.\n\n[eim]\nid = {}\nfqdn = {}\n",
        quoted(eim_id),
        quoted(fqdn)
    )
}

fn write(path: &Path, octets: &[u8]) -> anyhow::Result<()> {
    use std::io::Write;
    let file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path);
    file.and_then(|mut file| file.write_all(octets).and_then(|()| file.sync_all()))
        .with_context(|| format!("{} cannot be written", path.display()))
}

fn association_data(args: &AssociationArgs) -> anyhow::Result<Ending> {
    let data = args.data.existing()?;
    let answer = args.data.server()?.get("/v1/association-data");
    let configuration = match answer {
        Ok(answer) => read_configuration(text(&answer, "der"))?,
        // Without a server it is made here from the same settings.
        Err(error) if error.is::<NotRunning>() => {
            serve::Identity::load(data, &File::of_data_folder(data)?)?.association_data()
        }
        Err(error) => return Err(error),
    };
    let der = configuration.to_der();
    if let Some(path) = &args.out {
        fs::write(path, &der).with_context(|| format!("{} cannot be written", path.display()))?;
        return Ok(Ending::Done);
    }
    if args.json {
        let annotated = rsp::dump::annotate(&der, Some("EimConfigurationData"))?;
        output::print_json(&json!({
            "eim_id": configuration.eim_id.as_str(),
            "fqdn": configuration.eim_fqdn,
            "der": hex::encode_upper(&der),
            "members": annotated.to_string().lines().collect::<Vec<_>>(),
        }))?;
        return Ok(Ending::Done);
    }
    output::print(&format!("{}\n", hex::encode_upper(&der)))?;
    Ok(Ending::Done)
}

fn status(data: &DataFolder, format: Format) -> anyhow::Result<Ending> {
    let status = data.server()?.get("/v1/status")?;
    match format {
        Format::Json => output::print_json(&status)?,
        Format::Table => {
            let insecure: Vec<_> = list(&status, "insecure")
                .filter_map(|name| name.as_str())
                .collect();
            let mut fields = Fields::default();
            for name in ["eim_id", "fqdn", "listen", "data", "version", "started_at"] {
                fields.add(name, text(&status, name));
            }
            for name in [
                "devices",
                "connections_accepted",
                "connections_refused",
                "handshakes_failed",
                "requests",
            ] {
                fields.add(name, number(&status, name));
            }
            fields.add("insecure", insecure.join(", "));
            output::print(&fields.to_text())?;
        }
    }
    Ok(Ending::Done)
}

fn list_eims(
    eid: Eid,
    refresh: bool,
    change: &ChangeArgs,
    format: Format,
) -> anyhow::Result<Ending> {
    if refresh {
        return change.propose(eid, &[Order::ListEims], format);
    }
    let eims = change
        .data
        .server()?
        .get(&format!("/v1/devices/{eid}/eims"))?;
    if format == Format::Json {
        output::print_json(&eims)?;
        return Ok(Ending::Done);
    }
    let mut table = Table::new(&["eim id", "kind", "seen"]);
    for eim in list(&eims, "eims") {
        let kind = match eim.get("id_type").and_then(serde_json::Value::as_i64) {
            Some(1) => "OID",
            Some(2) => "FQDN",
            Some(3) | None => "proprietary",
            Some(_) => "unknown",
        };
        table.row([text(eim, "eim_id"), kind, &time(eim, "seen_at")]);
    }
    match table.is_empty() {
        true => output::print("the eUICC has not been asked yet; ask it with --refresh\n")?,
        false => output::print(&table.to_text())?,
    }
    Ok(Ending::Done)
}
