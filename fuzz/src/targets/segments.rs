//! Segments of a bound profile package at the eUICC.

use bsp::{BspKeys, Opener, Protector, SegmentTag};
use sha2::{Digest, Sha256};

use super::input::{Input, piece};

const TAGS: [SegmentTag; 3] = [
    SegmentTag::Profile86,
    SegmentTag::Command87,
    SegmentTag::Metadata88,
];

/// A sender with the right keys and somebody on the way who changes, adds and repeats. What comes through is what was
/// sent, in the order in which it was sent; the first thing that is not ends the session.
///
/// Every input has keys of its own: libFuzzer looks into comparisons, and with keys that stay it found the right MAC there.
pub fn segments(data: &[u8]) {
    let secret: [u8; 32] = Sha256::digest(data).into();
    let keys = |number| keys(&secret, number);
    let mut input = Input::new(data);
    let (mut protector, mut opener) = (Protector::new(&keys(1)), Opener::new(&keys(1)));
    let mut last: Option<(SegmentTag, Vec<u8>)> = None;
    for _ in 0..64 {
        if input.is_empty() || opener.is_over() {
            break;
        }
        let kind = input.octet();
        let tag = TAGS
            .into_iter()
            .nth(usize::from(kind >> 4) % 3)
            .unwrap_or(SegmentTag::Metadata88);
        match kind % 5 {
            0 => {
                let from_nowhere = opener.open(tag, input.piece());
                assert!(from_nowhere.is_err(), "nobody but the sender has the keys");
            }
            1 => {
                let plain = input.piece();
                let Ok(segment) = protector.protect(tag, plain) else {
                    assert!(plain.len() > tag.data_octets_max());
                    continue;
                };
                let opened = opener.open(tag, &segment).expect("in order and unchanged");
                assert_eq!(opened.as_slice(), plain);
                last = Some((tag, segment));
            }
            2 => {
                let plain = input.piece();
                let Ok(segment) = protector.protect(tag, plain) else {
                    continue;
                };
                let mut changed = segment.clone();
                input.edit(&mut changed);
                match opener.open(tag, &changed) {
                    Ok(_) => assert_eq!(changed, segment, "changed and accepted"),
                    Err(_) => assert_ne!(changed, segment, "unchanged and refused"),
                }
            }
            3 => {
                let number = input.octet();
                protector.replace_keys(&keys(number));
                opener.replace_keys(&keys(number));
                last = None;
            }
            _ => {
                if let Some((tag, segment)) = &last {
                    assert!(opener.open(*tag, segment).is_err(), "a repetition");
                }
            }
        }
    }
    if opener.is_over() {
        opener.replace_keys(&keys(1));
        let segment = Protector::new(&keys(1)).protect(TAGS[0], b"late").unwrap();
        assert!(opener.open(TAGS[0], &segment).is_err(), "over is over");
    }
}

pub fn segments_seeds() -> Vec<Vec<u8>> {
    let (tag87, tag88, tag86) = (0x11, 0x21, 0x01);
    let mut session = vec![tag87];
    session.extend(piece(&[0xBF, 0x24, 0x00]));
    session.push(tag88);
    session.extend(piece(&[0x5A; 300]));
    session.extend([3, 7, tag86]);
    session.extend(piece(&[0x86; 1007]));
    let mut changed = session.clone();
    changed.push(2);
    changed.extend(piece(b"one"));
    changed.extend([1, 3, 0, 5, 1]);
    let mut repeated = session.clone();
    repeated.push(4);
    let mut foreign = vec![0];
    foreign.extend(piece(&[
        0x86, 0x18, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
    ]));
    vec![session, changed, repeated, foreign]
}

fn keys(secret: &[u8], number: u8) -> BspKeys {
    let key = |purpose: u8| {
        let digest: [u8; 32] = Sha256::new()
            .chain_update(secret)
            .chain_update([number, purpose])
            .finalize()
            .into();
        let (key, _) = digest.split_first_chunk().expect("32 octets hold 16");
        *key
    };
    BspKeys {
        s_enc: key(0),
        s_mac: key(1),
        initial_mac_chaining_value: key(2),
    }
}
