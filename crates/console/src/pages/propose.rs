//! Asking for a change: what would happen in plain words, and the hash that is signed if it is wanted.
//!
//! Sending the form makes a plan and shows it. The browser then has a passkey sign the plan's id, and sends intent and proof to
//! `POST /api/v1/intents`; nothing else makes it happen.

use std::ops::Deref;

use askama::Template;

use super::frame::Frame;
use super::intents::Signing;
use super::visit::{Fields, Visit};
use super::words::{self, Moment};
use super::{Page, show, wanted};
use crate::plan::{Effect, Plan, ProfileView, Verdict};

/// A plan with words for its verdicts.
pub(super) struct PlanView(Plan);

impl PlanView {
    pub(super) fn new(plan: Plan) -> Self {
        Self(plan)
    }

    /// How many devices there are of each kind, those that there are.
    pub(super) fn tally_words(&self) -> String {
        let tally = &self.0.tally;
        let parts = [
            (tally.changes, "changes", "change"),
            (tally.unchanged, "is so already", "are so already"),
            (tally.reads, "is only read", "are only read"),
            (tally.refused, "would be refused", "would be refused"),
            (tally.unknown, "cannot be told", "cannot be told"),
        ];
        let parts = parts.into_iter().filter(|(count, ..)| *count > 0);
        let words: Vec<String> = parts
            .map(|(count, one, many)| match count {
                1 => format!("1 device {one}"),
                count => format!("{count} devices {many}"),
            })
            .collect();
        words.join(", ")
    }

    pub(super) fn word_of(&self, effect: &Effect) -> &'static str {
        match effect.verdict {
            Verdict::Refused => "would be refused",
            Verdict::Unknown => "cannot be told",
            Verdict::Changes => "changes",
            Verdict::Reads => "is read",
            Verdict::Unchanged => "is so already",
        }
    }

    pub(super) fn class_of(&self, effect: &Effect) -> &'static str {
        match effect.verdict {
            Verdict::Refused => "bad",
            Verdict::Unknown => "warn",
            Verdict::Changes => "busy",
            Verdict::Reads | Verdict::Unchanged => "calm",
        }
    }

    pub(super) fn enabled(&self, profiles: &[ProfileView]) -> String {
        match profiles.iter().find(|profile| profile.enabled) {
            Some(profile) => format!("{} {}", profile.provider, profile.iccid),
            None => "none known".to_owned(),
        }
    }
}

impl Deref for PlanView {
    type Target = Plan;

    fn deref(&self) -> &Plan {
        &self.0
    }
}

#[derive(Template)]
#[template(path = "preview.html")]
struct PreviewPage {
    frame: Frame,
    plan: PlanView,
    hash: Vec<String>,
    expires_at: Moment,
    devices: String,
    openings: String,
    fleets: String,
    signing: Option<Signing>,
    is_final: bool,
    /// What was sent, to be sent again with a reason.
    again: Vec<(String, String)>,
    note: String,
}

/// `POST /propose`
pub(super) async fn preview(visit: Visit, fields: Fields) -> Page {
    let wish = wanted::wish(&visit, &fields).await?;
    let plan = visit.console.plan(&visit.reader, wish).await?;
    show(&PreviewPage {
        frame: Frame::new(&visit, "/operations", "Preview").await?,
        hash: words::groups(&plan.id.to_string()),
        expires_at: Moment(plan.expires_at),
        devices: plan
            .devices
            .as_ref()
            .map(|list| serde_json::to_string(list).unwrap_or_default())
            .unwrap_or_default(),
        openings: match plan.openings.is_empty() {
            true => String::new(),
            false => serde_json::to_string(&plan.openings).unwrap_or_default(),
        },
        fleets: plan.fleets.join(", "),
        signing: Signing::of(&visit).await?,
        again: fields.all_but(&["note", "days"]),
        note: fields.text("note"),
        is_final: plan
            .warnings
            .iter()
            .any(|reason| reason.code == "delete-is-final"),
        plan: PlanView::new(plan),
    })
}

#[derive(Template)]
#[template(path = "propose.html")]
struct ProposePage {
    frame: Frame,
    kind: String,
    query: Fields,
    fleets: Vec<String>,
}

/// `GET /propose`: forms for what no device's page has.
pub(super) async fn form(visit: Visit) -> Page {
    let fleets = visit
        .console
        .eim
        .fleets(&visit.visible)
        .map_err(super::fleet::reading)?;
    let kind = visit.query.text("kind");
    let (section, title) = match kind.as_str() {
        "register" => ("/devices", "Register devices"),
        "invite" => ("/people", "Invite a person"),
        "freeze" => ("/people", "Stop signing"),
        _ => ("/operations", "Propose on several devices"),
    };
    show(&ProposePage {
        frame: Frame::new(&visit, section, title).await?,
        kind,
        fleets: fleets.into_iter().map(|fleet| fleet.fleet).collect(),
        query: visit.query,
    })
}
