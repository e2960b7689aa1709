//! Profiles that must not be installed, and servers and eUICCs that must not take part in a download.

use anyhow::Context;
use pki::issue::Credential;
use rsp::der::{Encoded, Octets};
use rsp::ids::TransactionId;
use rsp::sgp22::{
    AuthenticateErrorCode, BoundProfilePackage, DownloadErrorCode, ErrorReason,
    InitiateAuthenticationOkEs9, KeyIdentifier, PrepareDownloadResponse, ServerSigned1,
};

use super::super::device::Device;
use super::super::pki::{EID_PREFIX, SMDP, signature, wire};
use super::super::report::{Reaction, Trial};
use super::super::snapshot::Cards;
use super::arena::{Arena, OTHER, VICTIM};
use super::session::{self, Prepared};

const EUICC: &str = "eUICC";

/// The name of the profile is readable on its way, and under a MAC.
pub(super) fn modified_metadata(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    altered(arena, ErrorReason::Scp03tSecurityError, |package| {
        let segment = package.sequence_of88.first_mut()?;
        let octet = segment.0.0.get_mut(20)?;
        *octet ^= 0x20;
        Some(())
    })
}

pub(super) fn modified_segment(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    altered(arena, ErrorReason::Scp03tSecurityError, |package| {
        let middle = package.sequence_of86.len() / 2;
        let segment = package.sequence_of86.get_mut(middle)?;
        let octet = segment.0.0.get_mut(100)?;
        *octet ^= 0x01;
        Some(())
    })
}

pub(super) fn swapped_segments(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    altered(arena, ErrorReason::Scp03tSecurityError, |package| {
        let [first, second, ..] = package.sequence_of86.as_mut_slice() else {
            return None;
        };
        std::mem::swap(first, second);
        Some(())
    })
}

/// A genuine package on its way to the victim is altered.
fn altered(
    arena: &mut Arena<'_, '_>,
    expected: ErrorReason,
    alter: impl FnOnce(&mut BoundProfilePackage) -> Option<()>,
) -> anyhow::Result<Trial> {
    let (_, mut package) = bound(arena, VICTIM)?;
    alter(&mut package).context("the package has no such segment")?;
    arena.watch(Cards::Content, |arena| {
        session::load(arena.victim()?, &package, expected)
    })
}

pub(super) fn bound_to_another(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let (_, package) = bound(arena, OTHER)?;
    bound(arena, VICTIM)?;
    arena.watch(Cards::Content, |arena| {
        session::load(arena.victim()?, &package, ErrorReason::InvalidTransactionId)
    })
}

/// The SM-DP+ itself is in the plot and signs the foreign package for this session; the keys still are not the victim's.
pub(super) fn bound_to_another_and_signed(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let (_, mut package) = bound(arena, OTHER)?;
    let (prepared, _) = bound(arena, VICTIM)?;
    let channel = &mut package.initialise_secure_channel_request;
    channel.transaction_id = prepared.transaction_id;
    let signed = channel.signed_octets(&prepared.euicc_otpk);
    channel.smdp_sign = signature(&arena.world.pki.main.smdp_pb.key, &[&signed])?;
    arena.watch(Cards::Content, |arena| {
        session::load(arena.victim()?, &package, ErrorReason::Scp03tSecurityError)
    })
}

/// A session of a device with the SM-DP+, with its package, which is not loaded yet.
fn bound(
    arena: &mut Arena<'_, '_>,
    index: usize,
) -> anyhow::Result<(Prepared, BoundProfilePackage)> {
    let eid = arena.world.fleet.device(index)?.eid;
    let offer = arena.world.offer(Some(eid))?;
    let wire = arena.wire()?;
    let device = arena.world.fleet.device_mut(index)?;
    let prepared = session::prepare(&wire, device, &offer.matching_id)?;
    let package = session::package(&wire, &prepared)?;
    Ok((prepared, package))
}

/// All certificates and keys are genuine; only, the one for binding is not the one for authentication.
pub(super) fn wrong_role_at_authentication(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let pb = arena.world.pki.main.smdp_pb.clone();
    let ci = arena.world.pki.main.ci.clone();
    rogue_server(arena, &pb, &ci, AuthenticateErrorCode::InvalidCertificate)
}

