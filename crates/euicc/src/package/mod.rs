//! ES10b.LoadEuiccPackage: packages that an Associated eIM signed (SGP.32 v1.2 sections 2.11.1.1, 3.3.1 and 5.9.1).
//!
//! [`load`] is the ladder of checks; who falls off it early gets an unsigned error, who gets past the signature a signed
//! one, and neither changes anything. At the top the counter value is stored before anything is executed, so that a
//! package can be executed once and never again, whatever happens to the power.

mod eco;
mod execution;
mod psmo;

use pki::Signature as SignatureValue;
use rsp::der::{Element, Encoded, Limits, Opaque, Reader, Tag, Value};
use rsp::ids::{EidOctets, TransactionId};
use rsp::sgp22::Signature;
use rsp::sgp32::{
    EimId, EuiccPackageErrorCode, EuiccPackageErrorDataSigned, EuiccPackageErrorSigned,
    EuiccPackageErrorUnsigned, EuiccPackageResult, EuiccPackageResultDataSigned,
    EuiccPackageResultSigned, EuiccResultData, association_token_object,
};
use rsp::{choice, sequence};

use crate::apdu::StatusWord;
use crate::decisions::{
    COUNTER_VALUE_MAX, INTERRUPTED_PACKAGE, REFUSE_UNREADABLE_PACKAGE_UNSIGNED,
};
use crate::eims::public_key;
use crate::isdr::{Answer, CatBusy};
use crate::platform::{Failure, Platform};
use crate::state::{AssociatedEim, Executing, KeptResult, Pending};

sequence! {
    /// An eUICC Package whose operations are not looked at yet: one that is damaged must not keep the others from being
    /// executed, nor the package from being answered.
    struct UnopenedRequest @ 0xBF51 {
        elem euicc_package_signed: Encoded<UnopenedPackage>,
        elem eim_signature: Signature,
    }
}

sequence! {
    /// The signed part.
    struct UnopenedPackage @ 0x30 {
        req eim_id @ 0x80: EimId,
        req eid_value @ 0x5A: EidOctets,
        req counter_value @ 0x81: i64,
        opt eim_transaction_id @ 0x82: TransactionId,
        elem operations: Operations,
    }
}

choice! {
    /// A run of TLVs, one for each operation.
    enum Operations {
        value PsmoList @ 0xA0: Opaque,
        value EcoList @ 0xA1: Opaque,
    }
}

/// Checks a package, executes it and answers its result.
pub(crate) fn load(
    platform: &mut Platform,
    command: &[u8],
    busy: CatBusy,
) -> Result<Answer, Failure> {
    let request = match UnopenedRequest::from_der(command) {
        Ok(request) => request,
        Err(error) => {
            tracing::debug!(%error, "package cannot be read");
            return unreadable(command);
        }
    };
    let package = &request.euicc_package_signed;
    let Some(eim) = platform.state.eim(&package.eim_id) else {
        return Ok(unsigned_error(package, None));
    };
    let token = eim.association_token;
    if !is_signed_by(eim, &request) {
        return Ok(unsigned_error(package, token));
    }
    let context = Executing {
        eim_id: package.eim_id.clone(),
        counter_value: package.counter_value,
        eim_transaction_id: package.eim_transaction_id.clone(),
        association_token: token,
        euicc_ci_pk_id: eim.configuration.euicc_ci_pk_id.clone(),
        extensions: Default::default(),
    };
    if let Some(code) = refusal(platform, package, eim.counter_value, command.len()) {
        return signed_error(platform, &context, code);
    }

    store_counter(platform, &context)?;
    execution::execute(platform, &context, &package.operations, busy)
}

/// The checks behind the signature, in their order.
fn refusal(
    platform: &Platform,
    package: &UnopenedPackage,
    stored_counter: i64,
    octets: usize,
) -> Option<EuiccPackageErrorCode> {
    let state = &platform.state;
    let octets = i64::try_from(octets).unwrap_or(i64::MAX);
    if package.eid_value != state.eid {
        Some(EuiccPackageErrorCode::InvalidEid)
    } else if package.counter_value > COUNTER_VALUE_MAX {
        Some(EuiccPackageErrorCode::CounterValueOutOfRange)
    } else if package.counter_value <= stored_counter {
        Some(EuiccPackageErrorCode::ReplayError)
    } else if state.emergency.is_some() {
        Some(EuiccPackageErrorCode::EcallActive)
    } else if octets > state.options.package_octets_max {
        Some(EuiccPackageErrorCode::SizeOverflow)
    } else {
        None
    }
}

fn is_signed_by(eim: &AssociatedEim, request: &UnopenedRequest) -> bool {
    let key = eim
        .configuration
        .eim_public_key_data
        .as_ref()
        .and_then(public_key);
    let signature = SignatureValue::from_wire(&request.eim_signature);
    let (Some(key), Ok(signature)) = (key, signature) else {
        return false;
    };
    let token = association_token_object(eim.association_token);
    key.verify_parts(&[request.euicc_package_signed.bytes(), &token], &signature)
        .is_ok()
}

