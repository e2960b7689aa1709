//! Was the SIM of this device changed lately? So that an application can refuse to trust one that was.
//!
//! The two questions and their answers have the shape of CAMARA's SIM Swap API (`check`, `retrieve-date`), with the device named
//! by EID or ICCID where phones are named by number. Only what eUICCs signed counts. Where that does not reach, the answer
//! is a refusal and never "not swapped".

use std::sync::Arc;

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::{Extension, Json};
use eim::swaps::{ProfileHistory, SimReference};
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Problem;
use crate::reader::Reader;
use crate::site::Console;

const HOUR_MS: i64 = 3_600_000;
/// Hours that are looked back if nothing is said, and at most (CAMARA SIM Swap, `maxAge`).
const AGE_DEFAULT: u32 = 240;
const AGE_MAX: u32 = 2400;

/// Paths that read although they are asked with POST: tokens for reading may use them.
pub(crate) const PATHS: [&str; 2] = ["/api/v1/sim-swap/check", "/api/v1/sim-swap/retrieve-date"];

/// Whose SIM, and how far to look back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct CheckSimSwap {
    /// The eUICC: 32 digits. Either this or `iccid`.
    #[schema(example = "89049032000000000000000000000135")]
    eid: Option<String>,
    /// The profile that is expected to be enabled: 18 to 20 digits.
    iccid: Option<String>,
    /// Hours to look back: 1 to 2400, 240 if absent.
    #[schema(minimum = 1, maximum = 2400, default = 240)]
    max_age: Option<u32>,
}

/// Whether it was changed.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SimSwapped {
    /// Whether the enabled profile changed within the hours asked for, or the profile asked for is enabled no more.
    swapped: bool,
    /// When the device polled last, and would have told. RFC 3339.
    heard_at: Option<String>,
}

/// Whose SIM.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RetrieveSimSwapDate {
    /// The eUICC: 32 digits. Either this or `iccid`.
    eid: Option<String>,
    /// The profile: 18 to 20 digits.
    iccid: Option<String>,
}

/// When it was changed.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SimSwapDate {
    /// When the enabled profile changed last, RFC 3339; null if it has not since `knownSince`.
    latest_sim_change: Option<String>,
    /// From when on changes are known. RFC 3339.
    known_since: String,
    /// When the device polled last, and would have told. RFC 3339.
    heard_at: Option<String>,
}

