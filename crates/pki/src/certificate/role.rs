//! Roles and the policies that stand for them.

use core::fmt;

use const_oid::ObjectIdentifier;

/// What a certificate is for. SGP.22 v2 section 4.5.2.1 fixes it by one policy identifier; eIM certificates carry none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// GSMA CI, `id-rspRole-ci`.
    CertificateIssuer,
    /// eUICC manufacturer, `id-rspRole-eum`.
    Eum,
    /// eUICC, `id-rspRole-euicc`.
    Euicc,
    /// SM-DP+ for TLS, `id-rspRole-dp-tls`.
    SmDpTls,
    /// SM-DP+ for authentication, `id-rspRole-dp-auth`.
    SmDpAuth,
    /// SM-DP+ for profile binding, `id-rspRole-dp-pb`.
    SmDpPb,
    /// SM-DS for TLS, `id-rspRole-ds-tls`.
    SmDsTls,
    /// SM-DS for authentication, `id-rspRole-ds-auth`.
    SmDsAuth,
    /// eIM, signing of eUICC packages (SGP.32 section 2.6.3): no role policy, digitalSignature.
    EimSigning,
    /// eIM, (D)TLS: no role policy, extended key usage serverAuth.
    EimTls,
}

impl Role {
    /// The role that a certificate policy stands for: SGP.22 v2 annex E, or the longer identifiers of v3 (variants A, B, C).
    pub fn from_policy(policy: &ObjectIdentifier) -> Option<Self> {
        POLICIES
            .iter()
            .find(|(_, identifiers)| identifiers.contains(policy))
            .map(|(role, _)| *role)
    }

    /// The policy identifier of SGP.22 v2 for this role; `None` for eIM certificates.
    pub fn policy(self) -> Option<ObjectIdentifier> {
        let (_, identifiers) = POLICIES.iter().find(|(role, _)| *role == self)?;
        identifiers.first().copied()
    }

    /// Whether the certificate is for TLS, and so needs extKeyUsage.
    pub fn is_tls(self) -> bool {
        matches!(self, Role::SmDpTls | Role::SmDsTls | Role::EimTls)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::CertificateIssuer => "CI",
            Role::Eum => "EUM",
            Role::Euicc => "eUICC",
            Role::SmDpTls => "SM-DP+ TLS",
            Role::SmDpAuth => "SM-DP+ authentication",
            Role::SmDpPb => "SM-DP+ profile binding",
            Role::SmDsTls => "SM-DS TLS",
            Role::SmDsAuth => "SM-DS authentication",
            Role::EimSigning => "eIM signing",
            Role::EimTls => "eIM TLS",
        })
    }
}

macro_rules! oids {
    ($($text:literal),*) => { &[$(ObjectIdentifier::new_unwrap($text)),*] };
}

/// Role, then its identifier in SGP.22 v2 and the one in v3, if that is another.
const POLICIES: [(Role, &[ObjectIdentifier]); 8] = [
    (Role::CertificateIssuer, oids!["2.23.146.1.2.1.0"]),
    (
        Role::Euicc,
        oids!["2.23.146.1.2.1.1", "2.23.146.1.2.1.0.0.0.0.0"],
    ),
    (Role::Eum, oids!["2.23.146.1.2.1.2", "2.23.146.1.2.1.0.0.0"]),
    (
        Role::SmDpTls,
        oids!["2.23.146.1.2.1.3", "2.23.146.1.2.1.0.0.1.0"],
    ),
    (
        Role::SmDpAuth,
        oids!["2.23.146.1.2.1.4", "2.23.146.1.2.1.0.0.1.1"],
    ),
    (
        Role::SmDpPb,
        oids!["2.23.146.1.2.1.5", "2.23.146.1.2.1.0.0.1.2"],
    ),
    (
        Role::SmDsTls,
        oids!["2.23.146.1.2.1.6", "2.23.146.1.2.1.0.0.2.0"],
    ),
    (
        Role::SmDsAuth,
        oids!["2.23.146.1.2.1.7", "2.23.146.1.2.1.0.0.2.1"],
    ),
];
