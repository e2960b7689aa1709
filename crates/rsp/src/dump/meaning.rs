//! What result and error codes mean, in words for the person who reads the dump.

/// The meaning of a code by its name, for those whose name does not say it all.
///
/// `type_name` decides where the same name means different things.
pub(super) fn of(type_name: &str, code: &str) -> Option<&'static str> {
    by_type(type_name, code).or_else(|| by_name(code))
}

fn by_type(type_name: &str, code: &str) -> Option<&'static str> {
    Some(match (type_name, code) {
        ("PeStatusCode", "Ok") => "installed",
        ("EuiccPackageErrorCode", "InvalidEid") => "the package is for another eUICC",
        ("EuiccPackageErrorCode" | "EuiccPackageUnsignedErrorCode", "SizeOverflow") => {
            "the eUICC cannot take a package or result this large"
        }
        ("EuiccPackageErrorCode", "CounterValueOutOfRange")
        | ("AddEimResultCode" | "UpdateEimResult", "CounterValueOutOfRange") => {
            "the counter is above 8388607 or otherwise unusable"
        }
        ("DeleteProfileResult", "RollbackNotAvailable") => {
            "the profile is kept for a pending rollback"
        }
        ("EnableProfileResult", "RollbackNotAvailable") => {
            "rollback was asked for, but there is no profile to return to"
        }
        ("ErrorReason", "PprNotAllowed") | ("CancelSessionReason", "PprNotAllowed") => {
            "the profile's policy rules are not in the eUICC's rules authorisation table"
        }
        ("AuthenticateErrorCode" | "DownloadErrorCode", "InvalidCertificate") => {
            "the server's certificate is expired, revoked, of the wrong role or not under the CI chosen"
        }
        ("AuthenticateErrorCode" | "DownloadErrorCode", "InvalidSignature") => {
            "the server's signature does not verify"
        }
        ("DeleteEimResult" | "UpdateEimResult", "EimNotFound") => {
            "no associated eIM has this eimId"
        }
        _ => return None,
    })
}

