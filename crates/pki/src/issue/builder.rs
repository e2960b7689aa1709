//! Lets the X.509 builder of the library work from our templates and with our signers.

use der::Document;
use der::asn1::BitString;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::certificate::TbsCertificate;
use x509_cert::ext::Extension;
use x509_cert::name::Name;
use x509_cert::spki::{
    AlgorithmIdentifierOwned, DynSignatureAlgorithmIdentifier, EncodePublicKey,
    SignatureBitStringEncoding, SubjectPublicKeyInfoRef,
};

use crate::curve::ECDSA_WITH_SHA256;
use crate::private_key::Signer;
use crate::public_key::PublicKey;
use crate::signature_value::Signature;

/// Names and extensions exactly as given.
pub(super) struct FromTemplate {
    pub(super) subject: Name,
    pub(super) issuer: Name,
    pub(super) extensions: Vec<Extension>,
}

impl BuilderProfile for FromTemplate {
    fn get_issuer(&self, _subject: &Name) -> Name {
        self.issuer.clone()
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        _key: SubjectPublicKeyInfoRef<'_>,
        _issuer_key: SubjectPublicKeyInfoRef<'_>,
        _tbs: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<Extension>> {
        Ok(self.extensions.clone())
    }
}

/// Lets the X.509 builder sign with any of our signers.
pub(super) struct BuilderSigner<'a>(pub(super) &'a dyn Signer);

#[derive(Clone)]
pub(super) struct BuilderKey(PublicKey);

/// A signature in the form of X.509.
pub(super) struct X509Signature(Signature);

impl signature::Keypair for BuilderSigner<'_> {
    type VerifyingKey = BuilderKey;

    fn verifying_key(&self) -> BuilderKey {
        BuilderKey(self.0.public_key().clone())
    }
}

impl EncodePublicKey for BuilderKey {
    fn to_public_key_der(&self) -> x509_cert::spki::Result<Document> {
        Ok(Document::try_from(self.0.spki_der())?)
    }
}

impl DynSignatureAlgorithmIdentifier for BuilderSigner<'_> {
    fn signature_algorithm_identifier(&self) -> x509_cert::spki::Result<AlgorithmIdentifierOwned> {
        Ok(AlgorithmIdentifierOwned {
            oid: ECDSA_WITH_SHA256,
            parameters: None,
        })
    }
}

impl signature::Signer<X509Signature> for BuilderSigner<'_> {
    fn try_sign(&self, message: &[u8]) -> signature::Result<X509Signature> {
        self.0
            .sign(message)
            .map(X509Signature)
            .map_err(signature::Error::from_source)
    }
}

impl SignatureBitStringEncoding for X509Signature {
    fn to_bitstring(&self) -> der::Result<BitString> {
        let value = self.0.to_der().ok_or(der::ErrorKind::Failed)?;
        BitString::from_bytes(&value)
    }
}
