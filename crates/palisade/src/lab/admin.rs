//! The verbs of the SM-DP+'s operator.

use std::net::SocketAddr;

use http::StatusCode;
use rsp::binding::es2plus::{
    CancelOrder, ConfirmOrder, DownloadOrder, FinalProfileStatus, OrderedProfile,
};
use rsp::ids::Iccid;
use rsp::sgp22::ProfileClass;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use smdp::{
    Actor, Error, ImportError, ImportProfile, PolicyRules, ProfileMetadata, ProfileView, Smdp,
    activation_code,
};

use crate::control::Problem;

/// A verb with its arguments.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Request {
    /// Adds profiles.
    Import(Box<Import>),
    /// Orders, confirms and releases a download.
    Order(Order),
    /// Undoes an order.
    Cancel {
        /// The profile.
        iccid: String,
    },
    /// Lists profiles.
    List {
        /// Begins after this one.
        after: Option<String>,
        /// At most this many.
        limit: u32,
    },
    /// Shows a profile with its history.
    Show {
        /// The profile.
        iccid: String,
    },
    /// Says how the server is.
    Status,
}

impl Request {
    /// The verb, for logs: arguments hold codes.
    pub(crate) fn verb(&self) -> &'static str {
        match self {
            Self::Import(_) => "import",
            Self::Order(_) => "order",
            Self::Cancel { .. } => "cancel",
            Self::List { .. } => "list",
            Self::Show { .. } => "show",
            Self::Status => "status",
        }
    }
}

/// Profiles to add.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Import {
    /// Unprotected profile package, DER in hexadecimal.
    pub(crate) package: String,
    /// Name under which profiles of this kind are ordered.
    pub(crate) profile_type: String,
    /// The only operator that may order them.
    pub(crate) operator: Option<String>,
    /// ICCIDs to make; empty for that of the package.
    pub(crate) iccids: Vec<String>,
    /// serviceProviderName.
    pub(crate) provider: String,
    /// profileName.
    pub(crate) name: String,
    /// `test`, `provisioning` or `operational`.
    pub(crate) class: String,
    /// Who is told about every event; the SM-DP+ itself if absent, nobody if empty.
    pub(crate) notify: Option<String>,
    /// PPR1.
    pub(crate) no_disable: bool,
    /// PPR2.
    pub(crate) no_delete: bool,
    /// May be the fallback profile.
    pub(crate) fallback_allowed: bool,
    /// Is an emergency profile.
    pub(crate) ecall: bool,
}

/// What is ordered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    /// This profile.
    pub(crate) iccid: Option<String>,
    /// Or any of this type.
    pub(crate) profile_type: Option<String>,
    /// For this eUICC only.
    pub(crate) eid: Option<String>,
    /// Chosen by the SM-DP+ if absent; empty for the default SM-DP+.
    pub(crate) matching_id: Option<String>,
    /// Asked of whoever downloads.
    pub(crate) confirmation_code: Option<String>,
}

/// Where the server listens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listening {
    pub(crate) es9plus: SocketAddr,
    pub(crate) es2plus: Option<SocketAddr>,
}

/// Executes a verb. `listening` is absent while the server does not run.
pub(crate) fn execute(
    smdp: &Smdp,
    listening: Option<Listening>,
    request: Request,
) -> Result<Value, Problem> {
    match request {
        Request::Import(import) => self::import(smdp, &import),
        Request::Order(order) => self::order(smdp, &order),
        Request::Cancel { iccid } => cancel(smdp, parse(&iccid)?),
        Request::List { after, limit } => {
            let after = after.as_deref().map(parse).transpose()?;
            let profiles = smdp
                .inventory()
                .profiles(after.as_ref(), limit.clamp(1, 1000))
                .map_err(refused)?;
            Ok(json!({ "profiles": profiles.iter().map(view).collect::<Vec<_>>() }))
        }
        Request::Show { iccid } => show(smdp, parse(&iccid)?),
        Request::Status => Ok(json!({
            "fqdn": smdp.config().address,
            "oid": smdp.config().oid.to_string(),
            "es9plus": listening.map(|listening| listening.es9plus),
            "es2plus": listening.and_then(|listening| listening.es2plus),
            "counters": format!("{:?}", smdp.counters()),
        })),
    }
}

fn import(smdp: &Smdp, import: &Import) -> Result<Value, Problem> {
    let package = hex::decode(&import.package)
        .map_err(|_| Problem::invalid("the package is not hexadecimal"))?;
    let class = match import.class.as_str() {
        "test" => ProfileClass::Test,
        "provisioning" => ProfileClass::Provisioning,
        "operational" => ProfileClass::Operational,
        other => {
            return Err(Problem::invalid(format!(
                "{other:?} is not a class of profiles"
            )));
        }
    };
    let mut metadata = ProfileMetadata::new(&import.provider, &import.name, class);
    match import.notify.as_deref() {
        None => metadata = metadata.notifying(&smdp.config().address),
        Some("") => {}
        Some(address) => metadata = metadata.notifying(address),
    }
    metadata.policy_rules = PolicyRules {
        no_disable: import.no_disable,
        no_delete: import.no_delete,
    };
    metadata.fallback_allowed = import.fallback_allowed;
    metadata.ecall_indication = import.ecall;
    let iccids: Vec<Iccid> = import
        .iccids
        .iter()
        .map(|iccid| parse(iccid))
        .collect::<Result<_, _>>()?;
    let imported = smdp.inventory().import(ImportProfile {
        package: &package,
        profile_type: import.profile_type.clone(),
        operator: import.operator.clone(),
        metadata,
        iccids,
    });
    let imported = imported.map_err(|error| match error {
        ImportError::Server(error) => refused(error),
        error => Problem::refused_by(
            "import-refused",
            "The profile is not imported",
            &error,
            "choose another package, ICCID or metadata",
        ),
    })?;
    Ok(json!({ "iccids": imported.iter().map(ToString::to_string).collect::<Vec<_>>() }))
}

