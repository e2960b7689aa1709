//! An eIM with a clock and randomness that tests set, and eUICCs on paper: they sign what a test
//! tells them to, right or wrong.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use eim::actor::Actor;
use eim::authority::unguarded::{EimIdentity, UnguardedAuthority};
use eim::authority::{Authority, AuthorityError, Reply};
use eim::es9::{Call, ConnectorError, SmdpConnector};
use eim::{Clock, Config, ConnectionId, DeviceData, Eim, Entropy, Operation, Parts, Peer};
use intent::api::{
    Account, Associate, Feed, RecordResult, Reference, Refusal, RefusalCode, SignedPackage,
};
use intent::command::Command;
use intent::{IntentId, Principal};
use pki::issue::{Credential, TestPki, TestPkiOptions};
use pki::{Curve, Signer, UnixTime};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rsp::binding::es9plus;
use rsp::binding::esipa::{Request, Response};
use rsp::der::{Encoded, Octets};
use rsp::ids::{Eid, TransactionId};
use rsp::sgp22::{
    Certificate, EuiccInfo1, KeyIdentifier, NotificationEvent, NotificationMetadata, OctetTo16,
    OtherSignedNotification, ProfileInstallationResult, ProfileInstallationResultData, Signature,
    SuccessResult, VersionType,
};
use rsp::sgp32::{
    EimConfigurationData, EimPackageResult, EuiccPackageErrorCode, EuiccPackageErrorDataSigned,
    EuiccPackageErrorSigned, EuiccPackageRequest, EuiccPackageResult, EuiccPackageResultDataSigned,
    EuiccPackageResultSigned, EuiccResultData, GetEimPackageRequest, GetEimPackageResponse,
    IpaEuiccData, IpaEuiccDataRequest, IpaEuiccDataResponse, ProvideEimPackageResult,
    ProvideEimPackageResultResponse,
};

pub(crate) const EID: &str = "89049032123451234512345678901235";
/// 2026-06-01T00:00:00Z.
const START_S: i64 = 1_780_272_000;

pub(crate) fn other_eid() -> Eid {
    Eid::with_check_digits("890490321234512345123456789099").unwrap()
}

pub(crate) fn olga() -> Principal {
    "olga".parse().unwrap()
}

pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    pub(crate) fn advance_ms(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now_ms(&self) -> i64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

pub(crate) struct Seeded(Mutex<ChaCha20Rng>);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(ChaCha20Rng::seed_from_u64(seed)))
    }
}

impl Entropy for Seeded {
    fn fill(&self, out: &mut [u8]) {
        self.0.lock().unwrap().fill_bytes(out);
    }
}

type Answers =
    dyn Fn(&str, es9plus::Request) -> Result<es9plus::Response, ConnectorError> + Send + Sync;

/// An SM-DP+ whose answers a test scripts.
#[derive(Default)]
pub(crate) struct ScriptedSmdp {
    pub(crate) calls: Mutex<Vec<(String, es9plus::Request)>>,
    pub(crate) answers: Mutex<Option<Box<Answers>>>,
}

impl SmdpConnector for ScriptedSmdp {
    fn call<'a>(
        &'a self,
        address: &'a str,
        request: es9plus::Request,
    ) -> Call<'a, es9plus::Response> {
        self.calls
            .lock()
            .unwrap()
            .push((address.to_owned(), request.clone()));
        let answer = match self.answers.lock().unwrap().as_ref() {
            Some(answers) => answers(address, request),
            None => Ok(es9plus::Response::HandleNotification),
        };
        Box::pin(std::future::ready(answer))
    }
}

/// An authority that a test makes refuse or disappear.
pub(crate) struct Gate {
    pub(crate) inner: UnguardedAuthority,
    pub(crate) is_away: AtomicBool,
    /// What is answered to every question, if not the truth.
    pub(crate) refusal: Mutex<Option<Refusal>>,
    /// Until a result is reported, packages of intents are refused: their profile was not listed.
    pub(crate) wants_list: AtomicBool,
    /// The same whatever is reported.
    pub(crate) wants_lists_for_ever: AtomicBool,
    /// For which device packages are signed, if not for the one that was asked for.
    pub(crate) signs_for: Mutex<Option<Eid>>,
    /// How long signatures take: until somebody says so.
    pub(crate) pause: Mutex<Option<Arc<tokio::sync::Notify>>>,
    /// What is released, if not what was asked for.
    pub(crate) releases: Mutex<Option<Vec<Command>>>,
    /// How many packages, releases, associations and results were asked for.
    pub(crate) asked: AtomicU64,
}

