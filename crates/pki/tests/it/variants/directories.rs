//! Every folder of the SGP.26 v3 set that holds certificates, valid and invalid. `directories.txt` names them; a folder that
//! is not known here fails the test.

use std::collections::BTreeMap;

use const_oid::{AssociatedOid, ObjectIdentifier};
use pki::issue::CertificateTemplate;
use pki::{Certificate, ChainError, Curve, KeyUsage, Role, Signer, TrustAnchors, UnixTime};
use x509_cert::ext::pkix::ExtendedKeyUsage;

use super::{Server, Set, Variant, day, oid};
use crate::sgp26_invalid::spki_on;
use crate::{now, sgp26, sgp26_anchors};

#[test]
fn every_valid_folder_verifies() {
    let sets = Sets::new();
    let mut folders = 0;
    for path in folders_under("Valid Test Cases") {
        for curve in Curve::ALL {
            check_valid(&path, curve, &sets);
        }
        folders += 1;
    }
    assert_eq!(folders, 51);
}

#[test]
fn every_invalid_folder_is_refused_for_its_own_reason() {
    let sets = Sets::new();
    let mut folders = 0;
    for path in folders_under("Invalid Test Cases") {
        for curve in Curve::ALL {
            check_invalid(&path, curve, &sets);
        }
        folders += 1;
    }
    assert_eq!(folders, 128);
}

