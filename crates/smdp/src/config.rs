//! What an operator of this server decides: names, keys, who may order, and limits.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use pki::{Certificate, ChainError, ChainPolicy, KeyError, Role, Signer, TrustAnchors, UnixTime};
use rsp::der::Oid;

/// Settings of a server.
#[derive(Debug, Clone)]
pub struct Config {
    /// FQDN under which devices call this server, as in activation codes and certificates.
    pub address: String,
    /// OID of this SM-DP+, as in the subjectAltName of its certificates.
    pub oid: Oid,
    /// Who may use ES2+.
    pub operators: Vec<Operator>,
    /// Which keys protect the profile in a bound profile package.
    pub profile_keys: ProfileKeys,
    /// What a retried download may change.
    pub rebinding: Rebinding,
    /// Bounds.
    pub limits: Limits,
}

/// One operator on ES2+.
#[derive(Debug, Clone)]
pub struct Operator {
    /// Name for logs, and the owner of profiles.
    pub name: String,
    /// The functionRequesterIdentifier that its requests must carry; any if `None`.
    pub oid: Option<String>,
    /// Which client certificates are this operator's.
    pub access: OperatorAccess,
    /// Base URL for ES2+.HandleDownloadProgressInfo (`https://host[:port]`); none are sent if `None`.
    pub progress_url: Option<String>,
}

/// Which TLS client certificates belong to an operator.
#[derive(Debug, Clone)]
pub enum OperatorAccess {
    /// Every certificate with this elliptic curve key, a DER SubjectPublicKeyInfo.
    Spki(Vec<u8>),
    /// Every certificate that this CA signed with ECDSA and SHA-256.
    Issuer(Box<Certificate>),
}

/// Which keys protect the profile elements (SGP.22 v2.5 section 2.5.3 and 2.5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProfileKeys {
    /// The session keys, as every segment.
    #[default]
    Session,
    /// Random keys of their own, delivered by ReplaceSessionKeys.
    Random,
}

/// What a retried download may change (SGP.22 v2.5 section 3.1.3, error 8.2/3.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rebinding {
    /// A retry must use the one-time key of the first attempt.
    #[default]
    SameKeyOnly,
    /// The same eUICC may come with another one-time key, for example after it lost power.
    SameEuicc,
}

/// Bounds of this server.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Sessions at a time; further ones push out those whose eUICC is not authenticated yet.
    pub sessions_max: usize,
    /// Life of a session whose eUICC is not authenticated yet.
    pub session_initiated_max: Duration,
    /// Life of a session after that.
    pub session_authenticated_max: Duration,
    /// Downloads that may be begun for one order.
    pub download_attempts_max: u32,
    /// Wrong confirmation codes for one order, the last of which ends it.
    pub confirmation_attempts_max: u32,
    /// Life of an order after it was confirmed; for ever if `None`.
    pub order_lifetime: Option<Duration>,
    /// Octets of an unprotected profile package.
    pub package_octets_max: usize,
    /// Octets of a request body.
    pub body_octets_max: usize,
    /// Attempts to deliver one HandleDownloadProgressInfo before it is given up.
    pub progress_attempts_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions_max: 10_000,
            session_initiated_max: Duration::from_secs(5 * 60),
            session_authenticated_max: Duration::from_secs(60 * 60),
            download_attempts_max: 10,
            confirmation_attempts_max: 3,
            order_lifetime: None,
            package_octets_max: 512 * 1024,
            body_octets_max: 128 * 1024,
            progress_attempts_max: 12,
        }
    }
}

/// The keys and certificates of this server, and the CIs whose eUICCs it serves.
#[derive(Debug, Clone)]
pub struct Identities {
    /// CIs of eUICCs and of the certificates below, with their CRLs.
    pub trust: TrustAnchors,
    /// One for each CI and curve that is served.
    pub servers: Vec<ServerIdentity>,
    /// Deviations for test cards; strict by default.
    pub chain_policy: ChainPolicy,
}

/// CERT.DPauth and CERT.DPpb under one CI, with their keys.
#[derive(Clone)]
pub struct ServerIdentity {
    /// CERT.DPauth.
    pub auth_certificate: Certificate,
    /// SK.DPauth.
    pub auth_signer: Arc<dyn Signer>,
    /// CERT.DPpb.
    pub pb_certificate: Certificate,
    /// SK.DPpb.
    pub pb_signer: Arc<dyn Signer>,
    /// Sub-CAs between both certificates and the CI (SGP.22 v3); none if the CI issued them itself. eUICCs of SGP.22 v2 accept
    /// only the latter.
    pub sub_cas: Vec<Certificate>,
}

