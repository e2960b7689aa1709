use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::ValueEnum;
use rsp::ids::{Eid, Iccid};
use serde_json::Value;

use super::Ending;
use super::serve::{Signal, Signals};
use super::shared::{argument_or_stdin, list, number, text};
use crate::config::File;
use crate::control::{Client, NotRunning};
use crate::lab;
use crate::lab::admin::{self, Import, Order, Request};
use crate::logging::{self, LogFormat};
use crate::output::{self, Fields, Format, Table};

/// Run an SM-DP+ for tests and labs: keep profiles, take orders, deliver to eUICCs.
#[derive(Debug, clap::Args)]
#[command(long_about = LONG_ABOUT, after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

const LONG_ABOUT: &str = "\
Run an SM-DP+ for tests and labs: it keeps profiles, takes orders (ES2+, or with these commands) and
delivers bound profile packages to eUICCs (ES9+, in JSON and ASN.1).

Its certificates are those of a folder that `palisade pki new` made. All commands work on its data
folder, whether it runs or not.";

const AFTER_HELP: &str = "\
Examples:
  palisade smdp import profile.der --pki pki --name 'Test profile' --iccid 89000123456789012341
  palisade smdp order --pki pki --iccid 89000123456789012341
  palisade smdp serve --pki pki --listen 127.0.0.1:8444

Activation codes name no port. Devices and the eIM use port 443 of the host, or are told another with
--resolve smdp.example.com=127.0.0.1:8444";

#[derive(Debug, clap::Subcommand)]
enum Command {
    Serve(ServeArgs),
    Import(ImportArgs),
    Order(OrderArgs),
    /// Undo an order that was not delivered. The profile can be ordered again.
    Cancel {
        /// The profile.
        iccid: Iccid,
        #[command(flatten)]
        lab: LabArgs,
    },
    /// List the profiles of the inventory.
    List {
        #[command(flatten)]
        lab: LabArgs,
        /// Begin after this profile.
        #[arg(long, value_name = "ICCID")]
        after: Option<Iccid>,
        /// At most this many.
        #[arg(long, value_name = "COUNT", default_value_t = 100)]
        limit: u32,
    },
    /// Show a profile with its history.
    Show {
        /// The profile.
        iccid: Iccid,
        #[command(flatten)]
        lab: LabArgs,
    },
    /// Say how the SM-DP+ is.
    Status {
        #[command(flatten)]
        lab: LabArgs,
    },
}

/// Which SM-DP+.
#[derive(Debug, clap::Args)]
struct LabArgs {
    /// Data folder of the SM-DP+; made if it is missing. A palisade.toml in it is read.
    #[arg(
        long,
        value_name = "FOLDER",
        env = "PALISADE_SMDP_DATA",
        default_value = "smdp-data"
    )]
    data: PathBuf,
    /// Folder that `palisade pki new` made.
    #[arg(long, value_name = "FOLDER", env = "PALISADE_PKI")]
    pki: Option<PathBuf>,
    /// Host name as in activation codes [default: the first of the TLS certificate].
    #[arg(long, value_name = "HOST", env = "PALISADE_SMDP_FQDN")]
    fqdn: Option<String>,
}

/// Listen on ES9+ (and ES2+) until SIGINT or SIGTERM. On SIGHUP the CRL of the CI is read again.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  palisade smdp serve --pki pki --listen 127.0.0.1:8444\n  palisade smdp serve --pki pki --es2-listen 127.0.0.1:8445"
)]
struct ServeArgs {
    #[command(flatten)]
    lab: LabArgs,
    /// Where ES9+ listens [default: 0.0.0.0:8444].
    #[arg(long, value_name = "ADDRESS:PORT", env = "PALISADE_SMDP_LISTEN")]
    listen: Option<SocketAddr>,
    /// Where ES2+ listens, with client certificates of the PKI [default: nowhere].
    #[arg(long, value_name = "ADDRESS:PORT", env = "PALISADE_SMDP_ES2_LISTEN")]
    es2_listen: Option<SocketAddr>,
    /// Level of the log, or list of levels by module [default: info].
    #[arg(long, value_name = "FILTER", env = "PALISADE_LOG")]
    log: Option<String>,
    /// How log lines look [default: text].
    #[arg(long, value_enum, env = "PALISADE_LOG_FORMAT")]
    log_format: Option<LogFormat>,
}

