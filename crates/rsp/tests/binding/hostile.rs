//! Bodies that are not what they should be.

use rsp::binding::{Error, es9plus, esipa};
use rsp::sgp32::{EimPackageError, GetEimPackageResponse};
use serde_json::{Value, json};

use crate::{base64, executed, vector};

const TRANSACTION_ID: &str = "0102";

/// The message, then what should be the member at fault.
fn refused(function: &str, body: &Value, member: &str) {
    for outcome in [
        esipa::Request::from_json(function, body.to_string().as_bytes()).map(drop),
        es9plus::Request::from_json(function, body.to_string().as_bytes()).map(drop),
    ] {
        match outcome {
            Err(Error::UnknownFunction { .. }) => {}
            Err(error) => {
                assert_eq!(error.member(), Some(member), "{function} {body}: {error}");
                assert!(error.to_string().contains(member), "{error}");
            }
            Ok(()) => panic!("{function} accepted {body}"),
        }
    }
}

#[test]
fn requests_are_refused_with_the_member_named() {
    let challenge = base64([7; 16]);
    let info = base64(vector("euicc_info1_sysmo_i2t"));
    let rows = [
        ("initiateAuthentication", json!({}), "euiccChallenge"),
        (
            "initiateAuthentication",
            json!({ "euiccChallenge": 5 }),
            "euiccChallenge",
        ),
        (
            "initiateAuthentication",
            json!({ "euiccChallenge": "!" }),
            "euiccChallenge",
        ),
        (
            "initiateAuthentication",
            json!({ "euiccChallenge": base64([7; 15]) }),
            "euiccChallenge",
        ),
        (
            "initiateAuthentication",
            json!({ "euiccChallenge": challenge, "smdpAddress": {} }),
            "smdpAddress",
        ),
        (
            "initiateAuthentication",
            json!({ "euiccChallenge": challenge, "smdpAddress": "a", "euiccInfo1": "AAAA" }),
            "euiccInfo1",
        ),
        (
            "initiateAuthentication",
            json!({ "euiccChallenge": challenge, "smdpAddress": "a", "euiccInfo1": [info] }),
            "euiccInfo1",
        ),
        (
            "authenticateClient",
            json!({ "authenticateServerResponse": "" }),
            "transactionId",
        ),
        (
            "authenticateClient",
            json!({ "transactionId": "0" }),
            "transactionId",
        ),
        (
            "authenticateClient",
            json!({ "transactionId": "00".repeat(17) }),
            "transactionId",
        ),
        (
            "authenticateClient",
            json!({ "transactionId": TRANSACTION_ID }),
            "authenticateServerResponse",
        ),
        (
            "authenticateClient",
            json!({ "transactionId": TRANSACTION_ID, "authenticateServerResponse": "vzgA" }),
            "authenticateServerResponse",
        ),
        (
            "getBoundProfilePackage",
            json!({ "transactionId": TRANSACTION_ID, "prepareDownloadResponse": null }),
            "prepareDownloadResponse",
        ),
        (
            "cancelSession",
            json!({ "transactionId": TRANSACTION_ID }),
            "cancelSessionResponse",
        ),
        (
            "handleNotification",
            json!({ "pendingNotification": base64([0x30, 0x80]) }),
            "pendingNotification",
        ),
        (
            "handleNotification",
            json!({ "header": {} }),
            "pendingNotification",
        ),
        ("getEimPackage", json!({ "eidValue": "8904" }), "eidValue"),
        (
            "getEimPackage",
            json!({ "eidValue": "8904XX32123451234512345678901235" }),
            "eidValue",
        ),
        (
            "getEimPackage",
            json!({ "eidValue": "89049032123451234512345678901235", "notifyStateChange": "true" }),
            "notifyStateChange",
        ),
        (
            "getEimPackage",
            json!({ "eidValue": "89049032123451234512345678901235", "stateChangeCause": 1.5 }),
            "stateChangeCause",
        ),
        (
            "getEimPackage",
            json!({ "eidValue": "89049032123451234512345678901235", "rPlmn": 1 }),
            "rPlmn",
        ),
        ("provideEimPackageResult", json!({}), "eimPackageResult"),
        // With its BF50, which belongs around it only in handleNotification.
        (
            "provideEimPackageResult",
            json!({ "eimPackageResult": base64([0xBF, 0x50, 0]) }),
            "eimPackageResult",
        ),
    ];
    for (function, body, member) in rows {
        refused(function, &body, member);
    }
}