pub(super) fn unknown_ci_of_server(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let (auth, ci) = (
        arena.world.pki.unknown.smdp_auth.clone(),
        arena.world.pki.unknown.ci.clone(),
    );
    rogue_server(arena, &auth, &ci, AuthenticateErrorCode::CiPkUnknown)
}

/// A server with these credentials wants to be authenticated by the victim's card.
fn rogue_server(
    arena: &mut Arena<'_, '_>,
    server: &Credential,
    ci: &Credential,
    expected: AuthenticateErrorCode,
) -> anyhow::Result<Trial> {
    arena.watch(Cards::Content, |arena| {
        let device = arena.victim()?;
        let transaction_id = TransactionId::new(&[0x66; 16])?;
        let server_signed1 = Encoded::new(ServerSigned1 {
            transaction_id: transaction_id.clone(),
            euicc_challenge: device.ipa.es10().challenge()?,
            server_address: SMDP.to_owned(),
            server_challenge: [0x77; 16],
            extensions: Default::default(),
        });
        let key_id = ci
            .certificate
            .subject_key_identifier()
            .context("a CI has a key identifier")?;
        let initiated = InitiateAuthenticationOkEs9 {
            transaction_id,
            server_signature1: signature(&server.key, &[server_signed1.bytes()])?,
            server_signed1,
            euicc_ci_pk_id_to_be_used: KeyIdentifier(Octets(key_id.to_vec())),
            server_certificate: wire(&server.certificate)?,
            other_certs_in_chain: None,
            extensions: Default::default(),
        };
        let response = session::authenticate_server(device, initiated, None)?;
        Ok(session::refused_server(&response, expected))
    })
}

/// The SM-DP+ signs the offer with the key and certificate that it authenticates with.
pub(super) fn wrong_role_at_binding(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let eid = arena.eid()?;
    let offer = arena.world.offer(Some(eid))?;
    let auth = arena.world.pki.main.smdp_auth.clone();
    let line = arena.wire()?;
    let device = arena.victim()?;
    let mut ok = session::authenticate(&line, device, &offer.matching_id)?
        .context("a genuine eUICC was refused")?;
    ok.smdp_certificate = wire(&auth.certificate)?;
    arena.watch(Cards::Content, |arena| {
        Ok(match session::prepare_download(arena.victim()?, ok)? {
            PrepareDownloadResponse::DownloadResponseError(error)
                if error.download_error_code == DownloadErrorCode::InvalidCertificate =>
            {
                Reaction::refused(
                    EUICC,
                    format!("PrepareDownload: {}", error.download_error_code),
                )
            }
            other => Reaction::through(format!("the offer was answered with {other:?}")),
        })
    })
}

pub(super) fn unknown_ci_of_euicc(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let eid = arena.unused_eid(EID_PREFIX)?;
    let offer = arena.world.offer(None)?;
    let unknown = &arena.world.pki.unknown;
    let credential = unknown.issue_euicc(&mut crate::adapters::SystemEntropy, &eid.to_string())?;
    let (eum, ci) = (
        unknown.eum.certificate.clone(),
        unknown.ci.certificate.clone(),
    );
    let mut device = stranger(arena, eid, credential, &eum, &ci)?;
    arena.watch(Cards::Content, |arena| {
        let outcome = session::authenticate(&arena.wire()?, &mut device, &offer.matching_id)?;
        Ok(session::refused_by_smdp(outcome, smdp::Refusal::NoCommonCi))
    })
}

/// A device outside the fleet, with a card of the attacker's choice.
pub(super) fn stranger(
    arena: &Arena<'_, '_>,
    eid: rsp::ids::Eid,
    credential: Credential,
    eum: &pki::Certificate,
    ci: &pki::Certificate,
) -> anyhow::Result<Device> {
    let world = &arena.world;
    Device::new(super::super::device::Blueprint {
        eid,
        credential,
        eum,
        ci,
        roots: vec![world.pki.tls_root()],
        resolve: world.servers.resolve(),
        binding: rsp::binding::http::Binding::Asn1,
        bootstrap: super::super::device::iccid("890491", world.strangers)?,
        folder: world
            .folder
            .inner(&format!("strangers/{}", world.strangers))?,
    })
}
