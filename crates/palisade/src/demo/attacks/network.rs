//! What anybody who reaches the servers can send them.

use anyhow::{bail, ensure};
use http::StatusCode;
use intent::command::Route;
use rsp::binding::esipa;
use rsp::binding::http::{Binding, Interface, PATH_ASN1};
use rsp::sgp32::{
    EimPackageError, EimPackageResult, EimPackageResultErrorCode, EimPackageResultResponseError,
    EuiccPackageErrorUnsigned, EuiccPackageRequest, EuiccPackageResult, GetEimPackageResponse,
    InitiateAuthenticationRequestEsipa, InitiateAuthenticationResponseEsipa, IpaEuiccDataResponse,
    ProfileDownloadError, ProfileDownloadTriggerResult, ProfileDownloadTriggerResultData,
};

use super::super::pki::{EID_PREFIX, EIM, SMDP};
use super::super::report::{Reaction, Trial};
use super::super::snapshot::Cards;
use super::super::wire::{Wire, client};
use super::arena::{Arena, InFlight, all_refused, package_of};
use super::probe::{self, HelloAnswer};
use super::result::{EIM_NAME, no_data, reaction};

const BOTH: &str = "eIM and SM-DP+";

pub(super) fn unregistered(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let eid = arena.unused_eid(EID_PREFIX)?;
    arena.watch(Cards::Memory, |arena| {
        Ok(match arena.wire()?.poll(eid)? {
            GetEimPackageResponse::EimPackageError(code @ EimPackageError::EidNotFound) => {
                Reaction::refused(EIM_NAME, code.to_string())
            }
            other => Reaction::through(format!("it got {other:?}")),
        })
    })
}

/// It gets the package, which it can neither execute nor answer for.
pub(super) fn stranger(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let commands = arena.enabling()?;
    let InFlight {
        operation, package, ..
    } = arena.in_flight(commands)?;
    let eid = arena.eid()?;
    let trial = arena.watch(Cards::Memory, |arena| {
        let line = arena.wire()?;
        if package_of(line.poll(eid)?)? != package {
            return Ok(Reaction::through("it was given another package"));
        }
        let claims = false_claims(&package);
        for claim in &claims {
            for _ in 0..4 {
                line.provide(eid, claim.clone())?;
            }
        }
        match line.poll(eid)? {
            GetEimPackageResponse::EuiccPackageRequest(still) if still == package => {}
            other => {
                return Ok(Reaction::through(format!(
                    "its claims moved the queue: {other:?}"
                )));
            }
        }
        let rule = format!(
            "only what the eUICC signed counts: {} claims",
            claims.len() * 4
        );
        Ok(Reaction::refused(EIM_NAME, rule))
    })?;
    arena.settle(operation, trial)
}

/// What somebody without the eUICC can say about a package.
fn false_claims(package: &EuiccPackageRequest) -> Vec<EimPackageResult> {
    let signed = &package.euicc_package_signed;
    let id = || signed.eim_transaction_id.clone();
    let refused = EuiccPackageErrorUnsigned {
        eim_id: signed.eim_id.clone(),
        eim_transaction_id: id(),
        association_token: Some(666),
        euicc_package_unsigned_error_code: None,
        extensions: Default::default(),
    };
    let unusable = EimPackageResultResponseError {
        eim_transaction_id: id(),
        eim_package_result_error_code: EimPackageResultErrorCode::UnknownPackage,
        extensions: Default::default(),
    };
    let mut data = no_data(id());
    data.default_smdp_address = Some("evil.example.com".to_owned());
    vec![
        EimPackageResult::EuiccPackageResult(EuiccPackageResult::EuiccPackageErrorUnsigned(
            refused,
        )),
        EimPackageResult::EimPackageResultResponseError(unusable),
        EimPackageResult::IpaEuiccDataResponse(IpaEuiccDataResponse::IpaEuiccData(data)),
    ]
}

pub(super) fn activation_code(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let eid = arena.eid()?;
    let offer = arena.world.offer(Some(eid))?;
    let InFlight {
        operation, package, ..
    } = arena.in_flight(offer.download(Route::Direct))?;
    // What is in flight is the proof that is asked for first.
    let proof = arena.world.eim()?.operations(eid, None, 1)?;
    ensure!(
        proof.first().is_some_and(|newest| newest.id != operation),
        "no proof was asked for"
    );
    let trial = arena.watch(Cards::Memory, |arena| {
        for _ in 0..3 {
            match arena.wire()?.poll(eid)? {
                GetEimPackageResponse::EuiccPackageRequest(asked) if asked == package => {}
                other => return Ok(Reaction::through(format!("it got {other:?}"))),
            }
        }
        Ok(Reaction::refused(
            EIM_NAME,
            "connection not proven: asked for the eUICC's signature",
        ))
    })?;
    arena.settle(operation, trial)
}

