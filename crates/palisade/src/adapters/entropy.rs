use std::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};

/// The random generator of the cryptographic library, seeded by the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SystemEntropy;

fn fill(out: &mut [u8]) {
    #[expect(
        clippy::expect_used,
        reason = "fails only when the operating system has no randomness, and then nothing here may go on"
    )]
    aws_lc_rs::rand::fill(out).expect("the operating system gives randomness");
}

impl TryRng for SystemEntropy {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut octets = [0; 4];
        fill(&mut octets);
        Ok(u32::from_le_bytes(octets))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut octets = [0; 8];
        fill(&mut octets);
        Ok(u64::from_le_bytes(octets))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        fill(out);
        Ok(())
    }
}

impl TryCryptoRng for SystemEntropy {}

impl eim::Entropy for SystemEntropy {
    fn fill(&self, out: &mut [u8]) {
        fill(out);
    }
}

impl authority::environment::Entropy for SystemEntropy {
    fn fill(&self, out: &mut [u8]) {
        fill(out);
    }
}

#[cfg(test)]
mod tests {
    use rand_core::Rng;

    use super::*;

    #[test]
    fn octets_differ_from_call_to_call() {
        let mut entropy = SystemEntropy;
        let (mut one, mut other) = ([0; 32], [0; 32]);
        entropy.fill_bytes(&mut one);
        eim::Entropy::fill(&entropy, &mut other);
        assert_ne!(one, other);
        assert_ne!(one, [0; 32]);
        assert_ne!(entropy.next_u64(), entropy.next_u64());
    }
}
