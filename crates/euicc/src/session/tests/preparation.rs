use rsp::sgp22::{
    CancelSessionReason, CancelSessionRequest, CancelSessionResponse, CancelSessionResponseError,
    DownloadErrorCode,
};

use super::*;

fn refusal(response: PrepareDownloadResponse) -> DownloadErrorCode {
    match response {
        PrepareDownloadResponse::DownloadResponseError(error) => {
            assert_eq!(error.transaction_id.octets(), [0x5A; 16]);
            error.download_error_code
        }
        other => panic!("{other:?}"),
    }
}

/// The answer of a card that authenticated `smdp` to a request for `binder`'s certificate.
fn answer_to(
    smdp: &Smdp,
    binder: &Smdp,
    alter: impl FnOnce(&mut PrepareDownloadRequest, &AuthenticateResponseOk),
) -> DownloadErrorCode {
    let mut card = Card::new();
    let authenticated = card.authenticated(smdp);
    let mut request = binder.prepare(&authenticated);
    alter(&mut request, &authenticated);
    let code = refusal(card.prepare(&request));
    let again = refusal(card.prepare(&smdp.prepare(&authenticated)));
    assert_eq!(
        again,
        DownloadErrorCode::NoSessionContext,
        "a refusal ends the session"
    );
    assert!(card.host.retained.is_none());
    code
}

fn cancel(
    card: &mut Card,
    transaction_id: &TransactionId,
    reason: CancelSessionReason,
) -> CancelSessionResponse {
    let request = CancelSessionRequest {
        transaction_id: transaction_id.clone(),
        reason,
        extensions: Default::default(),
    };
    card.session
        .cancel_session(&mut card.host, &request.to_der())
        .unwrap()
}

#[test]
fn a_download_is_prepared_on_both_curves() {
    for curve in CURVES {
        let mut card = Card::new();
        let smdp = Smdp::new(curve);
        let authenticated = card.authenticated(&smdp);
        let request = smdp.prepare(&authenticated);
        let response = ready(card.prepare(&request));
        let signed = &response.euicc_signed2;
        assert_eq!(signed.transaction_id, smdp.transaction_id);
        assert_eq!(signed.hash_cc, Some(HashCc([0xCC; 32])));
        assert_eq!(signed.euicc_otpk.len(), 65);
        assert_signed_by(
            &authenticated.euicc_certificate,
            &authenticated.eum_certificate,
            &[signed.bytes(), &request.smdp_signature2.to_der()],
            &response.euicc_signature2,
        );
        let kept = card.host.retained.as_ref().unwrap();
        assert_eq!(kept.smdp_oid, smdp.oid());
        let kept = EphemeralKey::from_bytes(&*kept.key).unwrap();
        assert_eq!(kept.public_point(), &**signed.euicc_otpk);
    }
}

#[test]
fn the_binding_certificate_belongs_to_the_same_server_under_the_same_ci() {
    let smdp = Smdp::new("NIST");
    let second = Smdp::named("NIST", "SM_DP2");
    assert_ne!(smdp.oid(), second.oid());
    assert_eq!(
        answer_to(&smdp, &second, |_, _| {}),
        DownloadErrorCode::InvalidCertificate,
        "other OID"
    );
    let brainpool = Smdp::new("BRP");
    assert_eq!(smdp.oid(), brainpool.oid());
    assert_eq!(
        answer_to(&smdp, &brainpool, |_, _| {}),
        DownloadErrorCode::InvalidCertificate,
        "other CI"
    );
    let wrong_role = Smdp {
        pb: smdp.auth.clone(),
        ..smdp.clone()
    };
    assert_eq!(
        answer_to(&smdp, &wrong_role, |_, _| {}),
        DownloadErrorCode::InvalidCertificate,
        "role"
    );
}

#[test]
fn the_signature_covers_the_answer_of_this_euicc() {
    let smdp = Smdp::new("NIST");
    let wrong_key = answer_to(&smdp, &smdp, |request, authenticated| {
        let signature1 = authenticated.euicc_signature1.to_der();
        request.smdp_signature2 = sign(&smdp.auth.1, &[request.smdp_signed2.bytes(), &signature1]);
    });
    assert_eq!(wrong_key, DownloadErrorCode::InvalidSignature);
    let other_answer = answer_to(&smdp, &smdp, |request, _| {
        let other = Card::new().authenticated(&smdp);
        *request = smdp.prepare(&other);
    });
    assert_eq!(other_answer, DownloadErrorCode::InvalidSignature);
    let alone = answer_to(&smdp, &smdp, |request, _| {
        request.smdp_signature2 = sign(&smdp.pb.1, &[request.smdp_signed2.bytes()]);
    });
    assert_eq!(alone, DownloadErrorCode::InvalidSignature);
}

#[test]
fn the_transaction_is_the_one_that_was_authenticated() {
    let smdp = Smdp::new("NIST");
    let other = Smdp {
        transaction_id: TransactionId::new(&[1]).unwrap(),
        ..smdp.clone()
    };
    assert_eq!(
        answer_to(&smdp, &other, |_, _| {}),
        DownloadErrorCode::InvalidTransactionId
    );
}

