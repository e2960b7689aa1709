//! Whether the Profile Policy Rules of a Profile may be accepted (SGP.22 v2.5 sections 2.4.12 and 2.9.2).

use rsp::sgp22::{
    OperatorId, PprFlags, PprIds, ProfileClass, ProfileInfo, ProfilePolicyAuthorisationRule,
    StoreMetadataRequest,
};

use super::Abort;
use crate::card::CardError;
use crate::engine::Engine;

/// Tags asked of the installed Profiles: ICCID and class.
const PROFILE_TAGS: [u8; 2] = [0x5A, 0x95];

impl Engine<'_> {
    /// Whether the metadata may be accepted. The eUICC will look again; this spares an order that would fail there.
    pub(super) fn are_rules_allowed(
        &mut self,
        metadata: &StoreMetadataRequest,
    ) -> Result<bool, Abort> {
        let rules = rules_of(metadata);
        if rules.is_empty() {
            return Ok(true);
        }
        let table = match self.es10().rules_authorisation_table() {
            Ok(table) => table,
            Err(CardError::Status { .. }) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let forbidden = self
            .es10()
            .info2()?
            .forbidden_profile_policy_rules
            .unwrap_or_default();
        let installed = self.es10().profiles(Some(&PROFILE_TAGS))?;
        let consent = self.config.policy_rules_consent;
        Ok(are_allowed(
            &rules,
            metadata.profile_owner.as_ref(),
            &table,
            &forbidden,
            &installed,
            consent,
        ))
    }
}

/// Numbers of the rules. pprUpdateControl says who may change rules; it is none itself.
fn rules_of(metadata: &StoreMetadataRequest) -> Vec<usize> {
    let rules = metadata
        .profile_policy_rules
        .iter()
        .flat_map(|rules| rules.0.bits());
    rules
        .filter(|&rule| rule != PprIds::PPR_UPDATE_CONTROL)
        .collect()
}

fn are_allowed(
    rules: &[usize],
    owner: Option<&OperatorId>,
    table: &[ProfilePolicyAuthorisationRule],
    forbidden: &PprIds,
    installed: &[ProfileInfo],
    consent: bool,
) -> bool {
    let Some(owner) = owner else {
        return false;
    };
    let is_allowed = |rule: usize| {
        !forbidden.contains(rule)
            && table.iter().any(|entry| {
                entry.ppr_ids.contains(rule)
                    && entry
                        .allowed_operators
                        .iter()
                        .any(|allowed| covers(allowed, owner))
                    && (consent || !entry.ppr_flags.contains(PprFlags::CONSENT_REQUIRED))
            })
    };
    // A Profile that cannot be disabled would lock out those that are there already.
    let is_operational = |profile: &ProfileInfo| {
        profile.profile_class.unwrap_or(ProfileClass::Operational) == ProfileClass::Operational
    };
    let locks_out = rules.contains(&PprIds::PPR1) && installed.iter().any(is_operational);
    !locks_out && rules.iter().all(|&rule| is_allowed(rule))
}

/// Whether an entry of the table is for this owner. A digit E stands for any, an empty group identifier too.
fn covers(allowed: &OperatorId, owner: &OperatorId) -> bool {
    const ANY_DIGIT: u8 = 0x0E;
    let digits = |octets: &[u8; 3]| octets.map(|octet| [octet & 0x0F, octet >> 4]).concat();
    let same_network = digits(&allowed.mcc_mnc)
        .into_iter()
        .zip(digits(&owner.mcc_mnc))
        .all(|(allowed, owned)| allowed == ANY_DIGIT || allowed == owned);
    let same_group = |allowed: Option<&[u8]>, owned: Option<&[u8]>| match allowed {
        Some([]) => true,
        Some(allowed) => owned == Some(allowed),
        None => owned.is_none_or(<[u8]>::is_empty),
    };
    same_network
        && same_group(allowed.gid1.as_deref(), owner.gid1.as_deref())
        && same_group(allowed.gid2.as_deref(), owner.gid2.as_deref())
}

#[cfg(test)]
mod tests {
    use rsp::der::Octets;

    use super::*;

    fn operator(mcc_mnc: [u8; 3], gid1: Option<&[u8]>) -> OperatorId {
        OperatorId {
            mcc_mnc,
            gid1: gid1.map(Octets::from),
            gid2: None,
            extensions: Default::default(),
        }
    }

    fn entry(
        rules: &[usize],
        allowed: OperatorId,
        consent: bool,
    ) -> ProfilePolicyAuthorisationRule {
        ProfilePolicyAuthorisationRule {
            ppr_ids: PprIds::of(rules.iter().copied()),
            allowed_operators: vec![allowed],
            ppr_flags: PprFlags::of(consent.then_some(PprFlags::CONSENT_REQUIRED)),
            extensions: Default::default(),
        }
    }

    const OWNER: [u8; 3] = [0x62, 0xF2, 0x10];

    #[test]
    fn a_rule_needs_an_entry_for_its_owner() {
        let owner = operator(OWNER, None);
        let check = |table: &[ProfilePolicyAuthorisationRule], rules: &[usize], consent: bool| {
            are_allowed(rules, Some(&owner), table, &PprIds::default(), &[], consent)
        };
        let any = entry(&[PprIds::PPR2], operator([0xEE; 3], Some(&[])), true);
        assert!(check(std::slice::from_ref(&any), &[PprIds::PPR2], true));
        assert!(
            !check(std::slice::from_ref(&any), &[PprIds::PPR2], false),
            "consent is required"
        );
        assert!(
            !check(std::slice::from_ref(&any), &[PprIds::PPR1], true),
            "another rule"
        );
        assert!(!check(&[], &[PprIds::PPR2], true));
        let other = entry(&[PprIds::PPR2], operator([0x62, 0xF2, 0x20], None), false);
        assert!(!check(&[other], &[PprIds::PPR2], true));
        let group = entry(&[PprIds::PPR2], operator(OWNER, Some(&[7])), false);
        assert!(!check(&[group], &[PprIds::PPR2], true));
        assert!(!are_allowed(
            &[PprIds::PPR2],
            None,
            &[any],
            &PprIds::default(),
            &[],
            true
        ));
    }

    #[test]
    fn ppr1_is_not_put_beside_an_operational_profile_and_forbidden_rules_stay_out() {
        let owner = operator(OWNER, None);
        let table = [entry(&[PprIds::PPR1], operator(OWNER, None), false)];
        let profile = |class: u8| {
            use rsp::der::Element;
            ProfileInfo::from_der(&[0xE3, 0x03, 0x95, 0x01, class]).unwrap()
        };
        let check = |forbidden: &PprIds, installed: &[ProfileInfo]| {
            are_allowed(
                &[PprIds::PPR1],
                Some(&owner),
                &table,
                forbidden,
                installed,
                true,
            )
        };
        let none = PprIds::default();
        assert!(check(&none, &[]));
        assert!(check(&none, &[profile(1)]));
        assert!(!check(&none, &[profile(2)]));
        assert!(!check(&PprIds::of([PprIds::PPR1]), &[]));
    }
}
