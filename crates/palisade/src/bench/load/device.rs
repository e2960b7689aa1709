//! What a device says, with an eUICC that signs and does nothing else.

use anyhow::{Context, bail};
use pki::{PrivateKey, Signer};
use rsp::binding::esipa::{Function, Request, Response};
use rsp::der::{Encoded, Writer};
use rsp::ids::Eid;
use rsp::sgp22::{ProfileInfo, ProfileInfoListResponse, ProfileState, Signature};
use rsp::sgp32::{
    DisableProfileResult, EimPackageError, EimPackageResult, EnableProfileResult, EuiccPackage,
    EuiccPackageRequest, EuiccPackageResult, EuiccPackageResultDataSigned,
    EuiccPackageResultSigned, EuiccResultData, GetEimPackageRequest, GetEimPackageResponse,
    ProvideEimPackageResult, ProvideEimPackageResultResponse, Psmo,
};

use crate::bench::site::TOKEN;

/// ICCIDs of the two profiles that every eUICC lists.
pub(in crate::bench) const ICCIDS: [&str; 2] = ["89000123456789012341", "89000123456789012358"];

/// The body of a poll.
pub(in crate::bench) fn poll(eid: Eid) -> Vec<u8> {
    Request::GetEimPackage(GetEimPackageRequest {
        eid_value: eid.to_field(),
        notify_state_change: None,
        state_change_cause: None,
        r_plmn: None,
        extensions: Default::default(),
    })
    .to_asn1()
}

/// The body of the answer to a poll when there is nothing to do.
pub(in crate::bench) fn nothing() -> Vec<u8> {
    let nothing = GetEimPackageResponse::EimPackageError(EimPackageError::NoEimPackageAvailable);
    Response::GetEimPackage(nothing)
        .to_asn1()
        .unwrap_or_default()
}

/// The body that delivers the signed result of the package in `answer`, with its sequence number.
pub(super) fn result(eid: Eid, answer: &[u8], key: &PrivateKey) -> anyhow::Result<(Vec<u8>, i64)> {
    let package = match Response::from_asn1(Function::GetEimPackage, answer)? {
        Response::GetEimPackage(GetEimPackageResponse::EuiccPackageRequest(package)) => package,
        other => bail!("there should be a package, and there is {other:?}"),
    };
    // Counters of an association only grow, and so do sequence numbers.
    let seq_number = package.euicc_package_signed.counter_value;
    let data = Encoded::new(executed(&package, seq_number)?);
    let mut token = Writer::new();
    token.value(0x84, &TOKEN);
    let signature = key.sign_parts(&[data.bytes(), &token.into_bytes()])?;
    let signed = EuiccPackageResultSigned {
        euicc_package_result_data_signed: data,
        euicc_sign_epr: Signature(signature.as_bytes().as_slice().into()),
        extensions: Default::default(),
    };
    let request = Request::ProvideEimPackageResult(ProvideEimPackageResult {
        eid_value: Some(eid.to_field()),
        eim_package_result: EimPackageResult::EuiccPackageResult(
            EuiccPackageResult::EuiccPackageResultSigned(signed),
        ),
        extensions: Default::default(),
    });
    Ok((request.to_asn1(), seq_number))
}

/// Whether the eIM acknowledges just this result.
pub(super) fn is_acknowledged(answer: &[u8], seq_number: i64) -> anyhow::Result<bool> {
    Ok(
        match Response::from_asn1(Function::ProvideEimPackageResult, answer)? {
            Response::ProvideEimPackageResult(
                ProvideEimPackageResultResponse::EimAcknowledgements(acknowledged),
            ) => acknowledged.iter().map(|number| number.0).eq([seq_number]),
            _ => false,
        },
    )
}

fn executed(
    package: &EuiccPackageRequest,
    seq_number: i64,
) -> anyhow::Result<EuiccPackageResultDataSigned> {
    let signed = &package.euicc_package_signed;
    let EuiccPackage::PsmoList(operations) = &signed.euicc_package else {
        bail!("there should be operations on profiles");
    };
    Ok(EuiccPackageResultDataSigned {
        eim_id: signed.eim_id.clone(),
        counter_value: signed.counter_value,
        eim_transaction_id: signed.eim_transaction_id.clone(),
        seq_number,
        euicc_result: operations.iter().map(outcome).collect::<Result<_, _>>()?,
        extensions: Default::default(),
    })
}

fn outcome(operation: &Psmo) -> anyhow::Result<EuiccResultData> {
    Ok(match operation {
        Psmo::Enable(_) => EuiccResultData::EnableResult(EnableProfileResult::Ok),
        Psmo::Disable(_) => EuiccResultData::DisableResult(DisableProfileResult::Ok),
        Psmo::ListProfileInfo(_) => {
            let list = ICCIDS
                .iter()
                .map(|iccid| profile(iccid))
                .collect::<Result<_, _>>()?;
            EuiccResultData::ListProfileInfoResult(ProfileInfoListResponse::ProfileInfoListOk(list))
        }
        other => bail!("the bench has no answer to {other:?}"),
    })
}

fn profile(iccid: &str) -> anyhow::Result<ProfileInfo> {
    // From what a card would send: all members that are asked for.
    let mut content = Writer::new();
    content.value(0x5A, &iccid.parse::<rsp::ids::Iccid>()?);
    content.value(0x9F70, &ProfileState::Disabled);
    content.value(0x91, &"Example Operator".to_owned());
    content.value(0x92, &"Example IoT Profile".to_owned());
    let mut whole = Writer::new();
    whole.tlv(rsp::der::Tag::new(0xE3), |writer| {
        writer.raw(&content.into_bytes())
    });
    rsp::der::Element::from_der(&whole.into_bytes()).context("a profile that does not decode")
}
