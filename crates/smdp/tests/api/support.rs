//! A server with SGP.26 certificates and a settable clock, and ways to call it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::Router;
use axum::body::Body;
use http::{Request as HttpRequest, StatusCode};
use http_body_util::BodyExt;
use jiff::Timestamp;
use pki::{Certificate, PrivateKey, TrustAnchors};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use rsp::binding::es2plus::{
    ConfirmOrder, ConfirmOrderOk, DownloadOrder, MatchingId, OrderedProfile,
};
use rsp::binding::es9plus::{Request, Response};
use rsp::binding::http::Binding;
use rsp::der::Oid;
use rsp::ids::{Eid, Iccid};
use rsp::sgp22::ProfileClass;
use smdp::{
    Actor, Config, Identities, ImportProfile, ProfileMetadata, ProfileState, Refusal,
    ServerIdentity, Smdp,
};
use store::{Store, StoreOptions};
use tower_service::Service;

pub(crate) const ADDRESS: &str = "testsmdpplus1.example.com";
/// 2026-08-01T00:00:00Z.
pub(crate) const NOW: i64 = 1_785_542_400;

pub(crate) struct Lab {
    pub(crate) smdp: Smdp,
    pub(crate) clock: Arc<AtomicI64>,
}

pub(crate) fn data(path: &str) -> Vec<u8> {
    // The fuzz targets use this file too, from another folder.
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|folder| folder.join("tests/data"))
        .find(|data| data.is_dir())
        .unwrap();
    std::fs::read(folder.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(crate) fn certificate(path: &str) -> Certificate {
    Certificate::from_der(&data(&format!("sgp26/{path}.der"))).unwrap()
}

pub(crate) fn key(path: &str) -> PrivateKey {
    PrivateKey::from_pem(&String::from_utf8(data(&format!("sgp26/{path}.pem"))).unwrap()).unwrap()
}

/// SGP.26 variant O: one identity on each curve.
pub(crate) fn identities() -> Identities {
    let mut trust = TrustAnchors::new();
    let servers = ["NIST", "BRP"].map(|curve| {
        trust
            .add_ci(certificate(&format!(
                "variant-o/CertificateIssuer/CERT_CI_ECDSA_{curve}"
            )))
            .unwrap();
        identity(curve)
    });
    Identities {
        trust,
        servers: servers.into(),
        chain_policy: Default::default(),
    }
}

pub(crate) fn identity(curve: &str) -> ServerIdentity {
    ServerIdentity {
        auth_certificate: certificate(&format!("variant-o/DPauth/CERT_S_SM_DPauth_ECDSA_{curve}")),
        auth_signer: Arc::new(key(&format!(
            "variant-o/DPauth/SK_S_SM_DPauth_ECDSA_{curve}"
        ))),
        pb_certificate: certificate(&format!("variant-o/DPpb/CERT_S_SM_DPpb_ECDSA_{curve}")),
        pb_signer: Arc::new(key(&format!("variant-o/DPpb/SK_S_SM_DPpb_ECDSA_{curve}"))),
        sub_cas: Vec::new(),
    }
}

pub(crate) fn config() -> Config {
    Config::new(ADDRESS, Oid::from_dotted("2.999.10").unwrap())
}

pub(crate) fn temporary_store() -> Store {
    Store::open_temporary(smdp::MIGRATIONS, StoreOptions::default()).unwrap()
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self::with(config())
    }

    pub(crate) fn with(config: Config) -> Self {
        Self::with_store(config, temporary_store(), 1)
    }

    pub(crate) fn with_store(config: Config, store: Store, seed: u64) -> Self {
        Self::with_identities(config, store, seed, identities())
    }

    pub(crate) fn with_identities(
        config: Config,
        store: Store,
        seed: u64,
        identities: Identities,
    ) -> Self {
        let clock = Arc::new(AtomicI64::new(NOW));
        let told = Arc::clone(&clock);
        let clock_fn = move || Timestamp::from_second(told.load(Ordering::Relaxed)).unwrap();
        let rng = ChaCha20Rng::seed_from_u64(seed);
        let smdp = Smdp::open(config, store, identities, clock_fn, rng).unwrap();
        Self { smdp, clock }
    }

    pub(crate) fn advance_s(&self, seconds: i64) {
        self.clock.fetch_add(seconds, Ordering::Relaxed);
    }

    /// A TS.48 profile under another ICCID, with these metadata.
    pub(crate) fn import(&self, iccid: &str, metadata: ProfileMetadata) -> Iccid {
        let package = data("ts48/ts48-v7-nobertlv.der");
        let imported = self
            .smdp
            .inventory()
            .import(ImportProfile {
                package: &package,
                profile_type: "TS.48".to_owned(),
                operator: None,
                metadata,
                iccids: vec![iccid.parse().unwrap()],
            })
            .unwrap();
        imported[0]
    }

    pub(crate) fn import_plain(&self) -> Iccid {
        let metadata = ProfileMetadata::new("Palisade Test", "TS.48", ProfileClass::Operational);
        self.import(ICCID, metadata.notifying(ADDRESS))
    }

    /// Imports, orders and releases one profile.
    pub(crate) fn release(
        &self,
        eid: Option<&str>,
        matching_id: Option<&str>,
        code: Option<&str>,
    ) -> ConfirmOrderOk {
        let iccid = self.import_plain();
        self.order(iccid, eid, matching_id, code)
    }

    pub(crate) fn order(
        &self,
        iccid: Iccid,
        eid: Option<&str>,
        matching_id: Option<&str>,
        code: Option<&str>,
    ) -> ConfirmOrderOk {
        let orders = self.smdp.orders();
        let eid: Option<Eid> = eid.map(|eid| eid.parse().unwrap());
        let actor = Actor::Administration;
        let profile = OrderedProfile::Iccid {
            iccid,
            profile_type: None,
        };
        orders
            .download_order(&actor, DownloadOrder { eid, profile })
            .unwrap();
        orders
            .confirm_order(
                &actor,
                ConfirmOrder {
                    iccid,
                    eid: None,
                    matching_id: matching_id.map(|text| text.parse().unwrap()),
                    confirmation_code: code.map(str::to_owned),
                    smds_address: None,
                    release_flag: true,
                },
            )
            .unwrap()
    }

    pub(crate) fn state(&self) -> ProfileState {
        self.smdp
            .inventory()
            .profile(&ICCID.parse().unwrap())
            .unwrap()
            .unwrap()
            .state
    }

    /// Calls ES9+ through the router.
    pub(crate) async fn es9(&self, binding: Binding, request: &Request) -> Response {
        let (path, body) = match binding {
            Binding::Asn1 => ("/gsma/rsp2/asn1".to_owned(), request.to_asn1()),
            Binding::Json => {
                let (function, body) = request.to_json();
                (format!("/gsma/rsp2/es9plus/{function}"), body)
            }
        };
        let answer = post(self.smdp.router(), &path, binding.content_type(), body).await;
        assert_eq!(answer.admin_protocol.as_deref(), Some("gsma/rsp/v2.5.0"));
        let function = request.function();
        if matches!(request, Request::HandleNotification(_)) {
            assert_eq!(answer.status, StatusCode::NO_CONTENT);
            assert!(answer.body.is_empty());
            return Response::HandleNotification;
        }
        assert_eq!(answer.status, StatusCode::OK);
        match binding {
            Binding::Asn1 => Response::from_asn1(function, &answer.body).unwrap(),
            Binding::Json => Response::from_json(function, &answer.body).unwrap(),
        }
    }
}

