//! What can be learned from an eIM Package that cannot be read: its eimTransactionId, to be echoed in the refusal (SGP.32
//! v1.2 section 3.1.1.1).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rsp::binding::http::Binding;
use rsp::der::{Limits, Reader, Tag, Tlv};
use rsp::ids::TransactionId;

/// An eIM Package that cannot be read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Damaged {
    pub(crate) eim_transaction_id: Option<TransactionId>,
}

/// Looks into an answer of GetEimPackage (or a TransferEimPackage request) that cannot be read. `None` when there is no
/// package in it at all.
pub(crate) fn damaged_package(binding: Binding, body: &[u8]) -> Option<Damaged> {
    match binding {
        Binding::Asn1 => {
            let limits = Limits::default();
            let mut reader = Reader::new(body, &limits).ok()?;
            let function = reader.expect_any().ok()?;
            if ![Tag::new(0xBF4F), Tag::new(0xBF4E)].contains(&function.tag()) {
                return None;
            }
            let package = function.open().ok()?.expect_any().ok()?;
            (package.tag() != Tag::new(0x02)).then(|| look_into(&package))
        }
        Binding::Json => {
            let body: serde_json::Value = serde_json::from_slice(body).ok()?;
            let members = [
                "euiccPackageRequest",
                "ipaEuiccDataRequest",
                "profileDownloadTriggerRequest",
            ];
            let member = members.iter().find_map(|name| body.get(name))?;
            let octets = STANDARD.decode(member.as_str()?).ok();
            let limits = Limits::default();
            let found = octets.as_deref().and_then(|octets| {
                let package = Reader::new(octets, &limits).ok()?.expect_any().ok()?;
                Some(look_into(&package))
            });
            Some(found.unwrap_or_default())
        }
    }
}

fn look_into(package: &Tlv<'_>) -> Damaged {
    let number_tag = match package.tag().octets() {
        0xBF51 => {
            return Damaged {
                eim_transaction_id: find_in_signed(package),
            };
        }
        0xBF52 => 0x83,
        0xBF54 => 0x82,
        _ => return Damaged::default(),
    };
    Damaged {
        eim_transaction_id: find(package, number_tag),
    }
}

fn find_in_signed(package: &Tlv<'_>) -> Option<TransactionId> {
    find(&package.open().ok()?.expect(Tag::SEQUENCE).ok()?, 0x82)
}

fn find(around: &Tlv<'_>, tag: u32) -> Option<TransactionId> {
    let mut members = around.open().ok()?;
    while let Ok(Some(member)) = members.next() {
        if member.tag() == Tag::new(tag) {
            return TransactionId::new(member.content()).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use hex_literal::hex;

    use super::*;

    fn id(octets: &[u8]) -> Option<Damaged> {
        Some(Damaged {
            eim_transaction_id: TransactionId::new(octets).ok(),
        })
    }

    #[test]
    fn the_transaction_id_of_each_kind_is_found() {
        let asn1 = |body: &[u8]| damaged_package(Binding::Asn1, body);
        assert_eq!(
            asn1(&hex!("BF4F 0B BF51 08 30 06 80 01 65 82 01 07")),
            id(&[7])
        );
        assert_eq!(asn1(&hex!("BF4F 06 BF52 03 83 01 08")), id(&[8]));
        assert_eq!(asn1(&hex!("BF4F 06 BF54 03 82 01 09")), id(&[9]));
        assert_eq!(asn1(&hex!("BF4F 03 BF51 00")), id(&[]));
        assert_eq!(asn1(&hex!("BF4F 06 BF70 03 82 01 09")), id(&[]));
        assert_eq!(asn1(&hex!("BF4F 03 02 01 01")), None);
        assert_eq!(asn1(&hex!("BF50 03 02 01 01")), None);
        assert_eq!(asn1(b"<html>"), None);
    }

    #[test]
    fn json_is_searched_too() {
        let json = |body: &str| damaged_package(Binding::Json, body.as_bytes());
        let package = STANDARD.encode(hex!("BF51 08 30 06 80 01 65 82 01 07"));
        assert_eq!(
            json(&format!("{{\"euiccPackageRequest\":\"{package}\"}}")),
            id(&[7])
        );
        assert_eq!(json("{\"ipaEuiccDataRequest\":\"!!\"}"), id(&[]));
        assert_eq!(json("{\"header\":{}}"), None);
        assert_eq!(json("["), None);
    }
}
