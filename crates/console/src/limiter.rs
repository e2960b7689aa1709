//! How often somebody may knock.
//!
//! Attempts are counted by where they come from, never by whom they name: whoever knocks in the name of others locks nobody
//! out. A bucket holds attempts and fills again with time (a token bucket).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

/// Places that are remembered.
const PLACES_MAX: usize = 10_000;

/// Attempts from everywhere.
pub(crate) struct Limiter {
    burst: i64,
    refill_ms: i64,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

#[derive(Clone, Copy)]
struct Bucket {
    left: i64,
    /// When `left` was true. Milliseconds since 1970.
    at: i64,
}

impl Limiter {
    /// `burst` attempts at once, then one more every `refill_ms` milliseconds.
    pub(crate) fn new(burst: u32, refill_ms: u32) -> Self {
        Self {
            burst: burst.max(1).into(),
            refill_ms: refill_ms.max(1).into(),
            buckets: Mutex::default(),
        }
    }

    /// Takes one attempt of a place; if there is none left, milliseconds until there is.
    pub(crate) fn take(&self, from: Option<IpAddr>, now: i64) -> Result<(), i64> {
        let place = from.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), place);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= PLACES_MAX && !buckets.contains_key(&place) {
            buckets.retain(|_, bucket| self.filled(*bucket, now).left < self.burst);
            if buckets.len() >= PLACES_MAX {
                // More places than could be remembered knock at once: nobody new is let near for a moment.
                return Err(self.refill_ms);
            }
        }
        let full = Bucket {
            left: self.burst,
            at: now,
        };
        let bucket = buckets.entry(place).or_insert(full);
        *bucket = self.filled(*bucket, now);
        if bucket.left == 0 {
            return Err((bucket.at + self.refill_ms - now).max(1));
        }
        bucket.left -= 1;
        Ok(())
    }

    fn filled(&self, bucket: Bucket, now: i64) -> Bucket {
        // After a clock was set back, time counts from there.
        let since = bucket.at.min(now);
        let passed = now.saturating_sub(since);
        let more = passed / self.refill_ms;
        let left = bucket.left.saturating_add(more).min(self.burst);
        let at = match left == self.burst {
            true => now,
            false => since.saturating_add(more.saturating_mul(self.refill_ms)),
        };
        Bucket { left, at }
    }
}

/// One customer of one network operator: an IPv4 address, or an IPv6 network of 64 bits.
fn place(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_place_may_try_again_after_a_while_and_others_are_not_concerned() {
        let limiter = Limiter::new(2, 1_000);
        assert_eq!(limiter.take(from("192.0.2.1"), 0), Ok(()));
        assert_eq!(limiter.take(from("192.0.2.1"), 0), Ok(()));
        assert_eq!(limiter.take(from("192.0.2.1"), 400), Err(600));
        assert_eq!(limiter.take(from("192.0.2.2"), 400), Ok(()));
        assert_eq!(limiter.take(from("192.0.2.1"), 1_000), Ok(()));
        assert_eq!(limiter.take(from("192.0.2.1"), 1_000), Err(1_000));
        // Never more than the burst, however long it was quiet.
        for _ in 0..2 {
            assert_eq!(limiter.take(from("192.0.2.1"), 1_000_000), Ok(()));
        }
        assert!(limiter.take(from("192.0.2.1"), 1_000_000).is_err());
    }

    #[test]
    fn an_ipv6_network_is_one_place_and_a_mapped_address_is_its_ipv4_address() {
        let limiter = Limiter::new(1, 1_000);
        assert_eq!(limiter.take(from("2001:db8:1:2::1"), 0), Ok(()));
        assert!(limiter.take(from("2001:db8:1:2:ffff::2"), 0).is_err());
        assert_eq!(limiter.take(from("2001:db8:1:3::1"), 0), Ok(()));
        assert_eq!(limiter.take(from("192.0.2.1"), 0), Ok(()));
        assert!(limiter.take(from("::ffff:192.0.2.1"), 0).is_err());
    }

    #[test]
    fn memory_is_bounded_and_those_who_are_known_keep_their_place() {
        let limiter = Limiter::new(2, 1_000);
        for number in 0..u32::try_from(PLACES_MAX).unwrap() {
            let address = IpAddr::V4(std::net::Ipv4Addr::from(number));
            assert_eq!(limiter.take(Some(address), 0), Ok(()));
        }
        assert!(limiter.take(from("203.0.113.1"), 0).is_err());
        assert_eq!(limiter.take(from("0.0.0.7"), 0), Ok(()));
        // Once the others are quiet there is room.
        assert_eq!(limiter.take(from("203.0.113.1"), 1_000), Ok(()));
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out_for_long() {
        let limiter = Limiter::new(1, 1_000);
        assert_eq!(limiter.take(from("192.0.2.1"), 1_000_000), Ok(()));
        assert!(limiter.take(from("192.0.2.1"), 0).is_err());
        assert_eq!(limiter.take(from("192.0.2.1"), 1_000), Ok(()));
    }
}
