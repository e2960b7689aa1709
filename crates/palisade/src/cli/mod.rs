//! The command line: one module for each subcommand.
//!
//! A new subcommand is a module with an `Args` and a `run`, and a line in [`Command`] and in [`dispatch`].

mod asking;
mod authority;
mod bench;
mod config;
mod cosigned;
mod decode;
mod demo;
mod device;
mod device_file;
mod device_import;
mod duration;
mod eim;
mod enrol;
mod euicc;
mod freeze;
mod init;
mod intent;
mod ipa;
mod key;
mod ledger;
mod ledger_export;
mod operation;
mod person;
mod pki;
mod policy;
mod profile;
mod serve;
mod shared;
mod signing_key;
mod smdp;
mod token;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::output::Format;

/// Palisade: an open, security-first eSIM IoT remote Manager (eIM) for GSMA SGP.32.
#[derive(Debug, Parser)]
#[command(name = "palisade", version, propagate_version = true, long_about = LONG_ABOUT, after_help = AFTER_HELP)]
struct Cli {
    /// How lists and objects are printed.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        env = "PALISADE_OUTPUT"
    )]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

const LONG_ABOUT: &str = "\
Palisade: an open, security-first eSIM IoT remote Manager (eIM) for GSMA SGP.32.

One program holds everything that a remote SIM provisioning chain for IoT consists of: the eIM
that manages devices, an SM-DP+ that delivers profiles, and for tests and labs an IoT Profile
Assistant (IPA) and a software eUICC.";

const AFTER_HELP: &str = "\
A whole chain on one machine (a lab: one person, no approvals):
  palisade pki new --directory pki
  palisade init --data eim --pki pki --fqdn localhost:8443 --insecure-no-approvals
  palisade serve --data eim &
  export PALISADE_DATA=eim
  palisade enrol --code <CODE of init> --name alice --software-passkey alice.json
  palisade key create ci --grant operator --grant fleet-admin --passkey alice.json
  export PALISADE_KEY=ci.key
  palisade euicc new --directory card --pki pki
  palisade eim association-data --out association.der
  palisade ipa add-initial-eim --euicc card --association-data association.der
  palisade device register <EID>
  palisade profile list <EID> --refresh
  palisade ipa run --euicc card --once
  palisade device show <EID>
  palisade device history <EID>

Every change is an intent, signed with a key (--key, PALISADE_KEY) or a passkey (--passkey,
PALISADE_PASSKEY); the authority checks it, records it, and alone can sign for devices. Reading needs
nothing but access to the socket.

Exit status: 0 done (or waiting for approvals), 1 failed, 2 wrong usage. `palisade help <command>`
explains a command.";

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Args),
    Serve(serve::Args),
    Authority(authority::Args),
    Demo(demo::Args),
    Eim(eim::Args),
    Device(device::Args),
    Profile(profile::Args),
    Operation(operation::Args),
    Enrol(enrol::Args),
    Person(person::Args),
    Key(key::Args),
    Token(token::Args),
    Intent(intent::Args),
    Policy(policy::Args),
    Freeze(freeze::FreezeArgs),
    Thaw(freeze::ThawArgs),
    SigningKey(signing_key::Args),
    Ledger(ledger::Args),
    Pki(pki::Args),
    Decode(decode::Args),
    Bench(bench::Args),
    Config(config::Args),
    Smdp(smdp::Args),
    Euicc(euicc::Args),
    Ipa(ipa::Args),
}

/// How a command ended that did not break off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// As wished.
    Done,
    /// It did its work, and the answer is no: a chain that does not verify, an operation that failed.
    Failed,
    /// A supervisor is not to start it again by itself.
    NotAgain,
}

/// What was typed cannot be meant. Ends with exit status 2, like what clap finds out.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UsageError(String);

fn usage(message: impl Into<String>) -> anyhow::Error {
    UsageError(message.into()).into()
}

/// Runs the command that was typed.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli) {
        Ok(Ending::Done) => ExitCode::SUCCESS,
        Ok(Ending::Failed) => ExitCode::from(1),
        Ok(Ending::NotAgain) => ExitCode::from(crate::authority::NOT_AGAIN),
        Err(error) => {
            report(&error);
            ExitCode::from(if error.is::<UsageError>() { 2 } else { 1 })
        }
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<Ending> {
    let format = cli.output;
    match cli.command {
        Command::Init(args) => init::run(args, format),
        Command::Serve(args) => serve::run(args),
        Command::Authority(args) => authority::run(args),
        Command::Enrol(args) => enrol::run(args, format),
        Command::Person(args) => person::run(args, format),
        Command::Key(args) => key::run(args, format),
        Command::Token(args) => token::run(args, format),
        Command::Intent(args) => intent::run(args, format),
        Command::Policy(args) => policy::run(args, format),
        Command::Freeze(args) => freeze::freeze(args, format),
        Command::Thaw(args) => freeze::thaw(args, format),
        Command::SigningKey(args) => signing_key::run(args, format),
        Command::Ledger(args) => ledger::run(args, format),
        Command::Demo(args) => demo::run(args, format),
        Command::Eim(args) => eim::run(args, format),
        Command::Device(args) => device::run(args, format),
        Command::Profile(args) => profile::run(args, format),
        Command::Operation(args) => operation::run(args, format),
        Command::Pki(args) => pki::run(args, format),
        Command::Decode(args) => decode::run(args, format),
        Command::Bench(args) => bench::run(args, format),
        Command::Config(args) => config::run(args, format),
        Command::Smdp(args) => smdp::run(args, format),
        Command::Euicc(args) => euicc::run(args, format),
        Command::Ipa(args) => ipa::run(args, format),
    }
}

/// Prints an error with its causes, each once and on lines of its own.
fn report(error: &anyhow::Error) {
    let mut err = std::io::stderr().lock();
    let mut last = error.to_string();
    // The exit status still tells when nobody reads.
    let _ = writeln!(err, "error: {}", indented(&last));
    for cause in error.chain().skip(1) {
        let text = cause.to_string();
        if text != last {
            let _ = writeln!(err, "  because: {}", indented(&text));
        }
        last = text;
    }
}

/// Several lines of one message stand below each other.
fn indented(text: &str) -> String {
    text.trim_end()
        .lines()
        .map(crate::output::printable)
        .collect::<Vec<_>>()
        .join("\n    ")
}
