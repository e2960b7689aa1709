//! IpaEuiccDataRequest (SGP.32 v1.2 sections 2.11.1.2 and 2.11.2.2).

use rsp::ids::TransactionId;
use rsp::sgp22::KeyIdentifier;
use rsp::sgp32::{
    EimId, IpaEuiccData, IpaEuiccDataErrorCode, IpaEuiccDataRequest, IpaEuiccDataResponse,
    IpaEuiccDataResponseError, SearchCriteriaEuiccPackageResult, SearchCriteriaNotification,
};

use crate::card::{CardError, NotificationCriteria};
use crate::engine::Engine;
use crate::package::effects;

/// Octets of a tag list. All legal tags together have 15.
const TAG_LIST_OCTETS_MAX: usize = 255;

/// Why a request is answered with an error.
enum Refusal {
    Code(IpaEuiccDataErrorCode),
    Card(CardError),
}

impl From<CardError> for Refusal {
    fn from(error: CardError) -> Self {
        match error {
            // A card that does not have something is not a broken card.
            CardError::Status { .. } | CardError::Code { .. } | CardError::Malformed { .. } => {
                tracing::warn!(%error, "the eUICC does not give what an eIM asks for");
                Self::Code(IpaEuiccDataErrorCode::UndefinedError)
            }
            error => Self::Card(error),
        }
    }
}

impl Engine<'_> {
    /// Collects what an eIM asks for. Only a card that does not work is an error here.
    pub(crate) fn collect_data(
        &mut self,
        from: Option<&EimId>,
        request: &IpaEuiccDataRequest,
    ) -> Result<IpaEuiccDataResponse, CardError> {
        let eim_transaction_id = request.eim_transaction_id.clone();
        match self.try_collect_data(from, request) {
            Ok(data) => Ok(IpaEuiccDataResponse::IpaEuiccData(data)),
            Err(Refusal::Code(code)) => Ok(refusal(code, eim_transaction_id)),
            Err(Refusal::Card(error)) => Err(error),
        }
    }

    fn try_collect_data(
        &mut self,
        from: Option<&EimId>,
        request: &IpaEuiccDataRequest,
    ) -> Result<IpaEuiccData, Refusal> {
        let incorrect = Refusal::Code(IpaEuiccDataErrorCode::IncorrectTagList);
        let tags = read_tags(&request.tag_list).ok_or(incorrect)?;
        if self.state.emergency.is_some() {
            return Err(Refusal::Code(IpaEuiccDataErrorCode::EcallActive));
        }
        let mut data = empty_data();
        data.eim_transaction_id = request.eim_transaction_id.clone();
        for tag in tags {
            match tag {
                Tag::Notifications => {
                    let criteria = request.search_criteria_notification.as_ref();
                    let criteria = notification_criteria(criteria)?;
                    data.notifications_list = Some(self.es10().notifications(criteria)?);
                }
                Tag::DefaultSmdpAddress => {
                    data.default_smdp_address = self.es10().addresses()?.default_dp_address;
                }
                Tag::PackageResults => {
                    let mut results = self.es10().package_results()?;
                    match &request.search_criteria_euicc_package_result {
                        None => {}
                        Some(SearchCriteriaEuiccPackageResult::SeqNumber(number)) => {
                            results
                                .retain(|result| effects(result).sequence_number == Some(*number));
                        }
                        Some(SearchCriteriaEuiccPackageResult::Unknown(_)) => {
                            return Err(Refusal::Code(IpaEuiccDataErrorCode::UndefinedError));
                        }
                    }
                    data.euicc_package_result_list = Some(results);
                }
                Tag::EuiccInfo1 => data.euicc_info1 = Some(self.es10().info1()?),
                Tag::EuiccInfo2 => data.euicc_info2 = Some(self.es10().info2()?),
                Tag::RootSmdsAddress => {
                    data.root_smds_address = Some(self.es10().addresses()?.root_ds_address);
                }
                Tag::AssociationToken => {
                    let configuration = self.es10().eim_configuration()?;
                    data.association_token = configuration
                        .into_iter()
                        .find(|eim| Some(&eim.eim_id) == from)
                        .and_then(|eim| eim.association_token);
                }
                Tag::EumCertificate | Tag::EuiccCertificate => {
                    let asked = request.euicc_ci_pk_identifier_to_be_used.as_deref();
                    let ci_key_id = self.choose_ci(from, asked)?;
                    let not_found = Refusal::Code(IpaEuiccDataErrorCode::EuiccCiPKIdNotFound);
                    let certificates = self.es10().certificates(ci_key_id)?.ok_or(not_found)?;
                    if tag == Tag::EumCertificate {
                        data.eum_certificate = Some(certificates.eum_certificate);
                    } else {
                        data.euicc_certificate = Some(certificates.euicc_certificate);
                    }
                }
                Tag::IpaCapabilities => data.ipa_capabilities = Some(self.config.capabilities()),
                Tag::DeviceInfo => data.device_info = Some(self.config.device_info.clone()),
            }
        }
        Ok(data)
    }

    /// The CI key whose chain is asked for: by an identifier that may be cut short, else the one configured for this eIM,
    /// else the eUICC's choice.
    fn choose_ci(
        &mut self,
        from: Option<&EimId>,
        asked: Option<&[u8]>,
    ) -> Result<Option<KeyIdentifier>, Refusal> {
        if let Some(asked) = asked.filter(|asked| !asked.is_empty()) {
            let list = self.es10().info1()?.euicc_ci_pk_id_list_for_signing;
            let found = list.into_iter().find(|key_id| key_id.starts_with(asked));
            let not_found = Refusal::Code(IpaEuiccDataErrorCode::EuiccCiPKIdNotFound);
            return found.map(Some).ok_or(not_found);
        }
        let configuration = self.es10().eim_configuration()?;
        let eim = configuration
            .into_iter()
            .find(|eim| Some(&eim.eim_id) == from);
        Ok(eim.and_then(|eim| eim.euicc_ci_pk_id))
    }
}

