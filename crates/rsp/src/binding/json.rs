//! Reading and writing the members of JSON objects, with errors that name the member.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::Error;
use crate::der::{self, Element, Limits, Reader, Tag};
use crate::sgp22::{KeyIdentifier, Signature};

/// Members of one object, unknown ones included.
const MEMBERS_MAX: usize = 64;
/// Octets of text that is not base64: names, addresses, messages.
const TEXT_OCTETS_MAX: usize = 2048;
/// Members of an array.
const ARRAY_MEMBERS_MAX: usize = 1024;

/// Some peers leave out the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One JSON object. Its members are not looked at before they are asked for, so that a hostile
/// body costs no more than its own size.
#[derive(Debug)]
pub(super) struct Object<'a> {
    members: Vec<(String, &'a RawValue)>,
    limits: &'a Limits,
}

/// One member, by the name under which errors report it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member<'a> {
    name: &'static str,
    raw: &'a RawValue,
    limits: &'a Limits,
}

impl<'a> Object<'a> {
    /// Reads a body. The limits are for the DER inside.
    pub(super) fn parse(body: &'a [u8], limits: &'a Limits) -> Result<Self, Error> {
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        let members = deserializer
            .deserialize_map(Members)
            .and_then(|members| deserializer.end().map(|()| members))
            .map_err(Error::Json)?;
        Ok(Self { members, limits })
    }

    /// A member that may be absent. JSON `null` counts as absent.
    ///
    /// `name` may carry the names of the objects around it (`header.status`); the part behind the
    /// last dot is looked up.
    pub(super) fn optional<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(Member<'a>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let key = name.rsplit('.').next().unwrap_or(name);
        self.members
            .iter()
            .find(|(found, raw)| found == key && raw.get() != "null")
            .map(|&(_, raw)| {
                read(Member {
                    name,
                    raw,
                    limits: self.limits,
                })
            })
            .transpose()
    }

    /// A member that must be there.
    pub(super) fn required<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(Member<'a>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.optional(name, read)?
            .ok_or(Error::Missing { member: name })
    }

    /// Whether a member is there.
    pub(super) fn has(&self, name: &'static str) -> bool {
        self.optional(name, |_| Ok(()))
            .is_ok_and(|found| found.is_some())
    }
}

impl<'a> Member<'a> {
    fn malformed(self, problem: &'static str) -> Error {
        Error::Malformed {
            member: self.name,
            problem,
        }
    }

    fn string(self) -> Result<String, Error> {
        serde_json::from_str(self.raw.get()).map_err(|_| self.malformed("is not a string"))
    }

    /// Text of at most [`TEXT_OCTETS_MAX`] octets.
    pub(super) fn text(self) -> Result<String, Error> {
        let text = self.string()?;
        if text.len() > TEXT_OCTETS_MAX {
            return Err(self.malformed("is too long"));
        }
        Ok(text)
    }

    /// Text in a form of its own: identifiers.
    pub(super) fn parsed<T: FromStr>(self) -> Result<T, Error> {
        self.text()?
            .parse()
            .map_err(|_| self.malformed("is not a valid identifier of its kind"))
    }

    /// A whole number.
    pub(super) fn number(self) -> Result<i64, Error> {
        serde_json::from_str(self.raw.get()).map_err(|_| self.malformed("is not a whole number"))
    }

    /// `true` or `false`.
    pub(super) fn boolean(self) -> Result<bool, Error> {
        serde_json::from_str(self.raw.get())
            .map_err(|_| self.malformed("is neither true nor false"))
    }

