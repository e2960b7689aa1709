use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::ValueEnum;
use intent::command::{Command as Order, DataItem};
use intent::{Action, Fleet};
use rsp::ids::Eid;
use serde_json::Value;
use uuid::Uuid;

use super::asking::{Asking, device_set};
use super::device_import::{enrich, import, is_unknown};
use super::shared::{ChangeArgs, DEFAULT_FLEET, DataFolder, list, number, text, time, yes};
use super::{Ending, usage};
use crate::control::DeviceEnrichment;
use crate::output::{self, Fields, Format, Table};
use crate::trust;

/// Register devices, look at them, end their management.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  palisade device register 89049032123451234512345678901235 --label 'meter 17'
  palisade device import fleet.csv
  palisade device list
  palisade device show 89049032123451234512345678901235";

#[derive(Debug, clap::Subcommand)]
enum Command {
    Register(RegisterArgs),
    /// Register the devices of a CSV file as one intent, with a report for each line that is refused.
    ///
    /// Columns: eid, label, association_token; only the first is needed. A first line with these names may put them in
    /// another order. A bad line costs only itself. Labels and tokens are given to the devices once they are
    /// registered; if that needs an approval first, the eIM keeps them until then, and forgets them if it is refused.
    #[command(
        after_help = "Examples:\n  palisade device import fleet.csv --fleet meters\n  cut -f1 eids.txt | palisade device import -\n  palisade device import fleet.csv --data-only"
    )]
    Import {
        /// The file; `-` for the standard input.
        file: PathBuf,
        /// Fleet that the devices belong to; grants, quotas and policy speak of fleets.
        #[arg(long, default_value = DEFAULT_FLEET)]
        fleet: Fleet,
        /// Register nothing; give labels and tokens to devices that are registered.
        #[arg(long)]
        data_only: bool,
        #[command(flatten)]
        asking: Asking,
    },
    /// List devices in the order of their EIDs.
    List {
        #[command(flatten)]
        data: DataFolder,
        /// Begin after this EID.
        #[arg(long, value_name = "EID")]
        after: Option<Eid>,
        /// At most this many.
        #[arg(long, value_name = "COUNT", default_value_t = 1000)]
        limit: usize,
    },
    /// Show what is known about a device: profiles, eIMs, contacts.
    Show {
        /// The device.
        eid: Eid,
        #[command(flatten)]
        data: DataFolder,
    },
    /// End the management of a device. Nothing is signed for it any more; its record stays.
    #[command(
        after_help = "To take the eUICC out of this eIM's hands, delete the eIM on it first: `palisade eim delete`."
    )]
    Retire {
        /// The device.
        eid: Eid,
        #[command(flatten)]
        asking: Asking,
    },
    /// Let a device be associated anew, after its eUICC lost or replaced its association (a memory reset for example).
    #[command(after_help = "Examples:\n  palisade device reassociate <EID>")]
    Reassociate {
        /// The device.
        eid: Eid,
        #[command(flatten)]
        asking: Asking,
    },
    /// Show everything that was ever asked, signed and answered for a device, from the record; or write it as proof.
    ///
    /// The proof is a file that verifies with nothing but the public key of the ledger: `palisade ledger check-bundle`.
    #[command(
        after_help = "Examples:\n  palisade device history <EID>\n  palisade device history <EID> --proof history.json"
    )]
    History {
        /// The device.
        eid: Eid,
        #[command(flatten)]
        data: DataFolder,
        /// Write the bundle with its proofs to this file.
        #[arg(long, value_name = "FILE")]
        proof: Option<PathBuf>,
    },
    /// Show what happened on a device, oldest first.
    Events {
        /// The device.
        eid: Eid,
        #[command(flatten)]
        data: DataFolder,
        /// Begin after the event with this id.
        #[arg(long, value_name = "ID")]
        after: Option<Uuid>,
        /// At most this many.
        #[arg(long, value_name = "COUNT", default_value_t = 100)]
        limit: u32,
    },
    /// Show the notifications of a device's eUICC, newest first.
    Notifications {
        /// The device.
        eid: Eid,
        #[command(flatten)]
        data: DataFolder,
    },
    ReadData(ReadDataArgs),
    /// Wait until a device is associated: until its eUICC has signed a result for this eIM.
    ///
    /// If nothing waits for the device, it is asked for its profiles, so that there is something to sign.
    #[command(
        after_help = "Examples:\n  palisade device wait <EID> --timeout 60 && palisade profile list <EID>"
    )]
    Wait {
        /// The device.
        eid: Eid,
        #[command(flatten)]
        asking: Asking,
        /// Seconds to wait.
        #[arg(long, value_name = "SECONDS", default_value_t = 600)]
        timeout: u64,
    },
}

