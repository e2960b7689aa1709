//! Names as the modules write them.

use crate::der::{Oid, Tag};
use crate::saip::ElementKind;

/// Names that follow no rule.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("iccid_digits", "iccid"),
    ("mandatory_aids", "eUICC-Mandatory-AIDs"),
    ("mandatory_services", "eUICC-Mandatory-services"),
    ("mandatory_templates", "eUICC-Mandatory-GFSTEList"),
    ("major_version", "major-version"),
    ("minor_version", "minor-version"),
];

/// Turns a Rust name into that of the module: `euicc_ci_pk_id` and `EuiccCiPkId` into
/// `euiccCiPKId`.
pub(super) fn module_name(rust: &str) -> String {
    if rust.contains('-') {
        return rust.to_owned();
    }
    if let Some((_, name)) = EXCEPTIONS.iter().find(|(known, _)| *known == rust) {
        return (*name).to_owned();
    }
    let is_screaming = !rust.bytes().any(|b| b.is_ascii_lowercase());
    let mut name = String::with_capacity(rust.len());
    for word in rust.split('_') {
        let word = if is_screaming {
            word.to_ascii_lowercase()
        } else {
            word.to_owned()
        };
        match word.as_str() {
            "pk" if !name.is_empty() => name.push_str("PK"),
            "epr" | "epe" | "pir" if !name.is_empty() => name.push_str(&word.to_ascii_uppercase()),
            "plmn" if name == "r" => name.push_str("PLMN"),
            _ if name.is_empty() => push_with(&mut name, &word, char::to_ascii_lowercase),
            _ => push_with(&mut name, &word, char::to_ascii_uppercase),
        }
    }
    name
}

fn push_with(name: &mut String, word: &str, change: fn(&char) -> char) {
    let mut letters = word.chars();
    if let Some(first) = letters.next() {
        name.push(change(&first));
        name.extend(letters);
    }
}

/// What a universal tag stands for.
pub(super) fn universal(tag: Tag) -> Option<&'static str> {
    Some(match tag.octets() {
        0x01 => "BOOLEAN",
        0x02 => "INTEGER",
        0x03 => "BIT STRING",
        0x04 => "OCTET STRING",
        0x05 => "NULL",
        0x06 => "OBJECT IDENTIFIER",
        0x0A => "ENUMERATED",
        0x0C => "UTF8String",
        0x12 => "NumericString",
        0x13 => "PrintableString",
        0x14 => "TeletexString",
        0x16 => "IA5String",
        0x17 => "UTCTime",
        0x18 => "GeneralizedTime",
        0x1A => "VisibleString",
        0x1E => "BMPString",
        0x30 => "SEQUENCE",
        0x31 => "SET",
        _ => return None,
    })
}

/// Object identifiers that eSIM messages and certificates contain.
const OIDS: &[(&str, &str)] = &[
    ("1.2.840.10045.2.1", "ecPublicKey"),
    ("1.2.840.10045.3.1.7", "P-256 (secp256r1)"),
    ("1.2.840.10045.4.3.2", "ecdsa-with-SHA256"),
    ("1.2.840.10045.4.3.3", "ecdsa-with-SHA384"),
    ("1.2.840.10045.4.3.4", "ecdsa-with-SHA512"),
    ("1.2.840.114283.1", "GlobalPlatform card recognition data"),
    ("1.3.36.3.3.2.8.1.1.7", "brainpoolP256r1"),
    ("1.3.36.3.3.2.8.1.1.11", "brainpoolP384r1"),
    ("1.3.132.0.34", "P-384 (secp384r1)"),
    ("1.3.101.112", "Ed25519"),
    ("1.2.250.1.223.101.256.1", "FRP256v1"),
    ("1.3.6.1.5.5.7.1.1", "authorityInfoAccess"),
    ("1.3.6.1.5.5.7.3.1", "serverAuth"),
    ("1.3.6.1.5.5.7.3.2", "clientAuth"),
    ("2.5.4.3", "CN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.29.14", "subjectKeyIdentifier"),
    ("2.5.29.15", "keyUsage"),
    ("2.5.29.17", "subjectAltName"),
    ("2.5.29.18", "issuerAltName"),
    ("2.5.29.19", "basicConstraints"),
    ("2.5.29.20", "cRLNumber"),
    ("2.5.29.28", "issuingDistributionPoint"),
    ("2.5.29.30", "nameConstraints"),
    ("2.5.29.31", "cRLDistributionPoints"),
    ("2.5.29.32", "certificatePolicies"),
    ("2.5.29.35", "authorityKeyIdentifier"),
    ("2.5.29.37", "extKeyUsage"),
    ("2.23.146.1.2.1.0", "role CI"),
    ("2.23.146.1.2.1.1", "role eUICC"),
    ("2.23.146.1.2.1.2", "role EUM"),
    ("2.23.146.1.2.1.3", "role SM-DP+ TLS"),
    ("2.23.146.1.2.1.4", "role SM-DP+ authentication"),
    ("2.23.146.1.2.1.5", "role SM-DP+ profile binding"),
    ("2.23.146.1.2.1.6", "role SM-DS TLS"),
    ("2.23.146.1.2.1.7", "role SM-DS authentication"),
];

/// The name of an object identifier, if it is one of those that appear here.
pub(super) fn oid(oid: &Oid) -> Option<String> {
    let dotted = oid.to_string();
    if let Some((_, name)) = OIDS.iter().find(|(known, _)| *known == dotted) {
        return Some((*name).to_owned());
    }
    let arcs = dotted.strip_prefix("2.23.143.1.2.")?;
    let (kind, version) = arcs.split_once('.').unwrap_or((arcs, "1"));
    let kind: u32 = kind.parse().ok()?;
    let element = ElementKind::ALL
        .iter()
        .find(|element| element.template_arc() == Some(kind))?;
    Some(format!("template {element} version {version}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_those_of_the_modules() {
        for (rust, module) in [
            ("eim_id", "eimId"),
            (
                "euicc_ci_pk_id_list_for_signing_v3",
                "euiccCiPKIdListForSigningV3",
            ),
            ("euicc_sign_epr", "euiccSignEPR"),
            ("r_plmn", "rPLMN"),
            ("PsmoList", "psmoList"),
            ("CiPKUnknown", "ciPKUnknown"),
            ("PPR_UPDATE_CONTROL", "pprUpdateControl"),
            ("PPR1", "ppr1"),
            ("first_sequence_of87", "firstSequenceOf87"),
            ("gba-usim", "gba-usim"),
        ] {
            assert_eq!(module_name(rust), module);
        }
    }

    #[test]
    fn object_identifiers_are_named() {
        let name = |dotted| oid(&Oid::from_dotted(dotted).unwrap());
        assert_eq!(
            name("2.23.146.1.2.1.5").as_deref(),
            Some("role SM-DP+ profile binding")
        );
        assert_eq!(
            name("2.23.143.1.2.4.2").as_deref(),
            Some("template usim version 2")
        );
        assert_eq!(name("2.23.143.1.2.99"), None);
        assert_eq!(name("2.999.10"), None);
    }
}
