//! The octets of eUICC Packages and of what eUICCs answer to them (SGP.32 section 2.11).
//!
//! A package is built once, recorded, and from then on only copied. Signatures of both sides cover a data object followed by
//! the association token as `84 LL VV` (section 2.11.1.1).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use intent::Digest;
use intent::command::CommandError;
use pki::{PublicKey, Signature};
use rsp::der::{Element, Encoded};
use rsp::ids::{Eid, TransactionId};
use rsp::sgp22::{ProfileInfoListResponse, Signature as SignatureField, SubjectPublicKeyInfo};
use rsp::sgp32::{
    AddEimResult, AddEimResultCode, ConfigureImmediateEnableResult, DeleteEimResult,
    DeleteProfileResult, DisableProfileResult, Eco, EimConfigurationData, EimId, EimPublicKeyData,
    EnableProfileResult, EuiccPackage, EuiccPackageErrorSigned, EuiccPackageRequest,
    EuiccPackageResult, EuiccPackageResultSigned, EuiccPackageSigned, EuiccResultData,
    ListEimResult, OkOrUndefinedError, RollbackProfileResult, SetFallbackAttributeResult,
    TrustedPublicKeyDataTls, UnsetFallbackAttributeResult, UpdateEimResult,
    association_token_object,
};

/// The highest counter of a package: four octets, not negative.
pub const COUNTER_MAX: i64 = 0x7FFF_FFFF;
/// Octets of a result that fits into an entry of the ledger.
pub const RESULT_MAX: usize = 40_000;
/// Octets of an eimTransactionId.
pub(crate) const TRANSACTION_OCTETS: usize = 16;

/// How devices reach the eIM: what stands in its configuration data besides names and keys.
#[derive(Debug, Clone)]
pub struct Reachability {
    /// Where devices poll.
    pub fqdn: String,
    /// What devices trust for the TLS connection.
    pub tls_trust: Option<TrustedPublicKeyDataTls>,
}

/// What an eUICC answered and signed.
#[derive(Debug)]
pub struct Answer {
    octets: Vec<u8>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Result(EuiccPackageResultSigned),
    Error(EuiccPackageErrorSigned),
}

/// Why octets are no answer that can be recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// Too long.
    #[error("a result has at most {RESULT_MAX} octets")]
    TooLong,
    /// Not an EuiccPackageResult.
    #[error("not an EuiccPackageResult: {0}")]
    Malformed(rsp::der::Error),
    /// One that anybody could have made.
    #[error("the result is not signed by an eUICC")]
    Unsigned,
}

/// Base64 as it stands in entries.
pub(crate) fn to_base64(octets: &[u8]) -> String {
    STANDARD.encode(octets)
}

/// Back from base64.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// What is signed: EuiccPackageSigned.
pub(crate) fn build(
    eim_id: &EimId,
    eid: Eid,
    counter: i64,
    transaction: &[u8; TRANSACTION_OCTETS],
    content: EuiccPackage,
) -> Vec<u8> {
    EuiccPackageSigned {
        eim_id: eim_id.clone(),
        eid_value: eid.to_field(),
        counter_value: counter,
        eim_transaction_id: TransactionId::new(transaction).ok(),
        euicc_package: content,
        extensions: Default::default(),
    }
    .to_der()
}

/// The content of a package that has the eUICC accept another key of this eIM. Members that are absent stay as they are
/// (SGP.32 section 2.11.1.1.3): it goes on counting.
pub(crate) fn adoption(eim_id: &EimId, spki: &[u8]) -> Result<EuiccPackage, CommandError> {
    let key = SubjectPublicKeyInfo::from_der(spki).map_err(|_| CommandError::EimKey)?;
    let data = EimConfigurationData {
        eim_public_key_data: Some(EimPublicKeyData::EimPublicKey(key)),
        ..EimConfigurationData::named(eim_id.clone())
    };
    Ok(EuiccPackage::EcoList(vec![Eco::UpdateEim(data)]))
}

/// The EuiccPackageRequest, and eimTransactionId in it.
pub(crate) fn assemble(package: &[u8], signature: &Signature) -> Option<(Vec<u8>, Vec<u8>)> {
    let signed = Encoded::<EuiccPackageSigned>::from_der(package).ok()?;
    let transaction = signed.eim_transaction_id.as_ref()?.octets().to_vec();
    let request = EuiccPackageRequest {
        euicc_package_signed: signed,
        eim_signature: SignatureField(signature.as_bytes().as_slice().into()),
        extensions: Default::default(),
    };
    Some((request.to_der(), transaction))
}

/// What an eUICC has to store to accept packages of this eIM.
pub(crate) fn configuration(
    eim_id: EimId,
    reachability: &Reachability,
    spki: &[u8],
) -> EimConfigurationData {
    EimConfigurationData::for_initial_association(
        eim_id,
        &reachability.fqdn,
        reachability.tls_trust.clone(),
        SubjectPublicKeyInfo::from_der(spki).ok(),
    )
}

/// Reads what was recorded of a package.
pub(crate) fn recorded(package: &str) -> Option<EuiccPackageSigned> {
    EuiccPackageSigned::from_der(&from_base64(package)?).ok()
}