/// Register a device by the EID of its eUICC. From then on it may poll.
///
/// What else is needed to know about it (certificates, association token) is asked of the device at its first polls and
/// believed once its eUICC has signed. Whoever knows it beforehand gives it here, and then nothing else is accepted.
#[derive(Debug, clap::Args)]
#[command(after_help = REGISTER_AFTER_HELP)]
struct RegisterArgs {
    /// The EID, 32 digits.
    eid: Eid,
    #[command(flatten)]
    asking: Asking,
    /// Fleet that the device belongs to; grants, quotas and policy speak of fleets.
    #[arg(long, default_value = DEFAULT_FLEET)]
    fleet: Fleet,
    /// Your name for the device.
    #[arg(long)]
    label: Option<String>,
    /// The token that AddInitialEim returned; `-` reads it from the standard input.
    #[arg(long, value_name = "TOKEN", allow_hyphen_values = true)]
    association_token: Option<String>,
    /// CERT.EUICC (DER or PEM).
    #[arg(long, value_name = "FILE", requires = "eum_certificate")]
    euicc_certificate: Option<PathBuf>,
    /// CERT.EUM (DER or PEM).
    #[arg(long, value_name = "FILE", requires = "euicc_certificate")]
    eum_certificate: Option<PathBuf>,
}

const REGISTER_AFTER_HELP: &str = "\
Examples:
  palisade device register 89049032123451234512345678901235 --label 'meter 17'
  palisade device register 89049032123451234512345678901235 --euicc-certificate euicc.der --eum-certificate eum.der";

/// Ask a device for data of its eUICC and IPA (IpaEuiccDataRequest).
#[derive(Debug, clap::Args)]
#[command(after_help = READ_AFTER_HELP)]
struct ReadDataArgs {
    /// The device.
    eid: Eid,
    /// What to read; may be given several times [default: what is read from a new device].
    #[arg(long, value_enum)]
    item: Vec<Item>,
    #[command(flatten)]
    change: ChangeArgs,
}

const READ_AFTER_HELP: &str = "\
Examples:
  palisade device read-data <EID> --wait
  palisade device read-data <EID> --item euicc-info2 --item notifications --wait";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Item {
    Notifications,
    DefaultSmdpAddress,
    PackageResults,
    EuiccInfo1,
    EuiccInfo2,
    RootSmdsAddress,
    AssociationToken,
    EumCertificate,
    EuiccCertificate,
    IpaCapabilities,
    DeviceInfo,
}

impl Item {
    fn item(self) -> DataItem {
        match self {
            Self::Notifications => DataItem::Notifications,
            Self::DefaultSmdpAddress => DataItem::DefaultSmdpAddress,
            Self::PackageResults => DataItem::PackageResults,
            Self::EuiccInfo1 => DataItem::EuiccInfo1,
            Self::EuiccInfo2 => DataItem::EuiccInfo2,
            Self::RootSmdsAddress => DataItem::RootSmdsAddress,
            Self::AssociationToken => DataItem::AssociationToken,
            Self::EumCertificate => DataItem::EumCertificate,
            Self::EuiccCertificate => DataItem::EuiccCertificate,
            Self::IpaCapabilities => DataItem::IpaCapabilities,
            Self::DeviceInfo => DataItem::DeviceInfo,
        }
    }
}

pub(crate) fn run(args: Args, format: Format) -> anyhow::Result<Ending> {
    match args.command {
        Command::Register(args) => register(&args, format)?,
        Command::Import {
            file,
            fleet,
            data_only,
            asking,
        } => return import(&file, fleet, data_only, &asking, format),
        Command::List { data, after, limit } => list_devices(&data, after, limit, format)?,
        Command::Show { eid, data } => show(&data, eid, format)?,
        Command::Retire { eid, asking } => {
            let (devices, along) = device_set(vec![eid])?;
            return changed(
                eid,
                Action::RetireDevices { devices },
                along,
                &asking,
                format,
            );
        }
        Command::Reassociate { eid, asking } => {
            let (devices, along) = device_set(vec![eid])?;
            let action = Action::ReassociateDevices { devices };
            return changed(eid, action, along, &asking, format);
        }
        Command::History { eid, data, proof } => {
            return super::ledger::history(&data, eid, proof.as_deref(), format);
        }
        Command::Events {
            eid,
            data,
            after,
            limit,
        } => events(&data, eid, after, limit, format)?,
        Command::Notifications { eid, data } => notifications(&data, eid, format)?,
        Command::ReadData(args) => {
            let items = match args.item.is_empty() {
                true => DataItem::INTRODUCTION.to_vec(),
                false => args.item.iter().map(|item| item.item()).collect(),
            };
            return args
                .change
                .propose(args.eid, &[Order::ReadDeviceData { items }], format);
        }
        Command::Wait {
            eid,
            asking,
            timeout,
        } => wait(&asking, eid, timeout)?,
    }
    Ok(Ending::Done)
}

