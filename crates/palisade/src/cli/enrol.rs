use std::path::PathBuf;

use anyhow::Context;
use intent::Principal;
use intent::api::{Enrol, enrolment_challenge};
use intent::passkey::SoftwarePasskey;
use serde_json::Value;

use super::Ending;
use super::asking::{grants_text, origin, parameters, usual_passkey};
use super::shared::{DataFolder, argument_or_stdin, text, time};
use crate::adapters::SystemEntropy;
use crate::output::{self, Fields, Format};
use crate::proposing::{create_private, read_private};

/// Enrol as a person: show the one-time code and make a passkey.
#[derive(Debug, clap::Args)]
#[command(long_about = LONG_ABOUT, after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    data: DataFolder,
    /// The one-time code; `-` reads it from the standard input.
    #[arg(long)]
    code: String,
    /// Your name here: the one you were invited under, or any for the first owner.
    #[arg(long)]
    name: Principal,
    /// Make the passkey as this file [default: passkey.json in ~/.config/palisade].
    #[arg(long, value_name = "FILE")]
    software_passkey: Option<PathBuf>,
    /// File (mode 0600) with a passphrase to protect the passkey file with.
    #[arg(long, value_name = "FILE", env = "PALISADE_PASSPHRASE_FILE")]
    passphrase_file: Option<PathBuf>,
}

const LONG_ABOUT: &str = "\
Enrol as a person: show the one-time code and make a passkey.

`palisade init` prints the code of the first owner, `palisade person invite` that of everybody else.
It works once. The passkey is then what you prove your wishes with (--passkey).

A software passkey is a file. Whoever copies it, and learns its passphrase, is you: it is worth as
much as the safety of the computer it lies on. Installations accept such passkeys only if they were
made with --insecure-software-passkeys or --insecure-no-approvals, or their policy allows it.";

const AFTER_HELP: &str = "\
Examples:
  palisade enrol --code k3m9-… --name alice --software-passkey alice.json
  palisade enrol --code - --name alice --software-passkey alice.json --passphrase-file secret.txt";

pub(crate) fn run(args: Args, format: Format) -> anyhow::Result<Ending> {
    let code = argument_or_stdin(&args.code, "code")?;
    let server = args.data.server()?;
    let parameters = parameters(&server)?;
    let path = match args.software_passkey {
        Some(path) => path,
        None => usual_passkey()?,
    };
    let mut passkey =
        SoftwarePasskey::create(&parameters.rp_id, args.name.clone(), &mut SystemEntropy)?;
    if let Some(file) = &args.passphrase_file {
        let passphrase = read_private(file)?;
        passkey.protect(passphrase.trim_end_matches('\n'), &mut SystemEntropy)?;
    }
    // Written first: an enrolled passkey that nobody has would be worse than a file that is not enrolled.
    create_private(&path, passkey.to_json().as_bytes())
        .context("the passkey cannot be kept, so nothing was enrolled")?;
    let challenge = enrolment_challenge(&parameters.installation, &code, &args.name);
    let enrolment = Enrol {
        code,
        name: args.name,
        registration: Box::new(passkey.register(origin(&parameters)?, challenge.as_bytes())?),
    };
    let principal = match server.post("/v1/enrolments", &enrolment) {
        Ok(principal) => principal,
        Err(error) => {
            // It is good for nothing.
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
    };
    match format {
        Format::Json => output::print_json(&principal)?,
        Format::Table => output::print(&enrolled_text(&principal, &path))?,
    }
    if !passkey.is_protected() {
        output::note(&format!(
            "note: whoever copies {} is you. --passphrase-file protects it; the policy can refuse passkeys that are files",
            path.display()
        ));
    }
    Ok(Ending::Done)
}

fn enrolled_text(principal: &Value, path: &std::path::Path) -> String {
    let path = path.display().to_string();
    let fields = Fields::default()
        .add("name", text(principal, "name"))
        .add("is", grants_text(principal))
        .add("until", time(principal, "expires_at"))
        .add("passkey", &path)
        .to_text();
    format!(
        "{fields}\nProve your wishes with it:\n  export PALISADE_PASSKEY={path}\n  palisade device register <EID>\n"
    )
}
