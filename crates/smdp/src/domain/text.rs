//! Texts that people and operators choose: matching ids and confirmation codes.

use std::fmt;

use rand_core::CryptoRng;
use rsp::binding::es2plus::MatchingId;
use rsp::ids::TransactionId;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::status::{Fault, Refusal};

/// A matching id that nobody can guess: 100 random bits, in letters that look like no digit.
pub(crate) fn random_matching_id(rng: &mut dyn CryptoRng) -> Result<MatchingId, Fault> {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    let mut random = [0; 20];
    rng.fill_bytes(&mut random);
    let mut text = String::with_capacity(23);
    for (index, octet) in random.iter().enumerate() {
        if index > 0 && index % 5 == 0 {
            text.push('-');
        }
        text.extend(
            ALPHABET
                .get(usize::from(octet & 0x1F))
                .map(|&letter| char::from(letter)),
        );
    }
    text.parse()
        .map_err(|_| Fault::Corrupt("random matching id"))
}

/// The activation code of an order, without `LPA:` as a ProfileDownloadTriggerRequest carries it
/// (SGP.22 v2.5 section 4.1).
pub fn activation_code(
    smdp_address: &str,
    matching_id: &MatchingId,
    confirmation_code_required: bool,
) -> String {
    let flag = if confirmation_code_required {
        "$$1"
    } else {
        ""
    };
    format!("1${smdp_address}${matching_id}{flag}")
}

/// SHA-256 of a confirmation code: all that the server keeps of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConfirmationHash(pub(crate) [u8; 32]);

impl ConfirmationHash {
    pub(crate) fn of(code: &str) -> Result<Self, Refusal> {
        let is_printable = |c: char| !c.is_control();
        if code.is_empty() || code.len() > 64 || !code.chars().all(is_printable) {
            return Err(Refusal::ConfirmationCodeMalformed);
        }
        Ok(Self(Sha256::digest(code.as_bytes()).into()))
    }

    /// Whether `hash_cc` is SHA-256(this ‖ transaction id) (SGP.22 v2.5 section 5.7.5). Takes the
    /// same time for every wrong code.
    pub(crate) fn matches(&self, hash_cc: &[u8; 32], transaction_id: &TransactionId) -> bool {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(transaction_id.octets());
        let expected: [u8; 32] = hash.finalize().into();
        expected.ct_eq(hash_cc).into()
    }
}

impl fmt::Debug for ConfirmationHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConfirmationHash(..)")
    }
}

#[cfg(test)]
mod tests {
    use rand_core::SeedableRng;

    use super::*;

    #[test]
    fn random_matching_ids_differ_and_fit_into_an_activation_code() {
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
        let one = random_matching_id(&mut rng).unwrap();
        let two = random_matching_id(&mut rng).unwrap();
        assert_ne!(one, two);
        assert_eq!(one.as_str().len(), 23);
        let code = activation_code("smdp.example.com", &one, true);
        assert_eq!(code, format!("1$smdp.example.com${one}$$1"));
        assert!(!activation_code("smdp.example.com", &one, false).ends_with("$1"));
    }

    #[test]
    fn a_confirmation_code_is_bound_to_its_transaction() {
        let (first, second) = (
            TransactionId::new(&[1; 16]).unwrap(),
            TransactionId::new(&[2; 16]).unwrap(),
        );
        let stored = ConfirmationHash::of("1234").unwrap();
        let mut hash = Sha256::new();
        hash.update(Sha256::digest(b"1234"));
        hash.update([1; 16]);
        let sent: [u8; 32] = hash.finalize().into();
        assert!(stored.matches(&sent, &first));
        assert!(!stored.matches(&sent, &second));
        assert!(!ConfirmationHash::of("1235").unwrap().matches(&sent, &first));
        assert_eq!(format!("{stored:?}"), "ConfirmationHash(..)");
        assert!(ConfirmationHash::of("").is_err());
        assert!(ConfirmationHash::of("12\n").is_err());
    }
}
