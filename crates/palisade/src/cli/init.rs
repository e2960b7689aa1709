use std::fs;
use std::path::{Path, PathBuf};

use ::authority::event::RelyingParty;
use anyhow::{Context, bail};
use intent::PolicyDocument;
use pki::issue::{CertificateTemplate, Credential};
use pki::{Certificate, Curve, FileKeyStore, KeyName, PrivateKey, UnixTime};
use serde_json::json;

use super::shared::{DEFAULT_FLEET, DataFolder};
use super::{Ending, usage};
use crate::adapters::{SystemClock, SystemEntropy, create_private_directory, is_private_directory};
use crate::authority::{
    AuthorityFolder, Foundation, SigningKeySource, find_or_make, found, parse_key_uri,
};
use crate::config::{self, File};
use crate::output::{self, Fields, Format};
use crate::trust;

/// Make an eIM and its authority: settings, keys, the record, and the first owner's one-time code.
#[derive(Debug, clap::Args)]
#[command(long_about = LONG_ABOUT, after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    data: DataFolder,
    /// Folder of the authority [default: authority in the data folder].
    #[arg(long, value_name = "FOLDER")]
    authority: Option<PathBuf>,
    /// eimId: the name that eUICCs know the eIM by [default: that of the certificate in --pki, else the host of --fqdn].
    #[arg(long)]
    eim_id: Option<String>,
    /// Host name, with a port unless it is 443, under which devices reach ESipa. Not needed for a data folder that has one.
    #[arg(long, value_name = "HOST[:PORT]")]
    fqdn: Option<String>,
    /// Folder that `palisade pki new` made.
    #[arg(long, value_name = "FOLDER", env = "PALISADE_PKI")]
    pki: Option<PathBuf>,
    /// Where the signing key is made, or is already: pkcs11:token=T;object=K?module-path=/lib.so&pin-source=file:/pin
    /// [default: a file in the authority's keys].
    #[arg(long, value_name = "URI")]
    signing_key: Option<String>,
    /// Where the break-glass key is written.
    #[arg(long, value_name = "FILE", default_value = "break-glass.key")]
    break_glass: PathBuf,
    /// What passkeys are bound to: a domain [default: the host of --fqdn].
    #[arg(long, value_name = "DOMAIN")]
    rp_id: Option<String>,
    /// From where passkeys may be used; may be given several times [default: https:// and the domain, with port 8442 and without].
    #[arg(long, value_name = "URL")]
    origin: Vec<String>,
    /// Accept passkeys that are files. Whoever copies such a file and learns its passphrase is that person.
    #[arg(long)]
    insecure_software_passkeys: bool,
    /// For a lab with one person: begin with a policy that asks for no approvals, and accepts passkeys that are files and test
    /// profiles in the fleet `default`.
    #[arg(long)]
    insecure_no_approvals: bool,
}

const LONG_ABOUT: &str = "\
Make an eIM and its authority: settings, keys, the record, and the first owner's one-time code.

The data folder gets the settings and the TLS key of the eIM; the authority's folder the signing key,
the key of the record, and the record with its first entry. With --pki, keys and certificates come from
a folder that `palisade pki new` made, and its CI is trusted. Without, a signing key and a self-signed
TLS certificate are made, which is all that devices need as they pin the key; the CI certificates of the
eUICCs then have to be put into trust/euicc.

Nothing that is there is replaced. A data folder that `palisade eim init` of an earlier version made is
adopted: its signing key moves into the authority's keys.

The break-glass key works when nobody can approve or everything is frozen, and raises an incident each
time. Move it offline: to a medium in a safe.";

const AFTER_HELP: &str = "\
Examples:
  palisade init --data eim --fqdn eim.example.com:8443
  palisade init --data eim --pki pki --fqdn localhost:8443 --insecure-no-approvals
  palisade init --data eim --fqdn eim.example.com --signing-key 'pkcs11:token=palisade;object=eim-signing?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/palisade/hsm.pin'";

const NO_FQDN: &str = "--fqdn is needed: the host name under which devices reach this eIM";

/// Names of keys of the eIM.
const SIGNING: &str = "eim-signing";
const TLS: &str = "eim-tls";
/// Where the console listens, until its settings say something else.
const CONSOLE_PORT: u16 = 8442;

