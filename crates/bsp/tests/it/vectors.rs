//! Published vectors of others.

use bsp::{
    BspKeys, OpenError, Opener, Protector, SegmentTag, bind, bind_protected, protect_profile,
};
use pki::{Curve, EphemeralKey};
use rsp::der::{Limits, Reader, Tag};
use serde_json::Value;

use crate::{array, octets, vector_file, vector_json};

fn tag(value: &Value) -> SegmentTag {
    SegmentTag::from_octet(octets(value)[0]).unwrap()
}

#[test]
fn key_agreement_and_derivation() {
    let file = vector_json("bsp_pysim.json");
    let agreement = &file["ecka_mode51"];
    let one_time_key =
        EphemeralKey::from_scalar(Curve::P256, &array(&agreement["smdp_otsk"])).unwrap();
    assert_eq!(one_time_key.public_point(), octets(&agreement["smdp_otpk"]));
    let shared = one_time_key
        .agree(&octets(&agreement["euicc_otpk"]))
        .unwrap();
    assert_eq!(*shared, array(&agreement["shared_x"]));

    let derivations = file["kdf"].as_array().unwrap();
    assert_eq!(derivations.len(), 2);
    for derivation in derivations {
        assert_eq!(octets(&derivation["key_type"]), [bsp::KEY_TYPE_AES_128]);
        assert_eq!(octets(&derivation["key_length"]), [bsp::KEY_LENGTH]);
        let keys = BspKeys::derive(
            &array(&derivation["shared_x"]),
            &octets(&derivation["host_id"]),
            &array(&derivation["eid"]),
        )
        .unwrap();
        assert_eq!(keys.s_enc, array(&derivation["s_enc"]));
        assert_eq!(keys.s_mac, array(&derivation["s_mac"]));
        assert_eq!(
            keys.initial_mac_chaining_value,
            array(&derivation["initial_mac_chaining"])
        );
    }
}

/// The trace of a server, protected and opened again: session keys, then replaced keys.
#[test]
fn segments_of_a_trace() {
    let file = vector_json("bsp_pysim.json");
    let derivation = &file["kdf"][1];
    let session_keys = BspKeys {
        s_enc: array(&derivation["s_enc"]),
        s_mac: array(&derivation["s_mac"]),
        initial_mac_chaining_value: array(&derivation["initial_mac_chaining"]),
    };
    let profile = &file["segments_ppk"];
    let profile_keys = BspKeys {
        s_enc: array(&profile["ppk_enc"]),
        s_mac: array(&profile["ppk_mac"]),
        initial_mac_chaining_value: array(&profile["initial_mac_chaining"]),
    };
    let mut protector = Protector::new(&session_keys);
    let mut opener = Opener::new(&session_keys);
    let mut check = |segments: &[Value], keys: Option<&BspKeys>| {
        if let Some(keys) = keys {
            protector.replace_keys(keys);
            opener.replace_keys(keys);
        }
        for segment in segments {
            let (tag, plain, whole) = (
                tag(&segment["tag"]),
                octets(&segment["plain"]),
                octets(&segment["segment"]),
            );
            assert_eq!(protector.protect(tag, &plain).unwrap(), whole);
            assert_eq!(*opener.open(tag, &whole).unwrap(), plain);
        }
    };
    let session_segments = file["segments_session_keys"].as_array().unwrap();
    let profile_segments = profile["segments"].as_array().unwrap();
    assert_eq!((session_segments.len(), profile_segments.len()), (3, 2));
    check(session_segments, None);
    check(profile_segments, Some(&profile_keys));

    // The same through the function that a server uses.
    let plain = |index: usize| octets(&session_segments[index]["plain"]);
    assert_eq!(plain(2), *profile_keys.replace_session_keys_request());
    let package: Vec<u8> = profile_segments
        .iter()
        .flat_map(|segment| octets(&segment["plain"]))
        .collect();
    let whole = |segments: &[Value]| {
        segments
            .iter()
            .map(|segment| octets(&segment["segment"]))
            .collect::<Vec<_>>()
    };
    let bound = bind(
        &session_keys,
        &plain(0),
        &plain(1),
        Some(&profile_keys),
        &package,
    )
    .unwrap();
    assert_eq!(bound.first_sequence_of_87, whole(&session_segments[..1]));
    assert_eq!(bound.sequence_of_88, whole(&session_segments[1..2]));
    assert_eq!(bound.second_sequence_of_87, whole(&session_segments[2..]));
    assert_eq!(bound.sequence_of_86, whole(profile_segments));
    let protected = protect_profile(&profile_keys, &package).unwrap();
    assert_eq!(
        bind_protected(
            &session_keys,
            &plain(0),
            &plain(1),
            &profile_keys,
            protected
        )
        .unwrap(),
        bound
    );
}

