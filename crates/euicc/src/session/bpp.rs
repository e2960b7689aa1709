//! Taking a bound profile package, one ES10 command at a time (SGP.22 v2.5 sections 2.5.4, 2.5.5 and 5.5).
//!
//! What a command may be is decided by the [`Phase`], and each phase holds exactly what the phases before it have brought.
//! Data that a segment carries is used only after [`Opener`] checked the segment's MAC.

use bsp::{BspKeys, KEY_LENGTH, KEY_TYPE_AES_128, OpenError, Opener, SegmentTag};
use rsp::der::{Element, Limits, Reader, Tag};
use rsp::ids::Iccid;
use rsp::saip::PACKAGE_LIMITS;
use rsp::sgp22::{
    BppCommandId, ConfigureIsdpRequest, DpProprietaryData, ErrorReason,
    InitialiseSecureChannelRequest, OctetTo16, RemoteOpId, ReplaceSessionKeysRequest,
    StoreMetadataRequest,
};
use zeroize::Zeroizing;

use super::Host;
use super::authentication::{Prepared, is_signed};
use super::policy::check_metadata;
use super::result::{Refusal, Transaction};

/// Largest unprotected profile package.
pub(super) const PACKAGE_OCTETS_MAX: usize = PACKAGE_LIMITS.message_octets_max;

/// Largest `A3`: the package, cut into segments with their overhead of at most 28 octets on 1007.
const PROFILE_SEGMENTS_OCTETS_MAX: usize = PACKAGE_OCTETS_MAX + PACKAGE_OCTETS_MAX / 32;

/// Largest `A1`: two names, an icon of 1024 octets, addresses and vendor data.
pub(super) const METADATA_SEGMENTS_OCTETS_MAX: usize = 16 << 10;

/// Largest `BF36`.
pub(super) const BOUND_PACKAGE_OCTETS_MAX: usize =
    PROFILE_SEGMENTS_OCTETS_MAX + METADATA_SEGMENTS_OCTETS_MAX + (4 << 10);

const DP_PROPRIETARY_DATA_OCTETS_MAX: usize = 128;

/// A secure channel with the SM-DP+, and what came through it so far.
pub(super) struct Receiver {
    pub(super) transaction: Transaction,
    opener: Opener,
    /// Octets of BF36 that have not come yet.
    remaining: usize,
    phase: Phase,
}

/// What became of a command that was accepted.
pub(super) enum Taken {
    /// More has to come.
    More(Box<Receiver>),
    /// The package is complete, but not looked into.
    Complete(Box<Received>),
}

/// Everything that a bound profile package brings.
pub(super) struct Received {
    pub(super) transaction: Transaction,
    pub(super) isdp_aid: OctetTo16,
    pub(super) dp_proprietary_data: Option<DpProprietaryData>,
    pub(super) metadata: StoreMetadataRequest,
    pub(super) package: Zeroizing<Vec<u8>>,
}

/// A command that ended the session.
pub(super) struct Failed {
    pub(super) transaction: Transaction,
    pub(super) refusal: Refusal,
}

/// Named by what has to come next.
enum Phase {
    /// `A0` with its one 87.
    ConfigureIsdp,
    /// Tag and length of `A1`.
    MetadataHeader(Isdp),
    /// An 88.
    Metadata {
        isdp: Isdp,
        left: usize,
        octets: Vec<u8>,
    },
    /// `A2` with its one 87, or tag and length of `A3`.
    KeysOrProfileHeader(Described),
    /// Tag and length of `A3`.
    ProfileHeader(Described),
    /// An 86.
    Profile {
        described: Described,
        left: usize,
        package: Zeroizing<Vec<u8>>,
    },
}

/// ConfigureISDP was executed.
struct Isdp {
    aid: OctetTo16,
    dp_proprietary_data: Option<DpProprietaryData>,
}

/// StoreMetadata was executed.
struct Described {
    isdp: Isdp,
    metadata: Box<StoreMetadataRequest>,
}

