//! Clock and randomness as the domain sees them, so that a fleet can be simulated from a seed.

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

/// A UUIDv7 (RFC 9562 section 5.7): sorts by the time it was made.
pub(crate) fn new_id(clock: &dyn Clock, entropy: &dyn Entropy) -> Uuid {
    let mut random = [0; 10];
    entropy.fill(&mut random);
    let millis = u64::try_from(clock.now_ms()).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}
