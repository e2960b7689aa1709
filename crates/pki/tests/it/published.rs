//! Messages that others published: a test card's chain, and every signature of a download session.

use pki::{Certificate, ChainError, ChainPolicy, PublicKey, Role, Signature};
use rsp::der::{Limits, Reader, Tag};

use crate::{now, sgp26_anchors};

fn vector(path: &str) -> Vec<u8> {
    let path = format!(
        concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/data/vectors/{}.hex"
        ),
        path
    );
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    hex::decode(text.trim()).unwrap()
}

fn certificate(path: &str) -> Certificate {
    Certificate::from_der(&vector(path)).unwrap()
}

/// A sysmoEUICC1: its organisation and EID are not what the SGP.26 EUM may issue.
#[test]
fn a_real_test_card_needs_the_insecure_policy() {
    let euicc = certificate("euicc_certificate_sysmo_i2t");
    let eum = certificate("eum_certificate_sgp26");
    let anchors = sgp26_anchors();
    assert_eq!(
        anchors.verify_euicc_chain(&euicc, &eum, now(), ChainPolicy::default()),
        Err(ChainError::NameConstraintOrganisation)
    );
    let policy = ChainPolicy {
        insecure_ignore_eum_name_constraints: true,
    };
    let verified = anchors
        .verify_euicc_chain(&euicc, &eum, now(), policy)
        .unwrap();
    assert_eq!(verified.eid_digits, "89044045118427484800000000011628");
    assert_eq!(verified.eum_organisation.as_deref(), Some("RSP Test EUM"));
}

/// The members of the value that lies inside these tags, each a whole TLV.
fn members(message: &[u8], path: &[u32]) -> Vec<Vec<u8>> {
    let limits = Limits::default();
    let mut reader = Reader::new(message, &limits).unwrap();
    for tag in path {
        reader = loop {
            let tlv = reader.next().unwrap().unwrap();
            if tlv.tag() == Tag::new(*tag) {
                break tlv.open().unwrap();
            }
        };
    }
    let mut found = Vec::new();
    while let Some(tlv) = reader.next().unwrap() {
        found.push(tlv.whole().to_vec());
    }
    found
}

/// Takes `5F37 40`.
fn signature(tlv: &[u8]) -> Signature {
    assert_eq!(tlv[..3], [0x5F, 0x37, 0x40]);
    Signature::from_wire(&tlv[3..]).unwrap()
}

fn check(key: &PublicKey, parts: &[&[u8]], tlv: &[u8]) {
    let signature = signature(tlv);
    key.verify_parts(parts, &signature).unwrap();
    key.verify(&parts.concat(), &signature).unwrap();
    let (last, before) = parts.split_last().unwrap();
    let mut altered = last.to_vec();
    *altered.last_mut().unwrap() ^= 1;
    let altered = [before, &[&altered[..]]].concat();
    assert!(key.verify_parts(&altered, &signature).is_err());
}

#[test]
fn every_signature_of_a_session() {
    let file = |name: &str| vector(&format!("es9_session_synthetic/{name}"));
    let anchors = sgp26_anchors();
    let server = |der: &[u8], role| {
        let certificate = Certificate::from_der(der).unwrap();
        anchors.verify_server(&certificate, role, None).unwrap()
    };

    // transactionId, serverSigned1, serverSignature1, euiccCiPKIdToBeUsed, serverCertificate
    let initiate = members(&file("initiate_response"), &[0x30]);
    let auth = server(&initiate[4], Role::SmDpAuth);
    assert_eq!(initiate[3][2..], auth.ci_key_id);
    check(&auth.public_key, &[&initiate[1]], &initiate[2]);

    // euiccSigned1, euiccSignature1, euiccCertificate, eumCertificate
    let response = members(&file("auth_server_response"), &[0xBF38, 0xA0]);
    let [euicc, eum] = [2, 3].map(|index: usize| Certificate::from_der(&response[index]).unwrap());
    let euicc = anchors
        .verify_euicc_chain(&euicc, &eum, None, ChainPolicy::default())
        .unwrap();
    check(&euicc.public_key, &[&response[0]], &response[1]);

    // transactionId, profileMetadata, smdpSigned2, smdpSignature2, smdpCertificate
    let authenticated = members(&file("authenticate_response"), &[0xBF3B, 0xA0]);
    let binding = server(&authenticated[4], Role::SmDpPb);
    assert_eq!(binding.oid, auth.oid);
    check(
        &binding.public_key,
        &[&authenticated[2], &response[1]],
        &authenticated[3],
    );

    // euiccSigned2, euiccSignature2
    let prepared = members(&file("prepare_download_response"), &[0xBF21, 0xA0]);
    check(
        &euicc.public_key,
        &[&prepared[0], &authenticated[3]],
        &prepared[1],
    );

    // remoteOpId, transactionId, controlRefTemplate, smdpOtpk, smdpSign; the eUICC's one-time key is signed too
    let channel = members(&file("bound_profile_package"), &[0xBF36, 0xBF23]);
    let euicc_signed_2 = members(&prepared[0], &[0x30]);
    assert_eq!(euicc_signed_2[1][..3], [0x5F, 0x49, 0x41]);
    check(
        &binding.public_key,
        &[
            &channel[0],
            &channel[1],
            &channel[2],
            &channel[3],
            &euicc_signed_2[1],
        ],
        &channel[4],
    );

    // profileInstallationResultData, euiccSignPIR
    let installed = members(&file("pending_notification"), &[0xBF37]);
    check(&euicc.public_key, &[&installed[0]], &installed[1]);
}
