//! A published download session, wrapped in both bindings by hand.

use rsp::binding::{es9plus, esipa};
use rsp::der::{Element, Limits, Reader, Tag, Writer};
use rsp::sgp22::PendingNotification;
use rsp::sgp32::{
    AuthenticateClientResponseEsipa, HandleNotificationEsipa, InitiateAuthenticationResponseEsipa,
};
use serde_json::{Value, json};

use crate::{base64, executed, json, vector};

const TRANSACTION_ID: &str = "0102030405060708090A0B0C0D0E0F10";

fn session(name: &str) -> Vec<u8> {
    vector(&format!("es9_session_synthetic/{name}"))
}

/// The TLVs inside one TLV.
fn members(octets: &[u8]) -> Vec<Vec<u8>> {
    let limits = Limits::default();
    let mut reader = Reader::new(octets, &limits)
        .unwrap()
        .expect_any()
        .unwrap()
        .open()
        .unwrap();
    let mut members = Vec::new();
    while let Some(tlv) = reader.next().unwrap() {
        members.push(tlv.whole().to_vec());
    }
    members
}

fn wrap(tag: u32, parts: &[&[u8]]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.tlv(Tag::new(tag), |writer| {
        parts.iter().for_each(|part| writer.raw(part))
    });
    writer.into_bytes()
}

fn transaction_id() -> Vec<u8> {
    wrap(0x80, &[&session("transaction_id")])
}

/// The members of the answer to InitiateAuthentication, by their names in the JSON binding.
fn initiate_authentication_ok(key_identifier: &str) -> Value {
    let ok = session("initiate_response");
    let [_, signed, signature, key, certificate] = &members(&ok)[..] else {
        panic!("five members");
    };
    assert!(signature.starts_with(&[0x5F, 0x37, 0x40]) && key.starts_with(&[0x04, 0x14]));
    json!({
        "header": executed(),
        "transactionId": TRANSACTION_ID,
        "serverSigned1": base64(signed),
        "serverSignature1": base64(signature),
        key_identifier: base64(key),
        "serverCertificate": base64(certificate),
    })
}

/// The members of the answer to AuthenticateClient.
fn authenticate_client_ok() -> Value {
    let answer = session("authenticate_response");
    let arm = members(&answer).remove(0);
    let [_, metadata, signed, signature, certificate] = &members(&arm)[..] else {
        panic!("five members");
    };
    assert_eq!(*metadata, session("store_metadata"));
    json!({
        "header": executed(),
        "transactionId": TRANSACTION_ID,
        "profileMetadata": base64(metadata),
        "smdpSigned2": base64(signed),
        "smdpSignature2": base64(signature),
        "smdpCertificate": base64(certificate),
    })
}

/// Each request in JSON, and inside `A2` in DER.
fn es9plus_requests() -> Vec<(&'static str, Value, Vec<u8>)> {
    let info = session("euicc_info1");
    let challenge = wrap(0x81, &[&session("euicc_challenge")]);
    let address = wrap(0x83, &[b"smdp.example.com"]);
    vec![
        (
            "initiateAuthentication",
            json!({
                "euiccChallenge": base64(session("euicc_challenge")),
                "euiccInfo1": base64(&info),
                "smdpAddress": "smdp.example.com",
            }),
            wrap(0xBF39, &[&challenge, &address, &info]),
        ),
        (
            "authenticateClient",
            json!({
                "transactionId": TRANSACTION_ID,
                "authenticateServerResponse": base64(session("auth_server_response")),
            }),
            wrap(
                0xBF3B,
                &[&transaction_id(), &session("auth_server_response")],
            ),
        ),
        (
            "getBoundProfilePackage",
            json!({
                "transactionId": TRANSACTION_ID,
                "prepareDownloadResponse": base64(session("prepare_download_response")),
            }),
            wrap(
                0xBF3A,
                &[&transaction_id(), &session("prepare_download_response")],
            ),
        ),
        (
            "handleNotification",
            json!({ "pendingNotification": base64(session("pending_notification")) }),
            wrap(0xBF3D, &[&wrap(0xA0, &[&session("pending_notification")])]),
        ),
    ]
}

#[test]
fn es9plus_requests_are_the_same_in_both_bindings() {
    for (function, as_json, as_der) in es9plus_requests() {
        let from_json =
            es9plus::Request::from_json(function, as_json.to_string().as_bytes()).unwrap();
        let wrapped = wrap(0xA2, &[&as_der]);
        let from_asn1 = es9plus::Request::from_asn1(&wrapped).unwrap();
        assert_eq!(from_json, from_asn1, "{function}");
        assert_eq!(from_asn1.to_asn1(), wrapped, "{function}");
        let (name, body) = from_json.to_json();
        assert_eq!((name, json(&body)), (function, as_json));
    }
}