impl Gate {
    pub(crate) fn refuse(&self, refusal: Option<Refusal>) {
        *self.refusal.lock().unwrap() = refusal;
    }

    fn each<'a, T: Send + 'a>(
        &'a self,
        count: usize,
        answer: impl FnOnce() -> Reply<'a, Vec<Result<T, Refusal>>>,
    ) -> Reply<'a, Vec<Result<T, Refusal>>> {
        self.asked.fetch_add(count as u64, Ordering::SeqCst);
        if self.is_away.load(Ordering::SeqCst) {
            return self.away();
        }
        match self.refusal.lock().unwrap().clone() {
            Some(refusal) => {
                Box::pin(async move { Ok((0..count).map(|_| Err(refusal.clone())).collect()) })
            }
            None => answer(),
        }
    }

    fn away<'a, T: Send + 'a>(&self) -> Reply<'a, T> {
        Box::pin(async { Err(AuthorityError::Unreachable("it is away".to_owned())) })
    }
}

impl Authority for Gate {
    fn sign<'a>(
        &'a self,
        references: &'a [Reference],
    ) -> Reply<'a, Vec<Result<SignedPackage, Refusal>>> {
        let pause = self.pause.lock().unwrap().take();
        if let Some(pause) = pause {
            let answer = self.sign(references);
            return Box::pin(async move {
                pause.notified().await;
                answer.await
            });
        }
        if self.wants_list.load(Ordering::SeqCst)
            || self.wants_lists_for_ever.load(Ordering::SeqCst)
        {
            return Box::pin(async move {
                let mut answers = Vec::new();
                for reference in references {
                    answers.push(match &reference.account {
                        Account::Intent(_) => Err(Refusal::new(RefusalCode::NotListed, "which?")),
                        _ => self
                            .inner
                            .sign(std::slice::from_ref(reference))
                            .await?
                            .remove(0),
                    });
                }
                Ok(answers)
            });
        }
        let Some(eid) = *self.signs_for.lock().unwrap() else {
            return self.each(references.len(), || self.inner.sign(references));
        };
        let others: Vec<_> = references
            .iter()
            .map(|reference| Reference {
                eid,
                ..reference.clone()
            })
            .collect();
        self.each(references.len(), || {
            Box::pin(async move { self.inner.sign(&others).await })
        })
    }

    fn release<'a>(
        &'a self,
        references: &'a [Reference],
    ) -> Reply<'a, Vec<Result<Vec<Command>, Refusal>>> {
        match self.releases.lock().unwrap().clone() {
            Some(commands) => Box::pin(async move { Ok(vec![Ok(commands); references.len()]) }),
            None => self.each(references.len(), || self.inner.release(references)),
        }
    }

    fn associate<'a>(&'a self, device: &'a Associate) -> Reply<'a, Result<(), Refusal>> {
        Box::pin(async move {
            let answers = self.each(1, || {
                Box::pin(async { Ok(vec![self.inner.associate(device).await?]) })
            });
            Ok(answers.await?.remove(0))
        })
    }

    fn record_results<'a>(
        &'a self,
        results: &'a [RecordResult],
    ) -> Reply<'a, Vec<Result<(), Refusal>>> {
        self.wants_list.store(false, Ordering::SeqCst);
        self.each(results.len(), || self.inner.record_results(results))
    }

    fn feed(&self, after: u64) -> Reply<'_, Feed> {
        match self.is_away.load(Ordering::SeqCst) {
            true => self.away(),
            false => self.inner.feed(after),
        }
    }

    fn association_data(&self) -> Reply<'_, EimConfigurationData> {
        self.inner.association_data()
    }
}

