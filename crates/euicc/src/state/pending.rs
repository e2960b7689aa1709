use rsp::der::Encoded;
use rsp::sgp22::{KeyIdentifier, NotificationMetadata, ProfileInstallationResult, Signature};
use rsp::sgp32::EuiccPackageResult;
use rsp::{choice, sequence};

choice! {
    /// What is kept until it is acknowledged, in the order of the sequence numbers.
    pub(crate) enum Pending {
        value Notification @ 0xA0: KeptNotification,
        elem InstallationResult: ProfileInstallationResult,
        value PackageResult @ 0xA1: KeptResult,
    }
}

sequence! {
    /// A notification without the certificates, which are put to it when it is retrieved.
    pub(crate) struct KeptNotification @ 0x30 {
        elem metadata: Encoded<NotificationMetadata>,
        elem signature: Signature,
        /// The CI of the certificate that verifies the signature.
        req ci_key_id @ 0x80: KeyIdentifier,
    }
}

sequence! {
    /// A result of an eUICC Package.
    pub(crate) struct KeptResult @ 0x30 {
        req seq_number @ 0x80: i64,
        elem result: EuiccPackageResult,
    }
}

impl Pending {
    /// `None` only for an entry that a later version wrote.
    pub(crate) fn seq_number(&self) -> Option<i64> {
        match self {
            Self::Notification(kept) => Some(kept.metadata.seq_number),
            Self::InstallationResult(result) => Some(
                result
                    .profile_installation_result_data
                    .notification_metadata
                    .seq_number,
            ),
            Self::PackageResult(kept) => Some(kept.seq_number),
            Self::Unknown(_) => None,
        }
    }

    /// The metadata of a notification; package results have none.
    pub(crate) fn metadata(&self) -> Option<&NotificationMetadata> {
        match self {
            Self::Notification(kept) => Some(&kept.metadata),
            Self::InstallationResult(result) => Some(
                &result
                    .profile_installation_result_data
                    .notification_metadata,
            ),
            Self::PackageResult(_) | Self::Unknown(_) => None,
        }
    }
}
