//! The proof of a machine: an HTTP request that carries exactly what it wants, signed.
//!
//! HTTP Message Signatures (RFC 9421) with Ed25519, over the method, the path, the query if there is one, and the
//! Content-Digest (RFC 9530) of the body. The profile is narrow, so that a signature has one meaning:
//!
//! * covered are `"@method"`, `"@path"`, `"@query"` if the request has a query, and `"content-digest"`, in any order, without
//!   component parameters and nothing else;
//! * parameters are `created`, `nonce`, `keyid`, `alg="ed25519"` and `tag`, and `expires` if wanted. The tag says what the
//!   signature is for ([`TAG_INTENT`], [`TAG_READ`]), so that one for reading never passes for a change;
//! * `Content-Digest` is `sha-256` alone, also for an empty body;
//! * all fields are in the form that RFC 8941 section 4.1 serializes, so that no two texts mean the same.
//!
//! A message may carry signatures of others under other labels and tags; they are ignored.
//!
//! [`HttpProof`] is what stays of a request: with the body and the public key it can be verified again at any time, on any
//! machine, without the connection it came by. This module knows no HTTP library.

mod base;
mod fields;

use serde::{Deserialize, Serialize};

use crate::key_file::{ClientKey, PublicKey};
use crate::name::CredentialId;

/// The tag of a signature that asks for a change.
pub const TAG_INTENT: &str = "palisade-intent";
/// The tag of a signature that asks to read.
pub const TAG_READ: &str = "palisade-read";

/// Octets of a body at most.
pub const BODY_MAX: usize = 16 * 1024 * 1024;
/// Characters of a path with its query at most.
pub const TARGET_MAX: usize = 2048;
/// Characters of a field (Signature-Input, Signature, Content-Digest) at most.
pub const FIELD_MAX: usize = 2048;
/// Signatures on a message at most, ours and others'.
pub const LABELS_MAX: usize = 4;
/// Characters of a nonce at least: 96 bits in base64url.
pub const NONCE_MIN: usize = 16;
/// Characters of a nonce at most.
pub const NONCE_MAX: usize = 64;
/// How far a client's clock may be ahead of ours, in milliseconds.
pub const SKEW_MS: u64 = 60_000;

/// The label under which [`sign`] signs.
const LABEL: &str = "palisade";
/// Characters of a method at most.
const METHOD_MAX: usize = 16;

/// What a signature covers of a request besides its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestParts<'a> {
    /// `POST`, in upper case.
    pub method: &'a str,
    /// The path as sent, percent-encoding untouched: `/v1/intents`.
    pub path: &'a str,
    /// What stood behind the `?`, without it; none if there was no `?`.
    pub query: Option<&'a str>,
}

/// A signed request without its body, as it came: the three fields, and what they refer to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpProof {
    /// `POST`.
    pub method: String,
    /// The path as sent.
    pub path: String,
    /// What stood behind the `?`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The field Content-Digest (RFC 9530 section 2).
    pub content_digest: String,
    /// The field Signature-Input (RFC 9421 section 4.1); several lines joined by `, `.
    pub signature_input: String,
    /// The field Signature (RFC 9421 section 4.2); several lines joined by `, `.
    pub signature: String,
}

/// A proof whose form, body and coverage are right. Its signature has not been checked: the key has yet to be found by
/// [`Unverified::key_id`].
#[derive(Debug, Clone)]
pub struct Unverified {
    signature_base: String,
    signature: [u8; 64],
    parameters: Verified,
    expires_s: Option<u64>,
}

/// What a verified signature says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The key that signed.
    pub key_id: CredentialId,
    /// When, by the client's clock: seconds since 1970-01-01T00:00:00Z.
    pub created_s: u64,
    /// What makes it unique. Whoever accepts a request must remember it while the signature is fresh.
    pub nonce: String,
}

