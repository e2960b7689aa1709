use std::path::{Path, PathBuf};

use anyhow::Context;
use intent::action::{MachineKey, Network};
use intent::key_file::ClientKey;
use intent::{Action, CredentialId, Grant, Principal};
use serde_json::{Value, json};

use super::Ending;
use super::asking::{Asked, Asking, grants_text, parse_grant};
use super::duration::Span;
use super::shared::{DataFolder, list, text, time, yes};
use crate::adapters::{SystemClock, SystemEntropy};
use crate::output::{self, Format, Table, time_of};
use crate::proposing::create_private;

/// Keys of machines: make, rotate, revoke; and see who is known here.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
A machine signs every change with its key (Ed25519, RFC 9421); only the public half leaves the file. It
proposes what its grants allow and never approves. Roles for machines: viewer, auditor, operator,
fleet-admin (`palisade person --help` explains them).

Examples:
  palisade key create ci --grant operator:meters --expires 90d --out ci.key
  palisade key rotate ci --overlap 24h --out ci-new.key --key ci.key
  palisade key revoke pk_3q2-7wAAA…
  palisade key list";

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a key and have it admitted.
    Create {
        /// The machine's name.
        name: Principal,
        /// What it may do; may be given several times.
        #[arg(long, required = true, value_name = "ROLE[:FLEET+FLEET]", value_parser = parse_grant)]
        grant: Vec<Grant>,
        /// How long the key is valid. Every key ends.
        #[arg(long, value_name = "DURATION", default_value = "365d")]
        expires: Span,
        /// From where it may be used, 127.0.0.0/8 for the host of the eIM; may be given several times [default: anywhere].
        #[arg(long, value_name = "ADDRESS/BITS")]
        network: Vec<Network>,
        /// Where the key is written, mode 0600 [default: NAME.key].
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        asking: Asking,
    },
    /// Give a machine another key. It may ask for that itself, with the key that it has.
    Rotate {
        /// The machine.
        name: Principal,
        /// How long the keys before it stay valid.
        #[arg(long, value_name = "DURATION", default_value = "24h")]
        overlap: Span,
        /// How long the new key is valid.
        #[arg(long, value_name = "DURATION", default_value = "365d")]
        expires: Span,
        /// Where the new key is written, mode 0600 [default: NAME-KEYID.key].
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        asking: Asking,
    },
    /// End a key or passkey, effective on the very next call.
    ///
    /// To end somebody with everything they have: `palisade person revoke NAME`.
    Revoke {
        /// Its id, as `palisade key list` shows it.
        #[arg(allow_hyphen_values = true)]
        id: CredentialId,
        #[command(flatten)]
        asking: Asking,
    },
    /// List people and machines: what they may do, with what, until when, and when they last did something.
    List {
        #[command(flatten)]
        data: DataFolder,
        /// Those that were revoked or have expired, too.
        #[arg(long)]
        all: bool,
    },
}

pub(crate) fn run(args: Args, format: Format) -> anyhow::Result<Ending> {
    match args.command {
        Command::Create {
            name,
            grant,
            expires,
            network,
            out,
            asking,
        } => {
            let out = out.unwrap_or_else(|| PathBuf::from(format!("{name}.key")));
            let new = NewKey::write(name.clone(), expires, out)?;
            let action = Action::AdmitMachine {
                name,
                grants: grant,
                key: new.public.clone(),
                networks: network,
            };
            new.ask(&asking, action, format)
        }
        Command::Rotate {
            name,
            overlap,
            expires,
            out,
            asking,
        } => {
            let new = NewKey::make(name.clone(), expires)?;
            let id: String = new.public.id.as_str().chars().take(11).collect();
            let out = out.unwrap_or_else(|| PathBuf::from(format!("{name}-{id}.key")));
            let new = new.kept(out)?;
            let overlap_until = SystemClock.millis().saturating_add(overlap.0);
            let action = Action::RotateKey {
                name,
                key: new.public.clone(),
                overlap_until,
            };
            output::note(&format!(
                "the keys before it stay valid until {}",
                time_of(overlap_until)
            ));
            new.ask(&asking, action, format)
        }
        Command::Revoke { id, asking } => {
            asking.ask_and_say(Action::RevokeCredential { credential: id }, None, format)
        }
        Command::List { data, all } => list_principals(&data, all, format),
    }
}

