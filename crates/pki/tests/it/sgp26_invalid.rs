//! The invalid SM-DP+ and SM-DS cases of SGP.26, issued here with the published CI key after the request files of the set
//! (variant O: Expired Certificate, Invalid Certificate Policy, Invalid Curve, Invalid Extended Key Usage, Invalid Key
//! Usage, Missing Critical Extension, Invalid Signature).

use const_oid::{AssociatedOid, ObjectIdentifier};
use hex_literal::hex;
use pki::issue::{CertificateTemplate, Issuer, SubjectAttribute};
use pki::{Certificate, ChainError, Curve, KeyUsage, Oid, PrivateKey, Role, Signer, UnixTime};
use x509_cert::ext::pkix::{ExtendedKeyUsage, KeyUsage as X509KeyUsage};

use crate::{now, rng, sgp26_anchors, sgp26_certificate, sgp26_key};

/// CI key of one curve, with everything to issue and to check.
struct Case {
    ci: Certificate,
    ci_key: PrivateKey,
    key: PrivateKey,
}

impl Case {
    fn all() -> [Self; 2] {
        [("NIST", Curve::P256), ("BRP", Curve::BrainpoolP256r1)].map(|(name, curve)| Self {
            ci: sgp26_certificate(&format!(
                "variant-o/CertificateIssuer/CERT_CI_ECDSA_{name}.der"
            )),
            ci_key: sgp26_key(&format!(
                "variant-o/CertificateIssuer/SK_CI_ECDSA_{name}.pem"
            )),
            key: PrivateKey::generate(curve, &mut rng(7)).unwrap(),
        })
    }

    fn issuer(&self) -> Issuer<'_> {
        Issuer {
            certificate: &self.ci,
            signer: &self.ci_key,
        }
    }

    fn check(&self, template: &CertificateTemplate, role: Role) -> Result<(), ChainError> {
        let certificate = template
            .issue(self.key.public_key(), self.issuer())
            .unwrap();
        sgp26_anchors()
            .verify_server(&certificate, role, now())
            .map(|_| ())
    }
}

/// SM_DPauth-csr.cnf and the like.
fn signing_template(role: Role) -> CertificateTemplate {
    let (organisation, name, last) = match role {
        Role::SmDsAuth => ("RSPTEST", "TEST SM-DS", 15),
        _ => ("ACME", "TEST SM-DP+", 10),
    };
    with_common_fields(CertificateTemplate::server(
        role,
        organisation,
        name,
        oid(last),
    ))
}

/// SM_DPtls-csr.cnf and the like.
fn tls_template(role: Role) -> CertificateTemplate {
    let (organisation, host, last) = match role {
        Role::SmDsTls => ("RSPTEST", "testrootsmds.example.com", 15),
        _ => ("ACME", "testsmdpplus1.example.com", 10),
    };
    with_common_fields(CertificateTemplate::server_tls(
        role,
        organisation,
        &[host.to_owned()],
        oid(last),
    ))
}

fn with_common_fields(mut template: CertificateTemplate) -> CertificateTemplate {
    template.crl_distribution_points = vec![
        "http://ci.test.example.com/CRL-1.crl".to_owned(),
        "http://ci.test.example.com/CRL-2.crl".to_owned(),
    ];
    let day = |year| UnixTime::from_date(year, 1, 1).unwrap();
    template
        .valid(day(2025), day(2030))
        .random_serial(&mut rng(8))
}

fn oid(last: u8) -> Oid {
    Oid::from_content(&[0x88, 0x37, last]).unwrap()
}

const TLS_ROLES: [Role; 2] = [Role::SmDpTls, Role::SmDsTls];
const SIGNING_ROLES: [Role; 3] = [Role::SmDpAuth, Role::SmDpPb, Role::SmDsAuth];

#[test]
fn unaltered_templates_verify() {
    for case in Case::all() {
        for role in SIGNING_ROLES {
            assert_eq!(case.check(&signing_template(role), role), Ok(()));
        }
        for role in TLS_ROLES {
            assert_eq!(case.check(&tls_template(role), role), Ok(()));
        }
    }
}

#[test]
fn expired_certificate() {
    let day = |year| UnixTime::from_date(year, 1, 1).unwrap();
    for case in Case::all() {
        for role in TLS_ROLES {
            let expired = tls_template(role).valid(day(2014), day(2015));
            assert_eq!(
                case.check(&expired, role),
                Err(ChainError::Expired {
                    which: role,
                    not_after: day(2015)
                })
            );
            let early = tls_template(role).valid(day(2028), day(2030));
            assert_eq!(
                case.check(&early, role),
                Err(ChainError::NotYetValid {
                    which: role,
                    not_before: day(2028)
                })
            );
        }
    }
}

#[test]
fn invalid_certificate_policy() {
    for case in Case::all() {
        for role in TLS_ROLES {
            let mut template = tls_template(role);
            template.policies = vec![Role::SmDpAuth.policy().unwrap()];
            template.policies_critical = true;
            assert_eq!(
                case.check(&template, role),
                Err(ChainError::WrongRole {
                    expected: role,
                    found: Role::SmDpAuth
                })
            );
            template.policies = vec![ObjectIdentifier::new_unwrap("2.5.29.32.0")];
            assert_eq!(
                case.check(&template, role),
                Err(ChainError::PolicyMissing { which: role })
            );
        }
    }
}

