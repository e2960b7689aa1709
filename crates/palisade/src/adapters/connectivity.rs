use ipa::Connectivity;
use rsp::ids::Iccid;

use super::SoftCard;

/// Connectivity of a simulated modem: every profile has it but those that are named, and so has no profile at all, as a
/// device in a laboratory is reached over another network.
#[derive(Clone)]
pub(crate) struct ProfileConnectivity {
    card: SoftCard,
    without: Vec<Iccid>,
}

impl ProfileConnectivity {
    /// For a device with this card. The profiles of `without` never attach.
    pub(crate) fn new(card: SoftCard, without: Vec<Iccid>) -> Self {
        Self { card, without }
    }
}

impl Connectivity for ProfileConnectivity {
    fn check(&mut self) -> bool {
        let active = self.card.lock().active_profile();
        active.is_none_or(|iccid| !self.without.contains(&iccid))
    }
}
