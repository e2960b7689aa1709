//! No damaged certificate is ever part of a chain that verifies.

use pki::{Certificate, Curve, Role, TrustAnchors};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::Rng;

use super::{STRICT, Server, Set, Variant};
use crate::{now, rng, sgp26_anchors};

/// A chain, its end first. `verify` takes the certificates in the same order.
struct Chain {
    certificates: Vec<Certificate>,
    role: Role,
}

impl Chain {
    /// eUICC and SM-DP+ of a variant.
    fn both(set: &Set) -> [Self; 2] {
        let mut euicc = vec![set.euicc.clone(), set.eum.certificate.clone()];
        euicc.extend(set.euicc_intermediates());
        let server = Server::named("SM_DPtls");
        let mut dp = vec![set.server(server.role, &server.template(set.variant))];
        dp.extend(set.server_intermediates(server.role));
        [(euicc, Role::Euicc), (dp, server.role)]
            .map(|(certificates, role)| Self { certificates, role })
    }

    fn verifies(&self, anchors: &TrustAnchors, certificates: &[Certificate]) -> bool {
        match (self.role, certificates) {
            (Role::Euicc, [euicc, eum, rest @ ..]) => anchors
                .verify_euicc_chain_through(euicc, eum, rest, now(), STRICT)
                .is_ok(),
            (role, [certificate, rest @ ..]) => anchors
                .verify_server_through(certificate, role, rest, now())
                .is_ok(),
            _ => panic!("no certificates"),
        }
    }

    /// Whether the chain verifies with other octets in one place. What does not parse does not verify.
    fn verifies_with(&self, anchors: &TrustAnchors, at: usize, der: &[u8]) -> bool {
        let Ok(certificate) = Certificate::from_der(der) else {
            return false;
        };
        let mut certificates = self.certificates.clone();
        certificates[at] = certificate;
        self.verifies(anchors, &certificates)
    }
}

#[test]
fn one_wrong_bit_anywhere() {
    let anchors = sgp26_anchors();
    for variant in [Variant::O, Variant::C] {
        for chain in Chain::both(&Set::new(variant, Curve::P256)) {
            assert!(chain.verifies(&anchors, &chain.certificates));
            for (at, certificate) in chain.certificates.iter().enumerate() {
                for octet in 0..certificate.der().len() {
                    let mut der = certificate.der().to_vec();
                    der[octet] ^= 1 << (octet % 8);
                    assert!(
                        !chain.verifies_with(&anchors, at, &der),
                        "{variant:?}, certificate {at}, octet {octet}"
                    );
                }
            }
        }
    }
}

#[test]
fn random_damage() {
    let anchors = sgp26_anchors();
    for (seed, curve, rounds) in [(1, Curve::P256, 400), (2, Curve::BrainpoolP256r1, 40)] {
        let mut rng = rng(seed);
        for variant in Variant::ALL {
            // The set has no servers for Ov3; they are made as for the others.
            for chain in Chain::both(&Set::new(variant, curve)) {
                assert!(chain.verifies(&anchors, &chain.certificates), "{variant:?}");
                for round in 0..rounds {
                    let at = below(&mut rng, chain.certificates.len());
                    let der = chain.certificates[at].der();
                    let damaged = damage(&mut rng, der);
                    assert!(
                        damaged == der || !chain.verifies_with(&anchors, at, &damaged),
                        "{variant:?} on {curve}, round {round}, certificate {at}: {}",
                        hex::encode(&damaged)
                    );
                }
            }
        }
    }
}

#[test]
fn certificates_in_the_wrong_place() {
    let anchors = sgp26_anchors();
    let mut rng = rng(3);
    let [mine, other] = Curve::ALL.map(|curve| Chain::both(&Set::new(Variant::C, curve)));
    let pool: Vec<&Certificate> = [&mine, &other]
        .into_iter()
        .flatten()
        .flat_map(|chain| &chain.certificates)
        .collect();
    for chain in &mine {
        for _ in 0..500 {
            let mut certificates = chain.certificates.clone();
            let at = below(&mut rng, certificates.len());
            let stranger = pool[below(&mut rng, pool.len())];
            certificates[at] = stranger.clone();
            assert!(
                *stranger == chain.certificates[at] || !chain.verifies(&anchors, &certificates),
                "{stranger:?} as certificate {at}"
            );
        }
    }
}

#[test]
fn a_damaged_ci_is_never_trusted() {
    let set = Set::new(Variant::O, Curve::P256);
    let der = set.ci.certificate.der();
    let mut rng = rng(4);
    let octets = (0..der.len()).map(|octet| {
        let mut damaged = der.to_vec();
        damaged[octet] ^= 1 << (octet % 8);
        damaged
    });
    let random: Vec<_> = (0..500).map(|_| damage(&mut rng, der)).collect();
    for damaged in octets.chain(random).filter(|damaged| damaged != der) {
        let taken = Certificate::from_der(&damaged)
            .is_ok_and(|certificate| TrustAnchors::new().add_ci(certificate).is_ok());
        assert!(!taken, "{}", hex::encode(&damaged));
    }
}

/// One to four changes: a bit, an octet, a cut, an insertion, or a piece that is moved.
fn damage(rng: &mut ChaCha20Rng, der: &[u8]) -> Vec<u8> {
    let mut der = der.to_vec();
    for _ in 0..=below(rng, 4) {
        if der.is_empty() {
            break;
        }
        let at = below(rng, der.len());
        match below(rng, 6) {
            0 | 1 => der[at] ^= 1 << below(rng, 8),
            2 => der[at] = rng.next_u32() as u8,
            3 => {
                let end = (at + 1 + below(rng, 8)).min(der.len());
                der.drain(at..end);
            }
            4 => der.insert(at, rng.next_u32() as u8),
            _ => {
                let length = below(rng, 16).min(der.len() - at);
                let piece = der[at..at + length].to_vec();
                let to = below(rng, der.len() - length + 1);
                der[to..to + length].copy_from_slice(&piece);
            }
        }
    }
    der
}

fn below(rng: &mut ChaCha20Rng, bound: usize) -> usize {
    rng.next_u32() as usize % bound
}
