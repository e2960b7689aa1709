//! Devices from a file: registered as one intent, with what is known of them.

use std::fs;
use std::path::Path;

use anyhow::Context;
use intent::{Action, Fleet};
use rsp::ids::Eid;
use serde_json::{Value, json};

use super::Ending;
use super::asking::{Asking, device_set};
use super::device_file::{self, Listed};
use super::shared::{list, text};
use crate::control::{Client, DeviceEnrichment, EnrichDevices};
use crate::output::{self, Format, Table};

/// Gives the eIM what is known of registered devices, or of those that an intent is to register. EIDs of those that did not take
/// it, with the reason.
pub(super) fn enrich(
    server: &Client,
    intent: Option<&str>,
    devices: Vec<DeviceEnrichment>,
) -> anyhow::Result<Vec<(String, String)>> {
    const AT_A_TIME: usize = 10_000;
    let devices: Vec<DeviceEnrichment> = devices
        .into_iter()
        .filter(|device| !device.is_empty())
        .collect();
    let intent = intent
        .map(|id| id.parse().context("the intent's id cannot be read"))
        .transpose()?;
    let mut refused = Vec::new();
    for part in devices.chunks(AT_A_TIME) {
        let request = EnrichDevices {
            devices: part.to_vec(),
            intent,
        };
        let report = server.post("/v1/devices/data", &request)?;
        for device in list(&report, "devices") {
            if let Some(problem) = device.get("refused").filter(|problem| problem.is_object()) {
                let reason = text(problem, "detail").to_owned();
                refused.push((text(device, "eid").to_owned(), reason));
            }
        }
    }
    Ok(refused)
}

/// Registers the devices of a file, and gives the eIM what the file says of them.
pub(super) fn import(
    file: &Path,
    fleet: Fleet,
    data_only: bool,
    asking: &Asking,
    format: Format,
) -> anyhow::Result<Ending> {
    let content = match file == Path::new("-") {
        true => std::io::read_to_string(std::io::stdin())
            .context("the standard input cannot be read")?,
        false => fs::read_to_string(file)
            .with_context(|| format!("{} cannot be read", file.display()))?,
    };
    let mut listed = device_file::read(&content)?;
    let server = asking.data.server()?;
    let mut waiting = None;
    let mut registered = 0;
    if !data_only {
        leave_out_registered(&server, &mut listed)?;
        let eids: Vec<Eid> = listed.devices.iter().map(|(_, eid, _)| *eid).collect();
        if !eids.is_empty() {
            registered = eids.len();
            let (devices, along) = device_set(eids)?;
            let action = Action::RegisterDevices { fleet, devices };
            let asked = asking.ask(&server, action, along)?;
            if asked.waits() {
                registered = 0;
                waiting = Some(asked);
            }
        }
    }
    let data: Vec<DeviceEnrichment> = listed
        .devices
        .iter()
        .map(|(_, _, device)| device.clone())
        .collect();
    let kept = match &waiting {
        Some(_) => data.iter().filter(|device| !device.is_empty()).count(),
        None => 0,
    };
    let intent = waiting.as_ref().map(|asked| text(&asked.status, "id"));
    let refused = enrich(&server, intent, data)?;
    let kept = kept.saturating_sub(refused.len());
    let reasons: std::collections::HashMap<String, String> = refused.into_iter().collect();
    let lines: Vec<(usize, String, String)> = listed
        .devices
        .iter()
        .filter_map(|(line, eid, _)| {
            let eid = eid.to_string();
            let reason = format!("its data were not taken: {}", reasons.get(&eid)?);
            Some((*line, eid, reason))
        })
        .collect();
    for (line, eid, reason) in lines {
        listed.refuse(line, &eid, reason);
    }
    listed.refused.sort_by_key(|refused| refused.line);
    match format {
        Format::Json => output::print_json(&json!({
            "registered": registered,
            "refused": listed.refused,
            "waiting": waiting.as_ref().map(|asked| asked.status.clone()),
            "data_kept": kept,
        }))?,
        Format::Table => {
            let mut table = Table::new(&["line", "eid", "refused because"]);
            for line in &listed.refused {
                table.row([&line.line.to_string(), &line.eid, &line.reason]);
            }
            let rows = match table.is_empty() {
                true => String::new(),
                false => format!("\n{}", table.to_text()),
            };
            output::print(&format!(
                "{registered} registered, {} refused\n{rows}",
                listed.refused.len()
            ))?;
            if let Some(asked) = &waiting {
                asked.say(format)?;
                if kept > 0 {
                    output::note(&format!(
                        "labels and tokens of {kept} devices are kept, and given to them when they are registered"
                    ));
                }
            }
        }
    }
    Ok(match listed.refused.is_empty() {
        true => Ending::Done,
        false => Ending::Failed,
    })
}

/// Takes out what is registered already: an intent is accepted or refused as a whole.
fn leave_out_registered(server: &Client, listed: &mut Listed) -> anyhow::Result<()> {
    const FEW: usize = 50;
    let mut known = std::collections::HashSet::new();
    if listed.devices.len() <= FEW {
        for (_, eid, _) in &listed.devices {
            match server.get(&format!("/v1/devices/{eid}")) {
                Ok(device) if text(&device, "state") != "retired" => {
                    known.insert(eid.to_string());
                }
                Ok(_) => {}
                Err(error) if is_unknown(&error) => {}
                Err(error) => return Err(error),
            }
        }
    } else {
        let mut after = String::new();
        loop {
            let page = server.get(&format!("/v1/devices?limit=1000{after}"))?;
            let managed =
                list(&page, "devices").filter(|device| text(device, "state") != "retired");
            known.extend(managed.map(|device| text(device, "eid").to_owned()));
            match page.get("next").and_then(Value::as_str) {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
    }
    let devices = std::mem::take(&mut listed.devices);
    for (line, eid, device) in devices {
        match known.contains(&eid.to_string()) {
            true => listed.refuse(
                line,
                &eid.to_string(),
                "it is registered already".to_owned(),
            ),
            false => listed.devices.push((line, eid, device)),
        }
    }
    Ok(())
}

/// Whether the eIM answered that there is no such device.
pub(super) fn is_unknown(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<crate::control::Problem>()
        .is_some_and(|problem| problem.status == 404)
}