/// Import an unprotected profile package (UPP) with its metadata.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  palisade smdp import ts48.der --pki pki --name 'TS.48' --class test\n  palisade smdp import profile.der --pki pki --iccid 89000123456789012341 --iccid 89000123456789012358 --fallback-allowed"
)]
struct ImportArgs {
    /// The package: DER profile elements, or their hexadecimal.
    file: PathBuf,
    #[command(flatten)]
    lab: LabArgs,
    /// Name under which profiles of this kind are ordered.
    #[arg(long, value_name = "NAME", default_value = "lab")]
    profile_type: String,
    /// ICCID of a profile to make from the package; may be given several times [default: the one in the package].
    #[arg(long)]
    iccid: Vec<Iccid>,
    /// serviceProviderName: who the profile is from.
    #[arg(long, default_value = "Palisade Lab")]
    provider: String,
    /// profileName: what it is called.
    #[arg(long, default_value = "Profile")]
    name: String,
    /// Class of the profile.
    #[arg(long, value_enum, default_value_t)]
    class: Class,
    /// Who is told when the profile is installed, enabled, disabled or deleted; empty for nobody [default: this SM-DP+].
    #[arg(long, value_name = "HOST")]
    notify: Option<String>,
    /// The only operator on ES2+ that may order it.
    #[arg(long, value_name = "NAME")]
    operator: Option<String>,
    /// PPR1: it may not be disabled.
    #[arg(long)]
    no_disable: bool,
    /// PPR2: it may not be deleted.
    #[arg(long)]
    no_delete: bool,
    /// It may be made the fallback profile.
    #[arg(long)]
    fallback_allowed: bool,
    /// It is an emergency profile.
    #[arg(long)]
    ecall: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Class {
    Test,
    Provisioning,
    #[default]
    Operational,
}

/// Order, confirm and release a download, and print its activation code.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  palisade smdp order --iccid 89000123456789012341\n  palisade smdp order --profile-type lab --eid <EID> --confirmation-code 1234\n  palisade smdp order --iccid <ICCID> --eid <EID> --matching-id ''   # for the default SM-DP+ of this eUICC"
)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["iccid", "profile_type"]).multiple(true))]
struct OrderArgs {
    #[command(flatten)]
    lab: LabArgs,
    /// This profile.
    #[arg(long)]
    iccid: Option<Iccid>,
    /// Any profile of this type.
    #[arg(long, value_name = "NAME")]
    profile_type: Option<String>,
    /// For this eUICC only.
    #[arg(long)]
    eid: Option<Eid>,
    /// The matching id [default: chosen by the SM-DP+].
    #[arg(long, value_name = "ID")]
    matching_id: Option<String>,
    /// Code that whoever downloads must know; `-` reads it from the standard input.
    #[arg(long, value_name = "CODE", allow_hyphen_values = true)]
    confirmation_code: Option<String>,
}

impl LabArgs {
    /// The file of the data folder with environment and flags over it.
    fn settings(&self) -> anyhow::Result<File> {
        let mut file = File::of_data_folder(&self.data)?;
        if let Some(pki) = &self.pki {
            // Paths of the command line begin where the command runs.
            file.smdp.pki =
                Some(std::path::absolute(pki).context("the current folder is not known")?);
        }
        if let Some(fqdn) = &self.fqdn {
            if fqdn.contains(':') || crate::config::check_host(fqdn).is_err() {
                return Err(super::usage(format!(
                    "--fqdn {fqdn:?} is not a host name without a port"
                )));
            }
            file.smdp.fqdn = Some(fqdn.clone());
        }
        Ok(file)
    }

    /// Has a verb executed: by the server if it runs, else here.
    fn execute(&self, request: Request) -> anyhow::Result<Value> {
        let hint = format!("palisade smdp serve --data {}", self.data.display());
        let answer = Client::new(self.data.join(lab::SOCKET), hint)?.post("/v1/admin", &request);
        match answer {
            Err(error) if error.is::<NotRunning>() => {
                let lab = lab::open(&self.data, &self.settings()?)?;
                Ok(admin::execute(&lab.smdp, None, request)?)
            }
            other => other,
        }
    }
}

pub(crate) fn run(args: Args, format: Format) -> anyhow::Result<Ending> {
    match args.command {
        Command::Serve(args) => serve(&args)?,
        Command::Import(args) => import(&args, format)?,
        Command::Order(args) => order(&args, format)?,
        Command::Cancel { iccid, lab } => {
            print_profile(
                &lab.execute(Request::Cancel {
                    iccid: iccid.to_string(),
                })?,
                format,
            )?;
        }
        Command::List { lab, after, limit } => {
            let request = Request::List {
                after: after.map(|iccid| iccid.to_string()),
                limit,
            };
            print_list(&lab.execute(request)?, format)?;
        }
        Command::Show { iccid, lab } => {
            print_profile(
                &lab.execute(Request::Show {
                    iccid: iccid.to_string(),
                })?,
                format,
            )?;
        }
        Command::Status { lab } => print_status(&lab.execute(Request::Status)?, format)?,
    }
    Ok(Ending::Done)
}

