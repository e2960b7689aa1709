//! What an operator can ask of a device, in plain words, and its form on the wire.

use rsp::der::{Null, Octets, Oid};
use rsp::ids::{Iccid, TransactionId};
use rsp::sgp22::ProfileInfoListRequest;
use rsp::sgp32::{
    ConfigureImmediateEnable, ContactSmds, DeleteEim, Eco, EimConfigurationData, EimId, EnablePsmo,
    EuiccPackage, IccidArgument, IpaEuiccDataRequest, NoArguments, ProfileDownloadData,
    ProfileDownloadTriggerRequest, Psmo, SearchCriteriaEuiccPackageResult,
    SetDefaultDpAddressRequest,
};
use serde::{Deserialize, Serialize};

use crate::action::OperationKind;
use crate::digest::Digest;
use crate::sealed::{Opening, SALT_OCTETS, Sealed};
use crate::text;

/// One thing to do on a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Enable a Profile; with `rollback` the device returns to the old one when the new one has no connectivity.
    Enable {
        /// The Profile.
        #[serde(with = "text")]
        iccid: Iccid,
        /// Arm the rollback.
        #[serde(default)]
        rollback: bool,
    },
    /// Disable a Profile.
    Disable {
        /// The Profile.
        #[serde(with = "text")]
        iccid: Iccid,
    },
    /// Delete a Profile. It is gone for good.
    Delete {
        /// The Profile.
        #[serde(with = "text")]
        iccid: Iccid,
    },
    /// List the Profiles.
    ListProfiles,
    /// Read the Rules Authorisation Table.
    GetRat,
    /// Allow or forbid enabling right after a download.
    ConfigureImmediateEnable {
        /// Allowed.
        enabled: bool,
        /// Only from the SM-DP+ with this OID.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        smdp_oid: Option<String>,
        /// Only from this SM-DP+ address.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        smdp_address: Option<String>,
    },
    /// Make a Profile the Fallback Profile.
    SetFallback {
        /// The Profile.
        #[serde(with = "text")]
        iccid: Iccid,
    },
    /// Have no Fallback Profile.
    UnsetFallback,
    /// Set the default SM-DP+ address of the eUICC; empty removes it.
    SetDefaultSmdp {
        /// FQDN.
        address: String,
    },
    /// Associate a further eIM.
    AddEim {
        /// The other eIM's configuration data: DER, in upper-case hexadecimal.
        #[serde(with = "text::der")]
        configuration: EimConfigurationData,
    },
    /// Remove an eIM. Removing the last one opens the eUICC to anybody with access to its IPA.
    DeleteEim {
        /// Its name.
        #[serde(with = "text")]
        eim_id: EimId,
    },
    /// Replace what the eUICC knows about an eIM.
    UpdateEim {
        /// The members to replace: DER, in upper-case hexadecimal.
        #[serde(with = "text::der")]
        configuration: EimConfigurationData,
    },
    /// List the Associated eIMs.
    ListEims,
    /// Have the eUICC take another key of this eIM (updateEim). What is written to the eUICC is made by the authority, which
    /// knows the key.
    AdoptEimKey {
        /// SHA-256 of its SubjectPublicKeyInfo (DER).
        spki_sha256: Digest,
    },
    /// Ask eUICC and IPA for their data.
    ReadDeviceData {
        /// What to read.
        items: Vec<DataItem>,
    },
    /// Download a Profile.
    Download {
        /// From where.
        source: DownloadSource,
        /// Through this eIM (ES9+'), or by the device itself (ES9+).
        #[serde(default)]
        route: Route,
        /// Entered by the subscriber of the profile, where the SM-DP+ requires it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confirmation_code: Option<Sealed>,
    },
}

/// How a Profile reaches a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Route {
    /// The device talks to the SM-DP+ (ES9+).
    #[default]
    Direct,
    /// This eIM relays (ESipa and ES9+').
    Indirect,
}

/// Where a Profile comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DownloadSource {
    /// SGP.22 activation code.
    ActivationCode {
        /// The SM-DP+ in it, for policy and people to see.
        smdp: String,
        /// The whole code, with or without `LPA:`.
        code: Sealed,
    },
    /// The default SM-DP+ of the eUICC.
    DefaultSmdp,
    /// An SM-DS; without an address the root SM-DS of the eUICC.
    Smds(Option<String>),
}