pub(crate) const ICCID: &str = "8988200000000000017";
pub(crate) const EID: &str = "89049032123451234512345678901235";

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) admin_protocol: Option<String>,
    pub(crate) body: Vec<u8>,
}

pub(crate) async fn post(router: Router, path: &str, content_type: &str, body: Vec<u8>) -> Answer {
    let request = HttpRequest::post(path)
        .header("content-type", content_type)
        .header("x-admin-protocol", "gsma/rsp/v2.2.0")
        .header("user-agent", "gsma-rsp-lpad")
        .body(Body::from(body))
        .unwrap();
    send(router, request).await
}

pub(crate) async fn send(mut router: Router, request: HttpRequest<Body>) -> Answer {
    let response = router.call(request).await.unwrap();
    let status = response.status();
    let header = response.headers().get("x-admin-protocol");
    let admin_protocol = header.map(|value| value.to_str().unwrap().to_owned());
    let body = response
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes()
        .to_vec();
    Answer {
        status,
        admin_protocol,
        body,
    }
}

pub(crate) fn matching_id(text: &str) -> MatchingId {
    text.parse().unwrap()
}

/// The failure that a refusal becomes in the JSON binding.
#[track_caller]
pub(crate) fn assert_refused<T: std::fmt::Debug>(
    outcome: Result<T, rsp::binding::Failure>,
    refusal: Refusal,
) {
    match outcome {
        Ok(ok) => panic!("expected {refusal:?}, got {ok:?}"),
        Err(failure) => assert_eq!(failure.code, refusal.status(), "{failure}"),
    }
}
