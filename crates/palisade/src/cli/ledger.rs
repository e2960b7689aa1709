use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use ledger::{
    BUNDLE_JSON_MAX, Checked, Checkpoint, FolderStore, Reader, WitnessKey, check_bundle, verify,
};
use rsp::ids::Eid;
use serde_json::{Value, json};

use super::Ending;
use super::cosigned::{Cosigned, Wanted};
use super::ledger_export;
use super::serve::Signals;
use super::shared::{DataFolder, text, time};
use crate::authority::{AuthorityFolder, Watch, WitnessFolder, read_public_key, remembered, watch};
use crate::config::{AuthorityPlace, File, LogSection};
use crate::output::{self, Fields, Format, Table};

/// The record: verify it, prove what is in it, check proofs.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Everything that was asked, decided, signed and answered is in the record, which only grows. These commands
need no server: the files are enough, and for a bundle the public key alone.

Examples:
  palisade ledger verify
  palisade ledger verify --ledger copy/ledger --key ledger.pub --remembered authority-checkpoint
  palisade ledger verify --witness witness.example.com+5b2b0b1f+BA… --cosignatures 1
  palisade ledger prove 17 --out entry-17.json
  palisade device history <EID> --proof history.json
  palisade ledger check-bundle history.json --key ledger.pub";

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Verify the whole record from its files alone: every entry, every hash, every chain, every signature.
    Verify {
        #[command(flatten)]
        which: Which,
        /// A checkpoint that the record has to continue, as the eIM keeps it: finds a disk that was rolled back.
        #[arg(long, value_name = "FILE")]
        remembered: Option<PathBuf>,
        #[command(flatten)]
        wanted: Wanted,
    },
    /// Write an entry with the proof that it is in the record.
    Prove {
        /// Number of the entry.
        entry: u64,
        #[command(flatten)]
        which: Which,
        /// Where to [default: the standard output].
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Show an entry of the record.
    Show {
        /// Number of the entry.
        entry: u64,
        #[command(flatten)]
        which: Which,
    },
    /// Write entries for other systems, one line each: for security monitoring as OCSF events or syslog lines.
    #[command(after_help = EXPORT_AFTER_HELP)]
    Export {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        args: ledger_export::Args,
    },
    /// Check a proof, with nothing but the public key of the ledger.
    CheckBundle {
        /// The file, of `ledger prove` or `device history --proof`.
        file: PathBuf,
        /// The public key: `ledger.pub` from the authority's folder.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        #[command(flatten)]
        wanted: Wanted,
    },
    /// Be a witness: cosign checkpoints of ledgers that only grow, so that nobody can be shown another history.
    ///
    /// A witness is run by somebody else than the authority. The authority is told of it in [[authority.witnesses]].
    #[command(after_help = WITNESS_AFTER_HELP)]
    Witness {
        #[command(subcommand)]
        command: WitnessCommand,
    },
}

const EXPORT_AFTER_HELP: &str = "\
Examples:
  palisade ledger export --as ocsf --follow | vector --config vector.toml
  palisade ledger export --as syslog --follow --from 4711 | openssl s_client -quiet -connect siem.example.com:6514
  palisade ledger export --as entries > record.jsonl";

const WITNESS_AFTER_HELP: &str = "\
Examples:
  palisade ledger witness new --folder witness --name witness.example.com
  palisade ledger witness run --folder witness --know ledger.pub --listen 0.0.0.0:9444 --certificate tls.pem --tls-key tls-key.pem";

#[derive(Debug, clap::Subcommand)]
enum WitnessCommand {
    /// Make the key of a witness, and print what verifies its cosignatures.
    New {
        /// Its folder.
        #[arg(long, value_name = "FOLDER")]
        folder: PathBuf,
        /// Its name, a host name for example.
        #[arg(long)]
        name: String,
    },
    /// Run a witness (C2SP tlog-witness, over HTTPS).
    Run {
        /// Its folder.
        #[arg(long, value_name = "FOLDER")]
        folder: PathBuf,
        /// Public key of a ledger to witness; may be given several times.
        #[arg(long, value_name = "FILE", required = true)]
        know: Vec<PathBuf>,
        /// Where it listens.
        #[arg(long, value_name = "ADDRESS:PORT")]
        listen: std::net::SocketAddr,
        /// Its certificate chain, PEM.
        #[arg(long, value_name = "FILE")]
        certificate: PathBuf,
        /// The key of the certificate, PEM, mode 0600.
        #[arg(long, value_name = "FILE")]
        tls_key: PathBuf,
    },
}

