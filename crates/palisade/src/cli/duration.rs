//! Durations on the command line: `90d`, `12h`, `30m`, `45s`.

/// A duration in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) i64);

impl std::str::FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const UNITS: [(char, i64); 4] = [
            ('d', 86_400_000),
            ('h', 3_600_000),
            ('m', 60_000),
            ('s', 1000),
        ];
        let hint = || format!("{text:?} is no duration; write 90d, 12h, 30m or 45s");
        let unit = text.chars().last().ok_or_else(hint)?;
        let (_, factor) = UNITS
            .into_iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(hint)?;
        let count = text.strip_suffix(unit).ok_or_else(hint)?;
        let count: u32 = count.parse().map_err(|_| hint())?;
        let span = i64::from(count).saturating_mul(factor);
        match (1..=MAX_MS).contains(&span) {
            true => Ok(Self(span)),
            false => Err("a duration is at least 1s and at most 3650d".to_owned()),
        }
    }
}

/// Ten years.
const MAX_MS: i64 = 3650 * 86_400_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!("90d".parse(), Ok(Span(90 * 86_400_000)));
        assert_eq!("45s".parse(), Ok(Span(45_000)));
        for bad in ["", "90", "d", "-1d", "9999999d", "0s", "1w", "1é"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }
}
