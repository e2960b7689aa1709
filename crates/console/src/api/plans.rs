//! Asking for changes as plans: the generic form, and the same in the shape of the resources.

use axum::extract::{FromRequestParts, State};
use axum::{Extension, Json};
use http::request::Parts;
use intent::command::{DownloadSource, Route};
use intent::{Action, Command, PolicyDocument, Sealed};
use rsp::ids::{Eid, Iccid};
use serde::Deserialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::devices::{DeviceFilter, eid};
use super::exchange::{Document, Params, Segments};
use super::intents::intent_id;
use super::{Answer, Site, Who};
use crate::Problem;
use crate::plan::{Change, Devices, Plan, Which, Wish};
use crate::reader::{Reader, Via};
use crate::site::Console;

/// Which devices: their EIDs, or a filter.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Where {
    /// These, 32 digits each.
    #[schema(example = json!(["89049032123451234512345678901235"]))]
    Eids(Vec<String>),
    /// All that meet it now, at most 100 000.
    Filter(Box<DeviceFilter>),
}

/// A change that is wanted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// The action of the intent: an object with the member `type`, for example `{"type": "operate", "commands": […]}`, and
    /// without its devices. `register-devices` has a `fleet`.
    #[schema(value_type = Object, example = json!({ "type": "operate", "commands": [{ "command": "enable", "iccid": "89000123456789012341", "rollback": true }] }))]
    action: Value,
    /// For actions on devices: which.
    devices: Option<Where>,
    /// Leave out devices on which nothing would come of it.
    #[serde(default)]
    only_effective: bool,
    /// Why, for the people who approve and for the record.
    note: Option<String>,
    /// Seconds for which it may be approved and carried out; 7 days unless said otherwise, 31 days at most.
    #[schema(minimum = 1, maximum = 2_678_400)]
    lifetime_s: Option<u32>,
}

/// Commands on devices.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    /// Which.
    devices: Where,
    /// What, as one package for each: objects with the member `command`.
    #[schema(value_type = Vec<Object>, example = json!([{ "command": "enable", "iccid": "89000123456789012341", "rollback": true }]))]
    commands: Vec<Command>,
    /// Leave out devices on which nothing would come of it.
    #[serde(default)]
    only_effective: bool,
    /// Why, for the people who approve and for the record.
    note: Option<String>,
    /// Seconds for which it may be approved and carried out.
    #[schema(minimum = 1, maximum = 2_678_400)]
    lifetime_s: Option<u32>,
}

/// Devices to register.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Registration {
    /// The fleet that they will belong to.
    #[schema(example = "meters")]
    fleet: String,
    /// Which, 32 digits each.
    eids: Vec<String>,
    /// Leave out those that are registered already.
    #[serde(default)]
    only_effective: bool,
    /// Why.
    note: Option<String>,
}

/// A profile to download.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Download {
    /// SGP.22 activation code; without it the device asks its default SM-DP+. The intent only commits to it.
    #[schema(example = "1$smdp.example.com$MATCHING-ID")]
    activation_code: Option<String>,
    /// Where the SM-DP+ asks for one. The intent only commits to it.
    confirmation_code: Option<String>,
    /// Relay through this eIM.
    #[serde(default)]
    indirect: bool,
    /// Why.
    note: Option<String>,
}

/// How a profile is enabled.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Enabling {
    /// Let the device return to the old profile when the new one has no connectivity.
    #[serde(default)]
    rollback: bool,
    /// Why.
    note: Option<String>,
}

/// Why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Why {
    /// For the people who approve and for the record.
    note: Option<String>,
}

/// Whether only the plan is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PlanParams {
    /// `true`: a change is made by signing the plan's id and sending the plan's intent to `POST /intents`.
    plan: Option<bool>,
}

/// Plan a change.
///
/// Tells what it would do to each device, and gives the intent: the canonical text whose SHA-256 is the plan's `id`. Nothing
/// happens, and nothing is kept. To make it happen, sign the id (a passkey's challenge; a machine signs the request) and send
/// `intent`, `devices` and `openings` unchanged to `POST /intents`. What approvers approve is the same id.
#[utoipa::path(post, path = "/plans", tag = "plans", request_body = Wanted,
    responses((status = 200, description = "What would happen", body = Plan)))]
