//! The browsers in which somebody is signed in.

use askama::Template;
use axum::response::{IntoResponse, Redirect};

use super::frame::Frame;
use super::visit::{Fields, Visit};
use super::words::{self, Moment};
use super::{Page, show};
use crate::Problem;
use crate::reader::Via;
use crate::sessions::Session;

#[derive(Template)]
#[template(path = "sessions.html")]
struct SessionsPage {
    frame: Frame,
    rows: Vec<Row>,
}

struct Row {
    session: Session,
    created_at: Moment,
    seen: String,
    expires_at: Moment,
    is_this: bool,
}

/// `GET /sessions`
pub(super) async fn page(visit: Visit) -> Page {
    let now = visit.now();
    let rows = match &visit.reader.via {
        Via::Session {
            principal,
            session: this,
            ..
        } => {
            let all = visit.console.sessions.of(principal, now)?;
            let idle = visit.console.settings.session_idle_ms;
            let live = all
                .into_iter()
                .filter(|session| now - session.seen_at < idle);
            live.map(|session| Row {
                created_at: Moment(session.created_at),
                seen: words::ago(session.seen_at, now),
                expires_at: Moment(session.expires_at),
                is_this: session.id == *this,
                session,
            })
            .collect()
        }
        _ => Vec::new(),
    };
    show(&SessionsPage {
        frame: Frame::new(&visit, "/sessions", "Your sessions").await?,
        rows,
    })
}

/// `POST /sessions/end`: one of them, or all others.
pub(super) async fn end(visit: Visit, fields: Fields) -> Page {
    let Via::Session {
        principal,
        session: this,
        ..
    } = &visit.reader.via
    else {
        return Err(Problem::invalid("there is no session to end"));
    };
    match fields.parsed::<i64>("session")? {
        Some(session) => {
            visit.console.sessions.end(session, principal).await?;
        }
        None => {
            visit.console.sessions.end_others(principal, *this).await?;
        }
    }
    Ok(Redirect::to("/sessions").into_response())
}
