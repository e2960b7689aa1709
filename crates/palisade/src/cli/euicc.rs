use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use euicc::{Card, CardIdentity, FileNvm, Personalisation};
use ipa::card::{CardError, CardSession, CardSettings, Es10};
use pki::issue::{Credential, TestPki};
use rsp::ids::Eid;
use rsp::sgp22::{ProfileClass, ProfileInfo, ProfileState};
use serde_json::{Value, json};

use super::pki::euicc_name;
use super::{Ending, usage};
use crate::adapters::{FolderLock, SoftCard, SystemEntropy, create_private_directory};
use crate::output::{self, Fields, Format, Table, hexadecimal};
use crate::trust;

/// Make and look at software eUICCs for tests and labs.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  palisade euicc new --directory card --pki pki
  palisade euicc show --directory card
  palisade euicc apdu --directory card 01A4040010A0000005591010FFFFFFFF8900000100";

#[derive(Debug, clap::Subcommand)]
enum Command {
    New(NewArgs),
    /// Show what a card holds: profiles, eIMs, what waits to be delivered.
    Show {
        #[command(flatten)]
        card: CardFolder,
    },
    /// Send command APDUs to a card, one after the other, and print its answers with SW1 SW2.
    ///
    /// The card is powered on before the first, so channels and sessions do not outlast the command.
    #[command(
        after_help = "Examples:\n  palisade euicc apdu --directory card 00A4040010A0000005591010FFFFFFFF8900000100 80E2910006BF3E035C015A"
    )]
    Apdu {
        #[command(flatten)]
        card: CardFolder,
        /// Command APDUs in hexadecimal.
        #[arg(required = true, value_name = "HEX")]
        apdus: Vec<String>,
    },
}

/// Which card.
#[derive(Debug, clap::Args)]
struct CardFolder {
    /// Folder of the card.
    #[arg(long, short, value_name = "FOLDER", env = "PALISADE_EUICC")]
    directory: PathBuf,
}

/// Personalise a new card in a folder: an eUICC of the given PKI.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  palisade euicc new --directory card --pki pki\n  palisade euicc new -d card2 --pki pki --eid 89049032123451234512345678901235 --default-smdp smdp.example.com"
)]
struct NewArgs {
    /// Folder of the card; made if it is missing.
    #[arg(long, short, value_name = "FOLDER")]
    directory: PathBuf,
    /// Folder that `palisade pki new` made.
    #[arg(long, value_name = "FOLDER", env = "PALISADE_PKI")]
    pki: PathBuf,
    /// The EID; an identity is made if the PKI has none for it [default: the one that the PKI has].
    #[arg(long)]
    eid: Option<Eid>,
    /// Default SM-DP+.
    #[arg(long, value_name = "HOST")]
    default_smdp: Option<String>,
    /// Root SM-DS.
    #[arg(long, value_name = "HOST", default_value = "smds.example.com")]
    root_smds: String,
    /// Memory for profiles, in octets.
    #[arg(long, value_name = "OCTETS", default_value_t = 1 << 20)]
    memory: u32,
}

pub(crate) fn run(args: Args, format: Format) -> anyhow::Result<Ending> {
    match args.command {
        Command::New(args) => new(&args, format)?,
        Command::Show { card } => show(&card.directory, format)?,
        Command::Apdu { card, apdus } => apdu(&card.directory, &apdus, format)?,
    }
    Ok(Ending::Done)
}

