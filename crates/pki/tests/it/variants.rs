//! The chains of SGP.26 v3 with sub-CAs, issued here after the request and extension files of the set: variants O and Ov3
//! (none), A (sub-CAs of EUM and server provider), B (sub-CA of the CI) and C (both). CI, EUM and eUICC have their published
//! keys.

mod damage;
mod directories;
mod intermediates;
mod limits;
mod messages;
mod revocation;

use const_oid::ObjectIdentifier;
use pki::issue::{CertificateTemplate, Credential, Issuer, SubjectAttribute};
use pki::{
    Certificate, ChainError, ChainPolicy, Curve, KeyUsage, Oid, PrivateKey, Role, Signer,
    TrustAnchors, UnixTime, VerifiedEuicc, VerifiedServer,
};

use crate::{now, rng, sgp26_anchors, sgp26_certificate, sgp26_key};

const EID: &str = "89049032123451234512345678901235";
const STRICT: ChainPolicy = ChainPolicy {
    insecure_ignore_eum_name_constraints: false,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Variant {
    O,
    Ov3,
    A,
    B,
    C,
}

impl Variant {
    const ALL: [Self; 5] = [Self::O, Self::Ov3, Self::A, Self::B, Self::C];

    fn has_ci_sub_ca(self) -> bool {
        matches!(self, Self::B | Self::C)
    }

    fn has_sub_cas_below(self) -> bool {
        matches!(self, Self::A | Self::C)
    }
}

/// Every certificate of one variant on one curve.
struct Set {
    variant: Variant,
    ci: Credential,
    ci_sub_ca: Option<Credential>,
    eum: Credential,
    eum_sub_ca: Option<Credential>,
    euicc: Certificate,
    dp_sub_ca: Option<Credential>,
    ds_sub_ca: Option<Credential>,
    server_key: PrivateKey,
}

impl Set {
    fn new(variant: Variant, curve: Curve) -> Self {
        Self::altered(variant, curve, |_, _| {})
    }

    /// `alter` sees each template before it is issued, with the role that it is for.
    fn altered(
        variant: Variant,
        curve: Curve,
        alter: impl Fn(Role, &mut CertificateTemplate),
    ) -> Self {
        let name = file_part(curve);
        let ci = Credential {
            certificate: sgp26_certificate(&format!(
                "variant-o/CertificateIssuer/CERT_CI_ECDSA_{name}.der"
            )),
            key: sgp26_key(&format!(
                "variant-o/CertificateIssuer/SK_CI_ECDSA_{name}.pem"
            )),
        };
        let issue =
            |role, mut template: CertificateTemplate, key: PrivateKey, issuer: Issuer<'_>| {
                alter(role, &mut template);
                let certificate = template.issue(key.public_key(), issuer).unwrap();
                Credential { certificate, key }
            };
        let generated = |role: Role| PrivateKey::generate(curve, &mut rng(role as u8)).unwrap();
        let sub_ca = |role, issuer: &Credential| {
            issue(
                role,
                sub_ca_template(role),
                generated(role),
                issuer.issuer(),
            )
        };

        let ci_sub_ca = variant.has_ci_sub_ca().then(|| sub_ca(Role::CiSubCa, &ci));
        let top = ci_sub_ca.as_ref().unwrap_or(&ci);
        let eum = issue(
            Role::Eum,
            eum_template(variant),
            sgp26_key(&format!("variant-o/EUM/SK_EUM_ECDSA_{name}.pem")),
            top.issuer(),
        );
        let below = variant.has_sub_cas_below();
        let eum_sub_ca = below.then(|| sub_ca(Role::EumSubCa, &eum));
        let euicc = issue(
            Role::Euicc,
            euicc_template(variant),
            sgp26_key(&format!("variant-o/eUICC/SK_EUICC_ECDSA_{name}.pem")),
            eum_sub_ca.as_ref().unwrap_or(&eum).issuer(),
        );
        let dp_sub_ca = below.then(|| sub_ca(Role::SmDpSubCa, top));
        let ds_sub_ca = below.then(|| sub_ca(Role::SmDsSubCa, top));
        Self {
            variant,
            euicc: euicc.certificate,
            server_key: generated(Role::SmDpAuth),
            ci,
            ci_sub_ca,
            eum,
            eum_sub_ca,
            dp_sub_ca,
            ds_sub_ca,
        }
    }

    /// What issues certificates of a server role.
    fn server_issuer(&self, role: Role) -> &Credential {
        let sub_ca = match role {
            Role::SmDpAuth | Role::SmDpPb | Role::SmDpTls => self.dp_sub_ca.as_ref(),
            Role::SmDsAuth | Role::SmDsTls => self.ds_sub_ca.as_ref(),
            _ => None,
        };
        sub_ca.or(self.ci_sub_ca.as_ref()).unwrap_or(&self.ci)
    }

    fn server(&self, role: Role, template: &CertificateTemplate) -> Certificate {
        template
            .issue(
                self.server_key.public_key(),
                self.server_issuer(role).issuer(),
            )
            .unwrap()
    }

    fn euicc_intermediates(&self) -> Vec<Certificate> {
        certificates(&[&self.eum_sub_ca, &self.ci_sub_ca])
    }

    fn server_intermediates(&self, role: Role) -> Vec<Certificate> {
        match role {
            Role::SmDpAuth | Role::SmDpPb | Role::SmDpTls => {
                certificates(&[&self.dp_sub_ca, &self.ci_sub_ca])
            }
            Role::SmDsAuth | Role::SmDsTls => certificates(&[&self.ds_sub_ca, &self.ci_sub_ca]),
            _ => certificates(&[&self.ci_sub_ca]),
        }
    }

    fn verify_euicc(&self) -> Result<VerifiedEuicc, ChainError> {
        self.verify_euicc_in(&sgp26_anchors())
    }

    fn verify_euicc_in(&self, anchors: &TrustAnchors) -> Result<VerifiedEuicc, ChainError> {
        anchors.verify_euicc_chain_through(
            &self.euicc,
            &self.eum.certificate,
            &self.euicc_intermediates(),
            now(),
            STRICT,
        )
    }

    fn verify_server(
        &self,
        certificate: &Certificate,
        role: Role,
        now: Option<UnixTime>,
    ) -> Result<VerifiedServer, ChainError> {
        sgp26_anchors().verify_server_through(
            certificate,
            role,
            &self.server_intermediates(role),
            now,
        )
    }
}

