//! Deciding what is signed, and what may leave without a signature.
//!
//! A package is decided upon once: the entry that allocates its counter holds its octets, and whoever asks again for the same
//! account and device is given these. What stops a signature stops the second as well.

use intent::api::{Account, Reference, Refusal, RefusalCode};
use intent::command::PackageKind;
use intent::{Action, Command, Digest, Fleet, PolicyDocument};
use rsp::ids::Eid;
use rsp::sgp32::EuiccPackage;

use crate::event::{self, Actor, Event, Ordered, Waiver};
use crate::inventory::Class;
use crate::package::{self, COUNTER_MAX, TRANSACTION_OCTETS};
use crate::state::devices::{Association, Device, Order};
use crate::state::intents::OpenIntent;
use crate::state::usage::{self, Span, Window};
use crate::verbs::entitlement::word;
use crate::verbs::{Context, Decided, policy};

/// Characters of the eIM's reference of a read.
pub(crate) const REFERENCE_MAX: usize = 64;
/// How long the eIM waits before it asks again, when profiles have to be listed first.
const LISTING_MS: i64 = 60_000;

/// A package that may be signed once its entry is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ToSign {
    /// Its entry.
    pub(crate) number: u64,
    /// The counter that it uses up.
    pub(crate) counter: i64,
    /// The token that the signature covers.
    pub(crate) token: Option<i64>,
    /// EuiccPackageSigned, DER in base64.
    pub(crate) package: String,
    /// The key.
    pub(crate) key: Digest,
}

/// Decides what is signed for a reference.
pub(crate) fn sign(cx: &Context<'_>, reference: &Reference) -> Result<Decided<ToSign>, Refusal> {
    let (device, fleet) = device(cx, &reference.eid)?;
    match &reference.account {
        Account::Intent(id) => {
            let open = cx.state.intents.approved(id, cx.now)?;
            let (open, commands) = stoppable(cx, open, &reference.eid, fleet)?;
            if open.intent().action.package_kind() != Some(PackageKind::EuiccPackage) {
                return Err(Refusal::new(
                    RefusalCode::Malformed,
                    "packages of this intent carry no signature: have them released",
                ));
            }
            let account = event::Account::Intent(open.number());
            let association = association(device)?;
            if let Some((counter, order)) = device.order_of(&account) {
                return again(cx, counter, order);
            }
            if open.is_done(&reference.eid) {
                return Err(signed_long_ago());
            }
            check_policy(cx, open, commands, device, fleet)?;
            check_quotas(cx, open, fleet)?;
            let adopts = adopted(commands);
            let content = match &adopts {
                Some(key) => {
                    let spki = cx.state.keys.spki(key).ok_or_else(no_such_key)?;
                    package::adoption(&eim_id(cx)?, spki)
                }
                None => Command::to_package(commands),
            };
            let approvals = open.approval_numbers();
            let plan = Plan {
                account,
                approvals,
                adopts,
            };
            order(cx, reference.eid, device, association, plan, content)
        }
        Account::ListProfiles(text) | Account::ListEims(text) => {
            let command = match &reference.account {
                Account::ListEims(_) => Command::ListEims,
                _ => Command::ListProfiles,
            };
            check_reference(text)?;
            if let Some(refusal) = cx.state.stop_of_reads(fleet)
                && !is_awaited_by_break_glass(cx, &reference.eid)
            {
                return Err(refusal);
            }
            // Profiles and eIMs may be asked for under one reference.
            let account = event::Account::Read(format!("{}:{text}", listing(&command)));
            let association = association(device)?;
            if let Some((counter, order)) = device.order_of(&account) {
                return again(cx, counter, order);
            }
            check_reads(cx, device)?;
            let content = Command::to_package(std::slice::from_ref(&command));
            let plan = Plan {
                account,
                approvals: Vec::new(),
                adopts: None,
            };
            order(cx, reference.eid, device, association, plan, content)
        }
    }
}