#[test]
fn invalid_curve() {
    let p192 = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.1");
    let brainpool_p192r1 = ObjectIdentifier::new_unwrap("1.3.36.3.3.2.8.1.1.3");
    let p384 = ObjectIdentifier::new_unwrap("1.3.132.0.34");
    let frp256v1 = ObjectIdentifier::new_unwrap("1.2.250.1.223.101.256.1");
    let templates = SIGNING_ROLES.map(|role| (role, signing_template(role)));
    let tls_templates = TLS_ROLES.map(|role| (role, tls_template(role)));
    for case in Case::all() {
        for (role, template) in templates.iter().chain(&tls_templates) {
            for (curve, field_octets) in [
                (p192, 24),
                (brainpool_p192r1, 24),
                (p384, 48),
                (frp256v1, 32),
            ] {
                let spki = spki_on(curve, field_octets);
                let certificate = template.issue_for_spki(&spki, case.issuer()).unwrap();
                assert_eq!(
                    sgp26_anchors().verify_server(&certificate, *role, now()),
                    Err(ChainError::UnsupportedCurve {
                        which: *role,
                        curve
                    })
                );
            }
        }
    }
}

#[test]
fn invalid_extended_key_usage() {
    for case in Case::all() {
        for role in TLS_ROLES {
            let mut template = tls_template(role);
            template.extended_key_usage.remove(0); // serverAuth; clientAuth stays
            assert_eq!(
                template.extended_key_usage,
                [ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2")]
            );
            assert_eq!(
                case.check(&template, role),
                Err(ChainError::ExtendedKeyUsage { which: role })
            );
        }
    }
}

#[test]
fn invalid_key_usage() {
    let key_agreement = KeyUsage {
        digital_signature: false,
        key_agreement: true,
        key_cert_sign: false,
        crl_sign: false,
    };
    for case in Case::all() {
        for (role, mut template) in TLS_ROLES
            .map(|role| (role, tls_template(role)))
            .into_iter()
            .chain(SIGNING_ROLES.map(|role| (role, signing_template(role))))
        {
            template.key_usage = Some(key_agreement);
            assert_eq!(
                case.check(&template, role),
                Err(ChainError::KeyUsage { which: role })
            );
        }
    }
}

#[test]
fn missing_critical_extension() {
    for case in Case::all() {
        for role in TLS_ROLES {
            let missing = |extension| {
                Err(ChainError::MissingCriticalExtension {
                    which: role,
                    extension,
                })
            };
            let mut template = tls_template(role);
            template.extended_key_usage.clear();
            assert_eq!(case.check(&template, role), missing(ExtendedKeyUsage::OID));

            let mut template = tls_template(role);
            template.extended_key_usage_critical = false;
            assert_eq!(case.check(&template, role), missing(ExtendedKeyUsage::OID));

            let mut template = tls_template(role);
            template.key_usage = None;
            assert_eq!(case.check(&template, role), missing(X509KeyUsage::OID));

            let mut template = tls_template(role);
            template.key_usage_critical = false;
            assert_eq!(case.check(&template, role), missing(X509KeyUsage::OID));
        }
    }
}

#[test]
fn invalid_signature() {
    for case in Case::all() {
        for role in SIGNING_ROLES {
            let certificate = signing_template(role)
                .issue(case.key.public_key(), case.issuer())
                .unwrap();
            let mut der = certificate.der().to_vec();
            // An octet inside the subject's common name: the certificate still parses.
            let at = der
                .windows(4)
                .rposition(|window| window == b"TEST")
                .unwrap();
            der[at] = b'R';
            let altered = Certificate::from_der(&der).unwrap();
            assert_eq!(
                sgp26_anchors().verify_server(&altered, role, now()),
                Err(ChainError::BadSignature { which: role })
            );
        }
        let forged = signing_template(Role::SmDpAuth)
            .issue(
                case.key.public_key(),
                Issuer {
                    certificate: &case.ci,
                    signer: &case.key,
                },
            )
            .unwrap();
        assert_eq!(
            sgp26_anchors().verify_server(&forged, Role::SmDpAuth, now()),
            Err(ChainError::BadSignature {
                which: Role::SmDpAuth
            })
        );
    }
}

#[test]
fn subject_without_an_identifier() {
    for case in Case::all() {
        let mut template = signing_template(Role::SmDpPb);
        template.registered_id = None;
        template.subject.push(SubjectAttribute::country("IT"));
        assert!(matches!(
            case.check(&template, Role::SmDpPb),
            Err(ChainError::MissingExtension { .. })
        ));
    }
}

/// A SubjectPublicKeyInfo on any named curve; the point is arbitrary.
pub(crate) fn spki_on(curve: ObjectIdentifier, field_octets: usize) -> Vec<u8> {
    use der::Encode;
    use x509_cert::spki::{AlgorithmIdentifier, SubjectPublicKeyInfo};

    let mut point = vec![0x5A; 1 + 2 * field_octets];
    point[0] = 0x04;
    let ec_public_key = ObjectIdentifier::from_bytes(&hex!("2A8648CE3D0201")).unwrap();
    SubjectPublicKeyInfo {
        algorithm: AlgorithmIdentifier {
            oid: ec_public_key,
            parameters: Some(curve),
        },
        subject_public_key: der::asn1::BitString::from_bytes(&point).unwrap(),
    }
    .to_der()
    .unwrap()
}
