//! ES2+ in JSON.

use rsp::binding::es2plus::{
    Call, CancelOrder, ConfirmOrder, ConfirmOrderOk, DownloadOrder, DownloadOrderOk,
    FinalProfileStatus, Function, HandleDownloadProgressInfo, OrderedProfile, ReleaseProfile,
    Request, RequestHeader, Response,
};
use rsp::binding::{Failure, StatusCode};
use rsp::ids::{Eid, Iccid};
use serde_json::{Value, json};

use crate::json;

const EID: &str = "89049032123451234512345678901235";
const ICCID: &str = "8944476500001224158";

fn eid() -> Eid {
    EID.parse().unwrap()
}

fn iccid() -> Iccid {
    ICCID.parse().unwrap()
}

fn header() -> Value {
    json!({ "functionRequesterIdentifier": "2.999.10", "functionCallIdentifier": "call-1" })
}

fn rows() -> Vec<(Call, Value)> {
    vec![
        (
            Call::DownloadOrder(DownloadOrder {
                eid: None,
                profile: OrderedProfile::Type("iot".into()),
            }),
            json!({ "header": header(), "profileType": "iot" }),
        ),
        (
            Call::DownloadOrder(DownloadOrder {
                eid: Some(eid()),
                profile: OrderedProfile::Iccid {
                    iccid: iccid(),
                    profile_type: None,
                },
            }),
            json!({ "header": header(), "eid": EID, "iccid": ICCID }),
        ),
        (
            Call::ConfirmOrder(ConfirmOrder {
                iccid: iccid(),
                eid: Some(eid()),
                matching_id: Some("".parse().unwrap()),
                confirmation_code: Some("1234".into()),
                smds_address: Some("smds.example.com".into()),
                release_flag: true,
            }),
            json!({
                "header": header(), "iccid": ICCID, "eid": EID, "matchingId": "", "confirmationCode": "1234",
                "smdsAddress": "smds.example.com", "releaseFlag": true,
            }),
        ),
        (
            Call::CancelOrder(CancelOrder {
                iccid: iccid(),
                eid: None,
                matching_id: Some("AB-12".parse().unwrap()),
                final_profile_status_indicator: FinalProfileStatus::Unavailable,
            }),
            json!({
                "header": header(), "iccid": ICCID, "matchingId": "AB-12",
                "finalProfileStatusIndicator": "Unavailable",
            }),
        ),
        (
            Call::ReleaseProfile(ReleaseProfile { iccid: iccid() }),
            json!({ "header": header(), "iccid": ICCID }),
        ),
        (
            Call::HandleDownloadProgressInfo(HandleDownloadProgressInfo {
                eid: Some(eid()),
                iccid: iccid(),
                profile_type: "iot".into(),
                timestamp: "2026-02-03T04:05:06+01:00".into(),
                notification_point_id: 4,
                notification_point_status: Err(Failure::new(StatusCode::EUICC_VERIFICATION_FAILED)),
                result_data: Some(vec![0xBF, 0x37, 0x00]),
            }),
            json!({
                "header": header(), "eid": EID, "iccid": ICCID, "profileType": "iot",
                "timestamp": "2026-02-03T04:05:06+01:00", "notificationPointId": 4,
                "notificationPointStatus": {
                    "status": "Failed", "statusCodeData": { "subjectCode": "8.1", "reasonCode": "6.1" },
                },
                "resultData": "vzcA",
            }),
        ),
    ]
}

#[test]
fn requests_come_back_as_they_were_sent() {
    for (call, body) in rows() {
        let request = Request {
            header: RequestHeader {
                function_requester_identifier: "2.999.10".into(),
                function_call_identifier: "call-1".into(),
            },
            call,
        };
        let (function, written) = request.to_json();
        assert_eq!(json(&written), body);
        assert_eq!(Request::from_json(function, &written).unwrap(), request);
    }
}

#[test]
fn answers_come_back_as_they_were_sent() {
    let failure = Failure::new(StatusCode::ICCID_UNKNOWN).with_subject_identifier(ICCID);
    for response in [
        Response::DownloadOrder(Ok(DownloadOrderOk { iccid: iccid() })),
        Response::DownloadOrder(Err(failure.clone())),
        Response::ConfirmOrder(Ok(ConfirmOrderOk {
            eid: Some(eid()),
            matching_id: "AB-12".parse().unwrap(),
            smdp_address: Some("smdp.example.com".into()),
        })),
        Response::ConfirmOrder(Err(failure.clone())),
        Response::CancelOrder(Ok(())),
        Response::CancelOrder(Err(failure.clone())),
        Response::ReleaseProfile(Ok(())),
        Response::HandleDownloadProgressInfo,
    ] {
        let body = response.to_json();
        let read =
            Response::from_json(response.function(), body.as_deref().unwrap_or_default()).unwrap();
        assert_eq!(read, response);
    }
    assert_eq!(
        Response::failure(Function::ReleaseProfile, failure.clone()),
        Some(Response::ReleaseProfile(Err(failure.clone())))
    );
    assert_eq!(
        Response::failure(Function::HandleDownloadProgressInfo, failure),
        None
    );
}

#[test]
fn requests_are_refused_with_the_member_named() {
    let change = |function: &str, member: &str, value: Value, at_fault: &str| {
        let (_, mut body) = rows()
            .into_iter()
            .rev()
            .find(|(call, _)| call.function().name() == function)
            .unwrap();
        body[member] = value;
        let error = Request::from_json(function, body.to_string().as_bytes()).unwrap_err();
        assert_eq!(error.member(), Some(at_fault), "{error}");
    };
    change("downloadOrder", "header", Value::Null, "header");
    change(
        "downloadOrder",
        "header",
        json!({ "functionCallIdentifier": "1" }),
        "header.functionRequesterIdentifier",
    );
    change("downloadOrder", "iccid", Value::Null, "iccid");
    change(
        "downloadOrder",
        "eid",
        json!("89049032123451234512345678901236"),
        "eid",
    );
    change("confirmOrder", "iccid", json!("89444765"), "iccid");
    change("confirmOrder", "matchingId", json!("ab"), "matchingId");
    change(
        "confirmOrder",
        "matchingId",
        json!("A".repeat(256)),
        "matchingId",
    );
    change("confirmOrder", "releaseFlag", json!("true"), "releaseFlag");
    change("confirmOrder", "releaseFlag", Value::Null, "releaseFlag");
    change(
        "cancelOrder",
        "finalProfileStatusIndicator",
        json!("available"),
        "finalProfileStatusIndicator",
    );
    change(
        "releaseProfile",
        "iccid",
        json!(8_944_476_500_001_224_158_u64),
        "iccid",
    );
    for bad in [
        "2026-02-03",
        "2026-02-03T04:05:06",
        "2026-02-03T04:05:06+1:00",
        "2026-02-03T04:05:06Zé",
        "x",
    ] {
        change(
            "handleDownloadProgressInfo",
            "timestamp",
            json!(bad),
            "timestamp",
        );
    }
    change(
        "handleDownloadProgressInfo",
        "resultData",
        json!("*"),
        "resultData",
    );
}

#[test]
fn padded_iccids_are_read_and_codes_are_not_printed() {
    let body = json!({ "header": header(), "iccid": format!("{ICCID}F"), "releaseFlag": false, "confirmationCode": "4711" });
    let request = Request::from_json("confirmOrder", body.to_string().as_bytes()).unwrap();
    let Call::ConfirmOrder(order) = &request.call else {
        panic!("a confirmation");
    };
    assert_eq!(order.iccid, iccid());
    assert!(!format!("{request:?}").contains("4711"));
}