pub(super) async fn plan(
    State(console): Site,
    Extension(reader): Who,
    Document(wanted): Document<Wanted>,
) -> Answer<Plan> {
    let change = change(wanted.action, wanted.devices, wanted.only_effective)?;
    let wish = Wish {
        change,
        note: wanted.note,
        lifetime_ms: lifetime(wanted.lifetime_s),
    };
    planned(&console, &reader, wish).await
}

/// Plan commands on devices.
#[utoipa::path(post, path = "/operations", tag = "plans", params(PlanParams), request_body = Order,
    responses((status = 200, description = "What would happen", body = Plan)))]
pub(super) async fn operate(
    State(console): Site,
    Extension(reader): Who,
    _: OnlyPlan,
    Document(order): Document<Order>,
) -> Answer<Plan> {
    let devices = order.devices.devices(order.only_effective)?;
    let wish = Wish {
        change: Change::Operate {
            devices,
            commands: order.commands,
        },
        note: order.note,
        lifetime_ms: lifetime(order.lifetime_s),
    };
    planned(&console, &reader, wish).await
}

/// Plan to register devices.
#[utoipa::path(post, path = "/devices", tag = "plans", params(PlanParams), request_body = Registration,
    responses((status = 200, description = "What would happen", body = Plan)))]
pub(super) async fn register(
    State(console): Site,
    Extension(reader): Who,
    _: OnlyPlan,
    Document(wanted): Document<Registration>,
) -> Answer<Plan> {
    let change = Change::Register {
        fleet: fleet(&wanted.fleet)?,
        eids: eids(&wanted.eids)?,
        only_effective: wanted.only_effective,
    };
    planned(&console, &reader, wish(change, wanted.note)).await
}

/// Plan to download a profile to a device.
#[utoipa::path(post, path = "/devices/{eid}/profiles", tag = "plans",
    params(("eid" = String, Path, description = "32 digits"), PlanParams), request_body = Download,
    responses((status = 200, description = "What would happen", body = Plan)))]
pub(super) async fn download(
    State(console): Site,
    Extension(reader): Who,
    Segments(text): Segments<String>,
    _: OnlyPlan,
    Document(wanted): Document<Download>,
) -> Answer<Plan> {
    let source = match &wanted.activation_code {
        Some(code) => DownloadSource::activation_code(code)
            .map_err(|error| Problem::invalid(error.to_string()))?,
        None => DownloadSource::DefaultSmdp,
    };
    let command = Command::Download {
        source,
        route: match wanted.indirect {
            true => Route::Indirect,
            false => Route::Direct,
        },
        confirmation_code: wanted.confirmation_code.map(Sealed::Open),
    };
    on_one(&console, &reader, eid(&text)?, command, wanted.note).await
}

/// Plan to enable a profile.
#[utoipa::path(post, path = "/devices/{eid}/profiles/{iccid}/enable", tag = "plans",
    params(("eid" = String, Path, description = "32 digits"), ("iccid" = String, Path, description = "19 or 20 digits"), PlanParams),
    request_body = Enabling, responses((status = 200, description = "What would happen", body = Plan)))]
pub(super) async fn enable(
    State(console): Site,
    Extension(reader): Who,
    Segments((device, profile)): Segments<(String, String)>,
    _: OnlyPlan,
    Document(wanted): Document<Enabling>,
) -> Answer<Plan> {
    let command = Command::Enable {
        iccid: iccid(&profile)?,
        rollback: wanted.rollback,
    };
    on_one(&console, &reader, eid(&device)?, command, wanted.note).await
}

/// Plan to disable a profile.
#[utoipa::path(post, path = "/devices/{eid}/profiles/{iccid}/disable", tag = "plans",
    params(("eid" = String, Path, description = "32 digits"), ("iccid" = String, Path, description = "19 or 20 digits"), PlanParams),
    request_body = Why, responses((status = 200, description = "What would happen", body = Plan)))]
pub(super) async fn disable(
    State(console): Site,
    Extension(reader): Who,
    Segments((device, profile)): Segments<(String, String)>,
    _: OnlyPlan,
    Document(why): Document<Why>,
) -> Answer<Plan> {
    let command = Command::Disable {
        iccid: iccid(&profile)?,
    };
    on_one(&console, &reader, eid(&device)?, command, why.note).await
}

