//! What the interface shows, in its own types: what stands in them is what everybody may rely on.

use eim::search::ListedDevice;
use eim::{Device, Event, Notification, Operation, Profile};
use intent::api::{CredentialInfo, IntentStatus, PrincipalInfo};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::redaction::redacted;

/// A page of devices.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DevicePage {
    /// May be fewer than asked for, even none, before the last page.
    pub(crate) devices: Vec<DeviceListed>,
    /// Where the next page begins (`after`); absent: this was the last.
    pub(crate) next: Option<String>,
    /// Devices that you see, whatever was searched for.
    pub(crate) total: i64,
}

/// A device in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeviceListed {
    /// EID of its eUICC.
    #[schema(example = "89049032123451234512345678901235")]
    eid: String,
    /// The operator's name for it.
    label: String,
    /// The fleet it was registered in.
    fleet: String,
    /// `registered`, `associated` or `retired`.
    state: String,
    /// What the authority knows of its eUICC: `unknown`, `due`, `accepted` or `refused`.
    association: String,
    /// Milliseconds since 1970.
    registered_at: i64,
    /// When it polled last. Milliseconds since 1970.
    last_poll_at: Option<i64>,
    /// Its enabled profile.
    enabled: Option<EnabledProfile>,
    /// Operations that are queued or in flight.
    open_operations: i64,
    /// How its last operation to end ended.
    last_ended: Option<String>,
    /// `key` or `key=value`.
    tags: Vec<String>,
}

/// The enabled profile of a device.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EnabledProfile {
    /// ICCID.
    iccid: String,
    /// The profile's name.
    name: String,
    /// Its service provider.
    provider: String,
}

/// A device with all that is known of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeviceShown {
    /// EID of its eUICC.
    #[schema(example = "89049032123451234512345678901235")]
    eid: String,
    /// The operator's name for it.
    label: String,
    /// `registered`, `associated` or `retired`.
    state: String,
    /// The fleet it was registered in.
    fleet: String,
    /// What the authority knows of its eUICC: `unknown`, `due`, `accepted` or `refused`.
    association: String,
    /// Why the authority did not accept what it was told.
    association_refusal: Option<String>,
    /// Counter of its newest package.
    counter: i64,
    /// Highest sequence number accepted in a signed result; -1 before the first.
    last_seq_number: i64,
    /// Default SM-DP+ address of the eUICC.
    default_smdp: Option<String>,
    /// Milliseconds since 1970.
    registered_at: i64,
    /// Whether CERT.EUICC is known.
    certificates_known: bool,
    /// Whether the association token is known.
    association_token_known: bool,
    /// Whether the IPA said what it can.
    ipa_capabilities_known: bool,
    /// When it was heard of.
    contact: Option<Contact>,
    /// Operations that are queued or in flight.
    operations_open: usize,
    /// What its eUICC last listed.
    profiles: Vec<ProfileShown>,
    /// eIMs that its eUICC last listed.
    eims: Vec<EimShown>,
    /// `key` or `key=value`.
    tags: Vec<String>,
}

/// When a device was heard of.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Contact {
    /// Milliseconds since 1970.
    last_poll_at: i64,
    /// Polls since it was registered.
    polls: i64,
    /// Address it last polled from.
    peer: String,
}

/// A profile on an eUICC, as it last listed it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProfileShown {
    /// ICCID.
    #[schema(example = "89000123456789012341")]
    iccid: String,
    /// Whether it is enabled.
    enabled: bool,
    /// `operational`, `provisioning` or `test`.
    class: String,
    /// Its name.
    name: String,
    /// Its service provider.
    provider: String,
    /// The nickname on the eUICC.
    nickname: Option<String>,
    /// AID of its ISD-P, hexadecimal.
    isdp_aid: Option<String>,
    /// Whether it is the fallback profile.
    fallback_attribute: bool,
    /// Whether its owner lets it be that.
    fallback_allowed: bool,
    /// Whether it is for emergency calls.
    ecall: bool,
    /// Profile Policy Rules: `PPR1`, `PPR2`, both or none.
    policy_rules: String,
    /// When the eUICC said so. Milliseconds since 1970.
    updated_at: i64,
}

