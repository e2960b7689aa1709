//! Certificates, revocation lists, keys and signatures, and the chains that they claim to be part of.

use std::sync::LazyLock;

use pki::issue::{Credential, TestPki, TestPkiOptions, Variant, VariantPki};
use pki::{
    Certificate, ChainPolicy, Crl, Curve, PublicKey, Role, Signature, Signer, TrustAnchors,
    UnixTime,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use super::input::Input;

const EID: &str = "89049032123451234512345678901235";
const EID_PREFIX: &str = "89049032";
const STRICT: ChainPolicy = ChainPolicy {
    insecure_ignore_eum_name_constraints: false,
};

struct World {
    pki: TestPki,
    euicc: Credential,
    /// Chains with sub-CAs in every place that has one.
    set: VariantPki,
    set_euicc: Credential,
    anchors: TrustAnchors,
    /// Every certificate of both, and which key signed that.
    issued: Vec<(Certificate, Issuer)>,
}

#[derive(Clone, Copy)]
enum Issuer {
    Ci,
    Eum,
    CiSubCa,
    SetEum,
    EumSubCa,
    SmDpSubCa,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let options = TestPkiOptions::new(UnixTime::from_date(2026, 1, 1).unwrap());
    let pki = TestPki::new(&mut rng, Curve::P256, &options).unwrap();
    let euicc = pki.issue_euicc(&mut rng, EID).unwrap();
    let by_ci = [
        &pki.ci,
        &pki.eum,
        &pki.smdp_auth,
        &pki.smdp_pb,
        &pki.smdp_tls,
        &pki.smds_auth,
        &pki.eim_signing,
        &pki.eim_tls,
    ];
    let set = VariantPki::new(&mut rng, Variant::C, &pki.ci, &options).unwrap();
    let set_euicc = set.issue_euicc(&mut rng, EID).unwrap();
    let issued = by_ci
        .map(|credential| (credential.certificate.clone(), Issuer::Ci))
        .into_iter()
        .chain([
            (euicc.certificate.clone(), Issuer::Eum),
            (sub_ca(&set.ci_sub_ca), Issuer::Ci),
            (set.eum.certificate.clone(), Issuer::CiSubCa),
            (sub_ca(&set.smdp_sub_ca), Issuer::CiSubCa),
            (sub_ca(&set.eum_sub_ca), Issuer::SetEum),
            (set_euicc.certificate.clone(), Issuer::EumSubCa),
            (set.smdp_auth.certificate.clone(), Issuer::SmDpSubCa),
            (set.smdp_pb.certificate.clone(), Issuer::SmDpSubCa),
        ])
        .collect();
    World {
        anchors: pki.trust_anchors().unwrap(),
        euicc,
        set,
        set_euicc,
        issued,
        pki,
    }
});

fn sub_ca(credential: &Option<Credential>) -> Certificate {
    key_of(credential).certificate.clone()
}

fn key_of(credential: &Option<Credential>) -> &Credential {
    credential.as_ref().expect("variant C has every sub-CA")
}

/// Decodes the octets as everything, and as a certificate puts them into every place of a chain. Read as damage to a
/// good certificate they are tried as a forger would (nothing but the original may verify) and as an issuer gone bad
/// would, who signs what he likes.
pub fn x509(data: &[u8]) {
    objects(data);
    if let Ok(certificate) = Certificate::from_der(data) {
        judge(&certificate, Signed::ByNobody);
    }
    let world = &*WORLD;
    let mut input = Input::new(data);
    let choice = usize::from(input.octet()) % world.issued.len();
    let Some((original, issuer)) = world.issued.get(choice) else {
        return;
    };
    let mut der = original.der().to_vec();
    input.edit(&mut der);
    objects(&der);
    if let Ok(forged) = Certificate::from_der(&der) {
        judge(&forged, Signed::ByNobody);
    }
    let mut tbs = original.tbs().to_vec();
    input.edit(&mut tbs);
    if let Ok(certificate) = Certificate::from_der(&sign(&tbs, *issuer)) {
        judge(&certificate, Signed::ByIssuer);
    }
}

