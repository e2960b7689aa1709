//! GetProfilesInfo and the PSMO listProfileInfo (SGP.22 v2.5 section 5.7.15, SGP.32 v1.2 section 5.9.14).

use rsp::sgp22::{
    ProfileInfo, ProfileInfoListError, ProfileInfoListRequest, ProfileInfoListResponse,
    ProfileSearchCriteria, ProfileState,
};

use crate::state::{Profile, State};

/// What is listed of a Profile when the request does not say.
const DEFAULT_TAGS: [u32; 9] = [0x5A, 0x4F, 0x9F70, 0x91, 0x92, 0x95, 0x9F7B, 0x9F26, 0x9F67];

/// Lists the Profiles asked for. Tags that are unknown are left out silently; a tag list that is none is an error.
pub(crate) fn list(state: &State, request: &ProfileInfoListRequest) -> ProfileInfoListResponse {
    let tags = match &request.tag_list {
        None => Some(DEFAULT_TAGS.to_vec()),
        Some(list) => split_tags(list),
    };
    let is_answerable = !matches!(
        request.search_criteria,
        Some(ProfileSearchCriteria::Unknown(_))
    );
    let Some(tags) = tags.filter(|_| is_answerable) else {
        return ProfileInfoListResponse::ProfileInfoListError(
            ProfileInfoListError::IncorrectInputValues,
        );
    };
    let is_wanted = |profile: &&Profile| match &request.search_criteria {
        None | Some(ProfileSearchCriteria::Unknown(_)) => true,
        Some(ProfileSearchCriteria::IsdpAid(aid)) => profile.aid == *aid,
        Some(ProfileSearchCriteria::Iccid(iccid)) => profile.iccid() == iccid,
        Some(ProfileSearchCriteria::ProfileClass(class)) => profile.class() == *class,
    };
    ProfileInfoListResponse::ProfileInfoListOk(
        state
            .profiles
            .iter()
            .filter(is_wanted)
            .map(|profile| info(profile, &tags))
            .collect(),
    )
}

fn info(profile: &Profile, tags: &[u32]) -> ProfileInfo {
    let has = |tag: u32| tags.contains(&tag);
    let metadata = &profile.metadata;
    let state = if profile.enabled {
        ProfileState::Enabled
    } else {
        ProfileState::Disabled
    };
    ProfileInfo {
        iccid: has(0x5A).then_some(metadata.iccid),
        isdp_aid: has(0x4F).then(|| profile.aid.clone()),
        profile_state: has(0x9F70).then_some(state),
        profile_nickname: profile.nickname.clone().filter(|_| has(0x90)),
        service_provider_name: has(0x91).then(|| metadata.service_provider_name.clone()),
        profile_name: has(0x92).then(|| metadata.profile_name.clone()),
        icon_type: metadata.icon_type.filter(|_| has(0x93)),
        icon: metadata.icon.clone().filter(|_| has(0x94)),
        profile_class: has(0x95).then(|| profile.class()),
        notification_configuration_info: metadata
            .notification_configuration_info
            .clone()
            .filter(|_| has(0xB6)),
        profile_owner: metadata.profile_owner.clone().filter(|_| has(0xB7)),
        dp_proprietary_data: profile.dp_proprietary_data.clone().filter(|_| has(0xB8)),
        profile_policy_rules: metadata.profile_policy_rules.clone().filter(|_| has(0x99)),
        service_specific_data_stored_in_euicc: metadata
            .service_specific_data_stored_in_euicc
            .clone()
            .filter(|_| has(0xBF22)),
        ecall_indication: metadata.ecall_indication.filter(|_| has(0x9F7B)),
        // DEFAULT FALSE, so it is written only when true.
        fallback_attribute: (has(0x9F26) && profile.fallback_attribute).then_some(true),
        fallback_allowed: metadata.fallback_allowed.filter(|_| has(0x9F67)),
        extensions: Default::default(),
    }
}

/// The tags in a tag list, whose identifier octets stand one after the other.
fn split_tags(list: &[u8]) -> Option<Vec<u32>> {
    let mut octets = list.iter();
    let mut tags = Vec::new();
    while let Some(&first) = octets.next() {
        let mut tag = u32::from(first);
        if first & 0x1F == 0x1F {
            loop {
                let next = *octets.next()?;
                tag = tag.checked_mul(0x100)? | u32::from(next);
                if next & 0x80 == 0 {
                    break;
                }
            }
        }
        tags.push(tag);
    }
    Some(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag_lists_are_split_and_broken_ones_refused() {
        assert_eq!(
            split_tags(&[0x5A, 0x9F, 0x70, 0xBF, 0x22, 0x90]),
            Some(vec![0x5A, 0x9F70, 0xBF22, 0x90])
        );
        assert_eq!(split_tags(&[]), Some(vec![]));
        assert_eq!(split_tags(&[0x5A, 0x9F]), None);
        assert_eq!(split_tags(&[0x9F, 0x81, 0x81, 0x81, 0x81, 0x01]), None);
    }
}