/// An eIM that an eUICC obeys.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EimShown {
    /// Its name.
    eim_id: String,
    /// 1: OID, 2: FQDN, 3 or absent: proprietary.
    id_type: Option<i64>,
    /// When the eUICC said so. Milliseconds since 1970.
    seen_at: i64,
}

/// A notification that an eUICC signed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NotificationShown {
    /// The eUICC.
    eid: String,
    /// Its number on the eUICC.
    seq_number: i64,
    /// `install`, `enable`, `disable` or `delete`.
    event: String,
    /// The profile, if it names one.
    iccid: Option<String>,
    /// The server that it is for.
    address: String,
    /// Milliseconds since 1970.
    received_at: i64,
    /// Milliseconds since 1970; absent: not yet, or for nobody.
    forwarded_at: Option<i64>,
    /// Attempts to forward it.
    attempts: i64,
}

/// Something that happened on a device.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventShown {
    /// UUIDv7.
    id: String,
    /// Milliseconds since 1970.
    at: i64,
    /// Who did it: `principal:`, `operator:`, `device:` or `system:` and a name.
    actor: String,
    /// What, as a stable word.
    kind: String,
    /// Particulars.
    #[schema(value_type = Object)]
    detail: Value,
}

/// An operation: what one device is to do, and what came of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OperationShown {
    /// UUIDv7.
    id: String,
    /// The device.
    eid: String,
    /// The intent that it carries out; absent: the eIM wants to know something itself.
    intent: Option<String>,
    /// Who asked.
    actor: String,
    /// What for. Codes are shown as commitments.
    #[schema(value_type = Vec<Object>)]
    commands: Value,
    /// `queued`, `in-flight`, `done`, `failed`, `cancelled`, `expired` or `rolled-back`.
    state: String,
    /// Why the authority did not sign it when it was asked last: `code`, `message`, `retry_at`.
    #[schema(value_type = Option<Object>)]
    held: Value,
    /// Ties package and result together; hexadecimal.
    eim_transaction_id: Option<String>,
    /// Counter of its package.
    counter: Option<i64>,
    /// When the result was recorded in the ledger. Milliseconds since 1970.
    recorded_at: Option<i64>,
    /// What came of it: `summary`, and `results` with one entry per command.
    #[schema(value_type = Option<Object>)]
    outcome: Value,
    /// Unsigned refusals seen while in flight; counted, not believed.
    refusals: i64,
    /// Proofs of presence asked for before it could be handed over.
    proofs: i64,
    /// Milliseconds since 1970.
    created_at: i64,
    /// Milliseconds since 1970.
    expires_at: i64,
    /// First handed to the device. Milliseconds since 1970.
    delivered_at: Option<i64>,
    /// Milliseconds since 1970.
    finished_at: Option<i64>,
    /// The package as sent, DER in hexadecimal; of one operation alone.
    request: Option<String>,
    /// The result as received, DER in hexadecimal; of one operation alone.
    result: Option<String>,
}

/// How an intent stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IntentShown {
    /// SHA-256 of its octets, base64url.
    id: String,
    /// Number of its entry in the ledger.
    entry: u64,
    /// When it was accepted. Milliseconds since 1970.
    at: i64,
    /// Who proposed it.
    proposer: String,
    /// `waiting`, `approved`, `done`, `rejected`, `cancelled` or `expired`.
    #[schema(value_type = String)]
    state: intent::api::IntentState,
    /// How many people have to approve.
    approvers: u8,
    /// Who has approved.
    approved_by: Vec<String>,
    /// Devices that it is about.
    devices: u64,
    /// Devices that were signed for.
    done: u64,
    /// In one line, for people.
    summary: String,
    /// The intent itself.
    #[schema(value_type = Object)]
    intent: intent::Intent,
    /// What came of it so far, on the first 100 devices that you see. Of one intent alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) operations: Option<Vec<OperationOfIntent>>,
    /// Devices for which a label or token waits until they are registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pending_data: Option<i64>,
}

