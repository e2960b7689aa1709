//! What each fuzz target does with its octets: feeds them to an entry point for octets from outside and checks what
//! must hold for anything that comes out. A violation panics.
//!
//! The bodies are in `targets/`, a file for each crate that they are about. The tests of that crate run the same file
//! for a moment in every build. Therefore such a file depends on that crate's development dependencies alone, and uses
//! the support of its tests (cards, servers, networks) as `super::support`.

pub mod harness;
pub mod input;
pub mod messages;

mod card;
mod eim;
mod ipa;
#[path = "targets/proofs.rs"]
mod proofs;
#[path = "targets/segments.rs"]
mod segments;
mod smdp;
#[path = "targets/webauthn.rs"]
mod webauthn;
#[path = "targets/wire.rs"]
mod wire;
#[path = "targets/x509.rs"]
mod x509;

/// A target.
pub struct Target {
    pub name: &'static str,
    /// Takes any octets, panics when something does not hold.
    pub run: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    of_messages("esipa", wire::esipa),
    of_messages("es10", wire::es10),
    of_messages("es9plus", wire::es9plus),
    of_messages("bound_profile_package", wire::bound_profile_package),
    of_messages("profile_package", wire::profile_package),
    of_messages("certificates", wire::certificates),
    of_messages("dump", wire::dump),
    of_messages("bindings", wire::bindings),
    target("x509", x509::x509, x509::x509_seeds),
    target("segments", segments::segments, segments::segments_seeds),
    target("apdu", card::apdu, card::apdu_seeds),
    target("nvm", card::nvm, card::nvm_seeds),
    target("ipa_network", ipa::ipa_network, ipa::ipa_network_seeds),
    target("esipa_http", eim::esipa_http, || {
        eim::esipa_http_seeds(&messages::published())
    }),
    target("es9plus_http", smdp::es9plus_http, || {
        smdp::es9plus_http_seeds(&messages::published())
    }),
    target("http_proof", proofs::http_proof, proofs::http_proof_seeds),
    target(
        "client_texts",
        proofs::client_texts,
        proofs::client_texts_seeds,
    ),
    target("webauthn", webauthn::webauthn, webauthn::webauthn_seeds),
];

/// Runs the target of this name.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.expect("a target of this name").run)(data);
}

const fn target(name: &'static str, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, run, seeds }
}

const fn of_messages(name: &'static str, run: fn(&[u8])) -> Target {
    target(name, run, messages::published)
}