/// Plan to delete a profile. It is gone for good.
#[utoipa::path(delete, path = "/devices/{eid}/profiles/{iccid}", tag = "plans",
    params(("eid" = String, Path, description = "32 digits"), ("iccid" = String, Path, description = "19 or 20 digits"), PlanParams),
    responses((status = 200, description = "What would happen", body = Plan)))]
pub(super) async fn delete(
    State(console): Site,
    Extension(reader): Who,
    Segments((device, profile)): Segments<(String, String)>,
    _: OnlyPlan,
) -> Answer<Plan> {
    let command = Command::Delete {
        iccid: iccid(&profile)?,
    };
    on_one(&console, &reader, eid(&device)?, command, None).await
}

/// Plan to end the management of a device.
#[utoipa::path(delete, path = "/devices/{eid}", tag = "plans",
    params(("eid" = String, Path, description = "32 digits"), PlanParams),
    responses((status = 200, description = "What would happen", body = Plan)))]
pub(super) async fn retire(
    State(console): Site,
    Extension(reader): Who,
    Segments(text): Segments<String>,
    _: OnlyPlan,
) -> Answer<Plan> {
    let devices = one(eid(&text)?);
    planned(&console, &reader, wish(Change::Retire { devices }, None)).await
}

/// Plan to let a device be associated anew.
#[utoipa::path(post, path = "/devices/{eid}/reassociation", tag = "plans",
    params(("eid" = String, Path, description = "32 digits"), PlanParams), request_body = Why,
    responses((status = 200, description = "What would happen", body = Plan)))]
pub(super) async fn reassociate(
    State(console): Site,
    Extension(reader): Who,
    Segments(text): Segments<String>,
    _: OnlyPlan,
    Document(why): Document<Why>,
) -> Answer<Plan> {
    let devices = one(eid(&text)?);
    planned(
        &console,
        &reader,
        wish(Change::Reassociate { devices }, why.note),
    )
    .await
}

/// Plan to withdraw an intent for the devices that were not signed for yet.
#[utoipa::path(post, path = "/intents/{id}/cancellation", tag = "plans",
    params(("id" = String, Path, description = "base64url, 43 characters"), PlanParams), request_body = Why,
    responses((status = 200, description = "What would happen", body = Plan)))]
pub(super) async fn cancel(
    State(console): Site,
    Extension(reader): Who,
    Segments(text): Segments<String>,
    _: OnlyPlan,
    Document(why): Document<Why>,
) -> Answer<Plan> {
    let action = Action::Cancel {
        intent: intent_id(&text)?,
    };
    planned(
        &console,
        &reader,
        wish(Change::Other(Box::new(action)), why.note),
    )
    .await
}

/// A policy to put in force.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPolicy {
    /// The whole document, with the version after the one in force.
    #[schema(value_type = Object)]
    policy: Box<PolicyDocument>,
    /// Why.
    note: Option<String>,
}

/// Plan to replace the policy; `changes` is the difference.
#[utoipa::path(put, path = "/policy", tag = "plans", params(PlanParams), request_body = NewPolicy,
    responses((status = 200, description = "What would change", body = Plan)))]
pub(super) async fn set_policy(
    State(console): Site,
    Extension(reader): Who,
    _: OnlyPlan,
    Document(wanted): Document<NewPolicy>,
) -> Answer<Plan> {
    let action = Action::SetPolicy {
        policy: wanted.policy,
    };
    planned(
        &console,
        &reader,
        wish(Change::Other(Box::new(action)), wanted.note),
    )
    .await
}

impl Where {
    fn devices(&self, only_effective: bool) -> Result<Devices, Problem> {
        let which = match self {
            Self::Eids(list) => Which::Eids(eids(list)?),
            Self::Filter(filter) => Which::Found(Box::new(filter.query()?)),
        };
        Ok(Devices {
            which,
            only_effective,
        })
    }
}

