use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use pki::UnixTime;

/// The clock of this machine, in UTC. The only place that reads it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SystemClock;

impl SystemClock {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub(crate) fn millis(self) -> i64 {
        #[expect(
            clippy::disallowed_methods,
            reason = "this adapter is the clock that everything else is given"
        )]
        let now = SystemTime::now();
        // A clock before 1970 is a clock that was never set; certificates then are not valid yet, as they should be.
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    /// Now.
    pub(crate) fn timestamp(self) -> Timestamp {
        Timestamp::from_millisecond(self.millis()).unwrap_or(Timestamp::MAX)
    }

    /// Now, for the validity of certificates.
    pub(crate) fn unix_time(self) -> UnixTime {
        UnixTime(self.millis().div_euclid(1000))
    }
}

impl eim::Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        self.millis()
    }
}

impl authority::environment::Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        self.millis()
    }
}