/// Why a signature was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// More octets than are looked at.
    #[error("{what} is longer than {limit}: send less")]
    TooLong {
        /// Which part.
        what: &'static str,
        /// Octets, or characters.
        limit: usize,
    },
    /// A method or target that cannot stand in a request line.
    #[error("the {what} holds characters that cannot stand there: percent-encode them")]
    Target {
        /// `method`, `path` or `query`.
        what: &'static str,
    },
    /// Not a structured field, or not as RFC 8941 section 4.1 writes it.
    #[error(
        "{field} is not in the canonical form of a structured field dictionary (RFC 8941 section 4.1): check for repeated labels and parameters, spaces and upper case"
    )]
    Field {
        /// The field's name.
        field: &'static str,
    },
    /// More signatures than are looked at.
    #[error("the message has more than {LABELS_MAX} signatures")]
    TooManySignatures,
    /// None that is meant for this.
    #[error("no signature has tag=\"{tag}\": sign the request (RFC 9421) with this tag")]
    NoSignature {
        /// The tag that was looked for.
        tag: String,
    },
    /// Two that are meant for this.
    #[error("two signatures have tag=\"{tag}\": send one")]
    Ambiguous {
        /// The tag that was looked for.
        tag: String,
    },
    /// Something must be covered and is not.
    #[error("the signature does not cover \"{component}\": add it to the covered components")]
    NotCovered {
        /// The component.
        component: &'static str,
    },
    /// Something is covered that cannot be reproduced later, or twice.
    #[error(
        "the signature covers something besides \"@method\", \"@path\", \"@query\" and \"content-digest\", or one of them twice or with parameters: cover each once, plainly"
    )]
    Coverage,
    /// A parameter is missing or not of its form.
    #[error("the signature parameter {parameter} is missing or not {expected}")]
    Parameter {
        /// Its name.
        parameter: &'static str,
        /// What it has to be.
        expected: &'static str,
    },
    /// A parameter that has no meaning here.
    #[error(
        "the signature has a parameter besides created, expires, nonce, keyid, alg and tag: leave it out"
    )]
    UnknownParameter,
    /// Something else than Ed25519.
    #[error("only alg=\"ed25519\" is accepted: sign with the Ed25519 key that was enrolled")]
    Algorithm,
    /// Content-Digest is not `sha-256=:…:`.
    #[error(
        "Content-Digest is not sha-256=:…: alone (RFC 9530): send the SHA-256 of the body in base64 and no other digest"
    )]
    DigestForm,
    /// The body is another one.
    #[error("the body is not the one that Content-Digest states: it was altered after signing")]
    DigestDiffers,
    /// Another key is named than was used for verifying.
    #[error("the signature is by the key {stated}, not {used}")]
    OtherKey {
        /// The key the signature names.
        stated: CredentialId,
        /// The key it was to be verified with.
        used: CredentialId,
    },
    /// Not made with this key over this.
    #[error(
        "the signature does not fit the request and the key: something was altered after signing"
    )]
    Invalid,
    /// Too long ago.
    #[error(
        "signed {age_s} s ago, at most {limit_s} s are accepted: sign anew, and check the clock"
    )]
    Old {
        /// Seconds since it was made.
        age_s: u64,
        /// Seconds that are accepted.
        limit_s: u64,
    },
    /// By its own `expires`.
    #[error("the signature expired by its own parameter expires: sign anew")]
    Expired,
    /// From the future.
    #[error("signed {ahead_s} s in the future: set the client's clock")]
    FromTheFuture {
        /// Seconds ahead of our clock.
        ahead_s: u64,
    },
}

/// Signs a request with a body. `created_s` is in seconds since 1970-01-01T00:00:00Z; `nonce` is random, 16 to 64 letters,
/// digits, `-` and `_`; `tag` says what for. The three fields of the result go into the request.
pub fn sign(
    request: &RequestParts<'_>,
    body: &[u8],
    key: &ClientKey,
    created_s: u64,
    nonce: &str,
    tag: &str,
) -> Result<HttpProof, SignatureError> {
    check_request(request, body)?;
    let content_digest = fields::content_digest(body);
    let parameters = Verified {
        key_id: key.id(),
        created_s,
        nonce: checked_nonce(nonce)?.to_owned(),
    };
    let member = fields::our_input(request.query.is_some(), &parameters, tag)?;
    let lines = base::lines(request, &content_digest, &member.covered);
    let signature = key.sign(base::assemble(&lines, &member.text).as_bytes());
    Ok(HttpProof {
        method: request.method.to_owned(),
        path: request.path.to_owned(),
        query: request.query.map(str::to_owned),
        content_digest,
        signature_input: format!("{LABEL}={}", member.text),
        signature: fields::signature(LABEL, &signature),
    })
}

/// Verifies the signature with `tag` on a request whose key is known already. To find the key by its id first, go by
/// [`HttpProof::open`].
pub fn verify(
    proof: &HttpProof,
    body: &[u8],
    tag: &str,
    key: &PublicKey,
    now_ms: u64,
    max_age_ms: u64,
) -> Result<Verified, SignatureError> {
    proof.open(body, tag)?.verify(key, now_ms, max_age_ms)
}

