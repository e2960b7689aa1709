//! ES10b and ES10c functions that read or set something and concern no Profile's state.

use rsp::der::{Null, Octets};
use rsp::sgp22::{
    GetEuiccDataRequest, GetEuiccDataResponse, GetRatRequest, GetRatResponse, SetNicknameRequest,
    SetNicknameResponse, SetNicknameResult,
};
use rsp::sgp32::{
    AddEimResultCode, AddInitialEimOk, AddInitialEimRequest, AddInitialEimResponse, Certs,
    ConfigImmediateEnableResult, ConfigureImmediateEnable,
    ConfigureImmediateProfileEnablingRequest, ConfigureImmediateProfileEnablingResponse,
    ConnectivityParameters, ConnectivityParametersError, EimConfigurationData, EimSearchCriteria,
    GetCertsError, GetCertsRequest, GetCertsResponse, GetConnectivityParametersRequest,
    GetConnectivityParametersResponse, GetEimConfigurationDataRequest,
    GetEimConfigurationDataResponse, IpaeActivationRequest, IpaeActivationResponse,
    IpaeActivationResult,
};

use super::Answer;
use crate::apdu::StatusWord;
use crate::decisions::{DUPLICATE_INITIAL_EIM, EMPTY_INITIAL_EIM_LIST};
use crate::eims::{NewAssociation, new_association};
use crate::limits::{ADDRESS_OCTETS_MAX, NICKNAME_OCTETS_MAX};
use crate::platform::{Failure, Platform};
use crate::state::AssociatedEim;

/// ES10c.GetEID.
pub(super) fn get_eid(
    platform: &Platform,
    request: &GetEuiccDataRequest,
) -> Result<Answer, Failure> {
    if request.tag_list[..] != [0x5A] {
        return Err(StatusWord::WRONG_DATA.into());
    }
    Ok(Answer::of(&GetEuiccDataResponse {
        eid_value: platform.state.eid,
        extensions: Default::default(),
    }))
}

/// ES10b.GetRAT.
pub(super) fn get_rat(platform: &Platform, _: &GetRatRequest) -> Result<Answer, Failure> {
    Ok(Answer::of(&GetRatResponse {
        rat: platform.state.rat.clone(),
        extensions: Default::default(),
    }))
}

/// ES10c.SetNickname.
pub(super) fn set_nickname(
    platform: &mut Platform,
    request: &SetNicknameRequest,
) -> Result<Answer, Failure> {
    let nickname = &request.profile_nickname;
    let set_nickname_result = if nickname.len() > NICKNAME_OCTETS_MAX {
        SetNicknameResult::UndefinedError
    } else if let Some(profile) = platform.state.profile_mut(&request.iccid) {
        profile.nickname = (!nickname.is_empty()).then(|| nickname.clone());
        SetNicknameResult::Ok
    } else {
        SetNicknameResult::IccidNotFound
    };
    Ok(Answer::of(&SetNicknameResponse {
        set_nickname_result,
        extensions: Default::default(),
    }))
}

/// ES10b.GetCerts. The key identifier may be truncated, as in IpaEuiccDataRequest.
pub(super) fn get_certs(platform: &Platform, request: &GetCertsRequest) -> Result<Answer, Failure> {
    let wanted = request.euicc_ci_pk_id.as_ref().map(|key_id| &key_id[..]);
    let key_id = platform.signing_cis().into_iter().find(|key_id| {
        wanted.is_none_or(|wanted| !wanted.is_empty() && key_id.starts_with(wanted))
    });
    let identity = key_id.and_then(|key_id| platform.identity(Some(&key_id[..])));
    Ok(Answer::of(&match identity {
        Some(identity) => GetCertsResponse::Certs(Certs {
            eum_certificate: identity.eum_certificate.clone(),
            euicc_certificate: identity.euicc_certificate.clone(),
            extensions: Default::default(),
        }),
        None => GetCertsResponse::GetCertsError(GetCertsError::InvalidCiPKId),
    }))
}

/// ES10b.GetEimConfigurationData. Counter values are not told.
pub(super) fn get_eim_configuration_data(
    platform: &Platform,
    request: &GetEimConfigurationDataRequest,
) -> Result<Answer, Failure> {
    let is_wanted = |eim: &&AssociatedEim| match &request.search_criteria {
        None => true,
        Some(EimSearchCriteria::EimId(eim_id)) => eim.configuration.eim_id == *eim_id,
        Some(EimSearchCriteria::Unknown(_)) => false,
    };
    let told = |eim: &AssociatedEim| EimConfigurationData {
        association_token: eim.association_token,
        ..eim.configuration.clone()
    };
    Ok(Answer::of(&GetEimConfigurationDataResponse {
        eim_configuration_data_list: platform
            .state
            .eims
            .iter()
            .filter(is_wanted)
            .map(told)
            .collect(),
        extensions: Default::default(),
    }))
}

