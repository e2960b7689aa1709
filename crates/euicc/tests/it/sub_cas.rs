//! A card whose certificate comes through sub-CAs (SGP.26 v3, variants A, B and C).

use euicc::{Card, CardError, CardIdentity, MemoryNvm, Personalisation};
use pki::issue::{TestPkiOptions, Variant, VariantPki};
use pki::{Certificate as X509, ChainPolicy, PublicKey, UnixTime};
use rsp::der::Element;
use rsp::ids::TransactionId;
use rsp::sgp22::*;
use rsp::sgp32::*;

use crate::support::*;

fn identity(variant: Variant) -> CardIdentity {
    let options = TestPkiOptions::new(UnixTime::from_date(2026, 1, 1).unwrap());
    let set = VariantPki::new(&mut rng(5), variant, &PKI.ci, &options).unwrap();
    let euicc = set.issue_euicc(&mut rng(6), EID).unwrap();
    CardIdentity {
        key: euicc.key,
        euicc_certificate: euicc.certificate,
        sub_cas: set.euicc_sub_cas(),
        eum_certificate: set.eum.certificate,
        ci_certificate: PKI.ci.certificate.clone(),
    }
}

fn of(identity: CardIdentity) -> Personalisation {
    Personalisation {
        identities: vec![identity],
        ..personalisation(vec![enabled(1)])
    }
}

fn parsed(certificate: &Certificate) -> X509 {
    X509::from_der(certificate.as_der()).unwrap()
}

/// Verifies the chain as a server does, and gives the key at its end.
fn verified(euicc: &Certificate, next: &Certificate, others: Option<&[Certificate]>) -> PublicKey {
    let others: Vec<_> = others.unwrap().iter().map(parsed).collect();
    let chain = PKI.trust_anchors().unwrap().verify_euicc_chain_in_message(
        &parsed(euicc),
        &parsed(next),
        &others,
        UnixTime::from_date(2026, 6, 1),
        ChainPolicy::default(),
    );
    let chain = chain.unwrap();
    assert_eq!(chain.eid_digits, EID);
    chain.public_key
}

fn is_signed(key: &PublicKey, octets: &[u8], signature: &Signature) -> bool {
    let signature = pki::Signature::from_wire(signature).unwrap();
    key.verify(octets, &signature).is_ok()
}

#[test]
fn the_whole_chain_goes_along_with_what_the_card_signs() {
    for variant in Variant::ALL {
        let identity = identity(variant);
        let mut bench = Bench::of(of(identity.clone()));
        bench.power_cycle();

        let challenge: GetEuiccChallengeResponse = bench.ask(&GetEuiccChallengeRequest {
            extensions: Default::default(),
        });
        let id = TransactionId::new(&[0x5A; 16]).unwrap();
        let response = smdp::authenticate(&mut bench, &id, challenge.euicc_challenge).unwrap();
        let next = parsed(&response.eum_certificate);
        assert_eq!(
            next.subject_key_identifier(),
            identity.euicc_certificate.authority_key_identifier(),
            "{variant:?}: the next certificate certifies the first"
        );
        let key = verified(
            &response.euicc_certificate,
            &response.eum_certificate,
            response.other_certs_in_chain.as_deref(),
        );
        let signed = response.euicc_signed1.bytes();
        assert!(is_signed(&key, signed, &response.euicc_signature1));

        smdp::download(&mut bench);
        bench.power_cycle();
        let RetrieveNotificationsListResponse::NotificationList(list) = bench.retrieve(None) else {
            panic!("notifications wait");
        };
        let [_, PendingNotification::OtherSignedNotification(other)] = &list[..] else {
            panic!("a result and a notification: {list:?}");
        };
        let key = verified(
            &other.euicc_certificate,
            &other.eum_certificate,
            other.other_certs_in_chain.as_deref(),
        );
        let signed = other.tbs_other_notification.bytes();
        assert!(is_signed(&key, signed, &other.euicc_notification_signature));

        // GetCerts has a place for the EUM only (SGP.32 v1.2 section 5.9.10).
        let certs: GetCertsResponse = bench.ask(&GetCertsRequest {
            euicc_ci_pk_id: None,
            extensions: Default::default(),
        });
        let GetCertsResponse::Certs(certs) = certs else {
            panic!("{certs:?}");
        };
        assert_eq!(certs.eum_certificate, wire(&identity.eum_certificate));
    }
}

#[test]
fn a_card_without_sub_cas_sends_no_chain() {
    let mut bench = Bench::new(vec![]);
    let challenge: GetEuiccChallengeResponse = bench.ask(&GetEuiccChallengeRequest {
        extensions: Default::default(),
    });
    let id = TransactionId::new(&[0x5A; 16]).unwrap();
    let response = smdp::authenticate(&mut bench, &id, challenge.euicc_challenge).unwrap();
    assert_eq!(response.eum_certificate, wire(&PKI.eum.certificate));
    assert_eq!(response.other_certs_in_chain, None);
    assert!(response.to_der().len() < 4096);
}

#[test]
fn sub_cas_that_are_not_those_of_the_chain_make_no_card() {
    let good = identity(Variant::C);
    let [eum_sub_ca, ci_sub_ca] = &good.sub_cas[..] else {
        panic!("two sub-CAs");
    };
    for sub_cas in [
        vec![eum_sub_ca.clone()],
        vec![ci_sub_ca.clone()],
        vec![
            eum_sub_ca.clone(),
            ci_sub_ca.clone(),
            good.eum_certificate.clone(),
        ],
    ] {
        let altered = CardIdentity {
            sub_cas,
            ..good.clone()
        };
        let made = Card::personalise(of(altered), MemoryNvm::new());
        assert!(matches!(made, Err(CardError::Chain(_))));
    }
}
