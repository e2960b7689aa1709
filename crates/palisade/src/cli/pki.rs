use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::ValueEnum;
use pki::issue::{TestPki, TestPkiOptions};
use pki::{Certificate, ChainPolicy, Curve, EumConstraint, Role, UnixTime};
use rand_core::Rng;
use rsp::ids::Eid;
use serde_json::{Value, json};

use super::{Ending, usage};
use crate::adapters::{SystemClock, SystemEntropy, create_private_directory};
use crate::output::{self, Fields, Format, Table, hexadecimal};
use crate::{config, trust};

/// Make a private test PKI, look at certificates, verify chains.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  palisade pki new --directory pki
  palisade pki show pki/eum.der
  palisade pki verify pki/smdp-auth.der --trust pki/ci.der --trust pki/ci.crl";

#[derive(Debug, clap::Subcommand)]
enum Command {
    New(NewArgs),
    /// Show what a certificate or CRL says.
    ///
    /// Showing is not verifying: anybody can write anything into a certificate.
    #[command(
        after_help = "Examples:\n  palisade pki show pki/eum.der\n  palisade pki show pki/ci.crl --output json"
    )]
    Show {
        /// A certificate (DER or PEM) or a CRL (DER).
        file: PathBuf,
    },
    Verify(VerifyArgs),
}

/// Make a complete private PKI for tests and labs.
///
/// One CI issues the certificates of an eUICC manufacturer (EUM), eUICCs, an SM-DP+, an SM-DS, an eIM and an operator's
/// ES2+ client, with a CRL: everything that the other commands need. The certificates are like those of SGP.26, with keys
/// of their own. For production, certificates come from the GSMA's CIs.
#[derive(Debug, clap::Args)]
#[command(after_help = NEW_AFTER_HELP)]
struct NewArgs {
    /// Where to; made if it is missing. Files that are there are never replaced.
    #[arg(long, short, value_name = "FOLDER")]
    directory: PathBuf,
    /// Curve of the eSIM keys. TLS keys are on P-256 always.
    #[arg(long, value_enum, default_value_t)]
    curve: CurveName,
    /// eimId: the name that eUICCs know the eIM by.
    #[arg(long, default_value = "eim.example.com")]
    eim_id: String,
    /// Host name or address of the eIM; may be given several times.
    #[arg(long, value_name = "HOST", default_values = ["eim.example.com", "localhost", "127.0.0.1"])]
    eim_fqdn: Vec<String>,
    /// Host name or address of the SM-DP+; may be given several times.
    #[arg(long, value_name = "HOST", default_values = ["smdp.example.com", "localhost", "127.0.0.1"])]
    smdp_fqdn: Vec<String>,
    /// Host name or address of the SM-DS; may be given several times.
    #[arg(long, value_name = "HOST", default_values = ["smds.example.com", "localhost", "127.0.0.1"])]
    smds_fqdn: Vec<String>,
    /// How many eUICCs to make identities for, with EIDs drawn at random.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    euiccs: u32,
    /// An EID to make an identity for, beside --euiccs; may be given several times.
    #[arg(long, value_name = "EID")]
    eid: Vec<Eid>,
    /// First digits of every EID: the EUM's.
    #[arg(long, value_name = "DIGITS", default_value = "89049032")]
    eid_prefix: String,
    /// Days for which server certificates and the CRL are valid.
    #[arg(long, default_value_t = 825, value_parser = clap::value_parser!(i64).range(1..=3650))]
    days: i64,
    /// Where devices and servers would find the CRL, for the certificates.
    #[arg(long, value_name = "URL")]
    crl_uri: Option<String>,
}

const NEW_AFTER_HELP: &str = "\
Examples:
  palisade pki new --directory pki
  palisade pki new -d pki --euiccs 5 --curve brainpool
  palisade pki new -d pki --eim-fqdn eim.lab.example --smdp-fqdn smdp.lab.example --eid 89049032123451234512345678901235";

