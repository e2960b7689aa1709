//! Certificates, signatures, key agreement and key stores of the GSMA eSIM ecosystem.
//!
//! The trust model is that of SGP.14/SGP.22: a Certificate Issuer (CI) known by its SubjectKeyIdentifier, a role that is fixed
//! by one policy OID, and an EID that the EUM certificate limits by name. It has nothing to do with host names and is kept
//! apart from the trust of TLS, which rustls decides.
//!
//! A chain has two or three certificates, or more where SGP.22 v3 puts sub-CAs between (SGP.26 v3 calls these variants):
//!
//! | variant | eUICC | SM-DP+ and SM-DS |
//! | --- | --- | --- |
//! | O, Ov3 | eUICC - EUM - CI | server - CI |
//! | A | eUICC - EUM sub-CA - EUM - CI | server - provider's sub-CA - CI |
//! | B | eUICC - EUM - CI sub-CA - CI | server - CI sub-CA - CI |
//! | C | eUICC - EUM sub-CA - EUM - CI sub-CA - CI | server - provider's sub-CA - CI sub-CA - CI |
//!
//! The sub-CAs come with what they issued, in any order ([`TrustAnchors::verify_euicc_chain_through`],
//! [`TrustAnchors::verify_euicc_chain_in_message`], [`TrustAnchors::verify_server_through`]), or were made known before
//! ([`TrustAnchors::add_issuer`]). At most [`INTERMEDIATES_MAX`] are looked at, each must be part of the chain, and each
//! must be allowed to issue what it issued: by [`Role::may_issue`], cA, keyCertSign, pathLenConstraint and nameConstraints. CRLs of
//! a CI concern what the CI itself issued; those of a sub-CA or EUM come in through [`TrustAnchors::add_crl_of`].
//!
//! What is here:
//! * [`PublicKey`], [`Signature`], [`Signer`], [`PrivateKey`]: ECDSA with SHA-256 in the plain `r || s` form (BSI TR-03111);
//! * [`EphemeralKey`]: one-time keys for the key agreement of profile downloads;
//! * [`Certificate`], [`Crl`], [`TrustAnchors`]: parsing and chain checks, with one [`ChainError`] variant for each reason;
//! * [`KeyStore`], with [`FileKeyStore`], [`EncryptedFileKeyStore`] and [`pkcs11`]: where long-lived keys live; [`KeyLocation`]
//!   says it in a configuration, and [`SecretLocation`] where the PIN or passphrase is;
//! * [`issue`]: a private test PKI.
//!
//! P-256 runs on aws-lc-rs, brainpoolP256r1 on the RustCrypto `bp256`. Nothing here reads a clock. Keys are generated from the
//! caller's randomness; ECDSA nonces are not (aws-lc-rs draws its own for P-256, brainpoolP256r1 follows RFC 6979).

mod certificate;
mod chain;
mod crl;
mod curve;
mod ephemeral;
pub mod issue;
mod key_location;
mod key_store;
pub mod pkcs11;
mod private_file;
mod private_key;
mod public_key;
mod secret;
mod signature_value;
mod time;

pub use certificate::{Certificate, CertificateError, EumConstraint, Extension, KeyUsage, Role};
pub use chain::{
    AnchorError, ChainError, ChainPolicy, INTERMEDIATES_MAX, TrustAnchors, VerifiedEuicc,
    VerifiedServer,
};
pub use const_oid::ObjectIdentifier;
pub use crl::{Crl, CrlError};
pub use curve::Curve;
pub use ephemeral::{AgreementError, EphemeralKey};
pub use key_location::{KeyId, KeyIdError, KeyLocation};
pub use key_store::{
    EncryptedFileKeyStore, FileKeyStore, KeyName, KeyNameError, KeyStore, KeyStoreError,
};
pub use private_key::{PrivateKey, SignError, Signer};
pub use public_key::{KeyError, PublicKey, SignatureInvalid};
pub use rsp::der::Oid;
pub use secret::{Secret, SecretError, SecretLocation, SecretSource};
pub use signature_value::{Signature, SignatureMalformed};
pub use time::UnixTime;
