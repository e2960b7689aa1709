//! People, machines and tokens: what they are, what they can show, and until when.

use askama::Template;
use axum::extract::Path;
use intent::Principal;
use intent::action::FreezeScope;
use intent::api::{CredentialInfo, PrincipalInfo};

use super::frame::Frame;
use super::visit::Visit;
use super::words::{self, Badge, Moment};
use super::{Page, show};
use crate::Problem;

/// Members of each kind that are shown at once; more are found by their name.
const SHOWN_MAX: usize = 100;

/// Somebody.
struct Member {
    info: PrincipalInfo,
    state: Badge,
    grants: String,
    expires_at: Moment,
    credentials: Vec<Credential>,
    last_used: Option<Moment>,
}

struct Credential {
    info: CredentialInfo,
    state: Badge,
    expires_at: Moment,
    last_used_at: Option<Moment>,
}

impl Member {
    fn new(info: PrincipalInfo, now: i64) -> Self {
        let credentials: Vec<Credential> = info
            .credentials
            .iter()
            .map(|credential| Credential {
                state: words::credential_state(credential.revoked, credential.expires_at, now),
                expires_at: Moment(credential.expires_at),
                last_used_at: credential.last_used_at.map(Moment),
                info: credential.clone(),
            })
            .collect();
        Self {
            state: words::credential_state(info.revoked, info.expires_at, now),
            grants: words::grants(&info.grants),
            expires_at: Moment(info.expires_at),
            last_used: info
                .credentials
                .iter()
                .filter_map(|one| one.last_used_at)
                .max()
                .map(Moment),
            credentials,
            info,
        }
    }
}

/// A freeze, as a form names it.
struct Frozen {
    words: String,
    scope: &'static str,
    which: String,
}

impl Frozen {
    fn new(scope: &FreezeScope) -> Self {
        let (name, which) = match scope {
            FreezeScope::Everything => ("everything", String::new()),
            FreezeScope::Fleet(fleet) => ("fleet", fleet.to_string()),
            FreezeScope::Principal(name) => ("principal", name.to_string()),
            FreezeScope::Credential(id) => ("credential", id.to_string()),
        };
        Self {
            words: words::freeze_scope(scope),
            scope: name,
            which,
        }
    }
}

#[derive(Template)]
#[template(path = "people.html")]
struct PeoplePage {
    frame: Frame,
    groups: Vec<(&'static str, &'static str, &'static str, Vec<Member>)>,
    freezes: Vec<Frozen>,
    query: String,
    is_cut: bool,
}

/// `GET /people`
pub(super) async fn page(visit: Visit) -> Page {
    visit.audits("/people")?;
    let now = visit.now();
    let freezes: Vec<FreezeScope> = visit.console.authority.get("/v1/freezes").await?;
    let mut groups = vec![
        ("person", "People", "Nobody is enrolled yet.", Vec::new()),
        ("machine", "Machines", "No machine has a key.", Vec::new()),
        ("token", "Tokens for reading", "There is none.", Vec::new()),
        (
            "break-glass",
            "The key in the safe",
            "There is none.",
            Vec::new(),
        ),
    ];
    let query = visit.query.text("q").to_lowercase();
    let mut is_cut = false;
    let all = visit.console.authority.principals().await?;
    for info in all
        .into_iter()
        .filter(|info| info.name.as_str().contains(&query))
    {
        if let Some((.., members)) = groups.iter_mut().find(|(kind, ..)| *kind == info.kind) {
            match members.len() < SHOWN_MAX {
                true => members.push(Member::new(info, now)),
                false => is_cut = true,
            }
        }
    }
    show(&PeoplePage {
        frame: Frame::new(&visit, "/people", "People & keys").await?,
        groups,
        freezes: freezes.iter().map(Frozen::new).collect(),
        query,
        is_cut,
    })
}

#[derive(Template)]
#[template(path = "person.html")]
struct PersonPage {
    frame: Frame,
    member: Member,
    lines: String,
    is_me: bool,
}

/// `GET /people/{name}`
pub(super) async fn one(visit: Visit, Path(name): Path<String>) -> Page {
    visit.audits("/people")?;
    let name: Principal = name
        .parse()
        .map_err(|error: intent::NameError| Problem::invalid(error.to_string()))?;
    let info = visit.console.authority.principal(&name).await?;
    let lines = words::grants(&info.grants)
        .replace(" of all fleets", "")
        .replace(" of ", ":")
        .replace(" and ", "+")
        .replace(", ", "\n");
    show(&PersonPage {
        frame: Frame::new(&visit, "/people", name.to_string()).await?,
        is_me: visit.name() == Some(&name),
        member: Member::new(info, visit.now()),
        lines,
    })
}