/// Check that a certificate leads to a trusted CI and is what its role demands.
///
/// Checks signatures, validity, role, key usage, EID and name constraints, and revocation, as an eIM or eUICC does.
#[derive(Debug, clap::Args)]
#[command(after_help = VERIFY_AFTER_HELP)]
struct VerifyArgs {
    /// The certificate (DER or PEM).
    certificate: PathBuf,
    /// A CI certificate or a CRL (*.crl), or a folder of them; may be given several times.
    #[arg(long, required = true, value_name = "FILE|FOLDER")]
    trust: Vec<PathBuf>,
    /// The EUM certificate above an eUICC certificate.
    #[arg(long, value_name = "FILE")]
    eum: Option<PathBuf>,
    /// The role that it must have; without this, the one that it names.
    #[arg(long = "as", value_enum, value_name = "ROLE")]
    role: Option<RoleName>,
    /// At which time, as 2026-08-01T00:00:00Z; now if absent.
    #[arg(long, value_name = "TIME")]
    at: Option<jiff::Timestamp>,
    /// Let an EUM issue for any EID: for test cards only.
    #[arg(long)]
    insecure_ignore_eum_name_constraints: bool,
}

const VERIFY_AFTER_HELP: &str = "\
Examples:
  palisade pki verify pki/smdp-auth.der --trust pki/ci.der --trust pki/ci.crl
  palisade pki verify euicc.der --eum pki/eum.der --trust pki/ci.der --at 2030-01-01T00:00:00Z

Ends with status 1 when the chain does not verify.";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum CurveName {
    /// NIST P-256.
    #[default]
    P256,
    /// brainpoolP256r1.
    Brainpool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RoleName {
    Euicc,
    SmdpTls,
    SmdpAuth,
    SmdpPb,
    SmdsTls,
    SmdsAuth,
    EimSigning,
    EimTls,
}

impl RoleName {
    fn role(self) -> Role {
        match self {
            Self::Euicc => Role::Euicc,
            Self::SmdpTls => Role::SmDpTls,
            Self::SmdpAuth => Role::SmDpAuth,
            Self::SmdpPb => Role::SmDpPb,
            Self::SmdsTls => Role::SmDsTls,
            Self::SmdsAuth => Role::SmDsAuth,
            Self::EimSigning => Role::EimSigning,
            Self::EimTls => Role::EimTls,
        }
    }
}

pub(crate) fn run(args: Args, format: Format) -> anyhow::Result<Ending> {
    match args.command {
        Command::New(args) => new(&args, format).map(|()| Ending::Done),
        Command::Show { file } => show(&file, format).map(|()| Ending::Done),
        Command::Verify(args) => verify(&args, format),
    }
}

fn new(args: &NewArgs, format: Format) -> anyhow::Result<()> {
    config::check_eim_id(&args.eim_id).map_err(|error| usage(format!("{error:#}")))?;
    for host in args
        .eim_fqdn
        .iter()
        .chain(&args.smdp_fqdn)
        .chain(&args.smds_fqdn)
    {
        if host.contains(':') || config::check_host(host).is_err() {
            return Err(usage(format!(
                "{host:?} is not a host name or address without a port"
            )));
        }
    }
    let digits = args.eid_prefix.as_str();
    if !(8..=29).contains(&digits.len())
        || !digits.starts_with("89")
        || !digits.bytes().all(|b| b.is_ascii_digit())
    {
        return Err(usage(format!(
            "{digits:?} cannot begin an EID; use 8 to 29 digits that begin with 89"
        )));
    }
    let mut entropy = SystemEntropy;
    let mut eids = args.eid.clone();
    for _ in 0..args.euiccs {
        eids.push(random_eid(digits, &mut entropy)?);
    }
    let midnight = SystemClock.unix_time().0.div_euclid(86_400) * 86_400;
    let options = TestPkiOptions {
        leaf_days: args.days,
        eid_prefix: args.eid_prefix.clone(),
        eim_id: args.eim_id.clone(),
        eim_hosts: args.eim_fqdn.clone(),
        smdp_hosts: args.smdp_fqdn.clone(),
        smds_hosts: args.smds_fqdn.clone(),
        crl_uri: args.crl_uri.clone(),
        ..TestPkiOptions::new(UnixTime(midnight))
    };
    let curve = match args.curve {
        CurveName::P256 => Curve::P256,
        CurveName::Brainpool => Curve::BrainpoolP256r1,
    };
    let pki = TestPki::new(&mut entropy, curve, &options).context("the PKI could not be made")?;

    create_private_directory(&args.directory)?;
    if args.directory.join("ci.der").exists() {
        bail!(
            "{} holds a PKI already, and its keys are not replaced; choose another --directory",
            args.directory.display()
        );
    }
    pki.write_to(&args.directory)
        .context("the PKI could not be written")?;
    for eid in &eids {
        let credential = pki.issue_euicc(&mut entropy, &eid.to_string())?;
        credential
            .write_to(&args.directory, &euicc_name(*eid))
            .with_context(|| format!("the identity of eUICC {eid} could not be written"))?;
    }
    print_written(&args.directory, &pki, &eids, format)
}