/// Verifies a server of the set by the name of its files.
fn verify_server(set: &Set, name: &str) -> Result<VerifiedServer, ChainError> {
    let server = Server::named(name);
    let certificate = set.server(server.role, &server.template(set.variant));
    set.verify_server(&certificate, server.role, now())
}

/// What the file names of the set call a curve.
fn file_part(curve: Curve) -> &'static str {
    match curve {
        Curve::P256 => "NIST",
        Curve::BrainpoolP256r1 => "BRP",
    }
}

fn certificates(credentials: &[&Option<Credential>]) -> Vec<Certificate> {
    let present = credentials
        .iter()
        .filter_map(|credential| credential.as_ref());
    present
        .map(|credential| credential.certificate.clone())
        .collect()
}

fn oid(dotted: &str) -> Oid {
    Oid::from_dotted(dotted).unwrap()
}

fn day(year: u16) -> UnixTime {
    UnixTime::from_date(year, 1, 1).unwrap()
}

fn crls_at(host: &str) -> Vec<String> {
    let uri = |number| format!("http://{host}.test.example.com/CRL-{number}.crl");
    vec![uri(1), uri(2)]
}

fn finished(template: CertificateTemplate, serial: u8) -> CertificateTemplate {
    template
        .valid(day(2025), day(2040))
        .random_serial(&mut rng(serial))
}

