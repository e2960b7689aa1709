//! The SM-DP+ side of a download, up to the ES10 commands that an IPA makes of it.

use bsp::{BspKeys, bind};
use pki::EphemeralKey;
use rsp::der::{Element, Encoded, Tag, Writer};
use rsp::ids::{Iccid, TransactionId};
use rsp::saip::ProfilePackage;
use rsp::sgp22::*;

use super::{Bench, PKI, ci_key_id, data, eid, profile, rng, signature, wire};

pub(crate) const ADDRESS: &str = "smdp.example.com";

/// A TS.48 test profile, delivered as an operational one.
pub(crate) fn package() -> Vec<u8> {
    data("ts48/ts48-v7-bertlv-suci.der")
}

pub(crate) fn package_iccid() -> Iccid {
    ProfilePackage::parse(&package())
        .unwrap()
        .header()
        .unwrap()
        .iccid()
        .unwrap()
}

pub(crate) fn metadata() -> StoreMetadataRequest {
    StoreMetadataRequest {
        iccid: package_iccid(),
        ..profile(0).metadata
    }
}

/// Authenticates, prepares and binds; gives the ES10 commands that load the package.
pub(crate) fn prepare(bench: &mut Bench) -> Vec<Vec<u8>> {
    try_prepare(bench).expect("the card takes part")
}

/// The same with a card that may refuse.
pub(crate) fn try_prepare(bench: &mut Bench) -> Option<Vec<Vec<u8>>> {
    let transaction_id = TransactionId::new(&[0x5A; 16]).unwrap();
    let challenge: GetEuiccChallengeResponse = try_ask(
        bench,
        &GetEuiccChallengeRequest {
            extensions: Default::default(),
        },
    )?;
    let authenticated = authenticate(bench, &transaction_id, challenge.euicc_challenge)?;
    let smdp_signed2 = Encoded::new(SmdpSigned2 {
        transaction_id: transaction_id.clone(),
        cc_required_flag: CcRequiredFlag(false),
        bpp_euicc_otpk: None,
        extensions: Default::default(),
    });
    let covered = [
        smdp_signed2.bytes(),
        &authenticated.euicc_signature1.to_der(),
    ];
    let request = PrepareDownloadRequest {
        smdp_signature2: signature(&PKI.smdp_pb.key, &covered),
        smdp_signed2,
        hash_cc: None,
        smdp_certificate: wire(&PKI.smdp_pb.certificate),
        extensions: Default::default(),
    };
    let PrepareDownloadResponse::DownloadResponseOk(prepared) = try_ask(bench, &request)? else {
        return None;
    };
    Some(bound(&transaction_id, &prepared.euicc_signed2.euicc_otpk))
}

fn try_ask<R: Element>(bench: &mut Bench, request: &impl Element) -> Option<R> {
    let answer = bench.es10(&request.to_der()).ok()?;
    Some(R::from_der(&answer).expect("the card answers in its own terms"))
}

pub(crate) fn authenticate(
    bench: &mut Bench,
    transaction_id: &TransactionId,
    euicc_challenge: [u8; 16],
) -> Option<AuthenticateResponseOk> {
    let server_signed1 = Encoded::new(ServerSigned1 {
        transaction_id: transaction_id.clone(),
        euicc_challenge,
        server_address: ADDRESS.to_owned(),
        server_challenge: [0xC4; 16],
        extensions: Default::default(),
    });
    let capabilities = DeviceCapabilities::from_der(&[0x30, 0x00]).unwrap();
    let device_info = DeviceInfo {
        tac: [0x35, 0x29, 0x06, 0x11],
        device_capabilities: capabilities,
        imei: None,
        extensions: Default::default(),
    };
    let ctx_params1 =
        CtxParams1::CtxParamsForCommonAuthentication(CtxParamsForCommonAuthentication {
            matching_id: None,
            device_info,
            extensions: Default::default(),
        });
    let request = AuthenticateServerRequest {
        server_signature1: signature(&PKI.smdp_auth.key, &[server_signed1.bytes()]),
        server_signed1,
        euicc_ci_pk_id_to_be_used: ci_key_id(&PKI),
        server_certificate: wire(&PKI.smdp_auth.certificate),
        ctx_params1,
        other_certs_in_chain: None,
        extensions: Default::default(),
    };
    match try_ask(bench, &request)? {
        AuthenticateServerResponse::AuthenticateResponseOk(response) => Some(response),
        _ => None,
    }
}

