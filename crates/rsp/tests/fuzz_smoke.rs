//! The fuzz targets over damaged messages: a bounded, repeatable run that every build makes.
//!
//! `SMOKE_SEED=<number>` runs other damage; a failure names the seed that repeats it.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::{env, fs};

use rsp::dump::parse_input;

#[expect(unreachable_pub, reason = "a library of its own in fuzz/")]
#[path = "../../../fuzz/src/lib.rs"]
mod targets;

/// Octets of damage budget: a message of n octets is damaged this many / n times.
const BUDGET_OCTETS: usize = 500_000;

/// Input that once broke a target.
const FINDINGS: &[&str] = &[
    // The tag of an alternative left out, and elements of a newer version behind its members.
    "BF520BA000A10000050000002001",
    "BF5121800101A00A00000000000000020C561010123456789012F15F3405303003020102",
];

#[test]
fn esipa() {
    smoke("esipa");
}

#[test]
fn es10() {
    smoke("es10");
}

#[test]
fn es9plus() {
    smoke("es9plus");
}

#[test]
fn bound_profile_package() {
    smoke("bound_profile_package");
}

#[test]
fn profile_package() {
    smoke("profile_package");
}

#[test]
fn certificates() {
    smoke("certificates");
}

#[test]
fn dump() {
    smoke("dump");
}

#[test]
fn bindings() {
    smoke("bindings");
}

fn smoke(name: &str) {
    let (_, target) = targets::TARGETS
        .iter()
        .find(|(known, _)| *known == name)
        .expect("a target of this name");
    let first_seed: u64 = env::var("SMOKE_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1);
    let messages = messages();
    for finding in FINDINGS {
        run(
            *target,
            &parse_input(finding.as_bytes()).expect("octets"),
            || format!("finding {finding}"),
        );
    }
    for (index, message) in messages.iter().enumerate() {
        run(*target, message, || format!("message {index}, undamaged"));
        let times = (BUDGET_OCTETS / message.len().max(1)).clamp(24, 600);
        for time in 0..times {
            let seed = first_seed
                .wrapping_mul(1_000_003)
                .wrapping_add((index * 1000 + time) as u64);
            let mut random = Random(seed);
            let other = random.pick(&messages);
            let damaged = random.damage(message, other);
            run(*target, &damaged, || {
                format!("SMOKE_SEED={first_seed}, message {index}, time {time}")
            });
        }
    }
}

fn run(target: fn(&[u8]), octets: &[u8], what: impl FnOnce() -> String) {
    if catch_unwind(AssertUnwindSafe(|| target(octets))).is_err() {
        let shown: String = octets
            .iter()
            .take(4096)
            .map(|octet| format!("{octet:02X}"))
            .collect();
        panic!("{}: {shown}", what());
    }
}

/// The published messages, the test profiles, and JSON bodies made from them.
fn messages() -> Vec<Vec<u8>> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data");
    let mut files: Vec<_> = ["vectors", "vectors/es9_session_synthetic", "ts48"]
        .iter()
        .flat_map(|directory| fs::read_dir(data.join(directory)).expect("test data"))
        .map(|entry| entry.expect("test data").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "hex" || extension == "der")
        })
        .collect();
    files.sort();
    let mut messages: Vec<Vec<u8>> = files
        .iter()
        .map(|path| parse_input(&fs::read(path).expect("test data")).expect("octets"))
        .collect();
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

/// SplitMix64: small, repeatable, good enough to choose damage.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn pick<'a>(&mut self, messages: &'a [Vec<u8>]) -> &'a [u8] {
        let index = self.below(messages.len());
        messages.get(index).map(Vec::as_slice).unwrap_or_default()
    }

    /// One to four kinds of damage, one after the other.
    fn damage(&mut self, message: &[u8], other: &[u8]) -> Vec<u8> {
        let mut octets = message.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(octets.len() + 1);
            let length = self.below(12).min(octets.len() - at);
            match self.below(9) {
                0 => octets.truncate(at),
                1 => drop(octets.drain(at..at + length)),
                2 => octets.insert(at, self.next() as u8),
                3 => {
                    let copy: Vec<u8> = octets.iter().skip(at).take(length).copied().collect();
                    octets.splice(at..at, copy);
                }
                4 => {
                    let from = self.below(other.len() + 1);
                    let piece: Vec<u8> = other
                        .iter()
                        .skip(from)
                        .take(self.below(64))
                        .copied()
                        .collect();
                    octets.splice(at..at + length, piece);
                }
                kind => {
                    if let Some(octet) = octets.get_mut(at) {
                        *octet = match kind {
                            5 => *octet ^ (1 << self.below(8)),
                            6 => octet.wrapping_add(1),
                            7 => octet.wrapping_sub(1),
                            _ => [0x00, 0xFF, 0x80, 0x81, 0x30, 0xA0, 0xBF, 0x7F]
                                .into_iter()
                                .nth(self.below(8))
                                .unwrap_or(0),
                        };
                    }
                }
            }
        }
        octets
    }
}
