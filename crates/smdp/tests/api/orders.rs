//! ES2+: who may, what happens, and every status code.

use std::sync::Arc;

use axum::body::Body;
use edge::server::{ConnectionId, ConnectionInfo};
use edge::tls::TlsVersion;
use edge::tls::rustls_pki_types::CertificateDer;
use http::{Request as HttpRequest, StatusCode};
use pki::issue::{CertificateTemplate, Issuer};
use pki::{Certificate, PrivateKey, Signer, UnixTime};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use rsp::binding::Failure;
use rsp::binding::es2plus::*;
use rsp::binding::es9plus;
use rsp::binding::http::Binding;
use rsp::ids::Iccid;
use rsp::sgp22::ProfileClass;
use smdp::{ImportProfile, Operator, OperatorAccess, ProfileMetadata, ProfileState, Refusal};

use super::euicc::{TestEuicc, authenticate};
use super::support::{
    ADDRESS, Answer, EID, ICCID, Lab, NOW, assert_refused, config, data, matching_id, send,
};

const OPERATOR_OID: &str = "2.999.77";
const OTHER_EID: &str = "89049032000000000000000000000066";

/// A client certificate and its operator.
struct Client {
    certificate: Certificate,
    key: PrivateKey,
}

impl Client {
    fn new(name: &str, seed: u64) -> Self {
        let key =
            PrivateKey::generate(pki::Curve::P256, &mut ChaCha20Rng::seed_from_u64(seed)).unwrap();
        let certificate = CertificateTemplate::tls_client("Operator", name)
            .valid(UnixTime(NOW).plus_days(-1), UnixTime(NOW).plus_days(100))
            .self_sign(&key)
            .unwrap();
        Self { certificate, key }
    }

    fn operator(&self, name: &str) -> Operator {
        Operator {
            name: name.to_owned(),
            oid: Some(OPERATOR_OID.to_owned()),
            access: OperatorAccess::Spki(self.key.public_key().to_spki_der()),
            progress_url: None,
        }
    }
}

struct Desk {
    lab: Lab,
    first: Client,
    second: Client,
}

impl Desk {
    fn new() -> Self {
        let (first, second) = (Client::new("first", 21), Client::new("second", 22));
        let mut settings = config();
        settings.operators = vec![first.operator("first"), second.operator("second")];
        Self {
            lab: Lab::with(settings),
            first,
            second,
        }
    }

    async fn call(&self, call: Call) -> Response {
        self.call_as(&self.first, call).await
    }

    async fn call_as(&self, client: &Client, call: Call) -> Response {
        let function = call.function();
        let header = RequestHeader {
            function_requester_identifier: OPERATOR_OID.to_owned(),
            function_call_identifier: "call-1".to_owned(),
        };
        let (name, body) = Request { header, call }.to_json();
        let answer = self.post(Some(&client.certificate), name, body).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.admin_protocol.as_deref(), Some("gsma/rsp/v2.5.0"));
        Response::from_json(function, &answer.body).unwrap()
    }

    async fn post(
        &self,
        certificate: Option<&Certificate>,
        function: &str,
        body: Vec<u8>,
    ) -> Answer {
        let mut request = HttpRequest::post(format!("/gsma/rsp2/es2plus/{function}"))
            .header("content-type", "application/json")
            .header("x-admin-protocol", "gsma/rsp/v2.1.0")
            .body(Body::from(body))
            .unwrap();
        request.extensions_mut().insert(ConnectionInfo {
            id: ConnectionId(1),
            peer: "192.0.2.1:4711".parse().unwrap(),
            tls_version: TlsVersion::V1_3,
            cipher_suite: "TLS13_AES_128_GCM_SHA256",
            client_certificate: certificate
                .map(|certificate| Arc::new(CertificateDer::from(certificate.der().to_vec()))),
            request: 1,
        });
        send(self.lab.smdp.es2plus_router(), request).await
    }

    fn import(&self, operator: Option<&str>, iccids: &[&str]) -> Vec<Iccid> {
        let package = data("ts48/ts48-v7-nobertlv.der");
        self.lab
            .smdp
            .inventory()
            .import(ImportProfile {
                package: &package,
                profile_type: "TS.48".to_owned(),
                operator: operator.map(str::to_owned),
                metadata: ProfileMetadata::new("P", "P", ProfileClass::Operational),
                iccids: iccids.iter().map(|iccid| iccid.parse().unwrap()).collect(),
            })
            .unwrap()
    }

    fn state_of(&self, iccid: &str) -> ProfileState {
        self.lab
            .smdp
            .inventory()
            .profile(&iccid.parse().unwrap())
            .unwrap()
            .unwrap()
            .state
    }
}

