//! What the authority is given.

/// Tells the time. The authority never lets it run backwards: what was expired once stays so.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970-01-01 00:00 UTC.
    fn now_ms(&self) -> i64;
}

/// Gives randomness that nobody can guess.
pub trait Entropy: Send + Sync {
    /// Fills `octets`.
    fn fill(&self, octets: &mut [u8]);
}