/// Name of the files of an eUICC's identity in a PKI folder.
pub(crate) fn euicc_name(eid: Eid) -> String {
    format!("euicc-{eid}")
}

fn random_eid(prefix: &str, entropy: &mut SystemEntropy) -> anyhow::Result<Eid> {
    let mut digits = prefix.to_owned();
    while digits.len() < 30 {
        digits.push(char::from(b'0' + (entropy.next_u32() % 10) as u8));
    }
    Eid::with_check_digits(&digits).context("no EID can be made with this prefix")
}

fn print_written(
    directory: &Path,
    pki: &TestPki,
    eids: &[Eid],
    format: Format,
) -> anyhow::Result<()> {
    let mut names: Vec<String> = pki
        .items()?
        .iter()
        .map(|item| item.name.to_owned())
        .collect();
    names.extend(eids.iter().map(|eid| euicc_name(*eid)));
    let mut table = Table::new(&["certificate", "key", "for", "subject", "valid until"]);
    let mut listed = Vec::new();
    for name in &names {
        let file = format!("{name}.der");
        let certificate = trust::read_certificate(&directory.join(&file))?;
        let key = format!("{name}.key.pem");
        table.row([
            &file,
            &key,
            &role_of(name, &certificate),
            &certificate.subject().to_owned(),
            &certificate.not_after().to_string(),
        ]);
        listed.push(json!({ "certificate": file, "key": key, "summary": summary(&certificate) }));
    }
    match format {
        Format::Json => output::print_json(&json!({
            "directory": directory,
            "eids": eids.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "crl": "ci.crl",
            "files": listed,
        })),
        Format::Table => {
            table.row([
                "ci.crl",
                "",
                "revocation list",
                "",
                &pki.crl
                    .next_update()
                    .map(|time| time.to_string())
                    .unwrap_or_default(),
            ]);
            let mut text = format!("Written to {}:\n\n{}", directory.display(), table.to_text());
            for eid in eids {
                text.push_str(&format!("\nEID {eid}"));
            }
            text.push_str(if eids.is_empty() { "" } else { "\n" });
            output::print(&text)
        }
    }
}

/// What a certificate is for; the file name tells where the certificate itself does not.
fn role_of(name: &str, certificate: &Certificate) -> String {
    match (name, certificate.role()) {
        ("tls-ca", _) => "TLS roots (SM-DP+, SM-DS, eIM)".to_owned(),
        ("es2-client", _) => "ES2+ client".to_owned(),
        (_, Some(role)) => role.to_string(),
        (_, None) => "-".to_owned(),
    }
}