fn download(iccid: &str, eid: Option<&str>) -> Call {
    Call::DownloadOrder(DownloadOrder {
        eid: eid.map(|eid| eid.parse().unwrap()),
        profile: OrderedProfile::Iccid {
            iccid: iccid.parse().unwrap(),
            profile_type: None,
        },
    })
}

fn of_type(profile_type: &str) -> Call {
    Call::DownloadOrder(DownloadOrder {
        eid: None,
        profile: OrderedProfile::Type(profile_type.to_owned()),
    })
}

fn confirm(iccid: &str, id: Option<&str>) -> ConfirmOrder {
    ConfirmOrder {
        iccid: iccid.parse().unwrap(),
        eid: None,
        matching_id: id.map(matching_id),
        confirmation_code: None,
        smds_address: None,
        release_flag: false,
    }
}

fn cancel(iccid: &str) -> CancelOrder {
    CancelOrder {
        iccid: iccid.parse().unwrap(),
        eid: None,
        matching_id: None,
        final_profile_status_indicator: FinalProfileStatus::Available,
    }
}

fn release(iccid: &str) -> Call {
    Call::ReleaseProfile(ReleaseProfile {
        iccid: iccid.parse().unwrap(),
    })
}

fn ordered(response: Response) -> Result<DownloadOrderOk, Failure> {
    let Response::DownloadOrder(outcome) = response else {
        panic!("{response:?}")
    };
    outcome
}

fn confirmed(response: Response) -> Result<ConfirmOrderOk, Failure> {
    let Response::ConfirmOrder(outcome) = response else {
        panic!("{response:?}")
    };
    outcome
}