/// Where the next command leads.
enum Next {
    Phase(Phase),
    Complete {
        described: Described,
        package: Zeroizing<Vec<u8>>,
    },
}

impl Prepared {
    /// ES8+.InitialiseSecureChannel: the tag and length of BF36 with the whole BF23 behind it.
    pub(super) fn initialise(
        self,
        host: &dyn Host,
        command: &[u8],
    ) -> Result<Receiver, Box<Failed>> {
        match self.open_channel(host, command) {
            Ok((opener, remaining)) => Ok(Receiver {
                transaction: self.transaction,
                opener,
                remaining,
                phase: Phase::ConfigureIsdp,
            }),
            Err(reason) => {
                let refusal = Refusal::new(BppCommandId::InitialiseSecureChannel, reason);
                Err(Box::new(Failed {
                    transaction: self.transaction,
                    refusal,
                }))
            }
        }
    }

    fn open_channel(
        &self,
        host: &dyn Host,
        command: &[u8],
    ) -> Result<(Opener, usize), ErrorReason> {
        let (length, content) =
            header(command, &[0xBF, 0x36]).ok_or(ErrorReason::Scp03tStructureError)?;
        if length > BOUND_PACKAGE_OCTETS_MAX {
            return Err(ErrorReason::InstallFailedDueToInsufficientMemoryForProfile);
        }
        let remaining = length
            .checked_sub(content.len())
            .ok_or(ErrorReason::Scp03tStructureError)?;
        let request = InitialiseSecureChannelRequest::from_der(content)
            .map_err(|_| ErrorReason::IncorrectInputValues)?;
        if request.transaction_id != self.transaction.id {
            return Err(ErrorReason::InvalidTransactionId);
        }
        if request.remote_op_id != RemoteOpId::InstallBoundProfilePackage {
            return Err(ErrorReason::UnsupportedRemoteOperationType);
        }
        let template = &request.control_ref_template;
        if template.key_type != [KEY_TYPE_AES_128] || template.key_len != [KEY_LENGTH] {
            return Err(ErrorReason::UnsupportedCrtValues);
        }
        let signed = request.signed_octets(&self.euicc_otpk());
        if !is_signed(&self.pb_key, &[&signed], &request.smdp_sign) {
            return Err(ErrorReason::InvalidSignature);
        }
        let shared = self
            .one_time_key
            .agree(&request.smdp_otpk)
            .map_err(|_| ErrorReason::IncorrectInputValues)?;
        let keys = BspKeys::derive(&shared, template.host_id.octets(), &host.eid().0)
            .map_err(|_| ErrorReason::UnsupportedCrtValues)?;
        Ok((Opener::new(&keys), remaining))
    }
}

impl Receiver {
    /// Takes the next command. The first that is not what it should be ends the session.
    pub(super) fn take(self, host: &mut dyn Host, command: &[u8]) -> Result<Taken, Box<Failed>> {
        let Self {
            transaction,
            mut opener,
            mut remaining,
            phase,
        } = self;
        let iccid = phase.iccid();
        match phase.advance(host, &mut opener, &mut remaining, command) {
            Ok(Next::Phase(phase)) => Ok(Taken::More(Box::new(Self {
                transaction,
                opener,
                remaining,
                phase,
            }))),
            Ok(Next::Complete { described, package }) => Ok(Taken::Complete(Box::new(Received {
                transaction,
                isdp_aid: described.isdp.aid,
                dp_proprietary_data: described.isdp.dp_proprietary_data,
                metadata: *described.metadata,
                package,
            }))),
            Err(refusal) => Err(Box::new(Failed {
                transaction,
                refusal: refusal.about(iccid),
            })),
        }
    }

    /// A channel that is open with these keys already, for packages whose one-time keys are not known.
    #[cfg(test)]
    pub(super) fn with_keys(transaction: Transaction, keys: &BspKeys, remaining: usize) -> Self {
        Self {
            transaction,
            opener: Opener::new(keys),
            remaining,
            phase: Phase::ConfigureIsdp,
        }
    }