/// A key that nobody knows yet.
struct NewKey {
    public: MachineKey,
    key: ClientKey,
    path: PathBuf,
}

impl NewKey {
    fn make(name: Principal, expires: Span) -> anyhow::Result<Self> {
        let key = ClientKey::generate(name, &mut SystemEntropy);
        let now = SystemClock.millis();
        Ok(Self {
            public: MachineKey {
                id: key.id(),
                public: *key.public().as_bytes(),
                not_before: now,
                expires_at: now.saturating_add(expires.0),
            },
            key,
            path: PathBuf::new(),
        })
    }

    fn write(name: Principal, expires: Span, path: PathBuf) -> anyhow::Result<Self> {
        Self::make(name, expires)?.kept(path)
    }

    /// Writes the file first: an admitted key that nobody has would be worse than a file that is not admitted.
    fn kept(self, path: PathBuf) -> anyhow::Result<Self> {
        create_private(&path, self.key.to_json().as_bytes())
            .context("the key cannot be kept, so it was not admitted")?;
        Ok(Self { path, ..self })
    }

    fn ask(self, asking: &Asking, action: Action, format: Format) -> anyhow::Result<Ending> {
        let asked = match asking
            .data
            .server()
            .and_then(|server| asking.ask(&server, action, None))
        {
            Ok(asked) => asked,
            Err(error) => {
                // It is good for nothing.
                let _ = std::fs::remove_file(&self.path);
                return Err(error);
            }
        };
        self.say(&asked, format)?;
        Ok(Ending::Done)
    }

    fn say(&self, asked: &Asked, format: Format) -> anyhow::Result<()> {
        let path: &Path = &self.path;
        match format {
            Format::Json => output::print_json(&json!({
                "key_id": self.public.id,
                "file": path,
                "expires_at": self.public.expires_at,
                "intent": asked.status,
            })),
            Format::Table => {
                asked.say(format)?;
                output::print(&format!(
                    "\nkey      {}\nuntil    {}\nfile     {path}\n\nUse it:\n  export PALISADE_KEY={path}\n",
                    self.public.id,
                    time_of(self.public.expires_at),
                    path = path.display()
                ))
            }
        }
    }
}

/// Something that ends within this time is marked.
const SOON_MS: i64 = 14 * 86_400_000;

fn list_principals(data: &DataFolder, all: bool, format: Format) -> anyhow::Result<Ending> {
    let principals = data.server()?.get("/v1/principals")?;
    if format == Format::Json {
        output::print_json(&principals)?;
        return Ok(Ending::Done);
    }
    let now = SystemClock.millis();
    let mut table = Table::new(&[
        "name",
        "kind",
        "may be",
        "credential",
        "valid until",
        "last use",
        "from",
        "for",
    ]);
    for principal in principals.as_array().into_iter().flatten() {
        let is_gone = !yes(principal, "revoked").is_empty();
        for credential in list(principal, "credentials") {
            let (ends, is_over) = ends(credential, now, is_gone);
            if is_over && !all {
                continue;
            }
            table.row([
                text(principal, "name"),
                text(credential, "kind"),
                &grants_text(principal),
                text(credential, "id"),
                &ends,
                &time(credential, "last_used_at"),
                text(credential, "last_used_from"),
                text(credential, "last_used_for"),
            ]);
        }
    }
    output::print(&match table.is_empty() {
        true => "nobody is known here yet; the first owner enrols with the code that `palisade init` printed\n".to_owned(),
        false => table.to_text(),
    })?;
    Ok(Ending::Done)
}

/// Until when, in words, and whether that is over.
fn ends(credential: &Value, now: i64, is_gone: bool) -> (String, bool) {
    let until = credential
        .get("expires_at")
        .and_then(Value::as_i64)
        .unwrap_or_default();
    let shown = time_of(until);
    if is_gone || !yes(credential, "revoked").is_empty() {
        return ("revoked".to_owned(), true);
    }
    match until.saturating_sub(now) {
        left if left <= 0 => (format!("{shown} EXPIRED"), true),
        left if left <= SOON_MS => (format!("{shown} SOON"), false),
        _ => (shown, false),
    }
}