fn show(path: &Path, format: Format) -> anyhow::Result<()> {
    let octets = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    if octets.windows(11).any(|window| window == b"PRIVATE KEY") {
        bail!(
            "{} holds a private key, which is not shown; show the certificate beside it",
            path.display()
        );
    }
    let certificate = match trust::parse_certificate(&octets) {
        Ok(certificate) => certificate,
        Err(error) => match pki::Crl::from_der(&octets) {
            Ok(crl) => return show_crl(&crl, format),
            Err(_) => {
                return Err(error).with_context(|| {
                    format!("{} is neither a certificate nor a CRL; `palisade decode` may show what it is", path.display())
                });
            }
        },
    };
    match format {
        Format::Json => output::print_json(&summary(&certificate)),
        Format::Table => output::print(&fields(&certificate).to_text()),
    }
}

fn show_crl(crl: &pki::Crl, format: Format) -> anyhow::Result<()> {
    let next = crl.next_update().map(|time| time.to_string());
    match format {
        Format::Json => output::print_json(&json!({
            "crl": {
                "issuer_key_id": hexadecimal(crl.issuer_key_id()),
                "this_update": crl.this_update().to_string(),
                "next_update": next,
                "revoked": crl.len(),
            }
        })),
        Format::Table => output::print(
            &Fields::default()
                .add("kind", "CRL")
                .add("issuer key id", hexadecimal(crl.issuer_key_id()))
                .add("made", crl.this_update().to_string())
                .add("next", next.unwrap_or_default())
                .add("revoked certificates", crl.len().to_string())
                .to_text(),
        ),
    }
}

fn key_usages(certificate: &Certificate) -> Vec<&'static str> {
    let Some(usage) = certificate.key_usage().map(|usage| usage.value) else {
        return Vec::new();
    };
    [
        (usage.digital_signature, "digitalSignature"),
        (usage.key_agreement, "keyAgreement"),
        (usage.key_cert_sign, "keyCertSign"),
        (usage.crl_sign, "cRLSign"),
    ]
    .into_iter()
    .filter_map(|(is_set, name)| is_set.then_some(name))
    .collect()
}

fn constraint(constraint: &EumConstraint) -> String {
    let organisation = constraint
        .organisation
        .as_deref()
        .map(|name| format!("organisation {name:?}"));
    let prefix = constraint
        .eid_prefix
        .as_deref()
        .map(|digits| format!("EIDs that begin with {digits}"));
    [prefix, organisation]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ")
}

fn constraints(certificate: &Certificate) -> Vec<String> {
    let from_names = certificate
        .name_constraints()
        .map(|extension| extension.value.as_slice());
    let from_names = from_names.unwrap_or_default().iter().map(constraint);
    from_names
        .chain(
            certificate
                .permitted_eins()
                .iter()
                .map(|ein| format!("EIDs that begin with {ein}")),
        )
        .collect()
}

fn eid_of(certificate: &Certificate) -> Option<&str> {
    (certificate.role() == Some(Role::Euicc))
        .then(|| certificate.subject_serial_number())
        .flatten()
}

fn key_of(certificate: &Certificate) -> String {
    match certificate.public_key() {
        Ok(key) => key.curve().to_string(),
        Err(error) => error.to_string(),
    }
}

/// A certificate for programs.
fn summary(certificate: &Certificate) -> Value {
    json!({
        "role": certificate.role().map(|role| role.to_string()),
        "subject": certificate.subject(),
        "issuer": certificate.issuer(),
        "serial_number": hexadecimal(certificate.serial_number()),
        "not_before": certificate.not_before().to_string(),
        "not_after": certificate.not_after().to_string(),
        "key": key_of(certificate),
        "subject_key_id": certificate.subject_key_identifier().map(hexadecimal),
        "authority_key_id": certificate.authority_key_identifier().map(hexadecimal),
        "eid": eid_of(certificate),
        "oid": certificate.registered_id().map(|oid| oid.to_string()),
        "dns_names": certificate.dns_names(),
        "policies": certificate.policies().iter().map(|policy| policy.to_string()).collect::<Vec<_>>(),
        "key_usage": key_usages(certificate),
        "is_ca": certificate.is_ca(),
        "permits": constraints(certificate),
        "crl_distribution_points": certificate.crl_distribution_points(),
    })
}