/// Asks for a change of what a device is, and shows the device if it is done.
fn changed(
    eid: Eid,
    action: Action,
    along: Option<Vec<Eid>>,
    asking: &Asking,
    format: Format,
) -> anyhow::Result<Ending> {
    let server = asking.data.server()?;
    let asked = asking.ask(&server, action, along)?;
    match asked.waits() {
        true => asked.say(format)?,
        false => print_device(&server.get(&format!("/v1/devices/{eid}"))?, format)?,
    }
    Ok(Ending::Done)
}

fn register(args: &RegisterArgs, format: Format) -> anyhow::Result<()> {
    let certificate = |path: &Option<PathBuf>| -> anyhow::Result<Option<String>> {
        let read = path
            .as_ref()
            .map(|path| trust::read_certificate(path))
            .transpose()?;
        Ok(read.map(|certificate| hex::encode(certificate.der())))
    };
    let token = args.association_token.as_deref().map(|token| {
        let token = super::shared::argument_or_stdin(token, "association token")?;
        token
            .parse::<i64>()
            .map_err(|_| usage("an association token is a number"))
    });
    let eid = args.eid;
    let data = DeviceEnrichment {
        eid: eid.to_string(),
        label: args.label.clone(),
        association_token: token.transpose()?,
        euicc_certificate: certificate(&args.euicc_certificate)?,
        eum_certificate: certificate(&args.eum_certificate)?,
    };
    let server = args.asking.data.server()?;
    let (devices, along) = device_set(vec![eid])?;
    let action = Action::RegisterDevices {
        fleet: args.fleet.clone(),
        devices,
    };
    let asked = args.asking.ask(&server, action, along)?;
    let has_data = !data.is_empty();
    let intent = asked.waits().then(|| text(&asked.status, "id"));
    let refused = enrich(&server, intent, vec![data])?.into_iter().next();
    if asked.waits() {
        asked.say(format)?;
        if let Some((_, reason)) = refused {
            bail!("the registration waits; what came along was not taken: {reason}");
        }
        if has_data {
            output::note(
                "its label, token and certificates are kept, and given to it when it is registered",
            );
        }
        return Ok(());
    }
    if let Some((_, reason)) = refused {
        bail!("the device is registered; what came along was not taken: {reason}");
    }
    let device = match server.get(&format!("/v1/devices/{eid}")) {
        Err(error) if is_unknown(&error) => bail!(
            "the authority has registered the device, and the eIM has not heard of it: its log says why it does not follow"
        ),
        answered => answered?,
    };
    print_device(&device, format)
}

fn list_devices(
    data: &DataFolder,
    after: Option<Eid>,
    limit: usize,
    format: Format,
) -> anyhow::Result<()> {
    const PAGE: usize = 1000;
    let server = data.server()?;
    let mut devices = Vec::new();
    let mut cursor = after.map(|eid| eid.to_string());
    let mut total = String::new();
    while devices.len() < limit {
        let after = cursor
            .map(|eid| format!("&after={eid}"))
            .unwrap_or_default();
        let page = server.get(&format!(
            "/v1/devices?limit={}{after}",
            PAGE.min(limit - devices.len())
        ))?;
        devices.extend(list(&page, "devices").cloned());
        total = number(&page, "total");
        cursor = page.get("next").and_then(Value::as_str).map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    if format == Format::Json {
        return output::print_json(&devices);
    }
    let mut table = Table::new(&["eid", "state", "label", "last poll"]);
    for device in &devices {
        table.row([
            text(device, "eid"),
            text(device, "state"),
            text(device, "label"),
            &time(device, "last_poll_at"),
        ]);
    }
    let rest = match devices.last() {
        Some(last) if cursor.is_some() => {
            format!(
                "\n{} of {total}; go on with --after {}\n",
                devices.len(),
                text(last, "eid")
            )
        }
        Some(_) => String::new(),
        None => "no devices; register one with `palisade device register`\n".to_owned(),
    };
    let rows = if table.is_empty() {
        String::new()
    } else {
        table.to_text()
    };
    output::print(&format!("{rows}{rest}"))
}

fn show(data: &DataFolder, eid: Eid, format: Format) -> anyhow::Result<()> {
    let device = data.server()?.get(&format!("/v1/devices/{eid}"))?;
    if format == Format::Json {
        return output::print_json(&device);
    }
    let contact = device.get("contact").unwrap_or(&Value::Null);
    let mut fields = device_fields(&device);
    fields
        .add("default SM-DP+", text(&device, "default_smdp"))
        .add("certificates known", yes(&device, "certificates_known"))
        .add(
            "association token known",
            yes(&device, "association_token_known"),
        )
        .add("last poll", time(contact, "last_poll_at"))
        .add("polls", number(contact, "polls"))
        .add("from", text(contact, "peer"))
        .add("operations open", number(&device, "operations_open"));
    let mut out = fields.to_text();
    let profiles = super::profile::table(&device);
    if !profiles.is_empty() {
        out.push_str(&format!("\n{}", profiles.to_text()));
    }
    let eims: Vec<_> = list(&device, "eims")
        .map(|eim| text(eim, "eim_id"))
        .collect();
    if !eims.is_empty() {
        out.push_str(&format!(
            "\neIMs: {}\n",
            output::printable(&eims.join(", "))
        ));
    }
    output::print(&out)
}

fn device_fields(device: &Value) -> Fields {
    let mut fields = Fields::default();
    fields
        .add("EID", text(device, "eid"))
        .add("label", text(device, "label"))
        .add("state", text(device, "state"))
        .add("fleet", text(device, "fleet"))
        .add("association", text(device, "association"))
        .add("association refused", text(device, "association_refusal"))
        .add("registered", time(device, "registered_at"))
        .add("counter", number(device, "counter"));
    fields
}

fn print_device(device: &Value, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Json => output::print_json(device),
        Format::Table => output::print(&device_fields(device).to_text()),
    }
}