/// An operation that came of an intent.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OperationOfIntent {
    /// Its id.
    pub(crate) id: String,
    /// The device.
    pub(crate) eid: String,
    /// Where it stands.
    pub(crate) state: String,
}

/// A page of intents, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IntentPage {
    /// Those that you see; may be fewer than asked for before the last page.
    pub(crate) intents: Vec<IntentShown>,
    /// Where the next page begins (`before`); absent: this was the last.
    pub(crate) next: Option<String>,
}

/// A person, machine or token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PrincipalShown {
    /// Name.
    name: String,
    /// `person`, `machine`, `token` or `break-glass`.
    kind: String,
    /// What they are: `role`, and `fleets` (`all`, or `{"only": […]}`).
    #[schema(value_type = Vec<Object>)]
    grants: Vec<intent::Grant>,
    /// Until when. Milliseconds since 1970.
    expires_at: i64,
    /// Whether revoked.
    revoked: bool,
    /// From where they may act; empty: from anywhere.
    networks: Vec<String>,
    /// What they can show.
    credentials: Vec<CredentialShown>,
}

/// A passkey, key or token; never its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CredentialShown {
    /// Id.
    id: String,
    /// `passkey`, `ed25519` or `token`.
    kind: String,
    /// Milliseconds since 1970.
    not_before: i64,
    /// Milliseconds since 1970.
    expires_at: i64,
    /// Whether revoked.
    revoked: bool,
    /// Milliseconds since 1970.
    last_used_at: Option<i64>,
    /// From which address.
    #[schema(value_type = Option<String>)]
    last_used_from: Option<std::net::IpAddr>,
    /// For what.
    last_used_for: Option<String>,
}

impl From<ListedDevice> for DeviceListed {
    fn from(device: ListedDevice) -> Self {
        Self {
            eid: device.eid.to_string(),
            label: device.label,
            fleet: device.fleet,
            state: device.state.to_string(),
            association: device.association.to_string(),
            registered_at: device.registered_at,
            last_poll_at: device.contact.map(|contact| contact.last_poll_at),
            enabled: device.enabled.map(|profile| EnabledProfile {
                iccid: profile.iccid.to_string(),
                name: profile.name,
                provider: profile.provider,
            }),
            open_operations: device.open_operations,
            last_ended: device.last_ended.map(|state| state.to_string()),
            tags: device.tags.iter().map(ToString::to_string).collect(),
        }
    }
}

/// What stands beside a device.
pub(crate) struct Beside {
    pub(crate) contact: Option<eim::Contact>,
    pub(crate) operations_open: usize,
    pub(crate) profiles: Vec<Profile>,
    pub(crate) eims: Vec<eim::AssociatedEim>,
    pub(crate) tags: Vec<eim::tags::Tag>,
}