#[test]
fn nothing_is_prepared_before_authentication() {
    let smdp = Smdp::new("NIST");
    let authenticated = Card::new().authenticated(&smdp);
    let mut card = Card::new();
    assert_eq!(
        refusal(card.prepare(&smdp.prepare(&authenticated))),
        DownloadErrorCode::NoSessionContext
    );
    card.challenge();
    assert_eq!(
        refusal(card.prepare(&smdp.prepare(&authenticated))),
        DownloadErrorCode::NoSessionContext
    );
    assert!(
        card.session
            .prepare_download(&mut card.host, &mut card.rng, &[0xBF, 0x21, 0x00])
            .is_err()
    );
}

#[test]
fn a_retry_gets_the_key_that_its_package_is_bound_to() {
    let smdp = Smdp::new("NIST");
    let mut card = Card::new();
    let order = Order::new();
    let prepared = card.prepared(&smdp);
    let wanted = prepared.euicc_signed2.euicc_otpk.clone();
    // A power cycle: the session is gone, what the host keeps is not.
    card.session = Session::new();
    let authenticated = card.authenticated(&smdp);
    let again = ready(card.prepare(&smdp.prepare_with(&authenticated, Some(wanted.clone()))));
    assert_eq!(again.euicc_signed2.euicc_otpk, wanted);
    let bound = smdp.bind(&order, &again, card.host.eid().0);
    card.load(&bound.commands());
    assert_eq!(card.host.installed.len(), 1);

    // Used up: the same wish now gives a new key.
    card.host.existing.clear();
    let authenticated = card.authenticated(&smdp);
    let third = ready(card.prepare(&smdp.prepare_with(&authenticated, Some(wanted.clone()))));
    assert_ne!(third.euicc_signed2.euicc_otpk, wanted);
}

#[test]
fn a_retained_key_is_for_its_server_and_its_curve_only() {
    let smdp = Smdp::new("NIST");
    let kept = EphemeralKey::generate(pki::Curve::P256, &mut rng(9)).unwrap();
    let wanted = OneTimePublicKey(kept.public_point().into());
    let ask = |server: &Smdp, kept: RetainedKey| {
        let mut card = Card::new();
        card.host.retained = Some(kept);
        let authenticated = card.authenticated(server);
        let response =
            ready(card.prepare(&server.prepare_with(&authenticated, Some(wanted.clone()))));
        response.euicc_signed2.euicc_otpk.clone()
    };
    assert_eq!(ask(&smdp, retained_of(&kept, &smdp)), wanted);
    let second = Smdp::named("NIST", "SM_DP2");
    assert_ne!(
        ask(&second, retained_of(&kept, &smdp)),
        wanted,
        "another server"
    );
    assert_ne!(
        ask(&Smdp::new("BRP"), retained_of(&kept, &smdp)),
        wanted,
        "another curve"
    );
    let other = EphemeralKey::generate(pki::Curve::P256, &mut rng(10)).unwrap();
    assert_ne!(
        ask(&smdp, retained_of(&other, &smdp)),
        wanted,
        "another key"
    );
}

#[test]
fn a_session_is_cancelled_with_a_signature() {
    let smdp = Smdp::new("BRP");
    let mut card = Card::new();
    let authenticated = card.authenticated(&smdp);
    let other = TransactionId::new(&[1]).unwrap();
    let reason = CancelSessionReason::PprNotAllowed;
    assert_eq!(
        cancel(&mut card, &other, reason),
        CancelSessionResponse::CancelSessionResponseError(
            CancelSessionResponseError::InvalidTransactionId
        )
    );
    let CancelSessionResponse::CancelSessionResponseOk(response) =
        cancel(&mut card, &smdp.transaction_id, reason)
    else {
        panic!("the wrong transaction id ended the session");
    };
    let signed = &response.euicc_cancel_session_signed;
    assert_eq!(
        (&signed.transaction_id, &signed.smdp_oid, signed.reason),
        (&smdp.transaction_id, &smdp.oid(), reason)
    );
    let (euicc, eum) = (
        &authenticated.euicc_certificate,
        &authenticated.eum_certificate,
    );
    assert_signed_by(
        euicc,
        eum,
        &[signed.bytes()],
        &response.euicc_cancel_session_signature,
    );

    assert_eq!(
        refusal(card.prepare(&smdp.prepare(&authenticated))),
        DownloadErrorCode::NoSessionContext
    );
    assert_eq!(
        cancel(&mut card, &smdp.transaction_id, reason),
        CancelSessionResponse::CancelSessionResponseError(
            CancelSessionResponseError::InvalidTransactionId
        )
    );
}

#[test]
fn a_download_can_be_cancelled_while_it_is_loaded() {
    for (reason, is_kept) in [
        (CancelSessionReason::LoadBppExecutionError, false),
        (CancelSessionReason::Postponed, true),
    ] {
        let smdp = Smdp::new("NIST");
        let mut card = Card::new();
        let commands = card.bound(&smdp, &Order::new()).commands();
        for (index, command) in commands[..4].iter().enumerate() {
            assert_continues(card.session.load_bpp(&mut card.host, command), index);
        }
        let response = cancel(&mut card, &smdp.transaction_id, reason);
        assert!(
            matches!(response, CancelSessionResponse::CancelSessionResponseOk(_)),
            "{response:?}"
        );
        assert!(matches!(
            card.session.load_bpp(&mut card.host, &commands[4]),
            BppOutcome::NoSession
        ));
        assert_eq!(card.host.retained.is_some(), is_kept);
        assert!(card.host.results.is_empty() && card.host.installed.is_empty());
    }
}
