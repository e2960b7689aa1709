//! Bearer tokens, which can read and never change anything.
//!
//! `plsd_r_<id>_<secret>_<checksum>`: a fixed beginning that secret scanners can search for, an id to look the token up by,
//! 32 octets of secret, and a checksum by which a mistyped or invented token is refused before anything is looked up. Only
//! the SHA-256 of the whole token is stored; with 256 random bits in it, a slow hash would protect nothing more.

use std::fmt;
use std::str::FromStr;

use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::digest::Digest;

/// How every token for reading begins.
pub const PREFIX: &str = "plsd_r_";

/// Characters of every token.
pub const TOKEN_LENGTH: usize = PREFIX.len() + ID_LENGTH + 1 + SECRET_LENGTH + 1 + CHECKSUM_LENGTH;

const ID_LENGTH: usize = 16;
const SECRET_LENGTH: usize = 64;
const CHECKSUM_LENGTH: usize = 8;

/// The letters of an id. 32 of them, so that five random bits make one without a bias; none that are mistaken for others.
const ID_ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A token as its holder has it. Wiped when dropped, never shown by `Debug`; there is no `Display` on purpose.
pub struct BearerToken(Zeroizing<String>);

/// The public part of a token, by which it is found and named in records.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenId(String);

/// What is stored of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRecord {
    /// The public part.
    pub id: TokenId,
    /// SHA-256 of the whole token.
    pub digest: Digest,
}

/// Why a text is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Another form.
    #[error(
        "a token for reading looks like plsd_r_, 16 characters, '_', 64 characters, '_', 8 characters"
    )]
    Form,
    /// Mistyped, cut or invented.
    #[error("the token's checksum is wrong: it was not copied whole")]
    Checksum,
}

impl BearerToken {
    /// Makes a new token.
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        let mut id_octets = [0; ID_LENGTH];
        rng.fill_bytes(&mut id_octets);
        let mut secret = Zeroizing::new([0; SECRET_LENGTH / 2]);
        rng.fill_bytes(secret.as_mut());
        let mut hexadecimal = Zeroizing::new([0; SECRET_LENGTH]);
        for (pair, octet) in hexadecimal.chunks_exact_mut(2).zip(secret.iter()) {
            pair.copy_from_slice(&[nibble(octet >> 4), nibble(octet & 0x0F)]);
        }

        // Allocated once at its full length, so that no outgrown copy of the secret stays behind.
        let mut text = Zeroizing::new(String::with_capacity(TOKEN_LENGTH));
        text.push_str(PREFIX);
        text.extend(id_octets.iter().map(|octet| id_letter(*octet)));
        text.push('_');
        text.extend(hexadecimal.iter().map(|letter| char::from(*letter)));
        text.push('_');
        let sum = checksum(&text);
        text.push_str(&sum);
        Self(text)
    }

    /// The text, to show to its holder once and to send in `Authorization: Bearer`.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The public part.
    pub fn id(&self) -> TokenId {
        let id = self.0.get(PREFIX.len()..PREFIX.len() + ID_LENGTH);
        TokenId(id.unwrap_or_default().to_owned())
    }

    /// What to store.
    pub fn record(&self) -> TokenRecord {
        TokenRecord {
            id: self.id(),
            digest: Digest::of(&[self.0.as_bytes()]),
        }
    }
}

impl TokenRecord {
    /// Whether this is the record of `token`. Takes the same time wherever they differ.
    pub fn matches(&self, token: &BearerToken) -> bool {
        let digest: [u8; 32] = Sha256::digest(token.0.as_bytes()).into();
        self.digest.0.ct_eq(&digest).into()
    }
}

impl FromStr for BearerToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        if text.len() != TOKEN_LENGTH || !text.is_ascii() {
            return Err(TokenError::Form);
        }
        let rest = text.strip_prefix(PREFIX).ok_or(TokenError::Form)?;
        let mut parts = rest.split('_');
        let (Some(id), Some(secret), Some(sum), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Form);
        };
        let is_hexadecimal =
            |part: &str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !is_id(id)
            || secret.len() != SECRET_LENGTH
            || sum.len() != CHECKSUM_LENGTH
            || !is_hexadecimal(secret)
            || !is_hexadecimal(sum)
        {
            return Err(TokenError::Form);
        }
        let covered = text
            .get(..TOKEN_LENGTH - CHECKSUM_LENGTH)
            .ok_or(TokenError::Form)?;
        if checksum(covered) != sum {
            return Err(TokenError::Checksum);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }
}