#[test]
fn esipa_requests_are_the_same_in_both_bindings() {
    // Without eimTransactionId and rPLMN the requests of ESipa are those of ES9+.
    for (function, as_json, as_der) in es9plus_requests() {
        let from_json =
            esipa::Request::from_json(function, as_json.to_string().as_bytes()).unwrap();
        let from_asn1 = esipa::Request::from_asn1(&as_der).unwrap();
        assert_eq!(from_json, from_asn1, "{function}");
        assert_eq!(from_asn1.to_asn1(), as_der, "{function}");
        let (name, body) = from_json.to_json().unwrap();
        assert_eq!((name, json(&body)), (function, as_json));
    }
}

#[test]
fn es9plus_responses_are_the_same_in_both_bindings() {
    let package = session("bound_profile_package");
    let answers = [
        (
            es9plus::Function::InitiateAuthentication,
            initiate_authentication_ok("euiccCiPKIdToBeUsed"),
            // The session holds the SEQUENCE; its tag in the answer is A0.
            wrap(
                0xBF39,
                &[&wrap(
                    0xA0,
                    &[&members(&session("initiate_response")).concat()],
                )],
            ),
        ),
        (
            es9plus::Function::AuthenticateClient,
            authenticate_client_ok(),
            session("authenticate_response"),
        ),
        (
            es9plus::Function::GetBoundProfilePackage,
            json!({
                "header": executed(),
                "transactionId": TRANSACTION_ID,
                "boundProfilePackage": base64(&package),
            }),
            wrap(0xBF3A, &[&wrap(0xA0, &[&transaction_id(), &package])]),
        ),
    ];
    for (function, as_json, as_der) in answers {
        let from_json =
            es9plus::Response::from_json(function, as_json.to_string().as_bytes()).unwrap();
        let wrapped = wrap(0xA2, &[&as_der]);
        let from_asn1 = es9plus::Response::from_asn1(function, &wrapped).unwrap();
        assert_eq!(from_json, from_asn1, "{function:?}");
        assert_eq!(from_asn1.to_asn1(), Some(wrapped), "{function:?}");
        assert_eq!(json(&from_json.to_json().unwrap()), as_json);
    }
}

#[test]
fn esipa_responses_are_the_same_in_both_bindings() {
    use esipa::{Function, Response};
    let ok = initiate_authentication_ok("euiccCiPKIdentifierToBeUsed");
    let Response::InitiateAuthentication(
        InitiateAuthenticationResponseEsipa::InitiateAuthenticationOkEsipa(read),
    ) = Response::from_json(Function::InitiateAuthentication, ok.to_string().as_bytes()).unwrap()
    else {
        panic!("the SM-DP+ authenticated itself");
    };
    let parts = members(&session("initiate_response"));
    assert_eq!(read.server_signed1.bytes(), parts[1]);
    assert_eq!(read.server_signature1.to_der(), parts[2]);
    assert_eq!(read.server_certificate.as_der(), parts[4]);

    let answers = [
        (
            Function::InitiateAuthentication,
            ok,
            wrap(0xBF39, &[&wrap(0xA0, &[&parts.concat()])]),
        ),
        (
            Function::AuthenticateClient,
            authenticate_client_ok(),
            session("authenticate_response"),
        ),
        (
            Function::GetBoundProfilePackage,
            json!({ "header": executed(), "boundProfilePackage": base64(session("bound_profile_package")) }),
            wrap(0xBF3A, &[&wrap(0xA0, &[&session("bound_profile_package")])]),
        ),
    ];
    for (function, as_json, as_der) in answers {
        let from_json = Response::from_json(function, as_json.to_string().as_bytes()).unwrap();
        let from_asn1 = Response::from_asn1(function, &as_der).unwrap();
        assert_eq!(from_json, from_asn1, "{function:?}");
        assert_eq!(from_asn1.to_asn1(), Some(as_der), "{function:?}");
        assert_eq!(json(&from_json.to_json().unwrap().unwrap()), as_json);
    }
}

