use rsp::der::{Octets, Oid};
use rsp::ids::Iccid;
use rsp::sequence;
use rsp::sgp22::{
    DpProprietaryData, KeyIdentifier, OctetTo16, PprIds, ProfileClass, StoreMetadataRequest,
};

sequence! {
    /// An installed Profile.
    pub(crate) struct Profile @ 0x30 {
        req aid @ 0x4F: OctetTo16,
        /// As the SM-DP+ sent it.
        elem metadata: StoreMetadataRequest,
        req enabled @ 0x81: bool,
        /// This is the Fallback Profile.
        req fallback_attribute @ 0x82: bool,
        /// Put in at the factory.
        req pre_loaded @ 0x83: bool,
        opt nickname @ 0x84: String,
        /// Of the profile header: bearer settings for the IPA.
        opt connectivity_parameters @ 0x85: Octets,
        /// Non-volatile memory it takes.
        req size_octets @ 0x86: i64,
        opt dp_proprietary_data @ 0xA7: DpProprietaryData,
        /// The SM-DP+ that delivered it.
        opt smdp_oid @ 0x88: Oid,
        /// The CI under which its notifications are signed; absent: the first one.
        opt ci_key_id @ 0x89: KeyIdentifier,
    }
}

impl Profile {
    pub(crate) fn iccid(&self) -> &Iccid {
        &self.metadata.iccid
    }

    pub(crate) fn class(&self) -> ProfileClass {
        self.metadata.class()
    }

    /// Whether a policy rule is set ([`PprIds::PPR1`], [`PprIds::PPR2`]).
    pub(crate) fn has_rule(&self, rule: usize) -> bool {
        self.metadata
            .profile_policy_rules
            .as_ref()
            .is_some_and(|rules: &PprIds| rules.contains(rule))
    }

    pub(crate) fn is_emergency(&self) -> bool {
        self.metadata.ecall_indication == Some(true)
    }

    pub(crate) fn is_fallback_allowed(&self) -> bool {
        self.metadata.fallback_allowed == Some(true)
    }
}
