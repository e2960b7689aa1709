//! Notifications (SGP.22 v2.5 sections 3.5 and 5.7.9 to 5.7.11; SGP.32 v1.2 compact forms).

use super::{Certificate, CertificateChain, NotificationEvent, OctetTo16, Signature};
use crate::der::{Encoded, Octets, Oid};
use crate::ids::{EidOctets, Iccid, TransactionId};
use crate::{choice, codes, sequence, tagged};

choice! {
    /// A notification that waits for delivery.
    pub enum PendingNotification {
        /// A profile was, or was not, installed.
        elem ProfileInstallationResult: ProfileInstallationResult,
        /// Anything else happened.
        elem OtherSignedNotification: OtherSignedNotification,
        /// As the first, without what the eIM knows already.
        value CompactProfileInstallationResult @ 0xA0: CompactProfileInstallationResult,
        /// As the second, without what the eIM knows already.
        value CompactOtherSignedNotification @ 0xA1: CompactOtherSignedNotification,
    }
}

sequence! {
    /// The end of a download, signed by the eUICC.
    pub struct ProfileInstallationResult @ 0xBF37 {
        /// Signed.
        elem profile_installation_result_data: Encoded<ProfileInstallationResultData>,
        /// Over the whole BF27 object, with SK.EUICC.
        elem euicc_sign_pir: Signature,
    }
}

sequence! {
    /// What the eUICC signs about an installation.
    pub struct ProfileInstallationResultData @ 0xBF27 {
        /// The session.
        req transaction_id @ 0x80: TransactionId,
        /// The notification.
        elem notification_metadata: NotificationMetadata,
        /// The SM-DP+, from its certificate.
        req smdp_oid @ 0x06: Oid,
        /// How it ended.
        req final_result @ 0xA2: FinalResult,
    }
}

choice! {
    /// How an installation ended.
    pub enum FinalResult {
        /// Installed.
        value SuccessResult @ 0xA0: SuccessResult,
        /// Not installed.
        value ErrorResult @ 0xA1: ErrorResult,
    }
}

sequence! {
    /// The profile is installed.
    pub struct SuccessResult @ 0x30 {
        /// Its ISD-P.
        req aid @ 0x4F: OctetTo16,
        /// EUICCResponse of the TCA profile package specification.
        req sima_response @ 0x04: Octets,
    }
}

sequence! {
    /// The profile is not installed.
    pub struct ErrorResult @ 0x30 {
        /// The command that failed.
        req bpp_command_id @ 0x80: BppCommandId,
        /// Why.
        req error_reason @ 0x81: ErrorReason,
        /// EUICCResponse of the TCA profile package specification.
        opt sima_response @ 0x82: Octets,
    }
}

codes! {
    /// A command of ES8+.
    pub enum BppCommandId {
        InitialiseSecureChannel = 0,
        ConfigureIsdp = 1,
        StoreMetadata = 2,
        StoreMetadata2 = 3,
        ReplaceSessionKeys = 4,
        LoadProfileElements = 5,
    }

    /// Why a profile was not installed.
    pub enum ErrorReason {
        IncorrectInputValues = 1,
        InvalidSignature = 2,
        InvalidTransactionId = 3,
        UnsupportedCrtValues = 4,
        UnsupportedRemoteOperationType = 5,
        UnsupportedProfileClass = 6,
        Scp03tStructureError = 7,
        Scp03tSecurityError = 8,
        InstallFailedDueToIccidAlreadyExistsOnEuicc = 9,
        InstallFailedDueToInsufficientMemoryForProfile = 10,
        InstallFailedDueToInterruption = 11,
        InstallFailedDueToPeProcessingError = 12,
        InstallFailedDueToDataMismatch = 13,
        TestProfileInstallFailedDueToInvalidNaaKey = 14,
        PprNotAllowed = 15,
        InstallFailedDueToUnknownError = 127,
    }
}

sequence! {
    /// What happened, and who is to be told.
    pub struct NotificationMetadata @ 0xBF2F {
        /// One counter for all notifications of an eUICC, never reused.
        req seq_number @ 0x80: i64,
        /// Exactly one event.
        req profile_management_operation @ 0x81: NotificationEvent,
        /// FQDN.
        req notification_address @ 0x0C: String,
        /// The profile.
        opt iccid @ 0x5A: Iccid,
    }
}