/// What may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tag {
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

/// Reads a tag list. `None` for one that names nothing, or something else than members of IpaEuiccData.
fn read_tags(list: &[u8]) -> Option<Vec<Tag>> {
    if list.is_empty() || list.len() > TAG_LIST_OCTETS_MAX {
        return None;
    }
    let mut tags = Vec::new();
    let mut octets = list.iter();
    while let Some(first) = octets.next() {
        let tag = match first {
            0xA0 => Tag::Notifications,
            0x81 => Tag::DefaultSmdpAddress,
            0xA2 => Tag::PackageResults,
            0xBF => match octets.next()? {
                0x20 => Tag::EuiccInfo1,
                0x22 => Tag::EuiccInfo2,
                _ => return None,
            },
            0x83 => Tag::RootSmdsAddress,
            0x84 => Tag::AssociationToken,
            0xA5 => Tag::EumCertificate,
            0xA6 => Tag::EuiccCertificate,
            0xA8 => Tag::IpaCapabilities,
            0xA9 => Tag::DeviceInfo,
            _ => return None,
        };
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    Some(tags)
}

fn notification_criteria(
    criteria: Option<&SearchCriteriaNotification>,
) -> Result<Option<NotificationCriteria>, Refusal> {
    match criteria {
        None => Ok(None),
        Some(SearchCriteriaNotification::SeqNumber(number)) => {
            Ok(Some(NotificationCriteria::SequenceNumber(*number)))
        }
        Some(SearchCriteriaNotification::ProfileManagementOperation(event)) => {
            Ok(Some(NotificationCriteria::Event(event.clone())))
        }
        Some(SearchCriteriaNotification::Unknown(_)) => {
            Err(Refusal::Code(IpaEuiccDataErrorCode::UndefinedError))
        }
    }
}

fn refusal(
    code: IpaEuiccDataErrorCode,
    eim_transaction_id: Option<TransactionId>,
) -> IpaEuiccDataResponse {
    IpaEuiccDataResponse::IpaEuiccDataResponseError(IpaEuiccDataResponseError {
        eim_transaction_id,
        ipa_euicc_data_error_code: code,
        extensions: Default::default(),
    })
}

fn empty_data() -> IpaEuiccData {
    IpaEuiccData {
        notifications_list: None,
        default_smdp_address: None,
        euicc_package_result_list: None,
        euicc_info1: None,
        euicc_info2: None,
        root_smds_address: None,
        association_token: None,
        eum_certificate: None,
        euicc_certificate: None,
        eim_transaction_id: None,
        ipa_capabilities: None,
        device_info: None,
        extensions: Default::default(),
    }
}

#[cfg(test)]
mod tests {
    use hex_literal::hex;

    use super::*;

    #[test]
    fn every_legal_tag_is_read_and_no_other() {
        let all = hex!("A0 81 A2 BF20 BF22 83 84 A5 A6 A8 A9");
        assert_eq!(read_tags(&all).unwrap().len(), 11);
        assert_eq!(read_tags(&hex!("8181")).unwrap(), [Tag::DefaultSmdpAddress]);
        for wrong in [
            &hex!("5A")[..],
            &hex!("BF2D"),
            &hex!("BF"),
            &hex!("A081 87"),
            &[],
            &[0x81; 256],
        ] {
            assert!(read_tags(wrong).is_none(), "{wrong:02X?}");
        }
    }
}
