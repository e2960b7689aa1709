//! Asking for changes: who asks, with what proof, and what is said about it.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use intent::api::{Decide, Propose};
use intent::{Action, Command, Decision, DeviceSet, IntentId, Proof};
use rsp::ids::Eid;
use serde_json::Value;

use super::Ending;
use super::shared::{DataFolder, commands_text, list, number, text};
use crate::authority::wire::Parameters;
use crate::control::Client;
use crate::output::{self, Format};
use crate::proposing::{INTENTS, Proposal, Prover, read_private};

/// Who asks, and until when.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Asking {
    #[command(flatten)]
    pub(crate) data: DataFolder,
    #[command(flatten)]
    proof: ProofArgs,
    /// Why, for the people who approve and for the record.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Seconds until which it may be approved and carried out [default: 7 days].
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=2_678_400))]
    lifetime: Option<u32>,
}

/// What somebody proves who they are with.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ProofArgs {
    /// Key file of a machine, or the one from the safe [default: key.json in ~/.config/palisade, if it is there].
    #[arg(long, value_name = "FILE", env = "PALISADE_KEY")]
    key: Option<PathBuf>,
    /// Passkey file of a person; counts more than --key [default: passkey.json in ~/.config/palisade, if it is there].
    #[arg(long, value_name = "FILE", env = "PALISADE_PASSKEY")]
    passkey: Option<PathBuf>,
    /// File (mode 0600) with the passphrase of the passkey file.
    #[arg(long, value_name = "FILE", env = "PALISADE_PASSPHRASE_FILE")]
    passphrase_file: Option<PathBuf>,
}

/// How long an intent is valid unless said otherwise.
const LIFETIME_MS: i64 = 7 * 86_400_000;

/// An intent that the authority took, as the eIM answers.
pub(crate) struct Asked {
    /// The answer: how it stands.
    pub(crate) status: Value,
}

impl Asking {
    /// Asks for something: says what, proves it, and sends it.
    pub(crate) fn ask(
        &self,
        server: &Client,
        action: Action,
        devices: Option<Vec<Eid>>,
    ) -> anyhow::Result<Asked> {
        let parameters = parameters(server)?;
        let mut prover = self.proof.prover()?;
        let lifetime_ms = self
            .lifetime
            .map_or(LIFETIME_MS, |seconds| i64::from(seconds) * 1000);
        let proposal = Proposal::new(
            &parameters.installation,
            action,
            devices,
            self.note.clone(),
            lifetime_ms,
        )?;
        output::note(&format!(
            "{} asks: {}",
            prover.name(),
            described(proposal.action())
        ));
        let proven = proposal.prove(&mut prover, origin(&parameters)?)?;
        let status = send(server, proven)?;
        Ok(Asked { status })
    }

    /// Asks for something that needs no device to poll, and prints how it stands.
    pub(crate) fn ask_and_say(
        &self,
        action: Action,
        devices: Option<Vec<Eid>>,
        format: Format,
    ) -> anyhow::Result<Ending> {
        let server = self.data.server()?;
        let asked = self.ask(&server, action, devices)?;
        asked.say(format)?;
        Ok(Ending::Done)
    }

    /// Approves or rejects an intent.
    pub(crate) fn decide(&self, id: IntentId, decision: Decision) -> anyhow::Result<Value> {
        let server = self.data.server()?;
        let parameters = parameters(&server)?;
        let mut prover = self.proof.prover()?;
        let decision: Decide = prover.decide(id, decision, origin(&parameters)?)?;
        server.post(&format!("{INTENTS}/{id}/decisions"), &decision)
    }
}

impl Asked {
    /// Whether people have to approve first.
    pub(crate) fn waits(&self) -> bool {
        text(&self.status, "state") == "waiting"
    }

    /// Prints how it stands.
    pub(crate) fn say(&self, format: Format) -> anyhow::Result<()> {
        match format {
            Format::Json => output::print_json(&self.status),
            Format::Table => output::print(&format!("{}\n", standing(&self.status))),
        }
    }
}

impl ProofArgs {
    /// Reads the key or passkey that was named, or the one in the usual place.
    pub(crate) fn prover(&self) -> anyhow::Result<Prover> {
        let passphrase = self
            .passphrase_file
            .as_deref()
            .map(read_private)
            .transpose()?;
        let passphrase = passphrase.as_ref().map(|text| text.trim_end_matches('\n'));
        if let Some(path) = &self.passkey {
            return Prover::passkey(path, passphrase);
        }
        if let Some(path) = &self.key {
            return Prover::key(path);
        }
        let usual = |name: &str| usual_folder().map(|folder| folder.join(name));
        if let Some(path) = usual(KEY_FILE).filter(|path| path.is_file()) {
            return Prover::key(&path);
        }
        if let Some(path) = usual(PASSKEY_FILE).filter(|path| path.is_file()) {
            return Prover::passkey(&path, passphrase);
        }
        bail!(
            "every change is signed by who wants it; name a key with --key FILE (or PALISADE_KEY), or a passkey with --passkey FILE (or PALISADE_PASSKEY). `palisade enrol` makes a passkey, `palisade key create` a machine's key"
        );
    }
}