/// Uses the counter value up, durably. A rollback that an earlier package allowed ends here.
fn store_counter(platform: &mut Platform, context: &Executing) -> Result<(), Failure> {
    if let Some(eim) = platform.state.eim_mut(&context.eim_id) {
        eim.counter_value = context.counter_value;
    }
    platform.state.rollback = None;
    platform.state.executing = Some(context.clone());
    platform.commit()
}

/// Gives a package that power interrupted its result. Called when the card is powered on.
pub(crate) fn close_interrupted(platform: &mut Platform) -> Result<(), Failure> {
    let Some(context) = platform.state.executing.take() else {
        return Ok(());
    };
    let seq_number = platform.state.take_sequence_number();
    let outcome = vec![EuiccResultData::ProcessingTerminated(INTERRUPTED_PACKAGE)];
    let result = sign_result(platform, &context, seq_number, outcome)?;
    keep_result(platform, seq_number, result);
    platform.commit()
}

/// Signs a result (SGP.32 v1.2 section 2.11.2.1: over the data and the association token).
pub(crate) fn sign_result(
    platform: &Platform,
    context: &Executing,
    seq_number: i64,
    euicc_result: Vec<EuiccResultData>,
) -> Result<EuiccPackageResult, Failure> {
    let data = Encoded::new(EuiccPackageResultDataSigned {
        eim_id: context.eim_id.clone(),
        counter_value: context.counter_value,
        eim_transaction_id: context.eim_transaction_id.clone(),
        seq_number,
        euicc_result,
        extensions: Default::default(),
    });
    let euicc_sign_epr = sign(platform, context, data.bytes())?;
    Ok(EuiccPackageResult::EuiccPackageResultSigned(
        EuiccPackageResultSigned {
            euicc_package_result_data_signed: data,
            euicc_sign_epr,
            extensions: Default::default(),
        },
    ))
}

/// Keeps a result until it is acknowledged.
pub(crate) fn keep_result(platform: &mut Platform, seq_number: i64, result: EuiccPackageResult) {
    platform.keep(Pending::PackageResult(KeptResult {
        seq_number,
        result,
        extensions: Default::default(),
    }));
}

fn sign(platform: &Platform, context: &Executing, data: &[u8]) -> Result<Signature, Failure> {
    let ci_key_id = context.euicc_ci_pk_id.as_ref().map(|key_id| &key_id[..]);
    platform.sign(
        ci_key_id,
        &[data, &association_token_object(context.association_token)],
    )
}

fn signed_error(
    platform: &Platform,
    context: &Executing,
    code: EuiccPackageErrorCode,
) -> Result<Answer, Failure> {
    let data = Encoded::new(EuiccPackageErrorDataSigned {
        eim_id: context.eim_id.clone(),
        counter_value: context.counter_value,
        eim_transaction_id: context.eim_transaction_id.clone(),
        euicc_package_error_code: code,
        extensions: Default::default(),
    });
    let euicc_sign_epe = sign(platform, context, data.bytes())?;
    Ok(Answer::of(&EuiccPackageResult::EuiccPackageErrorSigned(
        EuiccPackageErrorSigned {
            euicc_package_error_data_signed: data,
            euicc_sign_epe,
            extensions: Default::default(),
        },
    )))
}

/// The token tells an eIM that lost it what to sign over.
fn unsigned_error(package: &UnopenedPackage, association_token: Option<i64>) -> Answer {
    Answer::of(&EuiccPackageResult::EuiccPackageErrorUnsigned(
        EuiccPackageErrorUnsigned {
            eim_id: package.eim_id.clone(),
            eim_transaction_id: package.eim_transaction_id.clone(),
            association_token,
            euicc_package_unsigned_error_code: None,
            extensions: Default::default(),
        },
    ))
}

/// Answers what is not a package: see [`REFUSE_UNREADABLE_PACKAGE_UNSIGNED`].
fn unreadable(command: &[u8]) -> Result<Answer, Failure> {
    let eim_id = eim_id_of(command).filter(|_| REFUSE_UNREADABLE_PACKAGE_UNSIGNED);
    let eim_id = eim_id.ok_or(StatusWord::WRONG_DATA)?;
    Ok(Answer::of(&EuiccPackageResult::EuiccPackageErrorUnsigned(
        EuiccPackageErrorUnsigned {
            eim_id,
            eim_transaction_id: None,
            association_token: None,
            euicc_package_unsigned_error_code: None,
            extensions: Default::default(),
        },
    )))
}

/// The first member of the first member, if nothing is wrong up to there.
fn eim_id_of(command: &[u8]) -> Option<EimId> {
    let limits = Limits::default();
    let request = Reader::new(command, &limits)
        .ok()?
        .expect(UNOPENED_REQUEST)
        .ok()?;
    let package = request.open().ok()?.expect(Tag::SEQUENCE).ok()?;
    let eim_id = package.open().ok()?.expect(Tag::new(0x80)).ok()?;
    EimId::decode_content(eim_id).ok()
}

const UNOPENED_REQUEST: Tag = Tag::new(0xBF51);