/// Decides whether a package without a signature may leave. The answer is what it is to be made from: a front that looks it up
/// in a database of its own could be lied to.
pub(crate) fn release(
    cx: &Context<'_>,
    reference: &Reference,
) -> Result<Decided<Vec<Command>>, Refusal> {
    let (device, fleet) = device(cx, &reference.eid)?;
    let Account::Intent(id) = &reference.account else {
        return Err(Refusal::new(
            RefusalCode::Malformed,
            "lists are asked for in packages that are signed",
        ));
    };
    let open = cx.state.intents.approved(id, cx.now)?;
    let (open, commands) = stoppable(cx, open, &reference.eid, fleet)?;
    match open.intent().action.package_kind() {
        Some(PackageKind::Download | PackageKind::DeviceData) => {}
        _ => {
            return Err(Refusal::new(
                RefusalCode::Malformed,
                "packages of this intent have to be signed",
            ));
        }
    }
    // As for what is signed: to a device whose eUICC nobody vouched for, nothing leaves.
    association(device)?;
    if open.is_done(&reference.eid) {
        return Ok(Decided {
            events: Vec::new(),
            answer: commands.to_vec(),
        });
    }
    check_policy(cx, open, commands, device, fleet)?;
    check_quotas(cx, open, fleet)?;
    let event = Event::PackageReleased {
        eid: Some(reference.eid),
        intent: open.number(),
        approvals: open.approval_numbers(),
    };
    Ok(Decided {
        events: vec![(Actor::Eim, event)],
        answer: commands.to_vec(),
    })
}

/// Whether the key in the safe asked for something on this device, before which it may have to prove itself or list profiles.
fn is_awaited_by_break_glass(cx: &Context<'_>, eid: &Eid) -> bool {
    cx.state.intents.newest_first(None).any(|open| {
        open.waived() == Some(Waiver::BreakGlass)
            && !open.is_expired(cx.now)
            && open.is_about(eid)
            && !open.is_done(eid)
    })
}

/// What a new package is made of.
struct Plan {
    account: event::Account,
    approvals: Vec<u64>,
    adopts: Option<Digest>,
}

fn order(
    cx: &Context<'_>,
    eid: Eid,
    device: &Device,
    association: &Association,
    plan: Plan,
    content: Result<EuiccPackage, intent::CommandError>,
) -> Result<Decided<ToSign>, Refusal> {
    let content =
        content.map_err(|error| Refusal::new(RefusalCode::Malformed, error.to_string()))?;
    if device.counter() >= COUNTER_MAX {
        return Err(Refusal::new(
            RefusalCode::Conflict,
            "all counters of this device are used up: have its eIM configuration data deleted and add it anew",
        ));
    }
    let counter = device.counter() + 1;
    let key = association.eim_key;
    check_key(cx, &key)?;
    let mut transaction = [0; TRANSACTION_OCTETS];
    cx.entropy.fill(&mut transaction);
    let octets = package::build(&eim_id(cx)?, eid, counter, &transaction, content);
    let package = package::to_base64(&octets);
    let answer = ToSign {
        number: cx.next,
        counter,
        token: association.token,
        package: package.clone(),
        key,
    };
    let ordered = Ordered {
        eid: Some(eid),
        account: plan.account,
        approvals: plan.approvals,
        counter,
        association_token: association.token,
        package,
        key,
        adopts: plan.adopts,
    };
    Ok(Decided {
        events: vec![(Actor::Eim, Event::PackageOrdered(Box::new(ordered)))],
        answer,
    })
}

/// The same octets as before.
fn again(cx: &Context<'_>, counter: i64, order: &Order) -> Result<Decided<ToSign>, Refusal> {
    check_key(cx, &order.key)?;
    Ok(Decided {
        events: Vec::new(),
        answer: ToSign {
            number: order.number,
            counter,
            token: order.token,
            package: order.package.clone(),
            key: order.key,
        },
    })
}