    /// An object.
    pub(super) fn object(self) -> Result<Object<'a>, Error> {
        let mut deserializer = serde_json::Deserializer::from_str(self.raw.get());
        let members = deserializer
            .deserialize_map(Members)
            .map_err(|_| self.malformed("is not an object with distinct members"))?;
        Ok(Object {
            members,
            limits: self.limits,
        })
    }

    /// An array, each of whose members `read` reads.
    pub(super) fn array<T>(
        self,
        read: impl Fn(Member<'a>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let members: Vec<&'a RawValue> =
            serde_json::from_str(self.raw.get()).map_err(|_| self.malformed("is not an array"))?;
        if members.len() > ARRAY_MEMBERS_MAX {
            return Err(self.malformed("has too many members"));
        }
        members
            .into_iter()
            .map(|raw| read(Member { raw, ..self }))
            .collect()
    }

    /// Octets in base64.
    pub(super) fn octets(self) -> Result<Vec<u8>, Error> {
        BASE64
            .decode(self.string()?)
            .map_err(|_| self.malformed("is not base64"))
    }

    /// Octets in base64, of which there must be exactly `N`.
    pub(super) fn octets_exactly<const N: usize>(self) -> Result<[u8; N], Error> {
        self.octets()?
            .try_into()
            .map_err(|_| self.malformed("has the wrong number of octets"))
    }

    /// An ASN.1 object in base64 of its DER.
    pub(super) fn der<T: Element>(self) -> Result<T, Error> {
        T::from_der_within(&self.octets()?, self.limits).map_err(|source| Error::Object {
            member: self.name,
            source,
        })
    }

    /// A signature. The module's form has the header `5F37 LL`; one of 64, 96 or 128 octets is
    /// accepted without.
    pub(super) fn signature(self) -> Result<Signature, Error> {
        self.with_or_without_header(0x5F37, &[64, 96, 128])
            .map(|octets| Signature(octets.into()))
    }

    /// A key identifier. The module's form has the header `04 LL`; 20 octets are accepted
    /// without.
    pub(super) fn key_identifier(self) -> Result<KeyIdentifier, Error> {
        self.with_or_without_header(0x04, &[20])
            .map(|octets| KeyIdentifier(octets.into()))
    }

    /// A hash: 32 octets, with or without the header `04 20`.
    pub(super) fn hash(self) -> Result<[u8; 32], Error> {
        self.with_or_without_header(0x04, &[32])?
            .try_into()
            .map_err(|_| self.malformed("has the wrong number of octets"))
    }

    fn with_or_without_header(self, tag: u32, bare_octets: &[usize]) -> Result<Vec<u8>, Error> {
        let octets = self.octets()?;
        if bare_octets.contains(&octets.len()) {
            return Ok(octets);
        }
        content_of(&octets, Tag::new(tag), self.limits).map_err(|source| Error::Object {
            member: self.name,
            source,
        })
    }
}

fn content_of(octets: &[u8], tag: Tag, limits: &Limits) -> Result<Vec<u8>, der::Error> {
    let mut reader = Reader::new(octets, limits)?;
    let content = reader.expect(tag)?.content().to_vec();
    reader.finish()?;
    Ok(content)
}

/// Collects the members of an object without reading them.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members: Self::Value = Vec::new();
        while let Some((name, raw)) = map.next_entry::<String, &RawValue>()? {
            if members.len() >= MEMBERS_MAX {
                return Err(serde::de::Error::custom("an object with too many members"));
            }
            if members.iter().any(|(known, _)| *known == name) {
                return Err(serde::de::Error::custom("a member stands twice"));
            }
            members.push((name, raw));
        }
        Ok(members)
    }
}

/// Builds one JSON object. Members are written in alphabetical order.
#[derive(Debug, Default)]
pub(super) struct Writer(Map<String, Value>);

