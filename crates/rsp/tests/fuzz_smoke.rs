//! The fuzz targets of `fuzz/src/targets/wire.rs` over damaged messages, in every build.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use rsp::dump::parse_input;

#[expect(unreachable_pub, reason = "shared with fuzz/")]
#[path = "../../../fuzz/src/harness.rs"]
mod harness;
#[expect(unreachable_pub, reason = "shared with fuzz/")]
#[path = "../../../fuzz/src/messages.rs"]
mod messages;
#[expect(unreachable_pub, reason = "shared with fuzz/")]
#[path = "../../../fuzz/src/targets/wire.rs"]
mod targets;

const BUDGET: harness::Budget = harness::Budget {
    octets: 500_000,
    times_min: 24,
    times_max: 600,
};

/// Input that once broke a target.
const FINDINGS: &[&str] = &[
    // The tag of an alternative left out, and elements of a newer version behind its members.
    "BF520BA000A10000050000002001",
    "BF5121800101A00A00000000000000020C561010123456789012F15F3405303003020102",
];

#[test]
fn esipa() {
    smoke(targets::esipa);
}

#[test]
fn es10() {
    smoke(targets::es10);
}

#[test]
fn es9plus() {
    smoke(targets::es9plus);
}

#[test]
fn bound_profile_package() {
    smoke(targets::bound_profile_package);
}

#[test]
fn profile_package() {
    smoke(targets::profile_package);
}

#[test]
fn certificates() {
    smoke(targets::certificates);
}

#[test]
fn dump() {
    smoke(targets::dump);
}

#[test]
fn bindings() {
    smoke(targets::bindings);
}

fn smoke(target: fn(&[u8])) {
    for finding in FINDINGS {
        let octets = parse_input(finding.as_bytes()).expect("octets");
        harness::run(target, &octets, || format!("finding {finding}"));
    }
    harness::smoke(target, &messages(), &BUDGET);
}

/// The published messages, the test profiles, and JSON bodies made from them.
fn messages() -> Vec<Vec<u8>> {
    let mut messages = messages::published();
    let bodies: Vec<Vec<u8>> = messages
        .iter()
        .filter_map(|message| {
            let esipa = rsp::binding::esipa::Request::from_asn1(message).ok()?;
            esipa.to_json().ok().map(|(_, body)| body)
        })
        .collect();
    assert!(
        messages.len() > 25 && !bodies.is_empty(),
        "the seeds are there"
    );
    messages.extend(bodies);
    messages.push(br#"{"header":{"functionRequesterIdentifier":"1","functionCallIdentifier":"2"},"iccid":"8944476500001224158F","eid":"89049032123451234512345678901235","matchingId":"A-1","releaseFlag":true}"#.to_vec());
    messages
}
