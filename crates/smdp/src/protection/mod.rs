//! Builds bound profile packages (SGP.22 v2.5 sections 2.5 and 5.5). Pure: keys, randomness and
//! data are arguments.

mod personalise;

use bsp::{BspKeys, HostIdLength, KEY_LENGTH, KEY_TYPE_AES_128, ProtectError, bind};
use pki::{AgreementError, Curve, EphemeralKey, KeyError, SignError, Signer};
use rand_core::CryptoRng;
use rsp::der::{Element, Octets, Oid};
use rsp::ids::TransactionId;
use rsp::sgp22::{
    BoundProfilePackage, ConfigureIsdpRequest, ControlRefTemplate, DpProprietaryData,
    InitialiseSecureChannelRequest, OctetTo16, OneTimePublicKey, RemoteOpId, Segment86, Segment87,
    Segment88, Signature,
};

pub use personalise::PersonalisationError;
pub(crate) use personalise::personalise;

use crate::config::ProfileKeys;

/// What is bound to whom.
pub(crate) struct Binding<'a> {
    /// The session.
    pub(crate) transaction_id: &'a TransactionId,
    /// The eUICC: 16 octets, digits in order.
    pub(crate) eid: &'a [u8; 16],
    /// otPK.EUICC.ECKA: 65 octets.
    pub(crate) euicc_otpk: &'a [u8],
    /// SK.DPpb.
    pub(crate) pb_signer: &'a dyn Signer,
    /// This SM-DP+.
    pub(crate) smdp_oid: &'a Oid,
    /// DER StoreMetadataRequest, exactly as the device was told.
    pub(crate) metadata: &'a [u8],
    /// The unprotected profile package.
    pub(crate) package: &'a [u8],
}