pub(crate) struct World {
    pub(crate) eim: Arc<Eim>,
    pub(crate) authority: Arc<Gate>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) smdp: Arc<ScriptedSmdp>,
    pub(crate) pki: TestPki,
    pub(crate) operator: Actor,
    connections: AtomicU64,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(adjust: impl FnOnce(&mut Config)) -> Self {
        Self::opening(adjust, |config, parts| {
            Eim::open_temporary(config, parts).unwrap()
        })
    }

    /// With a database that stays.
    pub(crate) fn at(path: &Path) -> Self {
        Self::opening(|_| {}, |config, parts| open(path, config, parts))
    }

    /// The eIM ends and is started again.
    pub(crate) fn restart(&mut self, path: &Path) {
        let config = Config::new("eim.example.com".parse().unwrap());
        let parts = self.parts();
        // The lock of the database is free when nobody has the old one any more.
        self.eim = Eim::open_temporary(config.clone(), self.parts()).unwrap();
        self.eim = open(path, config, parts);
    }

    fn parts(&self) -> Parts {
        Parts {
            authority: Arc::clone(&self.authority) as Arc<dyn Authority>,
            trust: self.pki.trust_anchors().unwrap(),
            smdp: Arc::clone(&self.smdp) as Arc<dyn SmdpConnector>,
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            entropy: Arc::new(Seeded::new(3)),
        }
    }

    fn opening(
        adjust: impl FnOnce(&mut Config),
        open: impl FnOnce(Config, Parts) -> Arc<Eim>,
    ) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut options = TestPkiOptions::new(UnixTime(START_S - 86_400));
        options.leaf_days = 3650;
        let pki = TestPki::new(&mut rng, Curve::P256, &options).unwrap();
        let eim_id: rsp::sgp32::EimId = "eim.example.com".parse().unwrap();
        let identity = EimIdentity {
            eim_id: eim_id.clone(),
            fqdn: "eim.example.com".to_owned(),
            tls_trust: None,
        };
        let clock = Arc::new(TestClock(AtomicI64::new(START_S * 1000)));
        let smdp = Arc::new(ScriptedSmdp::default());
        let mut config = Config::new(eim_id);
        adjust(&mut config);
        let authority = Arc::new(Gate {
            inner: UnguardedAuthority::new(
                identity,
                Arc::new(pki.eim_signing.key.clone()),
                Arc::clone(&clock) as Arc<dyn Clock>,
            ),
            is_away: AtomicBool::new(false),
            refusal: Mutex::default(),
            wants_list: AtomicBool::new(false),
            wants_lists_for_ever: AtomicBool::new(false),
            signs_for: Mutex::default(),
            pause: Mutex::default(),
            releases: Mutex::default(),
            asked: AtomicU64::new(0),
        });
        let parts = Parts {
            authority: Arc::clone(&authority) as Arc<dyn Authority>,
            trust: pki.trust_anchors().unwrap(),
            smdp: Arc::clone(&smdp) as Arc<dyn SmdpConnector>,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            entropy: Arc::new(Seeded::new(2)),
        };
        Self {
            eim: open(config, parts),
            authority,
            clock,
            smdp,
            pki,
            operator: Actor::operator("olga"),
            connections: AtomicU64::new(1),
        }
    }

    /// A PKI that this eIM does not trust.
    pub(crate) fn other_pki(&self) -> TestPki {
        let mut rng = ChaCha20Rng::seed_from_u64(77);
        let not_before = self.pki.ci.certificate.not_before();
        TestPki::new(&mut rng, Curve::P256, &TestPkiOptions::new(not_before)).unwrap()
    }

    /// A new transport connection.
    pub(crate) fn connect(&self) -> Peer {
        Peer {
            connection: ConnectionId(self.connections.fetch_add(1, Ordering::SeqCst)),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }

    /// Registers a device whose token is known and returns its eUICC.
    pub(crate) async fn device(&self, eid: Eid) -> PaperEuicc {
        let euicc = self.euicc(eid);
        self.register(eid).await;
        self.know_token(eid, euicc.token).await;
        euicc
    }

    /// Registers a device of which nothing but its EID is known.
    pub(crate) async fn register(&self, eid: Eid) {
        self.authority.inner.register("meters", vec![eid]).unwrap();
        self.eim.follow().await.unwrap();
    }

    /// An operator says which token a device keeps.
    pub(crate) async fn know_token(&self, eid: Eid, association_token: Option<i64>) {
        let data = DeviceData {
            association_token,
            ..DeviceData::new(eid)
        };
        let enriched = self.eim.enrich_device(&self.operator, data).await;
        enriched.unwrap();
    }

    /// An eUICC that nobody registered.
    pub(crate) fn euicc(&self, eid: Eid) -> PaperEuicc {
        let mut seed = [0; 32];
        seed[..16].copy_from_slice(eid.octets());
        let mut rng = ChaCha20Rng::from_seed(seed);
        PaperEuicc {
            eid,
            credential: self.pki.issue_euicc(&mut rng, &eid.to_string()).unwrap(),
            eum: self.pki.eum.certificate.clone(),
            ci_key_id: self
                .pki
                .ci
                .certificate
                .subject_key_identifier()
                .unwrap()
                .to_vec(),
            token: Some(1),
            seq_number: 0,
        }
    }

    /// A device that has introduced itself on `peer` and has nothing to do.
    pub(crate) async fn introduced(&self, eid: Eid, peer: &Peer) -> PaperEuicc {
        let euicc = self.device(eid).await;
        let request = expect_data_request(self.poll(eid, peer).await);
        let answer = self.provide(eid, euicc.introduce(&request), peer).await;
        assert!(
            matches!(answer, ProvideEimPackageResultResponse::EmptyResponse(_)),
            "{answer:?}"
        );
        euicc
    }

    pub(crate) async fn propose(&self, eid: Eid, commands: Vec<Command>) -> Operation {
        self.propose_for(eid, commands, None).await
    }

    pub(crate) async fn propose_for(
        &self,
        eid: Eid,
        commands: Vec<Command>,
        lifetime_ms: Option<i64>,
    ) -> Operation {
        let id = self.intend(vec![eid], commands, lifetime_ms);
        self.eim.follow().await.unwrap();
        self.operation_of(id)
    }

    /// An approved intent that the eIM has not heard of.
    pub(crate) fn intend(
        &self,
        eids: Vec<Eid>,
        commands: Vec<Command>,
        lifetime_ms: Option<i64>,
    ) -> IntentId {
        self.authority
            .inner
            .propose(&olga(), eids, commands, lifetime_ms)
            .unwrap()
    }

    /// The operation of an intent about one device.
    pub(crate) fn operation_of(&self, id: IntentId) -> Operation {
        let mut operations = self.eim.operations_of(id, None, 2).unwrap();
        assert_eq!(operations.len(), 1);
        operations.remove(0)
    }

    pub(crate) async fn poll(&self, eid: Eid, peer: &Peer) -> GetEimPackageResponse {
        let request = GetEimPackageRequest {
            eid_value: eid.to_field(),
            notify_state_change: None,
            state_change_cause: None,
            r_plmn: None,
            extensions: Default::default(),
        };
        match self
            .eim
            .handle(Request::GetEimPackage(request), peer)
            .await
            .unwrap()
        {
            Response::GetEimPackage(response) => response,
            other => panic!("another function answered: {other:?}"),
        }
    }

    /// The signed package that a poll must return.
    pub(crate) async fn package(&self, eid: Eid, peer: &Peer) -> EuiccPackageRequest {
        match self.poll(eid, peer).await {
            GetEimPackageResponse::EuiccPackageRequest(package) => package,
            other => panic!("no package: {other:?}"),
        }
    }

    pub(crate) async fn provide(
        &self,
        eid: Eid,
        result: EimPackageResult,
        peer: &Peer,
    ) -> ProvideEimPackageResultResponse {
        let request = ProvideEimPackageResult {
            eid_value: Some(eid.to_field()),
            eim_package_result: result,
            extensions: Default::default(),
        };
        match self
            .eim
            .handle(Request::ProvideEimPackageResult(request), peer)
            .await
            .unwrap()
        {
            Response::ProvideEimPackageResult(response) => response,
            other => panic!("another function answered: {other:?}"),
        }
    }

    /// Everything about a device that an attack must leave alone.
    pub(crate) fn snapshot(&self, eid: Eid) -> String {
        let device = self.eim.device(eid).unwrap();
        let operations = self.eim.operations(eid, None, 100).unwrap();
        let states: Vec<_> = operations
            .iter()
            .map(|o| (o.id, o.state, o.counter, o.outcome.clone()))
            .collect();
        format!(
            "{device:?} {states:?} {:?}",
            self.eim.profiles(eid).unwrap()
        )
    }
}