fn new(args: &NewArgs, format: Format) -> anyhow::Result<()> {
    let eid = match args.eid {
        Some(eid) => eid,
        None => only_eid(&args.pki)?,
    };
    let identity = identity(&args.pki, eid)?;
    let mut personalisation = Personalisation::new(eid, vec![identity]);
    personalisation
        .default_smdp_address
        .clone_from(&args.default_smdp);
    personalisation
        .root_smds_address
        .clone_from(&args.root_smds);
    personalisation.options.profile_memory_octets = args.memory;
    create_private_directory(&args.directory)?;
    let _lock = FolderLock::take(&args.directory)?;
    let nvm = FileNvm::open(&args.directory).context("the card's memory cannot be made")?;
    Card::personalise(personalisation, nvm)
        .with_context(|| format!("no card could be made in {}", args.directory.display()))?;
    match format {
        Format::Json => {
            output::print_json(&json!({ "eid": eid.to_string(), "directory": args.directory }))
        }
        Format::Table => output::print(&format!("{eid}\n")),
    }
}

/// The EID of the PKI's eUICC, if there is one only.
fn only_eid(pki: &Path) -> anyhow::Result<Eid> {
    let listing =
        std::fs::read_dir(pki).with_context(|| format!("{} cannot be listed", pki.display()))?;
    let mut eids: Vec<Eid> = listing
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            name.to_str()?
                .strip_prefix("euicc-")?
                .strip_suffix(".der")?
                .parse()
                .ok()
        })
        .collect();
    eids.sort();
    match eids.as_slice() {
        [eid] => Ok(*eid),
        [] => bail!(
            "{} has no eUICC; name one with --eid, and its identity is made",
            pki.display()
        ),
        several => Err(usage(format!(
            "the PKI has {} eUICCs; choose one with --eid: {}",
            several.len(),
            several
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        ))),
    }
}

/// The identity that the PKI has for an EID, or a new one, which is kept there too.
fn identity(folder: &Path, eid: Eid) -> anyhow::Result<CardIdentity> {
    let name = euicc_name(eid);
    let credential = match folder.join(format!("{name}.der")).exists() {
        true => Credential::load(folder, &name)?,
        false => {
            let pki = TestPki::load(folder).with_context(|| {
                format!(
                    "{} is not a folder that `palisade pki new` made",
                    folder.display()
                )
            })?;
            let made = pki.issue_euicc(&mut SystemEntropy, &eid.to_string())?;
            made.write_to(folder, &name)
                .context("the new identity cannot be kept in the PKI")?;
            made
        }
    };
    Ok(CardIdentity {
        key: credential.key,
        euicc_certificate: credential.certificate,
        eum_certificate: trust::read_certificate(&folder.join("eum.der"))?,
        sub_cas: Vec::new(),
        ci_certificate: trust::read_certificate(&folder.join("ci.der"))?,
    })
}

fn show(folder: &Path, format: Format) -> anyhow::Result<()> {
    let mut card = SoftCard::open(folder)?;
    let active = card.lock().active_profile();
    let (mut session, settings) = (CardSession::default(), CardSettings::default());
    let mut es10 = Es10::new(&mut card, &mut session, &settings);
    let state = State::read(&mut es10).context("the card does not answer as an eUICC does")?;
    let profiles: Vec<Value> = state.profiles.iter().map(profile_value).collect();
    let eims: Vec<Value> = state
        .eims
        .iter()
        .map(|eim| json!({ "eim_id": eim.eim_id.as_str(), "fqdn": eim.eim_fqdn }))
        .collect();
    if format == Format::Json {
        return output::print_json(&json!({
            "eid": state.eid.to_string(),
            "active_profile": active.map(|iccid| iccid.to_string()),
            "default_smdp": state.default_smdp,
            "root_smds": state.root_smds,
            "free_memory": state.free_memory,
            "profiles": profiles,
            "eims": eims,
            "notifications": state.notifications,
            "package_results": state.package_results,
        }));
    }
    let mut fields = Fields::default();
    fields
        .add("EID", state.eid.to_string())
        .add(
            "active profile",
            active.map(|iccid| iccid.to_string()).unwrap_or_default(),
        )
        .add("default SM-DP+", state.default_smdp.unwrap_or_default())
        .add("root SM-DS", &state.root_smds)
        .add("notifications waiting", state.notifications.to_string())
        .add("package results waiting", state.package_results.to_string());
    for eim in &eims {
        fields.add(
            "eIM",
            format!(
                "{} at {}",
                super::shared::text(eim, "eim_id"),
                super::shared::text(eim, "fqdn")
            ),
        );
    }
    let mut table = Table::new(&[
        "iccid", "state", "class", "provider", "name", "fallback", "isd-p",
    ]);
    for profile in &profiles {
        let cell = |name| super::shared::text(profile, name);
        let fallback = super::shared::yes(profile, "fallback");
        table.row([
            cell("iccid"),
            cell("state"),
            cell("class"),
            cell("provider"),
            cell("name"),
            fallback,
            cell("isdp_aid"),
        ]);
    }
    let rows = if table.is_empty() {
        "no profiles\n".to_owned()
    } else {
        table.to_text()
    };
    output::print(&format!("{}\n{rows}", fields.to_text()))
}

