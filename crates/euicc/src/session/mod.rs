//! Mutual authentication and profile installation (SGP.22 v2.5 sections 3.0.1, 3.1.3, 5.5 and 5.7.5 to 5.7.14, with the
//! additions of SGP.32 v1.2).
//!
//! A session is a chain of states, each of which owns what the step after it needs: no state but the one that a successful
//! authentication made can prepare a download, and none but the one that this made can take a bound profile package. Whatever
//! a server or an LPA sends out of order therefore meets a state that has no such step.
//!
//! Rules that hold in every state:
//! * the eUICC has no clock, so validity dates are not checked;
//! * one refusal ends the session, and a new one needs a new challenge;
//! * nothing of a segment is looked at before its MAC was checked, and nothing is installed before the last segment was.

use std::sync::Arc;

use pki::{Signer, TrustAnchors};
use rand_core::CryptoRng;
use rsp::der::{Error, Oid};
use rsp::ids::{EidOctets, Iccid};
use rsp::saip::EuiccCapabilities;
use rsp::sgp22::{
    AuthenticateServerResponse, CancelSessionResponse, Certificate, DpProprietaryData, EuiccInfo2, OctetTo16,
    OtherSignedNotification, PrepareDownloadResponse, ProfileInstallationResult, ProfilePolicyAuthorisationRule,
    StoreMetadataRequest,
};
use zeroize::Zeroizing;

/// What a session needs of the eUICC around it. Everything that outlives the session goes through here.
pub(crate) trait Host {
    /// The EID, digits in order; it goes into the key derivation of ES8+.
    fn eid(&self) -> EidOctets;

    /// SK.EUICC and the certificates that chain to the CI with this SubjectKeyIdentifier (`euiccCiPKIdListForSigning`).
    fn identity(&self, ci_key_id: &[u8]) -> Option<Identity>;

    /// The CI keys that server certificates may chain to (`euiccCiPKIdListForVerification`), with their CRLs.
    fn trust_anchors(&self) -> &TrustAnchors;

    /// EUICCInfo2 as it is now; it is signed during authentication.
    fn euicc_info2(&self) -> EuiccInfo2;

    /// What profile packages may ask for.
    fn capabilities(&self) -> EuiccCapabilities;

    /// The Rules Authorisation Table. Empty: no Profile Policy Rule is allowed.
    fn rat(&self) -> Vec<ProfilePolicyAuthorisationRule>;

    /// Whether a Profile with this ICCID is installed.
    fn iccid_exists(&self, iccid: &Iccid) -> bool;

    /// Whether an operational Profile is installed. None with ppr1 may be added then (SGP.22 v2.5 section 2.9.2.1).
    fn has_operational_profile(&self) -> bool;

    /// Non-volatile memory left for Profiles, in octets.
    fn free_memory_octets(&self) -> usize;

    /// An ISD-P AID that no installed Profile has. `None` when there is no room for another Profile. Taken only once
    /// [`Host::install`] succeeds.
    fn allocate_isdp_aid(&mut self) -> Option<OctetTo16>;

    /// The next number of the counter that all notifications and package results share. Never gives a number again, also
    /// after a power cycle, once [`Host::install`] or [`Host::store_result`] has stored what carries it. Gaps are allowed.
    fn next_sequence_number(&mut self) -> i64;

    /// Stores the Profile (state disabled), its result and its notifications: all of it or nothing. Also forgets the
    /// retained one-time key.
    fn install(&mut self, profile: NewProfile) -> Result<(), InstallError>;

    /// Stores the result of a failed installation until it is removed from the notification list. Also forgets the retained
    /// one-time key.
    fn store_result(&mut self, result: &ProfileInstallationResult) -> Result<(), InstallError>;

    /// The one-time key of the last prepared download that has not led to a result.
    fn retained_key(&self) -> Option<RetainedKey>;

    /// Replaces the retained one-time key, or wipes it. It should survive a power cycle: a server that saw the connection
    /// break sends its package again only for the same key.
    fn retain_key(&mut self, key: Option<RetainedKey>) -> Result<(), InstallError>;
}

/// One of the eUICC's own keys, with the certificates that go with it.
#[derive(Clone)]
pub(crate) struct Identity {
    /// SK.EUICC.ECDSA.
    pub(crate) signer: Arc<dyn Signer>,
    /// CERT.EUICC.
    pub(crate) euicc_certificate: Certificate,
    /// CERT.EUM.
    pub(crate) eum_certificate: Certificate,
}

