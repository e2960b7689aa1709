//! The three fields of a signed request as structured fields (RFC 8941).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sfv::{
    BareItem, Dictionary, FieldType, InnerList, Item, Key, KeyRef, ListEntry, Parameters, Parser,
    StringRef,
};
use sha2::{Digest, Sha256};

use super::base::{self, Component};
use super::{LABELS_MAX, RequestParts, SignatureError, Verified};

/// The member of Signature-Input that counts.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) label: String,
    pub(super) covered: Vec<Component>,
    /// The member's value as it stands in the signature base.
    pub(super) text: String,
    pub(super) created_s: u64,
    pub(super) expires_s: Option<u64>,
    pub(super) nonce: String,
    pub(super) key_id: crate::name::CredentialId,
}

/// The value of a member of Signature-Input that is being made.
pub(super) struct OurInput {
    pub(super) covered: Vec<Component>,
    pub(super) text: String,
}

/// Finds the one signature with `tag` and takes it apart.
pub(super) fn input_for(field: &str, tag: &str) -> Result<Input, SignatureError> {
    let dictionary = parse("Signature-Input", field)?;
    let mut found = None;
    for (label, entry) in &dictionary {
        let ListEntry::InnerList(list) = entry else {
            return Err(SignatureError::Field {
                field: "Signature-Input",
            });
        };
        if text(list.params.get("tag")) != Some(tag) {
            continue;
        }
        if found.replace((label, list)).is_some() {
            return Err(SignatureError::Ambiguous {
                tag: tag.to_owned(),
            });
        }
    }
    let (label, list) = found.ok_or_else(|| SignatureError::NoSignature {
        tag: tag.to_owned(),
    })?;
    take_apart(label, list)
}

fn take_apart(label: &Key, list: &InnerList) -> Result<Input, SignatureError> {
    const KNOWN: [&str; 6] = ["created", "expires", "nonce", "keyid", "alg", "tag"];
    if list
        .params
        .keys()
        .any(|name| !KNOWN.contains(&name.as_str()))
    {
        return Err(SignatureError::UnknownParameter);
    }
    let parameter = |name: &str| list.params.get(name);
    if text(parameter("alg")) != Some("ed25519") {
        return Err(SignatureError::Algorithm);
    }
    const SECONDS: &str = "whole seconds since 1970 (an integer)";
    let created_s = seconds(parameter("created")).ok_or(SignatureError::Parameter {
        parameter: "created",
        expected: SECONDS,
    })?;
    let expires_s = match parameter("expires") {
        None => None,
        value => Some(seconds(value).ok_or(SignatureError::Parameter {
            parameter: "expires",
            expected: SECONDS,
        })?),
    };
    let nonce = text(parameter("nonce")).unwrap_or_default().to_owned();
    let key_id = text(parameter("keyid"))
        .and_then(|id| id.parse().ok())
        .ok_or(SignatureError::Parameter {
            parameter: "keyid",
            expected: "the id of a key (a text, such as \"pk_…\")",
        })?;
    Ok(Input {
        label: label.as_str().to_owned(),
        covered: covered(&list.items)?,
        text: vec![ListEntry::InnerList(list.clone())]
            .serialize()
            .unwrap_or_default(),
        created_s,
        expires_s,
        nonce,
        key_id,
    })
}

fn covered(items: &[Item]) -> Result<Vec<Component>, SignatureError> {
    let mut covered = Vec::new();
    for item in items {
        let component = text(Some(&item.bare_item))
            .and_then(Component::from_name)
            .ok_or(SignatureError::Coverage)?;
        if !item.params.is_empty() || covered.contains(&component) {
            return Err(SignatureError::Coverage);
        }
        covered.push(component);
    }
    Ok(covered)
}