fn bound(transaction_id: &TransactionId, euicc_otpk: &OneTimePublicKey) -> Vec<Vec<u8>> {
    let one_time_key =
        EphemeralKey::generate(PKI.smdp_pb.key.public_key_curve(), &mut rng(77)).unwrap();
    let shared = one_time_key.agree(euicc_otpk).unwrap();
    let keys = BspKeys::derive(&shared, b"host", eid().octets()).unwrap();
    let segments = bind(
        &keys,
        &[0xBF, 0x24, 0x00],
        &metadata().to_der(),
        Some(&BspKeys::generate(&mut rng(78))),
        &package(),
    )
    .unwrap();
    let mut initialise = InitialiseSecureChannelRequest {
        remote_op_id: RemoteOpId::InstallBoundProfilePackage,
        transaction_id: transaction_id.clone(),
        control_ref_template: ControlRefTemplate {
            key_type: [0x88],
            key_len: [0x10],
            host_id: OctetTo16::new(b"host").unwrap(),
            extensions: Default::default(),
        },
        smdp_otpk: OneTimePublicKey(one_time_key.public_point().into()),
        smdp_sign: Signature(vec![0; 64].into()),
        extensions: Default::default(),
    };
    initialise.smdp_sign = signature(&PKI.smdp_pb.key, &[&initialise.signed_octets(euicc_otpk)]);
    let initialise = initialise.to_der();

    let first = tlv(0xA0, &segments.first_sequence_of_87.concat());
    let metadata = tlv(0xA1, &segments.sequence_of_88.concat());
    let second = tlv(0xA2, &segments.second_sequence_of_87.concat());
    let profile = tlv(0xA3, &segments.sequence_of_86.concat());
    let whole = tlv(
        0xBF36,
        &[
            initialise.clone(),
            first.clone(),
            metadata.clone(),
            second.clone(),
            profile.clone(),
        ]
        .concat(),
    );
    let behind = first.len() + metadata.len() + second.len() + profile.len();
    let head =
        |tlv: &[u8], segments: &[Vec<u8>]| tlv[..tlv.len() - segments.concat().len()].to_vec();
    let mut commands = vec![whole[..whole.len() - behind].to_vec(), first];
    commands.push(head(&metadata, &segments.sequence_of_88));
    commands.extend(segments.sequence_of_88);
    commands.push(second);
    commands.push(head(&profile, &segments.sequence_of_86));
    commands.extend(segments.sequence_of_86);
    commands
}

fn tlv(tag: u32, content: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.tlv(Tag::new(tag), |writer| writer.raw(content));
    writer.into_bytes()
}

/// A whole download; gives the result.
pub(crate) fn download(bench: &mut Bench) -> ProfileInstallationResult {
    let commands = prepare(bench);
    let (last, before) = commands.split_last().unwrap();
    for command in before {
        assert!(
            bench.es10(command).unwrap().is_empty(),
            "{:02X?}",
            &command[..4.min(command.len())]
        );
    }
    ProfileInstallationResult::from_der(&bench.es10(last).unwrap()).unwrap()
}

trait CurveOf {
    fn public_key_curve(&self) -> pki::Curve;
}

impl CurveOf for pki::PrivateKey {
    fn public_key_curve(&self) -> pki::Curve {
        pki::Signer::public_key(self).curve()
    }
}
