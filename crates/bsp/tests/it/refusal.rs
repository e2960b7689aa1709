//! What an eUICC must refuse, and round trips of anything.

use bsp::{
    BspKeys, OpenError, Opener, ProtectError, Protector, SEGMENT_OCTETS_MAX, SegmentTag, bind,
};
use proptest::prelude::*;

const TAGS: [SegmentTag; 3] = [
    SegmentTag::Profile86,
    SegmentTag::Command87,
    SegmentTag::Metadata88,
];

fn keys(seed: u8) -> BspKeys {
    let mut rng: rand_chacha::ChaCha20Rng =
        rand_chacha::rand_core::SeedableRng::from_seed([seed; 32]);
    BspKeys::generate(&mut rng)
}

/// Three segments of 86.
fn three() -> Vec<Vec<u8>> {
    let mut protector = Protector::new(&keys(1));
    (0..3)
        .map(|index| {
            protector
                .protect(SegmentTag::Profile86, &[index; 40])
                .unwrap()
        })
        .collect()
}

#[test]
fn every_altered_octet_is_noticed() {
    for tag in TAGS {
        let segment = Protector::new(&keys(1)).protect(tag, b"some data").unwrap();
        assert_eq!(
            **Opener::new(&keys(1)).open(tag, &segment).unwrap(),
            *b"some data"
        );
        for index in 0..segment.len() {
            for bit in 0..8 {
                let mut altered = segment.clone();
                altered[index] ^= 1 << bit;
                let mut opener = Opener::new(&keys(1));
                let error = opener.open(tag, &altered).unwrap_err();
                assert!(
                    matches!(
                        error,
                        OpenError::BadMac | OpenError::Malformed | OpenError::UnexpectedTag { .. }
                    ),
                    "octet {index} bit {bit}: {error:?}"
                );
                assert!(opener.is_over());
                assert_eq!(
                    opener.open(tag, &segment),
                    Err(OpenError::SessionOver),
                    "no second try"
                );
            }
        }
    }
}

#[test]
fn order_matters() {
    let segments = three();
    for order in [[1, 0, 2], [0, 2, 1], [0, 0, 1], [2, 1, 0]] {
        let mut opener = Opener::new(&keys(1));
        let failed = order
            .iter()
            .find_map(|index| opener.open(SegmentTag::Profile86, &segments[*index]).err());
        assert_eq!(failed, Some(OpenError::BadMac), "{order:?}");
    }
    let mut opener = Opener::new(&keys(1));
    for segment in &segments {
        opener.open(SegmentTag::Profile86, segment).unwrap();
    }
    assert_eq!(
        opener.open(SegmentTag::Profile86, &segments[2]),
        Err(OpenError::BadMac),
        "replayed"
    );
}

#[test]
fn cut_and_prolonged_segments_are_malformed() {
    let segment = three().remove(0);
    for length in 0..segment.len() {
        let mut opener = Opener::new(&keys(1));
        assert_eq!(
            opener.open(SegmentTag::Profile86, &segment[..length]),
            Err(OpenError::Malformed),
            "{length}"
        );
    }
    let longer = [&segment[..], &[0]].concat();
    assert_eq!(
        Opener::new(&keys(1)).open(SegmentTag::Profile86, &longer),
        Err(OpenError::Malformed)
    );
}

#[test]
fn other_keys_and_other_tags_are_refused() {
    let segment = three().remove(0);
    assert_eq!(
        Opener::new(&keys(2)).open(SegmentTag::Profile86, &segment),
        Err(OpenError::BadMac)
    );
    assert_eq!(
        Opener::new(&keys(1)).open(SegmentTag::Command87, &segment),
        Err(OpenError::UnexpectedTag {
            expected: SegmentTag::Command87,
            found: SegmentTag::Profile86
        })
    );
    // Nor may a segment be passed off as another kind by changing its tag.
    let mut relabelled = segment.clone();
    relabelled[0] = 0x87;
    assert_eq!(
        Opener::new(&keys(1)).open(SegmentTag::Command87, &relabelled),
        Err(OpenError::BadMac)
    );
    for part in 0..3 {
        let mut other = keys(1);
        [
            &mut other.s_mac,
            &mut other.s_enc,
            &mut other.initial_mac_chaining_value,
        ][part][0] ^= 1;
        let result = Opener::new(&other).open(SegmentTag::Profile86, &segment);
        match part {
            // Another S-ENC is not seen by the MAC; the padding or the data is wrong.
            1 => assert!(result.as_deref() != Ok(&vec![0; 40])),
            _ => assert_eq!(result, Err(OpenError::BadMac)),
        }
    }
}

#[test]
fn authentic_but_unpadded_payload_is_refused() {
    // Made as 88, which is not encrypted, but with the MAC of an 86: only a holder of S-MAC can do that.
    for payload in [&[][..], &[0x11; 15], &[0x11; 17], &[0x11; 16]] {
        let segment = authentic_86(&keys(1), payload);
        assert_eq!(
            Opener::new(&keys(1)).open(SegmentTag::Profile86, &segment),
            Err(OpenError::BadPadding),
            "{} octets",
            payload.len()
        );
    }
}