/// A member of IpaEuiccData that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names are those of IpaEuiccData")]
pub enum DataItem {
    Notifications,
    DefaultSmdpAddress,
    PackageResults,
    EuiccInfo1,
    EuiccInfo2,
    RootSmdsAddress,
    AssociationToken,
    EumCertificate,
    EuiccCertificate,
    IpaCapabilities,
    DeviceInfo,
}

impl DownloadSource {
    /// An activation code in the clear.
    pub fn activation_code(code: &str) -> Result<Self, CommandError> {
        Ok(Self::ActivationCode {
            smdp: ActivationCode::parse(code)?.smdp_address.to_owned(),
            code: Sealed::Open(code.to_owned()),
        })
    }
}

impl DataItem {
    /// What is read from a device that is seen for the first time.
    pub const INTRODUCTION: &'static [Self] = &[
        Self::EuiccInfo1,
        Self::EuiccInfo2,
        Self::AssociationToken,
        Self::EumCertificate,
        Self::EuiccCertificate,
        Self::IpaCapabilities,
        Self::DeviceInfo,
    ];

    fn tag(self) -> &'static [u8] {
        match self {
            Self::Notifications => &[0xA0],
            Self::DefaultSmdpAddress => &[0x81],
            Self::PackageResults => &[0xA2],
            Self::EuiccInfo1 => &[0xBF, 0x20],
            Self::EuiccInfo2 => &[0xBF, 0x22],
            Self::RootSmdsAddress => &[0x83],
            Self::AssociationToken => &[0x84],
            Self::EumCertificate => &[0xA5],
            Self::EuiccCertificate => &[0xA6],
            Self::IpaCapabilities => &[0xA8],
            Self::DeviceInfo => &[0xA9],
        }
    }
}

/// Which eIM Package a list of commands becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackageKind {
    /// A signed eUICC Package of PSMOs or eCOs.
    EuiccPackage,
    /// IpaEuiccDataRequest.
    DeviceData,
    /// ProfileDownloadTriggerRequest.
    Download,
}

/// Why commands cannot go into one package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// None.
    #[error("a package needs at least one command")]
    Empty,
    /// More than fit.
    #[error("at most {limit} commands fit in one package")]
    TooMany {
        /// How many fit.
        limit: usize,
    },
    /// Profile operations, eIM operations, data requests and downloads each need their own package.
    #[error(
        "profile commands, eIM commands, data requests and downloads each need an operation of their own"
    )]
    Mixed,
    /// More than one enable or disable.
    #[error(
        "a package may enable at most one profile and disable at most one (SGP.32 section 2.11.1.1.2)"
    )]
    RepeatedStateChange,
    /// A list behind a change shows neither the old state nor the new one.
    #[error("list-profiles must stand before enable, disable and delete in a package")]
    ListAfterChange,
    /// Not an object identifier.
    #[error("smdp_oid is written like 2.999.10")]
    Oid,
    /// Not an activation code.
    #[error("an activation code looks like 1$smdp.example.com$MATCHINGID")]
    ActivationCode,
    /// The address beside the code is another one.
    #[error("the activation code is not one of the SM-DP+ {0}")]
    OtherSmdp(String),
    /// Only the authority can say what is written for a key.
    #[error("adopt-eim-key is carried out by the authority and stands alone in its package")]
    EimKey,
}

impl Command {
    /// Commands in one package.
    pub const PER_PACKAGE_MAX: usize = 16;

    /// Checks that `commands` can stand together and says what they become.
    pub fn check(commands: &[Self]) -> Result<PackageKind, CommandError> {
        let first = commands.first().ok_or(CommandError::Empty)?;
        if commands.len() > Self::PER_PACKAGE_MAX {
            return Err(CommandError::TooMany {
                limit: Self::PER_PACKAGE_MAX,
            });
        }
        match first {
            Self::ReadDeviceData { .. } | Self::Download { .. } if commands.len() > 1 => {
                Err(CommandError::Mixed)
            }
            Self::ReadDeviceData { .. } => Ok(PackageKind::DeviceData),
            Self::Download { source, .. } => {
                check_source(source)?;
                Ok(PackageKind::Download)
            }
            Self::AdoptEimKey { .. } if commands.len() > 1 => Err(CommandError::EimKey),
            Self::AdoptEimKey { .. } => Ok(PackageKind::EuiccPackage),
            _ => Self::to_package(commands).map(|_| PackageKind::EuiccPackage),
        }
    }

