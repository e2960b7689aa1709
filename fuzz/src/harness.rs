//! A bounded, repeatable run of a target, for the tests of every build.
//!
//! `SMOKE_SEED=<number>` runs other damage; a failure names the seed that repeats it.

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How much damage is tried: a message of n octets is damaged `octets` / n times, within these bounds.
pub struct Budget {
    pub octets: usize,
    pub times_min: usize,
    pub times_max: usize,
}

/// Runs the target over every message, undamaged and damaged.
pub fn smoke(target: fn(&[u8]), messages: &[Vec<u8>], budget: &Budget) {
    assert!(!messages.is_empty(), "the seeds are there");
    let first_seed: u64 = env::var("SMOKE_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1);
    for (index, message) in messages.iter().enumerate() {
        run(target, message, || format!("message {index}, undamaged"));
        let times =
            (budget.octets / message.len().max(1)).clamp(budget.times_min, budget.times_max);
        for time in 0..times {
            let seed = first_seed
                .wrapping_mul(1_000_003)
                .wrapping_add((index * 1000 + time) as u64);
            let mut random = Random(seed);
            let other = random.pick(messages);
            let damaged = random.damage(message, other);
            run(target, &damaged, || {
                format!("SMOKE_SEED={first_seed}, message {index}, time {time}")
            });
        }
    }
}

/// Runs the target once; a violation names the octets.
pub fn run(target: fn(&[u8]), octets: &[u8], what: impl FnOnce() -> String) {
    if catch_unwind(AssertUnwindSafe(|| target(octets))).is_err() {
        let shown: String = octets
            .iter()
            .take(4096)
            .map(|octet| format!("{octet:02X}"))
            .collect();
        panic!("{}: {shown}", what());
    }
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
