//! Reasons for refusing anchors, revocation lists and chains.

use const_oid::ObjectIdentifier;

use crate::certificate::Role;
use crate::public_key::KeyError;
use crate::time::UnixTime;

/// Why something was not taken as a trust anchor or as a CRL of one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnchorError {
    /// Not a CI certificate by its policy.
    #[error("certificate is not a CI certificate; its role is {found:?}")]
    NotACertificateIssuer {
        /// What it is.
        found: Option<Role>,
    },
    /// cA or keyCertSign is missing.
    #[error("CI certificate is not allowed to sign certificates")]
    MayNotSign,
    /// No subjectKeyIdentifier.
    #[error("certificate has no subjectKeyIdentifier")]
    NoSubjectKeyIdentifier,
    /// Its key cannot be used.
    #[error("CI key cannot be used")]
    Key(#[source] KeyError),
    /// The certificate is not signed with its own key.
    #[error("CI certificate is not self-signed with a valid signature")]
    BadSignature,
    /// A critical extension is not understood.
    #[error("CI certificate has unknown critical extension {0}")]
    UnknownCriticalExtension(ObjectIdentifier),
    /// Another key with the same identifier is already trusted.
    #[error("another key with the same subjectKeyIdentifier is already known")]
    KeyIdentifierCollision,
    /// Not the certificate of a sub-CA or EUM, so nobody whose CRLs come with a chain.
    #[error("certificate is not one of a sub-CA or EUM; its role is {found:?}")]
    NotASubCa {
        /// What it is.
        found: Option<Role>,
    },
    /// The chain of the CRL's issuer is refused.
    #[error("certificate of the CRL's issuer does not lead to a trusted CI")]
    Chain(#[source] ChainError),
    /// The CRL names another issuer than the one whose certificate came with it.
    #[error("CRL is from another issuer than the certificate that came with it")]
    CrlIssuerMismatch,
    /// The CRL is not from a CI that is trusted.
    #[error("CRL is from a CI that is not trusted")]
    UnknownCi,
    /// The issuer's certificate does not allow its key to sign CRLs.
    #[error("certificate of the CRL's issuer does not allow it to sign CRLs")]
    MayNotSignCrls,
    /// The CRL's signature does not verify under its issuer.
    #[error("CRL signature is not valid")]
    BadCrlSignature,
    /// A newer CRL of the same scope is already there.
    #[error("a newer CRL is already known")]
    OlderCrl,
}

/// Why a chain is refused. `which` is the role in which the offending certificate was presented.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The issuer of the certificate is neither a trusted CI nor among the intermediates.
    #[error("{which} certificate is issued under a CI or sub-CA that is not trusted or not known")]
    UnknownCi {
        /// The certificate.
        which: Role,
    },
    /// authorityKeyIdentifier names another key than the issuer's.
    #[error(
        "{which} certificate names another issuer key than that of the certificate it came with"
    )]
    IssuerMismatch {
        /// The certificate.
        which: Role,
    },
    /// More intermediate certificates than any chain has.
    #[error(
        "{count} intermediate certificates came with the {which} certificate; at most {} are accepted",
        super::INTERMEDIATES_MAX
    )]
    TooManyIntermediates {
        /// The certificate that they came with.
        which: Role,
        /// How many.
        count: usize,
    },
    /// Two intermediate certificates have the same key identifier, or are the same.
    #[error("an intermediate certificate came more than once with the {which} certificate")]
    RepeatedIntermediate {
        /// The certificate that they came with.
        which: Role,
    },
    /// An intermediate certificate is not part of the chain.
    #[error(
        "an intermediate certificate that came with the {which} certificate is not part of its chain"
    )]
    UnusedIntermediate {
        /// The certificate that it came with.
        which: Role,
    },
    /// The role of the issuer does not let it issue certificates of that role.
    #[error("{issuer} certificate may not issue a certificate for {which}")]
    MayNotIssue {
        /// The issuer.
        issuer: Role,
        /// The certificate it issued.
        which: Role,
    },
    /// The signature does not verify with the issuer's key.
    #[error("signature of the {which} certificate is not valid")]
    BadSignature {
        /// The certificate.
        which: Role,
    },
    /// The certificate is signed with something else than ECDSA-SHA256.
    #[error("{which} certificate is signed with unsupported algorithm {algorithm}")]
    UnsupportedSignatureAlgorithm {
        /// The certificate.
        which: Role,
        /// What it is signed with.
        algorithm: ObjectIdentifier,
    },
    /// Its validity is over.
    #[error("{which} certificate expired on {not_after}")]
    Expired {
        /// The certificate.
        which: Role,
        /// The end of its validity.
        not_after: UnixTime,
    },
    /// Its validity has not begun.
    #[error("{which} certificate is not valid before {not_before}")]
    NotYetValid {
        /// The certificate.
        which: Role,
        /// The start of its validity.
        not_before: UnixTime,
    },
    /// The certificate has the policy of another role.
    #[error("expected a certificate for {expected}, found one for {found}")]
    WrongRole {
        /// The role it had to have.
        expected: Role,
        /// The role it has.
        found: Role,
    },
    /// No policy of an eSIM role is there.
    #[error("{which} certificate has no policy of an eSIM role")]
    PolicyMissing {
        /// The certificate.
        which: Role,
    },
    /// keyUsage does not allow what the role needs.
    #[error("keyUsage of the {which} certificate does not allow its use")]
    KeyUsage {
        /// The certificate.
        which: Role,
    },
    /// extKeyUsage does not contain serverAuth.
    #[error("extKeyUsage of the {which} certificate does not contain serverAuth")]
    ExtendedKeyUsage {
        /// The certificate.
        which: Role,
    },
    /// An issuer is not a CA, or a leaf is one.
    #[error("basicConstraints of the {which} certificate is wrong for its role")]
    BasicConstraints {
        /// The certificate.
        which: Role,
    },
    /// pathLenConstraint is missing where it is mandatory, or the chain is longer than it allows.
    #[error("pathLenConstraint of the {which} certificate is missing or exceeded")]
    PathLen {
        /// The certificate.
        which: Role,
    },
    /// An extension that must be there and be critical is missing or is not critical.
    #[error("{which} certificate lacks extension {extension}, or does not mark it critical")]
    MissingCriticalExtension {
        /// The certificate.
        which: Role,
        /// Object identifier of the extension.
        extension: ObjectIdentifier,
    },
    /// An extension that must be there (critical or not) is missing.
    #[error("{which} certificate lacks extension {extension}")]
    MissingExtension {
        /// The certificate.
        which: Role,
        /// Object identifier of the extension.
        extension: ObjectIdentifier,
    },
    /// A critical extension is not understood.
    #[error("{which} certificate has unknown critical extension {extension}")]
    UnknownCriticalExtension {
        /// The certificate.
        which: Role,
        /// Object identifier of the extension.
        extension: ObjectIdentifier,
    },
    /// The key is on a curve that is not supported.
    #[error("key of the {which} certificate is on unsupported curve {curve}")]
    UnsupportedCurve {
        /// The certificate.
        which: Role,
        /// Object identifier of the curve.
        curve: ObjectIdentifier,
    },
    /// The key cannot be used for another reason.
    #[error("key of the {which} certificate cannot be used")]
    Key {
        /// The certificate.
        which: Role,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// A CRL of the issuer lists the certificate.
    #[error("{which} certificate is revoked")]
    Revoked {
        /// The certificate.
        which: Role,
    },
    /// nextUpdate of a CRL of an issuer is past, so revocation cannot be decided.
    #[error("CRL of the {issuer} is out of date since {next_update}")]
    CrlOutOfDate {
        /// Whose CRL.
        issuer: Role,
        /// When the next one was due.
        next_update: UnixTime,
    },
    /// The EUM's nameConstraints permit no eUICC of that organisation.
    #[error("eUICC's organisation is not one that the EUM certificate permits")]
    NameConstraintOrganisation,
    /// The EUM's nameConstraints permit no eUICC with that EID.
    #[error("EID does not start with digits that the EUM certificate permits")]
    NameConstraintEid,
    /// nameConstraints of an issuer do not permit the subject of a certificate below it.
    #[error("nameConstraints of the {issuer} certificate do not permit the {which} certificate")]
    NameConstraint {
        /// Whose constraints.
        issuer: Role,
        /// The certificate.
        which: Role,
    },
    /// The eUICC's subject has no serialNumber of 32 digits.
    #[error("eUICC certificate has no EID of 32 digits")]
    EidMalformed,
}