/// A Profile that passed every check, with what its installation leaves behind.
#[derive(Debug)]
pub(crate) struct NewProfile {
    /// From [`Host::allocate_isdp_aid`].
    pub(crate) isdp_aid: OctetTo16,
    /// As the SM-DP+ sent it.
    pub(crate) metadata: StoreMetadataRequest,
    /// Of ConfigureISDP.
    pub(crate) dp_proprietary_data: Option<DpProprietaryData>,
    /// Who delivered it, for ImmediateEnable.
    pub(crate) origin: Downloaded,
    /// The unprotected profile package. Contains keys and codes.
    pub(crate) package: Zeroizing<Vec<u8>>,
    /// Non-volatile memory that it takes, in octets.
    pub(crate) size_octets: usize,
    /// For the SM-DP+ that delivered it; kept as a notification.
    pub(crate) result: ProfileInstallationResult,
    /// One for each address that asked for install notifications.
    pub(crate) notifications: Vec<OtherSignedNotification>,
}

/// Which Profile a session installed, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Downloaded {
    /// The Profile.
    pub(crate) iccid: Iccid,
    /// registeredID of the SM-DP+.
    pub(crate) smdp_oid: Oid,
    /// Its address as it signed it.
    pub(crate) smdp_address: String,
}

/// A one-time key pair kept for a retry.
#[derive(Clone)]
pub(crate) struct RetainedKey {
    /// Only this SM-DP+ may ask for the key again.
    pub(crate) smdp_oid: Oid,
    /// [`pki::EphemeralKey::to_bytes`].
    pub(crate) key: Zeroizing<[u8; 33]>,
}

/// Why the eUICC could not store something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InstallError {
    /// Not enough non-volatile memory.
    #[error("not enough non-volatile memory")]
    InsufficientMemory,
    /// The non-volatile memory failed.
    #[error("non-volatile memory failed")]
    Storage,
}

/// What became of one command of a bound profile package.
#[derive(Debug)]
pub(crate) enum BppOutcome {
    /// Taken; the answer is empty.
    Continue,
    /// The session is over, with or without a new Profile; the answer is this result.
    Finished(Box<ProfileInstallationResult>),
    /// No download is prepared, so there is nobody to sign a result for: 6985.
    NoSession,
}

/// The one session of an eUICC. Volatile: a power cycle ends it.
pub(crate) struct Session {}

impl Session {
    /// No session.
    pub(crate) fn new() -> Self {
        Self {}
    }

    /// ES10b.GetEUICCChallenge. Ends the session before it.
    pub(crate) fn new_challenge(&mut self, _host: &mut dyn Host, _rng: &mut dyn CryptoRng) -> [u8; 16] {
        [0; 16]
    }

    /// ES10b.AuthenticateServer (`BF38`). An error means malformed octets: 6A80.
    pub(crate) fn authenticate_server(
        &mut self,
        _host: &mut dyn Host,
        request: &[u8],
    ) -> Result<AuthenticateServerResponse, Error> {
        use rsp::der::Element;
        AuthenticateServerResponse::from_der(request)
    }

    /// ES10b.PrepareDownload (`BF21`). An error means malformed octets: 6A80.
    pub(crate) fn prepare_download(
        &mut self,
        _host: &mut dyn Host,
        _rng: &mut dyn CryptoRng,
        request: &[u8],
    ) -> Result<PrepareDownloadResponse, Error> {
        use rsp::der::Element;
        PrepareDownloadResponse::from_der(request)
    }

    /// Whether a reassembled ES10 command is a part of a bound profile package, by its tag: BF36, A0 to A3, 86, 88.
    pub(crate) fn is_bpp_command(command: &[u8]) -> bool {
        matches!(command, [0xBF, 0x36, ..] | [0xA0..=0xA3 | 0x86 | 0x88, ..])
    }

    /// ES10b.LoadBoundProfilePackage: one command, reassembled from its STORE DATA blocks.
    pub(crate) fn load_bpp(&mut self, _host: &mut dyn Host, _command: &[u8]) -> BppOutcome {
        BppOutcome::NoSession
    }

    /// ES10b.CancelSession (`BF41`). An error means malformed octets: 6A80.
    pub(crate) fn cancel_session(
        &mut self,
        _host: &mut dyn Host,
        request: &[u8],
    ) -> Result<CancelSessionResponse, Error> {
        use rsp::der::Element;
        CancelSessionResponse::from_der(request)
    }

    /// Ends the session as a reset does. A package that was being loaded leaves a result with reason `interruption`.
    pub(crate) fn interrupt(&mut self, _host: &mut dyn Host) {}

    /// The Profile that the current session installed, for ES10b.ImmediateEnable. A new challenge ends that.
    pub(crate) fn last_downloaded(&self) -> Option<&Downloaded> {
        None
    }
}
