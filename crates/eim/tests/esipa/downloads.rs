//! Downloads that end in a result the eUICC signed, direct and relayed.

use eim::OperationState;
use intent::command::{Command, DownloadSource, Route};
use rsp::sgp22::ProfileInfoListResponse;
use rsp::sgp32::{
    EimPackageResult, EuiccResultData, GetEimPackageResponse, ProfileDownloadError,
    ProfileDownloadTriggerRequest, ProfileDownloadTriggerResult, ProfileDownloadTriggerResultData,
};

use crate::world::{EID, PaperEuicc, World, acknowledged, is_nothing, is_refused};
use eim::Peer;

const ICCID: &str = "89000123456789012341";

/// A device that got a trigger on a proven connection.
async fn triggered(world: &World) -> (PaperEuicc, Peer, ProfileDownloadTriggerRequest, uuid::Uuid) {
    let peer = world.connect();
    let mut euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    let operation = world
        .propose(
            euicc.eid,
            vec![Command::Download {
                source: DownloadSource::activation_code("1$smdp.example.com$AB").unwrap(),
                route: Route::Direct,
                confirmation_code: None,
            }],
        )
        .await;
    let proof = world.package(euicc.eid, &peer).await;
    let list = vec![EuiccResultData::ListProfileInfoResult(
        ProfileInfoListResponse::ProfileInfoListOk(Vec::new()),
    )];
    let result = euicc.execute(&proof, list);
    world.provide(euicc.eid, result, &peer).await;
    match world.poll(euicc.eid, &peer).await {
        GetEimPackageResponse::ProfileDownloadTriggerRequest(trigger) => {
            (euicc, peer, trigger, operation.id)
        }
        other => panic!("no trigger: {other:?}"),
    }
}

fn report(
    trigger: &ProfileDownloadTriggerRequest,
    installation: rsp::sgp22::ProfileInstallationResult,
) -> EimPackageResult {
    EimPackageResult::ProfileDownloadTriggerResult(ProfileDownloadTriggerResult {
        eim_transaction_id: trigger.eim_transaction_id.clone(),
        profile_download_trigger_result_data:
            ProfileDownloadTriggerResultData::ProfileInstallationResult(installation),
        extensions: Default::default(),
    })
}

#[tokio::test]
async fn a_direct_download_ends_with_the_signed_result_even_on_another_connection() {
    let world = World::new();
    let (mut euicc, _, trigger, operation) = triggered(&world).await;
    let installation = euicc.installation("AA".parse().unwrap(), ICCID);
    let answer = world
        .provide(euicc.eid, report(&trigger, installation), &world.connect())
        .await;
    assert_eq!(acknowledged(&answer), [euicc.seq_number]);
    assert_eq!(
        world.eim.operation(operation).unwrap().state,
        OperationState::Done
    );
    let profiles = world.eim.profiles(euicc.eid).unwrap();
    assert_eq!(profiles.len(), 1);
    assert_eq!(profiles[0].iccid.to_string(), ICCID);
    assert!(!profiles[0].enabled);
    assert_eq!(
        world.eim.forward_notifications().await.unwrap(),
        0,
        "the device tells the SM-DP+ itself"
    );
}

#[tokio::test]
async fn a_forged_installation_result_is_stopped_at_verification() {
    let world = World::new();
    let (mut euicc, peer, trigger, operation) = triggered(&world).await;
    let mut installation = euicc.installation("AA".parse().unwrap(), ICCID);
    installation.euicc_sign_pir.0.0[3] ^= 1;
    let answer = world
        .provide(euicc.eid, report(&trigger, installation), &peer)
        .await;
    assert!(is_refused(&answer), "{answer:?}");
    assert_eq!(
        world.eim.operation(operation).unwrap().state,
        OperationState::InFlight
    );
}