/// Sets of every variant and curve.
struct Sets(BTreeMap<(Variant, &'static str), Set>);

impl Sets {
    fn new() -> Self {
        let keys = Variant::ALL
            .into_iter()
            .flat_map(|variant| Curve::ALL.map(|curve| (variant, curve)));
        Self(
            keys.map(|(variant, curve)| {
                let key = (variant, super::file_part(curve));
                (key, Set::new(variant, curve))
            })
            .collect(),
        )
    }

    fn get(&self, variant: Variant, curve: Curve) -> &Set {
        &self.0[&(variant, super::file_part(curve))]
    }
}

fn folders_under(top: &str) -> Vec<Vec<String>> {
    let text = String::from_utf8(sgp26("directories.txt")).unwrap();
    let split = |line: &str| line.split('/').map(str::to_owned).collect::<Vec<_>>();
    text.lines()
        .map(split)
        .filter(|path| path[0] == top)
        .collect()
}

/// Takes "Variant A" and the like out of a path, wherever it stands. The folders that A, B and C share are checked with C.
fn variant_of(path: &[String]) -> Variant {
    let name = path
        .iter()
        .rev()
        .find_map(|part| part.strip_prefix("Variant"))
        .unwrap();
    match name.trim() {
        "O" => Variant::O,
        "Ov3" => Variant::Ov3,
        "A" => Variant::A,
        "B" => Variant::B,
        "C" | "s A_B_C" => Variant::C,
        other => panic!("variant {other}"),
    }
}

fn check_valid(path: &[String], curve: Curve, sets: &Sets) {
    let label = path.join("/");
    let set = sets.get(variant_of(path), curve);
    let (folder, expired) = match path.last().unwrap().as_str() {
        OLD => (path[path.len() - 2].as_str(), true),
        folder => (folder, false),
    };
    let in_chain: Option<&Certificate> = match folder {
        "CI" => {
            let ci = set.ci.certificate.clone();
            return TrustAnchors::new()
                .add_ci(ci)
                .unwrap_or_else(|error| panic!("{label}: {error}"));
        }
        "eUICC" | "EUICC" => Some(&set.euicc),
        "EUM" => Some(&set.eum.certificate),
        "EUM_SUB_CA" => set.eum_sub_ca.as_ref().map(|ca| &ca.certificate),
        "CI_subCA" => set.ci_sub_ca.as_ref().map(|ca| &ca.certificate),
        "EIM" => return check_eim(&label, set, Role::EimSigning, expired),
        "EIM_tls-dptls" => return check_eim(&label, set, Role::EimTls, expired),
        "SM_DPSubCA" => return check_servers(&label, set, "SM_DPauth", false),
        "SM_DSSubCA" => return check_servers(&label, set, "SM_DSauth", false),
        folder => return check_servers(&label, set, folder, expired),
    };
    assert!(in_chain.is_some(), "{label}");
    let verified = set
        .verify_euicc()
        .unwrap_or_else(|error| panic!("{label}: {error}"));
    assert_eq!(verified.eid_digits, super::EID, "{label}");
    assert_eq!(
        Some(&verified.ci_key_id[..]),
        set.ci.certificate.subject_key_identifier(),
        "{label}"
    );
}

fn check_servers(label: &str, set: &Set, folder: &str, expired: bool) {
    for server in Server::of_folder(folder) {
        let label = format!("{label}, {} on {}", server.name, set.curve());
        let template = validity(server.template(set.variant), expired);
        let certificate = set.server(server.role, &template);
        assert_eq!(certificate.role(), Some(server.role), "{label}");
        let verified = verified_unless(expired, set, &certificate, server.role, &label);
        assert_eq!(verified.oid, Some(server.oid(set.variant)), "{label}");
        assert_eq!(
            &verified.public_key,
            certificate.public_key().unwrap(),
            "{label}"
        );
        assert_eq!(
            Some(&verified.ci_key_id[..]),
            set.ci.certificate.subject_key_identifier(),
            "{label}"
        );
    }
}

fn check_eim(label: &str, set: &Set, role: Role, expired: bool) {
    let hosts = ["eim.example.com".to_owned()];
    let template = match role {
        Role::EimSigning => CertificateTemplate::eim_signing("DE", "eim.example.com"),
        _ => CertificateTemplate::eim_tls("DE", &hosts, Some(oid("2.999.20"))),
    };
    let template = validity(super::finished(template, 90), expired);
    let certificate = set.server(role, &template);
    let verified = verified_unless(expired, set, &certificate, role, label);
    assert_eq!(
        verified.common_name.as_deref(),
        Some("eim.example.com"),
        "{label}"
    );
}

/// The certificates in the folders of old ones are good but for their time.
fn verified_unless(
    expired: bool,
    set: &Set,
    certificate: &Certificate,
    role: Role,
    label: &str,
) -> pki::VerifiedServer {
    let with_clock = set.verify_server(certificate, role, now());
    if !expired {
        return with_clock.unwrap_or_else(|error| panic!("{label}: {error}"));
    }
    assert_eq!(with_clock, Err(expired_error(role, old_end())), "{label}");
    set.verify_server(certificate, role, None)
        .unwrap_or_else(|error| panic!("{label}: {error}"))
}

fn check_invalid(path: &[String], curve: Curve, sets: &Sets) {
    let label = path.join("/");
    let [_, _, _, folder, case, old @ ..] = path else {
        panic!("{label}");
    };
    let is_old = matches!(old, [name] if name == OLD);
    let set = sets.get(variant_of(path), curve);
    let server = Server::named(folder);
    let role = server.role;
    let template = validity(server.template(set.variant), is_old);
    let issued = |template: &CertificateTemplate| set.server(role, template);

    let (certificates, expected) = match case.to_lowercase().as_str() {
        "expired certificate" => (
            vec![issued(&template.valid(day(2014), day(2015)))],
            expired_error(role, day(2015)),
        ),
        "invalid certificate policy" => {
            let found = match (set.variant, role) {
                (Variant::O, _) | (_, Role::SmDpTls) => Role::SmDpAuth,
                _ => Role::SmDsAuth,
            };
            let policy = match set.variant {
                Variant::O => found.policy(),
                _ => found.policy_v3(),
            };
            let template = CertificateTemplate {
                policies: policy.into_iter().collect(),
                policies_critical: true,
                ..template
            };
            let expected = ChainError::WrongRole {
                expected: role,
                found,
            };
            (vec![issued(&template)], expected)
        }
        "invalid curve" => {
            for (curve, field_octets) in foreign_curves(role) {
                let certificate = template
                    .issue_for_spki(
                        &spki_on(curve, field_octets),
                        set.server_issuer(role).issuer(),
                    )
                    .unwrap();
                let expected = ChainError::UnsupportedCurve { which: role, curve };
                refused(&label, set, &certificate, role, is_old, &expected);
            }
            return;
        }
        "invalid extended key usage" => {
            let mut template = template;
            template
                .extended_key_usage
                .retain(|purpose| *purpose == CLIENT_AUTH);
            (
                vec![issued(&template)],
                ChainError::ExtendedKeyUsage { which: role },
            )
        }
        "invalid key usage" => {
            let template = CertificateTemplate {
                key_usage: Some(KeyUsage {
                    digital_signature: false,
                    key_agreement: true,
                    key_cert_sign: false,
                    crl_sign: false,
                }),
                ..template
            };
            (
                vec![issued(&template)],
                ChainError::KeyUsage { which: role },
            )
        }
        "invalid signature" => {
            let mut der = issued(&template).der().to_vec();
            *der.last_mut().unwrap() ^= 1;
            let altered = Certificate::from_der(&der).unwrap();
            let other_key = template
                .issue(
                    set.server_key.public_key(),
                    pki::issue::Issuer {
                        certificate: &set.server_issuer(role).certificate,
                        signer: &set.server_key,
                    },
                )
                .unwrap();
            (
                vec![altered, other_key],
                ChainError::BadSignature { which: role },
            )
        }
        "missing critical extension" => {
            let template = CertificateTemplate {
                extended_key_usage: Vec::new(),
                ..template
            };
            let expected = ChainError::MissingCriticalExtension {
                which: role,
                extension: ExtendedKeyUsage::OID,
            };
            (vec![issued(&template)], expected)
        }
        other => panic!("{label}: {other}"),
    };
    for certificate in certificates {
        refused(&label, set, &certificate, role, is_old, &expected);
    }
}

/// An old certificate is refused for its own reason where there is no clock, and where there is one for its time, unless
/// its signature is the reason: nothing in it counts before that.
fn refused(
    label: &str,
    set: &Set,
    certificate: &Certificate,
    role: Role,
    is_old: bool,
    expected: &ChainError,
) {
    let label = format!("{label} on {}", set.curve());
    let with_clock = set.verify_server(certificate, role, now());
    if !is_old {
        assert_eq!(with_clock.as_ref(), Err(expected), "{label}");
        return;
    }
    let without_clock = set.verify_server(certificate, role, None);
    assert_eq!(without_clock.as_ref(), Err(expected), "{label}");
    let expected = match expected {
        ChainError::BadSignature { .. } => expected.clone(),
        _ => expired_error(role, old_end()),
    };
    assert_eq!(with_clock, Err(expected), "{label}");
}

#[test]
fn without_its_sub_cas_a_certificate_is_under_an_unknown_ci() {
    // Whatever else is wrong with it: nothing in it counts before it leads to a CI.
    let set = Set::new(Variant::C, Curve::P256);
    let mut template = Server::named("SM_DPtls").template(Variant::C);
    template.extended_key_usage.clear();
    let certificate = set.server(Role::SmDpTls, &template);
    let which = Role::SmDpTls;
    assert_eq!(
        sgp26_anchors().verify_server(&certificate, which, now()),
        Err(ChainError::UnknownCi { which })
    );
}

impl Set {
    fn curve(&self) -> Curve {
        self.ci.certificate.public_key().unwrap().curve()
    }
}

fn validity(template: CertificateTemplate, is_old: bool) -> CertificateTemplate {
    match is_old {
        true => template.valid(UnixTime::from_date(2024, 7, 9).unwrap(), old_end()),
        false => template,
    }
}

fn expired_error(which: Role, not_after: UnixTime) -> ChainError {
    ChainError::Expired { which, not_after }
}

fn old_end() -> UnixTime {
    UnixTime::from_date(2025, 8, 11).unwrap()
}

/// What the set takes for its "Invalid Curve": 192-bit curves to sign with, P-384 for TLS; with the size of a coordinate.
fn foreign_curves(role: Role) -> Vec<(ObjectIdentifier, usize)> {
    let curve = ObjectIdentifier::new_unwrap;
    match role.is_tls() {
        true => vec![(curve("1.3.132.0.34"), 48)],
        false => vec![
            (curve("1.2.840.10045.3.1.1"), 24),
            (curve("1.3.36.3.3.2.8.1.1.3"), 24),
        ],
    }
}

/// The folder of certificates that ended in 2025, in the folder of their successors.
const OLD: &str = "old_TLS_Expired_2025";

/// id-kp-clientAuth.
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