fn open(path: &Path, config: Config, parts: Parts) -> Arc<Eim> {
    Eim::open(path, store::StoreOptions::default(), config, parts).unwrap()
}

/// An eUICC without a chip.
pub(crate) struct PaperEuicc {
    pub(crate) eid: Eid,
    pub(crate) credential: Credential,
    pub(crate) eum: pki::Certificate,
    pub(crate) ci_key_id: Vec<u8>,
    pub(crate) token: Option<i64>,
    pub(crate) seq_number: i64,
}

impl PaperEuicc {
    pub(crate) fn sign(&self, parts: &[&[u8]]) -> Signature {
        Signature(
            self.credential
                .key
                .sign_parts(parts)
                .unwrap()
                .as_bytes()
                .as_slice()
                .into(),
        )
    }

    pub(crate) fn token_object(&self) -> Vec<u8> {
        let mut writer = rsp::der::Writer::new();
        writer.value(0x84, &self.token.unwrap_or(0));
        writer.into_bytes()
    }

    pub(crate) fn certificate(&self) -> Certificate {
        Certificate::from_der_bytes(self.credential.certificate.der().to_vec()).unwrap()
    }

    pub(crate) fn eum_certificate(&self) -> Certificate {
        Certificate::from_der_bytes(self.eum.der().to_vec()).unwrap()
    }

