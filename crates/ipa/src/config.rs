//! How an IPA behaves.

use rsp::binding::http::Binding;
use rsp::sgp22::{DeviceCapabilities, DeviceInfo, VersionType};
use rsp::sgp32::{IpaCapabilities, IpaFeatures, IpaSupportedProtocols};

use crate::card::CardSettings;

/// How an IPA behaves. [`Config::default`] is a device that polls over HTTPS and can download in both ways.
#[derive(Debug, Clone)]
pub struct Config {
    /// Function binding of ESipa.
    pub esipa_binding: Binding,
    /// Function binding of ES9+ and ES11; practically every server speaks JSON.
    pub es9plus_binding: Binding,
    /// Free text behind `gsma-rsp-ipad` in User-Agent, for example the maker. Not put behind it when empty.
    pub user_agent_text: String,
    /// What the IPA says it can do, and does: bits of [`IpaFeatures`].
    pub features: IpaFeatures,
    /// How the IPA reaches, or is reached by, an eIM.
    pub protocols: IpaSupportedProtocols,
    /// Download through the eIM also where the IPA could reach the SM-DP+ itself.
    pub indirect_only: bool,
    /// Poll also eIMs whose configuration data name no protocol. By SGP.32 v1.2 section 2.11.1.1.1 these speak a
    /// proprietary one.
    pub poll_without_protocol: bool,
    /// The device.
    pub device_info: DeviceInfo,
    /// MCC and MNC of the last registered PLMN (3GPP TS 24.008), for GetEimPackage.
    pub last_plmn: Option<[u8; 3]>,
    /// Who delivers Notifications that came from no download of a known way.
    pub notification_route: NotificationRoute,
    /// Whether the owner of the device consents to Profile Policy Rules that need consent (SGP.22 v2.5 section 2.4.12.2).
    pub policy_rules_consent: bool,
    /// Call ES10b.ImmediateEnable after a download. The eUICC decides whether that is configured.
    pub immediate_enable: bool,
    /// Let the eUICC ask for a REFRESH after functions of the IPA that change Profiles. Otherwise the IPA resets it.
    pub refresh: bool,
    /// The card.
    pub card: CardSettings,
    /// When to poll.
    pub timing: Timing,
    /// When to roll back.
    pub rollback: RollbackSettings,
    /// When to use the Fallback Profile.
    pub fallback: FallbackSettings,
    /// Bounds.
    pub limits: SessionLimits,
}

/// Who delivers Notifications to SM-DP+ servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotificationRoute {
    /// The IPA where it can reach servers itself, else the eIM.
    ByCapability,
    /// The IPA.
    Direct,
    /// The eIM.
    ThroughEim,
}

/// When to poll. All in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Between sessions in which all went well. Up to a tenth is taken off at random, so that a fleet spreads.
    pub poll_interval_ms: u64,
    /// First pause after a failure; it doubles with each further one. The pause taken is a random part of it, at least half.
    pub back_off_first_ms: u64,
    /// Longest pause after failures.
    pub back_off_max_ms: u64,
    /// Longest pause that a server's Retry-After can impose.
    pub retry_after_max_ms: u64,
    /// Pause after the card did not answer.
    pub card_retry_ms: u64,
    /// Pause while there is no connectivity.
    pub connectivity_retry_ms: u64,
}

/// When an enabling that allows it is taken back (SGP.32 v1.2 section 3.4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RollbackSettings {
    /// Attempts to deliver the result over the new Profile.
    pub attempts_max: u32,
    /// Pause between attempts, milliseconds.
    pub retry_ms: u64,
    /// Time after the enabling beyond which no attempt is made, milliseconds.
    pub timeout_ms: u64,
}

/// When the Fallback Profile is used (SGP.32 v1.2 section 3.4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FallbackSettings {
    /// Whether at all.
    pub is_used: bool,
    /// Time without connectivity after which it is enabled, milliseconds.
    pub lost_ms: u64,
    /// Time after which the other Profile is tried again, milliseconds. `None`: only an eIM ends the fallback.
    pub return_after_ms: Option<u64>,
}