pub fn x509_seeds() -> Vec<Vec<u8>> {
    let world = &*WORLD;
    let mut seeds: Vec<Vec<u8>> = world
        .issued
        .iter()
        .map(|(certificate, _)| certificate.der().to_vec())
        .collect();
    seeds.push(world.pki.crl.der().to_vec());
    let key = world.euicc.key.public_key();
    seeds.push(key.to_spki_der());
    let signature = world.euicc.key.sign(b"message").unwrap();
    seeds.push(signature.as_bytes().to_vec());
    seeds.extend(signature.to_der());
    // Damage: which certificate, how often as a forger, how often as its issuer.
    for choice in 0..world.issued.len() as u8 {
        seeds.push(vec![
            choice, 1, 3, 0, 80, 1, 2, 3, 0, 90, 1, 5, 0, 200, 0x30,
        ]);
        seeds.push(vec![choice, 0, 3, 5, 1, 0, 0x0C, 3, 0, 60, 0, 4, 0, 30, 1]);
    }
    seeds
}

#[derive(Clone, Copy, PartialEq)]
enum Signed {
    ByNobody,
    ByIssuer,
}

fn objects(data: &[u8]) {
    if let Ok(certificate) = Certificate::from_der(data) {
        assert_eq!(certificate.der(), data);
        let _ = (
            certificate.role(),
            certificate.is_ca(),
            certificate.path_len(),
            certificate.name_constraints(),
            certificate.crl_distribution_points(),
            certificate.public_key().map(PublicKey::key_identifier),
        );
        let pem = certificate.to_pem().expect("what was read can be written");
        assert_eq!(Certificate::from_pem(&pem).expect("own PEM").der(), data);
    }
    if let Ok(crl) = Crl::from_der(data) {
        assert_eq!(crl.der(), data);
        let _ = (crl.len(), crl.revokes(&[1]), crl.next_update());
        let mut anchors = WORLD.anchors.clone();
        let is_ours = data == WORLD.pki.crl.der();
        if anchors.add_crl(crl.clone()).is_ok() && !is_ours {
            assert!(crl.is_empty(), "a forged list revokes nobody");
        }
    }
    if let Ok(key) = PublicKey::from_spki_der(data) {
        let again = PublicKey::from_spki_der(&key.to_spki_der()).expect("own encoding");
        assert_eq!(again, key);
        let point = PublicKey::from_uncompressed_point(key.curve(), key.uncompressed_point());
        assert_eq!(point.expect("own point"), key);
    }
    for signature in [Signature::from_wire(data), Signature::from_der(data)]
        .into_iter()
        .flatten()
    {
        let plain = Signature::from_wire(signature.as_bytes()).expect("own octets");
        assert_eq!(plain, signature);
        let key = WORLD.euicc.key.public_key();
        assert!(key.verify(b"another message", &signature).is_err());
    }
}

/// Puts a certificate into every place of a chain.
fn judge(certificate: &Certificate, signed: Signed) {
    let World {
        pki,
        euicc,
        anchors,
        issued,
        ..
    } = &*WORLD;
    let is_original = issued
        .iter()
        .any(|(original, _)| original.tbs() == certificate.tbs());
    let may_verify = is_original || signed == Signed::ByIssuer;
    for now in [None, UnixTime::from_date(2026, 8, 1)] {
        let as_euicc = anchors.verify_euicc_chain(certificate, &pki.eum.certificate, now, STRICT);
        if let Ok(verified) = as_euicc {
            assert!(may_verify, "a forged eUICC certificate");
            assert!(verified.eid_digits.starts_with(EID_PREFIX));
            assert_eq!(certificate.role(), Some(Role::Euicc));
        }
        let as_eum = anchors.verify_euicc_chain(&euicc.certificate, certificate, now, STRICT);
        if let Ok(verified) = as_eum {
            assert!(may_verify, "a forged EUM certificate");
            assert_eq!(verified.eid_digits, EID);
            assert_eq!(certificate.role(), Some(Role::Eum));
        }
        for role in [
            Role::SmDpAuth,
            Role::SmDpPb,
            Role::SmDpTls,
            Role::SmDsAuth,
            Role::EimSigning,
            Role::EimTls,
        ] {
            if anchors.verify_server(certificate, role, now).is_ok() {
                assert!(may_verify, "a forged server certificate");
            }
        }
    }
    judge_through_sub_cas(certificate, may_verify);
    // The same CI again is the only one of this PKI that could be added without being trusted by somebody.
    let mut anchors = TrustAnchors::new();
    if anchors.add_ci(certificate.clone()).is_ok() {
        assert_eq!(certificate.role(), Some(Role::CertificateIssuer));
    }
}