impl fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerIdentity")
            .field("auth", &self.auth_certificate.subject())
            .field("pb", &self.pb_certificate.subject())
            .finish_non_exhaustive()
    }
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The address is not a host name.
    #[error("address {0:?} is not a host name such as smdp.example.com")]
    Address(String),
    /// No certificate pair.
    #[error("no server identity was given; an SM-DP+ needs a DPauth and a DPpb certificate")]
    NoIdentity,
    /// A certificate does not lead to a CI that is trusted, or has another role.
    #[error("the {role} certificate {subject:?} cannot be used")]
    Certificate {
        /// What it should be.
        role: Role,
        /// Its subject.
        subject: String,
        /// Why.
        #[source]
        source: ChainError,
    },
    /// A private key does not belong to its certificate.
    #[error("the key for the {role} certificate {subject:?} is another one's")]
    KeyMismatch {
        /// The certificate.
        role: Role,
        /// Its subject.
        subject: String,
    },
    /// A certificate is for another SM-DP+.
    #[error("the {role} certificate {subject:?} names another SM-DP+ than OID {expected}")]
    Oid {
        /// The certificate.
        role: Role,
        /// Its subject.
        subject: String,
        /// The OID of this server.
        expected: Oid,
    },
    /// DPauth and DPpb are from different CIs or sub-CAs; an eUICC would refuse.
    #[error("the DPauth and DPpb certificates of {0:?} are issued by different CIs or sub-CAs")]
    DifferentCis(String),
    /// The key of an operator is unusable.
    #[error("the key or CA of operator {name:?} cannot be used; give an elliptic curve key")]
    OperatorKey {
        /// The operator.
        name: String,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// Two operators have the same name.
    #[error("two operators are named {0:?}")]
    OperatorTwice(String),
}

impl Config {
    /// Settings with the defaults: no operators, session keys, strict rebinding.
    pub fn new(address: impl Into<String>, oid: Oid) -> Self {
        Self {
            address: address.into(),
            oid,
            operators: Vec::new(),
            profile_keys: ProfileKeys::default(),
            rebinding: Rebinding::default(),
            limits: Limits::default(),
        }
    }

    /// Checks everything that can be checked before the first request.
    pub(crate) fn check(&self, identities: &Identities) -> Result<(), ConfigError> {
        let host = self.address.as_bytes();
        let is_host = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-');
        if host.is_empty() || host.len() > 253 || !host.iter().all(is_host) {
            return Err(ConfigError::Address(self.address.clone()));
        }
        for (index, operator) in self.operators.iter().enumerate() {
            operator.check()?;
            if self
                .operators
                .iter()
                .skip(index + 1)
                .any(|other| other.name == operator.name)
            {
                return Err(ConfigError::OperatorTwice(operator.name.clone()));
            }
        }
        if identities.servers.is_empty() {
            return Err(ConfigError::NoIdentity);
        }
        identities
            .servers
            .iter()
            .try_for_each(|server| server.check(&self.oid, &identities.trust))
    }

    pub(crate) fn operator(&self, name: &str) -> Option<&Operator> {
        self.operators.iter().find(|operator| operator.name == name)
    }
}

impl Operator {
    fn check(&self) -> Result<(), ConfigError> {
        let checked = match &self.access {
            OperatorAccess::Spki(spki) => pki::PublicKey::from_spki_der(spki).map(|_| ()),
            OperatorAccess::Issuer(ca) => ca.public_key().map(|_| ()),
        };
        checked.map_err(|source| ConfigError::OperatorKey {
            name: self.name.clone(),
            source,
        })
    }
}

impl OperatorAccess {
    /// Whether a client certificate is this operator's. Validity and chain are the TLS layer's business.
    pub(crate) fn admits(&self, certificate: &Certificate) -> bool {
        match self {
            Self::Spki(spki) => certificate
                .public_key()
                .is_ok_and(|key| key.spki_der() == spki),
            Self::Issuer(ca) => {
                let (Ok(key), Some(signature)) = (ca.public_key(), certificate.signature()) else {
                    return false;
                };
                key.verify(certificate.tbs(), signature).is_ok()
            }
        }
    }
}

impl ServerIdentity {
    /// SubjectKeyIdentifier of the CI at the end of both chains, if both are good at this moment.
    pub(crate) fn verified_ci(
        &self,
        trust: &TrustAnchors,
        now: Option<UnixTime>,
    ) -> Option<Vec<u8>> {
        let verify = |certificate, role| {
            trust
                .verify_server_through(certificate, role, &self.sub_cas, now)
                .ok()
        };
        verify(&self.pb_certificate, Role::SmDpPb)?;
        verify(&self.auth_certificate, Role::SmDpAuth).map(|verified| verified.ci_key_id)
    }

    fn check(&self, oid: &Oid, trust: &TrustAnchors) -> Result<(), ConfigError> {
        let pairs = [
            (Role::SmDpAuth, &self.auth_certificate, &self.auth_signer),
            (Role::SmDpPb, &self.pb_certificate, &self.pb_signer),
        ];
        for (role, certificate, signer) in pairs {
            let subject = || certificate.subject().to_owned();
            // Expiry is decided per session: a lab may start with certificates that run out.
            let verified = trust
                .verify_server_through(certificate, role, &self.sub_cas, None)
                .map_err(|source| ConfigError::Certificate {
                    role,
                    subject: subject(),
                    source,
                })?;
            if verified.public_key.spki_der() != signer.public_key().spki_der() {
                return Err(ConfigError::KeyMismatch {
                    role,
                    subject: subject(),
                });
            }
            if certificate.registered_id_der() != Some(oid.content()) {
                return Err(ConfigError::Oid {
                    role,
                    subject: subject(),
                    expected: oid.clone(),
                });
            }
        }
        let issuer = self.auth_certificate.authority_key_identifier();
        if self.pb_certificate.authority_key_identifier() != issuer {
            return Err(ConfigError::DifferentCis(
                self.auth_certificate.subject().to_owned(),
            ));
        }
        Ok(())
    }
}