#[test]
fn sub_cas_of_a_server_are_the_same_in_both_bindings() {
    let parts = members(&session("initiate_response"));
    let sub_cas = [parts[4].clone(), parts[4].clone()];
    let chain = wrap(0xA1, &[&sub_cas[0], &sub_cas[1]]);
    let as_der = |parts: &[Vec<u8>]| {
        let content = [parts.concat(), chain.clone()].concat();
        wrap(0xBF39, &[&wrap(0xA0, &[&content])])
    };

    let mut as_json = initiate_authentication_ok("euiccCiPKIdToBeUsed");
    as_json["otherCertsInChain"] = json!([base64(&sub_cas[0]), base64(&sub_cas[1])]);
    let function = es9plus::Function::InitiateAuthentication;
    let from_json = es9plus::Response::from_json(function, as_json.to_string().as_bytes()).unwrap();
    let wrapped = wrap(0xA2, &[&as_der(&parts)]);
    let es9plus::Response::InitiateAuthentication(Ok(ok)) = &from_json else {
        panic!("the SM-DP+ authenticated itself");
    };
    assert_eq!(ok.other_certs_in_chain.as_ref().unwrap().len(), 2);
    assert_eq!(from_json.to_asn1(), Some(wrapped.clone()));
    assert_eq!(json(&from_json.to_json().unwrap()), as_json);
    assert_eq!(
        es9plus::Response::from_asn1(function, &wrapped).unwrap(),
        from_json
    );

    let mut as_json = initiate_authentication_ok("euiccCiPKIdentifierToBeUsed");
    as_json["otherCertsInChain"] = json!([base64(&sub_cas[0]), base64(&sub_cas[1])]);
    let function = esipa::Function::InitiateAuthentication;
    let from_json = esipa::Response::from_json(function, as_json.to_string().as_bytes()).unwrap();
    assert_eq!(from_json.to_asn1(), Some(as_der(&parts)));
    assert_eq!(json(&from_json.to_json().unwrap().unwrap()), as_json);

    // A member that is there has the right form.
    for bad in [json!("AAAA"), json!([1]), json!(["AAAA"]), json!({})] {
        as_json["otherCertsInChain"] = bad;
        let body = as_json.to_string();
        assert!(
            esipa::Response::from_json(function, body.as_bytes()).is_err(),
            "{body}"
        );
    }
}

#[test]
fn an_indirect_download_passes_through_an_eim_byte_for_byte() {
    // What the SM-DP+ said in JSON goes to the IPA in DER; what the eUICC signed goes the other way.
    let body = json!({
        "header": executed(),
        "transactionId": TRANSACTION_ID.to_ascii_lowercase(),
        "boundProfilePackage": base64(session("bound_profile_package")),
    });
    let es9plus::Response::GetBoundProfilePackage(Ok(package)) = es9plus::Response::from_json(
        es9plus::Function::GetBoundProfilePackage,
        body.to_string().as_bytes(),
    )
    .unwrap() else {
        panic!("a package");
    };
    assert_eq!(
        package.bound_profile_package.to_der(),
        session("bound_profile_package")
    );

    let body = json!({ "pendingNotification": base64(session("pending_notification")) });
    let request =
        esipa::Request::from_json("handleNotification", body.to_string().as_bytes()).unwrap();
    let esipa::Request::HandleNotification(HandleNotificationEsipa::PendingNotification(
        notification,
    )) = request
    else {
        panic!("a notification");
    };
    let PendingNotification::ProfileInstallationResult(result) = &notification else {
        panic!("of an installation");
    };
    let signed = members(&session("pending_notification")).remove(0);
    assert_eq!(result.profile_installation_result_data.bytes(), signed);
    assert_eq!(notification.to_der(), session("pending_notification"));
}

#[test]
fn signatures_and_key_identifiers_without_header_are_read() {
    let bare = |value: &Value, octets: usize| {
        use base64::Engine;
        let text = value.as_str().unwrap();
        let whole = base64::engine::general_purpose::STANDARD
            .decode(text)
            .unwrap();
        Value::from(base64(&whole[whole.len() - octets..]))
    };
    let tagged = initiate_authentication_ok("euiccCiPKIdToBeUsed");
    let mut stripped = tagged.clone();
    stripped["serverSignature1"] = bare(&tagged["serverSignature1"], 64);
    stripped["euiccCiPKIdToBeUsed"] = bare(&tagged["euiccCiPKIdToBeUsed"], 20);
    let read = |body: &Value| {
        es9plus::Response::from_json(
            es9plus::Function::InitiateAuthentication,
            body.to_string().as_bytes(),
        )
        .unwrap()
    };
    assert_eq!(read(&stripped), read(&tagged));
    assert_eq!(json(&read(&stripped).to_json().unwrap()), tagged);
}