fn device<'a>(cx: &Context<'a>, eid: &Eid) -> Result<(&'a Device, &'a Fleet), Refusal> {
    let state = cx.state;
    let found = state.devices.get(eid).zip(state.devices.fleet(eid));
    found.ok_or_else(|| {
        Refusal::new(
            RefusalCode::NotAssociated,
            format!("{eid} is not registered: register it with `palisade device register`"),
        )
    })
}

fn association(device: &Device) -> Result<&Association, Refusal> {
    device.association().ok_or_else(|| {
        Refusal::new(
            RefusalCode::NotAssociated,
            "the device has not shown certificates of its eUICC that lead to a trusted CI: it is asked for them when it polls, and `palisade device show` says why those it showed were refused",
        )
    })
}

/// The intent, unless something stops it: it is about other devices, or something is frozen or revoked.
fn stoppable<'a>(
    cx: &Context<'a>,
    open: &'a OpenIntent,
    eid: &Eid,
    fleet: &Fleet,
) -> Result<(&'a OpenIntent, &'a [Command]), Refusal> {
    if !open.is_about(eid) {
        return Err(Refusal::new(
            RefusalCode::OutOfScope,
            "this device is none of those that the intent is about",
        ));
    }
    if let Some(refusal) = cx.state.stop(open, fleet) {
        return Err(refusal);
    }
    match &open.intent().action {
        Action::Operate { commands, .. } => Ok((open, commands)),
        _ => Err(Refusal::new(
            RefusalCode::WrongState,
            "this intent is not about packages",
        )),
    }
}

/// What policy says now, which may be another than when it was proposed. The key in the safe passes quotas and windows; what
/// profiles may be used holds for everybody.
fn check_policy(
    cx: &Context<'_>,
    open: &OpenIntent,
    commands: &[Command],
    device: &Device,
    fleet: &Fleet,
) -> Result<(), Refusal> {
    let document = &cx.state.policy;
    policy::check_commands(document, commands)?;
    if open.waived() != Some(Waiver::BreakGlass) {
        for command in commands {
            check_window(cx, document, command, fleet)?;
        }
    }
    for command in commands {
        if let Command::Enable { iccid, .. } | Command::SetFallback { iccid } = command {
            check_profile(cx, document, device, fleet, iccid)?;
        }
    }
    Ok(())
}

fn check_window(
    cx: &Context<'_>,
    document: &PolicyDocument,
    command: &Command,
    fleet: &Fleet,
) -> Result<(), Refusal> {
    const MINUTE_MS: i64 = 60_000;
    let kind = command.kind();
    if document.is_open(kind, fleet, cx.now) {
        return Ok(());
    }
    // Windows begin on the minute. A week holds all of them.
    let next_minute = (cx.now.div_euclid(MINUTE_MS) + 1) * MINUTE_MS;
    let opens = (0..7 * 24 * 60)
        .map(|n| next_minute + n * MINUTE_MS)
        .step_by(5)
        .find(|at| document.is_open(kind, fleet, *at));
    let refusal = Refusal::new(
        RefusalCode::OutsideWindow,
        format!(
            "policy does not let {} happen in the fleet {fleet} at this time",
            word(kind)
        ),
    );
    Err(match opens {
        Some(at) => refusal.until(at),
        None => refusal,
    })
}

fn check_profile(
    cx: &Context<'_>,
    document: &PolicyDocument,
    device: &Device,
    fleet: &Fleet,
    iccid: &rsp::ids::Iccid,
) -> Result<(), Refusal> {
    let test_is_allowed = document.profiles.test_class_fleets.contains(fleet);
    let owners = document.profiles.owners.as_ref();
    if test_is_allowed && owners.is_none() {
        return Ok(());
    }
    let profile = device.inventory().and_then(|known| known.profile(iccid));
    let Some(profile) = profile else {
        return Err(Refusal::new(
            RefusalCode::NotListed,
            format!("the eUICC has not listed the profile {iccid}, so policy cannot judge it: have the profiles listed first"),
        )
        .until(cx.now.saturating_add(LISTING_MS)));
    };
    if !test_is_allowed && profile.class == Class::Test {
        return Err(Refusal::new(
            RefusalCode::PolicyRefused,
            format!(
                "{iccid} is a profile of the class test, which policy does not allow in the fleet {fleet}"
            ),
        ));
    }
    let owner = profile.owner.as_ref();
    match owners.is_none_or(|owners| owner.is_some_and(|owner| owners.contains(owner))) {
        true => Ok(()),
        false => Err(Refusal::new(
            RefusalCode::PolicyRefused,
            format!("policy does not allow profiles of the owner of {iccid}"),
        )),
    }
}