fn by_name(code: &str) -> Option<&'static str> {
    Some(match code {
        "UndefinedError" | "InstallFailedDueToUnknownError" => {
            "something failed that has no code of its own"
        }
        "NothingToDelete" => "there was nothing to delete",
        "IccidOrAidNotFound" | "IccidNotFound" => "no profile with this identifier is on the eUICC",
        "ProfileNotInDisabledState" => "the profile is enabled already, or must be disabled first",
        "ProfileNotInEnabledState" => "the profile is not the enabled one",
        "DisallowedByPolicy" => "a profile policy rule forbids it",
        "WrongProfileReenabling" => "only the profile enabled before may be enabled again",
        "CatBusy" => "a proactive command is running; try again later",
        "EcallActive" => "an emergency call is going on; try again later",
        "EcallNotAvailable" => "the eUICC has no emergency profile",
        "CommandError" => "the eUICC could not execute the command",
        "RollbackNotAllowed" => "no rollback is armed, or its time is over",
        "FallbackNotAvailable" => "no profile has the fallback attribute, or it cannot be used now",
        "FallbackNotAllowed" => "this profile may not be the fallback profile",
        "FallbackProfileEnabled" => "not possible while the fallback profile is enabled",
        "NoFallbackAttribute" => "no profile has the fallback attribute",
        "ReturnFallbackProfile" => "the profile is the one to return to from fallback",
        "ImmediateEnableNotAvailable" => "immediate enabling is not configured",
        "NoSessionContext" => "there is no session, or it has ended",
        "ReplayError" => "the counter is not above the last one: an old or repeated package",
        "InvalidAssociationToken" => "the association token is wrong",
        "InsufficientMemory"
        | "InstallFailedDueToInsufficientMemoryForProfile"
        | "NotEnoughMemory" => "not enough memory on the eUICC",
        "AssociatedEimAlreadyExists" => "the eUICC has an eIM already; use addEim through that one",
        "CiPKUnknown" | "CiPkUnknown" => "the eUICC has no such CI key",
        "CiPKIdNotSupported" | "CiPkNotSupported" => "no CI key is shared by eUICC and server",
        "InvalidCiPKId" | "EuiccCiPKIdNotFound" => "the eUICC has no certificate under this CI key",
        "LastEimDeleted" => "no eIM is left: the eUICC accepts AddInitialEim from anybody again",
        "NoEimPackageAvailable" => "nothing to do for this eUICC",
        "EidNotFound" => "the eIM does not manage this eUICC",
        "InvalidEid" => "not a valid EID",
        "MissingEid" => "the request must name the EID",
        "InvalidPackageFormat" => "the package could not be read",
        "UnknownPackage" => "the package is of a kind that the IPA does not know",
        "InvalidEimTransactionId" => "the eIM knows no such transaction",
        "InvalidDpAddress" => "the SM-DP+ address cannot be used",
        "SmdpAddressMismatch" => "the server answers for another address",
        "SmdpOidMismatch" => "the server's OID is not the one in the activation code",
        "EuiccVersionNotSupportedByDp" => "the SM-DP+ does not support this eUICC's version",
        "EumCertificateInvalid" | "EuiccCertificateInvalid" => "the certificate does not verify",
        "EumCertificateExpired" | "EuiccCertificateExpired" => {
            "the certificate is past its validity"
        }
        "EuiccSignatureInvalid" => "the eUICC's signature does not verify",
        "MatchingIdRefused" => "the activation code is unknown or used up",
        "EidMismatch" => "the profile is reserved for another eUICC",
        "NoEligibleProfile" => "no profile fits this eUICC and device",
        "InvalidTransactionId" => "the session is unknown or has ended",
        "DownloadOrderExpired" => "the order has expired",
        "EventIdUnknown" => "no such event at the SM-DS",
        "ConfirmationCodeMissing" => "this order needs a confirmation code",
        "ConfirmationCodeRefused" => "the confirmation code is wrong",
        "ConfirmationCodeRetriesExceeded" => {
            "too many wrong confirmation codes; the order is blocked"
        }
        "BppRebindingRefused" => "the profile was bound already and may not be bound again",
        "MetadataMismatch" | "InstallFailedDueToDataMismatch" => {
            "the profile differs from what was announced"
        }
        "InvalidOid" => "the OID in the certificate is not the expected one",
        "EuiccChallengeMismatch" => "the server signed another challenge: replay or mixed sessions",
        "UnsupportedCurve" => "the key is on a curve that the eUICC does not support",
        "UnsupportedCrtValues" => "the control reference template asks for other keys than AES-128",
        "UnsupportedRemoteOperationType" => "only installBoundProfilePackage is known",
        "UnsupportedProfileClass" => "profiles of this class are not accepted",
        "Scp03tStructureError" => "a protected segment is malformed",
        "Scp03tSecurityError" => "a MAC does not verify: segment changed, lost or swapped",
        "InstallFailedDueToIccidAlreadyExistsOnEuicc" => "a profile with this ICCID is installed",
        "InstallFailedDueToInterruption" => "the installation was interrupted",
        "InstallFailedDueToPeProcessingError" => {
            "a profile element could not be processed; see simaResponse"
        }
        "TestProfileInstallFailedDueToInvalidNaaKey" => {
            "a test profile must have the published test key"
        }
        "IncorrectInputValues" => "the request is malformed",
        "IncorrectTagList" => "a tag was asked for that may not be asked for here",
        "ProfileChangeOngoing" => "a profile is being enabled or disabled; try again",
        "ResultSizeOverflow" => "the results did not fit; commands after this were not executed",
        "UnknownOrDamagedCommand" => "this command and those after it were not executed",
        "Interruption" => "execution was interrupted; commands after this were not executed",
        "EimResetNotSupported" => "the eUICC cannot reset its eIM configuration",
        "ResetIecNotSupported" => "the eUICC cannot reset immediate enabling",
        "ParametersNotAvailable" => "the enabled profile has no connectivity parameters",
        "EndUserRejection" => "the user said no",
        "Postponed" => "the user will decide later",
        "LoadBppExecutionError" => "the eUICC refused the profile package",
        "PprNotAllowed" => "the profile's policy rules are not allowed",
        "PeNotSupported" => "a profile element of this kind is not supported",
        "MemoryFailure" => "writing memory failed",
        "BadValues" => "an element contains values that cannot be",
        "InvalidRequestFormat" => "the package is malformed",
        "InvalidParameter" => "an element has an unusable parameter",
        "RuntimeNotSupported" => "the profile needs an application runtime that is not there",
        "LibNotSupported" => "the profile needs a load package that is not there",
        "TemplateNotSupported" => "the profile uses a file template that is not known",
        "FeatureNotSupported" => "the profile needs a service that the eUICC does not have",
        "PinCodeMissing" => "a PIN or PUK is referred to but not set",
        "UnsupportedProfileVersion" => "the package is in a version that is not supported",
        _ => return None,
    })
}