impl TokenId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TokenId {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        if !is_id(text) {
            return Err(TokenError::Form);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for TokenId {
    type Error = TokenError;

    fn try_from(text: String) -> Result<Self, TokenError> {
        text.parse()
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BearerToken({PREFIX}{}_…)", self.id())
    }
}

fn is_id(text: &str) -> bool {
    text.len() == ID_LENGTH && text.bytes().all(|b| ID_ALPHABET.contains(&b))
}

fn id_letter(octet: u8) -> char {
    char::from(
        ID_ALPHABET
            .get(usize::from(octet & 0x1F))
            .copied()
            .unwrap_or(b'0'),
    )
}

/// The lower-case hexadecimal digit of a value below 16.
fn nibble(value: u8) -> u8 {
    match value {
        0..=9 => b'0' + value,
        _ => b'a' + (value & 0x0F).saturating_sub(10),
    }
}

/// The first four octets of a SHA-256, in hexadecimal. Against mistakes, not against attackers.
fn checksum(covered: &str) -> String {
    let hash = Sha256::digest(covered.as_bytes());
    hash.iter()
        .take(CHECKSUM_LENGTH / 2)
        .map(|octet| format!("{octet:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    fn token(seed: u8) -> BearerToken {
        BearerToken::generate(&mut ChaCha20Rng::from_seed([seed; 32]))
    }

    #[test]
    fn a_token_reads_back_and_matches_its_record_only() {
        let one = token(1);
        let read: BearerToken = one.expose().parse().unwrap();
        assert_eq!(read.expose().len(), TOKEN_LENGTH);
        assert_eq!(read.id(), one.id());
        assert!(one.record().matches(&read));
        assert!(!one.record().matches(&token(2)));
        assert_ne!(one.id(), token(2).id());
    }

    #[test]
    fn any_changed_character_is_noticed_before_a_lookup() {
        let good = token(3).expose().to_owned();
        for at in 0..good.len() {
            let mut letters: Vec<char> = good.chars().collect();
            letters[at] = if letters[at] == 'a' { 'b' } else { 'a' };
            let changed: String = letters.iter().collect();
            assert!(changed.parse::<BearerToken>().is_err(), "{at}");
        }
        assert_eq!(
            good.replace("plsd_r_", "plsd_w_")
                .parse::<BearerToken>()
                .unwrap_err(),
            TokenError::Form
        );
        assert_eq!(
            good[..good.len() - 1].parse::<BearerToken>().unwrap_err(),
            TokenError::Form
        );
    }

    #[test]
    fn debug_shows_no_secret() {
        let one = token(4);
        let secret = one.expose().split('_').nth(3).unwrap().to_owned();
        assert_eq!(secret.len(), SECRET_LENGTH);
        let shown = format!("{one:?} {:?}", one.record());
        assert!(!shown.contains(&secret));
        assert!(shown.contains(one.id().as_str()));
        let stored = serde_json::to_string(&one.record()).unwrap();
        assert!(!stored.contains(&secret));
        assert_eq!(
            serde_json::from_str::<TokenRecord>(&stored).unwrap(),
            one.record()
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_fail_otherwise(text in ".{0,150}") {
            let _ = text.parse::<BearerToken>();
        }

        #[test]
        fn invented_tokens_are_refused(id in "[0-9a-hjkmnp-tv-z]{16}", secret in "[0-9a-f]{64}", sum in "[0-9a-f]{8}") {
            let parsed = format!("{PREFIX}{id}_{secret}_{sum}").parse::<BearerToken>();
            prop_assert_eq!(parsed.err(), Some(TokenError::Checksum));
        }

        #[test]
        fn every_token_parses(seed: [u8; 32]) {
            let made = BearerToken::generate(&mut ChaCha20Rng::from_seed(seed));
            let read: BearerToken = made.expose().parse().unwrap();
            prop_assert!(made.record().matches(&read));
        }
    }
}