impl Writer {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn value(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    pub(super) fn text(self, name: &str, text: impl fmt::Display) -> Self {
        self.value(name, text.to_string())
    }

    pub(super) fn text_optional(self, name: &str, text: Option<impl fmt::Display>) -> Self {
        match text {
            Some(text) => self.text(name, text),
            None => self,
        }
    }

    pub(super) fn octets(self, name: &str, octets: &[u8]) -> Self {
        self.value(name, BASE64.encode(octets))
    }

    pub(super) fn der(self, name: &str, element: &impl Element) -> Self {
        self.octets(name, &element.to_der())
    }

    pub(super) fn der_optional(self, name: &str, element: Option<&impl Element>) -> Self {
        match element {
            Some(element) => self.der(name, element),
            None => self,
        }
    }

    /// An array of ASN.1 objects, each in base64 of its DER.
    pub(super) fn der_list_optional(self, name: &str, elements: Option<&[impl Element]>) -> Self {
        match elements {
            Some(elements) => {
                let encoded = elements
                    .iter()
                    .map(|element| BASE64.encode(element.to_der()));
                self.value(name, encoded.collect::<Vec<_>>())
            }
            None => self,
        }
    }

    pub(super) fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    pub(super) fn into_body(self) -> Vec<u8> {
        self.into_value().to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        message_octets_max: 4096,
        depth_max: 8,
        list_members_max: 16,
        non_minimal_lengths: false,
    };

    fn member_error(body: &str, read: impl Fn(&Object<'_>) -> Result<(), Error>) -> String {
        let object = Object::parse(body.as_bytes(), &LIMITS).unwrap();
        read(&object).unwrap_err().to_string()
    }

    #[test]
    fn only_an_object_with_distinct_members_is_a_body() {
        for body in [
            &b""[..],
            b"[]",
            b"1",
            b"{",
            b"{\"a\":}",
            b"{\"a\":1}{",
            b"{\"a\":1,\"a\":2}",
            b"{\"a\":\"\xFF\"}",
        ] {
            assert!(
                matches!(Object::parse(body, &LIMITS), Err(Error::Json(_))),
                "{body:?}"
            );
        }
        assert!(Object::parse(b" {\"a\":1, \"b\":[{\"c\":null}]} \n", &LIMITS).is_ok());
    }

    #[test]
    fn the_number_of_members_is_bounded_exactly() {
        let body = |count: usize| {
            let members: Vec<String> = (0..count).map(|n| format!("\"m{n}\":0")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(Object::parse(body(MEMBERS_MAX).as_bytes(), &LIMITS).is_ok());
        assert!(Object::parse(body(MEMBERS_MAX + 1).as_bytes(), &LIMITS).is_err());
    }

    #[test]
    fn deep_nesting_costs_no_stack() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
        if let Ok(object) = Object::parse(deep.as_bytes(), &LIMITS) {
            assert!(object.required("a", Member::text).is_err());
            assert!(object.required("a", |m| m.array(Member::number)).is_err());
        }
    }

    #[test]
    fn errors_name_the_member() {
        let text = |object: &Object<'_>| object.required("header.x", Member::text).map(drop);
        assert_eq!(member_error("{}", text), "the member header.x is missing");
        assert_eq!(
            member_error("{\"x\":null}", text),
            "the member header.x is missing"
        );
        assert_eq!(
            member_error("{\"x\":5}", text),
            "the member header.x is not a string"
        );
        let long = format!("{{\"x\":\"{}\"}}", "a".repeat(TEXT_OCTETS_MAX + 1));
        assert_eq!(member_error(&long, text), "the member header.x is too long");
        let octets = |object: &Object<'_>| object.required("x", Member::octets).map(drop);
        assert_eq!(
            member_error("{\"x\":\"a*==\"}", octets),
            "the member x is not base64"
        );
        assert_eq!(
            member_error("{\"x\":[\"AA==\"]}", octets),
            "the member x is not a string"
        );
        let exact =
            |object: &Object<'_>| object.required("x", Member::octets_exactly::<16>).map(drop);
        assert_eq!(
            member_error("{\"x\":\"AAAA\"}", exact),
            "the member x has the wrong number of octets"
        );
    }

    #[test]
    fn signatures_and_key_identifiers_come_with_and_without_their_header() {
        let read = |octets: &[u8]| {
            let body = Writer::new().octets("x", octets).into_body();
            let object = Object::parse(&body, &LIMITS).unwrap();
            (
                object
                    .required("x", Member::signature)
                    .map(|s| s.to_vec())
                    .ok(),
                object
                    .required("x", Member::key_identifier)
                    .map(|k| k.to_vec())
                    .ok(),
            )
        };
        let signature = [0x5F; 64];
        let tagged = [&[0x5F, 0x37, 0x40][..], &signature].concat();
        assert_eq!(read(&signature).0, Some(signature.to_vec()));
        assert_eq!(read(&tagged).0, Some(signature.to_vec()));
        assert_eq!(read(&tagged[..66]).0, None);
        assert_eq!(read(&[0x5F, 0x37, 0x01, 0xAA, 0x00]).0, None);
        let key = [0x04; 20];
        assert_eq!(read(&key).1, Some(key.to_vec()));
        assert_eq!(
            read(&[&[0x04, 0x14][..], &key].concat()).1,
            Some(key.to_vec())
        );
        assert_eq!(read(&[0x04, 0x03, 1, 2, 3]).1, Some(vec![1, 2, 3]));
        assert_eq!(read(&[1, 2, 3]).1, None);
    }

    #[test]
    fn base64_may_lack_its_padding() {
        let object = Object::parse(b"{\"x\":\"AAE\",\"y\":\"AAE=\"}", &LIMITS).unwrap();
        assert_eq!(object.required("x", Member::octets).unwrap(), [0, 1]);
        assert_eq!(object.required("y", Member::octets).unwrap(), [0, 1]);
    }
}