impl ChainError {
    /// The certificate that is to blame; the issuer for an outdated CRL and for what it may not issue.
    pub fn which(&self) -> Role {
        match self {
            ChainError::UnknownCi { which }
            | ChainError::IssuerMismatch { which }
            | ChainError::BadSignature { which }
            | ChainError::UnsupportedSignatureAlgorithm { which, .. }
            | ChainError::Expired { which, .. }
            | ChainError::NotYetValid { which, .. }
            | ChainError::WrongRole {
                expected: which, ..
            }
            | ChainError::PolicyMissing { which }
            | ChainError::KeyUsage { which }
            | ChainError::ExtendedKeyUsage { which }
            | ChainError::BasicConstraints { which }
            | ChainError::PathLen { which }
            | ChainError::MissingCriticalExtension { which, .. }
            | ChainError::MissingExtension { which, .. }
            | ChainError::UnknownCriticalExtension { which, .. }
            | ChainError::UnsupportedCurve { which, .. }
            | ChainError::Key { which, .. }
            | ChainError::TooManyIntermediates { which, .. }
            | ChainError::RepeatedIntermediate { which }
            | ChainError::UnusedIntermediate { which }
            | ChainError::MayNotIssue { issuer: which, .. }
            | ChainError::NameConstraint { which, .. }
            | ChainError::Revoked { which } => *which,
            ChainError::CrlOutOfDate { issuer, .. } => *issuer,
            ChainError::NameConstraintOrganisation
            | ChainError::NameConstraintEid
            | ChainError::EidMalformed => Role::Euicc,
        }
    }
}
