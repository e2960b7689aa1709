//! Certificates that are genuine and must not count any more, or lead nowhere. An eUICC has no clock and no revocation list:
//! servers and the TLS of devices look at these.

use std::net::Ipv4Addr;

use bytes::Bytes;
use ipa::{EimTrust, HttpRequest, Network, NetworkError, Server};
use pki::issue::Credential;
use smdp::Refusal;

use super::super::pki::{EID_PREFIX, EIM, REVOKED_EID_PREFIX, SMDP};
use super::super::report::{Reaction, Trial};
use super::super::servers;
use super::super::snapshot::Cards;
use super::arena::Arena;
use super::profile::stranger;
use super::{result, session};
use crate::adapters::HttpsNetwork;

pub(super) fn euicc(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let eid = arena.unused_eid(EID_PREFIX)?;
    let credential = arena.world.pki.expired_euicc(eid)?;
    let eum = arena.world.pki.main.eum.certificate.clone();
    download(
        arena,
        eid,
        credential,
        &eum,
        Refusal::EuiccCertificateExpired,
    )
}

pub(super) fn revoked_at_smdp(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let eid = arena.unused_eid(REVOKED_EID_PREFIX)?;
    let credential = arena.world.pki.revoked_euicc(eid)?;
    let eum = arena.world.pki.revoked_eum.certificate.clone();
    download(arena, eid, credential, &eum, Refusal::EumCertificateInvalid)
}

/// A download with a card that is not good any more.
fn download(
    arena: &mut Arena<'_, '_>,
    eid: rsp::ids::Eid,
    credential: Credential,
    eum: &pki::Certificate,
    expected: Refusal,
) -> anyhow::Result<Trial> {
    let offer = arena.world.offer(None)?;
    let ci = arena.world.pki.main.ci.certificate.clone();
    let mut device = stranger(arena, eid, credential, eum, &ci)?;
    arena.watch(Cards::Content, |arena| {
        let outcome = session::authenticate(&arena.wire()?, &mut device, &offer.matching_id)?;
        Ok(session::refused_by_smdp(outcome, expected))
    })
}

/// The operator has registered the device before its manufacturer was revoked.
pub(super) fn revoked_at_eim(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let eid = arena.unused_eid(REVOKED_EID_PREFIX)?;
    let credential = arena.world.pki.revoked_euicc(eid)?;
    arena
        .world
        .register(eid, "of a revoked manufacturer", None)?;
    let eum = arena.world.pki.revoked_eum.certificate.clone();
    arena.watch(Cards::Memory, |arena| {
        result::introduce(
            &arena.wire()?,
            eid,
            &credential.certificate,
            &eum,
            "CRL of the CI",
        )
    })
}

pub(super) fn smdp_tls(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let tls = arena.world.pki.expired_smdp_tls.clone();
    let server = Server::Smdp {
        address: SMDP.to_owned(),
    };
    rogue(arena, &tls, server, "expired")
}

pub(super) fn eim_tls(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let tls = arena.world.pki.expired_eim_tls.clone();
    let server = eim_server(arena)?;
    rogue(arena, &tls, server, "expired")
}

pub(super) fn unknown_tls(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let tls = arena.world.pki.unknown.eim_tls.clone();
    let server = eim_server(arena)?;
    // That CI has the name of the good one, so it is its signature that gives it away.
    rogue(arena, &tls, server, "BadSignature")
}

/// The eIM as the victim's eUICC says it is to be trusted.
fn eim_server(arena: &mut Arena<'_, '_>) -> anyhow::Result<Server> {
    let root = arena.world.pki.tls_root();
    Ok(Server::Eim {
        eim_id: EIM.parse()?,
        host: EIM.to_owned(),
        trust: EimTrust::CaCertificate(root),
    })
}

/// A server in the place of the real one, called as devices call.
fn rogue(
    arena: &mut Arena<'_, '_>,
    tls: &Credential,
    server: Server,
    expected: &str,
) -> anyhow::Result<Trial> {
    let runtime = &arena.world.servers.runtime;
    let listener = runtime.block_on(servers::bind((Ipv4Addr::LOCALHOST, 0).into(), tls))?;
    let resolve = vec![(server.host().to_owned(), listener.local_addr())];
    let task = runtime.spawn(listener.serve_handler(
        |_: http::Request<Bytes>| async { http::Response::new(axum::body::Body::empty()) },
        std::future::pending(),
    ));
    let trial = arena.watch(Cards::Memory, |arena| {
        let mut network = HttpsNetwork::new(vec![arena.world.pki.tls_root()], resolve);
        let request = HttpRequest {
            server,
            path: rsp::binding::http::PATH_ASN1.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            response_octets_max: 1024,
        };
        Ok(match network.post(request) {
            Err(NetworkError::Untrusted { message }) if message.contains(expected) => {
                Reaction::refused(
                    "device, TLS",
                    message.trim_start_matches("no secure connection to the server: "),
                )
            }
            Err(error) => Reaction::through(format!("refused for another reason: {error}")),
            Ok(answer) => {
                Reaction::through(format!("the device took the answer {}", answer.status))
            }
        })
    });
    task.abort();
    trial
}
