use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use intent::Command as Order;
use rsp::der::Element;
use rsp::ids::Eid;
use rsp::sgp32::{EimConfigurationData, EimId};
use serde_json::{Value, json};

use super::Ending;
use super::shared::{ChangeArgs, DataFolder, list, number, text, time};
use crate::authority::{AuthorityFolder, Engine};
use crate::config::{AuthorityPlace, File};
use crate::control::NotRunning;
use crate::output::{self, Fields, Format, Table};

/// Say what devices need to know of this eIM, and manage the eIMs on devices.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  palisade eim association-data --data eim --out association.der
  palisade eim list 89049032123451234512345678901235 --refresh --wait";

#[derive(Debug, clap::Subcommand)]
enum Command {
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

fn association_data(args: &AssociationArgs) -> anyhow::Result<Ending> {
    let data = args.data.existing()?;
    let answer = args.data.server()?.get("/v1/association-data");
    let configuration = match answer {
        Ok(answer) => read_configuration(text(&answer, "der"))?,
        // Without a server it is made here, from the authority's settings and key.
        Err(error) if error.is::<NotRunning>() => offline(data)?,
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

/// The same as the authority in the data folder would say.
fn offline(data: &Path) -> anyhow::Result<EimConfigurationData> {
    let file = File::of_data_folder(data)?;
    let AuthorityPlace::Child(folder) = file.authority.place(&file.folder, data)? else {
        bail!(
            "only the authority knows the key, and it is not in this data folder; start the server first: palisade serve --data {}",
            data.display()
        );
    };
    let folder = AuthorityFolder::existing(folder)?;
    let engine = Engine::open_for_reading(&folder, &folder.settings()?)?;
    let identity = engine.identity()?;
    engine.stop()?;
    read_configuration(&identity.der)
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
            let authority = status.get("authority").unwrap_or(&Value::Null);
            fields
                .add("installation", text(authority, "installation"))
                .add("authority error", text(authority, "error"))
                .add("authority fault", text(authority, "fault"))
                .add("record entries", number(authority, "entries"));
            let witnesses = authority.get("witnesses").and_then(Value::as_object);
            for (key, standing) in witnesses.into_iter().flatten() {
                let name = key.split('+').next().unwrap_or_default();
                fields.add(format!("witness {name}"), witness_text(standing));
            }
            output::print(&fields.to_text())?;
        }
    }
    Ok(Ending::Done)
}

/// How a witness of the record stands, in words.
fn witness_text(standing: &Value) -> String {
    let cosigned = match number(standing, "cosigned_entries").as_str() {
        "0" | "" => "nothing cosigned yet".to_owned(),
        entries => format!("cosigned {entries} entries"),
    };
    match text(standing, "trouble") {
        "" => cosigned,
        trouble => format!("{cosigned}; {trouble}"),
    }
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
        .asking
        .data
        .server()?
        .get(&format!("/v1/devices/{eid}/eims"))?;
    if format == Format::Json {
        output::print_json(&eims)?;
        return Ok(Ending::Done);
    }
    let mut table = Table::new(&["eim id", "kind", "seen"]);
    for eim in list(&eims, "eims") {
        let kind = match eim.get("id_type").and_then(Value::as_i64) {
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
