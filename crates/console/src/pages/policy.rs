//! The policy as a document that people read, and a new version with what differs before it is signed.

use std::collections::BTreeSet;

use askama::Template;
use intent::policy::{ApprovalRule, Window};
use intent::{Fleet, OperationKind, PolicyDocument};

use super::frame::Frame;
use super::visit::Visit;
use super::words;
use super::{Page, show};

#[derive(Template)]
#[template(path = "policy.html")]
struct PolicyPage {
    frame: Frame,
    policy: PolicyDocument,
    /// Title, sentences, and what is said when there are none.
    sections: [(&'static str, Vec<String>, &'static str); 5],
    json: String,
}

/// `GET /policy`
pub(super) async fn page(visit: Visit) -> Page {
    visit.audits("/policy")?;
    let policy: PolicyDocument = visit.console.authority.get("/v1/policy").await?;
    show(&PolicyPage {
        frame: Frame::new(&visit, "/policy", "Policy").await?,
        sections: [
            (
                "Approvals",
                policy.approvals.iter().map(approval).collect(),
                "No change needs an approval.",
            ),
            ("How much may happen", quotas(&policy), ""),
            ("Where profiles may come from", sources(&policy), ""),
            ("Which profiles may be used", profiles(&policy), ""),
            (
                "When things may happen",
                policy.windows.iter().map(window).collect(),
                "At any time.",
            ),
        ],
        json: serde_json::to_string_pretty(&policy).unwrap_or_default(),
        policy,
    })
}

#[derive(Template)]
#[template(path = "policy-edit.html")]
struct EditPage {
    frame: Frame,
    version: u64,
    json: String,
    lines: usize,
}

/// `GET /policy/edit`
pub(super) async fn edit(visit: Visit) -> Page {
    visit.audits("/policy/edit")?;
    let mut policy: PolicyDocument = visit.console.authority.get("/v1/policy").await?;
    policy.version = policy.version.saturating_add(1);
    let json = serde_json::to_string_pretty(&policy).unwrap_or_default();
    show(&EditPage {
        frame: Frame::new(&visit, "/policy", "A new version of the policy").await?,
        version: policy.version,
        lines: json.lines().count().clamp(10, 60),
        json,
    })
}

fn kinds(kinds: &BTreeSet<OperationKind>) -> String {
    let words: Vec<String> = kinds.iter().map(|kind| words::kind(*kind)).collect();
    match words.is_empty() {
        true => "anything".to_owned(),
        false => words.join(", "),
    }
}

fn fleets(fleets: &BTreeSet<Fleet>) -> String {
    let names: Vec<&str> = fleets.iter().map(Fleet::as_str).collect();
    match names.is_empty() {
        true => String::new(),
        false => format!(" in {}", names.join(" and ")),
    }
}

fn approval(rule: &ApprovalRule) -> String {
    let over = match rule.devices_over {
        0 => String::new(),
        count => format!(" on more than {count} devices"),
    };
    let people = match rule.approvers {
        1 => "one other person".to_owned(),
        count => format!("{count} other people"),
    };
    format!(
        "For {}{}{over}: {people}.",
        kinds(&rule.kinds),
        fleets(&rule.fleets)
    )
}

fn quotas(policy: &PolicyDocument) -> Vec<String> {
    let quotas = &policy.quotas;
    let limit = |limit: Option<u64>, words: &str| match limit {
        Some(limit) => format!("{words}: at most {limit}."),
        None => format!("{words}: not limited."),
    };
    vec![
        limit(
            quotas.credential_per_hour.map(u64::from),
            "Changes signed in an hour for one passkey or key",
        ),
        limit(
            quotas.fleet_per_hour.map(u64::from),
            "Changes signed in an hour in one fleet",
        ),
        limit(quotas.all_per_day, "Changes signed in a day, all together"),
        limit(quotas.devices_per_intent, "Devices of one intent"),
        format!(
            "Reads that the eIM may have signed for one device in an hour: at most {}.",
            quotas.reads_per_device_hour
        ),
    ]
}

fn sources(policy: &PolicyDocument) -> Vec<String> {
    let downloads = &policy.downloads;
    let addresses = match &downloads.smdp_addresses {
        None => "From any SM-DP+.".to_owned(),
        Some(addresses) => format!("Only from these SM-DP+: {}.", list(addresses)),
    };
    let may = |flag: bool, what: &str| match flag {
        true => format!("A device may be told to ask {what}."),
        false => format!("A device may not be told to ask {what}."),
    };
    vec![
        addresses,
        may(
            downloads.default_smdp,
            "its default SM-DP+, which the intent does not name",
        ),
        may(downloads.smds, "an SM-DS"),
    ]
}

fn profiles(policy: &PolicyDocument) -> Vec<String> {
    let profiles = &policy.profiles;
    let only = |set: &Option<BTreeSet<String>>, what: &str| match set {
        None => format!("{what}: any."),
        Some(set) => format!("{what}: only {}.", list(set)),
    };
    let test = match profiles.test_class_fleets.is_empty() {
        true => "Test profiles may be used nowhere.".to_owned(),
        false => format!(
            "Test profiles may be used{}.",
            fleets(&profiles.test_class_fleets)
        ),
    };
    vec![
        only(&profiles.iccid_prefixes, "ICCIDs that begin with"),
        only(&profiles.owners, "Owners (MCC and MNC)"),
        test,
    ]
}

fn list(words: &BTreeSet<String>) -> String {
    match words.is_empty() {
        true => "none".to_owned(),
        false => words
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", "),
    }
}

fn window(window: &Window) -> String {
    const DAYS: [&str; 7] = [
        "Monday",
        "Tuesday",
        "Wednesday",
        "Thursday",
        "Friday",
        "Saturday",
        "Sunday",
    ];
    let days = window
        .days
        .iter()
        .filter_map(|day| DAYS.get(usize::from(*day).checked_sub(1)?));
    let days: Vec<&str> = days.copied().collect();
    let time = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
    let offset = window.utc_offset_minutes;
    let sign = if offset < 0 { '-' } else { '+' };
    let offset = offset.unsigned_abs();
    format!(
        "{}{}: on {} from {} to {} (UTC{sign}{:02}:{:02}).",
        kinds(&window.kinds),
        fleets(&window.fleets),
        days.join(", "),
        time(window.from_minute),
        time(window.to_minute),
        offset / 60,
        offset % 60
    )
}