#[tokio::test]
async fn the_result_of_an_older_download_does_not_end_this_one() {
    let world = World::new();
    let (mut euicc, peer, trigger, operation) = triggered(&world).await;
    euicc.seq_number = -1;
    let older = euicc.installation("AA".parse().unwrap(), ICCID);
    let answer = world
        .provide(euicc.eid, report(&trigger, older), &peer)
        .await;
    assert!(is_refused(&answer), "{answer:?}");
    assert_eq!(
        world.eim.operation(operation).unwrap().state,
        OperationState::InFlight
    );
}

#[tokio::test]
async fn a_device_that_never_proves_itself_ends_in_an_error_that_says_what_to_do() {
    let world = World::new();
    let peer = world.connect();
    let mut euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    let operation = world
        .propose(
            euicc.eid,
            vec![Command::Download {
                source: DownloadSource::DefaultSmdp,
                route: Route::Direct,
                confirmation_code: None,
            }],
        )
        .await;
    for _ in 0..5 {
        // Every message comes on a connection of its own.
        let proof = world.package(euicc.eid, &world.connect()).await;
        let list = vec![EuiccResultData::ListProfileInfoResult(
            ProfileInfoListResponse::ProfileInfoListOk(Vec::new()),
        )];
        let result = euicc.execute(&proof, list);
        world.provide(euicc.eid, result, &world.connect()).await;
    }
    assert!(
        is_nothing(&world.poll(euicc.eid, &world.connect()).await),
        "no proofs for ever"
    );
    world.clock.advance_ms(60_000);
    world.package(euicc.eid, &world.connect()).await;
    world.clock.advance_ms(31 * 86_400_000);
    world.poll(euicc.eid, &world.connect()).await;
    let ended = world.eim.operation(operation.id).unwrap();
    assert_eq!(ended.state, OperationState::Expired);
    assert!(
        ended
            .outcome
            .unwrap()
            .summary
            .contains("insecure_trust_any_connection")
    );
}

mod indirect {
    //! The eIM between IPA and SM-DP+.

    use super::*;
    use crate::world::EID;
    use eim::es9::ConnectorError;
    use pki::issue::{CertificateTemplate, CrlTemplate, TestPkiOptions, Variant, VariantPki};
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;
    use rsp::binding::es9plus;
    use rsp::binding::esipa::{Request, Response};
    use rsp::der::{Element, Encoded, Octets};
    use rsp::ids::TransactionId;
    use rsp::sgp22::{
        AuthenticateClientOk, AuthenticateResponseError, AuthenticateServerResponse,
        BoundProfilePackage, CcRequiredFlag, Certificate, GetBoundProfilePackageOk,
        InitiateAuthenticationOkEs9, KeyIdentifier, PrepareDownloadResponse,
        PrepareDownloadResponseError, Segment88, ServerSigned1, Signature, SmdpSigned2,
        StoreMetadataRequest,
    };
    use rsp::sgp32::{
        AuthenticateClientErrorEsipa, AuthenticateClientRequestEsipa,
        AuthenticateClientResponseEsipa, GetBoundProfilePackageErrorEsipa,
        GetBoundProfilePackageRequestEsipa, GetBoundProfilePackageResponseEsipa,
        InitiateAuthenticationErrorEsipa, InitiateAuthenticationRequestEsipa,
        InitiateAuthenticationResponseEsipa,
    };

    const TXID: &str = "0102030405060708090A0B0C0D0E0F10";

    fn signature() -> Signature {
        Signature(Octets(vec![7; 64]))
    }

    fn metadata(name: &str) -> StoreMetadataRequest {
        StoreMetadataRequest {
            iccid: ICCID.parse().unwrap(),
            service_provider_name: "Operator".to_owned(),
            profile_name: name.to_owned(),
            icon_type: None,
            icon: None,
            profile_class: None,
            notification_configuration_info: None,
            profile_owner: None,
            profile_policy_rules: None,
            service_specific_data_stored_in_euicc: None,
            service_specific_data_not_stored_in_euicc: None,
            ecall_indication: None,
            fallback_allowed: None,
            extensions: Default::default(),
        }
    }