/// The victim proved itself and has the trigger; then somebody goes on in its name on another connection.
pub(super) fn moved_connection(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let eid = arena.eid()?;
    let offer = arena.world.offer(Some(eid))?;
    let InFlight {
        wire,
        operation,
        package,
    } = arena.in_flight(offer.download(Route::Indirect))?;
    arena.execute(&wire, &package)?;
    let GetEimPackageResponse::ProfileDownloadTriggerRequest(trigger) = wire.poll(eid)? else {
        bail!("the victim did not get the trigger");
    };
    let moved = arena.wire()?;
    let on_poll = match moved.poll(eid)? {
        GetEimPackageResponse::EuiccPackageRequest(_) => Reaction::refused(EIM_NAME, ""),
        other => Reaction::through(format!("a poll on another connection got {other:?}")),
    };
    let trial = arena.watch(Cards::Memory, |_| {
        let failure = ProfileDownloadError {
            profile_download_error_reason: None,
            error_response: None,
            extensions: Default::default(),
        };
        let claim = EimPackageResult::ProfileDownloadTriggerResult(ProfileDownloadTriggerResult {
            eim_transaction_id: trigger.eim_transaction_id.clone(),
            profile_download_trigger_result_data:
                ProfileDownloadTriggerResultData::ProfileDownloadError(failure),
            extensions: Default::default(),
        });
        let on_claim = reaction(moved.provide(eid, claim)?, "connection");
        let on_session = initiate(&moved, trigger.eim_transaction_id.clone())?;
        let rule = match &on_session {
            Reaction::Refused { rule, .. } => {
                format!("connection not proven: no trigger, no result; {rule}")
            }
            Reaction::Through(_) => String::new(),
        };
        all_refused([on_poll, on_claim, on_session], EIM_NAME, rule)
    })?;
    arena.settle(operation, trial)
}

/// ESipa.InitiateAuthentication in a download that was triggered elsewhere.
fn initiate(
    line: &Wire,
    eim_transaction_id: Option<rsp::ids::TransactionId>,
) -> anyhow::Result<Reaction> {
    let request = esipa::Request::InitiateAuthentication(InitiateAuthenticationRequestEsipa {
        euicc_challenge: [0x11; 16],
        smdp_address: None,
        euicc_info1: None,
        eim_transaction_id,
        extensions: Default::default(),
    });
    use InitiateAuthenticationResponseEsipa as R;
    Ok(match line.esipa(&request)? {
        Some(esipa::Response::InitiateAuthentication(R::InitiateAuthenticationErrorEsipa(
            code,
        ))) => Reaction::refused(EIM_NAME, code.to_string()),
        other => Reaction::through(format!("a session was begun: {other:?}")),
    })
}

pub(super) fn malformed(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let asn1: Vec<Vec<u8>> = probe::MALFORMED_ASN1
        .iter()
        .map(|body| body.to_vec())
        .collect();
    let json: Vec<Vec<u8>> = probe::MALFORMED_JSON
        .iter()
        .map(|body| body.as_bytes().to_vec())
        .collect();
    no_server_error(arena, &asn1, &json)
}

pub(super) fn nested(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    no_server_error(arena, &probe::nested_asn1(), &probe::nested_json())
}

/// Sends bodies to every function of both servers. Whatever they answer, it is no server error.
fn no_server_error(
    arena: &mut Arena<'_, '_>,
    asn1: &[Vec<u8>],
    json: &[Vec<u8>],
) -> anyhow::Result<Trial> {
    let esipa = esipa::Function::ALL
        .iter()
        .map(|function| (EIM, Interface::Esipa.path(function.name())));
    let es9plus = rsp::binding::es9plus::Function::ALL;
    let es9plus = es9plus
        .iter()
        .map(|function| (SMDP, Interface::Es9Plus.path(function.name())));
    let json_paths: Vec<(&str, String)> = esipa.chain(es9plus).collect();
    arena.watch(Cards::Memory, |arena| {
        let line = arena.wire()?;
        let mut count = 0_u32;
        let mut send =
            |host: &str, path: &str, binding: Binding, body: &[u8]| -> anyhow::Result<Reaction> {
                count += 1;
                let answer = line.post(host, path, binding.content_type(), body.to_vec())?;
                Ok(match answer.status.is_server_error() {
                    true => Reaction::through(format!(
                        "{host}{path} answered with HTTP {}",
                        answer.status
                    )),
                    false => Reaction::refused(BOTH, ""),
                })
            };
        let mut reactions = Vec::new();
        for body in asn1 {
            for host in [EIM, SMDP] {
                reactions.push(send(host, PATH_ASN1, Binding::Asn1, body)?);
            }
        }
        for body in json {
            for (host, path) in &json_paths {
                reactions.push(send(host, path, Binding::Json, body)?);
            }
        }
        all_refused(
            reactions,
            BOTH,
            format!("form and depth: HTTP 4xx or an error code, {count} requests"),
        )
    })
}