fn change(
    mut action: Value,
    devices: Option<Where>,
    only_effective: bool,
) -> Result<Change, Problem> {
    let kind = action
        .get("type")
        .and_then(Value::as_str)
        .map(str::to_owned);
    let is_on_devices = matches!(
        kind.as_deref(),
        Some("operate" | "register-devices" | "retire-devices" | "reassociate-devices")
    );
    if !is_on_devices {
        if devices.is_some() {
            return Err(Problem::invalid("this action is about no devices"));
        }
        return Ok(Change::Other(Box::new(read(action)?)));
    }
    let place = devices.ok_or_else(|| Problem::invalid("say which devices: `devices`"))?;
    // The intent's own form has its devices inside; one stands in, so that every other member is checked as there.
    let Value::Object(members) = &mut action else {
        return Err(Problem::invalid("the action is an object"));
    };
    let stand_in = serde_json::json!({ "eids": ["89049032123451234512345678901235"] });
    if members.insert("devices".to_owned(), stand_in).is_some() {
        return Err(Problem::invalid(
            "the devices stand beside the action, not in it",
        ));
    }
    let action: Action = read(action)?;
    Ok(match action {
        Action::Operate { commands, .. } => Change::Operate {
            devices: place.devices(only_effective)?,
            commands,
        },
        Action::RegisterDevices { fleet, .. } => match &place {
            Where::Eids(list) => Change::Register {
                fleet,
                eids: eids(list)?,
                only_effective,
            },
            Where::Filter(_) => {
                return Err(Problem::invalid("devices are registered by their EIDs"));
            }
        },
        Action::RetireDevices { .. } => Change::Retire {
            devices: place.devices(only_effective)?,
        },
        _ => Change::Reassociate {
            devices: place.devices(only_effective)?,
        },
    })
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, Problem> {
    serde_json::from_value(value)
        .map_err(|error| Problem::invalid(format!("the action does not fit: {error}")))
}

async fn on_one(
    console: &Console,
    reader: &Reader,
    eid: Eid,
    command: Command,
    note: Option<String>,
) -> Answer<Plan> {
    console.eim.visible_device(&reader.visible(), eid)?;
    let change = Change::Operate {
        devices: one(eid),
        commands: vec![command],
    };
    planned(console, reader, wish(change, note)).await
}

pub(super) async fn planned(console: &Console, reader: &Reader, wish: Wish) -> Answer<Plan> {
    if reader.via == Via::Proof {
        return Err(Problem::new(
            http::StatusCode::FORBIDDEN,
            "session-needed",
            "A plan is for somebody who may look",
            "the request shows a proof, and no session",
            "sign in; a machine makes its intents itself (`palisade operation propose`)",
        ));
    }
    Ok(Json(console.plan(reader, wish).await?))
}

/// Whoever asks for a change on a resource asks for its plan.
pub(crate) struct OnlyPlan;

impl<S: Send + Sync> FromRequestParts<S> for OnlyPlan {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Params(params) = Params::<PlanParams>::from_request_parts(parts, state).await?;
        match params.plan {
            Some(true) => Ok(Self),
            _ => Err(Problem::new(
                http::StatusCode::FORBIDDEN,
                "proof-needed",
                "A change needs a proof of who wants it",
                "nobody changes anything by being signed in",
                "ask for the plan (?plan=true), sign its id, and send its intent to POST /intents",
            )),
        }
    }
}

fn wish(change: Change, note: Option<String>) -> Wish {
    Wish {
        change,
        note,
        lifetime_ms: None,
    }
}

fn one(eid: Eid) -> Devices {
    Devices {
        which: Which::Eids(vec![eid]),
        only_effective: false,
    }
}

fn lifetime(seconds: Option<u32>) -> Option<i64> {
    seconds.map(|seconds| i64::from(seconds) * 1000)
}

pub(super) fn fleet(text: &str) -> Result<intent::Fleet, Problem> {
    text.parse()
        .map_err(|error: intent::NameError| Problem::invalid(format!("{text:?}: {error}")))
}

fn eids(list: &[String]) -> Result<Vec<Eid>, Problem> {
    list.iter().map(|text| eid(text)).collect()
}

fn iccid(text: &str) -> Result<Iccid, Problem> {
    text.parse()
        .map_err(|error: rsp::ids::InvalidId| Problem::invalid(format!("{text:?}: {error}")))
}
