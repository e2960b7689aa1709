//! Time as an argument.

use core::fmt;
use core::time::Duration;

use der::DateTime;

/// Seconds since 1970-01-01T00:00:00Z, without leap seconds.
///
/// Chain checks take an `Option<UnixTime>`: an eUICC has no clock and passes `None`, which skips every validity check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(pub i64);

impl UnixTime {
    /// Midnight UTC of a calendar date between 1970-01-01 and 9999-12-31, or `None` for any other.
    pub fn from_date(year: u16, month: u8, day: u8) -> Option<Self> {
        let date = DateTime::new(year, month, day, 0, 0, 0).ok()?;
        Some(Self::from_duration(date.unix_duration()))
    }

    /// This time, moved by a number of whole days (may be negative). Saturates.
    pub fn plus_days(self, days: i64) -> Self {
        Self(self.0.saturating_add(days.saturating_mul(86_400)))
    }

    pub(crate) fn from_duration(since_epoch: Duration) -> Self {
        Self(i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX))
    }

    /// The form X.509 uses; fails before 1970 and after 9999.
    pub(crate) fn to_x509(self) -> Option<x509_cert::time::Time> {
        let seconds = u64::try_from(self.0).ok()?;
        let date = DateTime::from_unix_duration(Duration::from_secs(seconds)).ok()?;
        Some(date.into())
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = u64::try_from(self.0)
            .ok()
            .and_then(|seconds| DateTime::from_unix_duration(Duration::from_secs(seconds)).ok());
        match date {
            Some(date) => date.fmt(f),
            None => write!(f, "{} s since 1970", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(
            UnixTime::from_date(2026, 8, 1),
            Some(UnixTime(1_785_542_400))
        );
        assert_eq!(UnixTime::from_date(2026, 2, 30), None);
        assert_eq!(UnixTime(0).plus_days(1), UnixTime(86_400));
        assert_eq!(UnixTime(0).plus_days(i64::MAX), UnixTime(i64::MAX));
        assert_eq!(UnixTime(1_785_542_400).to_string(), "2026-08-01T00:00:00Z");
        assert!(UnixTime(-1).to_x509().is_none());
    }
}
