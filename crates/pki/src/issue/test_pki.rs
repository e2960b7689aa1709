//! A whole private PKI.

mod variants;

pub use variants::{Variant, VariantPki};

use core::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rand_core::CryptoRng;
use rsp::der::Oid;
use zeroize::Zeroizing;

use super::IssueError;
use super::crl_template::CrlTemplate;
use super::template::{CertificateTemplate, Issuer};
use crate::certificate::{Certificate, CertificateError, Role};
use crate::chain::{AnchorError, TrustAnchors};
use crate::crl::{Crl, CrlError};
use crate::curve::Curve;
use crate::key_store::{KeyStoreError, read_private_file};
use crate::private_file::{create_file, create_private_file};
use crate::private_key::{PrivateKey, Signer};
use crate::public_key::KeyError;
use crate::time::UnixTime;

/// What a test PKI is for. [`TestPkiOptions::new`] fills in values like those of SGP.26.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestPkiOptions {
    /// Start of every validity.
    pub not_before: UnixTime,
    /// Validity of the server, eIM and client certificates in days. CI, EUM and eUICC certificates last 30 years more.
    pub leaf_days: i64,
    /// Organisation of CI and servers.
    pub organisation: String,
    /// Organisation of EUM and eUICCs.
    pub eum_organisation: String,
    /// First digits of every EID.
    pub eid_prefix: String,
    /// eimId: common name of the eIM signing certificate.
    pub eim_id: String,
    /// Host names or IP addresses of the eIM; the first is the common name of its TLS certificate.
    pub eim_hosts: Vec<String>,
    /// Host names or IP addresses of the SM-DP+.
    pub smdp_hosts: Vec<String>,
    /// Host names or IP addresses of the SM-DS.
    pub smds_hosts: Vec<String>,
    /// OID of the SM-DP+, the same in its three certificates.
    pub smdp_oid: Oid,
    /// OID of the SM-DS.
    pub smds_oid: Oid,
    /// Name of the operator that calls ES2+.
    pub operator: String,
    /// Where the CRL will be, for cRLDistributionPoints; none if absent.
    pub crl_uri: Option<String>,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The certificate.
    pub certificate: Certificate,
    /// The key.
    pub key: PrivateKey,
}

/// A test PKI: one CI and what it issued.
#[derive(Clone, Debug)]
pub struct TestPki {
    /// The trust anchor of the eSIM world.
    pub ci: Credential,
    /// Issues the TLS certificates. The same as `ci` for P-256. For brainpoolP256r1 it is a P-256 CI of its own, because
    /// rustls has no brainpool.
    pub tls_ca: Credential,
    /// The eUICC manufacturer.
    pub eum: Credential,
    /// SM-DP+ authentication.
    pub smdp_auth: Credential,
    /// SM-DP+ profile binding.
    pub smdp_pb: Credential,
    /// SM-DP+ TLS, P-256.
    pub smdp_tls: Credential,
    /// SM-DS authentication.
    pub smds_auth: Credential,
    /// SM-DS TLS, P-256.
    pub smds_tls: Credential,
    /// eIM signing.
    pub eim_signing: Credential,
    /// eIM TLS, P-256.
    pub eim_tls: Credential,
    /// Operator's client on ES2+, P-256.
    pub es2_client: Credential,
    /// An empty CRL of the CI.
    pub crl: Crl,
}

/// One thing of a PKI with its name, for files. The key is not printed.
#[derive(Clone)]
pub struct PkiItem {
    /// `ci`, `tls-ca`, `eum`, `smdp-auth`, `smdp-pb`, `smdp-tls`, `smds-auth`, `smds-tls`, `eim-signing`, `eim-tls`,
    /// `es2-client`.
    pub name: &'static str,
    /// DER certificate.
    pub certificate_der: Vec<u8>,
    /// PKCS#8 PEM key.
    pub key_pem: Zeroizing<String>,
}

impl fmt::Debug for PkiItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PkiItem")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A test PKI could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PkiFileError {
    /// The file system failed; also when a file to be written exists already.
    #[error("cannot access {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A certificate file does not hold a certificate.
    #[error("{} holds no usable certificate", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: CertificateError,
    },
    /// A key file cannot be read or is readable by others.
    #[error("key file cannot be read")]
    KeyFile(#[source] KeyStoreError),
    /// A key file does not hold a key, or not the one of the certificate beside it.
    #[error("{} holds no usable key", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// The CRL file does not hold a CRL.
    #[error("{} holds no usable CRL", path.display())]
    Crl {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: CrlError,
    },
}