/// Puts a certificate into every place of a chain with sub-CAs, as messages have them, and among the known issuers.
fn judge_through_sub_cas(certificate: &Certificate, may_verify: bool) {
    let World {
        set,
        set_euicc,
        anchors,
        ..
    } = &*WORLD;
    let now = UnixTime::from_date(2026, 8, 1);
    let chain = [
        set_euicc.certificate.clone(),
        sub_ca(&set.eum_sub_ca),
        set.eum.certificate.clone(),
        sub_ca(&set.ci_sub_ca),
    ];
    let verify = |chain: &[Certificate]| {
        let [euicc, next, others @ ..] = chain else {
            panic!("an eUICC and its issuer");
        };
        anchors.verify_euicc_chain_in_message(euicc, next, others, now, STRICT)
    };
    for place in 0..chain.len() {
        let mut altered = chain.clone();
        altered[place] = certificate.clone();
        if let Ok(verified) = verify(&altered) {
            assert!(may_verify, "a forged certificate in place {place}");
            assert!(verified.eid_digits.starts_with(EID_PREFIX));
        }
    }
    let mut longer = chain.to_vec();
    longer.push(certificate.clone());
    assert!(
        verify(&longer).is_err(),
        "nothing is accepted beside the chain"
    );

    let mut sub_cas = set.smdp_sub_cas();
    let servers = [
        (&set.smdp_auth.certificate, Role::SmDpAuth),
        (&set.smdp_pb.certificate, Role::SmDpPb),
    ];
    for (_, role) in servers {
        if anchors
            .verify_server_through(certificate, role, &sub_cas, now)
            .is_ok()
        {
            assert!(may_verify, "a forged server certificate");
        }
    }
    for place in 0..sub_cas.len() {
        let original = std::mem::replace(&mut sub_cas[place], certificate.clone());
        for (server, role) in servers {
            if anchors
                .verify_server_through(server, role, &sub_cas, now)
                .is_ok()
            {
                assert!(may_verify, "a forged sub-CA");
            }
        }
        sub_cas[place] = original;
    }

    let mut anchors = anchors.clone();
    for issuer in [&chain[3], &chain[2], &chain[1]] {
        anchors
            .add_issuer(issuer.clone(), &[], now)
            .expect("its issuer is known");
    }
    if anchors.add_issuer(certificate.clone(), &[], now).is_ok() {
        assert!(may_verify, "a forged issuer is known");
    }
    for euicc in [&set_euicc.certificate, certificate] {
        if anchors
            .verify_euicc_chain_in_message(euicc, &chain[1], &[], now, STRICT)
            .is_ok()
        {
            assert!(may_verify || euicc.tbs() == set_euicc.certificate.tbs());
        }
    }
}

/// A certificate with this content and a good signature.
fn sign(tbs: &[u8], issuer: Issuer) -> Vec<u8> {
    const ECDSA_WITH_SHA256: [u8; 12] = [
        0x30, 0x0A, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02,
    ];
    let key = match issuer {
        Issuer::Ci => &WORLD.pki.ci.key,
        Issuer::Eum => &WORLD.pki.eum.key,
        Issuer::CiSubCa => &key_of(&WORLD.set.ci_sub_ca).key,
        Issuer::SetEum => &WORLD.set.eum.key,
        Issuer::EumSubCa => &key_of(&WORLD.set.eum_sub_ca).key,
        Issuer::SmDpSubCa => &key_of(&WORLD.set.smdp_sub_ca).key,
    };
    let signature = key.sign(tbs).unwrap().to_der().unwrap();
    let mut content = tbs.to_vec();
    content.extend(ECDSA_WITH_SHA256);
    content.extend([0x03, signature.len() as u8 + 1, 0x00]);
    content.extend(signature);
    let mut certificate = vec![0x30, 0x82];
    certificate.extend((content.len() as u16).to_be_bytes());
    certificate.extend(content);
    certificate
}