impl DeviceShown {
    pub(crate) fn new(device: Device, beside: Beside) -> Self {
        Self {
            eid: device.eid.to_string(),
            label: device.label,
            state: device.state.to_string(),
            fleet: device.fleet,
            association: device.association.to_string(),
            association_refusal: device.association_refusal,
            counter: device.counter,
            last_seq_number: device.last_seq_number,
            default_smdp: device.default_smdp,
            registered_at: device.registered_at,
            certificates_known: device.euicc_certificate.is_some(),
            association_token_known: device.association_token.is_some(),
            ipa_capabilities_known: device.ipa_capabilities.is_some(),
            contact: beside.contact.map(|contact| Contact {
                last_poll_at: contact.last_poll_at,
                polls: contact.polls,
                peer: contact.peer,
            }),
            operations_open: beside.operations_open,
            profiles: beside.profiles.into_iter().map(Into::into).collect(),
            eims: beside.eims.into_iter().map(Into::into).collect(),
            tags: beside.tags.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<Profile> for ProfileShown {
    fn from(profile: Profile) -> Self {
        Self {
            iccid: profile.iccid.to_string(),
            enabled: profile.enabled,
            class: profile.class,
            name: profile.name,
            provider: profile.provider,
            nickname: profile.nickname,
            isdp_aid: profile.isdp_aid,
            fallback_attribute: profile.fallback_attribute,
            fallback_allowed: profile.fallback_allowed,
            ecall: profile.ecall,
            policy_rules: profile.policy_rules,
            updated_at: profile.updated_at,
        }
    }
}

impl From<eim::AssociatedEim> for EimShown {
    fn from(eim: eim::AssociatedEim) -> Self {
        Self {
            eim_id: eim.eim_id,
            id_type: eim.id_type,
            seen_at: eim.seen_at,
        }
    }
}

impl From<Notification> for NotificationShown {
    fn from(notification: Notification) -> Self {
        Self {
            eid: notification.eid.to_string(),
            seq_number: notification.seq_number,
            event: notification.event,
            iccid: notification.iccid,
            address: notification.address,
            received_at: notification.received_at,
            forwarded_at: notification.forwarded_at,
            attempts: notification.attempts,
        }
    }
}

impl From<Event> for EventShown {
    fn from(event: Event) -> Self {
        Self {
            id: event.id.to_string(),
            at: event.at,
            actor: event.actor,
            kind: event.kind,
            detail: redacted(event.detail),
        }
    }
}

impl From<Operation> for OperationShown {
    fn from(operation: Operation) -> Self {
        let value = |value: serde_json::Result<Value>| redacted(value.unwrap_or_default());
        Self {
            id: operation.id.to_string(),
            eid: operation.eid.to_string(),
            intent: operation.intent.map(|id| id.to_string()),
            actor: operation.actor,
            commands: value(serde_json::to_value(&operation.commands)),
            state: operation.state.to_string(),
            held: value(serde_json::to_value(&operation.held)),
            eim_transaction_id: operation.eim_transaction_id.map(|id| id.to_string()),
            counter: operation.counter,
            recorded_at: operation.recorded_at,
            outcome: value(serde_json::to_value(&operation.outcome)),
            refusals: operation.refusals,
            proofs: operation.proofs,
            created_at: operation.created_at,
            expires_at: operation.expires_at,
            delivered_at: operation.delivered_at,
            finished_at: operation.finished_at,
            request: operation.request.as_deref().map(hex::encode_upper),
            result: operation.result.as_deref().map(hex::encode_upper),
        }
    }
}

impl From<IntentStatus> for IntentShown {
    fn from(status: IntentStatus) -> Self {
        Self {
            id: status.id.to_string(),
            entry: status.entry,
            at: status.at,
            proposer: status.proposer.to_string(),
            state: status.state,
            approvers: status.approvers,
            approved_by: status.approved_by.iter().map(ToString::to_string).collect(),
            devices: status.devices,
            done: status.done,
            summary: crate::plan::described(&status.intent.action),
            intent: status.intent,
            operations: None,
            pending_data: None,
        }
    }
}

impl From<PrincipalInfo> for PrincipalShown {
    fn from(info: PrincipalInfo) -> Self {
        Self {
            name: info.name.to_string(),
            kind: info.kind,
            grants: info.grants,
            expires_at: info.expires_at,
            revoked: info.revoked,
            networks: info.networks,
            credentials: info.credentials.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<CredentialInfo> for CredentialShown {
    fn from(info: CredentialInfo) -> Self {
        Self {
            id: info.id,
            kind: info.kind,
            not_before: info.not_before,
            expires_at: info.expires_at,
            revoked: info.revoked,
            last_used_at: info.last_used_at,
            last_used_from: info.last_used_from,
            last_used_for: info.last_used_for,
        }
    }
}