    /// What policy and roles call it.
    pub fn kind(&self) -> OperationKind {
        match self {
            Self::Enable { .. } => OperationKind::Enable,
            Self::Disable { .. } => OperationKind::Disable,
            Self::Delete { .. } => OperationKind::Delete,
            Self::ListProfiles | Self::GetRat | Self::ListEims | Self::ReadDeviceData { .. } => {
                OperationKind::Read
            }
            Self::ConfigureImmediateEnable { .. } | Self::SetDefaultSmdp { .. } => {
                OperationKind::Settings
            }
            Self::SetFallback { .. } | Self::UnsetFallback => OperationKind::Fallback,
            Self::AddEim { .. } | Self::DeleteEim { .. } | Self::UpdateEim { .. } => {
                OperationKind::EimConfiguration
            }
            Self::AdoptEimKey { .. } => OperationKind::SigningKey,
            Self::Download { .. } => OperationKind::Download,
        }
    }

    /// Whether it holds a secret in the clear.
    pub fn has_open_secret(&self) -> bool {
        self.secrets().any(|secret| secret.open().is_some())
    }

    /// Puts commitments in the place of secrets. `salt` is called for each; what opens them goes into `openings`.
    pub fn seal(
        &mut self,
        salt: &mut dyn FnMut() -> [u8; SALT_OCTETS],
        openings: &mut Vec<Opening>,
    ) {
        for secret in self.secrets_mut() {
            openings.extend(secret.seal(salt()));
        }
    }

    /// Puts secrets in the place of commitments. Whether all are at hand now.
    pub fn unseal(&mut self, openings: &[Opening]) -> bool {
        let mut complete = true;
        for secret in self.secrets_mut() {
            complete &= secret.unseal(openings);
        }
        complete
    }

    fn secrets(&self) -> impl Iterator<Item = &Sealed> {
        let (code, confirmation) = match self {
            Self::Download {
                source,
                confirmation_code,
                ..
            } => match source {
                DownloadSource::ActivationCode { code, .. } => {
                    (Some(code), confirmation_code.as_ref())
                }
                DownloadSource::DefaultSmdp | DownloadSource::Smds(_) => {
                    (None, confirmation_code.as_ref())
                }
            },
            _ => (None, None),
        };
        code.into_iter().chain(confirmation)
    }

    fn secrets_mut(&mut self) -> impl Iterator<Item = &mut Sealed> {
        let (code, confirmation) = match self {
            Self::Download {
                source,
                confirmation_code,
                ..
            } => match source {
                DownloadSource::ActivationCode { code, .. } => {
                    (Some(code), confirmation_code.as_mut())
                }
                DownloadSource::DefaultSmdp | DownloadSource::Smds(_) => {
                    (None, confirmation_code.as_mut())
                }
            },
            _ => (None, None),
        };
        code.into_iter().chain(confirmation)
    }

    /// The PSMOs or eCOs.
    pub fn to_package(commands: &[Self]) -> Result<EuiccPackage, CommandError> {
        Self::check_order(commands)?;
        let psmos: Option<Vec<Psmo>> = commands
            .iter()
            .map(Self::to_psmo)
            .collect::<Result<_, _>>()?;
        if let Some(psmos) = psmos {
            return Ok(EuiccPackage::PsmoList(psmos));
        }
        if commands
            .iter()
            .any(|command| matches!(command, Self::AdoptEimKey { .. }))
        {
            return Err(CommandError::EimKey);
        }
        let ecos: Option<Vec<Eco>> = commands.iter().map(Self::to_eco).collect();
        ecos.map(EuiccPackage::EcoList).ok_or(CommandError::Mixed)
    }