/// The value of the member that [`super::sign`] signs.
pub(super) fn our_input(
    has_query: bool,
    parameters: &Verified,
    tag: &str,
) -> Result<OurInput, SignatureError> {
    let request = RequestParts {
        method: "",
        path: "",
        query: has_query.then_some(""),
    };
    let covered = base::required(&request).to_vec();
    let not_a_text = |parameter| SignatureError::Parameter {
        parameter,
        expected: "a text of printable ASCII characters",
    };
    let string = |parameter, value: &str| {
        StringRef::from_str(value)
            .map(|text| BareItem::String(text.to_owned()))
            .map_err(|_| not_a_text(parameter))
    };
    let created = sfv::Integer::try_from(parameters.created_s)
        .map(BareItem::Integer)
        .map_err(|_| SignatureError::Parameter {
            parameter: "created",
            expected: "whole seconds since 1970 (at most 15 digits)",
        })?;
    let mut params = Parameters::new();
    for (name, value) in [
        ("created", created),
        ("nonce", string("nonce", &parameters.nonce)?),
        ("keyid", string("keyid", parameters.key_id.as_str())?),
        ("alg", string("alg", "ed25519")?),
        ("tag", string("tag", tag)?),
    ] {
        let name = KeyRef::from_str(name).map_err(|_| not_a_text("tag"))?;
        params.insert(name.to_owned(), value);
    }
    let items = covered
        .iter()
        .map(|component| string("tag", component.name()).map(Item::new))
        .collect::<Result<_, _>>()?;
    let list = ListEntry::InnerList(InnerList::with_params(items, params));
    Ok(OurInput {
        covered,
        text: vec![list].serialize().unwrap_or_default(),
    })
}

/// The Content-Digest of a body (RFC 9530 section 2), by SHA-256.
pub(super) fn content_digest(body: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(body)))
}

/// Whether a Content-Digest is one SHA-256 and nothing else.
pub(super) fn check_digest_form(field: &str) -> Result<(), SignatureError> {
    let digest = field
        .strip_prefix("sha-256=:")
        .and_then(|rest| rest.strip_suffix(':'))
        .and_then(|text| STANDARD.decode(text).ok());
    match digest {
        Some(octets) if octets.len() == 32 => Ok(()),
        _ => Err(SignatureError::DigestForm),
    }
}

/// The field Signature with one signature.
pub(super) fn signature(label: &str, signature: &[u8; 64]) -> String {
    format!("{label}=:{}:", STANDARD.encode(signature))
}

/// The signature under `label`.
pub(super) fn signature_of(field: &str, label: &str) -> Result<[u8; 64], SignatureError> {
    let dictionary = parse("Signature", field)?;
    let octets = dictionary.get(label).and_then(|entry| match entry {
        ListEntry::Item(Item {
            bare_item: BareItem::ByteSequence(octets),
            params,
        }) if params.is_empty() => <[u8; 64]>::try_from(octets.as_slice()).ok(),
        _ => None,
    });
    octets.ok_or(SignatureError::Field { field: "Signature" })
}

/// Parses a dictionary and insists on its canonical form, in which nothing is repeated: of repeated members the parser
/// would silently take the last one.
fn parse(field: &'static str, value: &str) -> Result<Dictionary, SignatureError> {
    let refused = SignatureError::Field { field };
    let dictionary: Dictionary = Parser::new(value).parse().map_err(|_| refused.clone())?;
    if dictionary.len() > LABELS_MAX {
        return Err(SignatureError::TooManySignatures);
    }
    if dictionary.serialize().unwrap_or_default() != value {
        return Err(refused);
    }
    Ok(dictionary)
}

fn text(value: Option<&BareItem>) -> Option<&str> {
    match value {
        Some(BareItem::String(text)) => Some(text.as_str()),
        _ => None,
    }
}

fn seconds(value: Option<&BareItem>) -> Option<u64> {
    match value {
        Some(BareItem::Integer(seconds)) => u64::try_from(*seconds).ok(),
        _ => None,
    }
}
