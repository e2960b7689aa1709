use std::path::PathBuf;

use serde_json::json;

use super::Ending;
use crate::config::{EXAMPLE, File};
use crate::output::{self, Fields, Format};

/// Print an example configuration file, or check one.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  palisade config example > palisade.toml
  palisade config check palisade.toml";

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print a commented file with every setting.
    Example,
    /// Check a file without starting anything.
    ///
    /// Reports the first mistake with its line, and every setting that weakens a protection.
    Check {
        /// The file.
        file: PathBuf,
    },
}

pub(crate) fn run(args: Args, format: Format) -> anyhow::Result<Ending> {
    match args.command {
        Command::Example => output::print(EXAMPLE)?,
        Command::Check { file } => check(&file, format)?,
    }
    Ok(Ending::Done)
}

fn check(path: &std::path::Path, format: Format) -> anyhow::Result<()> {
    let file = File::load(path)?;
    let insecure = file.insecure();
    match format {
        Format::Json => output::print_json(&json!({
            "file": path,
            "eim_id": file.eim.id,
            "fqdn": file.eim.fqdn,
            "listen": file.eim.listen,
            "insecure": insecure.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        })),
        Format::Table => {
            let mut fields = Fields::default();
            fields
                .add("file", path.display().to_string())
                .add("eimId", file.eim.id.as_deref().unwrap_or_default())
                .add("fqdn", file.eim.fqdn.as_deref().unwrap_or_default())
                .add("ESipa listens on", file.eim.listen.to_string());
            for (name, means) in insecure {
                fields.add(format!("warning: {name}"), means);
            }
            output::print(&format!("{}the file is good\n", fields.to_text()))
        }
    }
}