fn events(
    data: &DataFolder,
    eid: Eid,
    after: Option<Uuid>,
    limit: u32,
    format: Format,
) -> anyhow::Result<()> {
    let after = after.map(|id| format!("&after={id}")).unwrap_or_default();
    let events = data
        .server()?
        .get(&format!("/v1/devices/{eid}/events?limit={limit}{after}"))?;
    if format == Format::Json {
        return output::print_json(&events);
    }
    let mut table = Table::new(&["time", "who", "what", "particulars"]);
    for event in list(&events, "events") {
        let detail = event
            .get("detail")
            .map(Value::to_string)
            .unwrap_or_default();
        table.row([
            &time(event, "at"),
            text(event, "actor"),
            text(event, "kind"),
            &detail,
        ]);
    }
    let mut out = table.to_text();
    let next = text(&events, "next");
    if !next.is_empty() {
        out.push_str(&format!("\nthere may be more; go on with --after {next}\n"));
    }
    output::print(&out)
}

fn notifications(data: &DataFolder, eid: Eid, format: Format) -> anyhow::Result<()> {
    let notifications = data
        .server()?
        .get(&format!("/v1/devices/{eid}/notifications"))?;
    if format == Format::Json {
        return output::print_json(&notifications);
    }
    let mut table = Table::new(&[
        "number",
        "event",
        "iccid",
        "for",
        "received",
        "forwarded",
        "attempts",
    ]);
    for one in list(&notifications, "notifications") {
        table.row([
            &number(one, "seq_number"),
            text(one, "event"),
            text(one, "iccid"),
            text(one, "address"),
            &time(one, "received_at"),
            &time(one, "forwarded_at"),
            &number(one, "attempts"),
        ]);
    }
    output::print(&if table.is_empty() {
        "no notifications\n".to_owned()
    } else {
        table.to_text()
    })
}

fn wait(asking: &Asking, eid: Eid, timeout_s: u64) -> anyhow::Result<()> {
    const EVERY: Duration = Duration::from_millis(500);
    let server = asking.data.server()?;
    let begun = Instant::now();
    let mut may_ask = true;
    loop {
        let device = server.get(&format!("/v1/devices/{eid}"))?;
        let open = device.get("operations_open").and_then(Value::as_i64);
        match text(&device, "state") {
            "associated" => return Ok(()),
            "retired" => bail!("the device is retired"),
            _ if may_ask && open == Some(0) => {
                may_ask = false;
                let list = Action::Operate {
                    devices: intent::DeviceSet::one(eid),
                    commands: vec![Order::ListProfiles],
                };
                asking.ask(&server, list, None)?;
            }
            _ if begun.elapsed() > Duration::from_secs(timeout_s) => {
                let polled = device
                    .pointer("/contact/polls")
                    .and_then(Value::as_i64)
                    .unwrap_or_default();
                bail!(
                    "the eUICC has signed nothing within {timeout_s} s; the device has polled {polled} times. Check that it has this eIM's association data (`palisade eim association-data`)"
                );
            }
            _ => std::thread::sleep(EVERY),
        }
    }
}