#[test]
fn answers_are_refused_with_the_member_named() {
    use esipa::{Function, Response};
    let rows = [
        (Function::GetEimPackage, json!({}), "header"),
        (
            Function::GetEimPackage,
            json!({ "header": executed() }),
            "profileDownloadTriggerRequest",
        ),
        (
            Function::GetEimPackage,
            json!({ "header": executed(), "eimPackageError": "1" }),
            "eimPackageError",
        ),
        (
            Function::InitiateAuthentication,
            json!({ "header": executed() }),
            "serverSigned1",
        ),
        (
            Function::AuthenticateClient,
            json!({ "header": executed() }),
            "transactionId",
        ),
        (
            Function::AuthenticateClient,
            json!({ "header": executed(), "smdpSigned2": "MAA=" }),
            "smdpSigned2",
        ),
        (
            Function::GetBoundProfilePackage,
            json!({ "header": executed() }),
            "boundProfilePackage",
        ),
        (
            Function::ProvideEimPackageResult,
            json!({ "header": executed(), "eimAcknowledgements": "MAA=" }),
            "eimAcknowledgements",
        ),
        (
            Function::CancelSession,
            json!({ "header": { "functionExecutionStatus": "Executed-Success" } }),
            "header.functionExecutionStatus",
        ),
    ];
    for (function, body, member) in rows {
        let error = Response::from_json(function, body.to_string().as_bytes()).unwrap_err();
        assert_eq!(error.member(), Some(member), "{body}: {error}");
    }

    let both = json!({ "ePRAndNotifications": { "euiccPackageResult": base64(vector("euicc_package_result_no_arm")) } });
    let error = esipa::InjectionResponse::from_json(both.to_string().as_bytes()).unwrap_err();
    assert_eq!(error.member(), Some("ePRAndNotifications.notificationList"));

    let events = json!({ "header": executed(), "transactionId": "01", "eventEntries": [{ "eventId": "1" }] });
    let error = es9plus::Response::from_json(
        es9plus::Function::AuthenticateClient,
        events.to_string().as_bytes(),
    )
    .unwrap_err();
    assert_eq!(error.member(), Some("eventEntries.rspServerAddress"));
}

#[test]
fn members_of_newer_peers_are_ignored_and_doubled_ones_are_not() {
    let eid = "89049032123451234512345678901235";
    let newer = format!("{{\"eidValue\":\"{eid}\",\"newer\":{{\"a\":[1,2,{{}}]}}}}");
    assert!(esipa::Request::from_json("getEimPackage", newer.as_bytes()).is_ok());
    let doubled = format!("{{\"eidValue\":\"{eid}\",\"eidValue\":\"{eid}\"}}");
    assert!(matches!(
        esipa::Request::from_json("getEimPackage", doubled.as_bytes()),
        Err(Error::Json(_))
    ));
}

#[test]
fn unknown_functions_and_tags_are_refused() {
    for name in ["", "GetEimPackage", "transferEimPackage", "../x"] {
        assert!(matches!(
            esipa::Request::from_json(name, b"{}"),
            Err(Error::UnknownFunction { .. })
        ));
    }
    let long = "é".repeat(10_000);
    let error = es9plus::Request::from_json(&long, b"{}").unwrap_err();
    assert!(error.to_string().len() < 300);

    for body in [
        &[][..],
        &[0x30, 0],
        &[0xBF, 0x4E, 0],
        &[0xBF, 0x4F],
        &[0xBF, 0x4F, 0, 0],
    ] {
        assert!(
            matches!(esipa::Request::from_asn1(body), Err(Error::Asn1(_))),
            "{body:02X?}"
        );
    }
    // ES9+ wants its wrapper, with one known function in it.
    let bare = vector("es9_session_synthetic/authenticate_response");
    assert!(es9plus::Response::from_asn1(es9plus::Function::AuthenticateClient, &bare).is_err());
    assert!(es9plus::Request::from_asn1(&[0xA2, 0]).is_err());
    assert!(es9plus::Request::from_asn1(&[0xA2, 3, 0xBF, 0x7E, 0]).is_err());
    // The answer to another function.
    let other = es9plus::Response::CancelSession(Ok(())).to_asn1().unwrap();
    assert!(es9plus::Response::from_asn1(es9plus::Function::AuthenticateClient, &other).is_err());
}

#[test]
fn the_refusal_of_an_eid_has_a_code_of_its_own() {
    use esipa::{Function, Request, Response};
    let code = |error: Error| match Response::refusal(Function::GetEimPackage, &error) {
        Some(Response::GetEimPackage(GetEimPackageResponse::EimPackageError(code))) => code,
        other => panic!("{other:?}"),
    };
    for (body, expected) in [
        (&b"{}"[..], EimPackageError::MissingEid),
        (b"{\"eidValue\":\"1\"}", EimPackageError::InvalidEid),
        (b"[]", EimPackageError::UndefinedError),
    ] {
        assert_eq!(
            code(Request::from_json("getEimPackage", body).unwrap_err()),
            expected
        );
    }
    for (body, expected) in [
        (&[0xBF, 0x4F, 2, 0x80, 0][..], EimPackageError::MissingEid),
        (&[0xBF, 0x4F, 3, 0x5A, 1, 0x89], EimPackageError::InvalidEid),
        (&[0xBF, 0x4F, 1, 0x5A], EimPackageError::UndefinedError),
    ] {
        assert_eq!(
            code(Request::from_asn1(body).unwrap_err()),
            expected,
            "{body:02X?}"
        );
    }
    let error = Request::from_json("handleNotification", b"{}").unwrap_err();
    assert_eq!(
        Response::refusal(Function::HandleNotification, &error),
        None
    );
}

#[test]
fn some_answers_have_no_body() {
    for junk in [&b""[..], b"OK", b"{\"a\":"] {
        let read = esipa::Response::from_json(esipa::Function::HandleNotification, junk).unwrap();
        assert_eq!(read, esipa::Response::HandleNotification);
        assert_eq!(read.to_json().unwrap(), None);
        assert_eq!(read.to_asn1(), None);
        let read =
            es9plus::Response::from_asn1(es9plus::Function::HandleNotification, junk).unwrap();
        assert_eq!((read.to_json(), read.to_asn1()), (None, None));
    }
}
