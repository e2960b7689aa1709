//! Objects on a token: key pairs and what is known about them.

use cryptoki::context::Function;
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, SessionState};
use der::asn1::OctetStringRef;
use der::{Decode, Encode};

use super::error::Pkcs11Error;
use super::{KeyProtection, KeySelector, curve_of};
use crate::curve::Curve;
use crate::public_key::{KeyError, PublicKey};

/// A private key, and the public keys that may be its.
pub(super) struct Found {
    pub(super) handle: ObjectHandle,
    pub(super) public: Vec<PublicKey>,
    pub(super) protection: KeyProtection,
}

/// Finds a key pair. Whether its halves belong together, only a signature shows.
pub(super) fn find(session: &Session, selector: &KeySelector) -> Result<Found, Pkcs11Error> {
    let handle = find_private(session, selector)?;
    let protection = protection(session, handle, selector)?;
    let public = public_keys(session, handle, selector)?;
    Ok(Found {
        handle,
        public,
        protection,
    })
}

/// Finds a private key.
pub(super) fn find_private(
    session: &Session,
    selector: &KeySelector,
) -> Result<ObjectHandle, Pkcs11Error> {
    let mut wanted = elliptic(ObjectClass::PRIVATE_KEY);
    wanted.extend(
        selector
            .label
            .as_ref()
            .map(|label| Attribute::Label(label.as_bytes().to_vec())),
    );
    wanted.extend(selector.id.clone().map(Attribute::Id));
    match session.find_objects(&wanted)?.as_slice() {
        [handle] => Ok(*handle),
        // Without a login, private objects are not seen.
        [] if !is_logged_in(session)? => Err(not_logged_in()),
        [] => Err(Pkcs11Error::KeyNotFound(selector.clone())),
        several => Err(Pkcs11Error::KeyAmbiguous {
            selector: selector.clone(),
            count: several.len(),
        }),
    }
}

