use std::path::PathBuf;

use anyhow::Context;
use intent::{Action, Command as Order, Digest};
use rsp::ids::Eid;
use serde_json::{Value, json};

use super::Ending;
use super::asking::{Asking, device_set};
use super::shared::{DataFolder, list, number, text, yes};
use crate::authority::{AuthorityFolder, SigningKeys, parse_key_uri};
use crate::config::{AuthorityPlace, File};
use crate::output::{self, Format, Table};

/// The eIM's signing keys: see them, make another one, move devices to it, retire the old one.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
A rotation can be broken off and gone on with at any step.

Examples:
  palisade signing-key make                  # a key in the authority's folder (or on a token: --at pkcs11:…)
  kill -HUP <pid of palisade serve>          # the authority reads it
  palisade signing-key add <KEY>             # an intent: it may be used
  palisade signing-key rotate <KEY> <EID>…   # each device takes it (updateEim) and proves it by its next answer
  palisade signing-key list                  # how many devices depend on which
  palisade signing-key retire <OLD KEY>      # refused while a device still depends on it";

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the keys that the authority has, and how many devices depend on each.
    List {
        #[command(flatten)]
        data: DataFolder,
    },
    /// Make a key on this machine, in the authority's folder or on a token. It is not used before it is added.
    Make {
        #[command(flatten)]
        data: DataFolder,
        /// Where, if not in a file: pkcs11:token=T;object=K?module-path=/lib.so&pin-source=file:/pin
        #[arg(long, value_name = "URI")]
        at: Option<String>,
    },
    /// Take a key into use.
    Add {
        /// SHA-256 of the key, as `signing-key list` shows it.
        #[arg(value_name = "KEY")]
        #[arg(allow_hyphen_values = true)]
        spki: Digest,
        #[command(flatten)]
        asking: Asking,
    },
    /// Move devices to a key: each one's eUICC is told to take it.
    Rotate {
        /// The key to move to.
        #[arg(value_name = "KEY")]
        #[arg(allow_hyphen_values = true)]
        spki: Digest,
        /// Devices.
        #[arg(required_unless_present = "all")]
        eids: Vec<Eid>,
        /// All devices that are registered.
        #[arg(long, conflicts_with = "eids")]
        all: bool,
        #[command(flatten)]
        asking: Asking,
    },
    /// Stop using a key for good.
    Retire {
        /// The key.
        #[arg(value_name = "KEY")]
        #[arg(allow_hyphen_values = true)]
        spki: Digest,
        #[command(flatten)]
        asking: Asking,
    },
}

pub(crate) fn run(args: Args, format: Format) -> anyhow::Result<Ending> {
    match args.command {
        Command::List { data } => list_keys(&data, format)?,
        Command::Make { data, at } => make(&data, at.as_deref(), format)?,
        Command::Add { spki, asking } => {
            return asking.ask_and_say(Action::AddSigningKey { spki_sha256: spki }, None, format);
        }
        Command::Rotate {
            spki,
            eids,
            all,
            asking,
        } => {
            let eids = match all {
                true => registered(&asking.data)?,
                false => eids,
            };
            let (devices, along) = device_set(eids)?;
            let action = Action::Operate {
                devices,
                commands: vec![Order::AdoptEimKey { spki_sha256: spki }],
            };
            return asking.ask_and_say(action, along, format);
        }
        Command::Retire { spki, asking } => {
            return asking.ask_and_say(
                Action::RetireSigningKey { spki_sha256: spki },
                None,
                format,
            );
        }
    }
    Ok(Ending::Done)
}

fn list_keys(data: &DataFolder, format: Format) -> anyhow::Result<()> {
    let keys = data.server()?.get("/v1/signing-keys")?;
    if format == Format::Json {
        return output::print_json(&keys);
    }
    let mut table = Table::new(&["key", "added by entry", "new devices", "devices"]);
    for key in keys.as_array().into_iter().flatten() {
        let entry = match number(key, "entry").as_str() {
            "" => "not added yet".to_owned(),
            number => number.to_owned(),
        };
        table.row([
            text(key, "spki_sha256"),
            &entry,
            yes(key, "for_association"),
            &number(key, "devices"),
        ]);
    }
    output::print(&table.to_text())
}

fn make(data: &DataFolder, at: Option<&str>, format: Format) -> anyhow::Result<()> {
    let path = data.existing()?;
    let place = File::of_data_folder(path)?.authority.place(path, path)?;
    let AuthorityPlace::Child(folder) = place else {
        anyhow::bail!(
            "the authority is not in this data folder; run the command where it is, with --data FOLDER of an eIM beside it, or put a key into its keys folder as eim-signing-2.pem"
        );
    };
    let folder = AuthorityFolder::existing(folder)?;
    let location = at.map(parse_key_uri).transpose()?;
    let new = SigningKeys::make(&folder, location.as_ref())?;
    match format {
        Format::Json => output::print_json(&json!({
            "spki_sha256": new.id,
            "place": new.place,
            "setting": new.setting,
        })),
        Format::Table => {
            let setting = new.setting.map(|setting| {
                let file: PathBuf = folder.path().join(crate::config::FILE_NAME);
                format!(
                    "\nAdd it to {} below [authority]:\n  {setting}\n",
                    file.display()
                )
            });
            output::print(&format!(
                "key    {id}\nplace  {}\n{}\nHave the authority read it (SIGHUP to `palisade serve`), then:\n  palisade signing-key add {id}\n",
                new.place,
                setting.unwrap_or_default(),
                id = new.id,
            ))
        }
    }
}

fn registered(data: &DataFolder) -> anyhow::Result<Vec<Eid>> {
    let server = data.server()?;
    let mut eids = Vec::new();
    let mut after = String::new();
    loop {
        let page = server.get(&format!("/v1/devices?limit=1000{after}"))?;
        for device in list(&page, "devices") {
            if text(device, "state") != "retired" {
                let eid = text(device, "eid");
                eids.push(eid.parse().context("the server's answer cannot be read")?);
            }
        }
        match page.get("next").and_then(Value::as_str) {
            Some(next) => after = format!("&after={next}"),
            None => return Ok(eids),
        }
    }
}