/// `POST /api/v1/sim-swap/check`: was the SIM of a device changed within the last hours?
#[utoipa::path(
    post, path = "/sim-swap/check", tag = "sim-swap", request_body = CheckSimSwap,
    responses(
        (status = 200, description = "What is known from signed answers", body = SimSwapped),
        (status = 404, description = "No such device for whoever asks", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "It is not known as far back as asked", body = Problem, content_type = "application/problem+json"),
        (status = "4XX", description = "Anything else that is wrong with the request", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn check(
    State(console): State<Arc<Console>>,
    Extension(reader): Extension<Reader>,
    body: Result<Json<CheckSimSwap>, JsonRejection>,
) -> Result<Json<SimSwapped>, Problem> {
    let Json(CheckSimSwap {
        eid,
        iccid,
        max_age,
    }) = body?;
    let hours = max_age.unwrap_or(AGE_DEFAULT);
    if !(1..=AGE_MAX).contains(&hours) {
        return Err(Problem::invalid(format!(
            "maxAge is a number of hours from 1 to {AGE_MAX}"
        )));
    }
    let now = console.now();
    let since = now.saturating_sub(i64::from(hours) * HOUR_MS);
    let sim = reference(eid, iccid)?;
    let swapped = judged(&histories(&console, &reader, sim)?, sim, since)?;
    Ok(Json(swapped))
}

/// `POST /api/v1/sim-swap/retrieve-date`: when was the SIM of a device changed last?
#[utoipa::path(
    post, path = "/sim-swap/retrieve-date", tag = "sim-swap", request_body = RetrieveSimSwapDate,
    responses(
        (status = 200, description = "What is known from signed answers", body = SimSwapDate),
        (status = 404, description = "No such device for whoever asks", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Nothing is known of its profiles yet", body = Problem, content_type = "application/problem+json"),
        (status = "4XX", description = "Anything else that is wrong with the request", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn retrieve_date(
    State(console): State<Arc<Console>>,
    Extension(reader): Extension<Reader>,
    body: Result<Json<RetrieveSimSwapDate>, JsonRejection>,
) -> Result<Json<SimSwapDate>, Problem> {
    let Json(RetrieveSimSwapDate { eid, iccid }) = body?;
    let sim = reference(eid, iccid)?;
    let histories = histories(&console, &reader, sim)?;
    // The one where it is enabled stands first.
    let history = histories.first().ok_or_else(no_such_sim)?;
    let known_since = history.known_since.ok_or_else(|| not_known(None))?;
    Ok(Json(SimSwapDate {
        latest_sim_change: history.last_change.map(text),
        known_since: text(known_since),
        heard_at: history.heard_at.map(text),
    }))
}

fn reference(eid: Option<String>, iccid: Option<String>) -> Result<SimReference, Problem> {
    match (eid, iccid) {
        (Some(eid), None) => eid
            .parse()
            .map(SimReference::Eid)
            .map_err(|error| Problem::invalid(format!("eid: {error}"))),
        (None, Some(iccid)) => iccid
            .parse()
            .map(SimReference::Iccid)
            .map_err(|error| Problem::invalid(format!("iccid: {error}"))),
        _ => Err(Problem::invalid("name either an eid or an iccid")),
    }
}

fn histories(
    console: &Console,
    reader: &Reader,
    sim: SimReference,
) -> Result<Vec<ProfileHistory>, Problem> {
    let histories = console
        .eim
        .profile_changes(&reader.visible(), sim, i64::MAX, 1)?;
    match histories.is_empty() {
        true => Err(no_such_sim()),
        false => Ok(histories),
    }
}

fn judged(
    histories: &[ProfileHistory],
    sim: SimReference,
    since: i64,
) -> Result<SimSwapped, Problem> {
    let history = match sim {
        SimReference::Eid(_) => histories.first(),
        // On several devices, or on one where another is enabled: whoever expects this SIM does not have it.
        SimReference::Iccid(iccid) => {
            match histories.iter().find(|one| one.enabled == Some(iccid)) {
                Some(history) => Some(history),
                None => {
                    return Ok(SimSwapped {
                        swapped: true,
                        heard_at: histories.first().and_then(|one| one.heard_at).map(text),
                    });
                }
            }
        }
    };
    let history = history.ok_or_else(no_such_sim)?;
    let heard_at = history.heard_at.map(text);
    if history.last_change.is_some_and(|at| at >= since) {
        return Ok(SimSwapped {
            swapped: true,
            heard_at,
        });
    }
    match history.known_since {
        Some(known_since) if known_since <= since => Ok(SimSwapped {
            swapped: false,
            heard_at,
        }),
        known_since => Err(not_known(known_since)),
    }
}

fn text(at: i64) -> String {
    Timestamp::from_millisecond(at)
        .unwrap_or(Timestamp::MAX)
        .to_string()
}

fn no_such_sim() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "sim-unknown",
        "There is no such device or profile",
        "no device that you may see has this EID, or was seen with this ICCID",
        "check the digits; the profiles of a device are known once its eUICC has listed them",
    )
}

fn not_known(known_since: Option<i64>) -> Problem {
    let (detail, action) = match known_since {
        Some(since) => (
            format!("changes of this SIM are known since {}", text(since)),
            "ask about fewer hours (maxAge)",
        ),
        None => (
            "the eUICC has not told about its profiles yet".to_owned(),
            "have its profiles listed, and ask again",
        ),
    };
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "sim-history-unknown",
        "Whether this SIM was swapped is not known",
        detail,
        action,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000 * HOUR_MS;

    fn history(last_change: Option<i64>, known_since: Option<i64>) -> ProfileHistory {
        ProfileHistory {
            eid: eid(),
            enabled: Some(iccid("89000123456789012341")),
            last_change,
            known_since,
            heard_at: Some(NOW),
            changes: Vec::new(),
        }
    }

    fn eid() -> rsp::ids::Eid {
        rsp::ids::Eid::with_check_digits("890490320000000000000000000001").unwrap()
    }

    fn iccid(text: &str) -> rsp::ids::Iccid {
        text.parse().unwrap()
    }

    fn by_eid(history: &ProfileHistory, hours: i64) -> Result<bool, u16> {
        let since = NOW - hours * HOUR_MS;
        judged(
            std::slice::from_ref(history),
            SimReference::Eid(eid()),
            since,
        )
        .map(|answer| answer.swapped)
        .map_err(|problem| problem.status)
    }

    #[test]
    fn a_change_within_the_time_is_a_swap_and_one_before_is_none() {
        let changed = history(Some(NOW - 5 * HOUR_MS), Some(NOW - 100 * HOUR_MS));
        assert_eq!(by_eid(&changed, 6), Ok(true));
        assert_eq!(by_eid(&changed, 5), Ok(true));
        assert_eq!(by_eid(&changed, 4), Ok(false));
    }

    #[test]
    fn what_is_not_known_is_never_not_swapped() {
        assert_eq!(by_eid(&history(None, None), 1), Err(422));
        let young = history(None, Some(NOW - 10 * HOUR_MS));
        assert_eq!(by_eid(&young, 10), Ok(false));
        assert_eq!(by_eid(&young, 11), Err(422));
        // A change that is known is one however far back is asked.
        let changed = history(Some(NOW - 5 * HOUR_MS), Some(NOW - 10 * HOUR_MS));
        assert_eq!(by_eid(&changed, 2_000), Ok(true));
    }

    #[test]
    fn a_profile_that_is_enabled_nowhere_was_swapped() {
        let other = history(None, Some(0));
        let sim = SimReference::Iccid(iccid("89000123456789012358"));
        let answer = judged(std::slice::from_ref(&other), sim, NOW - HOUR_MS).unwrap();
        assert!(answer.swapped);
    }

    #[test]
    fn exactly_one_of_both_is_named() {
        assert!(reference(None, None).is_err());
        let (eid, iccid) = (eid().to_string(), "89000123456789012341".to_owned());
        assert!(reference(Some(eid.clone()), Some(iccid)).is_err());
        assert!(reference(Some(eid), None).is_ok());
        assert!(reference(Some("1".to_owned()), None).is_err());
    }
}