fn serve(args: &ServeArgs) -> anyhow::Result<()> {
    let mut file = args.lab.settings()?;
    if let Some(listen) = args.listen {
        file.smdp.listen = listen;
    }
    file.smdp.es2_listen = args.es2_listen.or(file.smdp.es2_listen);
    let filter = args.log.as_ref().unwrap_or(&file.log.filter);
    logging::start(filter, args.log_format.unwrap_or(file.log.format))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        let lab = lab::open(&args.lab.data, &file)?;
        let running = lab::start(&args.lab.data, &file, lab).await?;
        while let Signal::Reload = signals.next().await {
            running.reload();
        }
        tracing::info!("stopping; requests under way are finished");
        tokio::select! {
            ended = running.stop() => ended,
            () = signals.stop() => anyhow::bail!("stopped at once, at a second signal"),
        }
    })
}

fn import(args: &ImportArgs, format: Format) -> anyhow::Result<()> {
    let octets =
        fs::read(&args.file).with_context(|| format!("{} cannot be read", args.file.display()))?;
    let request = Import {
        package: hex::encode(rsp::dump::parse_input(&octets)?),
        profile_type: args.profile_type.clone(),
        operator: args.operator.clone(),
        iccids: args.iccid.iter().map(ToString::to_string).collect(),
        provider: args.provider.clone(),
        name: args.name.clone(),
        class: match args.class {
            Class::Test => "test",
            Class::Provisioning => "provisioning",
            Class::Operational => "operational",
        }
        .to_owned(),
        notify: args.notify.clone(),
        no_disable: args.no_disable,
        no_delete: args.no_delete,
        fallback_allowed: args.fallback_allowed,
        ecall: args.ecall,
    };
    let imported = args.lab.execute(Request::Import(Box::new(request)))?;
    match format {
        Format::Json => output::print_json(&imported),
        Format::Table => {
            let lines = list(&imported, "iccids").filter_map(Value::as_str);
            output::print(&lines.map(|iccid| format!("{iccid}\n")).collect::<String>())
        }
    }
}

fn order(args: &OrderArgs, format: Format) -> anyhow::Result<()> {
    let code = args.confirmation_code.as_deref();
    let ordered = args.lab.execute(Request::Order(Order {
        iccid: args.iccid.map(|iccid| iccid.to_string()),
        profile_type: args.profile_type.clone(),
        eid: args.eid.map(|eid| eid.to_string()),
        matching_id: args.matching_id.clone(),
        confirmation_code: code
            .map(|code| argument_or_stdin(code, "confirmation code"))
            .transpose()?,
    }))?;
    match format {
        Format::Json => output::print_json(&ordered),
        Format::Table => output::print(&format!("{}\n", text(&ordered, "activation_code"))),
    }
}

fn print_list(profiles: &Value, format: Format) -> anyhow::Result<()> {
    if format == Format::Json {
        return output::print_json(profiles);
    }
    let mut table = Table::new(&[
        "iccid", "state", "type", "provider", "name", "eid", "attempts",
    ]);
    for profile in list(profiles, "profiles") {
        table.row([
            text(profile, "iccid"),
            text(profile, "state"),
            text(profile, "profile_type"),
            text(profile, "provider"),
            text(profile, "name"),
            text(profile, "eid"),
            &number(profile, "attempts"),
        ]);
    }
    output::print(&match table.is_empty() {
        true => "no profiles; add one with `palisade smdp import`\n".to_owned(),
        false => table.to_text(),
    })
}

fn print_profile(profile: &Value, format: Format) -> anyhow::Result<()> {
    if format == Format::Json {
        return output::print_json(profile);
    }
    let mut fields = Fields::default();
    for name in [
        "iccid",
        "state",
        "profile_type",
        "provider",
        "name",
        "operator",
        "eid",
    ] {
        fields.add(name, text(profile, name));
    }
    fields.add("attempts", number(profile, "attempts"));
    let mut history = Table::new(&["time", "event", "before", "after", "by"]);
    for step in list(profile, "history") {
        history.row(["at", "event", "before", "after", "actor"].map(|name| text(step, name)));
    }
    output::print(&format!("{}\n{}", fields.to_text(), history.to_text()))
}

fn print_status(status: &Value, format: Format) -> anyhow::Result<()> {
    if format == Format::Json {
        return output::print_json(status);
    }
    let mut fields = Fields::default();
    for name in ["fqdn", "oid", "es9plus", "es2plus", "counters"] {
        fields.add(name, text(status, name));
    }
    output::print(&fields.to_text())
}