/// Whether any object has that label, as a key or as half of one.
pub(super) fn exists(session: &Session, label: &str) -> Result<bool, Pkcs11Error> {
    for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
        let wanted = [
            Attribute::Class(class),
            Attribute::Label(label.as_bytes().to_vec()),
        ];
        if !session.find_objects(&wanted)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Makes a key pair on the token.
pub(super) fn generate(
    session: &Session,
    label: &str,
    id: &[u8],
    curve: Curve,
) -> Result<(), Pkcs11Error> {
    let parameters = curve.oid().to_der().map_err(|_| Pkcs11Error::KeyUnusable {
        selector: KeySelector {
            label: Some(label.to_owned()),
            id: None,
        },
        source: KeyError::Library,
    })?;
    let shared = [
        Attribute::Token(true),
        Attribute::Label(label.as_bytes().to_vec()),
        Attribute::Id(id.to_vec()),
    ];
    let public = [
        Attribute::EcParams(parameters),
        Attribute::Private(false),
        Attribute::Verify(true),
    ];
    let private = [
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::Decrypt(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
    ];
    session.generate_key_pair(
        &Mechanism::EccKeyPairGen,
        &[&shared[..], &public[..]].concat(),
        &[&shared[..], &private[..]].concat(),
    )?;
    Ok(())
}

/// Labels of the private keys, sorted.
pub(super) fn labels(session: &Session) -> Result<Vec<String>, Pkcs11Error> {
    if !is_logged_in(session)? {
        return Err(not_logged_in());
    }
    let mut labels = Vec::new();
    for handle in session.find_objects(&elliptic(ObjectClass::PRIVATE_KEY))? {
        for attribute in session.get_attributes(handle, &[AttributeType::Label])? {
            if let Attribute::Label(label) = attribute {
                labels.extend(String::from_utf8(label));
            }
        }
    }
    labels.sort();
    Ok(labels)
}

/// Whether the user of the token is logged in. Another part of the process may have logged it out.
pub(super) fn is_logged_in(session: &Session) -> Result<bool, Pkcs11Error> {
    let state = session.get_session_info()?.session_state();
    Ok(matches!(state, SessionState::RoUser | SessionState::RwUser))
}

fn not_logged_in() -> Pkcs11Error {
    Error::Pkcs11(RvError::UserNotLoggedIn, Function::FindObjects).into()
}

fn elliptic(class: ObjectClass) -> Vec<Attribute> {
    vec![
        Attribute::Class(class),
        Attribute::KeyType(KeyType::EC),
        Attribute::Token(true),
    ]
}

/// What the token says about how it keeps a key. A key that it gives away, or that cannot sign, is refused.
fn protection(
    session: &Session,
    handle: ObjectHandle,
    selector: &KeySelector,
) -> Result<KeyProtection, Pkcs11Error> {
    // What a module does not say counts as the worse of the two.
    let mut protection = KeyProtection {
        sensitive: false,
        extractable: true,
        always_inside: false,
    };
    let (mut local, mut always_sensitive, mut never_extractable) = (false, false, false);
    let (mut sign, mut pin_each_time) = (true, false);
    for attribute in session.get_attributes(
        handle,
        &[
            AttributeType::Sensitive,
            AttributeType::Extractable,
            AttributeType::Local,
            AttributeType::AlwaysSensitive,
            AttributeType::NeverExtractable,
            AttributeType::Sign,
            AttributeType::AlwaysAuthenticate,
        ],
    )? {
        match attribute {
            Attribute::Sensitive(value) => protection.sensitive = value,
            Attribute::Extractable(value) => protection.extractable = value,
            Attribute::Local(value) => local = value,
            Attribute::AlwaysSensitive(value) => always_sensitive = value,
            Attribute::NeverExtractable(value) => never_extractable = value,
            Attribute::Sign(value) => sign = value,
            Attribute::AlwaysAuthenticate(value) => pin_each_time = value,
            _ => {}
        }
    }
    protection.always_inside = local && always_sensitive && never_extractable;
    if !protection.sensitive && protection.extractable {
        return Err(Pkcs11Error::KeyReadable(selector.clone()));
    }
    if !sign {
        return Err(Pkcs11Error::KeyNotForSigning(selector.clone()));
    }
    if pin_each_time {
        return Err(Pkcs11Error::PinForEachSignature(selector.clone()));
    }
    Ok(protection)
}

/// Public keys with the id of a private key, or with its label if it has no id; some modules give the point with the private
/// key, too.
fn public_keys(
    session: &Session,
    private: ObjectHandle,
    selector: &KeySelector,
) -> Result<Vec<PublicKey>, Pkcs11Error> {
    let mut by_id = None;
    let mut by_label = None;
    let names = [AttributeType::Id, AttributeType::Label];
    for attribute in session.get_attributes(private, &names)? {
        match attribute {
            Attribute::Id(id) if !id.is_empty() => by_id = Some(Attribute::Id(id)),
            Attribute::Label(label) if !label.is_empty() => {
                by_label = Some(Attribute::Label(label));
            }
            _ => {}
        }
    }
    let mut handles = vec![private];
    if let Some(name) = by_id.or(by_label) {
        let mut wanted = elliptic(ObjectClass::PUBLIC_KEY);
        wanted.push(name);
        handles.extend(session.find_objects(&wanted)?);
    }
    let mut keys = Vec::new();
    let mut refused = None;
    for handle in handles.into_iter().take(CANDIDATES_MAX) {
        match public_key(session, handle)? {
            Some(Ok(key)) => keys.push(key),
            Some(Err(error)) => refused = Some(error),
            None => {}
        }
    }
    match (keys.is_empty(), refused) {
        (false, _) => Ok(keys),
        (true, Some(source)) => Err(Pkcs11Error::KeyUnusable {
            selector: selector.clone(),
            source,
        }),
        (true, None) => Err(Pkcs11Error::PublicKeyNotFound(selector.clone())),
    }
}

/// The public key that an object describes, if it does.
fn public_key(
    session: &Session,
    handle: ObjectHandle,
) -> Result<Option<Result<PublicKey, KeyError>>, Pkcs11Error> {
    let mut parameters = None;
    let mut point = None;
    let wanted = [AttributeType::EcParams, AttributeType::EcPoint];
    for attribute in session.get_attributes(handle, &wanted)? {
        match attribute {
            Attribute::EcParams(octets) => parameters = Some(octets),
            Attribute::EcPoint(octets) => point = Some(octets),
            _ => {}
        }
    }
    Ok(parameters
        .zip(point)
        .map(|(parameters, point)| read_public_key(&parameters, &point)))
}

/// CKA_EC_PARAMS is a DER OBJECT IDENTIFIER, CKA_EC_POINT a DER OCTET STRING around the point; some modules leave the OCTET
/// STRING out, as version 2.20 of the standard could be read.
fn read_public_key(parameters: &[u8], point: &[u8]) -> Result<PublicKey, KeyError> {
    let curve = curve_of(parameters)?;
    if point.len() == BARE_POINT_OCTETS {
        return PublicKey::from_uncompressed_point(curve, point);
    }
    let point = <&OctetStringRef>::from_der(point).map_err(|_| KeyError::InvalidPoint)?;
    PublicKey::from_uncompressed_point(curve, point.as_bytes())
}

const BARE_POINT_OCTETS: usize = 65;
/// Public keys that are tried with one private key.
const CANDIDATES_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use rand_core::SeedableRng;

    use super::*;
    use crate::private_key::{PrivateKey, Signer};

    #[test]
    fn public_keys_are_read_in_both_forms() {
        let mut rng = rand_chacha::ChaCha20Rng::from_seed([1; 32]);
        for curve in Curve::ALL {
            let key = PrivateKey::generate(curve, &mut rng).unwrap();
            let public = key.public_key();
            let bare = public.uncompressed_point();
            let wrapped = [&[0x04, 65][..], bare].concat();
            let parameters = curve.oid().to_der().unwrap();
            assert_eq!(&read_public_key(&parameters, bare).unwrap(), public);
            assert_eq!(&read_public_key(&parameters, &wrapped).unwrap(), public);

            for length in 0..wrapped.len() {
                let cut = wrapped.get(..length).unwrap();
                assert_eq!(
                    read_public_key(&parameters, cut),
                    Err(KeyError::InvalidPoint),
                    "{length}"
                );
            }
            assert_eq!(read_public_key(&[], &wrapped), Err(KeyError::CurveNotNamed));
            // secp384r1
            let other = [0x06, 5, 0x2B, 0x81, 0x04, 0, 0x22];
            assert!(matches!(
                read_public_key(&other, &wrapped),
                Err(KeyError::UnsupportedCurve(_))
            ));
        }
    }
}
