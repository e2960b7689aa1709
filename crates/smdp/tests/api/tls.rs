//! ES2+ over real mutual TLS, in both directions.

use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use edge::client::{Client, ClientOptions};
use edge::server::{Limits, Server};
use edge::tls::rustls_pki_types::CertificateDer;
use edge::tls::{ClientAuth, Identity, TlsConfig, Trust};
use http::HeaderMap;
use pki::issue::{Credential, TestPki, TestPkiOptions};
use pki::{Curve, Signer, UnixTime};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use rsp::binding::es2plus::{
    Call, DownloadOrder, Function, OrderedProfile, Request, RequestHeader, Response,
};
use rsp::binding::http::Binding;
use smdp::{EdgeOperatorLink, Operator, OperatorAccess, ProfileState};

use super::euicc::{TestEuicc, authenticate};
use super::support::{ICCID, Lab, NOW, config};

fn identity(credential: &Credential) -> Identity {
    Identity::from_der(
        vec![credential.certificate.der().to_vec()],
        credential.key.to_pkcs8_der().unwrap().as_bytes().to_vec(),
    )
    .unwrap()
}

fn pki() -> TestPki {
    let mut options = TestPkiOptions::new(UnixTime(NOW).plus_days(-1));
    options.smdp_hosts = vec!["localhost".to_owned()];
    TestPki::new(&mut ChaCha20Rng::seed_from_u64(40), Curve::P256, &options).unwrap()
}

fn listener(pki: &TestPki) -> TlsConfig {
    let root = CertificateDer::from(pki.tls_ca.certificate.der().to_vec());
    let mut tls =
        TlsConfig::new(identity(&pki.smdp_tls)).with_client_auth(ClientAuth::Required(vec![root]));
    tls.clock = Some(Arc::new(|| u64::try_from(NOW).unwrap()));
    tls
}

fn client(pki: &TestPki, shown: Option<&Credential>) -> Client {
    let mut options = ClientOptions::new(Trust::roots([pki.tls_ca.certificate.der().to_vec()]));
    options.identity = shown.map(identity);
    options.clock = Some(Arc::new(|| u64::try_from(NOW).unwrap()));
    Client::with_options(options).unwrap()
}

fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/json".parse().unwrap());
    headers.insert("x-admin-protocol", "gsma/rsp/v2.1.0".parse().unwrap());
    headers
}

#[tokio::test]
async fn an_operator_orders_and_is_told_over_mutual_tls() {
    let pki = pki();

    // The operator's own server, which receives the progress.
    let desk = Server::bind(
        "127.0.0.1:0".parse().unwrap(),
        listener(&pki),
        Limits::default(),
    )
    .await
    .unwrap();
    let desk_port = desk.local_addr().port();
    let told: Arc<Mutex<Vec<Bytes>>> = Arc::default();
    let keep = Arc::clone(&told);
    tokio::spawn(desk.serve_handler(
        move |request: http::Request<Bytes>| {
            keep.lock().unwrap().push(request.into_body());
            async {
                let mut response = http::Response::new(axum::body::Body::empty());
                *response.status_mut() = http::StatusCode::NO_CONTENT;
                response
            }
        },
        std::future::pending(),
    ));

    let mut settings = config();
    settings.operators = vec![Operator {
        name: "mno".to_owned(),
        oid: None,
        access: OperatorAccess::Spki(pki.es2_client.key.public_key().to_spki_der()),
        progress_url: Some(format!("https://localhost:{desk_port}")),
    }];
    let lab = Lab::with(settings);
    lab.import_plain();
    let server = Server::bind(
        "127.0.0.1:0".parse().unwrap(),
        listener(&pki),
        Limits::default(),
    )
    .await
    .unwrap();
    let port = server.local_addr().port();
    tokio::spawn(server.serve(lab.smdp.es2plus_router(), std::future::pending()));

    let request = Request {
        header: RequestHeader {
            function_requester_identifier: "2.999.77".to_owned(),
            function_call_identifier: "1".to_owned(),
        },
        call: Call::DownloadOrder(DownloadOrder {
            eid: None,
            profile: OrderedProfile::Iccid {
                iccid: ICCID.parse().unwrap(),
                profile_type: None,
            },
        }),
    };
    let (function, body) = request.to_json();
    let url = format!("https://localhost:{port}/gsma/rsp2/es2plus/{function}");
    // No certificate: no connection. A good certificate that is no operator's: 403.
    assert!(
        client(&pki, None)
            .post(&url, headers(), body.clone())
            .await
            .is_err()
    );
    let stranger = client(&pki, Some(&pki.eim_tls))
        .post(&url, headers(), body.clone())
        .await;
    assert!(stranger.map_or(true, |answer| answer.status == http::StatusCode::FORBIDDEN));
    assert_eq!(lab.state(), ProfileState::Available);

    let operator = client(&pki, Some(&pki.es2_client));
    let answer = operator.post(&url, headers(), body).await.unwrap();
    assert_eq!(answer.status, http::StatusCode::OK);
    let answer = Response::from_json(Function::DownloadOrder, &answer.body).unwrap();
    assert!(
        matches!(answer, Response::DownloadOrder(Ok(_))),
        "{answer:?}"
    );
    assert_eq!(lab.state(), ProfileState::Allocated);

    let confirm = Request {
        header: request.header,
        call: Call::ConfirmOrder(rsp::binding::es2plus::ConfirmOrder {
            iccid: ICCID.parse().unwrap(),
            eid: None,
            matching_id: Some("TLS".parse().unwrap()),
            confirmation_code: None,
            smds_address: None,
            release_flag: true,
        }),
    };
    let (function, body) = confirm.to_json();
    let url = format!("https://localhost:{port}/gsma/rsp2/es2plus/{function}");
    operator.post(&url, headers(), body).await.unwrap();
    authenticate(&lab, &TestEuicc::sgp26("NIST"), Some("TLS"), Binding::Json)
        .await
        .unwrap();

    let link = EdgeOperatorLink(client(&pki, Some(&pki.smdp_tls)));
    let report = lab.smdp.deliver_progress(&link).await.unwrap();
    assert_eq!((report.delivered, report.postponed), (1, 0));
    let told = told.lock().unwrap();
    let info = Request::from_json("handleDownloadProgressInfo", &told[0]).unwrap();
    assert!(
        matches!(info.call, Call::HandleDownloadProgressInfo(info) if info.notification_point_id == 1)
    );
}
