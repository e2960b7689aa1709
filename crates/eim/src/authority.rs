//! The seam behind which eUICC Packages are signed.
//!
//! The eIM hands over *what it wants done*, never octets to sign: the authority builds the
//! `EuiccPackageSigned` itself. Today it lives in this process; the trait is what a separate
//! process will implement.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use pki::{SignError, Signer};
use rsp::der::{Element, Encoded, Null, Writer};
use rsp::ids::{Eid, TransactionId};
use rsp::sgp22::{Signature, SubjectPublicKeyInfo};
use rsp::sgp32::{
    EimConfigurationData, EimId, EimIdType, EimPublicKeyData, EimSupportedProtocol, EuiccPackage,
    EuiccPackageRequest, EuiccPackageSigned, TrustedPublicKeyDataTls,
};

use crate::command::{Command, CommandError};

/// One eUICC Package that somebody asked for.
#[derive(Debug, Clone)]
pub struct PackageOrder {
    /// The eUICC it is for.
    pub eid: Eid,
    /// Greater than every counter used for this eUICC before.
    pub counter: i64,
    /// Ties the result to the operation.
    pub eim_transaction_id: TransactionId,
    /// The association token that this eUICC keeps for this eIM, if one was asked for.
    pub association_token: Option<i64>,
    /// All PSMOs, or all eCOs.
    pub commands: Vec<Command>,
}

/// Why an authority did not sign.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The commands cannot stand in one package.
    #[error("the commands do not make a package")]
    Commands(#[source] CommandError),
    /// The key could not be used.
    #[error("the eIM signing key could not be used")]
    Key(#[source] SignError),
}

/// A signed package, or the reason why there is none, later.
pub type SignedPackage<'a> =
    Pin<Box<dyn Future<Output = Result<Encoded<EuiccPackageRequest>, AuthorityError>> + Send + 'a>>;

/// Builds and signs eUICC Packages.
pub trait Authority: Send + Sync {
    /// Builds the package that `order` describes and signs it.
    fn sign_package<'a>(&'a self, order: &'a PackageOrder) -> SignedPackage<'a>;

    /// What an eUICC has to store to accept packages of this eIM.
    fn association_data(&self) -> EimConfigurationData;
}

/// What this eIM calls itself and how devices reach it.
#[derive(Debug, Clone)]
pub struct EimIdentity {
    /// The name that eUICCs know this eIM by.
    pub eim_id: EimId,
    /// Where devices poll.
    pub fqdn: String,
    /// What devices trust for the TLS connection.
    pub tls_trust: Option<TrustedPublicKeyDataTls>,
}

/// An authority in this process, with its key in memory or behind a key store.
pub struct LocalAuthority {
    identity: EimIdentity,
    signer: Arc<dyn Signer>,
}

impl LocalAuthority {
    /// An authority that signs with `signer`.
    pub fn new(identity: EimIdentity, signer: Arc<dyn Signer>) -> Self {
        Self { identity, signer }
    }

    fn sign(&self, order: &PackageOrder) -> Result<Encoded<EuiccPackageRequest>, AuthorityError> {
        let euicc_package: EuiccPackage =
            Command::to_package(&order.commands).map_err(AuthorityError::Commands)?;
        let signed = Encoded::new(EuiccPackageSigned {
            eim_id: self.identity.eim_id.clone(),
            eid_value: order.eid.to_field(),
            counter_value: order.counter,
            eim_transaction_id: Some(order.eim_transaction_id.clone()),
            euicc_package,
            extensions: Default::default(),
        });
        let signature = self
            .signer
            .sign_parts(&[
                signed.bytes(),
                &association_token_object(order.association_token),
            ])
            .map_err(AuthorityError::Key)?;
        Ok(Encoded::new(EuiccPackageRequest {
            euicc_package_signed: signed,
            eim_signature: Signature(signature.as_bytes().as_slice().into()),
            extensions: Default::default(),
        }))
    }
}

impl Authority for LocalAuthority {
    fn sign_package<'a>(&'a self, order: &'a PackageOrder) -> SignedPackage<'a> {
        Box::pin(std::future::ready(self.sign(order)))
    }

    fn association_data(&self) -> EimConfigurationData {
        let public_key = SubjectPublicKeyInfo::from_der(self.signer.public_key().spki_der()).ok();
        EimConfigurationData {
            eim_fqdn: Some(self.identity.fqdn.clone()),
            eim_id_type: Some(EimIdType::EimIdTypeFqdn),
            counter_value: Some(0),
            association_token: Some(EimConfigurationData::COMPUTE_ASSOCIATION_TOKEN),
            eim_public_key_data: public_key.map(EimPublicKeyData::EimPublicKey),
            trusted_public_key_data_tls: self.identity.tls_trust.clone(),
            eim_supported_protocol: Some(EimSupportedProtocol::of([
                EimSupportedProtocol::EIM_RETRIEVE_HTTPS,
            ])),
            indirect_profile_download: Some(Null),
            ..EimConfigurationData::named(self.identity.eim_id.clone())
        }
    }
}

/// The second part of what package and result signatures cover: `84 LL VV`, with 0 when no token
/// was configured (SGP.32 section 2.11.1.1).
pub(crate) fn association_token_object(token: Option<i64>) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.value(0x84, &token.unwrap_or(0));
    writer.into_bytes()
}