    /// The answer to the eIM's first question.
    pub(crate) fn introduce(&self, request: &IpaEuiccDataRequest) -> EimPackageResult {
        let mut data = empty_data(request.eim_transaction_id.clone());
        let key_id = || KeyIdentifier(Octets(self.ci_key_id.clone()));
        data.euicc_info1 = Some(EuiccInfo1 {
            svn: VersionType::new(2, 5, 0),
            euicc_ci_pk_id_list_for_verification: vec![key_id()],
            euicc_ci_pk_id_list_for_signing: vec![key_id()],
            extensions: Default::default(),
        });
        data.association_token = self.token;
        data.euicc_certificate = Some(self.certificate());
        data.eum_certificate = Some(self.eum_certificate());
        EimPackageResult::IpaEuiccDataResponse(IpaEuiccDataResponse::IpaEuiccData(data))
    }

    /// Signs `results` as the outcome of `package`.
    pub(crate) fn execute(
        &mut self,
        package: &EuiccPackageRequest,
        results: Vec<EuiccResultData>,
    ) -> EimPackageResult {
        self.seq_number += 1;
        let data = self.result_data(package, results);
        self.signed_result(data)
    }

    pub(crate) fn result_data(
        &self,
        package: &EuiccPackageRequest,
        results: Vec<EuiccResultData>,
    ) -> EuiccPackageResultDataSigned {
        let signed = &package.euicc_package_signed;
        EuiccPackageResultDataSigned {
            eim_id: signed.eim_id.clone(),
            counter_value: signed.counter_value,
            eim_transaction_id: signed.eim_transaction_id.clone(),
            seq_number: self.seq_number,
            euicc_result: results,
            extensions: Default::default(),
        }
    }

    pub(crate) fn signed_result(&self, data: EuiccPackageResultDataSigned) -> EimPackageResult {
        let data = Encoded::new(data);
        let signature = self.sign(&[data.bytes(), &self.token_object()]);
        EimPackageResult::EuiccPackageResult(EuiccPackageResult::EuiccPackageResultSigned(
            EuiccPackageResultSigned {
                euicc_package_result_data_signed: data,
                euicc_sign_epr: signature,
                extensions: Default::default(),
            },
        ))
    }