    /// The published package with other metadata in its 88 segment.
    fn package(metadata: &StoreMetadataRequest) -> BoundProfilePackage {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/data/vectors/bpp_onomondo.hex"
        );
        let hex = std::fs::read_to_string(path).unwrap();
        let mut package = BoundProfilePackage::from_der(&hex::decode(hex.trim()).unwrap()).unwrap();
        let mut segment = metadata.to_der();
        segment.extend([0; 8]);
        package.sequence_of88 = vec![Segment88(Octets(segment))];
        package
    }

    fn wire(certificate: &pki::Certificate) -> Certificate {
        Certificate::from_der_bytes(certificate.der().to_vec()).unwrap()
    }

    /// What an SM-DP+ shows.
    struct Shown {
        auth: pki::Certificate,
        sub_cas: Option<Vec<pki::Certificate>>,
        pb: pki::Certificate,
    }

    impl Shown {
        fn of(pki: &pki::issue::TestPki) -> Self {
            Self {
                auth: pki.smdp_auth.certificate.clone(),
                sub_cas: None,
                pb: pki.smdp_pb.certificate.clone(),
            }
        }
    }

    /// Scripts an SM-DP+ that says it is `address` and delivers `delivered` after announcing "Meter".
    fn script(world: &World, address: &'static str, delivered: &'static str) {
        script_showing(world, address, delivered, &Shown::of(&world.pki));
    }

    fn script_showing(
        world: &World,
        address: &'static str,
        delivered: &'static str,
        shown: &Shown,
    ) {
        let (auth, pb) = (wire(&shown.auth), wire(&shown.pb));
        let others: Option<Vec<_>> = shown
            .sub_cas
            .as_ref()
            .map(|sub_cas| sub_cas.iter().map(wire).collect());
        *world.smdp.answers.lock().unwrap() = Some(Box::new(move |_, request| {
            let transaction_id: TransactionId = TXID.parse().unwrap();
            Ok::<_, ConnectorError>(match request {
                es9plus::Request::InitiateAuthentication(request) => {
                    es9plus::Response::InitiateAuthentication(Ok(InitiateAuthenticationOkEs9 {
                        transaction_id: transaction_id.clone(),
                        server_signed1: Encoded::new(ServerSigned1 {
                            transaction_id,
                            euicc_challenge: request.euicc_challenge,
                            server_address: address.to_owned(),
                            server_challenge: [2; 16],
                            extensions: Default::default(),
                        }),
                        server_signature1: signature(),
                        euicc_ci_pk_id_to_be_used: KeyIdentifier(Octets(vec![1; 20])),
                        server_certificate: auth.clone(),
                        other_certs_in_chain: others.clone(),
                        extensions: Default::default(),
                    }))
                }
                es9plus::Request::AuthenticateClient(_) => {
                    es9plus::Response::AuthenticateClient(Ok(AuthenticateClientOk {
                        transaction_id: transaction_id.clone(),
                        profile_meta_data: metadata("Meter"),
                        smdp_signed2: Encoded::new(SmdpSigned2 {
                            transaction_id,
                            cc_required_flag: CcRequiredFlag(true),
                            bpp_euicc_otpk: None,
                            extensions: Default::default(),
                        }),
                        smdp_signature2: signature(),
                        smdp_certificate: pb.clone(),
                        extensions: Default::default(),
                    }))
                }
                es9plus::Request::GetBoundProfilePackage(_) => {
                    es9plus::Response::GetBoundProfilePackage(Ok(GetBoundProfilePackageOk {
                        transaction_id,
                        bound_profile_package: package(&metadata(delivered)),
                        extensions: Default::default(),
                    }))
                }
                es9plus::Request::CancelSession(_) => es9plus::Response::CancelSession(Ok(())),
                es9plus::Request::HandleNotification(_) => es9plus::Response::HandleNotification,
            })
        }));
    }

    async fn triggered_for(
        world: &World,
        code: &str,
    ) -> (PaperEuicc, Peer, ProfileDownloadTriggerRequest, uuid::Uuid) {
        triggered_from(world, DownloadSource::activation_code(code).unwrap()).await
    }

    async fn triggered_from(
        world: &World,
        source: DownloadSource,
    ) -> (PaperEuicc, Peer, ProfileDownloadTriggerRequest, uuid::Uuid) {
        let peer = world.connect();
        let mut euicc = world.introduced(EID.parse().unwrap(), &peer).await;
        let command = Command::Download {
            source,
            route: Route::Indirect,
            confirmation_code: Some(intent::Sealed::Open("4321".to_owned())),
        };
        let operation = world.propose(euicc.eid, vec![command]).await;
        let proof = world.package(euicc.eid, &peer).await;
        let list = vec![EuiccResultData::ListProfileInfoResult(
            ProfileInfoListResponse::ProfileInfoListOk(Vec::new()),
        )];
        let result = euicc.execute(&proof, list);
        world.provide(euicc.eid, result, &peer).await;
        match world.poll(euicc.eid, &peer).await {
            GetEimPackageResponse::ProfileDownloadTriggerRequest(trigger) => {
                (euicc, peer, trigger, operation.id)
            }
            other => panic!("no trigger: {other:?}"),
        }
    }

    async fn initiate(
        world: &World,
        trigger: &ProfileDownloadTriggerRequest,
        address: Option<&str>,
        peer: &Peer,
    ) -> InitiateAuthenticationResponseEsipa {
        let request = InitiateAuthenticationRequestEsipa {
            euicc_challenge: [1; 16],
            smdp_address: address.map(str::to_owned),
            euicc_info1: None,
            eim_transaction_id: trigger.eim_transaction_id.clone(),
            extensions: Default::default(),
        };
        match world
            .eim
            .handle(Request::InitiateAuthentication(request), peer)
            .await
            .unwrap()
        {
            Response::InitiateAuthentication(response) => response,
            other => panic!("another function answered: {other:?}"),
        }
    }

    async fn authenticate(world: &World, peer: &Peer) -> AuthenticateClientResponseEsipa {
        let request = AuthenticateClientRequestEsipa {
            transaction_id: TXID.parse().unwrap(),
            authenticate_server_response: Encoded::new(
                AuthenticateServerResponse::AuthenticateResponseError(AuthenticateResponseError {
                    transaction_id: TXID.parse().unwrap(),
                    authenticate_error_code: rsp::sgp22::AuthenticateErrorCode::UndefinedError,
                    extensions: Default::default(),
                }),
            ),
            extensions: Default::default(),
        };
        match world
            .eim
            .handle(Request::AuthenticateClient(request), peer)
            .await
            .unwrap()
        {
            Response::AuthenticateClient(response) => response,
            other => panic!("another function answered: {other:?}"),
        }
    }

    async fn fetch(world: &World, peer: &Peer) -> GetBoundProfilePackageResponseEsipa {
        let request = GetBoundProfilePackageRequestEsipa {
            transaction_id: TXID.parse().unwrap(),
            prepare_download_response: Encoded::new(
                PrepareDownloadResponse::DownloadResponseError(PrepareDownloadResponseError {
                    transaction_id: TXID.parse().unwrap(),
                    download_error_code: rsp::sgp22::DownloadErrorCode::UndefinedError,
                    extensions: Default::default(),
                }),
            ),
            extensions: Default::default(),
        };
        match world
            .eim
            .handle(Request::GetBoundProfilePackage(request), peer)
            .await
            .unwrap()
        {
            Response::GetBoundProfilePackage(response) => response,
            other => panic!("another function answered: {other:?}"),
        }
    }

    #[tokio::test]
    async fn a_download_whose_row_is_not_what_was_released_ends_loudly() {
        let world = World::new();
        script(&world, "smdp.example.com", "Meter");
        let (_, peer, trigger, operation) = triggered_for(&world, "1$smdp.example.com$AB").await;
        // As if the address had been changed in the database after the trigger left.
        let approved = Command::Download {
            source: DownloadSource::activation_code("1$other.example.com$AB").unwrap(),
            route: Route::Indirect,
            confirmation_code: Some(intent::Sealed::Open("4321".to_owned())),
        };
        *world.authority.releases.lock().unwrap() = Some(vec![approved]);
        assert!(matches!(
            initiate(&world, &trigger, None, &peer).await,
            InitiateAuthenticationResponseEsipa::InitiateAuthenticationErrorEsipa(
                InitiateAuthenticationErrorEsipa::UndefinedError
            )
        ));
        assert!(world.smdp.calls.lock().unwrap().is_empty());
        let ended = world.eim.operation(operation).unwrap();
        assert_eq!(ended.state, OperationState::Failed);
        let summary = ended.outcome.unwrap().summary;
        assert!(summary.contains("somebody altered it"), "{summary}");
    }

    #[tokio::test]
    async fn what_both_sides_sign_is_relayed_and_the_eim_adds_what_it_knows() {
        let world = World::new();
        script(&world, "smdp.example.com", "Meter");
        let (mut euicc, peer, trigger, operation) =
            triggered_for(&world, "1$smdp.example.com$AB$2.999.10").await;
        let InitiateAuthenticationResponseEsipa::InitiateAuthenticationOkEsipa(ok) =
            initiate(&world, &trigger, None, &peer).await
        else {
            panic!("refused")
        };
        assert_eq!(ok.matching_id.as_deref(), Some("AB"));
        let AuthenticateClientResponseEsipa::AuthenticateClientOkDpEsipa(ok) =
            authenticate(&world, &peer).await
        else {
            panic!("refused")
        };
        // SHA-256( SHA-256("4321") || transactionId )
        assert_eq!(
            ok.hash_cc.map(hex::encode).as_deref(),
            Some("5a1c9e6b1a20dd9925bb698189ce5f06ed4fc65f72987e3a5ca8738f2534d5dc")
        );
        assert!(matches!(
            fetch(&world, &peer).await,
            GetBoundProfilePackageResponseEsipa::GetBoundProfilePackageOkEsipa(_)
        ));
        let installation = euicc.installation(TXID.parse().unwrap(), ICCID);
        let message = rsp::sgp32::HandleNotificationEsipa::PendingNotification(
            rsp::sgp22::PendingNotification::ProfileInstallationResult(installation),
        );
        world
            .eim
            .handle(Request::HandleNotification(message), &peer)
            .await
            .unwrap();
        assert_eq!(
            world.eim.operation(operation).unwrap().state,
            OperationState::Done
        );
        assert_eq!(world.eim.profiles(euicc.eid).unwrap()[0].name, "Meter");
        assert_eq!(
            world.eim.forward_notifications().await.unwrap(),
            1,
            "the eIM tells the SM-DP+"
        );
    }

    #[tokio::test]
    async fn a_server_that_signs_another_address_is_stopped() {
        let world = World::new();
        script(&world, "evil.example.com", "Meter");
        let (_, peer, trigger, _) = triggered_for(&world, "1$smdp.example.com$AB").await;
        assert_eq!(
            initiate(&world, &trigger, None, &peer).await,
            InitiateAuthenticationErrorEsipa::SmdpAddressMismatch.into()
        );
    }

    #[tokio::test]
    async fn a_server_with_another_oid_is_stopped() {
        let world = World::new();
        script(&world, "smdp.example.com", "Meter");
        let (_, peer, trigger, _) = triggered_for(&world, "1$smdp.example.com$AB$2.999.11").await;
        assert_eq!(
            initiate(&world, &trigger, None, &peer).await,
            InitiateAuthenticationErrorEsipa::SmdpOidMismatch.into()
        );
    }

    #[tokio::test]
    async fn an_ipa_that_asks_for_another_server_is_stopped() {
        let world = World::new();
        script(&world, "evil.example.com", "Meter");
        let (_, peer, trigger, _) = triggered_for(&world, "1$smdp.example.com$AB").await;
        assert_eq!(
            initiate(&world, &trigger, Some("evil.example.com"), &peer).await,
            InitiateAuthenticationErrorEsipa::SmdpAddressMismatch.into()
        );
        assert!(
            world.smdp.calls.lock().unwrap().is_empty(),
            "and nobody was called"
        );
    }

    #[tokio::test]
    async fn another_connection_can_neither_start_nor_continue_a_download() {
        let world = World::new();
        script(&world, "smdp.example.com", "Meter");
        let (euicc, peer, trigger, _) = triggered_for(&world, "1$smdp.example.com$AB").await;
        let stranger = world.connect();
        world.poll(euicc.eid, &stranger).await;
        assert_eq!(
            initiate(&world, &trigger, None, &stranger).await,
            InitiateAuthenticationErrorEsipa::InvalidEimTransactionId.into()
        );
        initiate(&world, &trigger, None, &peer).await;
        assert_eq!(
            authenticate(&world, &stranger).await,
            AuthenticateClientErrorEsipa::InvalidTransactionId.into()
        );
        assert_eq!(
            fetch(&world, &stranger).await,
            GetBoundProfilePackageErrorEsipa::InvalidTransactionId.into()
        );
    }

    #[tokio::test]
    async fn a_package_with_other_metadata_than_announced_is_stopped() {
        let world = World::new();
        script(&world, "smdp.example.com", "Something else");
        let (_, peer, trigger, _) = triggered_for(&world, "1$smdp.example.com$AB").await;
        initiate(&world, &trigger, None, &peer).await;
        authenticate(&world, &peer).await;
        assert_eq!(
            fetch(&world, &peer).await,
            GetBoundProfilePackageErrorEsipa::MetadataMismatch.into()
        );
    }

    #[tokio::test]
    async fn an_event_of_an_smds_leads_to_the_smdp_that_it_names() {
        let world = World::new();
        script(&world, "smds.example.com", "Meter");
        let smds = world.smdp.answers.lock().unwrap().take().unwrap();
        *world.smdp.answers.lock().unwrap() =
            Some(Box::new(move |address, request| match request {
                es9plus::Request::AuthenticateClient(_) if address == "smds.example.com" => {
                    Ok(es9plus::Response::AuthenticateClientEs11(Ok(
                        rsp::sgp22::AuthenticateClientOkEs11 {
                            transaction_id: TXID.parse().unwrap(),
                            event_entries: vec![rsp::sgp22::EventEntries {
                                event_id: "EVENT-1".to_owned(),
                                rsp_server_address: "smdp.example.com".to_owned(),
                                extensions: Default::default(),
                            }],
                            extensions: Default::default(),
                        },
                    )))
                }
                request => smds(address, request),
            }));
        let source = DownloadSource::Smds(Some("smds.example.com".to_owned()));
        let (_, peer, trigger, _) = triggered_from(&world, source).await;
        initiate(&world, &trigger, None, &peer).await;
        let AuthenticateClientResponseEsipa::AuthenticateClientOkDsEsipa(ok) =
            authenticate(&world, &peer).await
        else {
            panic!("no event")
        };
        let next = ok.profile_download_trigger.unwrap();
        assert_eq!(
            next.eim_transaction_id, trigger.eim_transaction_id,
            "it is the same operation"
        );
        assert_eq!(
            next.profile_download_data,
            Some(rsp::sgp32::ProfileDownloadData::ActivationCode(
                "1$smdp.example.com$EVENT-1".to_owned()
            ))
        );
        initiate(&world, &next, None, &peer).await;
        let calls = world.smdp.calls.lock().unwrap();
        assert_eq!(calls.last().unwrap().0, "smdp.example.com");
    }

    /// A server certificate of the world's CI with something altered.
    fn altered(
        world: &World,
        role: pki::Role,
        alter: impl FnOnce(CertificateTemplate) -> CertificateTemplate,
    ) -> pki::Certificate {
        use pki::Signer as _;
        let (pki, own) = (&world.pki, &world.pki.smdp_auth);
        let oid = own.certificate.registered_id().unwrap().clone();
        let template = CertificateTemplate::server(role, "Test", "SM-DP+", oid)
            .valid(own.certificate.not_before(), own.certificate.not_after())
            .random_serial(&mut ChaCha20Rng::seed_from_u64(4));
        alter(template)
            .issue(own.key.public_key(), pki.ci.issuer())
            .unwrap()
    }

    fn summary(world: &World, operation: uuid::Uuid) -> String {
        let operation = world.eim.operation(operation).unwrap();
        assert_eq!(operation.state, OperationState::Failed);
        operation.outcome.unwrap().summary
    }

    /// The device hears of it too, and its report changes nothing any more.
    async fn report_failure(world: &World, trigger: &ProfileDownloadTriggerRequest, peer: &Peer) {
        let result = EimPackageResult::ProfileDownloadTriggerResult(ProfileDownloadTriggerResult {
            eim_transaction_id: trigger.eim_transaction_id.clone(),
            profile_download_trigger_result_data:
                ProfileDownloadTriggerResultData::ProfileDownloadError(ProfileDownloadError {
                    profile_download_error_reason: None,
                    error_response: None,
                    extensions: Default::default(),
                }),
            extensions: Default::default(),
        });
        let answer = world.provide(EID.parse().unwrap(), result, peer).await;
        assert!(!is_refused(&answer), "{answer:?}");
    }

    #[tokio::test]
    async fn a_server_whose_certificate_is_not_good_at_this_moment_never_reaches_the_euicc() {
        use InitiateAuthenticationErrorEsipa as Code;
        use pki::Role::{SmDpAuth, SmDpPb, SmDpTls};
        let other_pki = World::new().other_pki();
        type Case<'a> = (
            &'a str,
            Box<dyn Fn(&World) -> pki::Certificate>,
            Code,
            &'a str,
        );
        let cases: [Case<'_>; 5] = [
            (
                "expired",
                Box::new(|world| {
                    altered(world, SmDpAuth, |template| {
                        template.valid(pki::UnixTime(0), pki::UnixTime(1_700_000_000))
                    })
                }),
                Code::UndefinedError,
                "SM-DP+ authentication certificate expired on 2023-11-14",
            ),
            (
                "not yet valid",
                Box::new(|world| {
                    altered(world, SmDpAuth, |template| {
                        template.valid(pki::UnixTime(4_000_000_000), pki::UnixTime(4_100_000_000))
                    })
                }),
                Code::UndefinedError,
                "SM-DP+ authentication certificate is not valid before 2096-10-02",
            ),
            (
                "profile binding",
                Box::new(|world| altered(world, SmDpPb, |template| template)),
                Code::UndefinedError,
                "its certificate is none for authentication as an SM-DP+ or SM-DS",
            ),
            (
                "TLS",
                Box::new(|world| altered(world, SmDpTls, |template| template)),
                Code::UndefinedError,
                "its certificate is none for authentication as an SM-DP+ or SM-DS",
            ),
            (
                "unknown CI",
                Box::new(move |_| other_pki.smdp_auth.certificate.clone()),
                Code::CiPKIdNotSupported,
                "is issued under a CI or sub-CA that is not trusted or not known",
            ),
        ];
        for (what, certificate, code, reason) in cases {
            let world = World::new();
            let shown = Shown {
                auth: certificate(&world),
                ..Shown::of(&world.pki)
            };
            script_showing(&world, "smdp.example.com", "Meter", &shown);
            let (_, peer, trigger, operation) =
                triggered_for(&world, "1$smdp.example.com$AB").await;
            let answer = initiate(&world, &trigger, None, &peer).await;
            assert_eq!(answer, code.into(), "{what}");
            let summary = summary(&world, operation);
            assert!(
                summary.starts_with("the server smdp.example.com is refused: ")
                    && summary.contains(reason),
                "{what}: {summary}"
            );
            report_failure(&world, &trigger, &peer).await;
            assert_eq!(self::summary(&world, operation), summary, "{what}");
            assert_eq!(
                authenticate(&world, &peer).await,
                AuthenticateClientErrorEsipa::InvalidTransactionId.into(),
                "{what}: no session began"
            );
        }
    }

    #[tokio::test]
    async fn a_revoked_server_is_stopped_where_it_shows_its_certificate() {
        for (name, at_once) in [("authentication", true), ("profile binding", false)] {
            let world = World::new();
            script(&world, "smdp.example.com", "Meter");
            let (_, peer, trigger, operation) =
                triggered_for(&world, "1$smdp.example.com$AB").await;
            let revoked = match at_once {
                true => &world.pki.smdp_auth,
                false => &world.pki.smdp_pb,
            };
            let template = CrlTemplate {
                number: 2,
                this_update: world.pki.crl.this_update(),
                next_update: world.pki.crl.next_update(),
                revoked: vec![revoked.certificate.serial_number().to_vec()],
            };
            let mut trust = world.pki.trust_anchors().unwrap();
            trust
                .add_crl(template.issue(world.pki.ci.issuer()).unwrap())
                .unwrap();
            world.eim.replace_trust(trust);

            let answer = initiate(&world, &trigger, None, &peer).await;
            if at_once {
                assert_eq!(
                    answer,
                    InitiateAuthenticationErrorEsipa::UndefinedError.into()
                );
            } else {
                let answer = authenticate(&world, &peer).await;
                assert_eq!(answer, AuthenticateClientErrorEsipa::UndefinedError.into());
            }
            let summary = summary(&world, operation);
            assert!(
                summary.contains(&format!("SM-DP+ {name} certificate is revoked")),
                "{summary}"
            );
        }
    }

    #[tokio::test]
    async fn a_server_with_an_expired_certificate_for_profile_binding_is_stopped() {
        let world = World::new();
        let pb = altered(&world, pki::Role::SmDpPb, |template| {
            template.valid(pki::UnixTime(0), pki::UnixTime(1_700_000_000))
        });
        let shown = Shown {
            pb,
            ..Shown::of(&world.pki)
        };
        script_showing(&world, "smdp.example.com", "Meter", &shown);
        let (_, peer, trigger, operation) = triggered_for(&world, "1$smdp.example.com$AB").await;
        initiate(&world, &trigger, None, &peer).await;
        assert_eq!(
            authenticate(&world, &peer).await,
            AuthenticateClientErrorEsipa::UndefinedError.into()
        );
        let summary = summary(&world, operation);
        assert!(
            summary.contains("SM-DP+ profile binding certificate expired"),
            "{summary}"
        );
    }

    #[tokio::test]
    async fn the_sub_cas_of_a_server_are_verified_and_relayed() {
        let world = World::new();
        let options = TestPkiOptions::new(world.pki.ci.certificate.not_before());
        let mut rng = ChaCha20Rng::seed_from_u64(6);
        let set = VariantPki::new(&mut rng, Variant::C, &world.pki.ci, &options).unwrap();
        let shown = |sub_cas: Option<Vec<pki::Certificate>>| Shown {
            auth: set.smdp_auth.certificate.clone(),
            sub_cas,
            pb: set.smdp_pb.certificate.clone(),
        };
        script_showing(
            &world,
            "smdp.example.com",
            "Meter",
            &shown(Some(set.smdp_sub_cas())),
        );
        let (_, peer, trigger, _) = triggered_for(&world, "1$smdp.example.com$AB").await;
        let InitiateAuthenticationResponseEsipa::InitiateAuthenticationOkEsipa(ok) =
            initiate(&world, &trigger, None, &peer).await
        else {
            panic!("refused")
        };
        let relayed: Vec<_> = set.smdp_sub_cas().iter().map(wire).collect();
        assert_eq!(ok.other_certs_in_chain, Some(relayed));
        assert!(matches!(
            authenticate(&world, &peer).await,
            AuthenticateClientResponseEsipa::AuthenticateClientOkDpEsipa(_)
        ));

        for sub_cas in [None, Some(vec![set.eum.certificate.clone(); 4])] {
            let world = World::new();
            script_showing(&world, "smdp.example.com", "Meter", &shown(sub_cas));
            let (_, peer, trigger, operation) =
                triggered_for(&world, "1$smdp.example.com$AB").await;
            let answer = initiate(&world, &trigger, None, &peer).await;
            assert!(!matches!(
                answer,
                InitiateAuthenticationResponseEsipa::InitiateAuthenticationOkEsipa(_)
            ));
            summary(&world, operation);
        }
    }
}