    /// The content rules of a PSMO list.
    fn check_order(commands: &[Self]) -> Result<(), CommandError> {
        if commands.is_empty() {
            return Err(CommandError::Empty);
        }
        let enables = commands
            .iter()
            .filter(|c| matches!(c, Self::Enable { .. }))
            .count();
        let disables = commands
            .iter()
            .filter(|c| matches!(c, Self::Disable { .. }))
            .count();
        if enables > 1 || disables > 1 {
            return Err(CommandError::RepeatedStateChange);
        }
        let changes = |c: &Self| {
            matches!(
                c,
                Self::Enable { .. } | Self::Disable { .. } | Self::Delete { .. }
            )
        };
        let lists_after_change = commands
            .iter()
            .skip_while(|c| !changes(c))
            .any(|c| matches!(c, Self::ListProfiles));
        if lists_after_change {
            return Err(CommandError::ListAfterChange);
        }
        Ok(())
    }

    fn to_psmo(&self) -> Result<Option<Psmo>, CommandError> {
        let about = |iccid: &Iccid| IccidArgument {
            iccid: *iccid,
            extensions: Default::default(),
        };
        let nothing = || NoArguments {
            extensions: Default::default(),
        };
        Ok(Some(match self {
            Self::Enable { iccid, rollback } => Psmo::Enable(EnablePsmo {
                iccid: *iccid,
                rollback_flag: rollback.then_some(Null),
                extensions: Default::default(),
            }),
            Self::Disable { iccid } => Psmo::Disable(about(iccid)),
            Self::Delete { iccid } => Psmo::Delete(about(iccid)),
            Self::ListProfiles => Psmo::ListProfileInfo(ProfileInfoListRequest {
                search_criteria: None,
                tag_list: Some(Octets(PROFILE_INFO_TAGS.to_vec())),
                extensions: Default::default(),
            }),
            Self::GetRat => Psmo::GetRat(nothing()),
            Self::ConfigureImmediateEnable {
                enabled,
                smdp_oid,
                smdp_address,
            } => {
                let default_smdp_oid = smdp_oid
                    .as_deref()
                    .map(Oid::from_dotted)
                    .transpose()
                    .map_err(|_| CommandError::Oid)?;
                Psmo::ConfigureImmediateEnable(ConfigureImmediateEnable {
                    immediate_enable_flag: enabled.then_some(Null),
                    default_smdp_oid,
                    default_smdp_address: smdp_address.clone(),
                    extensions: Default::default(),
                })
            }
            Self::SetFallback { iccid } => Psmo::SetFallbackAttribute(about(iccid)),
            Self::UnsetFallback => Psmo::UnsetFallbackAttribute(nothing()),
            Self::SetDefaultSmdp { address } => {
                Psmo::SetDefaultDpAddress(SetDefaultDpAddressRequest {
                    default_dp_address: address.clone(),
                    extensions: Default::default(),
                })
            }
            _ => return Ok(None),
        }))
    }

    fn to_eco(&self) -> Option<Eco> {
        match self {
            Self::AddEim { configuration } => Some(Eco::AddEim(configuration.clone())),
            Self::DeleteEim { eim_id } => Some(Eco::DeleteEim(DeleteEim {
                eim_id: eim_id.clone(),
                extensions: Default::default(),
            })),
            Self::UpdateEim { configuration } => Some(Eco::UpdateEim(configuration.clone())),
            Self::ListEims => Some(Eco::ListEim(NoArguments {
                extensions: Default::default(),
            })),
            _ => None,
        }
    }
}

/// A code at hand is well formed and of the SM-DP+ that is named beside it.
fn check_source(source: &DownloadSource) -> Result<(), CommandError> {
    let DownloadSource::ActivationCode { smdp, code } = source else {
        return Ok(());
    };
    match code.open() {
        Some(code) if ActivationCode::parse(code)?.smdp_address != smdp => {
            Err(CommandError::OtherSmdp(smdp.clone()))
        }
        _ => Ok(()),
    }
}

/// `5A 4F 9F70 90 91 92 95 99 B7 9F7B 9F26 9F67`: what an inventory needs.
const PROFILE_INFO_TAGS: &[u8] = &[
    0x5A, 0x4F, 0x9F, 0x70, 0x90, 0x91, 0x92, 0x95, 0x99, 0xB7, 0x9F, 0x7B, 0x9F, 0x26, 0x9F, 0x67,
];