/// Bounds on what peers can make an IPA do or keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// eIMs polled.
    pub eims_max: usize,
    /// Packages taken from one eIM in one session.
    pub packages_per_session_max: usize,
    /// Octets of one answer of a server.
    pub response_octets_max: usize,
    /// Notifications delivered in one session.
    pub notifications_per_session_max: usize,
    /// Octets of the Notifications sent along with one result.
    pub attached_notifications_octets_max: usize,
    /// Reports kept until they can be delivered. The oldest goes first.
    pub unsent_max: usize,
    /// Octets of one such report; a larger one is not kept.
    pub unsent_octets_max: usize,
    /// Downloads under way.
    pub downloads_max: usize,
    /// Attempts at one download.
    pub download_attempts_max: u32,
    /// Events of an SM-DS, or triggers one behind the other, followed for one trigger.
    pub followed_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            esipa_binding: Binding::Asn1,
            es9plus_binding: Binding::Json,
            user_agent_text: String::new(),
            features: IpaFeatures::of([
                IpaFeatures::DIRECT_RSP_SERVER_COMMUNICATION,
                IpaFeatures::INDIRECT_RSP_SERVER_COMMUNICATION,
                IpaFeatures::EIM_DOWNLOAD_DATA_HANDLING,
            ]),
            protocols: IpaSupportedProtocols::of([IpaSupportedProtocols::IPA_RETRIEVE_HTTPS]),
            indirect_only: false,
            poll_without_protocol: false,
            device_info: plain_device(),
            last_plmn: None,
            notification_route: NotificationRoute::ByCapability,
            policy_rules_consent: true,
            immediate_enable: true,
            refresh: true,
            card: CardSettings::default(),
            timing: Timing::default(),
            rollback: RollbackSettings::default(),
            fallback: FallbackSettings::default(),
            limits: SessionLimits::default(),
        }
    }
}

impl Config {
    /// The object that goes to eIMs.
    pub fn capabilities(&self) -> IpaCapabilities {
        IpaCapabilities {
            ipa_features: self.features.clone(),
            ipa_supported_protocols: Some(self.protocols.clone()),
            extensions: Default::default(),
        }
    }

    pub(crate) fn is_direct(&self) -> bool {
        self.features
            .contains(IpaFeatures::DIRECT_RSP_SERVER_COMMUNICATION)
            && !self.indirect_only
    }

    pub(crate) fn is_indirect(&self) -> bool {
        self.features
            .contains(IpaFeatures::INDIRECT_RSP_SERVER_COMMUNICATION)
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            poll_interval_ms: 3_600_000,
            back_off_first_ms: 5_000,
            back_off_max_ms: 3_600_000,
            retry_after_max_ms: 86_400_000,
            card_retry_ms: 10_000,
            connectivity_retry_ms: 30_000,
        }
    }
}

impl Default for RollbackSettings {
    fn default() -> Self {
        Self {
            attempts_max: 3,
            retry_ms: 20_000,
            timeout_ms: 180_000,
        }
    }
}

impl Default for FallbackSettings {
    fn default() -> Self {
        Self {
            is_used: true,
            lost_ms: 900_000,
            return_after_ms: Some(3_600_000),
        }
    }
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            eims_max: 16,
            packages_per_session_max: 64,
            response_octets_max: 2 << 20,
            notifications_per_session_max: 64,
            attached_notifications_octets_max: 64 << 10,
            unsent_max: 32,
            unsent_octets_max: 64 << 10,
            downloads_max: 8,
            download_attempts_max: 3,
            followed_max: 4,
        }
    }
}

/// A device about which nothing is known but that it speaks LTE.
fn plain_device() -> DeviceInfo {
    DeviceInfo {
        tac: [0x35, 0x00, 0x00, 0x00],
        device_capabilities: DeviceCapabilities {
            gsm_supported_release: None,
            utran_supported_release: None,
            cdma2000onex_supported_release: None,
            cdma2000hrpd_supported_release: None,
            cdma2000ehrpd_supported_release: None,
            eutran_epc_supported_release: Some(VersionType::new(15, 0, 0)),
            contactless_supported_release: None,
            rsp_crl_supported_version: None,
            nr_epc_supported_release: None,
            nr5gc_supported_release: None,
            eutran5gc_supported_release: None,
            lpa_svn: Some(VersionType::new(2, 5, 0)),
            cat_supported_classes: None,
            euicc_form_factor_type: None,
            device_additional_feature_support: None,
            extensions: Default::default(),
        },
        imei: None,
        extensions: Default::default(),
    }
}
