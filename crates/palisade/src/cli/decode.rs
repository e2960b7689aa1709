use std::io::{IsTerminal, Read};
use std::path::Path;

use anyhow::Context;
use rsp::dump::{self, TextOptions};
use serde_json::json;

use super::{Ending, usage};
use crate::output::{self, Format};

/// Show any message of SGP.32 and SGP.22 as an annotated tree.
#[derive(Debug, clap::Args)]
#[command(long_about = LONG_ABOUT, after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// A file, `-` for the standard input, or the octets themselves as hexadecimal or base64.
    #[arg(value_name = "FILE|-|OCTETS")]
    input: Option<String>,
    /// Read the octets as this type instead of finding it by the tag.
    #[arg(long = "as", value_name = "TYPE")]
    as_type: Option<String>,
    /// Show long octet strings whole, and what summaries stand for.
    #[arg(long)]
    full: bool,
    /// Begin each line with the place of the element.
    #[arg(long)]
    offsets: bool,
    /// List the types that can be given with --as.
    #[arg(long, conflicts_with_all = ["input", "as_type", "full", "offsets"])]
    list_types: bool,
}

const LONG_ABOUT: &str = "\
Show any message of SGP.32 and SGP.22 as an annotated tree, with the names of the specification,
units, and the meaning of codes.

Takes hexadecimal, base64, PEM or raw octets: eUICC Packages and results, ESipa and ES9+ messages,
notifications, profile packages, certificates, and STORE DATA commands that carry a message.
Malformed octets are shown as far as they can be read, with the place and the reason.
Keys and codes are not shown.";

const AFTER_HELP: &str = "\
Examples:
  palisade decode BF2E00
  palisade decode package.der --full
  xxd -p result.bin | palisade decode -
  palisade decode --as EuiccPackageResult result.hex
  palisade decode --list-types

Ends with status 1 when the octets do not fit the type.";

/// Twice the largest message, and white space.
const INPUT_OCTETS_MAX: u64 = 4 << 20;

pub(crate) fn run(args: Args, format: Format) -> anyhow::Result<Ending> {
    if args.list_types {
        let mut types: Vec<&str> = dump::types().collect();
        types.sort_unstable();
        match format {
            Format::Json => output::print_json(&types)?,
            Format::Table => output::print(&format!("{}\n", types.join("\n")))?,
        }
        return Ok(Ending::Done);
    }
    let octets = dump::parse_input(&read(args.input.as_deref())?)?;
    let annotated = match dump::annotate(&octets, args.as_type.as_deref()) {
        Err(error @ dump::DumpError::UnknownType { .. }) => {
            return Err(usage(format!(
                "{error}; `palisade decode --list-types` lists all"
            )));
        }
        other => other?,
    };
    let text = annotated.to_text(TextOptions {
        full: args.full,
        offsets: args.offsets,
    });
    match format {
        Format::Table => output::print(&text)?,
        Format::Json => {
            let types: Vec<_> = annotated
                .objects
                .iter()
                .map(|object| object.type_name)
                .collect();
            output::print_json(&json!({
                "octets": octets.len(),
                "types": types,
                "fits": annotated.fits(),
                "fault": annotated.fault.as_ref().map(ToString::to_string),
                "tree": text.lines().collect::<Vec<_>>(),
            }))?;
        }
    }
    if annotated.fits() {
        return Ok(Ending::Done);
    }
    if let Some(given) = args.input.as_deref().filter(|given| is_word(given)) {
        output::note(&format!(
            "note: there is no file named {given}, so it was read as base64"
        ));
    }
    Ok(Ending::Failed)
}

/// Whether an argument was taken for base64 but can as well be the name of a file that is not there.
fn is_word(given: &str) -> bool {
    let is_hexadecimal = given
        .bytes()
        .all(|b| b.is_ascii_hexdigit() || b.is_ascii_whitespace());
    given != "-" && !is_hexadecimal && !Path::new(given).is_file()
}

fn read(input: Option<&str>) -> anyhow::Result<Vec<u8>> {
    match input {
        None if std::io::stdin().is_terminal() => Err(usage(
            "give a file, octets in hexadecimal, or - and the standard input",
        )),
        None | Some("-") => {
            bounded(std::io::stdin().lock()).context("the standard input cannot be read")
        }
        Some(given) => {
            let path = Path::new(given);
            if path.is_file() {
                let file = std::fs::File::open(path);
                return file
                    .and_then(bounded)
                    .with_context(|| format!("{given} cannot be read"));
            }
            let octets = dump::parse_input(given.as_bytes())?;
            // Text that is no octets comes back as it is: then it was meant as the name of a file.
            if octets == given.as_bytes() {
                return Err(usage(format!(
                    "{given:?} is neither a file nor octets in hexadecimal or base64"
                )));
            }
            Ok(octets)
        }
    }
}

fn bounded(source: impl Read) -> std::io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    source.take(INPUT_OCTETS_MAX).read_to_end(&mut octets)?;
    Ok(octets)
}