fn check_quotas(cx: &Context<'_>, open: &OpenIntent, fleet: &Fleet) -> Result<(), Refusal> {
    if !usage::counts(open) {
        return Ok(());
    }
    let (quotas, usage) = (&cx.state.policy.quotas, &cx.state.usage);
    let check = |window: Option<&Window>, span, limit: Option<u64>, whose: &str| {
        let empty = Window::default();
        let free_at = limit.and_then(|limit| window.unwrap_or(&empty).free_at(span, cx.now, limit));
        match free_at {
            None => Ok(()),
            Some(at) => Err(Refusal::new(
                RefusalCode::QuotaExceeded,
                format!("the quota {whose} is used up"),
            )
            .until(at)),
        }
    };
    check(
        usage.of_credential(open.credential()),
        Span::HOUR,
        quotas.credential_per_hour.map(u64::from),
        "of one hour for the credential that proposed this",
    )?;
    check(
        usage.of_fleet(fleet),
        Span::HOUR,
        quotas.fleet_per_hour.map(u64::from),
        "of one hour for the fleet",
    )?;
    check(
        Some(usage.of_all()),
        Span::DAY,
        quotas.all_per_day,
        "of one day for everything",
    )
}

fn check_reads(cx: &Context<'_>, device: &Device) -> Result<(), Refusal> {
    let limit = cx.state.policy.quotas.reads_per_device_hour.into();
    match device.reads().free_at(Span::COARSE_HOUR, cx.now, limit) {
        None => Ok(()),
        Some(at) => Err(Refusal::new(
            RefusalCode::QuotaExceeded,
            "the eIM had this device read as often as it may in an hour",
        )
        .until(at)),
    }
}

fn check_key(cx: &Context<'_>, key: &Digest) -> Result<(), Refusal> {
    if !cx.state.keys.is_usable(key) {
        return Err(no_such_key());
    }
    match cx.signers.contains_key(key) {
        true => Ok(()),
        false => Err(Refusal::new(
            RefusalCode::Unavailable,
            format!("the authority has no access to the signing key {key}"),
        )),
    }
}

fn check_reference(text: &str) -> Result<(), Refusal> {
    let is_plain = text.bytes().all(|b| b.is_ascii_graphic());
    match (1..=REFERENCE_MAX).contains(&text.len()) && is_plain {
        true => Ok(()),
        false => Err(Refusal::new(
            RefusalCode::Malformed,
            format!("a reference is 1 to {REFERENCE_MAX} printable characters without spaces"),
        )),
    }
}

fn listing(command: &Command) -> &'static str {
    match command {
        Command::ListEims => "eims",
        _ => "profiles",
    }
}

fn adopted(commands: &[Command]) -> Option<Digest> {
    match commands {
        [Command::AdoptEimKey { spki_sha256 }] => Some(*spki_sha256),
        _ => None,
    }
}

fn eim_id(cx: &Context<'_>) -> Result<rsp::sgp32::EimId, Refusal> {
    let text = &cx.state.installation()?.eim_id;
    text.parse()
        .map_err(|_| Refusal::new(RefusalCode::Malformed, "the eIM's name is no eimId"))
}

fn no_such_key() -> Refusal {
    Refusal::new(
        RefusalCode::Conflict,
        "the key that this needs was retired: propose it anew",
    )
}

fn signed_long_ago() -> Refusal {
    Refusal::new(
        RefusalCode::WrongState,
        "a package of this intent was signed for this device, and its eUICC executed later ones or was given too many since: propose it anew if it was not carried out",
    )
}