/// Why a package could not be bound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtectionError {
    /// No one-time key could be made.
    #[error("no one-time key could be made")]
    OneTimeKey(#[source] KeyError),
    /// The eUICC's key cannot be used.
    #[error("the eUICC's one-time key cannot be used")]
    Agreement(#[source] AgreementError),
    /// The host id has a wrong length.
    #[error("the host id cannot be used")]
    HostId(#[source] HostIdLength),
    /// Data do not fit into segments.
    #[error("the data do not fit into segments")]
    Protect(#[source] ProtectError),
    /// SK.DPpb could not sign.
    #[error("SK.DPpb could not sign")]
    Sign(#[source] SignError),
    /// A segment is not what it should be.
    #[error("a segment is malformed")]
    Segment(#[source] rsp::der::Error),
    /// The profile could not be given its ICCID.
    #[error("the profile could not be given its ICCID")]
    Personalisation(#[source] PersonalisationError),
}

/// The random part of a package: never used for a second one.
pub(crate) struct Fresh {
    one_time: EphemeralKey,
    profile_keys: Option<BspKeys>,
}

impl Fresh {
    /// Draws a one-time key pair on the curve of SK.DPpb, and keys for the profile if they are to be its own.
    pub(crate) fn draw(
        curve: Curve,
        profile_keys: ProfileKeys,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, ProtectionError> {
        Ok(Self {
            one_time: EphemeralKey::generate(curve, rng).map_err(ProtectionError::OneTimeKey)?,
            profile_keys: match profile_keys {
                ProfileKeys::Session => None,
                ProfileKeys::Random => Some(BspKeys::generate(rng)),
            },
        })
    }
}

/// Binds a profile to an eUICC and a session.
pub(crate) fn bind_package(
    binding: &Binding<'_>,
    fresh: Fresh,
) -> Result<BoundProfilePackage, ProtectionError> {
    let Fresh {
        one_time,
        profile_keys,
    } = fresh;
    let host_id = host_id(binding.smdp_oid);
    let shared = one_time
        .agree(binding.euicc_otpk)
        .map_err(ProtectionError::Agreement)?;
    let session_keys =
        BspKeys::derive(&shared, &host_id, binding.eid).map_err(ProtectionError::HostId)?;

    let configure_isdp = ConfigureIsdpRequest {
        dp_proprietary_data: Some(DpProprietaryData {
            dp_oid: binding.smdp_oid.clone(),
            extensions: Default::default(),
        }),
        extensions: Default::default(),
    };
    let segments = bind(
        &session_keys,
        &configure_isdp.to_der(),
        binding.metadata,
        profile_keys.as_ref(),
        binding.package,
    )
    .map_err(ProtectionError::Protect)?;

    Ok(BoundProfilePackage {
        initialise_secure_channel_request: open_channel(binding, &one_time, &host_id)?,
        first_sequence_of87: elements::<Segment87>(&segments.first_sequence_of_87)?,
        sequence_of88: elements::<Segment88>(&segments.sequence_of_88)?,
        second_sequence_of87: match segments.second_sequence_of_87.is_empty() {
            true => None,
            false => Some(elements::<Segment87>(&segments.second_sequence_of_87)?),
        },
        sequence_of86: elements::<Segment86>(&segments.sequence_of_86)?,
        extensions: Default::default(),
    })
}

/// Whether octets are a one-time key on a curve.
pub(crate) fn is_one_time_key(curve: Curve, point: &[u8]) -> bool {
    pki::PublicKey::from_uncompressed_point(curve, point).is_ok()
}

fn open_channel(
    binding: &Binding<'_>,
    one_time: &EphemeralKey,
    host_id: &[u8],
) -> Result<InitialiseSecureChannelRequest, ProtectionError> {
    let mut request = InitialiseSecureChannelRequest {
        remote_op_id: RemoteOpId::InstallBoundProfilePackage,
        transaction_id: binding.transaction_id.clone(),
        control_ref_template: ControlRefTemplate {
            key_type: [KEY_TYPE_AES_128],
            key_len: [KEY_LENGTH],
            host_id: OctetTo16::new(host_id).map_err(ProtectionError::Segment)?,
            extensions: Default::default(),
        },
        smdp_otpk: OneTimePublicKey(Octets(one_time.public_point().to_vec())),
        smdp_sign: Signature(Octets::default()),
        extensions: Default::default(),
    };
    let euicc_otpk = OneTimePublicKey(Octets(binding.euicc_otpk.to_vec()));
    let signature = binding
        .pb_signer
        .sign(&request.signed_octets(&euicc_otpk))
        .map_err(ProtectionError::Sign)?;
    request.smdp_sign = Signature(Octets(signature.as_bytes().to_vec()));
    Ok(request)
}

/// The choice of a host id is free (SGP.22 v2.5 section 5.5.1); the OID makes traces readable.
fn host_id(smdp_oid: &Oid) -> Vec<u8> {
    smdp_oid.content().iter().copied().take(16).collect()
}

fn elements<T: Element>(segments: &[Vec<u8>]) -> Result<Vec<T>, ProtectionError> {
    segments
        .iter()
        .map(|segment| T::from_der(segment).map_err(ProtectionError::Segment))
        .collect()
}

#[cfg(test)]
mod tests {
    use bsp::{Opener, SEGMENT_OCTETS_MAX, SegmentTag};
    use pki::PrivateKey;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;
    use rsp::sgp22::ReplaceSessionKeysRequest;

    use super::*;

    struct Opened {
        configure: Vec<u8>,
        metadata: Vec<u8>,
        package: Vec<u8>,
    }

    fn round_trip(
        curve: Curve,
        profile_keys: ProfileKeys,
        package: &[u8],
    ) -> (BoundProfilePackage, Opened) {
        let mut rng = ChaCha20Rng::seed_from_u64(7);
        let signer = PrivateKey::generate(curve, &mut rng).unwrap();
        let euicc = EphemeralKey::generate(curve, &mut rng).unwrap();
        let eid = [0x89; 16];
        let oid = Oid::from_dotted("2.999.10").unwrap();
        let transaction_id = TransactionId::new(&[5; 16]).unwrap();
        let bound = bind_package(
            &Binding {
                transaction_id: &transaction_id,
                eid: &eid,
                euicc_otpk: euicc.public_point(),
                pb_signer: &signer,
                smdp_oid: &oid,
                metadata: &[0xAB; 1500],
                package,
            },
            Fresh::draw(curve, profile_keys, &mut rng).unwrap(),
        )
        .unwrap();
        // What the eUICC sees is what was encoded.
        let bound = BoundProfilePackage::from_der(&bound.to_der()).unwrap();
        let channel = &bound.initialise_secure_channel_request;
        let signature = pki::Signature::from_wire(&channel.smdp_sign).unwrap();
        let otpk = OneTimePublicKey(Octets(euicc.public_point().to_vec()));
        signer
            .public_key()
            .verify(&channel.signed_octets(&otpk), &signature)
            .unwrap();
        assert_eq!(channel.transaction_id, transaction_id);

        let shared = euicc.agree(&channel.smdp_otpk).unwrap();
        let host_id = channel.control_ref_template.host_id.octets();
        let mut opener = Opener::new(&BspKeys::derive(&shared, host_id, &eid).unwrap());
        let mut open = |tag, segments: Vec<Vec<u8>>, keys: Option<BspKeys>| {
            if let Some(keys) = keys {
                opener.replace_keys(&keys);
            }
            let mut data = Vec::new();
            for segment in segments {
                assert!(segment.len() <= SEGMENT_OCTETS_MAX);
                data.extend_from_slice(&opener.open(tag, &segment).unwrap());
            }
            data
        };
        let configure = open(
            SegmentTag::Command87,
            ders(&bound.first_sequence_of87),
            None,
        );
        let metadata = open(SegmentTag::Metadata88, ders(&bound.sequence_of88), None);
        let keys = bound.second_sequence_of87.as_ref().map(|segments| {
            let request = open(SegmentTag::Command87, ders(segments), None);
            let request = ReplaceSessionKeysRequest::from_der(&request).unwrap();
            BspKeys {
                s_enc: request.ppk_enc.0,
                s_mac: request.ppk_cmac.0,
                initial_mac_chaining_value: request.initial_mac_chaining_value.0,
            }
        });
        let package = open(SegmentTag::Profile86, ders(&bound.sequence_of86), keys);
        (
            bound,
            Opened {
                configure,
                metadata,
                package,
            },
        )
    }

    fn ders<T: Element>(segments: &[T]) -> Vec<Vec<u8>> {
        segments.iter().map(Element::to_der).collect()
    }

    #[test]
    fn an_euicc_opens_what_was_bound() {
        let package: Vec<u8> = (0..5000_u32).map(|n| n as u8).collect();
        for curve in Curve::ALL {
            for profile_keys in [ProfileKeys::Session, ProfileKeys::Random] {
                let (bound, opened) = round_trip(curve, profile_keys, &package);
                assert_eq!(opened.package, package);
                assert_eq!(opened.metadata, [0xAB; 1500]);
                assert_eq!(
                    opened.configure,
                    [0xBF, 0x24, 7, 0xB8, 5, 0x80, 3, 0x88, 0x37, 0x0A]
                );
                assert_eq!(
                    bound.second_sequence_of87.is_some(),
                    profile_keys == ProfileKeys::Random
                );
                assert_eq!(bound.sequence_of86.len(), 5);
            }
        }
    }
}