#[test]
fn every_failure_has_its_code_in_the_other_binding() {
    use esipa::{Function, Response};
    let rows: [(Function, &str, &str, &[u8]); 10] = [
        (
            Function::InitiateAuthentication,
            "8.31.2",
            "3.10",
            &[0xBF, 0x39, 3, 0x81, 1, 52],
        ),
        (
            Function::InitiateAuthentication,
            "8.8.1",
            "3.10",
            &[0xBF, 0x39, 3, 0x81, 1, 50],
        ),
        (
            Function::AuthenticateClient,
            "8.2.8",
            "1.2",
            &[0xBF, 0x3B, 3, 0x82, 1, 50],
        ),
        (
            Function::AuthenticateClient,
            "8.2.6",
            "3.8",
            &[0xBF, 0x3B, 3, 0x82, 1, 6],
        ),
        (
            Function::GetBoundProfilePackage,
            "8.2.9",
            "3.11",
            &[0xBF, 0x3A, 3, 0x81, 1, 50],
        ),
        (
            Function::GetBoundProfilePackage,
            "8.10.1",
            "3.9",
            &[0xBF, 0x3A, 3, 0x81, 1, 95],
        ),
        (
            Function::CancelSession,
            "8.10.1",
            "3.9",
            &[0xBF, 0x41, 3, 0x81, 1, 1],
        ),
        (
            Function::GetEimPackage,
            "8.1.1",
            "3.7",
            &[0xBF, 0x4F, 3, 0x02, 1, 1],
        ),
        (
            Function::ProvideEimPackageResult,
            "8.1.1",
            "3.9",
            &[0xBF, 0x50, 3, 0x02, 1, 2],
        ),
        (
            Function::CancelSession,
            "1.6",
            "4.2",
            &[0xBF, 0x41, 3, 0x81, 1, 127],
        ),
    ];
    for (function, subject, reason, as_der) in rows {
        let body = json!({ "header": crate::failed(subject, reason) });
        let read = Response::from_json(function, body.to_string().as_bytes()).unwrap();
        assert_eq!(read.to_asn1().unwrap(), as_der);
        let written = Response::from_asn1(function, as_der)
            .unwrap()
            .to_json()
            .unwrap()
            .unwrap();
        assert_eq!(json(&written)["header"], body["header"]);
    }
}

#[test]
fn answers_of_an_smds_are_told_from_those_of_an_smdp() {
    let body = json!({ "header": executed(), "transactionId": "0102" });
    let esipa::Response::AuthenticateClient(
        AuthenticateClientResponseEsipa::AuthenticateClientOkDsEsipa(ds),
    ) = esipa::Response::from_json(
        esipa::Function::AuthenticateClient,
        body.to_string().as_bytes(),
    )
    .unwrap()
    else {
        panic!("an SM-DS");
    };
    assert!(ds.profile_download_trigger.is_none());

    let body = json!({
        "header": executed(),
        "transactionId": "0102",
        "eventEntries": [{ "eventId": "E1", "rspServerAddress": "smdp.example.com" }],
    });
    let read = es9plus::Response::from_json(
        es9plus::Function::AuthenticateClient,
        body.to_string().as_bytes(),
    )
    .unwrap();
    let entry = wrap(
        0x30,
        &[&wrap(0x80, &[b"E1"]), &wrap(0x81, &[b"smdp.example.com"])],
    );
    let ok = wrap(0xA0, &[&[0x80, 2, 1, 2], &wrap(0xA1, &[&entry])]);
    let as_der = wrap(0xA2, &[&wrap(0xBF40, &[&ok])]);
    assert_eq!(read.to_asn1().unwrap(), as_der);
    assert_eq!(
        es9plus::Response::from_asn1(es9plus::Function::AuthenticateClient, &as_der).unwrap(),
        read
    );
    assert!(matches!(
        read,
        es9plus::Response::AuthenticateClientEs11(Ok(_))
    ));
}

#[test]
fn the_absence_of_a_package_is_told_both_ways() {
    // A bare eimPackageError together with success is what some eIMs answer.
    let bare = json!({ "header": executed(), "eimPackageError": 1 });
    let read =
        esipa::Response::from_json(esipa::Function::GetEimPackage, bare.to_string().as_bytes())
            .unwrap();
    assert_eq!(read.to_asn1().unwrap(), [0xBF, 0x4F, 3, 2, 1, 1]);
    let written = json(&read.to_json().unwrap().unwrap());
    assert_eq!(
        written,
        json!({ "header": crate::failed("8.1.1", "3.7"), "eimPackageError": 1 })
    );
}