pub(crate) fn run(args: Args, format: Format) -> anyhow::Result<Ending> {
    let data = args.data.path();
    let folder = match &args.authority {
        Some(path) => AuthorityFolder::new(path),
        None => AuthorityFolder::new(data.join("authority")),
    };
    if folder.public_key_file().exists() {
        bail!(
            "there is an authority in {} already, and nothing is replaced; choose another --data, or use what is there",
            folder.path().display()
        );
    }
    if args.break_glass.exists() {
        bail!(
            "{} is there already; name another file with --break-glass",
            args.break_glass.display()
        );
    }
    let place = args
        .signing_key
        .as_deref()
        .map(|uri| parse_key_uri(uri).map_err(|error| usage(format!("{error:#}"))))
        .transpose()?;
    if let (Some(_), Some(pki)) = (&place, &args.pki) {
        return Err(usage(format!(
            "--pki {} brings a signing key of its own, so none is made at --signing-key; leave one of them out, or rotate to the other key later with `palisade signing-key`",
            pki.display()
        )));
    }
    let old = data.join(config::FILE_NAME).exists();
    if !old && args.fqdn.is_none() {
        return Err(usage(NO_FQDN));
    }
    // Before anything is written: a token that cannot be used leaves nothing half made.
    let on_token = match place {
        Some(location) => {
            if old && data.join("keys").join(format!("{SIGNING}.pem")).exists() {
                bail!(
                    "{} has a signing key already, so none is made at --signing-key; adopt it without, and rotate to the other key later with `palisade signing-key`",
                    data.display()
                );
            }
            let signer = find_or_make(&location)?;
            Some(SigningKeySource::There(location, signer))
        }
        None => None,
    };
    let mut base = match old {
        true => Base::adopted(data, &args)?,
        false => Base::new(data, &args)?,
    };
    let host = base.fqdn.split(':').next().unwrap_or_default().to_owned();
    let rp_id = args
        .rp_id
        .clone()
        .unwrap_or_else(|| host.to_ascii_lowercase());
    let origins = match args.origin.is_empty() {
        true => {
            let mut origins = vec![
                format!("https://{rp_id}:{CONSOLE_PORT}"),
                format!("https://{rp_id}"),
            ];
            if rp_id == "localhost" {
                // For console.insecure_http.
                origins.push(format!("http://localhost:{CONSOLE_PORT}"));
            }
            origins
        }
        false => args.origin.clone(),
    };
    let policy = match (args.insecure_no_approvals, args.insecure_software_passkeys) {
        (true, _) => lab_policy()?,
        (false, insecure_software_passkeys) => PolicyDocument {
            insecure_software_passkeys,
            ..PolicyDocument::initial()
        },
    };
    let signing_key = match (on_token, base.signing.take()) {
        (Some(there), _) => there,
        (None, Some(key)) => SigningKeySource::Given(key),
        (None, None) => SigningKeySource::New,
    };
    let installation = format!("{}/ledger", base.eim_id);
    let settings = authority_settings(&base.fqdn, &signing_key, args.authority.is_none(), &base)?;
    let founded = found(
        &folder,
        Foundation {
            installation: installation.clone(),
            eim_id: base.eim_id.clone(),
            relying_party: RelyingParty { id: rp_id, origins },
            policy,
            signing_key,
            break_glass: &args.break_glass,
            settings,
            files: vec![("eim-tls.pem".to_owned(), base.tls_certificate.clone())],
        },
    )?;
    if let Some(moved) = &base.moved {
        fs::remove_file(moved).with_context(|| {
            format!(
                "{} could not be removed; it is in the authority's keys now, so remove it by hand",
                moved.display()
            )
        })?;
    }

    let code = founded.code;
    let shown = args.data.path().display();
    match format {
        Format::Json => output::print_json(&json!({
            "data": data,
            "authority": folder.path(),
            "installation": installation,
            "eim_id": base.eim_id,
            "fqdn": base.fqdn,
            "configuration": data.join(config::FILE_NAME),
            "break_glass": args.break_glass,
            "code": code,
        }))?,
        Format::Table => {
            let fields = Fields::default()
                .add("eimId", &base.eim_id)
                .add("fqdn", &base.fqdn)
                .add("installation", &installation)
                .add(
                    "configuration",
                    data.join(config::FILE_NAME).display().to_string(),
                )
                .add("authority", folder.path().display().to_string())
                .add("break-glass key", args.break_glass.display().to_string())
                .to_text();
            let trust = match base.has_trust {
                true => String::new(),
                false => format!(
                    "Put the CI certificates of your eUICCs (*.der or *.pem, with their *.crl) into {shown}/trust/euicc\nand the roots of your SM-DP+s' TLS certificates into {shown}/trust/smdp.\n\n"
                ),
            };
            output::print(&format!(
                "{fields}\nMove {break_glass} offline now, to a medium in a safe: whoever has it passes every approval.\n\n{trust}Start it, and enrol as its owner. The code works once, for 7 days, and is not shown again:\n  palisade serve --data {shown}\n  palisade enrol --data {shown} --code {code} --name {name} --software-passkey {name}.json\n",
                break_glass = args.break_glass.display(),
                name = "owner",
            ))?;
        }
    }
    if args.insecure_no_approvals {
        output::note(
            "INSECURE: the policy asks for no approvals, so one stolen key is enough; `palisade policy set` changes that",
        );
    } else if !args.insecure_software_passkeys {
        output::note(
            "note: passkeys that are files are not accepted (--insecure-software-passkeys); owners enrol with a security key",
        );
    }
    Ok(Ending::Done)
}

/// A lab works with test profiles, too, in the fleet that devices belong to unless somebody says otherwise.
fn lab_policy() -> anyhow::Result<PolicyDocument> {
    let mut policy = PolicyDocument::insecure_without_approvals();
    policy
        .profiles
        .test_class_fleets
        .insert(DEFAULT_FLEET.parse()?);
    Ok(policy)
}