sequence! {
    /// A profile was enabled, disabled or deleted, or installed and more than one is told.
    pub struct OtherSignedNotification @ 0x30 {
        /// Signed.
        elem tbs_other_notification: Encoded<NotificationMetadata>,
        /// Over the whole BF2F object, with SK.EUICC.
        elem euicc_notification_signature: Signature,
        /// CERT.EUICC.
        elem euicc_certificate: Certificate,
        /// CERT.EUM; in SGP.22 v3, where it is called nextCertInChain, whichever certifies CERT.EUICC: the EUM or its sub-CA.
        elem eum_certificate: Certificate,
        /// The rest of the chain below the CI. Since SGP.22 v3.
        opt other_certs_in_chain @ 0xA1: CertificateChain,
    }
}

sequence! {
    /// Compact form of [`ProfileInstallationResult`]; the signature is over the full object.
    pub struct CompactProfileInstallationResult @ 0x30 {
        /// What the eIM cannot know.
        req compact_profile_installation_result_data @ 0xA0: CompactProfileInstallationResultData,
        /// Over the full BF27 object.
        elem euicc_sign_pir: Signature,
    }
}

sequence! {
    /// What an eIM needs to rebuild [`ProfileInstallationResultData`].
    pub struct CompactProfileInstallationResultData @ 0x30 {
        /// The session.
        req transaction_id @ 0x80: TransactionId,
        /// Of the notification.
        req seq_number @ 0x02: i64,
        /// Whether the notification has an ICCID. True where absent.
        elem_opt iccid_present: IccidPresent,
        /// How it ended.
        req compact_final_result @ 0xA2: CompactFinalResult,
    }
}

tagged! {
    /// BOOLEAN of [`CompactProfileInstallationResultData`].
    pub struct IccidPresent @ 0x01: bool;
}

choice! {
    /// How an installation ended, in compact form.
    pub enum CompactFinalResult {
        /// Installed.
        value CompactSuccessResult @ 0xA0: CompactSuccessResult,
        /// Not installed.
        value ErrorResult @ 0xA1: ErrorResult,
    }
}

sequence! {
    /// The profile is installed.
    pub struct CompactSuccessResult @ 0x30 {
        /// Octets 14 and 15 of the AID of its ISD-P.
        req compact_aid @ 0x4F: Octets,
        /// Absent when it is `30 07 A0 05 30 03 80 01 00`.
        opt sima_response @ 0x04: Octets,
    }
}

sequence! {
    /// Compact form of [`OtherSignedNotification`], without the certificates.
    pub struct CompactOtherSignedNotification @ 0x30 {
        /// The eUICC, where the message around does not tell.
        opt eid_value @ 0x5A: EidOctets,
        /// Signed.
        elem tbs_other_notification: Encoded<NotificationMetadata>,
        /// Over the whole BF2F object.
        elem euicc_notification_signature: Signature,
    }
}

sequence! {
    /// ES10b.ListNotification.
    pub struct ListNotificationRequest @ 0xBF28 {
        /// Only these events.
        opt profile_management_operation @ 0x81: NotificationEvent,
    }
}

choice! {
    /// Answer of ES10b.ListNotification.
    pub enum ListNotificationResponse @ 0xBF28 {
        /// The notifications.
        value NotificationMetadataList @ 0xA0: Vec<NotificationMetadata>,
        /// None were listed.
        value ListNotificationsResultError @ 0x81: ListNotificationsResultError,
    }
}

codes! {
    /// Why notifications were not listed.
    pub enum ListNotificationsResultError { UndefinedError = 127 }

    /// Result of ES10b.RemoveNotificationFromList.
    pub enum DeleteNotificationStatus { Ok = 0, NothingToDelete = 1, UndefinedError = 127 }
}

sequence! {
    /// ES10b.RemoveNotificationFromList.
    pub struct NotificationSentRequest @ 0xBF30 {
        /// Of the notification that was delivered.
        req seq_number @ 0x80: i64,
    }
}

sequence! {
    /// Answer of ES10b.RemoveNotificationFromList.
    pub struct NotificationSentResponse @ 0xBF30 {
        /// The result.
        req delete_notification_status @ 0x80: DeleteNotificationStatus,
    }
}