impl HttpProof {
    /// Checks everything but the signature itself: form, bounds, what is covered, and that the body is the one signed.
    pub fn open(&self, body: &[u8], tag: &str) -> Result<Unverified, SignatureError> {
        let request = self.request();
        check_request(&request, body)?;
        for (what, text) in [
            ("Content-Digest", &self.content_digest),
            ("Signature-Input", &self.signature_input),
            ("Signature", &self.signature),
        ] {
            check_length(what, text.len(), FIELD_MAX)?;
        }

        let input = fields::input_for(&self.signature_input, tag)?;
        for component in base::required(&request) {
            if !input.covered.contains(component) {
                return Err(SignatureError::NotCovered {
                    component: component.name(),
                });
            }
        }
        fields::check_digest_form(&self.content_digest)?;
        if self.content_digest != fields::content_digest(body) {
            return Err(SignatureError::DigestDiffers);
        }
        let lines = base::lines(&request, &self.content_digest, &input.covered);
        Ok(Unverified {
            signature_base: base::assemble(&lines, &input.text),
            signature: fields::signature_of(&self.signature, &input.label)?,
            parameters: Verified {
                key_id: input.key_id,
                created_s: input.created_s,
                nonce: checked_nonce(&input.nonce)?.to_owned(),
            },
            expires_s: input.expires_s,
        })
    }

    /// What was requested.
    pub fn request(&self) -> RequestParts<'_> {
        RequestParts {
            method: &self.method,
            path: &self.path,
            query: self.query.as_deref(),
        }
    }
}

impl Unverified {
    /// The key that the signature names.
    pub fn key_id(&self) -> &CredentialId {
        &self.parameters.key_id
    }

    /// Checks the signature, and that it was made at most `max_age_ms` before `now_ms` (milliseconds since
    /// 1970-01-01T00:00:00Z) and not more than [`SKEW_MS`] after it.
    pub fn verify(
        self,
        key: &PublicKey,
        now_ms: u64,
        max_age_ms: u64,
    ) -> Result<Verified, SignatureError> {
        self.check_time(now_ms, max_age_ms)?;
        self.verify_at_any_time(key)
    }

    /// Checks the signature only. For audits of what was accepted before; a server that takes requests must not use it.
    pub fn verify_at_any_time(self, key: &PublicKey) -> Result<Verified, SignatureError> {
        let used = key.id();
        if used != self.parameters.key_id {
            return Err(SignatureError::OtherKey {
                stated: self.parameters.key_id,
                used,
            });
        }
        key.verify(self.signature_base.as_bytes(), &self.signature)
            .map_err(|_| SignatureError::Invalid)?;
        Ok(self.parameters)
    }

    fn check_time(&self, now_ms: u64, max_age_ms: u64) -> Result<(), SignatureError> {
        let created_ms = self.parameters.created_s.saturating_mul(1000);
        let ahead_ms = created_ms.saturating_sub(now_ms);
        if ahead_ms > SKEW_MS {
            return Err(SignatureError::FromTheFuture {
                ahead_s: ahead_ms / 1000,
            });
        }
        let age_ms = now_ms.saturating_sub(created_ms);
        if age_ms > max_age_ms {
            return Err(SignatureError::Old {
                age_s: age_ms / 1000,
                limit_s: max_age_ms / 1000,
            });
        }
        if self
            .expires_s
            .is_some_and(|expires_s| expires_s.saturating_mul(1000) <= now_ms)
        {
            return Err(SignatureError::Expired);
        }
        Ok(())
    }
}

impl<'a> RequestParts<'a> {
    /// Splits a request target in origin form, `/v1/devices?limit=10`.
    pub fn from_target(method: &'a str, target: &'a str) -> Self {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        Self {
            method,
            path,
            query,
        }
    }
}

/// A line break in the method or target would let one signature base be read as another.
fn check_request(request: &RequestParts<'_>, body: &[u8]) -> Result<(), SignatureError> {
    check_length("the body", body.len(), BODY_MAX)?;
    check_length("the method", request.method.len(), METHOD_MAX)?;
    let query = request.query.unwrap_or_default();
    check_length(
        "the path with its query",
        request.path.len() + query.len(),
        TARGET_MAX,
    )?;
    let is_method = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase());
    let is_printable = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    if !is_method(request.method) {
        return Err(SignatureError::Target { what: "method" });
    }
    if !request.path.starts_with('/') || !is_printable(request.path) || request.path.contains('?') {
        return Err(SignatureError::Target { what: "path" });
    }
    if !is_printable(query) {
        return Err(SignatureError::Target { what: "query" });
    }
    Ok(())
}

fn check_length(what: &'static str, length: usize, limit: usize) -> Result<(), SignatureError> {
    if length > limit {
        return Err(SignatureError::TooLong { what, limit });
    }
    Ok(())
}

fn checked_nonce(nonce: &str) -> Result<&str, SignatureError> {
    let is_plain = nonce
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if !is_plain || !(NONCE_MIN..=NONCE_MAX).contains(&nonce.len()) {
        return Err(SignatureError::Parameter {
            parameter: "nonce",
            expected: "a text of 16 to 64 letters, digits, '-' and '_'",
        });
    }
    Ok(nonce)
}

#[cfg(test)]
mod tests;