/// The eIM's half: what is in its data folder.
struct Base {
    eim_id: String,
    fqdn: String,
    /// The key to sign with, if there is one already.
    signing: Option<PrivateKey>,
    /// The file it is in now.
    moved: Option<PathBuf>,
    /// The certificate chain of ESipa, PEM.
    tls_certificate: Vec<u8>,
    has_trust: bool,
    /// Where the CIs of eUICCs are.
    euicc_trust: PathBuf,
}

impl Base {
    /// A data folder of an earlier version, or one whose authority is missing.
    fn adopted(data: &Path, args: &Args) -> anyhow::Result<Self> {
        is_private_directory(data)?;
        let file = File::of_data_folder(data)?;
        let (Some(eim_id), Some(fqdn)) = (file.eim.id.clone(), file.eim.fqdn.clone()) else {
            bail!(
                "{} names no eIM; set eim.id and eim.fqdn in it",
                data.join(config::FILE_NAME).display()
            );
        };
        if args.fqdn.as_ref().is_some_and(|given| *given != fqdn) || args.pki.is_some() {
            bail!(
                "{} is there already and names {fqdn}; leave --fqdn and --pki out to adopt it, or choose another --data",
                data.join(config::FILE_NAME).display()
            );
        }
        let keys = FileKeyStore::open(data.join("keys"))?;
        let moved = data.join("keys").join(format!("{SIGNING}.pem"));
        let signing = match moved.exists() {
            true => Some(keys.load(&KeyName::new(SIGNING)?)?),
            false => None,
        };
        let certificate = file.path(&file.eim.tls_certificate);
        let euicc_trust = file.path(&file.eim.euicc_trust);
        Ok(Self {
            eim_id,
            fqdn,
            moved: signing.is_some().then_some(moved),
            signing,
            tls_certificate: fs::read(&certificate)
                .with_context(|| format!("{} cannot be read", certificate.display()))?,
            has_trust: true,
            euicc_trust: std::path::absolute(&euicc_trust).unwrap_or(euicc_trust),
        })
    }

    fn new(data: &Path, args: &Args) -> anyhow::Result<Self> {
        let Some(fqdn) = args.fqdn.clone() else {
            return Err(usage(NO_FQDN));
        };
        config::check_host(&fqdn).map_err(|error| usage(format!("--fqdn {fqdn:?}: {error}")))?;
        let host = fqdn.split(':').next().unwrap_or_default();
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
        is_private_directory(data)?;
        for folder in [data.join("trust/euicc"), data.join("trust/smdp")] {
            create_private_directory(&folder)?;
        }
        let keys = FileKeyStore::open(data.join("keys"))?;
        keys.import(&KeyName::new(TLS)?, &material.tls.key)
            .context("the TLS key cannot be stored")?;
        let tls_certificate = material.tls.certificate.to_pem()?.into_bytes();
        write(&data.join("eim-tls.pem"), &tls_certificate)?;
        for (name, octets) in &material.trust {
            write(&data.join("trust").join(name), octets)?;
        }
        write(
            &data.join(config::FILE_NAME),
            eim_settings(&eim_id, &fqdn, args.authority.as_deref()).as_bytes(),
        )?;
        Ok(Self {
            eim_id,
            fqdn,
            signing: material.signing,
            moved: None,
            tls_certificate,
            has_trust: !material.trust.is_empty(),
            euicc_trust: PathBuf::from("../trust/euicc"),
        })
    }
}

/// Keys and certificates of a new eIM.
struct Material {
    /// None: the authority makes one.
    signing: Option<PrivateKey>,
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
            signing: Some(signing.key),
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
            signing: None,
            tls: Credential { certificate, key },
            certified_eim_id: None,
            trust: Vec::new(),
        })
    }
}

/// Names and nothing else: everything else has a default that the example explains.
fn eim_settings(eim_id: &str, fqdn: &str, authority: Option<&Path>) -> String {
    let authority = authority.map(|path| {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        format!(
            "\n[authority]\ndata = {}\n",
            quoted(&path.display().to_string())
        )
    });
    format!(
        "# Made by `palisade init`. `palisade config example` shows every setting.\n\n[eim]\nid = {}\nfqdn = {}\n\n[console]\nlisten = \"127.0.0.1:{CONSOLE_PORT}\"\n{}",
        quoted(eim_id),
        quoted(fqdn),
        authority.unwrap_or_default()
    )
}

fn authority_settings(
    fqdn: &str,
    key: &SigningKeySource,
    is_beside: bool,
    base: &Base,
) -> anyhow::Result<String> {
    let mut settings = format!(
        "# Made by `palisade init`. `palisade config example` shows every setting.\n\n[authority]\nfqdn = {}\n",
        quoted(fqdn)
    );
    if is_beside {
        settings.push_str(&format!(
            "# The eIM's own. An authority on another host has its own folder.\neuicc_trust = {}\n",
            quoted(&base.euicc_trust.display().to_string())
        ));
    }
    if let SigningKeySource::There(location, _) = key {
        let value = toml::Value::try_from(location).context("the key's place cannot be written")?;
        settings.push_str(&format!("key = {value}\n"));
    }
    Ok(settings)
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
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
