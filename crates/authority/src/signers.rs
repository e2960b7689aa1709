//! The keys that packages are signed with.

use std::collections::BTreeMap;
use std::sync::Arc;

use intent::Digest;
use intent::api::{Refusal, RefusalCode, SignedPackage};
use pki::Signer;
use rsp::sgp32::association_token_object;

use crate::opening::OpenError;
use crate::package;
use crate::state::State;
use crate::verbs::sign::ToSign;

/// Keys of the eIM that this process can sign with, in any order.
pub type Signers = Vec<Arc<dyn Signer>>;

/// Keys by the SHA-256 of their SubjectPublicKeyInfo.
pub(crate) struct SignerSet {
    pub(crate) public: BTreeMap<Digest, Vec<u8>>,
    keys: BTreeMap<Digest, Arc<dyn Signer>>,
}

impl SignerSet {
    pub(crate) fn of(signers: Signers) -> Self {
        let digest = |signer: &Arc<dyn Signer>| Digest::of(&[signer.public_key().spki_der()]);
        Self {
            public: signers
                .iter()
                .map(|signer| (digest(signer), signer.public_key().to_spki_der()))
                .collect(),
            keys: signers
                .into_iter()
                .map(|signer| (digest(&signer), signer))
                .collect(),
        }
    }

    /// Whether every key in use is there.
    pub(crate) fn check(&self, state: &State) -> Result<(), OpenError> {
        let mut used = state.keys.iter();
        match used.find(|(digest, _)| !self.keys.contains_key(digest)) {
            Some((digest, key)) => Err(OpenError::SigningKeyMissing {
                spki_sha256: *digest,
                entry: key.number,
            }),
            None => Ok(()),
        }
    }

    /// Makes the signature over a package whose entry is durable.
    pub(crate) fn sign(&self, order: &ToSign) -> Result<SignedPackage, Refusal> {
        let failed = |message: String| Refusal::new(RefusalCode::Unavailable, message);
        let signer = self.keys.get(&order.key).ok_or_else(|| {
            failed(format!(
                "the authority has no access to the signing key {}",
                order.key
            ))
        })?;
        let octets = package::from_base64(&order.package);
        let octets = octets.ok_or_else(|| failed("the recorded package is damaged".to_owned()))?;
        let signature = signer
            .sign_parts(&[&octets, &association_token_object(order.token)])
            .map_err(|error| failed(crate::writer::chain(&error)))?;
        let (package, transaction_id) = package::assemble(&octets, &signature)
            .ok_or_else(|| failed("the recorded package is damaged".to_owned()))?;
        Ok(SignedPackage {
            package,
            transaction_id,
            counter: order.counter,
            association_token: order.token,
            entry: order.number,
        })
    }
}
