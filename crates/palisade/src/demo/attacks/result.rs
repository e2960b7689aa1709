//! Results that the eIM must not believe, over ESipa.

use pki::{Curve, PrivateKey};
use rsp::binding::esipa;
use rsp::der::Encoded;
use rsp::ids::Eid;
use rsp::ids::TransactionId;
use rsp::sgp22::{
    NotificationEvent, NotificationMetadata, OtherSignedNotification, PendingNotification,
};
use rsp::sgp32::{
    EimPackageResult, EnableProfileResult, EuiccPackageRequest, EuiccPackageResult,
    EuiccPackageResultDataSigned, EuiccPackageResultSigned, EuiccResultData, GetEimPackageResponse,
    HandleNotificationEsipa, IpaEuiccData, IpaEuiccDataResponse, ProvideEimPackageResultResponse,
    association_token_object,
};

use super::super::pki::{EID_PREFIX, SMDP, signature, wire};
use super::super::report::{Reaction, Trial};
use super::super::snapshot::Cards;
use super::super::wire::Wire;
use super::arena::{Arena, InFlight};
use crate::adapters::SystemEntropy;

pub(super) const EIM_NAME: &str = "eIM";
const SIGNATURE: &str = "signature of the eUICC";

pub(super) fn forged_signature(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let key = PrivateKey::generate(Curve::P256, &mut SystemEntropy)?;
    strike(arena, SIGNATURE, |forged, _| forged.signed_with(&key))
}

pub(super) fn another_signer(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    strike(arena, "signature of this eUICC", |forged, arena| {
        let key = arena.other()?.credential.key.clone();
        forged.signed_with(&key)
    })
}

/// A new device is registered; an impostor introduces itself in its place with a genuine certificate, its own.
pub(super) fn certificate_of_another(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let eid = arena.unused_eid(EID_PREFIX)?;
    arena.world.register(eid, "never seen", None)?;
    let certificate = arena.other()?.credential.certificate.clone();
    let eum = arena.world.pki.main.eum.certificate.clone();
    arena.watch(Cards::Memory, |arena| {
        introduce(
            &arena.wire()?,
            eid,
            &certificate,
            &eum,
            "EID in the certificate",
        )
    })
}

/// The victim's own eUICC signs: nobody but the device itself can go this far.
pub(super) fn counter_of_another_eim(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    strike(arena, "counter of the package", |mut forged, arena| {
        forged.data.counter_value += 1_000;
        forged.signed_by_victim(arena)
    })
}

pub(super) fn sent_for_another_eid(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let commands = arena.enabling()?;
    let InFlight {
        operation, package, ..
    } = arena.in_flight(commands)?;
    let forged = Forged::new(arena, &package)?.signed_by_victim(arena)?;
    let other = arena.other()?.eid;
    let trial = arena.watch(Cards::Memory, |arena| {
        Ok(reaction(
            arena.wire()?.provide(other, forged)?,
            "EID of the operation",
        ))
    })?;
    arena.settle(operation, trial)
}

/// While an operation is in flight, the result of an earlier one comes again.
pub(super) fn replayed(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let (_, old) = arena.genuine()?;
    let commands = arena.enabling()?;
    let InFlight { operation, .. } = arena.in_flight(commands)?;
    let eid = arena.eid()?;
    let trial = arena.watch(Cards::Memory, |arena| {
        let answer = arena
            .wire()?
            .provide(eid, EimPackageResult::EuiccPackageResult(old))?;
        Ok(match answer {
            ProvideEimPackageResultResponse::EimAcknowledgements(_) => Reaction::refused(
                EIM_NAME,
                "known octets: acknowledged once more, counted once",
            ),
            other => reaction(other, "known octets"),
        })
    })?;
    arena.settle(operation, trial)
}

pub(super) fn sequence_number_again(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    arena.genuine()?;
    strike(
        arena,
        "sequence number above the last one",
        |mut forged, arena| {
            forged.data.seq_number = arena.record()?.last_seq_number;
            forged.signed_by_victim(arena)
        },
    )
}

pub(super) fn forged_notification(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let key = PrivateKey::generate(Curve::P256, &mut SystemEntropy)?;
    let iccid = arena.victim()?.disabled()?;
    let tbs_other_notification = Encoded::new(NotificationMetadata {
        seq_number: 9_999,
        profile_management_operation: NotificationEvent::of([NotificationEvent::DELETE]),
        notification_address: SMDP.to_owned(),
        iccid: Some(iccid),
        extensions: Default::default(),
    });
    let notification = OtherSignedNotification {
        euicc_notification_signature: signature(&key, &[tbs_other_notification.bytes()])?,
        tbs_other_notification,
        euicc_certificate: wire(&arena.victim()?.credential.certificate)?,
        eum_certificate: wire(&arena.world.pki.main.eum.certificate)?,
        other_certs_in_chain: None,
        extensions: Default::default(),
    };
    let request = esipa::Request::HandleNotification(HandleNotificationEsipa::PendingNotification(
        PendingNotification::OtherSignedNotification(notification),
    ));
    arena.watch(Cards::Memory, |arena| {
        Ok(match arena.wire()?.esipa(&request)? {
            None => Reaction::refused(EIM_NAME, format!("{SIGNATURE}: HTTP 403")),
            Some(answer) => Reaction::through(format!("answered with {answer:?}")),
        })
    })
}

