//! Whether an eUICC can take a profile (SGP.22 v2.5 annex F).

use rsp::der::{Limits, Reader, Tag};
use rsp::sgp22::{EuiccInfo2, PprIds, StoreMetadataRequest};

use super::status::Refusal;

/// Checks what the eUICC says about itself against the profile. `memory` is what it needs, in octets.
pub(super) fn check(
    euicc: &EuiccInfo2,
    metadata: &StoreMetadataRequest,
    memory: u64,
) -> Result<(), Refusal> {
    if let (Some(forbidden), Some(rules)) = (
        &euicc.forbidden_profile_policy_rules,
        &metadata.profile_policy_rules,
    ) && [PprIds::PPR1, PprIds::PPR2]
        .into_iter()
        .any(|rule| forbidden.contains(rule) && rules.contains(rule))
    {
        return Err(Refusal::NoEligibleProfile);
    }
    if free_memory(&euicc.ext_card_resource).is_some_and(|free| free < memory) {
        return Err(Refusal::InsufficientMemory);
    }
    Ok(())
}

/// Free non-volatile memory in octets: member 82 of ETSI TS 102 226 tag FF21. `None` when it is not told.
fn free_memory(ext_card_resource: &[u8]) -> Option<u64> {
    const FREE_NON_VOLATILE_MEMORY: Tag = Tag::new(0x82);
    let limits = Limits::default();
    let mut reader = Reader::new(ext_card_resource, &limits).ok()?;
    while let Some(tlv) = reader.next().ok()? {
        if tlv.tag() == FREE_NON_VOLATILE_MEMORY {
            let octets = tlv.content();
            let fits = (1..=8).contains(&octets.len());
            return fits.then(|| octets.iter().fold(0, |sum, &o| (sum << 8) | u64::from(o)));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_memory_is_read_from_the_card_resource() {
        assert_eq!(
            free_memory(&[0x81, 1, 0, 0x82, 4, 0, 6, 0, 0, 0x83, 2, 0x22, 0x23]),
            Some(0x60000)
        );
        assert_eq!(free_memory(&[0x82, 0]), None);
        assert_eq!(free_memory(&[0x82, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1]), None);
        assert_eq!(free_memory(&[0x82, 4, 0]), None);
        assert_eq!(free_memory(&[]), None);
    }
}