impl TestPkiOptions {
    /// Values like those of SGP.26: EUM prefix 89049032, OIDs under 2.999, hosts under example.com.
    pub fn new(not_before: UnixTime) -> Self {
        Self {
            not_before,
            leaf_days: 825,
            organisation: "Palisade Test".to_owned(),
            eum_organisation: "Palisade Test EUM".to_owned(),
            eid_prefix: "89049032".to_owned(),
            eim_id: "eim.example.com".to_owned(),
            eim_hosts: vec!["eim.example.com".to_owned()],
            smdp_hosts: vec!["smdp.example.com".to_owned()],
            smds_hosts: vec!["smds.example.com".to_owned()],
            smdp_oid: example_oid(10),
            smds_oid: example_oid(15),
            operator: "Palisade Test Operator".to_owned(),
            crl_uri: None,
        }
    }
}

impl TestPki {
    /// Makes everything anew. `curve` is that of the eSIM keys and of the eIM signing key; TLS keys are always P-256.
    pub fn new<R: CryptoRng + ?Sized>(
        rng: &mut R,
        curve: Curve,
        options: &TestPkiOptions,
    ) -> Result<Self, IssueError> {
        let mut maker = Maker { rng, options };
        let ci = maker.ci("Palisade Test CI", curve)?;
        let tls_ca = match curve {
            Curve::P256 => ci.clone(),
            Curve::BrainpoolP256r1 => maker.ci("Palisade Test TLS CA", Curve::P256)?,
        };
        let organisation = options.organisation.as_str();
        let server = |role, name| match role {
            Role::SmDsAuth => {
                CertificateTemplate::server(role, organisation, name, options.smds_oid.clone())
            }
            _ => CertificateTemplate::server(role, organisation, name, options.smdp_oid.clone()),
        };
        let eum = CertificateTemplate::eum(
            &options.eum_organisation,
            "EUM",
            &options.eid_prefix,
            example_oid(5),
        );
        let smdp_tls = CertificateTemplate::server_tls(
            Role::SmDpTls,
            organisation,
            &options.smdp_hosts,
            options.smdp_oid.clone(),
        );
        let smds_tls = CertificateTemplate::server_tls(
            Role::SmDsTls,
            organisation,
            &options.smds_hosts,
            options.smds_oid.clone(),
        );
        Ok(Self {
            eum: maker.long_lived(eum, curve, &ci)?,
            smdp_auth: maker.leaf(server(Role::SmDpAuth, "SM-DP+"), curve, &ci)?,
            smdp_pb: maker.leaf(server(Role::SmDpPb, "SM-DP+"), curve, &ci)?,
            smdp_tls: maker.leaf(smdp_tls, Curve::P256, &tls_ca)?,
            smds_auth: maker.leaf(server(Role::SmDsAuth, "SM-DS"), curve, &ci)?,
            smds_tls: maker.leaf(smds_tls, Curve::P256, &tls_ca)?,
            eim_signing: maker.leaf(
                CertificateTemplate::eim_signing("DE", &options.eim_id),
                curve,
                &ci,
            )?,
            eim_tls: maker.leaf(
                CertificateTemplate::eim_tls("DE", &options.eim_hosts, Some(example_oid(20))),
                Curve::P256,
                &tls_ca,
            )?,
            es2_client: maker.leaf(
                CertificateTemplate::tls_client(organisation, &options.operator),
                Curve::P256,
                &tls_ca,
            )?,
            crl: CrlTemplate {
                number: 1,
                this_update: options.not_before,
                next_update: Some(options.not_before.plus_days(options.leaf_days)),
                revoked: Vec::new(),
            }
            .issue(ci.issuer())?,
            tls_ca,
            ci,
        })
    }

    /// Makes an eUICC with a key on the curve of this PKI. `eid` are 32 digits; nothing stops it from violating the EUM's
    /// constraint.
    pub fn issue_euicc<R: CryptoRng + ?Sized>(
        &self,
        rng: &mut R,
        eid: &str,
    ) -> Result<Credential, IssueError> {
        issue_euicc(rng, &self.eum, eid, |template| template)
    }

