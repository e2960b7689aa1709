//! Roles and the policies that stand for them.

use core::fmt;

use const_oid::ObjectIdentifier;

/// What a certificate is for. SGP.22 section 4.5.2.1 fixes it by one policy identifier; eIM certificates carry none.
///
/// The sub-CAs exist since SGP.22 v3 and stand between a CI and what it vouches for (SGP.26 v3, variants A, B and C).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// GSMA CI, `id-rspRole-ci`.
    CertificateIssuer,
    /// Sub-CA of a GSMA CI: issues what the CI itself could issue.
    CiSubCa,
    /// eUICC manufacturer, `id-rspRole-eum`.
    Eum,
    /// Sub-CA of an EUM: issues eUICC certificates.
    EumSubCa,
    /// eUICC, `id-rspRole-euicc`.
    Euicc,
    /// Sub-CA of an SM-DP+ provider: issues the certificates of SM-DP+.
    SmDpSubCa,
    /// SM-DP+ for TLS, `id-rspRole-dp-tls`.
    SmDpTls,
    /// SM-DP+ for authentication, `id-rspRole-dp-auth`.
    SmDpAuth,
    /// SM-DP+ for profile binding, `id-rspRole-dp-pb`.
    SmDpPb,
    /// Sub-CA of an SM-DS provider: issues the certificates of SM-DS.
    SmDsSubCa,
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

    /// The policy identifier of SGP.22 v2 for this role, that of v3 for the sub-CAs; `None` for eIM certificates.
    pub fn policy(self) -> Option<ObjectIdentifier> {
        let (_, identifiers) = POLICIES.iter().find(|(role, _)| *role == self)?;
        identifiers.first().copied()
    }

    /// The policy identifier of SGP.22 v3 for this role; `None` for eIM certificates.
    pub fn policy_v3(self) -> Option<ObjectIdentifier> {
        let (_, identifiers) = POLICIES.iter().find(|(role, _)| *role == self)?;
        identifiers.last().copied()
    }

    /// Whether the certificate is for TLS, and so needs extKeyUsage.
    pub fn is_tls(self) -> bool {
        matches!(self, Role::SmDpTls | Role::SmDsTls | Role::EimTls)
    }

    /// Whether the certificate is for issuing others: CI, EUM and every sub-CA.
    pub fn is_issuer(self) -> bool {
        matches!(self, Role::CertificateIssuer | Role::Eum) || self.is_sub_ca()
    }

    /// Whether the certificate is that of a sub-CA.
    pub fn is_sub_ca(self) -> bool {
        matches!(
            self,
            Role::CiSubCa | Role::EumSubCa | Role::SmDpSubCa | Role::SmDsSubCa
        )
    }

    /// Whether a certificate of this role may be the direct issuer of one of the other role.
    ///
    /// A sub-CA may also issue another of its own kind; how deep is for pathLenConstraint to say.
    pub fn may_issue(self, other: Self) -> bool {
        match self {
            Role::CertificateIssuer | Role::CiSubCa => !matches!(
                other,
                Role::CertificateIssuer | Role::EumSubCa | Role::Euicc
            ),
            Role::Eum | Role::EumSubCa => matches!(other, Role::EumSubCa | Role::Euicc),
            Role::SmDpSubCa => matches!(
                other,
                Role::SmDpSubCa | Role::SmDpTls | Role::SmDpAuth | Role::SmDpPb
            ),
            Role::SmDsSubCa => {
                matches!(other, Role::SmDsSubCa | Role::SmDsTls | Role::SmDsAuth)
            }
            Role::Euicc
            | Role::SmDpTls
            | Role::SmDpAuth
            | Role::SmDpPb
            | Role::SmDsTls
            | Role::SmDsAuth
            | Role::EimSigning
            | Role::EimTls => false,
        }
    }

    /// The sub-CA that is nearest to certificates of this role, where the SGP.26 variants have one.
    pub(crate) fn nearest_sub_ca(self) -> Self {
        match self {
            Role::Euicc | Role::EumSubCa => Role::EumSubCa,
            Role::SmDpTls | Role::SmDpAuth | Role::SmDpPb | Role::SmDpSubCa => Role::SmDpSubCa,
            Role::SmDsTls | Role::SmDsAuth | Role::SmDsSubCa => Role::SmDsSubCa,
            Role::CertificateIssuer
            | Role::CiSubCa
            | Role::Eum
            | Role::EimSigning
            | Role::EimTls => Role::CiSubCa,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::CertificateIssuer => "CI",
            Role::CiSubCa => "CI sub-CA",
            Role::Eum => "EUM",
            Role::EumSubCa => "EUM sub-CA",
            Role::Euicc => "eUICC",
            Role::SmDpSubCa => "SM-DP+ sub-CA",
            Role::SmDpTls => "SM-DP+ TLS",
            Role::SmDpAuth => "SM-DP+ authentication",
            Role::SmDpPb => "SM-DP+ profile binding",
            Role::SmDsSubCa => "SM-DS sub-CA",
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

/// Role, then its identifier in SGP.22 v2 and the one in v3, if that is another. Those of v3 form a tree: each continues the
/// identifier of its nearest possible issuer.
const POLICIES: [(Role, &[ObjectIdentifier]); 12] = [
    (Role::CertificateIssuer, oids!["2.23.146.1.2.1.0"]),
    (Role::CiSubCa, oids!["2.23.146.1.2.1.0.0"]),
    (Role::EumSubCa, oids!["2.23.146.1.2.1.0.0.0.0"]),
    (Role::SmDpSubCa, oids!["2.23.146.1.2.1.0.0.1"]),
    (Role::SmDsSubCa, oids!["2.23.146.1.2.1.0.0.2"]),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_leads_back_to_its_role() {
        for (role, identifiers) in POLICIES {
            for identifier in identifiers {
                assert_eq!(Role::from_policy(identifier), Some(role));
            }
            assert_eq!(role.policy(), identifiers.first().copied());
            assert_eq!(role.policy_v3(), identifiers.last().copied());
        }
        assert_eq!(Role::EimSigning.policy_v3(), None);
    }

    #[test]
    fn policies_of_version_3_continue_that_of_a_possible_issuer() {
        let issuers = POLICIES.iter().filter(|(role, _)| role.is_issuer());
        for (issuer, _) in issuers {
            for (role, _) in POLICIES {
                let (above, below) = (issuer.policy_v3(), role.policy_v3());
                let (Some(above), Some(below)) = (above, below) else {
                    continue;
                };
                if below.parent() == Some(above) {
                    assert!(issuer.may_issue(role), "{issuer} and {role}");
                }
            }
        }
    }

    #[test]
    fn only_issuers_issue() {
        for (role, _) in POLICIES {
            let issues = POLICIES.iter().any(|(other, _)| role.may_issue(*other));
            assert_eq!(issues, role.is_issuer(), "{role}");
            assert!(!role.may_issue(Role::CertificateIssuer), "{role}");
        }
        assert!(!Role::CertificateIssuer.may_issue(Role::Euicc));
        assert!(!Role::SmDpSubCa.may_issue(Role::SmDsTls));
        assert!(!Role::SmDsSubCa.may_issue(Role::SmDpAuth));
        assert!(!Role::EumSubCa.may_issue(Role::Eum));
    }
}