/// The IpaEuiccDataRequest for a list of items.
pub fn data_request(items: &[DataItem], id: TransactionId) -> IpaEuiccDataRequest {
    IpaEuiccDataRequest {
        tag_list: Octets(items.iter().flat_map(|item| item.tag()).copied().collect()),
        euicc_ci_pk_identifier_to_be_used: None,
        search_criteria_notification: None,
        search_criteria_euicc_package_result: None::<SearchCriteriaEuiccPackageResult>,
        eim_transaction_id: Some(id),
        extensions: Default::default(),
    }
}

/// The trigger for a download. When the eIM handles the download data, the source stays here. None if the activation code is
/// not at hand.
pub fn download_trigger(
    source: &DownloadSource,
    eim_handles_data: bool,
    id: TransactionId,
) -> Option<ProfileDownloadTriggerRequest> {
    let data = match source {
        DownloadSource::ActivationCode { code, .. } => {
            ProfileDownloadData::ActivationCode(without_lpa_prefix(code.open()?).to_owned())
        }
        DownloadSource::DefaultSmdp => ProfileDownloadData::ContactDefaultSmdp(Null),
        DownloadSource::Smds(address) => ProfileDownloadData::ContactSmds(ContactSmds {
            smds_address: address.clone(),
            extensions: Default::default(),
        }),
    };
    Some(ProfileDownloadTriggerRequest {
        profile_download_data: (!eim_handles_data).then_some(data),
        eim_transaction_id: Some(id),
        extensions: Default::default(),
    })
}

/// `[LPA:]1$<FQDN>$<MatchingID>[$<SM-DP+ OID>[$1]]` (SGP.22 section 4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivationCode<'a> {
    /// FQDN of the SM-DP+.
    pub smdp_address: &'a str,
    /// Which profile there; may be empty.
    pub matching_id: &'a str,
    /// OID of the SM-DP+, if it must have this one.
    pub smdp_oid: Option<&'a str>,
    /// Whether the SM-DP+ will ask for a confirmation code.
    pub confirmation_code_required: bool,
}

impl<'a> ActivationCode<'a> {
    const CHARACTERS_MAX: usize = 255;

    /// Reads an activation code.
    pub fn parse(code: &'a str) -> Result<Self, CommandError> {
        let code = without_lpa_prefix(code);
        let mut parts = code.split('$');
        let (Some("1"), Some(smdp_address), Some(matching_id)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(CommandError::ActivationCode);
        };
        let smdp_oid = parts.next().filter(|oid| !oid.is_empty());
        let confirmation = parts.next();
        let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':');
        let is_token = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let well_formed = code.chars().count() <= Self::CHARACTERS_MAX
            && !smdp_address.is_empty()
            && smdp_address.chars().all(is_host)
            && matching_id.chars().all(is_token)
            && smdp_oid.is_none_or(|oid| Oid::from_dotted(oid).is_ok())
            && matches!(confirmation, None | Some("" | "1"))
            && parts.next().is_none();
        if !well_formed {
            return Err(CommandError::ActivationCode);
        }
        Ok(Self {
            smdp_address,
            matching_id,
            smdp_oid,
            confirmation_code_required: confirmation == Some("1"),
        })
    }
}