    /// Trust anchors with the CI of this PKI (not with `tls_ca` if that is another).
    pub fn trust_anchors(&self) -> Result<TrustAnchors, AnchorError> {
        let mut anchors = TrustAnchors::new();
        anchors.add_ci(self.ci.certificate.clone())?;
        Ok(anchors)
    }

    /// Everything with a key, by name.
    pub fn items(&self) -> Result<Vec<PkiItem>, KeyError> {
        let item = |(name, credential): (&'static str, &Credential)| {
            Ok(PkiItem {
                name,
                certificate_der: credential.certificate.der().to_vec(),
                key_pem: credential.key.to_pkcs8_pem()?,
            })
        };
        self.credentials().into_iter().map(item).collect()
    }

    /// Writes `<name>.der` (mode 0644) and `<name>.key.pem` (mode 0600) for every item, and `ci.crl`. The directory is
    /// created if it is missing. Nothing is overwritten.
    pub fn write_to(&self, directory: &Path) -> Result<(), PkiFileError> {
        fs::create_dir_all(directory).map_err(|source| PkiFileError::Io {
            path: directory.to_owned(),
            source,
        })?;
        for (name, credential) in self.credentials() {
            credential.write_to(directory, name)?;
        }
        let path = directory.join(CRL_FILE);
        create_file(&path, self.crl.der(), 0o644)
            .map_err(|source| PkiFileError::Io { path, source })
    }

    /// Reads what [`TestPki::write_to`] wrote. Each key must belong to the certificate beside it.
    pub fn load(directory: &Path) -> Result<Self, PkiFileError> {
        let load = |name: &str| Credential::load(directory, name);
        let path = directory.join(CRL_FILE);
        let crl = fs::read(&path).map_err(|source| PkiFileError::Io {
            path: path.clone(),
            source,
        })?;
        Ok(Self {
            ci: load("ci")?,
            tls_ca: load("tls-ca")?,
            eum: load("eum")?,
            smdp_auth: load("smdp-auth")?,
            smdp_pb: load("smdp-pb")?,
            smdp_tls: load("smdp-tls")?,
            smds_auth: load("smds-auth")?,
            smds_tls: load("smds-tls")?,
            eim_signing: load("eim-signing")?,
            eim_tls: load("eim-tls")?,
            es2_client: load("es2-client")?,
            crl: Crl::from_der(&crl).map_err(|source| PkiFileError::Crl { path, source })?,
        })
    }

    fn credentials(&self) -> [(&'static str, &Credential); 11] {
        [
            ("ci", &self.ci),
            ("tls-ca", &self.tls_ca),
            ("eum", &self.eum),
            ("smdp-auth", &self.smdp_auth),
            ("smdp-pb", &self.smdp_pb),
            ("smdp-tls", &self.smdp_tls),
            ("smds-auth", &self.smds_auth),
            ("smds-tls", &self.smds_tls),
            ("eim-signing", &self.eim_signing),
            ("eim-tls", &self.eim_tls),
            ("es2-client", &self.es2_client),
        ]
    }
}

impl Credential {
    /// This credential as the issuer of others.
    pub fn issuer(&self) -> Issuer<'_> {
        Issuer {
            certificate: &self.certificate,
            signer: &self.key,
        }
    }

    /// Writes `<name>.der` and `<name>.key.pem` (mode 0600) into a directory. Nothing is overwritten.
    pub fn write_to(&self, directory: &Path, name: &str) -> Result<(), PkiFileError> {
        let key_path = directory.join(format!("{name}.key.pem"));
        let pem = match self.key.to_pkcs8_pem() {
            Ok(pem) => pem,
            Err(source) => {
                return Err(PkiFileError::Key {
                    path: key_path,
                    source,
                });
            }
        };
        create_private_file(&key_path, pem.as_bytes()).map_err(|source| PkiFileError::Io {
            path: key_path,
            source,
        })?;
        let path = directory.join(format!("{name}.der"));
        create_file(&path, self.certificate.der(), 0o644)
            .map_err(|source| PkiFileError::Io { path, source })
    }