/// How many commands a recorded package has.
pub(crate) fn commands(package: &str) -> Option<usize> {
    match recorded(package)?.euicc_package {
        EuiccPackage::PsmoList(list) => Some(list.len()),
        EuiccPackage::EcoList(list) => Some(list.len()),
        EuiccPackage::Unknown(_) => None,
    }
}

impl Answer {
    /// Reads an EuiccPackageResult (DER) that an eUICC signed.
    pub fn parse(octets: &[u8]) -> Result<Self, NoAnswer> {
        if octets.len() > RESULT_MAX {
            return Err(NoAnswer::TooLong);
        }
        let content = match EuiccPackageResult::from_der(octets).map_err(NoAnswer::Malformed)? {
            EuiccPackageResult::EuiccPackageResultSigned(result) => Content::Result(result),
            EuiccPackageResult::EuiccPackageErrorSigned(error) => Content::Error(error),
            EuiccPackageResult::EuiccPackageErrorUnsigned(_) | EuiccPackageResult::Unknown(_) => {
                return Err(NoAnswer::Unsigned);
            }
        };
        Ok(Self {
            octets: octets.to_vec(),
            content,
        })
    }

    /// EuiccPackageResult, DER.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// SHA-256 of the part that is signed: the same, whoever encodes or signs the same answer once more.
    pub fn digest(&self) -> Digest {
        Digest::of(&[self.signed()])
    }

    /// The eIM it is for.
    pub fn eim_id(&self) -> &EimId {
        match &self.content {
            Content::Result(it) => &it.euicc_package_result_data_signed.eim_id,
            Content::Error(it) => &it.euicc_package_error_data_signed.eim_id,
        }
    }

    /// Counter of the package it answers.
    pub fn counter(&self) -> i64 {
        match &self.content {
            Content::Result(it) => it.euicc_package_result_data_signed.counter_value,
            Content::Error(it) => it.euicc_package_error_data_signed.counter_value,
        }
    }

    /// Sequence number; errors have none.
    pub fn seq_number(&self) -> Option<i64> {
        match &self.content {
            Content::Result(it) => Some(it.euicc_package_result_data_signed.seq_number),
            Content::Error(_) => None,
        }
    }

    /// Results of commands; none of an error.
    pub fn results(&self) -> &[EuiccResultData] {
        match &self.content {
            Content::Result(it) => &it.euicc_package_result_data_signed.euicc_result,
            Content::Error(_) => &[],
        }
    }

    /// Whether the eUICC with this key signed it, with this association token.
    pub fn is_signed_by(&self, key: &PublicKey, token: Option<i64>) -> bool {
        let signature = match &self.content {
            Content::Result(it) => &it.euicc_sign_epr,
            Content::Error(it) => &it.euicc_sign_epe,
        };
        Signature::from_wire(signature).is_ok_and(|signature| {
            key.verify_parts(
                &[self.signed(), &association_token_object(token)],
                &signature,
            )
            .is_ok()
        })
    }

    /// Whether every one of `commands` succeeded.
    pub fn is_success(&self, commands: usize) -> bool {
        matches!(self.content, Content::Result(_))
            && self.results().len() == commands
            && self.results().iter().all(is_ok)
    }

    fn signed(&self) -> &[u8] {
        match &self.content {
            Content::Result(it) => it.euicc_package_result_data_signed.bytes(),
            Content::Error(it) => it.euicc_package_error_data_signed.bytes(),
        }
    }
}

fn is_ok(result: &EuiccResultData) -> bool {
    use EuiccResultData as R;
    match result {
        R::EnableResult(code) => *code == EnableProfileResult::Ok,
        R::DisableResult(code) => *code == DisableProfileResult::Ok,
        R::DeleteResult(code) => *code == DeleteProfileResult::Ok,
        R::ListProfileInfoResult(response) => {
            matches!(response, ProfileInfoListResponse::ProfileInfoListOk(_))
        }
        R::GetRatResult(_) => true,
        R::ConfigureImmediateEnableResult(code) => *code == ConfigureImmediateEnableResult::Ok,
        R::AddEimResult(AddEimResult::AssociationToken(_)) => true,
        R::AddEimResult(AddEimResult::AddEimResultCode(code)) => *code == AddEimResultCode::Ok,
        R::AddEimResult(AddEimResult::Unknown(_)) => false,
        R::DeleteEimResult(code) => {
            matches!(code, DeleteEimResult::Ok | DeleteEimResult::LastEimDeleted)
        }
        R::UpdateEimResult(code) => *code == UpdateEimResult::Ok,
        R::ListEimResult(result) => matches!(result, ListEimResult::EimIdList(_)),
        R::RollbackResult(code) => *code == RollbackProfileResult::Ok,
        R::SetFallbackAttributeResult(code) => *code == SetFallbackAttributeResult::Ok,
        R::UnsetFallbackAttributeResult(code) => *code == UnsetFallbackAttributeResult::Ok,
        R::SetDefaultDpAddressResult(response) => {
            response.set_default_dp_address_result == OkOrUndefinedError::Ok
        }
        R::ProcessingTerminated(_) | R::Unknown(_) => false,
    }
}