const KEY_FILE: &str = "key.json";
const PASSKEY_FILE: &str = "passkey.json";

/// Where keys lie unless said otherwise.
fn usual_folder() -> Option<PathBuf> {
    let configuration = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".config")));
    configuration.map(|folder| folder.join("palisade"))
}

/// Where a new passkey is written unless said otherwise.
pub(crate) fn usual_passkey() -> anyhow::Result<PathBuf> {
    let folder = usual_folder().context("there is no home folder; name a file")?;
    Ok(folder.join(PASSKEY_FILE))
}

/// What intents and passkeys have to be made for.
pub(crate) fn parameters(server: &Client) -> anyhow::Result<Parameters> {
    let answer = server.get("/v1/enrolments/parameters")?;
    serde_json::from_value(answer).context("the authority's parameters cannot be read")
}

/// The origin that software passkeys state.
pub(crate) fn origin(parameters: &Parameters) -> anyhow::Result<&str> {
    let first = parameters.origins.first().map(String::as_str);
    first.context("the installation has no origin for passkeys")
}

/// Sends a proven intent: as a signed request if nothing travels beside it, otherwise in an envelope.
pub(crate) fn send(server: &Client, proven: Propose) -> anyhow::Result<Value> {
    match &proven.proof {
        Proof::HttpSignature(proof) if proven.devices.is_none() && proven.openings.is_empty() => {
            let fields = [
                ("content-digest", proof.content_digest.as_str()),
                ("signature-input", proof.signature_input.as_str()),
                ("signature", proof.signature.as_str()),
            ];
            server.post_signed(INTENTS, proven.intent.clone().into_bytes(), &fields)
        }
        _ => server.post(INTENTS, &proven),
    }
}

/// How an intent stands, for people.
pub(crate) fn standing(status: &Value) -> String {
    let id = text(status, "id");
    match text(status, "state") {
        "waiting" => {
            let approved = list(status, "approved_by").count();
            let asked = status
                .get("approvers")
                .and_then(Value::as_u64)
                .unwrap_or_default();
            format!(
                "intent {id} waits: {approved} of {asked} approvals. Nothing happens before; another person approves with:\n  palisade intent approve {id} --passkey FILE"
            )
        }
        "approved" => match number(status, "devices").as_str() {
            "1" => format!("intent {id} approved; the device gets it when it polls"),
            many => format!("intent {id} approved; {many} devices get it when they poll"),
        },
        state => format!("intent {id} {state}"),
    }
}

/// The devices of a file, or one: exactly those an intent is about. The second value is the list to send along.
pub(crate) fn device_set(eids: Vec<Eid>) -> anyhow::Result<(DeviceSet, Option<Vec<Eid>>)> {
    Ok(DeviceSet::of(eids)?)
}

/// What an action does, in a line.
pub(crate) fn described(action: &Action) -> String {
    let value = serde_json::to_value(action).unwrap_or_default();
    described_json(&value)
}