    /// Gives the package up.
    pub(super) fn interrupted(self) -> Failed {
        let refusal = Refusal::new(
            self.phase.command(),
            ErrorReason::InstallFailedDueToInterruption,
        );
        Failed {
            refusal: refusal.about(self.phase.iccid()),
            transaction: self.transaction,
        }
    }
}

impl Phase {
    fn advance(
        self,
        host: &mut dyn Host,
        opener: &mut Opener,
        remaining: &mut usize,
        command: &[u8],
    ) -> Result<Next, Refusal> {
        match self {
            Phase::ConfigureIsdp => {
                let refuse = |reason| Refusal::new(BppCommandId::ConfigureIsdp, reason);
                let data = only_segment(opener, remaining, command, 0xA0).map_err(refuse)?;
                let isdp = configure_isdp(host, &data).map_err(refuse)?;
                Ok(Next::Phase(Phase::MetadataHeader(isdp)))
            }
            Phase::MetadataHeader(isdp) => {
                let refuse = |reason| Refusal::new(BppCommandId::StoreMetadata, reason);
                let left = list_header(remaining, command, 0xA1).map_err(refuse)?;
                if left > METADATA_SEGMENTS_OCTETS_MAX {
                    return Err(refuse(ErrorReason::IncorrectInputValues));
                }
                Ok(Next::Phase(Phase::Metadata {
                    isdp,
                    left,
                    octets: Vec::new(),
                }))
            }
            Phase::Metadata {
                isdp,
                mut left,
                mut octets,
            } => {
                let refuse = |reason| Refusal::new(BppCommandId::StoreMetadata, reason);
                let data = list_segment(
                    opener,
                    remaining,
                    &mut left,
                    command,
                    SegmentTag::Metadata88,
                )
                .map_err(refuse)?;
                octets.extend_from_slice(&data);
                if left > 0 {
                    return Ok(Next::Phase(Phase::Metadata { isdp, left, octets }));
                }
                let metadata = StoreMetadataRequest::from_der(&octets)
                    .map_err(|_| refuse(ErrorReason::IncorrectInputValues))?;
                check_metadata(host, &metadata)
                    .map_err(|reason| refuse(reason).about(Some(metadata.iccid)))?;
                Ok(Next::Phase(Phase::KeysOrProfileHeader(Described {
                    isdp,
                    metadata: Box::new(metadata),
                })))
            }
            Phase::KeysOrProfileHeader(described) if command.first() == Some(&0xA2) => {
                let refuse = |reason| Refusal::new(BppCommandId::ReplaceSessionKeys, reason);
                let data = only_segment(opener, remaining, command, 0xA2).map_err(refuse)?;
                let keys = replacement_keys(&data).map_err(refuse)?;
                opener.replace_keys(&keys);
                Ok(Next::Phase(Phase::ProfileHeader(described)))
            }
            Phase::KeysOrProfileHeader(described) | Phase::ProfileHeader(described) => {
                let refuse = |reason| Refusal::new(BppCommandId::LoadProfileElements, reason);
                let left = list_header(remaining, command, 0xA3).map_err(refuse)?;
                // A3 is the last member of BF36.
                if left != *remaining {
                    return Err(refuse(ErrorReason::Scp03tStructureError));
                }
                if left > PROFILE_SEGMENTS_OCTETS_MAX {
                    return Err(refuse(
                        ErrorReason::InstallFailedDueToInsufficientMemoryForProfile,
                    ));
                }
                // Full capacity at once, so that growing leaves no copies of secrets behind.
                let package = Zeroizing::new(Vec::with_capacity(left));
                Ok(Next::Phase(Phase::Profile {
                    described,
                    left,
                    package,
                }))
            }
            Phase::Profile {
                described,
                mut left,
                mut package,
            } => {
                let refuse = |reason| Refusal::new(BppCommandId::LoadProfileElements, reason);
                let data =
                    list_segment(opener, remaining, &mut left, command, SegmentTag::Profile86)
                        .map_err(refuse)?;
                if package.len() + data.len() > PACKAGE_OCTETS_MAX {
                    return Err(refuse(
                        ErrorReason::InstallFailedDueToInsufficientMemoryForProfile,
                    ));
                }
                package.extend_from_slice(&data);
                if left > 0 {
                    return Ok(Next::Phase(Phase::Profile {
                        described,
                        left,
                        package,
                    }));
                }
                Ok(Next::Complete { described, package })
            }
        }
    }