/// A package of an old server: 86 segments of 1036 octets, more than may be made, but accepted.
#[test]
fn package_with_known_keys() {
    let file = vector_json("bpp_with_keys_pysim.json");
    let mut opener = Opener::new(&BspKeys {
        s_enc: array(&file["s_enc"]),
        s_mac: array(&file["s_mac"]),
        initial_mac_chaining_value: array(&file["initial_mac_chaining"]),
    });
    let mut open = |key: &str, tag| -> Vec<u8> {
        let segments = file[key].as_array().unwrap();
        segments
            .iter()
            .flat_map(|segment| opener.open(tag, &octets(segment)).unwrap().to_vec())
            .collect()
    };
    assert_eq!(
        open("segments_87_first", SegmentTag::Command87),
        octets(&file["configure_isdp_plain"])
    );
    assert_eq!(
        open("segments_88", SegmentTag::Metadata88),
        octets(&file["store_metadata_plain"])
    );
    opener.replace_keys(&BspKeys {
        s_enc: array(&file["ppk_enc"]),
        s_mac: array(&file["ppk_mac"]),
        initial_mac_chaining_value: array(&file["ppk_initial_mac_chaining"]),
    });
    let segments: Vec<Vec<u8>> = file["segments_86"]
        .as_array()
        .unwrap()
        .iter()
        .map(octets)
        .collect();
    assert_eq!(
        segments.iter().map(Vec::len).max(),
        Some(bsp::SEGMENT_OCTETS_ACCEPTED_MAX)
    );
    let mut package = Vec::new();
    for segment in &segments {
        package.extend_from_slice(&opener.open(SegmentTag::Profile86, segment).unwrap());
    }
    assert_eq!(package, octets(&file["upp"]));
    assert_eq!(
        opener
            .open(SegmentTag::Profile86, &vec![0x86; 1037])
            .unwrap_err(),
        OpenError::TooLarge(1037)
    );
}

/// A download session without ReplaceSessionKeys: the 86 segments go on with session keys, chain and counter.
#[test]
fn synthetic_session() {
    let file = |name: &str| {
        hex::decode(vector_file(&format!("es9_session_synthetic/{name}.hex")).trim()).unwrap()
    };
    let package = file("bound_profile_package");
    let response = file("prepare_download_response");
    let find = |octets: &[u8], start: &[u8]| {
        octets
            .windows(start.len())
            .position(|window| window == start)
            .unwrap()
            + start.len()
    };
    let point = find(&response, &[0x5F, 0x49, 0x41]);
    let euicc_point = &response[point..point + 65];
    let one_time_key =
        EphemeralKey::from_scalar(Curve::P256, &file("otsk_dp").try_into().unwrap()).unwrap();
    let point = find(&package, &[0x5F, 0x49, 0x41]);
    assert_eq!(one_time_key.public_point(), &package[point..point + 65]);

    let host = find(&package, &[0x81, 0x01, 0x10, 0x84]);
    let host_id = &package[host + 1..host + 1 + usize::from(package[host])];
    let eid = hex::decode("89049032123451234512345678901235")
        .unwrap()
        .try_into()
        .unwrap();
    let keys = BspKeys::derive(&one_time_key.agree(euicc_point).unwrap(), host_id, &eid).unwrap();

    let mut opener = Opener::new(&keys);
    let mut opened = Vec::new();
    for (list, tag) in [
        (0xA0, SegmentTag::Command87),
        (0xA1, SegmentTag::Metadata88),
        (0xA3, SegmentTag::Profile86),
    ] {
        let mut data = Vec::new();
        for segment in segments_of(&package, list) {
            data.extend_from_slice(&opener.open(tag, &segment).unwrap());
        }
        opened.push(data);
    }
    assert_eq!(hex::encode(&opened[0]), "bf2400");
    assert_eq!(opened[1], file("store_metadata"));
    assert_eq!(opened[2], file("upp"));

    let bound = bind(&keys, &opened[0], &opened[1], None, &opened[2]).unwrap();
    assert_eq!(bound.first_sequence_of_87, segments_of(&package, 0xA0));
    assert_eq!(bound.sequence_of_88, segments_of(&package, 0xA1));
    assert_eq!(bound.second_sequence_of_87, Vec::<Vec<u8>>::new());
    assert_eq!(bound.sequence_of_86, segments_of(&package, 0xA3));
}

/// The whole TLVs in one list of a BoundProfilePackage.
fn segments_of(package: &[u8], list: u32) -> Vec<Vec<u8>> {
    let limits = Limits::default();
    let mut message = Reader::new(package, &limits).unwrap();
    let mut members = message.expect(Tag::new(0xBF36)).unwrap().open().unwrap();
    while let Some(member) = members.next().unwrap() {
        if member.tag() == Tag::new(list) {
            let mut segments = member.open().unwrap();
            let mut found = Vec::new();
            while let Some(segment) = segments.next().unwrap() {
                found.push(segment.whole().to_vec());
            }
            return found;
        }
    }
    panic!("no list {list:02X}");
}
