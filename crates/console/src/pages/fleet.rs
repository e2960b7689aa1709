//! The first page: how the fleet stands, and what needs whoever looks.

use askama::Template;
use eim::fleet::{Overview, ProviderShare};
use intent::Fleet;

use super::charts::{self, Columns, Share, Stack};
use super::frame::Frame;
use super::intents::{self, Row};
use super::visit::Visit;
use super::words::{self, Moment};
use super::{Page, show};
use crate::Problem;
use crate::security::form_encoded;

#[derive(Template)]
#[template(path = "fleet.html")]
struct FleetPage {
    frame: Frame,
    fleets: Vec<String>,
    fleet: String,
    now: Overview,
    total: i64,
    failed: i64,
    polls: Vec<Part>,
    poll_chart: Stack,
    outcomes: [(&'static str, &'static str, &'static str, Outcomes); 2],
    providers: Vec<(ProviderShare, Share, String)>,
    others: Option<(i64, Share)>,
    waiting: Vec<Row>,
    link: String,
}

/// A part of a chart, in its table.
struct Part {
    class: &'static str,
    label: &'static str,
    count: i64,
    /// The devices that are meant.
    link: Option<String>,
}

struct Outcomes {
    chart: Columns,
    from: String,
    to: String,
    rows: Vec<(String, [i64; 5])>,
}

impl Outcomes {
    fn new(slots: &[eim::fleet::EndedIn], label: fn(Moment) -> String) -> Self {
        let at = |slot: Option<&eim::fleet::EndedIn>| {
            slot.map(|slot| label(Moment(slot.start)))
                .unwrap_or_default()
        };
        let rows = slots
            .iter()
            .rev()
            .map(|slot| (label(Moment(slot.start)), charts::outcomes(&slot.ended)));
        Self {
            chart: Columns::new(slots),
            from: at(slots.first()),
            to: at(slots.last()),
            rows: rows
                .filter(|(_, counts)| counts.iter().any(|count| *count > 0))
                .collect(),
        }
    }
}

/// `GET /`
pub(super) async fn page(visit: Visit) -> Page {
    let fleet: Option<Fleet> = visit.query.parsed("fleet")?;
    let eim = &visit.console.eim;
    let fleets = eim.fleets(&visit.visible).map_err(reading)?;
    let now = eim
        .fleet_overview(&visit.visible, fleet.as_ref())
        .map_err(reading)?;
    let waiting = intents::waiting_for(&visit).await?;
    let link = match &fleet {
        Some(fleet) => format!("/devices?fleet={fleet}&"),
        None => "/devices?".to_owned(),
    };
    let polls = [
        ("s0", "within the last hour", now.polls.hour, "hour"),
        ("s1", "within the last day", now.polls.day, ""),
        ("s4", "within the last week", now.polls.week, ""),
        ("s2", "longer ago", now.polls.earlier, "not-week"),
        ("s3", "never", now.polls.never, "never"),
    ];
    let polls = polls.map(|(class, label, count, contact)| Part {
        class,
        label,
        count,
        link: (!contact.is_empty()).then(|| format!("{link}contact={contact}")),
    });
    let enabled: i64 =
        now.providers.iter().map(|share| share.enabled).sum::<i64>() + now.other_providers;
    let share = |part| Share {
        part,
        whole: enabled,
    };
    let providers = now.providers.iter().cloned();
    show(&FleetPage {
        frame: Frame::new(&visit, "/", "Fleet").await?,
        fleets: fleets.into_iter().map(|fleet| fleet.fleet).collect(),
        fleet: fleet.map(|fleet| fleet.to_string()).unwrap_or_default(),
        total: now.devices.registered + now.devices.associated,
        failed: now.ended_today.failed + now.ended_today.expired + now.ended_today.rolled_back,
        polls: polls.into(),
        poll_chart: Stack::of_polls(&now.polls),
        outcomes: [
            (
                "hours",
                "Operations that ended in the last 24 hours",
                "Hour",
                Outcomes::new(&now.by_hour, |at| at.text().chars().take(16).collect()),
            ),
            (
                "days",
                "Operations that ended in the last 30 days",
                "Day",
                Outcomes::new(&now.by_day, |at| at.day()),
            ),
        ],
        providers: providers
            .map(|one| {
                let bar = share(one.enabled);
                let found = format!("{link}{}", form_encoded(&[("provider", &one.provider)]));
                (one, bar, found)
            })
            .collect(),
        others: (now.other_providers > 0)
            .then(|| (now.other_providers, share(now.other_providers))),
        waiting,
        link,
        now,
    })
}

pub(super) fn reading(error: eim::ReadingError) -> Problem {
    match error {
        eim::ReadingError::Storage(error) => error.into(),
        error => Problem::invalid(error.to_string()),
    }
}

impl FleetPage {
    fn count(&self, number: &i64) -> String {
        words::count(*number)
    }
}