/// A certificate for people.
fn fields(certificate: &Certificate) -> Fields {
    let role = certificate
        .role()
        .map_or("none that is known".to_owned(), |role| role.to_string());
    let oids = |oids: &[pki::ObjectIdentifier]| {
        oids.iter()
            .map(|oid| oid.to_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let mut fields = Fields::default();
    fields
        .add("role", role)
        .add("subject", certificate.subject())
        .add("issuer", certificate.issuer())
        .add("serial number", hexadecimal(certificate.serial_number()))
        .add("valid from", certificate.not_before().to_string())
        .add("valid until", certificate.not_after().to_string())
        .add("key", key_of(certificate))
        .add(
            "subject key id",
            certificate
                .subject_key_identifier()
                .map(hexadecimal)
                .unwrap_or_default(),
        )
        .add(
            "authority key id",
            certificate
                .authority_key_identifier()
                .map(hexadecimal)
                .unwrap_or_default(),
        )
        .add("EID", eid_of(certificate).unwrap_or_default())
        .add(
            "OID",
            certificate
                .registered_id()
                .map(|oid| oid.to_string())
                .unwrap_or_default(),
        )
        .add("host names", certificate.dns_names().join(", "))
        .add("policies", oids(certificate.policies()))
        .add("key usage", key_usages(certificate).join(", "))
        .add("CA", if certificate.is_ca() { "yes" } else { "" })
        .add("permits", constraints(certificate).join("; "))
        .add("CRL at", certificate.crl_distribution_points().join(", "))
        .add(
            "refused for critical extensions",
            oids(certificate.unknown_critical_extensions()),
        );
    fields
}

fn verify(args: &VerifyArgs, format: Format) -> anyhow::Result<Ending> {
    let anchors = trust::read_anchors(&args.trust)?;
    let certificate = trust::read_certificate(&args.certificate)?;
    let now = args
        .at
        .map_or(SystemClock.unix_time(), |at| UnixTime(at.as_second()));
    let role = match args.role {
        Some(role) => role.role(),
        None => certificate.role().ok_or_else(|| {
            usage("the certificate names no role; say with --as what it should be")
        })?,
    };
    let policy = ChainPolicy {
        insecure_ignore_eum_name_constraints: args.insecure_ignore_eum_name_constraints,
    };
    let (verified, name) = match role {
        Role::Euicc => {
            let eum = args.eum.as_ref().ok_or_else(|| {
                usage("an eUICC certificate is issued by an EUM; give its certificate with --eum")
            })?;
            let eum = trust::read_certificate(eum)?;
            let verified = anchors.verify_euicc_chain(&certificate, &eum, Some(now), policy);
            (
                verified.as_ref().map(|_| ()).map_err(Clone::clone),
                verified
                    .ok()
                    .map(|euicc| format!("EID {}", euicc.eid_digits)),
            )
        }
        role if role.is_issuer() => {
            return Err(usage(format!(
                "{role} certificates are verified with what they issued; verify an eUICC certificate with --eum"
            )));
        }
        role => {
            let verified = anchors.verify_server(&certificate, role, Some(now));
            (
                verified.as_ref().map(|_| ()).map_err(Clone::clone),
                verified.ok().and_then(|server| server.common_name),
            )
        }
    };
    let error = verified.err();
    match format {
        Format::Json => output::print_json(&json!({
            "verified": error.is_none(),
            "role": role.to_string(),
            "subject": certificate.subject(),
            "at": now.to_string(),
            "reason": error.as_ref().map(|error| error.to_string()),
        }))?,
        Format::Table => {
            let what = match &error {
                None => format!("verified: {role} {} at {now}\n", name.unwrap_or_default()),
                Some(error) => format!("NOT verified as {role} at {now}: {error}\n"),
            };
            output::print(&what)?;
        }
    }
    Ok(if error.is_none() {
        Ending::Done
    } else {
        Ending::Failed
    })
}
