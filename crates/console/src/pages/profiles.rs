//! Profiles across devices: whose they are, and downloads that are under way.

use askama::Template;
use eim::OperationState;
use eim::fleet::Overview;
use eim::search::OperationQuery;
use intent::OperationKind;

use super::charts::Share;
use super::device::OperationRow;
use super::fleet::reading;
use super::frame::Frame;
use super::visit::Visit;
use super::{Page, show};
use crate::security::form_encoded;

const LIMIT: u32 = 200;

#[derive(Template)]
#[template(path = "profiles.html")]
struct ProfilesPage {
    frame: Frame,
    providers: Vec<(String, i64, Share, String)>,
    downloads: Vec<OperationRow>,
}

/// `GET /profiles`
pub(super) async fn page(visit: Visit) -> Page {
    let eim = &visit.console.eim;
    let now: Overview = eim.fleet_overview(&visit.visible, None).map_err(reading)?;
    let whole = now.providers.iter().map(|share| share.enabled).sum::<i64>() + now.other_providers;
    let mut downloads = Vec::new();
    for state in [
        Some(OperationState::InFlight),
        Some(OperationState::Queued),
        None,
    ] {
        let query = OperationQuery {
            state,
            limit: LIMIT,
            ..OperationQuery::default()
        };
        let found = eim
            .search_operations(&visit.visible, &query)
            .map_err(reading)?;
        let is_download = |one: &eim::Operation| {
            one.commands
                .iter()
                .any(|command| command.kind() == OperationKind::Download)
        };
        for operation in found.operations.into_iter().filter(is_download) {
            if !downloads
                .iter()
                .any(|row: &OperationRow| row.operation.id == operation.id)
            {
                downloads.push(OperationRow::new(operation));
            }
        }
    }
    let providers = now.providers.into_iter().map(|share| {
        let link = format!(
            "/devices?{}",
            form_encoded(&[("provider", &share.provider)])
        );
        let bar = Share {
            part: share.enabled,
            whole,
        };
        (share.provider, share.enabled, bar, link)
    });
    show(&ProfilesPage {
        frame: Frame::new(&visit, "/profiles", "Profiles").await?,
        providers: providers.collect(),
        downloads,
    })
}