    /// Reads what [`Credential::write_to`] wrote, and checks that the key belongs to the certificate.
    pub fn load(directory: &Path, name: &str) -> Result<Self, PkiFileError> {
        let path = directory.join(format!("{name}.der"));
        let der = fs::read(&path).map_err(|source| PkiFileError::Io {
            path: path.clone(),
            source,
        })?;
        let certificate = Certificate::from_der(&der)
            .map_err(|source| PkiFileError::Certificate { path, source })?;
        let path = directory.join(format!("{name}.key.pem"));
        let pem = read_private_file(&path).map_err(PkiFileError::KeyFile)?;
        let key = PrivateKey::from_pem(&pem).map_err(|source| PkiFileError::Key {
            path: path.clone(),
            source,
        })?;
        match certificate.public_key() == Ok(key.public_key()) {
            true => Ok(Self { certificate, key }),
            false => Err(PkiFileError::Key {
                path,
                source: KeyError::Mismatch,
            }),
        }
    }
}

/// An eUICC of the organisation of an EUM or its sub-CA, as long valid and on the same curve.
fn issue_euicc<R: CryptoRng + ?Sized>(
    rng: &mut R,
    issuer: &Credential,
    eid: &str,
    alter: impl FnOnce(CertificateTemplate) -> CertificateTemplate,
) -> Result<Credential, IssueError> {
    if eid.len() != 32 || !eid.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(IssueError::Eid(eid.chars().take(40).collect()));
    }
    let above = &issuer.certificate;
    let template = CertificateTemplate::euicc(above.organisation().unwrap_or_default(), eid);
    let template = alter(template)
        .valid(above.not_before(), above.not_after())
        .random_serial(rng);
    let key = PrivateKey::generate(issuer.key.public_key().curve(), rng)?;
    Ok(Credential {
        certificate: template.issue(key.public_key(), issuer.issuer())?,
        key,
    })
}

/// 2.999.`last`, an example identifier (X.660), as SGP.26 uses them: 1 CI, 5 EUM, 10 SM-DP+, 15 SM-DS, 20 eIM.
fn example_oid(last: u8) -> Oid {
    #[expect(
        clippy::expect_used,
        reason = "88 37 is 2.999, and one octet below 80 is a complete arc"
    )]
    Oid::from_content(&[0x88, 0x37, last & 0x7F]).expect("a complete object identifier")
}

const CRL_FILE: &str = "ci.crl";

/// 30 years.
const ISSUER_EXTRA_DAYS: i64 = 10_957;

struct Maker<'a, R: ?Sized> {
    rng: &'a mut R,
    options: &'a TestPkiOptions,
}

impl<R: CryptoRng + ?Sized> Maker<'_, R> {
    fn ci(&mut self, common_name: &str, curve: Curve) -> Result<Credential, IssueError> {
        let template = CertificateTemplate::certificate_issuer(
            common_name,
            &self.options.organisation,
            example_oid(1),
        );
        let key = PrivateKey::generate(curve, self.rng)?;
        let certificate = self.finish(template, ISSUER_EXTRA_DAYS).self_sign(&key)?;
        Ok(Credential { certificate, key })
    }

    fn long_lived(
        &mut self,
        template: CertificateTemplate,
        curve: Curve,
        issuer: &Credential,
    ) -> Result<Credential, IssueError> {
        self.issue(template, ISSUER_EXTRA_DAYS, curve, issuer)
    }

    fn leaf(
        &mut self,
        template: CertificateTemplate,
        curve: Curve,
        issuer: &Credential,
    ) -> Result<Credential, IssueError> {
        self.issue(template, 0, curve, issuer)
    }

    fn issue(
        &mut self,
        template: CertificateTemplate,
        extra_days: i64,
        curve: Curve,
        issuer: &Credential,
    ) -> Result<Credential, IssueError> {
        let key = PrivateKey::generate(curve, self.rng)?;
        let certificate = self
            .finish(template, extra_days)
            .issue(key.public_key(), issuer.issuer())?;
        Ok(Credential { certificate, key })
    }

    fn finish(
        &mut self,
        mut template: CertificateTemplate,
        extra_days: i64,
    ) -> CertificateTemplate {
        template
            .crl_distribution_points
            .extend(self.options.crl_uri.clone());
        let not_after = self
            .options
            .not_before
            .plus_days(self.options.leaf_days.saturating_add(extra_days));
        template
            .valid(self.options.not_before, not_after)
            .random_serial(self.rng)
    }
}