/// Which ledger.
#[derive(Debug, clap::Args)]
struct Which {
    #[command(flatten)]
    data: DataFolder,
    /// Folder of the ledger's files, or of a copy [default: that of the authority in the data folder].
    #[arg(long, value_name = "FOLDER", requires = "key")]
    ledger: Option<PathBuf>,
    /// The public key [default: ledger.pub of the authority in the data folder].
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

impl Which {
    /// The witnesses of the authority in the data folder; none of a ledger that is named by its files.
    fn witnesses(&self) -> anyhow::Result<Vec<WitnessKey>> {
        if self.ledger.is_some() {
            return Ok(Vec::new());
        }
        let path = self.data.existing()?;
        let place = File::of_data_folder(path)?.authority.place(path, path)?;
        let AuthorityPlace::Child(folder) = place else {
            return Ok(Vec::new());
        };
        let settings = AuthorityFolder::new(folder).settings()?;
        let keys = settings.authority.witnesses.iter().map(|witness| {
            let key = witness.key.parse();
            key.with_context(|| format!("{:?} is not the key of a witness", witness.key))
        });
        keys.collect()
    }

    fn files(&self) -> anyhow::Result<(FolderStore, ledger::PublicKey)> {
        let (folder, key) = match (&self.ledger, &self.key) {
            (Some(folder), Some(key)) => (folder.clone(), key.clone()),
            (_, key) => {
                let path = self.data.existing()?;
                let place = File::of_data_folder(path)?.authority.place(path, path)?;
                let AuthorityPlace::Child(folder) = place else {
                    bail!(
                        "the authority is not in this data folder; name a copy of its ledger with --ledger FOLDER --key FILE"
                    );
                };
                let folder = AuthorityFolder::new(folder);
                let key = key.clone().unwrap_or_else(|| folder.public_key_file());
                (folder.ledger(), key)
            }
        };
        if !folder.is_dir() {
            bail!("there is no ledger in {}", folder.display());
        }
        Ok((FolderStore::reader(folder), read_public_key(&key)?))
    }
}

pub(crate) fn run(args: Args, format: Format) -> anyhow::Result<Ending> {
    match args.command {
        Command::Verify {
            which,
            remembered,
            wanted,
        } => verify_ledger(&which, remembered.as_deref(), &wanted, format),
        Command::Prove { entry, which, out } => {
            let (files, key) = which.files()?;
            let proof = Reader::open(&files, &key)?.prove(entry)?.to_json();
            written(&proof, out.as_deref())?;
            Ok(Ending::Done)
        }
        Command::Show { entry, which } => {
            let (files, key) = which.files()?;
            let octets = Reader::open(&files, &key)?.octets(entry)?;
            let entry: Value =
                serde_json::from_slice(&octets).context("the entry cannot be read")?;
            output::print_json(&entry)?;
            Ok(Ending::Done)
        }
        Command::Export { which, args } => {
            let (files, key) = which.files()?;
            ledger_export::run(&args, &files, &key)
        }
        Command::CheckBundle { file, key, wanted } => check(&file, &key, &wanted, format),
        Command::Witness { command } => witness(command),
    }
}

fn witness(command: WitnessCommand) -> anyhow::Result<Ending> {
    match command {
        WitnessCommand::New { folder, name } => {
            let key = WitnessFolder::new(folder).make(&name)?;
            output::print(&format!("{key}\n"))?;
        }
        WitnessCommand::Run {
            folder,
            know,
            listen,
            certificate,
            tls_key,
        } => {
            let log = LogSection::default();
            crate::logging::start(&log.filter, log.format)?;
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .context("the runtime cannot be started")?;
            runtime.block_on(async {
                let mut signals = Signals::new()?;
                let options = Watch {
                    folder: WitnessFolder::new(folder),
                    ledgers: know,
                    listen,
                    certificate,
                    key: tls_key,
                };
                watch(options, async move { signals.stop().await }).await
            })?;
        }
    }
    Ok(Ending::Done)
}

fn verify_ledger(
    which: &Which,
    remembered: Option<&Path>,
    wanted: &Wanted,
    format: Format,
) -> anyhow::Result<Ending> {
    let (files, key) = which.files()?;
    let usual = which.witnesses()?;
    let known = remembered.map(remembered::read).transpose()?;
    let report = verify(
        &files,
        &key,
        known.as_ref().map(|(_, checkpoint)| checkpoint),
        &mut |_| {},
    );
    let cosigned = wanted.find(report.checkpoint.as_ref(), &usual)?;
    let is_good = report.is_good() && cosigned.is_good();
    match format {
        Format::Json => output::print_json(&json!({
            "good": is_good,
            "report": report.to_string(),
            "cosignatures": cosigned.to_json(),
        }))?,
        Format::Table => output::print(&format!("{report}\n{}", cosigned.to_text()))?,
    }
    Ok(match is_good {
        true => Ending::Done,
        false => Ending::Failed,
    })
}

fn check(file: &Path, key: &Path, wanted: &Wanted, format: Format) -> anyhow::Result<Ending> {
    let key = read_public_key(key)?;
    let length = std::fs::metadata(file)
        .with_context(|| format!("{} cannot be read", file.display()))?
        .len();
    if usize::try_from(length).is_ok_and(|length| length > BUNDLE_JSON_MAX) {
        bail!("{} is longer than any bundle", file.display());
    }
    let json = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let checked = check_bundle(&json, &key)
        .map_err(anyhow::Error::from)
        .and_then(|checked| {
            asked_for(&checked)?;
            Ok(checked)
        });
    match checked {
        Ok(checked) => {
            let cosigned = wanted.find(Some(checkpoint_of(&checked)), &[])?;
            if !cosigned.is_good() {
                output::print(&format!("NOT PROVEN:\n{}", cosigned.to_text()))?;
                return Ok(Ending::Failed);
            }
            print_checked(&checked, Some(&cosigned), format)?;
            Ok(Ending::Done)
        }
        Err(error) => {
            output::print(&format!("NOT PROVEN: {error:#}\n"))?;
            Ok(Ending::Failed)
        }
    }
}

/// That what happened to a device follows from intents about it, which a bundle shows too.
fn asked_for(checked: &Checked) -> Result<(), authority::Unasked> {
    match checked {
        Checked::Entry(_) => Ok(()),
        Checked::History(history) => authority::check_asked(history),
    }
}

fn checkpoint_of(checked: &Checked) -> &Checkpoint {
    match checked {
        Checked::Entry(included) => &included.checkpoint,
        Checked::History(history) => &history.checkpoint,
    }
}

fn print_checked(
    checked: &Checked,
    cosigned: Option<&Cosigned>,
    format: Format,
) -> anyhow::Result<()> {
    let checkpoint = checkpoint_of(checked);
    let entries = match checked {
        Checked::Entry(included) => vec![&included.entry],
        // What the device's entries refer to stands with them: who asked, who approved.
        Checked::History(history) => history.entries.iter().chain(&history.context).collect(),
    };
    let mut entries: Vec<Value> = entries
        .into_iter()
        .map(|entry| {
            let octets = entry.encode().unwrap_or_default();
            serde_json::from_slice(&octets).unwrap_or(Value::Null)
        })
        .collect();
    entries.sort_by_key(|entry| entry.get("number").and_then(Value::as_u64));
    if format == Format::Json {
        return output::print_json(&json!({
            "proven": true,
            "entries_in_ledger": checkpoint.size(),
            "root": checkpoint.root().to_string(),
            "entries": entries,
            "cosignatures": cosigned.map(Cosigned::to_json),
        }));
    }
    let mut fields = Fields::default();
    match checked {
        Checked::Entry(_) => {
            fields.add("PROVEN", "the entry is in the record");
        }
        Checked::History(history) => {
            fields
                .add(
                    "PROVEN",
                    "all entries about the device, and those they refer to",
                )
                .add("device", history.device.to_string());
        }
    }
    fields
        .add("entries in the ledger", checkpoint.size().to_string())
        .add("root", checkpoint.root().to_string());
    output::print(&format!(
        "{}{}\n{}",
        fields.to_text(),
        cosigned.map(Cosigned::to_text).unwrap_or_default(),
        entries_table(&entries).to_text()
    ))
}

/// What is in entries, one line each.
fn entries_table(entries: &[Value]) -> Table {
    let mut table = Table::new(&["entry", "time", "who", "what", "particulars"]);
    for entry in entries {
        let number = entry
            .get("number")
            .and_then(Value::as_u64)
            .unwrap_or_default();
        let body: Vec<String> = entry
            .get("body")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .filter(|(_, value)| value.to_string().len() <= 80)
            .map(|(name, value)| match value {
                Value::String(text) => format!("{name} {text}"),
                other => format!("{name} {other}"),
            })
            .collect();
        table.row([
            &number.to_string(),
            &time(entry, "at"),
            text(entry, "actor"),
            text(entry, "kind"),
            &body.join(", "),
        ]);
    }
    table
}

/// What the record holds about a device, as the authority proves it.
pub(super) fn history(
    data: &DataFolder,
    eid: Eid,
    proof: Option<&Path>,
    format: Format,
) -> anyhow::Result<Ending> {
    let server = data.server()?;
    let bundle = server.get_octets(&format!("/v1/devices/{eid}/history"))?;
    if let Some(path) = proof {
        std::fs::write(path, &bundle)
            .with_context(|| format!("{} cannot be written", path.display()))?;
        output::note(&format!(
            "check it anywhere with: palisade ledger check-bundle {} --key ledger.pub",
            path.display()
        ));
        return Ok(Ending::Done);
    }
    let checkpoint = server.get("/v1/checkpoint")?;
    let key = text(&checkpoint, "key")
        .trim()
        .parse()
        .context("the authority's key cannot be read")?;
    let checked = check_bundle(&bundle, &key).context("the authority's proof does not hold")?;
    asked_for(&checked).context("the authority's proof does not hold")?;
    print_checked(&checked, None, format)?;
    Ok(Ending::Done)
}

fn written(text: &str, out: Option<&Path>) -> anyhow::Result<()> {
    match out {
        Some(path) => std::fs::write(path, text)
            .with_context(|| format!("{} cannot be written", path.display())),
        None => output::print(&format!("{text}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_members_are_left_out_of_tables() {
        let entry = json!({
            "number": 3, "at": 0, "actor": "eim", "kind": "package.ordered",
            "body": { "counter": 7, "package": "A".repeat(200) },
        });
        let text = entries_table(&[entry]).to_text();
        assert!(
            text.contains("counter 7") && !text.contains("AAAA"),
            "{text}"
        );
    }
}
