//! Where SGP.32 v1.2 as published in its modules and procedures leaves a choice, the choice of this eUICC: each one a
//! constant, so that it can be found, argued about and changed in one place.

use rsp::sgp32::{AddEimResultCode, ProcessingTerminated};

/// The largest `counterValue`. At least 8388607 is asked for (SGP.32 v1.2 section 2.11.1.1); four octets are kept here.
pub(crate) const COUNTER_VALUE_MAX: i64 = 0x7FFF_FFFF;

/// A package whose octets cannot be read at all is refused with 6A80; where at least its eimId can be read, with
/// euiccPackageErrorUnsigned, so that the eIM hears of it.
pub(crate) const REFUSE_UNREADABLE_PACKAGE_UNSIGNED: bool = true;

/// After an operation ended with an ordinary error code the operations behind it still run.
pub(crate) const CONTINUE_AFTER_ERROR_CODE: bool = true;

/// What a second enable or a second disable in one package is answered with; the package ends there.
pub(crate) const REPEATED_STATE_CHANGE: ProcessingTerminated =
    ProcessingTerminated::UnknownOrDamagedCommand;

/// A package of which power took the end gets a signed result when power is back: the counter is used up, so this is
/// the only way for the eIM to learn what became of it.
pub(crate) const INTERRUPTED_PACKAGE: ProcessingTerminated = ProcessingTerminated::Interruption;

/// ProfileRollback, the fallback and the Emergency Profile take over from an enabled Profile with PPR1: their results
/// have no code for a policy, and connectivity that cannot be restored is worse than a rule that is bent.
pub(crate) const RECOVERY_OVERRIDES_PPR1: bool = true;

/// The result of a rollback has a new sequence number: the one that it replaces is gone.
pub(crate) const ROLLBACK_RESULT_IS_NUMBERED_ANEW: bool = true;

/// Notifications for leaving the Emergency Profile are allowed, not demanded. Entering it must be silent, so leaving is.
pub(crate) const EMERGENCY_NOTIFIES: bool = false;

/// updateEim may lower a counter value only together with a new key. With the old key every package since then could be
/// played again.
pub(crate) const COUNTER_LOWERED_ONLY_WITH_NEW_KEY: bool = true;

/// updateEim cannot answer a token, so one must not be asked for.
pub(crate) const UPDATE_EIM_WITH_TOKEN_IS_REFUSED: bool = true;

/// AddInitialEim with an eimId twice. The eUICC need not look, but two keys under one name would be a trap.
pub(crate) const DUPLICATE_INITIAL_EIM: AddEimResultCode =
    AddEimResultCode::AssociatedEimAlreadyExists;

/// AddInitialEim without any eIM.
pub(crate) const EMPTY_INITIAL_EIM_LIST: AddEimResultCode = AddEimResultCode::CommandError;

/// A memory reset writes delete notifications for what it deletes.
pub(crate) const MEMORY_RESET_NOTIFIES: bool = true;

/// A memory reset ignores Profile Policy Rules: it is the device owner's last resort (SGP.22 v2.5 section 3.3.2).
pub(crate) const MEMORY_RESET_IGNORES_PPR: bool = true;

/// REFRESH asks for a UICC reset. `09` (eUICC Profile State Change) is for devices that announced it in TERMINAL
/// PROFILE, which this card does not read.
pub(crate) const REFRESH_QUALIFIER: u8 = 0x04;