/// `CISubCA-*.cnf`, `EUMSubCA-*.cnf`, `SM_DPSubCA-*.cnf`, `SM_DSSubCA-*.cnf`.
fn sub_ca_template(role: Role) -> CertificateTemplate {
    let under_test_ci = |template: CertificateTemplate| CertificateTemplate {
        subject: vec![
            template.subject[0].clone(),
            SubjectAttribute {
                attribute: ObjectIdentifier::new_unwrap("2.5.4.11"),
                value: "TESTCERT".to_owned(),
            },
            template.subject[1].clone(),
            SubjectAttribute::country("ES"),
        ],
        crl_distribution_points: crls_at("ci"),
        ..template
    };
    let template = match role {
        Role::CiSubCa => under_test_ci(CertificateTemplate::ci_sub_ca(
            "Test CI SubCA",
            "RSPTEST",
            oid("2.999.1"),
        )),
        Role::SmDpSubCa => under_test_ci(CertificateTemplate::server_sub_ca(
            role,
            "Test CI SM_DPSubCA",
            "RSPTEST",
            oid("2.999.221"),
        )),
        Role::SmDsSubCa => under_test_ci(CertificateTemplate::server_sub_ca(
            role,
            "Test CI SM_DSSubCA",
            "RSPTEST",
            oid("2.999.321"),
        )),
        Role::EumSubCa => {
            let mut template =
                CertificateTemplate::eum_sub_ca("RSP Test EUM", "EUM Test", oid("2.999.101"));
            template.subject.insert(0, SubjectAttribute::country("ES"));
            template.crl_distribution_points =
                vec!["http://eum.test.example.com/CRL.crl".to_owned()];
            template
        }
        other => panic!("{other} is no sub-CA"),
    };
    finished(template, 20 + role as u8)
}

fn sub_ca_under(issuer: &Credential, role: Role) -> Credential {
    let key = PrivateKey::generate(Curve::P256, &mut rng(34)).unwrap();
    let certificate = sub_ca_template(role)
        .issue(key.public_key(), issuer.issuer())
        .unwrap();
    Credential { certificate, key }
}

/// `EUM-*.cnf`.
fn eum_template(variant: Variant) -> CertificateTemplate {
    let (organisation, name, ein) = ("RSP Test EUM", "EUM Test", "89049032");
    let mut template = match variant {
        Variant::O => CertificateTemplate::eum(organisation, name, ein, oid("2.999.5")),
        _ => CertificateTemplate::eum_v3(organisation, name, &[ein], oid("2.999.101")).unwrap(),
    };
    template.subject.insert(0, SubjectAttribute::country("ES"));
    template.key_usage = Some(KeyUsage {
        digital_signature: false,
        key_agreement: false,
        key_cert_sign: true,
        crl_sign: variant.has_sub_cas_below(),
    });
    template.crl_distribution_points = crls_at("ci").split_off(1);
    finished(template, 40)
}

/// `eUICC-*.cnf`.
fn euicc_template(variant: Variant) -> CertificateTemplate {
    let template = CertificateTemplate::euicc("RSP Test EUM", EID);
    let mut template = match variant {
        Variant::O => template,
        _ => template.version_3(),
    };
    template.subject.insert(0, SubjectAttribute::country("ES"));
    template.subject[3] = SubjectAttribute::common_name("Test eUICC");
    let mut template = finished(template, 41);
    template.not_after = day(7496);
    template
}

/// A server of the set: its request and extension files are `<name>-csr.cnf` and `<name>-ext.cnf`.
struct Server {
    name: &'static str,
    role: Role,
    /// Common name of a signing certificate, host of one for TLS.
    subject: &'static str,
    oid: &'static str,
    /// Subject and OID in variant O, if they are others.
    in_variant_o: (&'static str, &'static str),
}