    /// The command of ES8+ that is being received.
    fn command(&self) -> BppCommandId {
        match self {
            Phase::ConfigureIsdp => BppCommandId::ConfigureIsdp,
            Phase::MetadataHeader(_) | Phase::Metadata { .. } => BppCommandId::StoreMetadata,
            Phase::KeysOrProfileHeader(_) | Phase::ProfileHeader(_) | Phase::Profile { .. } => {
                BppCommandId::LoadProfileElements
            }
        }
    }

    fn iccid(&self) -> Option<Iccid> {
        match self {
            Phase::ConfigureIsdp | Phase::MetadataHeader(_) | Phase::Metadata { .. } => None,
            Phase::KeysOrProfileHeader(described)
            | Phase::ProfileHeader(described)
            | Phase::Profile { described, .. } => Some(described.metadata.iccid),
        }
    }
}

fn configure_isdp(host: &mut dyn Host, data: &[u8]) -> Result<Isdp, ErrorReason> {
    let request =
        ConfigureIsdpRequest::from_der(data).map_err(|_| ErrorReason::IncorrectInputValues)?;
    let dp_proprietary_data = request.dp_proprietary_data;
    if dp_proprietary_data
        .as_ref()
        .is_some_and(|kept| kept.to_der().len() > DP_PROPRIETARY_DATA_OCTETS_MAX)
    {
        return Err(ErrorReason::IncorrectInputValues);
    }
    let aid = host
        .allocate_isdp_aid()
        .ok_or(ErrorReason::InstallFailedDueToInsufficientMemoryForProfile)?;
    Ok(Isdp {
        aid,
        dp_proprietary_data,
    })
}

fn replacement_keys(data: &[u8]) -> Result<BspKeys, ErrorReason> {
    let request =
        ReplaceSessionKeysRequest::from_der(data).map_err(|_| ErrorReason::IncorrectInputValues)?;
    Ok(BspKeys {
        s_enc: request.ppk_enc.0,
        s_mac: request.ppk_cmac.0,
        initial_mac_chaining_value: request.initial_mac_chaining_value.0,
    })
}

/// Opens the one 87 of a command that is a whole `A0` or `A2`.
fn only_segment(
    opener: &mut Opener,
    remaining: &mut usize,
    command: &[u8],
    tag: u8,
) -> Result<Zeroizing<Vec<u8>>, ErrorReason> {
    consume(remaining, command.len())?;
    let limits = Limits::default();
    let segment = Reader::new(command, &limits)
        .and_then(|mut reader| {
            let list = reader.expect(Tag::new(u32::from(tag)))?;
            reader.finish()?;
            Ok(list.content())
        })
        .map_err(|_| ErrorReason::Scp03tStructureError)?;
    open(opener, SegmentTag::Command87, segment)
}

/// Reads a command that is the tag and length of `A1` or `A3` alone, and gives the length. An empty list is refused.
fn list_header(remaining: &mut usize, command: &[u8], tag: u8) -> Result<usize, ErrorReason> {
    consume(remaining, command.len())?;
    match header(command, &[tag]) {
        Some((length, [])) if length > 0 && length <= *remaining => Ok(length),
        _ => Err(ErrorReason::Scp03tStructureError),
    }
}

