//! Headers, paths, and bodies that are no messages: nothing of it makes the server answer 500.

use axum::body::Body;
use http::{Request as HttpRequest, StatusCode};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use rsp::binding::es9plus::{Function, Request, Response};
use rsp::binding::http::{Binding, PATH_ASN1};
use smdp::{ProfileState, Refusal};

use super::euicc::{TestEuicc, authenticate, begin};
use super::support::{Answer, ICCID, Lab, assert_refused, post, send};

const INITIATE: &str = "/gsma/rsp2/es9plus/initiateAuthentication";

async fn with_headers(lab: &Lab, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut request = HttpRequest::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(
        lab.smdp.router(),
        request.body(Body::from(body.to_vec())).unwrap(),
    )
    .await
}

#[tokio::test]
async fn content_type_and_protocol_version_are_checked() {
    let lab = Lab::new();
    let (_, body) = TestEuicc::sgp26("NIST").initiate().to_json();
    let json = ("content-type", "application/json");
    let v2 = ("x-admin-protocol", "gsma/rsp/v2.1.0");
    for headers in [
        &[json, v2][..],
        &[("content-type", "application/json;charset=UTF-8"), v2],
        &[json, ("x-admin-protocol", "gsma/rsp/v2.99.0")],
    ] {
        let answer = with_headers(&lab, INITIATE, headers, &body).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.admin_protocol.as_deref(), Some("gsma/rsp/v2.5.0"));
        let answer = Response::from_json(Function::InitiateAuthentication, &answer.body).unwrap();
        assert!(matches!(answer, Response::InitiateAuthentication(Ok(_))));
    }
    for (headers, refusal) in [
        (&[v2][..], Refusal::ContentType),
        (&[("content-type", "text/plain"), v2], Refusal::ContentType),
        (
            &[("content-type", "application/x-gsma-rsp-asn1"), v2],
            Refusal::ContentType,
        ),
        (&[json], Refusal::AdminProtocol),
        (
            &[json, ("x-admin-protocol", "gsma/rsp/v1.0.0")],
            Refusal::AdminProtocol,
        ),
        (
            &[json, ("x-admin-protocol", "gsma/rsp/v3.0.0")],
            Refusal::AdminProtocol,
        ),
        (&[json, ("x-admin-protocol", "v2")], Refusal::AdminProtocol),
    ] {
        let answer = with_headers(&lab, INITIATE, headers, &body).await;
        assert_eq!(answer.status, StatusCode::OK);
        let answer = Response::from_json(Function::InitiateAuthentication, &answer.body).unwrap();
        let Response::InitiateAuthentication(outcome) = answer else {
            panic!()
        };
        assert_refused(outcome, refusal);
    }
    let der = TestEuicc::sgp26("NIST").initiate().to_asn1();
    let answer = with_headers(&lab, PATH_ASN1, &[json, v2], &der).await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let asn1 = ("content-type", "application/x-gsma-rsp-asn1");
    let answer = with_headers(&lab, PATH_ASN1, &[asn1], &der).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn other_paths_and_methods_are_not_there() {
    let lab = Lab::new();
    for path in [
        "/",
        "/gsma/rsp2/es9plus/",
        "/gsma/rsp2/es9plus/downloadOrder",
        "/gsma/rsp2/es2plus/downloadOrder",
    ] {
        let answer = post(lab.smdp.router(), path, "application/json", b"{}".to_vec()).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    let get = HttpRequest::get(INITIATE).body(Body::empty()).unwrap();
    assert_eq!(
        send(lab.smdp.router(), get).await.status,
        StatusCode::METHOD_NOT_ALLOWED
    );
}

#[tokio::test]
async fn bodies_beyond_the_limit_are_refused() {
    let lab = Lab::new();
    let limit = lab.smdp.config().limits.body_octets_max;
    for (size, status) in [
        (limit, StatusCode::BAD_REQUEST),
        (limit + 1, StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let answer = post(
            lab.smdp.router(),
            INITIATE,
            "application/json",
            vec![b' '; size],
        )
        .await;
        assert_eq!(answer.status, status);
    }
}

#[tokio::test]
async fn members_that_are_missing_or_wrong_have_their_codes() {
    let lab = Lab::new();
    let (_, whole) = TestEuicc::sgp26("NIST").initiate().to_json();
    let whole: serde_json::Value = serde_json::from_slice(&whole).unwrap();
    let changed = |member: &str, value: Option<&str>| {
        let mut body = whole.clone();
        match value {
            Some(value) => body[member] = value.into(),
            None => drop(body.as_object_mut().unwrap().remove(member)),
        }
        serde_json::to_vec(&body).unwrap()
    };
    for (body, refusal) in [
        (changed("euiccChallenge", None), Refusal::ElementMissing),
        (changed("euiccInfo1", None), Refusal::ElementMissing),
        (changed("smdpAddress", None), Refusal::ElementMissing),
        (
            changed("euiccChallenge", Some("AAAA")),
            Refusal::ElementMalformed,
        ),
        (changed("euiccInfo1", Some("!")), Refusal::ElementMalformed),
        (changed("euiccInfo1", Some("vyAA")), Refusal::ElementMissing),
        (
            changed("euiccInfo1", Some("vyIA")),
            Refusal::ElementMalformed,
        ),
    ] {
        let answer = post(
            lab.smdp.router(),
            INITIATE,
            "application/json",
            body.clone(),
        )
        .await;
        assert_eq!(answer.status, StatusCode::OK);
        let answer = Response::from_json(Function::InitiateAuthentication, &answer.body).unwrap();
        let Response::InitiateAuthentication(outcome) = answer else {
            panic!()
        };
        assert_refused(outcome, refusal);
    }
    let path = "/gsma/rsp2/es9plus/cancelSession";
    let body = br#"{"transactionId":"XYZ","cancelSessionResponse":"v0EDgQEF"}"#.to_vec();
    let answer = post(lab.smdp.router(), path, "application/json", body).await;
    let answer = Response::from_json(Function::CancelSession, &answer.body).unwrap();
    let Response::CancelSession(outcome) = answer else {
        panic!()
    };
    assert_refused(outcome, Refusal::TransactionUnknown);
}

/// Every prefix and many mutations of real requests, in both bindings, at every step.
#[tokio::test]
async fn damaged_messages_never_yield_an_internal_error_or_a_change() {
    let lab = Lab::new();
    lab.release(None, Some("FUZZ"), None);
    let mut euicc = TestEuicc::sgp26("NIST");
    let begun = begin(&lab, &euicc, Binding::Json).await;
    let signed = euicc.signed1(&begun.server_signed1, Some("FUZZ"));
    let authenticate_client = euicc.authenticate(&begun.transaction_id, signed);
    let ok = authenticate(&lab, &euicc, Some("FUZZ"), Binding::Json)
        .await
        .unwrap();
    let get = euicc.prepare(&ok, None);
    let reason = rsp::sgp22::CancelSessionReason::EndUserRejection;
    let cancel = euicc.cancel(&ok.transaction_id, "2.999.10", reason);
    let data = euicc.result_data(&ok.transaction_id, ICCID.parse().unwrap(), true);
    let notification = Request::HandleNotification(rsp::sgp22::HandleNotification {
        pending_notification: euicc.result(data),
        extensions: Default::default(),
    });
    let mut rng = ChaCha20Rng::seed_from_u64(17);
    let mut statuses = std::collections::BTreeMap::new();
    for request in [
        euicc.initiate(),
        authenticate_client,
        get,
        cancel,
        notification,
    ] {
        let (function, json) = request.to_json();
        let path = format!("/gsma/rsp2/es9plus/{function}");
        let der = request.to_asn1();
        for (path, content_type, body) in [
            (path.as_str(), "application/json", &json),
            (PATH_ASN1, "application/x-gsma-rsp-asn1", &der),
        ] {
            let step = (body.len() / 40).max(1);
            let mut cases: Vec<Vec<u8>> = (0..body.len())
                .step_by(step)
                .map(|end| body[..end].to_vec())
                .collect();
            for _ in 0..60 {
                let mut mutated = body.clone();
                let at = rng.next_u32() as usize % mutated.len();
                // A flipped low bit of a digit keeps JSON well-formed more often than a random octet.
                mutated[at] ^= 1 << (rng.next_u32() % 7);
                if mutated != *body {
                    cases.push(mutated);
                }
            }
            for case in cases {
                let answer = post(lab.smdp.router(), path, content_type, case).await;
                assert!(answer.status.as_u16() < 500, "{path}: {}", answer.status);
                *statuses.entry(answer.status.as_u16()).or_insert(0) += 1;
            }
        }
    }
    assert!(statuses[&200] > 50 && statuses[&400] > 50, "{statuses:?}");
    // A mutation may hit what no signature covers, but nothing unsigned moves a profile on.
    assert!(matches!(
        lab.state(),
        ProfileState::Released | ProfileState::Downloaded
    ));
}

#[tokio::test]
async fn hostile_shapes_are_refused_cheaply() {
    let lab = Lab::new();
    let nested_json = [vec![b'['; 50_000], vec![b']'; 50_000]].concat();
    let mut nested_member = br#"{"euiccChallenge":"#.to_vec();
    nested_member.extend(&nested_json);
    nested_member.push(b'}');
    let mut nested_der = Vec::new();
    for _ in 0..3000 {
        let mut outer = vec![0xA2, 0x82];
        outer.extend(u16::try_from(nested_der.len()).unwrap().to_be_bytes());
        outer.extend(&nested_der);
        nested_der = outer;
    }
    let endless = vec![0xA2, 0x84, 0xFF, 0xFF, 0xFF, 0xFF];
    let twice = br#"{"smdpAddress":"a","smdpAddress":"b"}"#.to_vec();
    for (path, content_type, body) in [
        (INITIATE, "application/json", nested_json),
        (INITIATE, "application/json", nested_member),
        (INITIATE, "application/json", twice),
        (INITIATE, "application/json", b"null".to_vec()),
        (INITIATE, "application/json", Vec::new()),
        (PATH_ASN1, "application/x-gsma-rsp-asn1", nested_der),
        (PATH_ASN1, "application/x-gsma-rsp-asn1", endless),
        (PATH_ASN1, "application/x-gsma-rsp-asn1", Vec::new()),
        (PATH_ASN1, "application/x-gsma-rsp-asn1", vec![0xA2, 0]),
        (
            PATH_ASN1,
            "application/x-gsma-rsp-asn1",
            vec![0xA2, 3, 0xBF, 0x42, 0],
        ),
    ] {
        let answer = post(lab.smdp.router(), path, content_type, body).await;
        assert!(
            matches!(answer.status.as_u16(), 200 | 400),
            "{}",
            answer.status
        );
    }
}