/// What a card says about itself.
struct State {
    eid: Eid,
    profiles: Vec<ProfileInfo>,
    eims: Vec<rsp::sgp32::EimConfigurationData>,
    default_smdp: Option<String>,
    root_smds: String,
    free_memory: String,
    notifications: usize,
    package_results: usize,
}

impl State {
    fn read(es10: &mut Es10<'_>) -> Result<Self, CardError> {
        /// `5A 4F 9F70 90 91 92 95 9F26`
        const TAGS: &[u8] = &[0x5A, 0x4F, 0x9F, 0x70, 0x90, 0x91, 0x92, 0x95, 0x9F, 0x26];
        let addresses = es10.addresses()?;
        Ok(Self {
            eid: es10.eid()?,
            profiles: es10.profiles(Some(TAGS))?,
            eims: es10.eim_configuration()?,
            default_smdp: addresses
                .default_dp_address
                .filter(|address| !address.is_empty()),
            root_smds: addresses.root_ds_address,
            free_memory: hexadecimal(&es10.info2()?.ext_card_resource.0),
            notifications: es10.notifications(None)?.len(),
            package_results: es10.package_results()?.len(),
        })
    }
}

fn profile_value(profile: &ProfileInfo) -> Value {
    json!({
        "iccid": profile.iccid.map(|iccid| iccid.to_string()),
        "state": match profile.profile_state {
            Some(ProfileState::Enabled) => "enabled",
            _ => "disabled",
        },
        "class": match profile.profile_class {
            None | Some(ProfileClass::Operational) => "operational",
            Some(ProfileClass::Test) => "test",
            Some(ProfileClass::Provisioning) => "provisioning",
            Some(_) => "unknown",
        },
        "provider": profile.service_provider_name,
        "name": profile.profile_name,
        "nickname": profile.profile_nickname,
        "fallback": profile.fallback_attribute,
        "isdp_aid": profile.isdp_aid.as_ref().map(|aid| hexadecimal(aid.octets())),
    })
}

fn apdu(folder: &Path, apdus: &[String], format: Format) -> anyhow::Result<()> {
    let commands: Vec<Vec<u8>> = apdus
        .iter()
        .map(|apdu| {
            let compact: String = apdu.chars().filter(|c| !c.is_whitespace()).collect();
            hex::decode(&compact).map_err(|_| usage(format!("{apdu:?} is not hexadecimal")))
        })
        .collect::<anyhow::Result<_>>()?;
    let card = SoftCard::open(folder)?;
    let mut answers = Vec::new();
    for command in &commands {
        let answer = card.lock().transmit(command, &mut SystemEntropy);
        if answer.is_empty() {
            bail!("the card is mute");
        }
        answers.push(hexadecimal(&answer));
    }
    match format {
        Format::Json => output::print_json(&answers),
        Format::Table => output::print(
            &answers
                .iter()
                .map(|answer| format!("{answer}\n"))
                .collect::<String>(),
        ),
    }
}