/// The same for an action as it stands in an answer.
pub(crate) fn described_json(action: &Value) -> String {
    let devices = || match action.pointer("/devices/eids").and_then(Value::as_array) {
        Some(eids) => match eids.as_slice() {
            [one] => format!("the device {}", one.as_str().unwrap_or_default()),
            several => format!("{} devices", several.len()),
        },
        None => match action.pointer("/devices/count").and_then(Value::as_u64) {
            Some(count) => format!("{count} devices"),
            None => "no device".to_owned(),
        },
    };
    let name = || text(action, "name");
    let scope = || match action.get("scope") {
        Some(Value::String(word)) => word.clone(),
        Some(Value::Object(members)) => members
            .iter()
            .map(|(kind, which)| format!("the {kind} {}", which.as_str().unwrap_or_default()))
            .collect(),
        _ => String::new(),
    };
    match text(action, "type") {
        "operate" => format!("{} on {}", commands_text(action), devices()),
        "cancel" => format!("withdraw the intent {}", text(action, "intent")),
        "register-devices" => format!(
            "register {} in the fleet {}",
            devices(),
            text(action, "fleet")
        ),
        "retire-devices" => format!("end the management of {}", devices()),
        "reassociate-devices" => format!("let {} be associated anew", devices()),
        "invite-person" => match grants_text(action).as_str() {
            "" => format!("let {} enrol a further passkey", name()),
            grants => format!("invite {} as {grants}", name()),
        },
        "admit-machine" => format!("admit the machine {} as {}", name(), grants_text(action)),
        "rotate-key" => format!("give {} another key", name()),
        "revoke-credential" => format!("revoke the credential {}", text(action, "credential")),
        "revoke-principal" => format!("revoke {}", name()),
        "set-grants" => format!("make {} {}", name(), grants_text(action)),
        "issue-read-token" => format!(
            "issue the token {} that reads as {}",
            name(),
            grants_text(action)
        ),
        "set-policy" => format!(
            "put version {} of the policy in force",
            action
                .pointer("/policy/version")
                .and_then(Value::as_u64)
                .unwrap_or_default()
        ),
        "freeze" => format!("stop signing for {}", scope()),
        "thaw" => format!("sign again for {}", scope()),
        "add-signing-key" => format!("use the signing key {} too", text(action, "spki_sha256")),
        "retire-signing-key" => format!("retire the signing key {}", text(action, "spki_sha256")),
        other => other.to_owned(),
    }
}

/// `operator of all, viewer of meters and cars`
pub(crate) fn grants_text(value: &Value) -> String {
    let described = list(value, "grants").map(|grant| {
        let fleets = match grant.get("fleets") {
            Some(Value::Object(members)) => {
                let only = members.get("only").and_then(Value::as_array);
                let names = only.into_iter().flatten().filter_map(Value::as_str);
                names.collect::<Vec<_>>().join(" and ")
            }
            _ => "all".to_owned(),
        };
        format!("{} of {fleets}", text(grant, "role"))
    });
    described.collect::<Vec<_>>().join(", ")
}

/// `ROLE` or `ROLE:FLEET[+FLEET…]`
pub(crate) fn parse_grant(text: &str) -> Result<intent::Grant, String> {
    let (role, fleets) = match text.split_once(':') {
        Some((role, fleets)) => (role, Some(fleets)),
        None => (text, None),
    };
    let role = serde_json::from_value(Value::from(role)).map_err(|_| {
        format!(
            "{role:?} is no role; there are viewer, auditor, operator, approver, fleet-admin, security-admin and owner"
        )
    })?;
    let fleets = match fleets {
        None | Some("all") => intent::FleetScope::All,
        Some(list) => intent::FleetScope::Only(
            list.split('+')
                .map(|fleet| fleet.parse())
                .collect::<Result<_, intent::NameError>>()
                .map_err(|error| error.to_string())?,
        ),
    };
    Ok(intent::Grant { role, fleets })
}

/// A JSON list of commands.
pub(crate) fn read_commands(file: &Path) -> anyhow::Result<Vec<Command>> {
    let json = match file == Path::new("-") {
        true => std::io::read_to_string(std::io::stdin())
            .context("the standard input cannot be read")?,
        false => std::fs::read_to_string(file)
            .with_context(|| format!("{} cannot be read", file.display()))?,
    };
    serde_json::from_str(&json).with_context(|| {
        format!(
            "{} is not a JSON list of commands; see `palisade operation propose --help`",
            file.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use intent::{FleetScope, Role};

    use super::*;

    #[test]
    fn grants_are_a_role_and_fleets() {
        let grant = parse_grant("operator:meters+cars").unwrap();
        assert_eq!(grant.role, Role::Operator);
        assert!(matches!(grant.fleets, FleetScope::Only(fleets) if fleets.len() == 2));
        assert_eq!(parse_grant("owner").unwrap().fleets, FleetScope::All);
        assert_eq!(parse_grant("viewer:all").unwrap().fleets, FleetScope::All);
        for bad in ["boss", "operator:", "operator:A b", ""] {
            assert!(parse_grant(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn actions_are_described_in_a_line() {
        let eid = Eid::with_check_digits("890490320000000000000000000001").unwrap();
        let (devices, _) = device_set(vec![eid]).unwrap();
        let retire = described(&Action::RetireDevices { devices });
        assert_eq!(retire, format!("end the management of the device {eid}"));
        let freeze = Action::Freeze {
            scope: intent::action::FreezeScope::Fleet("meters".parse().unwrap()),
        };
        assert_eq!(described(&freeze), "stop signing for the fleet meters");
        let grants = vec![parse_grant("operator:meters").unwrap()];
        let set = Action::SetGrants {
            name: "ci".parse().unwrap(),
            grants,
        };
        assert_eq!(described(&set), "make ci operator of meters");
    }
}