fn done(response: Response) -> Result<(), Failure> {
    match response {
        Response::CancelOrder(outcome) | Response::ReleaseProfile(outcome) => outcome,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_operator_orders_confirms_and_releases() {
    let desk = Desk::new();
    desk.import(None, &[ICCID]);
    ordered(desk.call(download(ICCID, None)).await).unwrap();
    assert_eq!(desk.state_of(ICCID), ProfileState::Allocated);
    let ok = confirmed(desk.call(Call::ConfirmOrder(confirm(ICCID, None))).await).unwrap();
    assert_eq!(ok.smdp_address.as_deref(), Some(ADDRESS));
    assert_eq!(ok.matching_id.as_str().len(), 23);
    assert_eq!(ok.eid, None);
    assert_eq!(desk.state_of(ICCID), ProfileState::Confirmed);

    let euicc = TestEuicc::sgp26("NIST");
    let id = ok.matching_id.as_str();
    let refused = authenticate(&desk.lab, &euicc, Some(id), Binding::Json).await;
    assert_refused(refused, Refusal::ProfileNotReleased);
    done(desk.call(release(ICCID)).await).unwrap();
    assert_eq!(desk.state_of(ICCID), ProfileState::Released);
    authenticate(&desk.lab, &euicc, Some(id), Binding::Json)
        .await
        .unwrap();
    assert_refused(
        done(desk.call(release(ICCID)).await),
        Refusal::ProfileNotReleased,
    );
}

#[tokio::test]
async fn profiles_of_a_type_are_given_out_until_none_is_left() {
    let desk = Desk::new();
    let iccids = ["8988200000000000017", "8988200000000000025"];
    desk.import(None, &iccids);
    for iccid in iccids {
        let ok = ordered(desk.call(of_type("TS.48")).await).unwrap();
        assert_eq!(ok.iccid.to_string(), iccid);
    }
    let exhausted = ordered(desk.call(of_type("TS.48")).await);
    assert_refused(exhausted, Refusal::ProfileTypeExhausted);
    let unknown = ordered(desk.call(of_type("TS.49")).await);
    assert_refused(unknown, Refusal::ProfileTypeUnknown);
    let mismatch = Call::DownloadOrder(DownloadOrder {
        eid: None,
        profile: OrderedProfile::Iccid {
            iccid: ICCID.parse().unwrap(),
            profile_type: Some("other".to_owned()),
        },
    });
    assert_refused(
        ordered(desk.call(mismatch).await),
        Refusal::ProfileTypeMismatch,
    );
}

#[tokio::test]
async fn orders_for_an_eid_are_linked() {
    let desk = Desk::new();
    desk.import(None, &[ICCID]);
    ordered(desk.call(download(ICCID, Some(EID))).await).unwrap();
    assert_eq!(desk.state_of(ICCID), ProfileState::Linked);
    let other = ConfirmOrder {
        eid: Some(OTHER_EID.parse().unwrap()),
        ..confirm(ICCID, Some("A"))
    };
    assert_refused(
        confirmed(desk.call(Call::ConfirmOrder(other)).await),
        Refusal::EidOther,
    );
    let same = ConfirmOrder {
        eid: Some(EID.parse().unwrap()),
        ..confirm(ICCID, Some(""))
    };
    let ok = confirmed(desk.call(Call::ConfirmOrder(same)).await).unwrap();
    assert_eq!(ok.eid.unwrap().to_string(), EID);
    assert!(ok.matching_id.is_empty());
}

#[tokio::test]
async fn orders_are_refused_with_the_codes_of_the_specification() {
    let desk = Desk::new();
    desk.import(None, &[ICCID, "8988200000000000025"]);
    let unknown = "89000123456789012341";
    assert_refused(
        ordered(desk.call(download(unknown, None)).await),
        Refusal::IccidUnknown,
    );
    let call = Call::ConfirmOrder(confirm(unknown, None));
    assert_refused(confirmed(desk.call(call).await), Refusal::IccidUnknown);
    let call = Call::CancelOrder(cancel(unknown));
    assert_refused(done(desk.call(call).await), Refusal::IccidUnknown);
    assert_refused(
        done(desk.call(release(unknown)).await),
        Refusal::IccidUnknown,
    );

    ordered(desk.call(download(ICCID, None)).await).unwrap();
    assert_refused(
        ordered(desk.call(download(ICCID, None)).await),
        Refusal::IccidInUse,
    );

    // The default SM-DP+ needs an EID; a refused confirmation leaves the order as it was.
    let call = Call::ConfirmOrder(confirm(ICCID, Some("")));
    assert_refused(confirmed(desk.call(call).await), Refusal::EidMissing);
    let with_smds = ConfirmOrder {
        smds_address: Some("smds.example.com".to_owned()),
        ..confirm(ICCID, None)
    };
    let refused = confirmed(desk.call(Call::ConfirmOrder(with_smds)).await);
    assert_refused(refused, Refusal::SmdsInaccessible);
    let with_code = ConfirmOrder {
        confirmation_code: Some(String::new()),
        ..confirm(ICCID, None)
    };
    let refused = confirmed(desk.call(Call::ConfirmOrder(with_code)).await);
    assert_refused(refused, Refusal::ConfirmationCodeMalformed);
    assert_eq!(desk.state_of(ICCID), ProfileState::Allocated);

    confirmed(
        desk.call(Call::ConfirmOrder(confirm(ICCID, Some("TAKEN"))))
            .await,
    )
    .unwrap();
    let again = confirmed(
        desk.call(Call::ConfirmOrder(confirm(ICCID, Some("B"))))
            .await,
    );
    assert_refused(again, Refusal::IccidInUse);
    ordered(desk.call(download("8988200000000000025", None)).await).unwrap();
    let call = Call::ConfirmOrder(confirm("8988200000000000025", Some("TAKEN")));
    assert_refused(confirmed(desk.call(call).await), Refusal::MatchingIdInUse);

    let wrong = CancelOrder {
        matching_id: Some(matching_id("OTHER")),
        ..cancel(ICCID)
    };
    let refused = done(desk.call(Call::CancelOrder(wrong)).await);
    assert_refused(refused, Refusal::MatchingIdMismatch);
    let wrong = CancelOrder {
        eid: Some(EID.parse().unwrap()),
        ..cancel(ICCID)
    };
    assert_refused(
        done(desk.call(Call::CancelOrder(wrong)).await),
        Refusal::EidOther,
    );

    // After the cancellation, profile and matching id are free again.
    let right = CancelOrder {
        matching_id: Some(matching_id("TAKEN")),
        ..cancel(ICCID)
    };
    done(desk.call(Call::CancelOrder(right)).await).unwrap();
    assert_eq!(desk.state_of(ICCID), ProfileState::Available);
    let call = Call::ConfirmOrder(confirm("8988200000000000025", Some("TAKEN")));
    confirmed(desk.call(call).await).unwrap();
    let withdrawn = CancelOrder {
        final_profile_status_indicator: FinalProfileStatus::Unavailable,
        ..cancel("8988200000000000025")
    };
    done(desk.call(Call::CancelOrder(withdrawn)).await).unwrap();
    assert_eq!(
        desk.state_of("8988200000000000025"),
        ProfileState::Unavailable
    );
    let gone = ordered(desk.call(download("8988200000000000025", None)).await);
    assert_refused(gone, Refusal::IccidInUse);
    let twice = done(desk.call(Call::CancelOrder(cancel(ICCID))).await);
    assert_refused(twice, Refusal::IccidInUse);
}

#[tokio::test]
async fn a_cancelled_order_cannot_be_downloaded_even_in_an_open_session() {
    let desk = Desk::new();
    desk.import(None, &[ICCID]);
    ordered(desk.call(download(ICCID, None)).await).unwrap();
    let order = ConfirmOrder {
        release_flag: true,
        ..confirm(ICCID, Some("GONE"))
    };
    confirmed(desk.call(Call::ConfirmOrder(order.clone())).await).unwrap();
    let mut euicc = TestEuicc::sgp26("NIST");
    let ok = authenticate(&desk.lab, &euicc, Some("GONE"), Binding::Json)
        .await
        .unwrap();
    done(desk.call(Call::CancelOrder(cancel(ICCID))).await).unwrap();
    // Ordered anew under the same matching id: still not the order that the session was for.
    ordered(desk.call(download(ICCID, None)).await).unwrap();
    confirmed(desk.call(Call::ConfirmOrder(order)).await).unwrap();
    let request = euicc.prepare(&ok, None);
    let es9plus::Response::GetBoundProfilePackage(refused) =
        desk.lab.es9(Binding::Json, &request).await
    else {
        panic!()
    };
    assert_refused(refused, Refusal::ProfileNotReleased);
    assert_eq!(desk.state_of(ICCID), ProfileState::Released);
}

#[tokio::test]
async fn an_operator_sees_neither_profiles_nor_orders_of_another() {
    let desk = Desk::new();
    desk.import(Some("first"), &[ICCID]);
    desk.import(None, &["8988200000000000025"]);
    let refused = ordered(desk.call_as(&desk.second, download(ICCID, None)).await);
    assert_refused(refused, Refusal::IccidUnknown);
    // By type it gets the free one, never the other's.
    let ok = ordered(desk.call_as(&desk.second, of_type("TS.48")).await).unwrap();
    assert_eq!(ok.iccid.to_string(), "8988200000000000025");
    let refused = ordered(desk.call_as(&desk.second, of_type("TS.48")).await);
    assert_refused(refused, Refusal::ProfileTypeExhausted);
    // The order is the second's now.
    for refused in [
        confirmed(
            desk.call(Call::ConfirmOrder(confirm("8988200000000000025", None)))
                .await,
        )
        .map(|_| ()),
        done(
            desk.call(Call::CancelOrder(cancel("8988200000000000025")))
                .await,
        ),
    ] {
        assert_refused(refused, Refusal::IccidUnknown);
    }
    let call = Call::ConfirmOrder(confirm("8988200000000000025", None));
    confirmed(desk.call_as(&desk.second, call).await).unwrap();
    let refused = done(desk.call(release("8988200000000000025")).await);
    assert_refused(refused, Refusal::IccidUnknown);
}

#[tokio::test]
async fn only_certificates_of_operators_are_served() {
    let desk = Desk::new();
    desk.import(None, &[ICCID]);
    let header = RequestHeader {
        function_requester_identifier: OPERATOR_OID.to_owned(),
        function_call_identifier: "1".to_owned(),
    };
    let (name, body) = Request {
        header,
        call: download(ICCID, None),
    }
    .to_json();
    let answer = desk.post(None, name, body.clone()).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let stranger = Client::new("first", 23);
    let answer = desk
        .post(Some(&stranger.certificate), name, body.clone())
        .await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    // Without the listener's word on who is connected, nobody is.
    let bare = super::support::post(
        desk.lab.smdp.es2plus_router(),
        "/gsma/rsp2/es2plus/downloadOrder",
        "application/json",
        body,
    )
    .await;
    assert_eq!(bare.status, StatusCode::UNAUTHORIZED);
    assert_eq!(desk.state_of(ICCID), ProfileState::Available);

    // An operator that names itself as another.
    let header = RequestHeader {
        function_requester_identifier: "2.999.78".to_owned(),
        function_call_identifier: "1".to_owned(),
    };
    let (name, body) = Request {
        header,
        call: download(ICCID, None),
    }
    .to_json();
    let answer = desk.post(Some(&desk.first.certificate), name, body).await;
    let answer = Response::from_json(Function::DownloadOrder, &answer.body).unwrap();
    assert_refused(ordered(answer), Refusal::FunctionRequester);
}

#[tokio::test]
async fn certificates_of_a_ca_can_stand_for_an_operator() {
    let ca = Client::new("ca", 31);
    let other_ca = Client::new("other ca", 32);
    let mut rng = ChaCha20Rng::seed_from_u64(33);
    let own = PrivateKey::generate(pki::Curve::P256, &mut rng).unwrap();
    let issue = |by: &Client| {
        CertificateTemplate::tls_client("Operator", "any")
            .valid(UnixTime(NOW).plus_days(-1), UnixTime(NOW).plus_days(100))
            .issue(
                own.public_key(),
                Issuer {
                    certificate: &by.certificate,
                    signer: &by.key,
                },
            )
            .unwrap()
    };
    let mut settings = config();
    settings.operators = vec![Operator {
        name: "by ca".to_owned(),
        oid: None,
        access: OperatorAccess::Issuer(Box::new(ca.certificate.clone())),
        progress_url: None,
    }];
    let desk = Desk {
        lab: Lab::with(settings),
        first: ca,
        second: other_ca,
    };
    desk.import(None, &[ICCID]);
    let header = RequestHeader {
        function_requester_identifier: "anything".to_owned(),
        function_call_identifier: "1".to_owned(),
    };
    let (name, body) = Request {
        header,
        call: download(ICCID, None),
    }
    .to_json();
    let answer = desk
        .post(Some(&issue(&desk.second)), name, body.clone())
        .await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let answer = desk.post(Some(&issue(&desk.first)), name, body).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(desk.state_of(ICCID), ProfileState::Allocated);
}

#[tokio::test]
async fn malformed_requests_have_codes_and_change_nothing() {
    let desk = Desk::new();
    desk.import(None, &[ICCID]);
    let header =
        r#""header":{"functionRequesterIdentifier":"2.999.77","functionCallIdentifier":"1"}"#;
    for (function, body, refusal) in [
        (
            "downloadOrder",
            format!(r#"{{"iccid":"{ICCID}"}}"#),
            Refusal::FunctionRequester,
        ),
        (
            "downloadOrder",
            format!(r#"{{{header}}}"#),
            Refusal::ElementMissing,
        ),
        (
            "downloadOrder",
            format!(r#"{{{header},"iccid":"123"}}"#),
            Refusal::IccidMalformed,
        ),
        (
            "downloadOrder",
            format!(r#"{{{header},"iccid":"{ICCID}","eid":"89049032123451234512345678901236"}}"#),
            Refusal::EidMalformed,
        ),
        (
            "confirmOrder",
            format!(r#"{{{header},"iccid":"{ICCID}","matchingId":"a$b","releaseFlag":true}}"#),
            Refusal::MatchingIdMalformed,
        ),
        (
            "confirmOrder",
            format!(r#"{{{header},"iccid":"{ICCID}","releaseFlag":"yes"}}"#),
            Refusal::ElementMalformed,
        ),
        (
            "cancelOrder",
            format!(r#"{{{header},"iccid":"{ICCID}","finalProfileStatusIndicator":"Gone"}}"#),
            Refusal::ElementMalformed,
        ),
        (
            "releaseProfile",
            format!(r#"{{{header}}}"#),
            Refusal::ElementMissing,
        ),
    ] {
        let answer = desk
            .post(Some(&desk.first.certificate), function, body.clone().into())
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{body}");
        let answer = Response::from_json(function.parse().unwrap(), &answer.body).unwrap();
        let outcome = match answer {
            Response::DownloadOrder(outcome) => outcome.map(|_| ()),
            Response::ConfirmOrder(outcome) => outcome.map(|_| ()),
            Response::CancelOrder(outcome) | Response::ReleaseProfile(outcome) => outcome,
            Response::HandleDownloadProgressInfo => panic!(),
        };
        assert_refused(outcome, refusal);
    }
    for (function, body, status) in [
        ("downloadOrder", "{", StatusCode::BAD_REQUEST),
        ("downloadOrder", "[]", StatusCode::BAD_REQUEST),
        ("handleDownloadProgressInfo", "{}", StatusCode::NOT_FOUND),
        ("initiateAuthentication", "{}", StatusCode::NOT_FOUND),
    ] {
        let answer = desk
            .post(Some(&desk.first.certificate), function, body.into())
            .await;
        assert_eq!(answer.status, status);
    }
    assert_eq!(desk.state_of(ICCID), ProfileState::Available);
}

#[tokio::test]
async fn nothing_is_imported_twice_or_half() {
    let desk = Desk::new();
    desk.import(None, &["8988200000000000025"]);
    let package = data("ts48/ts48-v7-nobertlv.der");
    let import = |iccids: &[&str], package: &[u8]| {
        desk.lab.smdp.inventory().import(ImportProfile {
            package,
            profile_type: "TS.48".to_owned(),
            operator: None,
            metadata: ProfileMetadata::new("P", "P", ProfileClass::Operational),
            iccids: iccids.iter().map(|iccid| iccid.parse().unwrap()).collect(),
        })
    };
    let known = import(&[ICCID, "8988200000000000025"], &package).unwrap_err();
    assert!(matches!(known, smdp::ImportError::Known(_)));
    assert!(import(&[ICCID], b"no package").is_err());
    assert!(
        desk.lab
            .smdp
            .inventory()
            .profile(&ICCID.parse().unwrap())
            .unwrap()
            .is_none()
    );
    let own = import(&[], &package).unwrap();
    assert_eq!(own[0].to_string(), "89000123456789012341");
    let all = desk.lab.smdp.inventory().profiles(None, 10).unwrap();
    let behind = desk
        .lab
        .smdp
        .inventory()
        .profiles(Some(&own[0]), 10)
        .unwrap();
    assert_eq!((all.len(), all[0].iccid), (2, own[0]));
    assert_eq!(behind, all[1..]);
}
