//! Clock and randomness as the domain sees them, so that a fleet can be simulated from a seed.

use std::sync::{Mutex, PoisonError};

use pki::UnixTime;
use rsp::ids::TransactionId;
use uuid::Uuid;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    fn now_ms(&self) -> i64;

    /// Seconds since 1970-01-01T00:00:00Z, for certificate validity.
    fn now(&self) -> UnixTime {
        UnixTime(self.now_ms().div_euclid(1000))
    }
}

/// Gives unpredictable octets.
pub trait Entropy: Send + Sync {
    /// Fills `out`.
    fn fill(&self, out: &mut [u8]);

    /// A fresh identifier of 16 octets for an eIM Package.
    fn transaction_id(&self) -> TransactionId {
        let mut octets = [0; 16];
        self.fill(&mut octets);
        #[expect(
            clippy::expect_used,
            reason = "16 octets are within the 1 to 16 that are legal"
        )]
        TransactionId::new(&octets).expect("16 octets")
    }
}

/// Makes UUIDv7s (RFC 9562 section 5.7) that sort in the order in which they were made, also within
/// one millisecond: queues and histories are read in the order of their identifiers.
#[derive(Default)]
pub(crate) struct Ids {
    /// Millisecond and 12-bit counter of the last one (RFC 9562 section 6.2, method 1).
    last: Mutex<(u64, u16)>,
}

impl Ids {
    const COUNTER_MAX: u16 = 0x0FFF;

    pub(crate) fn next(&self, clock: &dyn Clock, entropy: &dyn Entropy) -> Uuid {
        let mut random = [0; 10];
        entropy.fill(&mut random);
        let now = u64::try_from(clock.now_ms()).unwrap_or_default();
        let (millis, counter) = self.advance(now);
        let [high, low, ..] = &mut random;
        [*high, *low] = counter.to_be_bytes();
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }

    /// The counter starts over each millisecond; one that is full, or a clock that was set back,
    /// borrows from the future.
    fn advance(&self, now: u64) -> (u64, u16) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = match *last {
            (millis, _) if now > millis => (now, 0),
            (millis, counter) if counter < Self::COUNTER_MAX => (millis, counter + 1),
            (millis, _) => (millis + 1, 0),
        };
        *last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Stopped(i64);

    impl Clock for Stopped {
        fn now_ms(&self) -> i64 {
            self.0
        }
    }

    struct Worst;

    impl Entropy for Worst {
        fn fill(&self, out: &mut [u8]) {
            out.fill(0xFF);
        }
    }

    #[test]
    fn ids_sort_as_they_were_made_within_a_millisecond_and_when_the_clock_is_set_back() {
        let ids = Ids::default();
        let mut last = ids.next(&Stopped(1_000), &Worst);
        for now in std::iter::repeat_n(1_000, 10_000).chain([900, 1_001, 2_000, 1_999]) {
            let next = ids.next(&Stopped(now), &Worst);
            assert!(next.to_string() > last.to_string(), "{next} after {last}");
            assert_eq!(next.get_version_num(), 7);
            last = next;
        }
    }
}
