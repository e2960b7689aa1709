//! Activation codes (SGP.22 v2.5 section 4.1).

use rsp::der::Oid;

use crate::address;

/// Characters of a code (SGP.32 v1.2 section 2.11.1.3).
const CHARACTERS_MAX: usize = 255;

/// `1$<FQDN>$<MatchingID>[$<SM-DP+ OID>[$<confirmation code flag>]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ActivationCode {
    pub(super) address: String,
    /// May be empty.
    pub(super) matching_id: String,
    pub(super) smdp_oid: Option<Oid>,
}

impl ActivationCode {
    /// Reads a code, with or without `LPA:` in front. What follows the known parts is ignored, as the format demands.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.chars().count() > CHARACTERS_MAX {
            return Err("the activation code is too long");
        }
        let text = text.strip_prefix("LPA:").unwrap_or(text);
        let mut parts = text.split('$');
        if parts.next() != Some("1") {
            return Err("the activation code is of another format than 1");
        }
        let (Some(address), Some(matching_id)) = (parts.next(), parts.next()) else {
            return Err("the activation code lacks a part");
        };
        if !address::is_address(address) {
            return Err("the activation code holds no address");
        }
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if !matching_id.bytes().all(is_token) {
            return Err("the activation code holds no MatchingID");
        }
        let smdp_oid = match parts.next() {
            None | Some("") => None,
            Some(oid) => Some(
                Oid::from_dotted(oid).map_err(|_| "the activation code holds a malformed OID")?,
            ),
        };
        Ok(Self {
            address: address.to_owned(),
            matching_id: matching_id.to_owned(),
            smdp_oid,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_with_and_without_their_optional_parts() {
        let plain = ActivationCode::parse("1$smdp.example.com$AB-12").unwrap();
        assert_eq!(
            (plain.address.as_str(), plain.matching_id.as_str()),
            ("smdp.example.com", "AB-12")
        );
        assert_eq!(plain.smdp_oid, None);
        let full = ActivationCode::parse("LPA:1$smdp.example.com$$2.999.10$1$later").unwrap();
        assert_eq!(full.matching_id, "");
        assert_eq!(full.smdp_oid, Some(Oid::from_dotted("2.999.10").unwrap()));
        assert_eq!(ActivationCode::parse("1$a.b$X$$1").unwrap().smdp_oid, None);
    }

    #[test]
    fn what_is_no_code_is_refused() {
        let long = format!("1$smdp.example.com${}", "A".repeat(255));
        for wrong in [
            "",
            "1",
            "1$",
            "1$host",
            "2$host$A",
            "1$ho/st$A",
            "1$host$A B",
            "1$host$A$x.y",
            "1$$A",
            &long,
        ] {
            assert!(ActivationCode::parse(wrong).is_err(), "{wrong}");
        }
    }
}
