//! What stands around every page.

use intent::action::FreezeScope;
use serde::Deserialize;

use super::assets;
use super::visit::Visit;
use super::words::{self, Moment};
use crate::Problem;
use crate::reader::Via;

/// Title, navigation, who looks, and which installation it is.
pub(super) struct Frame {
    pub(super) title: String,
    /// The part of the navigation that the page belongs to: its path.
    pub(super) section: &'static str,
    pub(super) assets: String,
    pub(super) who: String,
    pub(super) roles: String,
    pub(super) installation: String,
    pub(super) entries: u64,
    pub(super) newest_at: Moment,
    pub(super) frozen: Vec<String>,
    pub(super) fault: Option<String>,
    pub(super) links: Vec<Link>,
}

/// A part of the navigation.
pub(super) struct Link {
    pub(super) path: &'static str,
    pub(super) label: &'static str,
}

/// `GET /v1/status` of the authority, as far as pages tell it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Status {
    pub(super) installation: String,
    pub(super) entries: u64,
    pub(super) newest_at: i64,
    pub(super) freezes: Vec<FreezeScope>,
    #[serde(default)]
    pub(super) fault: Option<String>,
}

const FOR_ALL: &[(&str, &str)] = &[
    ("/", "Fleet"),
    ("/devices", "Devices"),
    ("/operations", "Operations"),
    ("/approvals", "Approvals"),
    ("/profiles", "Profiles"),
];
const FOR_AUDITORS: &[(&str, &str)] = &[
    ("/people", "People & keys"),
    ("/policy", "Policy"),
    ("/ledger", "Ledger"),
];

impl Frame {
    /// Around a page of a section.
    pub(super) async fn new(
        visit: &Visit,
        section: &'static str,
        title: impl Into<String>,
    ) -> Result<Self, Problem> {
        let status: Status = visit.console.authority.get("/v1/status").await?;
        let who = match &visit.reader.via {
            Via::Local { operator } => operator.clone(),
            _ => visit.name().map(ToString::to_string).unwrap_or_default(),
        };
        let audits: &[_] = if visit.reader.may_audit() {
            FOR_AUDITORS
        } else {
            &[]
        };
        let links = FOR_ALL.iter().chain(audits);
        Ok(Self {
            title: title.into(),
            section,
            assets: assets::base(),
            who,
            roles: words::grants(&visit.reader.grants),
            installation: status.installation,
            entries: status.entries,
            newest_at: Moment(status.newest_at),
            frozen: status.freezes.iter().map(words::freeze_scope).collect(),
            fault: status.fault,
            links: links.map(|(path, label)| Link { path, label }).collect(),
        })
    }
}