fn authentic_86(keys: &BspKeys, payload: &[u8]) -> Vec<u8> {
    use cmac::{Cmac, KeyInit, Mac};
    let mut segment = vec![0x86, u8::try_from(payload.len() + 8).unwrap()];
    segment.extend_from_slice(payload);
    let mut mac = Cmac::<aes::Aes128>::new(&keys.s_mac.into());
    mac.update(&keys.initial_mac_chaining_value);
    mac.update(&segment);
    segment.extend_from_slice(&mac.finalize().into_bytes()[..8]);
    segment
}

#[test]
fn replaced_keys_begin_anew() {
    let mut protector = Protector::new(&keys(1));
    let mut opener = Opener::new(&keys(1));
    let first = protector.protect(SegmentTag::Command87, b"a").unwrap();
    opener.open(SegmentTag::Command87, &first).unwrap();
    protector.replace_keys(&keys(2));
    opener.replace_keys(&keys(2));
    let second = protector.protect(SegmentTag::Profile86, b"b").unwrap();
    assert_eq!(
        second,
        Protector::new(&keys(2))
            .protect(SegmentTag::Profile86, b"b")
            .unwrap()
    );
    assert_eq!(
        **opener.open(SegmentTag::Profile86, &second).unwrap(),
        *b"b"
    );

    let mut over = Opener::new(&keys(1));
    assert!(over.open(SegmentTag::Profile86, &[]).is_err());
    over.replace_keys(&keys(2));
    assert_eq!(
        over.open(SegmentTag::Profile86, &second),
        Err(OpenError::SessionOver),
        "new keys revive nothing"
    );
}

#[test]
fn segments_fill_up_to_the_limit() {
    for tag in TAGS {
        let maximum = tag.data_octets_max();
        let mut protector = Protector::new(&keys(1));
        assert_eq!(
            protector.protect(tag, &vec![0; maximum]).unwrap().len(),
            SEGMENT_OCTETS_MAX
        );
        assert_eq!(
            protector.protect(tag, &vec![0; maximum + 1]),
            Err(ProtectError {
                octets: maximum + 1,
                maximum
            })
        );
        let mut protector = Protector::new(&keys(1));
        let lengths: Vec<usize> = protector
            .protect_all(tag, &vec![0; 2 * maximum + 1])
            .unwrap()
            .iter()
            .map(Vec::len)
            .collect();
        assert_eq!(lengths[..2], [SEGMENT_OCTETS_MAX; 2]);
        assert_eq!(lengths.len(), 3);
        assert!(protector.protect_all(tag, &[]).unwrap().is_empty());
    }
    // ConfigureISDP is one segment; it is not cut.
    assert!(bind(&keys(1), &[0; 1008], &[], None, &[]).is_err());
}

proptest! {
    #[test]
    fn anything_survives_binding(
        configure in proptest::collection::vec(any::<u8>(), 0..1007),
        metadata in proptest::collection::vec(any::<u8>(), 1..2500),
        profile in proptest::collection::vec(any::<u8>(), 1..5000),
        replace in any::<bool>(),
        seed in any::<u8>(),
    ) {
        let (session_keys, other) = (keys(seed), keys(seed.wrapping_add(1)));
        let profile_keys = replace.then_some(&other);
        let bound = bind(&session_keys, &configure, &metadata, profile_keys, &profile).unwrap();
        let mut opener = Opener::new(&session_keys);
        let mut open = |segments: &[Vec<u8>], tag| -> Vec<u8> {
            segments.iter().flat_map(|segment| {
                assert!(segment.len() <= SEGMENT_OCTETS_MAX);
                opener.open(tag, segment).unwrap().to_vec()
            }).collect()
        };
        prop_assert_eq!(open(&bound.first_sequence_of_87, SegmentTag::Command87), configure);
        prop_assert_eq!(open(&bound.sequence_of_88, SegmentTag::Metadata88), metadata);
        let request = open(&bound.second_sequence_of_87, SegmentTag::Command87);
        if replace {
            prop_assert_eq!(&request, &*other.replace_session_keys_request());
            opener.replace_keys(&other);
        } else {
            prop_assert!(request.is_empty());
        }
        let mut opened = Vec::new();
        for segment in &bound.sequence_of_86 {
            opened.extend_from_slice(&opener.open(SegmentTag::Profile86, segment).unwrap());
        }
        prop_assert_eq!(opened, profile);
    }

    #[test]
    fn garbage_never_opens(segment in proptest::collection::vec(any::<u8>(), 0..1100)) {
        for tag in TAGS {
            prop_assert!(Opener::new(&keys(1)).open(tag, &segment).is_err());
        }
    }
}
