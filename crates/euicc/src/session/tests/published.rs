//! Sessions that others published.

use pki::{PublicKey, SignError, Signer};
use rsp::der::{Limits, Reader};
use rsp::sgp22::{BoundProfilePackage, EuiccSigned1};

use super::super::authentication::is_signed;
use super::super::bpp::Receiver;
use super::super::result::Transaction;
use super::*;

const SESSION: &str = "vectors/es9_session_synthetic";

fn session_file(name: &str) -> Vec<u8> {
    hex_data(&format!("{SESSION}/{name}.hex"))
}

fn authenticate_response() -> AuthenticateResponseOk {
    match AuthenticateServerResponse::from_der(&session_file("auth_server_response")).unwrap() {
        AuthenticateServerResponse::AuthenticateResponseOk(response) => response,
        other => panic!("{other:?}"),
    }
}

pub(super) fn euicc_signed1() -> EuiccSigned1 {
    authenticate_response().euicc_signed1.into_value()
}

fn prepare_response() -> PrepareDownloadResponseOk {
    ready(PrepareDownloadResponse::from_der(&session_file("prepare_download_response")).unwrap())
}

fn bound_package() -> BoundProfilePackage {
    BoundProfilePackage::from_der(&session_file("bound_profile_package")).unwrap()
}

/// The members of a published answer that a request of ES10b takes over: everything from `first` on.
fn members(answer: &[u8]) -> Vec<Vec<u8>> {
    let limits = Limits::default();
    let mut reader = Reader::new(answer, &limits)
        .unwrap()
        .expect_any()
        .unwrap()
        .open()
        .unwrap();
    let mut members = Vec::new();
    while let Some(member) = reader.next().unwrap() {
        members.push(member.whole().to_vec());
    }
    members
}

/// SK.EUICC that signs what the published eUICC signed exactly as that one did.
struct Replaying {
    key: PrivateKey,
    published: Vec<[u8; 64]>,
}

impl Signer for Replaying {
    fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<pki::Signature, SignError> {
        let published = self
            .published
            .iter()
            .map(|plain| pki::Signature::from_bytes(*plain));
        match published
            .into_iter()
            .find(|signature| self.public_key().verify(message, signature).is_ok())
        {
            Some(signature) => Ok(signature),
            None => self.key.sign(message),
        }
    }
}

/// Gives the published challenge first.
struct Scripted {
    script: Vec<u8>,
    rest: ChaCha20Rng,
}

impl rand_core::TryRng for Scripted {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        self.rest.try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        self.rest.try_next_u64()
    }

    fn try_fill_bytes(&mut self, octets: &mut [u8]) -> Result<(), Self::Error> {
        if self.script.len() == octets.len() {
            octets.copy_from_slice(&std::mem::take(&mut self.script));
            return Ok(());
        }
        self.rest.try_fill_bytes(octets)
    }
}

impl rand_core::TryCryptoRng for Scripted {}

fn published_host() -> TestHost {
    let mut host = TestHost::new();
    host.info2 = euicc_signed1().euicc_info2;
    let authenticated = authenticate_response();
    let plain = |signature: &Signature| <[u8; 64]>::try_from(&***signature).unwrap();
    let identity = Identity::new(
        Arc::new(Replaying {
            key: key("variant-o/eUICC/SK_EUICC_ECDSA_NIST"),
            published: vec![plain(&authenticated.euicc_signature1)],
        }),
        authenticated.euicc_certificate,
        authenticated.eum_certificate,
        &[],
    );
    host.identities.insert(ci_key_id("NIST"), identity);
    host
}