/// A first contact with these certificates.
pub(super) fn introduce(
    line: &Wire,
    eid: Eid,
    euicc: &pki::Certificate,
    eum: &pki::Certificate,
    rule: &str,
) -> anyhow::Result<Reaction> {
    let GetEimPackageResponse::IpaEuiccDataRequest(request) = line.poll(eid)? else {
        anyhow::bail!("the eIM did not ask for an introduction");
    };
    let data = IpaEuiccData {
        euicc_certificate: Some(wire(euicc)?),
        eum_certificate: Some(wire(eum)?),
        association_token: Some(1),
        ..no_data(request.eim_transaction_id)
    };
    let answer = IpaEuiccDataResponse::IpaEuiccData(data);
    Ok(reaction(
        line.provide(eid, EimPackageResult::IpaEuiccDataResponse(answer))?,
        rule,
    ))
}

/// An answer to a data request with nothing in it.
pub(super) fn no_data(eim_transaction_id: Option<TransactionId>) -> IpaEuiccData {
    IpaEuiccData {
        notifications_list: None,
        default_smdp_address: None,
        euicc_package_result_list: None,
        euicc_info1: None,
        euicc_info2: None,
        root_smds_address: None,
        association_token: None,
        eum_certificate: None,
        euicc_certificate: None,
        eim_transaction_id,
        ipa_capabilities: None,
        device_info: None,
        extensions: Default::default(),
    }
}

/// What the answer to something false means.
pub(super) fn reaction(answer: ProvideEimPackageResultResponse, rule: &str) -> Reaction {
    match answer {
        ProvideEimPackageResultResponse::ProvideEimPackageResultError(code) => {
            Reaction::refused(EIM_NAME, format!("{rule}: {code}"))
        }
        other => Reaction::through(format!("answered with {other:?}")),
    }
}

/// Puts a package in flight, sends a false result of it from a connection of the attacker's, and lets the victim go on.
fn strike(
    arena: &mut Arena<'_, '_>,
    rule: &str,
    forge: impl FnOnce(Forged, &mut Arena<'_, '_>) -> anyhow::Result<EimPackageResult>,
) -> anyhow::Result<Trial> {
    let commands = arena.enabling()?;
    let InFlight {
        operation, package, ..
    } = arena.in_flight(commands)?;
    let forged = Forged::new(arena, &package)?;
    let forged = forge(forged, arena)?;
    let eid = arena.eid()?;
    let trial = arena.watch(Cards::Memory, |arena| {
        Ok(reaction(arena.wire()?.provide(eid, forged)?, rule))
    })?;
    arena.settle(operation, trial)
}

/// A result that would be believed if nothing were wrong with it.
struct Forged {
    data: EuiccPackageResultDataSigned,
    token: Option<i64>,
}

impl Forged {
    fn new(arena: &mut Arena<'_, '_>, package: &EuiccPackageRequest) -> anyhow::Result<Self> {
        let signed = &package.euicc_package_signed;
        let record = arena.record()?;
        let data = EuiccPackageResultDataSigned {
            eim_id: signed.eim_id.clone(),
            counter_value: signed.counter_value,
            eim_transaction_id: signed.eim_transaction_id.clone(),
            seq_number: record.last_seq_number + 1,
            euicc_result: vec![EuiccResultData::EnableResult(EnableProfileResult::Ok)],
            extensions: Default::default(),
        };
        Ok(Self {
            data,
            token: record.association_token,
        })
    }

    fn signed_by_victim(self, arena: &mut Arena<'_, '_>) -> anyhow::Result<EimPackageResult> {
        let key = arena.victim()?.credential.key.clone();
        self.signed_with(&key)
    }

    fn signed_with(self, key: &PrivateKey) -> anyhow::Result<EimPackageResult> {
        let data = Encoded::new(self.data);
        let euicc_sign_epr =
            signature(key, &[data.bytes(), &association_token_object(self.token)])?;
        let signed = EuiccPackageResultSigned {
            euicc_package_result_data_signed: data,
            euicc_sign_epr,
            extensions: Default::default(),
        };
        Ok(EimPackageResult::EuiccPackageResult(
            EuiccPackageResult::EuiccPackageResultSigned(signed),
        ))
    }
}