pub(super) fn content_type(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let poll = Interface::Esipa.path("getEimPackage");
    let initiate = Interface::Es9Plus.path("initiateAuthentication");
    let tries = [
        (EIM, PATH_ASN1, "text/html"),
        (EIM, PATH_ASN1, "application/json"),
        (EIM, poll.as_str(), "application/x-gsma-rsp-asn1"),
        (EIM, poll.as_str(), "text/plain"),
        (SMDP, PATH_ASN1, "application/json"),
        (SMDP, initiate.as_str(), "text/xml"),
    ];
    arena.watch(Cards::Memory, |arena| {
        let line = arena.wire()?;
        let mut reactions = Vec::new();
        for (host, path, content_type) in tries {
            let answer = line.post(host, path, content_type, b"{}".to_vec())?;
            // The JSON binding of ES9+ has a status code of its own for it.
            let says_so =
                std::str::from_utf8(&answer.body).is_ok_and(|text| text.contains("\"1.2.1\""));
            reactions.push(match answer.status {
                StatusCode::UNSUPPORTED_MEDIA_TYPE => Reaction::refused(BOTH, ""),
                StatusCode::OK if says_so => Reaction::refused(BOTH, ""),
                status => {
                    Reaction::through(format!("{host}{path} took {content_type}: HTTP {status}"))
                }
            });
        }
        all_refused(reactions, BOTH, "HTTP 415, or status 1.2.1/2.1")
    })
}

pub(super) fn large_bodies(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    arena.watch(Cards::Memory, |arena| {
        let mut reactions = Vec::new();
        for host in [EIM, SMDP] {
            let body = vec![0x30; 1 << 20];
            let answer = arena
                .wire()?
                .post(host, PATH_ASN1, Binding::Asn1.content_type(), body)?;
            reactions.push(match answer.status {
                StatusCode::PAYLOAD_TOO_LARGE => Reaction::refused(BOTH, ""),
                status => Reaction::through(format!("{host} answered with HTTP {status}")),
            });
        }
        all_refused(reactions, BOTH, "size of the body: HTTP 413")
    })
}

pub(super) fn slow_clients(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    arena.watch(Cards::Memory, |arena| {
        let servers = &arena.world.servers;
        let addresses = servers.resolve();
        let client = client(arena.world)?;
        let mut reactions = Vec::new();
        servers.wait(async {
            let hosts = addresses
                .iter()
                .filter(|(host, _)| [EIM, SMDP].contains(&host.as_str()));
            let mut probes = tokio::task::JoinSet::new();
            for (host, address) in hosts {
                probes.spawn(probe::silent(host.clone(), *address));
                probes.spawn(probe::slow_head(host.clone(), client.clone()));
                probes.spawn(probe::slow_body(host.clone(), client.clone()));
            }
            while let Some(probe) = probes.join_next().await {
                reactions.push(match probe {
                    Ok(Ok(())) => Reaction::refused(BOTH, ""),
                    Ok(Err(problem)) => Reaction::through(problem),
                    Err(error) => Reaction::through(error.to_string()),
                });
            }
        });
        let seconds = super::super::servers::SLOW_MAX.as_secs();
        all_refused(
            reactions,
            BOTH,
            format!("{seconds} s for handshake, head and body: closed, HTTP 408"),
        )
    })
}

/// The same hello is taken with version 1.2, so it is the version that decides.
pub(super) fn old_tls(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let addresses = arena.world.servers.resolve();
    for (host, address) in &addresses {
        let control = arena.world.servers.wait(probe::hello(*address, [3, 3]))?;
        ensure!(
            control == HelloAnswer::Handshake,
            "{host} does not speak TLS 1.2: {control:?}"
        );
    }
    arena.watch(Cards::Memory, |arena| {
        let mut reactions = Vec::new();
        for (host, address) in addresses {
            for (version, name) in [
                ([3, 0], "SSL 3.0"),
                ([3, 1], "TLS 1.0"),
                ([3, 2], "TLS 1.1"),
            ] {
                reactions.push(
                    match arena.world.servers.wait(probe::hello(address, version))? {
                        HelloAnswer::Alert(PROTOCOL_VERSION) => Reaction::refused(BOTH, ""),
                        other => Reaction::through(format!("{host} answers {name} with {other:?}")),
                    },
                );
            }
        }
        all_refused(reactions, BOTH, "version: fatal alert protocol_version")
    })
}

/// RFC 5246 section 7.2.
const PROTOCOL_VERSION: u8 = 70;
