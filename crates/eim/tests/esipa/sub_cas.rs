//! eUICCs whose certificates come through sub-CAs (SGP.26 v3, variants A, B and C).

use eim::{OperationState, Peer};
use intent::command::Command;
use pki::issue::{TestPkiOptions, Variant, VariantPki};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use rsp::binding::esipa::Request;
use rsp::sgp22::{
    Certificate, NotificationEvent, OtherSignedNotification, PendingNotification,
    ProfileInfoListResponse,
};
use rsp::sgp32::{EuiccResultData, HandleNotificationEsipa};

use crate::world::{EID, PaperEuicc, World, expect_data_request, is_refused};

const ICCID: &str = "89000123456789012341";

fn variant(world: &World, variant: Variant) -> VariantPki {
    let options = TestPkiOptions::new(world.pki.ci.certificate.not_before());
    let mut rng = ChaCha20Rng::seed_from_u64(8);
    VariantPki::new(&mut rng, variant, &world.pki.ci, &options).unwrap()
}

/// A registered device with an eUICC of the variant.
async fn device(world: &World, set: &VariantPki) -> PaperEuicc {
    let eid = EID.parse().unwrap();
    let mut rng = ChaCha20Rng::seed_from_u64(9);
    let euicc = PaperEuicc {
        credential: set.issue_euicc(&mut rng, EID).unwrap(),
        eum: set.eum.certificate.clone(),
        ..world.euicc(eid)
    };
    world.register(eid).await;
    world.know_token(eid, euicc.token).await;
    euicc
}

fn make_known(world: &World, set: &VariantPki) {
    let mut trust = world.pki.trust_anchors().unwrap();
    let issuers = [&set.ci_sub_ca, &Some(set.eum.clone()), &set.eum_sub_ca];
    for issuer in issuers.into_iter().flatten() {
        let certificate = issuer.certificate.clone();
        trust.add_issuer(certificate, &[], None).unwrap();
    }
    world.eim.replace_trust(trust);
}

fn wire(certificate: &pki::Certificate) -> Certificate {
    Certificate::from_der_bytes(certificate.der().to_vec()).unwrap()
}

/// In the form of SGP.22 v3.
fn with_chain(notification: OtherSignedNotification, set: &VariantPki) -> OtherSignedNotification {
    // From the eUICC upwards: the EUM's sub-CA, the EUM, the CI's sub-CA.
    let above = [&set.eum_sub_ca, &Some(set.eum.clone()), &set.ci_sub_ca];
    let mut above = above.into_iter().flatten().map(|it| wire(&it.certificate));
    OtherSignedNotification {
        eum_certificate: above.next().unwrap(),
        other_certs_in_chain: Some(above.collect()),
        ..notification
    }
}

async fn notify(world: &World, notification: OtherSignedNotification, peer: &Peer) -> bool {
    let message = HandleNotificationEsipa::PendingNotification(
        PendingNotification::OtherSignedNotification(notification),
    );
    let request = Request::HandleNotification(message);
    world.eim.handle(request, peer).await.is_ok()
}

#[tokio::test]
async fn results_are_believed_when_the_issuers_are_known() {
    for which in Variant::ALL {
        let world = World::new();
        let set = variant(&world, which);
        let mut euicc = device(&world, &set).await;
        let peer = world.connect();

        // ESipa has a place for the EUM only, so the rest of the chain has to be known.
        let question = expect_data_request(world.poll(euicc.eid, &peer).await);
        let answer = world
            .provide(euicc.eid, euicc.introduce(&question), &peer)
            .await;
        assert!(is_refused(&answer), "{which:?}: {answer:?}");
        assert!(
            world
                .eim
                .device(euicc.eid)
                .unwrap()
                .euicc_certificate
                .is_none()
        );

        make_known(&world, &set);
        let peer = world.connect();
        let question = expect_data_request(world.poll(euicc.eid, &peer).await);
        let answer = world
            .provide(euicc.eid, euicc.introduce(&question), &peer)
            .await;
        assert!(!is_refused(&answer), "{which:?}: {answer:?}");
        let operation = world.propose(euicc.eid, vec![Command::ListProfiles]).await;
        let package = world.package(euicc.eid, &peer).await;
        let list = vec![EuiccResultData::ListProfileInfoResult(
            ProfileInfoListResponse::ProfileInfoListOk(Vec::new()),
        )];
        let result = euicc.execute(&package, list);
        world.provide(euicc.eid, result, &peer).await;
        let state = world.eim.operation(operation.id).unwrap().state;
        assert_eq!(state, OperationState::Done, "{which:?}");
    }
}

#[tokio::test]
async fn a_notification_brings_its_chain_along() {
    for which in Variant::ALL {
        let world = World::new();
        let set = variant(&world, which);
        let mut euicc = device(&world, &set).await;
        let peer = world.connect();
        let incomplete = euicc.notification(NotificationEvent::ENABLE, ICCID);
        assert!(
            !notify(&world, incomplete.clone(), &peer).await,
            "{which:?}"
        );
        let mut forged = with_chain(incomplete.clone(), &set);
        forged.euicc_notification_signature.0.0[5] ^= 1;
        assert!(!notify(&world, forged, &peer).await, "{which:?}");
        let mut longer = with_chain(incomplete.clone(), &set);
        let stranger = wire(&world.pki.eum.certificate);
        longer.other_certs_in_chain.as_mut().unwrap().push(stranger);
        assert!(!notify(&world, longer, &peer).await, "{which:?}");
        assert!(world.eim.notifications(euicc.eid, 10).unwrap().is_empty());

        assert!(
            notify(&world, with_chain(incomplete, &set), &peer).await,
            "{which:?}"
        );
        assert_eq!(world.eim.notifications(euicc.eid, 10).unwrap().len(), 1);
    }
}
