//! The first entry of an installation.

use intent::action::MachineKey;
use intent::key_file::PublicKey;
use intent::{Digest, PolicyDocument};

use crate::environment::Entropy;
use crate::event::{Event, Genesis, RelyingParty};

/// How long the first owner's code can be used: 7 days.
pub const OWNER_CODE_MS: i64 = 7 * 86_400_000;
/// Random octets in an enrolment code: 160 bits.
const CODE_OCTETS: usize = 20;
/// Characters of the name of an installation or eIM.
const NAME_MAX: usize = 128;

/// What `palisade init` decides.
#[derive(Debug, Clone)]
pub struct Founding {
    /// The origin of the ledger, like `eim.example.com/ledger`.
    pub installation: String,
    /// The name of the eIM (eimId).
    pub eim_id: String,
    /// What passkeys are bound to.
    pub relying_party: RelyingParty,
    /// The key that will lie in a safe.
    pub break_glass: PublicKey,
    /// Until when that key is valid. Milliseconds since 1970.
    pub break_glass_expires_at: i64,
    /// SubjectPublicKeyInfo (DER) of the eIM's signing key.
    pub signing_key: Vec<u8>,
    /// The first policy.
    pub policy: PolicyDocument,
}

/// Why an installation cannot begin like this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoundingError {
    /// A name that cannot stand in records.
    #[error("the {0} is 1 to {NAME_MAX} printable characters without spaces")]
    Name(&'static str),
    /// Passkeys could be bound to nothing, or used from nowhere.
    #[error(
        "a relying party is a lower-case domain with at least one origin like https://eim.example.com"
    )]
    RelyingParty,
    /// Not valid for a single moment.
    #[error("the break-glass key expires in the past")]
    BreakGlass,
    /// Not a policy.
    #[error("the policy cannot be used")]
    Policy(#[from] intent::policy::PolicyError),
    /// No key to sign with.
    #[error("the eIM needs a signing key")]
    SigningKey,
}

/// Makes the first event and the one-time code of the first owner, which is shown once and kept nowhere. `now` in
/// milliseconds since 1970.
pub fn found(
    founding: Founding,
    now: i64,
    entropy: &dyn Entropy,
) -> Result<(Event, String), FoundingError> {
    check_name("installation", &founding.installation)?;
    check_name("eIM id", &founding.eim_id)?;
    let party = &founding.relying_party;
    let is_domain = |text: &str| {
        (1..=253).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-'))
    };
    if !is_domain(&party.id)
        || !(1..=16).contains(&party.origins.len())
        || !party.origins.iter().all(|text| is_origin(text))
    {
        return Err(FoundingError::RelyingParty);
    }
    if founding.break_glass_expires_at <= now {
        return Err(FoundingError::BreakGlass);
    }
    if founding.signing_key.is_empty() {
        return Err(FoundingError::SigningKey);
    }
    founding.policy.check()?;
    let code = enrolment_code(entropy);
    let genesis = Genesis {
        installation: founding.installation,
        eim_id: founding.eim_id,
        relying_party: founding.relying_party,
        owner_code_sha256: Digest::of(&[code.as_bytes()]),
        owner_code_expires_at: now.saturating_add(OWNER_CODE_MS),
        break_glass: MachineKey {
            id: founding.break_glass.id(),
            public: *founding.break_glass.as_bytes(),
            not_before: now,
            expires_at: founding.break_glass_expires_at,
        },
        signing_key: founding.signing_key,
        policy: founding.policy,
    };
    Ok((Event::Genesis(Box::new(genesis)), code))
}

/// As browsers write origins (RFC 6454 section 6.1): over TLS, or on the machine of who looks.
fn is_origin(text: &str) -> bool {
    text.len() <= 512
        && url::Url::parse(text).is_ok_and(|url| {
            let is_here = url.scheme() == "http" && url.host_str() == Some("localhost");
            (url.scheme() == "https" || is_here) && url.origin().ascii_serialization() == text
        })
}

/// A code for enrolling: 160 random bits in groups of letters and digits that are not mistaken for each other.
pub fn enrolment_code(entropy: &dyn Entropy) -> String {
    // 32 letters, so that five bits make one without a bias.
    const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut octets = [0; CODE_OCTETS];
    entropy.fill(&mut octets);
    let mut code = String::with_capacity(40);
    let (mut bits, mut width) = (0u32, 0u32);
    let mut written = 0;
    for octet in octets {
        bits = (bits << 8 | u32::from(octet)) & 0xFFFF;
        width += 8;
        while width >= 5 {
            width -= 5;
            let index = usize::try_from(bits >> width & 0x1F).unwrap_or(0);
            if written > 0 && written % 4 == 0 {
                code.push('-');
            }
            code.push(char::from(LETTERS.get(index).copied().unwrap_or(b'0')));
            written += 1;
        }
    }
    code
}

fn check_name(what: &'static str, text: &str) -> Result<(), FoundingError> {
    match (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        true => Ok(()),
        false => Err(FoundingError::Name(what)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting;

    impl Entropy for Counting {
        fn fill(&self, octets: &mut [u8]) {
            for (n, octet) in (0u8..).zip(octets) {
                *octet = n.wrapping_mul(37);
            }
        }
    }

    #[test]
    fn origins_are_those_of_browsers_over_tls_or_on_this_machine() {
        for text in [
            "https://eim.example.com",
            "https://eim.example.com:8442",
            "http://localhost:8442",
            "http://localhost",
        ] {
            assert!(is_origin(text), "{text}");
        }
        for text in [
            "http://eim.example.com",
            "http://localhost.example.com",
            "http://localhost:80",
            "https://eim.example.com/",
            "https://eim.example.com/console",
            "https://EIM.example.com",
            "https://owner@eim.example.com",
            "ftp://localhost",
            "localhost",
            "",
        ] {
            assert!(!is_origin(text), "{text}");
        }
    }

    #[test]
    fn codes_hold_all_their_bits_and_can_be_read_aloud() {
        let code = enrolment_code(&Counting);
        assert_eq!(code.len(), 32 + 7);
        assert_eq!(code.split('-').count(), 8);
        assert!(code.split('-').all(|group| group.len() == 4));
        assert!(!code.contains(['i', 'l', 'o', 'u']));
    }
}