fn order(smdp: &Smdp, order: &Order) -> Result<Value, Problem> {
    let profile = match (&order.iccid, &order.profile_type) {
        (Some(iccid), profile_type) => OrderedProfile::Iccid {
            iccid: parse(iccid)?,
            profile_type: profile_type.clone(),
        },
        (None, Some(profile_type)) => OrderedProfile::Type(profile_type.clone()),
        (None, None) => return Err(Problem::invalid("an ICCID or a profile type is needed")),
    };
    let eid = order.eid.as_deref().map(parse).transpose()?;
    let matching_id = order.matching_id.as_deref().map(|id| {
        id.parse().map_err(|_| {
            Problem::invalid(format!("{id:?} is not a matching id: use A-Z, 0-9 and '-'"))
        })
    });
    let actor = Actor::Administration;
    let orders = smdp.orders();
    let iccid = orders
        .download_order(&actor, DownloadOrder { eid, profile })
        .map_err(refused)?
        .iccid;
    let confirm = ConfirmOrder {
        iccid,
        eid,
        matching_id: matching_id.transpose()?,
        confirmation_code: order.confirmation_code.clone(),
        smds_address: None,
        release_flag: true,
    };
    let confirmed = orders.confirm_order(&actor, confirm).inspect_err(|_| {
        // What was begun here and cannot be finished must not keep the profile.
        let undo = CancelOrder {
            iccid,
            eid: None,
            matching_id: None,
            final_profile_status_indicator: FinalProfileStatus::Available,
        };
        if let Err(error) = orders.cancel_order(&actor, undo) {
            tracing::warn!(%error, %iccid, "an order that was begun could not be undone");
        }
    });
    let confirmed = confirmed.map_err(refused)?;
    let code = activation_code(
        &smdp.config().address,
        &confirmed.matching_id,
        order.confirmation_code.is_some(),
    );
    Ok(json!({
        "iccid": iccid.to_string(),
        "matching_id": confirmed.matching_id.as_str(),
        "activation_code": code,
    }))
}

fn cancel(smdp: &Smdp, iccid: Iccid) -> Result<Value, Problem> {
    let order = CancelOrder {
        iccid,
        eid: None,
        matching_id: None,
        final_profile_status_indicator: FinalProfileStatus::Available,
    };
    smdp.orders()
        .cancel_order(&Actor::Administration, order)
        .map_err(refused)?;
    show(smdp, iccid)
}

fn show(smdp: &Smdp, iccid: Iccid) -> Result<Value, Problem> {
    let profile = smdp
        .inventory()
        .profile(&iccid)
        .map_err(refused)?
        .ok_or_else(|| {
            Problem::new(
                StatusCode::NOT_FOUND,
                "profile-unknown",
                "The profile is not in the inventory",
                format!("no profile with ICCID {iccid}"),
                "see `palisade smdp list`",
            )
        })?;
    let history = smdp.inventory().history(&iccid, 100).map_err(refused)?;
    let steps: Vec<_> = history
        .iter()
        .map(|step| json!({ "at": step.at.to_string(), "event": step.event, "before": step.before, "after": step.after, "actor": step.actor }))
        .collect();
    let mut shown = view(&profile);
    if let Value::Object(members) = &mut shown {
        members.insert("history".to_owned(), steps.into());
    }
    Ok(shown)
}

fn view(profile: &ProfileView) -> Value {
    let order = profile.order.as_ref();
    json!({
        "iccid": profile.iccid.to_string(),
        "profile_type": profile.profile_type,
        "operator": profile.operator,
        "state": profile.state.name(),
        "provider": profile.metadata.service_provider_name,
        "name": profile.metadata.profile_name,
        "eid": order.and_then(|order| order.eid.clone()),
        "attempts": order.map(|order| order.attempts),
        "confirmation_code": order.map(|order| order.confirmation_code),
    })
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, Problem> {
    text.parse()
        .map_err(|error: T::Err| Problem::invalid(format!("{text:?}: {error}")))
}

fn refused(error: Error) -> Problem {
    match error {
        Error::Refused(refusal) => Problem::refused_by(
            "order-refused",
            "The SM-DP+ refuses",
            &refusal,
            "see the state of the profile with `palisade smdp show`",
        ),
        Error::Fault(fault) => Problem::unavailable(&fault),
    }
}