#[test]
fn the_published_session_is_answered_as_published_up_to_the_one_time_key() {
    let mut host = published_host();
    let mut session = Session::new();
    let mut rng = Scripted {
        script: session_file("euicc_challenge"),
        rest: rng(3),
    };
    assert_eq!(
        session.new_challenge(&mut host, &mut rng).to_vec(),
        session_file("euicc_challenge")
    );

    // transactionId, serverSigned1, serverSignature1, euiccCiPKIdToBeUsed, serverCertificate
    let from_server = members(&session_file("initiate_response"));
    let mut content = from_server[1..].concat();
    content.extend(authenticate_response().euicc_signed1.ctx_params1.to_der());
    let request = [tag_and_length(&[0xBF, 0x38], content.len()), content].concat();
    let response = session.authenticate_server(&mut host, &request).unwrap();
    assert_eq!(
        hex::encode(response.to_der()),
        hex::encode(session_file("auth_server_response"))
    );

    // BF3B{A0{transactionId, BF25, smdpSigned2, smdpSignature2, smdpCertificate}}
    let ok = members(&session_file("authenticate_response")).remove(0);
    let from_server = members(&ok);
    let content = from_server[2..].concat();
    let request = [tag_and_length(&[0xBF, 0x21], content.len()), content].concat();
    let response = ready(
        session
            .prepare_download(&mut host, &mut rng, &request)
            .unwrap(),
    );
    let published = prepare_response();
    assert_eq!(
        response.euicc_signed2.transaction_id,
        published.euicc_signed2.transaction_id
    );
    assert_eq!(
        response.euicc_signed2.hash_cc,
        published.euicc_signed2.hash_cc
    );

    // The package is bound to the published one-time key, and ours is another.
    let bound = bound_package().initialise_secure_channel_request;
    let smdp = Smdp::new("NIST");
    let pb = smdp.pb.0.public_key().unwrap();
    let is_bound_to =
        |otpk: &OneTimePublicKey| is_signed(pb, &[&bound.signed_octets(otpk)], &bound.smdp_sign);
    assert!(is_bound_to(&published.euicc_signed2.euicc_otpk));
    assert!(!is_bound_to(&response.euicc_signed2.euicc_otpk));
}

fn transaction(host: &TestHost, id: &TransactionId) -> Transaction {
    Transaction {
        id: id.clone(),
        smdp_oid: oid("2.999.10"),
        server_address: ADDRESS.to_owned(),
        ci_key_id: KeyIdentifier(ci_key_id("NIST").into()),
        identity: host.identity(&ci_key_id("NIST")).unwrap(),
    }
}

/// A card whose channel is open with these keys.
fn card_with(keys: &BspKeys, id: &TransactionId, remaining: usize) -> Card {
    let mut card = Card::new();
    let receiver = Receiver::with_keys(transaction(&card.host, id), keys, remaining);
    card.session.state = super::super::State::Receiving(Box::new(receiver));
    card
}

fn octets_of(commands: &[Vec<u8>]) -> usize {
    commands.iter().map(Vec::len).sum()
}

#[test]
fn the_published_bound_package_opens_with_the_published_one_time_key() {
    // The secret half of the SM-DP+ is published, so the keys follow without that of the eUICC.
    let package = bound_package();
    let otsk_dp = <[u8; 32]>::try_from(session_file("otsk_dp")).unwrap();
    let otsk_dp = EphemeralKey::from_scalar(pki::Curve::P256, &otsk_dp).unwrap();
    let request = &package.initialise_secure_channel_request;
    assert_eq!(otsk_dp.public_point(), &**request.smdp_otpk);
    let shared = otsk_dp
        .agree(&prepare_response().euicc_signed2.euicc_otpk)
        .unwrap();
    let eid = TestHost::new().eid().0;
    let keys =
        BspKeys::derive(&shared, request.control_ref_template.host_id.octets(), &eid).unwrap();

    let bound = Bound {
        initialise: request.to_der(),
        first_87: package
            .first_sequence_of87
            .iter()
            .map(Element::to_der)
            .collect(),
        seq_88: package.sequence_of88.iter().map(Element::to_der).collect(),
        second_87: Vec::new(),
        seq_86: package.sequence_of86.iter().map(Element::to_der).collect(),
    };
    let commands = bound.commands();
    assert_eq!(
        commands.concat(),
        session_file("bound_profile_package"),
        "the commands are the package in pieces"
    );
    let commands = &commands[1..];
    let mut card = card_with(&keys, &request.transaction_id, octets_of(commands));
    // Every MAC is right; the payload is the fixture text of its authors and no profile.
    let reason = ErrorReason::InstallFailedDueToPeProcessingError;
    let (index, result) = card.refuses(commands, BppCommandId::LoadProfileElements, reason);
    assert_eq!(index, commands.len() - 1);
    let metadata = StoreMetadataRequest::from_der(&session_file("store_metadata")).unwrap();
    assert_eq!(
        result
            .profile_installation_result_data
            .notification_metadata
            .iccid,
        Some(metadata.iccid)
    );
}