    pub(crate) fn refuse(
        &self,
        package: &EuiccPackageRequest,
        code: EuiccPackageErrorCode,
    ) -> EimPackageResult {
        let signed = &package.euicc_package_signed;
        let data = Encoded::new(EuiccPackageErrorDataSigned {
            eim_id: signed.eim_id.clone(),
            counter_value: signed.counter_value,
            eim_transaction_id: signed.eim_transaction_id.clone(),
            euicc_package_error_code: code,
            extensions: Default::default(),
        });
        let signature = self.sign(&[data.bytes(), &self.token_object()]);
        EimPackageResult::EuiccPackageResult(EuiccPackageResult::EuiccPackageErrorSigned(
            EuiccPackageErrorSigned {
                euicc_package_error_data_signed: data,
                euicc_sign_epe: signature,
                extensions: Default::default(),
            },
        ))
    }

    pub(crate) fn notification(&mut self, event: usize, iccid: &str) -> OtherSignedNotification {
        self.seq_number += 1;
        let metadata = Encoded::new(self.metadata(event, iccid));
        let signature = self.sign(&[metadata.bytes()]);
        OtherSignedNotification {
            tbs_other_notification: metadata,
            euicc_notification_signature: signature,
            euicc_certificate: self.certificate(),
            eum_certificate: self.eum_certificate(),
            other_certs_in_chain: None,
            extensions: Default::default(),
        }
    }

    fn metadata(&self, event: usize, iccid: &str) -> NotificationMetadata {
        NotificationMetadata {
            seq_number: self.seq_number,
            profile_management_operation: NotificationEvent::of([event]),
            notification_address: "smdp.example.com".to_owned(),
            iccid: Some(iccid.parse().unwrap()),
            extensions: Default::default(),
        }
    }

    pub(crate) fn installation(
        &mut self,
        transaction_id: TransactionId,
        iccid: &str,
    ) -> ProfileInstallationResult {
        self.seq_number += 1;
        let data = Encoded::new(ProfileInstallationResultData {
            transaction_id,
            notification_metadata: self.metadata(NotificationEvent::INSTALL, iccid),
            smdp_oid: rsp::der::Oid::from_dotted("2.999.10").unwrap(),
            final_result: rsp::sgp22::FinalResult::SuccessResult(SuccessResult {
                aid: OctetTo16::new(&[0xA0; 16]).unwrap(),
                sima_response: Octets(vec![0x30, 0x07, 0xA0, 0x05, 0x30, 0x03, 0x80, 0x01, 0x00]),
                extensions: Default::default(),
            }),
            extensions: Default::default(),
        });
        let signature = self.sign(&[data.bytes()]);
        ProfileInstallationResult {
            profile_installation_result_data: data,
            euicc_sign_pir: signature,
            extensions: Default::default(),
        }
    }
}

pub(crate) fn empty_data(eim_transaction_id: Option<TransactionId>) -> IpaEuiccData {
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

pub(crate) fn expect_data_request(response: GetEimPackageResponse) -> IpaEuiccDataRequest {
    match response {
        GetEimPackageResponse::IpaEuiccDataRequest(request) => request,
        other => panic!("no data request: {other:?}"),
    }
}

pub(crate) fn is_nothing(response: &GetEimPackageResponse) -> bool {
    matches!(
        response,
        GetEimPackageResponse::EimPackageError(rsp::sgp32::EimPackageError::NoEimPackageAvailable)
    )
}

pub(crate) fn is_refused(response: &ProvideEimPackageResultResponse) -> bool {
    matches!(
        response,
        ProvideEimPackageResultResponse::ProvideEimPackageResultError(_)
    )
}

pub(crate) fn acknowledged(response: &ProvideEimPackageResultResponse) -> Vec<i64> {
    match response {
        ProvideEimPackageResultResponse::EimAcknowledgements(numbers) => {
            numbers.iter().map(|number| number.0).collect()
        }
        _ => Vec::new(),
    }
}