/// Opens a command that is one segment of a list with `left` octets to come.
fn list_segment(
    opener: &mut Opener,
    remaining: &mut usize,
    left: &mut usize,
    command: &[u8],
    tag: SegmentTag,
) -> Result<Zeroizing<Vec<u8>>, ErrorReason> {
    consume(remaining, command.len())?;
    consume(left, command.len())?;
    open(opener, tag, command)
}

fn open(
    opener: &mut Opener,
    tag: SegmentTag,
    segment: &[u8],
) -> Result<Zeroizing<Vec<u8>>, ErrorReason> {
    opener.open(tag, segment).map_err(|error| match error {
        OpenError::TooLarge(_) | OpenError::Malformed | OpenError::UnexpectedTag { .. } => {
            ErrorReason::Scp03tStructureError
        }
        _ => ErrorReason::Scp03tSecurityError,
    })
}

/// The lengths that BF36, A1 and A3 announce must be exactly what comes.
fn consume(announced: &mut usize, octets: usize) -> Result<(), ErrorReason> {
    *announced = announced
        .checked_sub(octets)
        .ok_or(ErrorReason::Scp03tStructureError)?;
    Ok(())
}

/// Splits a command that begins with this tag into the length that follows and the octets behind that. The length must be in
/// its shortest form; the octets may be fewer than it says.
fn header<'a>(command: &'a [u8], tag: &[u8]) -> Option<(usize, &'a [u8])> {
    let (length, rest) = match command.strip_prefix(tag)? {
        [short @ 0..=0x7F, rest @ ..] => (usize::from(*short), rest),
        [0x81, low @ 0x80..=0xFF, rest @ ..] => (usize::from(*low), rest),
        [0x82, high @ 1..=0xFF, low, rest @ ..] => {
            (usize::from(u16::from_be_bytes([*high, *low])), rest)
        }
        [0x83, high @ 1..=0xFF, middle, low, rest @ ..] => {
            let length = u32::from_be_bytes([0, *high, *middle, *low]);
            (usize::try_from(length).ok()?, rest)
        }
        _ => return None,
    };
    Some((length, rest))
}

#[cfg(test)]
mod tests {
    use hex_literal::hex;

    use super::*;

    #[test]
    fn headers_have_minimal_lengths() {
        assert_eq!(header(&hex!("A1 7F"), &[0xA1]), Some((0x7F, &[][..])));
        assert_eq!(
            header(&hex!("BF36 8180 BF23"), &[0xBF, 0x36]),
            Some((0x80, &hex!("BF23")[..]))
        );
        assert_eq!(header(&hex!("A3 820100"), &[0xA3]), Some((0x100, &[][..])));
        assert_eq!(
            header(&hex!("A3 83010000"), &[0xA3]),
            Some((0x10000, &[][..]))
        );
        for bad in [
            &hex!("A3 817F")[..],
            &hex!("A3 8200FF"),
            &hex!("A3 8300FFFF"),
            &hex!("A3 8401000000"),
            &hex!("A3 80"),
            &hex!("A3 82 01"),
            &hex!("A3"),
            &hex!("A1 01"),
        ] {
            assert_eq!(header(bad, &[0xA3]), None, "{bad:02X?}");
        }
    }

    #[test]
    fn announced_lengths_are_used_up_exactly() {
        let mut remaining = 10;
        assert_eq!(list_header(&mut remaining, &hex!("A1 08"), 0xA1), Ok(8));
        assert_eq!(remaining, 8);
        for (remaining, command) in [
            (10, &hex!("A1 09")[..]),
            (10, &hex!("A1 00")),
            (10, &hex!("A1 01 00")),
            (1, &hex!("A1 08")),
        ] {
            assert_eq!(
                list_header(&mut { remaining }, command, 0xA1),
                Err(ErrorReason::Scp03tStructureError),
                "{command:02X?}"
            );
        }
    }
}