#[test]
fn a_published_package_under_replaced_keys_opens_to_its_profile() {
    let vector: serde_json::Value =
        serde_json::from_slice(&data("vectors/bpp_with_keys_pysim.json")).unwrap();
    let octets = |name: &str| hex::decode(vector[name].as_str().unwrap()).unwrap();
    let segments = |name: &str| -> Vec<Vec<u8>> {
        let list = vector[name].as_array().unwrap();
        list.iter()
            .map(|segment| hex::decode(segment.as_str().unwrap()).unwrap())
            .collect()
    };
    let sixteen = |name: &str| <[u8; 16]>::try_from(octets(name)).unwrap();
    let keys = BspKeys {
        s_enc: sixteen("s_enc"),
        s_mac: sixteen("s_mac"),
        initial_mac_chaining_value: sixteen("initial_mac_chaining"),
    };
    let request =
        InitialiseSecureChannelRequest::from_der(&octets("initialise_secure_channel")).unwrap();
    let bound = |second_87: Vec<Vec<u8>>| Bound {
        initialise: request.to_der(),
        first_87: segments("segments_87_first"),
        seq_88: segments("segments_88"),
        second_87,
        seq_86: segments("segments_86"),
    };
    // The publication leaves ReplaceSessionKeys out; made here, it follows the published segments in their chain.
    let replacement = BspKeys {
        s_enc: sixteen("ppk_enc"),
        s_mac: sixteen("ppk_mac"),
        initial_mac_chaining_value: sixteen("ppk_initial_mac_chaining"),
    };
    let mut protector = bsp::Protector::new(&keys);
    let mut protect = |tag, data: &[u8]| protector.protect(tag, data).unwrap();
    assert_eq!(
        vec![protect(
            bsp::SegmentTag::Command87,
            &octets("configure_isdp_plain")
        )],
        segments("segments_87_first")
    );
    assert_eq!(
        vec![protect(
            bsp::SegmentTag::Metadata88,
            &octets("store_metadata_plain")
        )],
        segments("segments_88")
    );
    let replace = protect(
        bsp::SegmentTag::Command87,
        &replacement.replace_session_keys_request(),
    );
    let commands = bound(vec![replace]).commands().split_off(1);
    let mut card = card_with(&keys, &request.transaction_id, octets_of(&commands));
    // Its metadata writes the ICCID without swapping the nibbles, so it is not that of the profile header.
    let reason = ErrorReason::InstallFailedDueToDataMismatch;
    let (index, _) = card.refuses(&commands, BppCommandId::LoadProfileElements, reason);
    assert_eq!(index, commands.len() - 1);
}

#[test]
fn the_published_package_of_another_card_is_not_for_this_one() {
    let package = BoundProfilePackage::from_der(&hex_data("vectors/bpp_onomondo.hex")).unwrap();
    let mut card = Card::new();
    let smdp = Smdp {
        transaction_id: package
            .initialise_secure_channel_request
            .transaction_id
            .clone(),
        ..Smdp::new("NIST")
    };
    card.prepared(&smdp);
    let bound = Bound {
        initialise: package.initialise_secure_channel_request.to_der(),
        first_87: package
            .first_sequence_of87
            .iter()
            .map(Element::to_der)
            .collect(),
        seq_88: package.sequence_of88.iter().map(Element::to_der).collect(),
        second_87: package
            .second_sequence_of87
            .iter()
            .flatten()
            .map(Element::to_der)
            .collect(),
        seq_86: package.sequence_of86.iter().map(Element::to_der).collect(),
    };
    assert_eq!(
        bound.commands().concat(),
        hex_data("vectors/bpp_onomondo.hex")
    );
    card.refuses(
        &bound.commands(),
        BppCommandId::InitialiseSecureChannel,
        ErrorReason::InvalidSignature,
    );
}