/// ES10b.AddInitialEim: unsigned, and therefore only while nobody is associated.
pub(super) fn add_initial_eim(
    platform: &mut Platform,
    request: &AddInitialEimRequest,
) -> Result<Answer, Failure> {
    let response = match check_initial(platform, &request.eim_configuration_data_list) {
        Ok(associations) => AddInitialEimResponse::AddInitialEimOk(
            associations
                .into_iter()
                .map(|association| associate(platform, association))
                .collect(),
        ),
        Err(code) => AddInitialEimResponse::AddInitialEimError(code),
    };
    Ok(Answer::of(&response))
}

/// All checks of all entries, before anything is stored.
fn check_initial(
    platform: &Platform,
    list: &[EimConfigurationData],
) -> Result<Vec<NewAssociation>, AddEimResultCode> {
    if !platform.state.eims.is_empty() {
        return Err(AddEimResultCode::AssociatedEimAlreadyExists);
    }
    if list.is_empty() {
        return Err(EMPTY_INITIAL_EIM_LIST);
    }
    let associations = list
        .iter()
        .map(|data| new_association(platform, data))
        .collect::<Result<Vec<_>, _>>()?;
    for (index, data) in list.iter().enumerate() {
        if list
            .iter()
            .skip(index + 1)
            .any(|other| other.eim_id == data.eim_id)
        {
            return Err(DUPLICATE_INITIAL_EIM);
        }
    }
    if list.len() as u64 > platform.state.options.eims_max.max(0) as u64 {
        return Err(AddEimResultCode::InsufficientMemory);
    }
    Ok(associations)
}

fn associate(platform: &mut Platform, association: NewAssociation) -> AddInitialEimOk {
    let NewAssociation {
        mut eim,
        wants_token,
    } = association;
    let token = wants_token.then(|| platform.state.take_association_token());
    eim.association_token = token;
    platform.state.eims.push(eim);
    token.map_or(
        AddInitialEimOk::AddOk(Null),
        AddInitialEimOk::AssociationToken,
    )
}

/// ES10b.ConfigureImmediateProfileEnabling (SGP.32 v1.2 section 5.9.17): unsigned, and therefore only while nobody is
/// associated.
pub(super) fn configure_immediate_enabling(
    platform: &mut Platform,
    request: &ConfigureImmediateProfileEnablingRequest,
) -> Result<Answer, Failure> {
    let configuration = ConfigureImmediateEnable {
        immediate_enable_flag: request.immediate_enable_flag,
        default_smdp_oid: request.default_smdp_oid.clone(),
        default_smdp_address: request.default_smdp_address.clone(),
        extensions: Default::default(),
    };
    let config_immediate_enable_result = if !platform.state.eims.is_empty() {
        ConfigImmediateEnableResult::AssociatedEimAlreadyExists
    } else if store_immediate_enable(platform, configuration) {
        ConfigImmediateEnableResult::Ok
    } else {
        ConfigImmediateEnableResult::InsufficientMemory
    };
    Ok(Answer::of(&ConfigureImmediateProfileEnablingResponse {
        config_immediate_enable_result,
        extensions: Default::default(),
    }))
}

/// Replaces the configuration; `false` when it is too large to be kept.
pub(crate) fn store_immediate_enable(
    platform: &mut Platform,
    configuration: ConfigureImmediateEnable,
) -> bool {
    let address = configuration
        .default_smdp_address
        .as_deref()
        .unwrap_or_default();
    if address.len() > ADDRESS_OCTETS_MAX {
        return false;
    }
    platform.state.immediate_enable = Some(ConfigureImmediateEnable {
        extensions: Default::default(),
        ..configuration
    });
    true
}

/// ES10b.GetConnectivityParameters.
pub(super) fn connectivity_parameters(
    platform: &Platform,
    _: &GetConnectivityParametersRequest,
) -> Result<Answer, Failure> {
    let enabled = platform.state.enabled_profile();
    let parameters: Option<&Octets> =
        enabled.and_then(|profile| profile.connectivity_parameters.as_ref());
    Ok(Answer::of(&match parameters {
        Some(parameters) => {
            GetConnectivityParametersResponse::ConnectivityParameters(ConnectivityParameters {
                http_params: Some(parameters.clone()),
                extensions: Default::default(),
            })
        }
        None => GetConnectivityParametersResponse::ConnectivityParametersError(
            ConnectivityParametersError::ParametersNotAvailable,
        ),
    }))
}

/// ES10b.IpaeActivation: the IPA of this eUICC's device is in the device.
pub(super) fn ipae_activation(_: &IpaeActivationRequest) -> Result<Answer, Failure> {
    Ok(Answer::of(&IpaeActivationResponse {
        ipae_activation_result: IpaeActivationResult::NotSupported,
        extensions: Default::default(),
    }))
}