impl Server {
    /// The servers of one folder, which has the name of the first.
    fn of_folder(folder: &str) -> impl Iterator<Item = &'static Self> {
        let first = SERVERS.iter().find(|server| server.name == folder);
        let role = first
            .unwrap_or_else(|| panic!("no server is named {folder}"))
            .role;
        SERVERS.iter().filter(move |server| server.role == role)
    }

    fn named(name: &str) -> &'static Self {
        SERVERS.iter().find(|server| server.name == name).unwrap()
    }

    fn oid(&self, variant: Variant) -> Oid {
        oid(match variant {
            Variant::O => self.in_variant_o.1,
            _ => self.oid,
        })
    }

    fn template(&self, variant: Variant) -> CertificateTemplate {
        let subject = match variant {
            Variant::O => self.in_variant_o.0,
            _ => self.subject,
        };
        let organisation = match (variant, self.role) {
            (Variant::O, Role::SmDsTls) => "RSPTEST",
            _ => "ACME",
        };
        let oid = self.oid(variant);
        let mut template = match self.role.is_tls() {
            true => {
                CertificateTemplate::server_tls(self.role, organisation, &[subject.to_owned()], oid)
            }
            false => CertificateTemplate::server(self.role, organisation, subject, oid),
        };
        let provider = match self.role {
            Role::SmDsAuth => "smds",
            _ => "smdp",
        };
        template.crl_distribution_points = match variant.has_sub_cas_below() && !self.role.is_tls()
        {
            true => crls_at(provider),
            false => crls_at("ci"),
        };
        let template = finished(template, 60 + self.role as u8);
        match variant {
            Variant::O => template,
            _ => template.version_3(),
        }
    }
}

const SERVERS: [Server; 11] = [
    Server {
        name: "SM_DPauth",
        role: Role::SmDpAuth,
        subject: "TEST SM-DP+",
        oid: "2.999.231",
        in_variant_o: ("TEST SM-DP+", "2.999.10"),
    },
    Server {
        name: "SM_DP2auth",
        role: Role::SmDpAuth,
        subject: "TEST SM-DP+2",
        oid: "2.999.232",
        in_variant_o: ("TEST SM-DP+2", "2.999.12"),
    },
    Server {
        name: "SM_DPpb",
        role: Role::SmDpPb,
        subject: "TEST SM-DP+",
        oid: "2.999.231",
        in_variant_o: ("TEST SM-DP+", "2.999.10"),
    },
    Server {
        name: "SM_DP2pb",
        role: Role::SmDpPb,
        subject: "TEST SM-DP+2",
        oid: "2.999.232",
        in_variant_o: ("TEST SM-DP+2", "2.999.12"),
    },
    Server {
        name: "SM_DPtls",
        role: Role::SmDpTls,
        subject: "testsmdpplus1.example.com",
        oid: "2.999.251",
        in_variant_o: ("testsmdpplus1.example.com", "2.999.10"),
    },
    Server {
        name: "SM_DP2tls",
        role: Role::SmDpTls,
        subject: "testsmdpplus2.example.com",
        oid: "2.999.252",
        in_variant_o: ("testsmdpplus2.example.com", "2.999.12"),
    },
    Server {
        name: "SM_DP4tls",
        role: Role::SmDpTls,
        subject: "testsmdpplus4.example.com",
        oid: "2.999.253",
        in_variant_o: ("testsmdpplus4.example.com", "2.999.14"),
    },
    Server {
        name: "SM_DP8tls",
        role: Role::SmDpTls,
        subject: "testsmdpplus8.example.com",
        oid: "2.999.254",
        in_variant_o: ("testsmdpplus8.example.com", "2.999.18"),
    },
    Server {
        name: "SM_DSauth",
        role: Role::SmDsAuth,
        subject: "TEST SM-DS",
        oid: "2.999.331",
        in_variant_o: ("TEST SM-DS", "2.999.15"),
    },
    Server {
        name: "SM_DStls",
        role: Role::SmDsTls,
        subject: "testsmds1.example.com",
        oid: "2.999.251",
        in_variant_o: ("testrootsmds.example.com", "2.999.15"),
    },
    Server {
        name: "SM_DS2tls",
        role: Role::SmDsTls,
        subject: "testsmds2.example.com",
        oid: "2.999.252",
        in_variant_o: ("testsmds1.example.com", "2.999.15.2"),
    },
];