fn without_lpa_prefix(code: &str) -> &str {
    code.strip_prefix("LPA:").unwrap_or(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iccid() -> Iccid {
        "89000123456789012341".parse().unwrap()
    }

    #[test]
    fn commands_read_and_write_as_json() {
        let text = r#"{"command":"enable","iccid":"89000123456789012341","rollback":true}"#;
        let command: Command = serde_json::from_str(text).unwrap();
        assert_eq!(
            command,
            Command::Enable {
                iccid: iccid(),
                rollback: true
            }
        );
        assert_eq!(serde_json::to_string(&command).unwrap(), text);
        assert!(serde_json::from_str::<Command>(r#"{"command":"enable","iccid":"12"}"#).is_err());
        assert!(
            serde_json::from_str::<Command>(
                r#"{"command":"disable","iccid":"89000123456789012341","x":1}"#
            )
            .is_err()
        );
    }

    #[test]
    fn a_package_is_all_psmo_or_all_eco() {
        let mixed = [Command::ListProfiles, Command::ListEims];
        assert_eq!(Command::check(&mixed), Err(CommandError::Mixed));
        assert_eq!(Command::check(&[]), Err(CommandError::Empty));
        assert_eq!(
            Command::check(&[Command::ListEims]),
            Ok(PackageKind::EuiccPackage)
        );
        let two = [
            Command::Enable {
                iccid: iccid(),
                rollback: false,
            },
            Command::Enable {
                iccid: iccid(),
                rollback: false,
            },
        ];
        assert_eq!(Command::check(&two), Err(CommandError::RepeatedStateChange));
        let list_last = [Command::Disable { iccid: iccid() }, Command::ListProfiles];
        assert_eq!(
            Command::check(&list_last),
            Err(CommandError::ListAfterChange)
        );
        assert_eq!(
            Command::check(&vec![Command::ListProfiles; 17]),
            Err(CommandError::TooMany { limit: 16 })
        );
    }

    #[test]
    fn secrets_are_sealed_and_opened() {
        let mut command = Command::Download {
            source: DownloadSource::activation_code("1$smdp.example.com$AB-12").unwrap(),
            route: Route::Indirect,
            confirmation_code: Some(Sealed::Open("1234".to_owned())),
        };
        let open = command.clone();
        let (mut salt, mut openings) = (0, Vec::new());
        command.seal(
            &mut || {
                salt += 1;
                [salt; SALT_OCTETS]
            },
            &mut openings,
        );
        assert_eq!((openings.len(), command.has_open_secret()), (2, false));
        let text = serde_json::to_string(&command).unwrap();
        assert!(text.contains("smdp.example.com"), "policy sees where from");
        assert!(!text.contains("AB-12") && !text.contains("1234"), "{text}");
        assert_eq!(
            Command::check(std::slice::from_ref(&command)),
            Ok(PackageKind::Download)
        );
        assert!(
            !command.clone().unseal(openings.get(..1).unwrap()),
            "one is missing"
        );
        assert!(command.unseal(&openings));
        assert_eq!(command, open);

        let lie = Command::Download {
            source: DownloadSource::ActivationCode {
                smdp: "allowed.example.com".to_owned(),
                code: Sealed::Open("1$other.example.com$X".to_owned()),
            },
            route: Route::Direct,
            confirmation_code: None,
        };
        assert_eq!(
            Command::check(&[lie]),
            Err(CommandError::OtherSmdp("allowed.example.com".to_owned()))
        );
    }

    #[test]
    fn a_key_is_adopted_in_a_package_of_its_own() {
        let adopt = Command::AdoptEimKey {
            spki_sha256: Digest([1; 32]),
        };
        assert_eq!(
            Command::check(std::slice::from_ref(&adopt)),
            Ok(PackageKind::EuiccPackage)
        );
        assert_eq!(
            Command::check(&[adopt.clone(), Command::ListEims]),
            Err(CommandError::EimKey)
        );
        assert_eq!(
            Command::check(&[Command::ListEims, adopt.clone()]),
            Err(CommandError::EimKey)
        );
        assert_eq!(
            Command::to_package(&[adopt]),
            Err(CommandError::EimKey),
            "only the authority knows what to write"
        );
    }

    #[test]
    fn activation_codes_are_parsed_strictly() {
        let code = ActivationCode::parse("LPA:1$smdp.example.com$AB-12$2.999.10$1").unwrap();
        assert_eq!(code.smdp_address, "smdp.example.com");
        assert_eq!(code.matching_id, "AB-12");
        assert_eq!(code.smdp_oid, Some("2.999.10"));
        assert!(code.confirmation_code_required);
        assert!(ActivationCode::parse("1$smdp.example.com$").is_ok());
        for bad in [
            "",
            "1$",
            "2$a$b",
            "1$$X",
            "1$a b$X",
            "1$a$X Y",
            "1$a$X$zz",
            "1$a$X$$2",
            "1$a$X$$1$",
        ] {
            assert!(ActivationCode::parse(bad).is_err(), "{bad}");
        }
    }
}
