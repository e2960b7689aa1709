//! An eUICC in memory and a small SM-DP+, both with the SGP.26 test certificates, and the session tests on them.

mod authentication;
mod installation;
mod metadata;
mod preparation;
mod published;
mod sub_cas;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use bsp::{BspKeys, bind};
use pki::issue::{CertificateTemplate, Issuer};
use pki::{Certificate as X509, ChainPolicy, EphemeralKey, PrivateKey, Signer as _, TrustAnchors};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use rsp::der::{Element, Encoded, Oid};
use rsp::ids::{EidOctets, Iccid, TransactionId};
use rsp::saip::{EuiccCapabilities, ProfilePackage};
use rsp::sgp22::{
    AuthenticateResponseOk, AuthenticateServerRequest, AuthenticateServerResponse, BppCommandId,
    CcRequiredFlag, Certificate, ConfigureIsdpRequest, ControlRefTemplate, DpProprietaryData,
    ErrorReason, EuiccInfo2, FinalResult, HashCc, InitialiseSecureChannelRequest, KeyIdentifier,
    NotificationConfigurationInformation, NotificationEvent, OctetTo16, OneTimePublicKey,
    PrepareDownloadRequest, PrepareDownloadResponse, PrepareDownloadResponseOk,
    ProfileInstallationResult, ProfilePolicyAuthorisationRule, RemoteOpId, RspCapability,
    ServerSigned1, Signature, SmdpSigned2, StoreMetadataRequest,
};
use zeroize::Zeroizing;

use super::{BppOutcome, Host, Identity, InstallError, NewProfile, RetainedKey, Session};

pub(super) const EID: &str = "89049032123451234512345678901235";
pub(super) const ADDRESS: &str = "smdpplus.example.com";

/// The file suffix of the SGP.26 certificates on P-256 and on brainpoolP256r1.
pub(super) const CURVES: [&str; 2] = ["NIST", "BRP"];

pub(super) fn data(path: &str) -> Vec<u8> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data"));
    std::fs::read(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(super) fn hex_data(path: &str) -> Vec<u8> {
    hex::decode(String::from_utf8(data(path)).unwrap().trim()).unwrap()
}

pub(super) fn certificate(path: &str) -> X509 {
    X509::from_der(&data(&format!("sgp26/{path}.der"))).unwrap()
}

pub(super) fn key(path: &str) -> PrivateKey {
    PrivateKey::from_pem(std::str::from_utf8(&data(&format!("sgp26/{path}.pem"))).unwrap()).unwrap()
}

pub(super) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

pub(super) fn oid(dotted: &str) -> Oid {
    Oid::from_dotted(dotted).unwrap()
}

pub(super) fn wire(certificate: &X509) -> Certificate {
    Certificate::from_der_bytes(certificate.der().to_vec()).unwrap()
}

pub(super) fn sign(key: &PrivateKey, parts: &[&[u8]]) -> Signature {
    Signature(key.sign_parts(parts).unwrap().as_bytes().as_slice().into())
}

pub(super) fn ci(curve: &str) -> X509 {
    certificate(&format!(
        "variant-o/CertificateIssuer/CERT_CI_ECDSA_{curve}"
    ))
}

pub(super) fn ci_key_id(curve: &str) -> Vec<u8> {
    ci(curve).subject_key_identifier().unwrap().to_vec()
}

/// Issues a certificate under an SGP.26 CI.
pub(super) fn issue(template: &CertificateTemplate, key: &PrivateKey, curve: &str) -> X509 {
    let signer = self::key(&format!("variant-o/CertificateIssuer/SK_CI_ECDSA_{curve}"));
    template
        .issue(
            key.public_key(),
            Issuer {
                certificate: &ci(curve),
                signer: &signer,
            },
        )
        .unwrap()
}

/// The eUICC around the session, without non-volatile memory.
pub(super) struct TestHost {
    pub(super) identities: BTreeMap<Vec<u8>, Identity>,
    pub(super) anchors: TrustAnchors,
    pub(super) info2: EuiccInfo2,
    pub(super) rat: Vec<ProfilePolicyAuthorisationRule>,
    pub(super) existing: Vec<Iccid>,
    pub(super) has_operational_profile: bool,
    pub(super) free_octets: usize,
    pub(super) has_room: bool,
    pub(super) install_error: Option<InstallError>,
    pub(super) last_number: i64,
    pub(super) installed: Vec<NewProfile>,
    pub(super) results: Vec<ProfileInstallationResult>,
    pub(super) retained: Option<RetainedKey>,
}

impl TestHost {
    pub(super) fn new() -> Self {
        let mut anchors = TrustAnchors::new();
        let mut identities = BTreeMap::new();
        for curve in CURVES {
            anchors.add_ci(ci(curve)).unwrap();
            let identity = Identity::new(
                Arc::new(key(&format!("variant-o/eUICC/SK_EUICC_ECDSA_{curve}"))),
                wire(&certificate(&format!(
                    "variant-o/eUICC/CERT_EUICC_ECDSA_{curve}"
                ))),
                wire(&certificate(&format!(
                    "variant-o/EUM/CERT_EUM_ECDSA_{curve}"
                ))),
                &[],
            );
            identities.insert(ci_key_id(curve), identity);
        }
        let mut info2 = published::euicc_signed1().euicc_info2;
        info2.rsp_capability = RspCapability::of([RspCapability::TEST_PROFILE_SUPPORT]);
        Self {
            identities,
            anchors,
            info2,
            rat: Vec::new(),
            existing: Vec::new(),
            has_operational_profile: false,
            free_octets: 400_000,
            has_room: true,
            install_error: None,
            last_number: 40,
            installed: Vec::new(),
            results: Vec::new(),
            retained: None,
        }
    }
}

impl Host for TestHost {
    fn eid(&self) -> EidOctets {
        EID.parse::<rsp::ids::Eid>().unwrap().to_field()
    }

    fn identity(&self, ci_key_id: &[u8]) -> Option<Identity> {
        self.identities.get(ci_key_id).cloned()
    }

    fn trust_anchors(&self) -> &TrustAnchors {
        &self.anchors
    }

    fn euicc_info2(&self) -> EuiccInfo2 {
        self.info2.clone()
    }

    fn capabilities(&self) -> EuiccCapabilities {
        EuiccCapabilities::telecom(usize::MAX)
    }

    fn rat(&self) -> Vec<ProfilePolicyAuthorisationRule> {
        self.rat.clone()
    }

    fn iccid_exists(&self, iccid: &Iccid) -> bool {
        self.existing.contains(iccid)
    }

    fn has_operational_profile(&self) -> bool {
        self.has_operational_profile
    }

    fn free_memory_octets(&self) -> usize {
        self.free_octets
    }

    fn allocate_isdp_aid(&mut self) -> Option<OctetTo16> {
        let aid = hex_literal::hex!("A0000005591010FFFFFFFF8900001100");
        self.has_room.then(|| OctetTo16::new(&aid).unwrap())
    }

    fn next_sequence_number(&mut self) -> i64 {
        self.last_number += 1;
        self.last_number
    }

    fn install(&mut self, profile: NewProfile) -> Result<(), InstallError> {
        if let Some(error) = self.install_error {
            return Err(error);
        }
        self.retained = None;
        self.existing.push(profile.metadata.iccid);
        self.installed.push(profile);
        Ok(())
    }

    fn store_result(&mut self, result: &ProfileInstallationResult) -> Result<(), InstallError> {
        self.retained = None;
        self.results.push(result.clone());
        Ok(())
    }

    fn retained_key(&self) -> Option<RetainedKey> {
        self.retained.clone()
    }

    fn retain_key(&mut self, key: Option<RetainedKey>) -> Result<(), InstallError> {
        self.retained = key;
        Ok(())
    }
}

/// A server under an SGP.26 CI.
#[derive(Clone)]
pub(super) struct Smdp {
    pub(super) ci_key_id: Vec<u8>,
    pub(super) auth: (X509, PrivateKey),
    pub(super) pb: (X509, PrivateKey),
    pub(super) transaction_id: TransactionId,
}

impl Smdp {
    pub(super) fn new(curve: &str) -> Self {
        Self::named(curve, "SM_DP")
    }

    /// `SM_DP` or `SM_DP2`, which have different OIDs.
    pub(super) fn named(curve: &str, name: &str) -> Self {
        let credential = |role: &str| {
            let file =
                |kind: &str| format!("variant-o/DP{role}/{kind}_S_{name}{role}_ECDSA_{curve}");
            (certificate(&file("CERT")), key(&file("SK")))
        };
        Self {
            ci_key_id: ci_key_id(curve),
            auth: credential("auth"),
            pb: credential("pb"),
            transaction_id: TransactionId::new(&[0x5A; 16]).unwrap(),
        }
    }

    pub(super) fn oid(&self) -> Oid {
        self.auth.0.registered_id().unwrap().clone()
    }

    pub(super) fn authenticate(&self, challenge: [u8; 16]) -> AuthenticateServerRequest {
        let server_signed1 = Encoded::new(ServerSigned1 {
            transaction_id: self.transaction_id.clone(),
            euicc_challenge: challenge,
            server_address: ADDRESS.to_owned(),
            server_challenge: [0xC4; 16],
            extensions: Default::default(),
        });
        AuthenticateServerRequest {
            server_signature1: sign(&self.auth.1, &[server_signed1.bytes()]),
            server_signed1,
            euicc_ci_pk_id_to_be_used: KeyIdentifier(self.ci_key_id.clone().into()),
            server_certificate: wire(&self.auth.0),
            ctx_params1: published::euicc_signed1().ctx_params1,
            other_certs_in_chain: None,
            extensions: Default::default(),
        }
    }

    pub(super) fn prepare(&self, response: &AuthenticateResponseOk) -> PrepareDownloadRequest {
        self.prepare_with(response, None)
    }

    pub(super) fn prepare_with(
        &self,
        response: &AuthenticateResponseOk,
        bpp_euicc_otpk: Option<OneTimePublicKey>,
    ) -> PrepareDownloadRequest {
        let smdp_signed2 = Encoded::new(SmdpSigned2 {
            transaction_id: self.transaction_id.clone(),
            cc_required_flag: CcRequiredFlag(true),
            bpp_euicc_otpk,
            extensions: Default::default(),
        });
        PrepareDownloadRequest {
            smdp_signature2: sign(
                &self.pb.1,
                &[smdp_signed2.bytes(), &response.euicc_signature1.to_der()],
            ),
            smdp_signed2,
            hash_cc: Some(HashCc([0xCC; 32])),
            smdp_certificate: wire(&self.pb.0),
            extensions: Default::default(),
        }
    }

    pub(super) fn initialise(
        &self,
        one_time_key: &EphemeralKey,
        euicc_otpk: &OneTimePublicKey,
    ) -> InitialiseSecureChannelRequest {
        let mut request = InitialiseSecureChannelRequest {
            remote_op_id: RemoteOpId::InstallBoundProfilePackage,
            transaction_id: self.transaction_id.clone(),
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
        self.resign(&mut request, euicc_otpk);
        request
    }

    pub(super) fn resign(
        &self,
        request: &mut InitialiseSecureChannelRequest,
        euicc_otpk: &OneTimePublicKey,
    ) {
        request.smdp_sign = sign(&self.pb.1, &[&request.signed_octets(euicc_otpk)]);
    }

    /// Binds a package to the one-time key that the eUICC answered, for the eUICC with this EID.
    pub(super) fn bind(
        &self,
        order: &Order,
        prepared: &PrepareDownloadResponseOk,
        eid: [u8; 16],
    ) -> Bound {
        let euicc_otpk = &prepared.euicc_signed2.euicc_otpk;
        let one_time_key =
            EphemeralKey::generate(self.pb.1.public_key().curve(), &mut rng(77)).unwrap();
        let shared = one_time_key.agree(euicc_otpk).unwrap();
        let keys = BspKeys::derive(&shared, b"host", &eid).unwrap();
        let profile_keys = order.replaces_keys.then(|| BspKeys::generate(&mut rng(78)));
        let segments = bind(
            &keys,
            &order.configure_isdp,
            &order.metadata,
            profile_keys.as_ref(),
            &order.package,
        )
        .unwrap();
        Bound {
            initialise: self.initialise(&one_time_key, euicc_otpk).to_der(),
            first_87: segments.first_sequence_of_87,
            seq_88: segments.sequence_of_88,
            second_87: segments.second_sequence_of_87,
            seq_86: segments.sequence_of_86,
        }
    }
}

/// What an SM-DP+ is to deliver.
#[derive(Clone)]
pub(super) struct Order {
    pub(super) configure_isdp: Vec<u8>,
    pub(super) metadata: Vec<u8>,
    pub(super) package: Vec<u8>,
    pub(super) replaces_keys: bool,
}

impl Order {
    /// A TS.48 profile under its own ICCID.
    pub(super) fn new() -> Self {
        let package = data("ts48/ts48-v7-bertlv-suci.der");
        let configure_isdp = ConfigureIsdpRequest {
            dp_proprietary_data: Some(DpProprietaryData {
                dp_oid: oid("2.999.10"),
                extensions: Default::default(),
            }),
            extensions: Default::default(),
        };
        Self {
            configure_isdp: configure_isdp.to_der(),
            metadata: metadata(iccid_of(&package)).to_der(),
            package,
            replaces_keys: true,
        }
    }

    pub(super) fn with_metadata(alter: impl FnOnce(&mut StoreMetadataRequest)) -> Self {
        let mut order = Self::new();
        let mut metadata = metadata(iccid_of(&order.package));
        alter(&mut metadata);
        order.metadata = metadata.to_der();
        order
    }
}

pub(super) fn iccid_of(package: &[u8]) -> Iccid {
    ProfilePackage::parse(package)
        .unwrap()
        .header()
        .unwrap()
        .iccid()
        .unwrap()
}

pub(super) fn metadata(iccid: Iccid) -> StoreMetadataRequest {
    let tell = |events: &[usize], address: &str| NotificationConfigurationInformation {
        profile_management_operation: NotificationEvent::of(events.iter().copied()),
        notification_address: address.to_owned(),
        extensions: Default::default(),
    };
    StoreMetadataRequest {
        iccid,
        service_provider_name: "Operator".to_owned(),
        profile_name: "Profile".to_owned(),
        icon_type: None,
        icon: None,
        profile_class: None,
        notification_configuration_info: Some(vec![
            tell(
                &[NotificationEvent::INSTALL, NotificationEvent::DELETE],
                "first.example.com",
            ),
            tell(&[NotificationEvent::ENABLE], "second.example.com"),
            tell(&[NotificationEvent::INSTALL], "third.example.com"),
        ]),
        profile_owner: None,
        profile_policy_rules: None,
        service_specific_data_stored_in_euicc: None,
        service_specific_data_not_stored_in_euicc: None,
        ecall_indication: None,
        fallback_allowed: None,
        extensions: Default::default(),
    }
}

/// A bound profile package in its parts.
#[derive(Clone)]
pub(super) struct Bound {
    pub(super) initialise: Vec<u8>,
    pub(super) first_87: Vec<Vec<u8>>,
    pub(super) seq_88: Vec<Vec<u8>>,
    pub(super) second_87: Vec<Vec<u8>>,
    pub(super) seq_86: Vec<Vec<u8>>,
}

impl Bound {
    /// The ES10 commands that an LPA or IPA makes of it (SGP.22 v2.5 section 2.5.5).
    pub(super) fn commands(&self) -> Vec<Vec<u8>> {
        let list = |tag: u8, segments: &[Vec<u8>]| {
            let length = segments.iter().map(Vec::len).sum();
            (tag_and_length(&[tag], length), segments.concat())
        };
        let a0 = list(0xA0, &self.first_87);
        let a1 = list(0xA1, &self.seq_88);
        let a2 = list(0xA2, &self.second_87);
        let a3 = list(0xA3, &self.seq_86);
        let octets = |list: &(Vec<u8>, Vec<u8>)| list.0.len() + list.1.len();
        let has_a2 = !self.second_87.is_empty();
        let total = self.initialise.len()
            + octets(&a0)
            + octets(&a1)
            + if has_a2 { octets(&a2) } else { 0 }
            + octets(&a3);
        let mut commands = vec![
            [
                tag_and_length(&[0xBF, 0x36], total),
                self.initialise.clone(),
            ]
            .concat(),
        ];
        commands.push([a0.0, a0.1].concat());
        commands.push(a1.0);
        commands.extend(self.seq_88.iter().cloned());
        if has_a2 {
            commands.push([a2.0, a2.1].concat());
        }
        commands.push(a3.0);
        commands.extend(self.seq_86.iter().cloned());
        commands
    }
}

pub(super) fn tag_and_length(tag: &[u8], length: usize) -> Vec<u8> {
    let mut octets = tag.to_vec();
    match length {
        0..=0x7F => octets.push(u8::try_from(length).unwrap()),
        0x80..=0xFF => octets.extend([0x81, u8::try_from(length).unwrap()]),
        0x100..=0xFFFF => {
            octets.push(0x82);
            octets.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        _ => {
            octets.push(0x83);
            octets.extend(&u32::try_from(length).unwrap().to_be_bytes()[1..]);
        }
    }
    octets
}

/// One eUICC with its session.
pub(super) struct Card {
    pub(super) host: TestHost,
    pub(super) session: Session,
    pub(super) rng: ChaCha20Rng,
}

impl Card {
    pub(super) fn new() -> Self {
        Self {
            host: TestHost::new(),
            session: Session::new(),
            rng: rng(1),
        }
    }

    pub(super) fn challenge(&mut self) -> [u8; 16] {
        self.session.new_challenge(&mut self.host, &mut self.rng)
    }

    pub(super) fn authenticate(
        &mut self,
        request: &AuthenticateServerRequest,
    ) -> AuthenticateServerResponse {
        self.session
            .authenticate_server(&mut self.host, &request.to_der())
            .unwrap()
    }

    pub(super) fn prepare(&mut self, request: &PrepareDownloadRequest) -> PrepareDownloadResponse {
        self.session
            .prepare_download(&mut self.host, &mut self.rng, &request.to_der())
            .unwrap()
    }

    pub(super) fn authenticated(&mut self, smdp: &Smdp) -> AuthenticateResponseOk {
        let challenge = self.challenge();
        match self.authenticate(&smdp.authenticate(challenge)) {
            AuthenticateServerResponse::AuthenticateResponseOk(response) => response,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn prepared(&mut self, smdp: &Smdp) -> PrepareDownloadResponseOk {
        let authenticated = self.authenticated(smdp);
        ready(self.prepare(&smdp.prepare(&authenticated)))
    }

    /// A session up to the bound package.
    pub(super) fn bound(&mut self, smdp: &Smdp, order: &Order) -> Bound {
        let prepared = self.prepared(smdp);
        smdp.bind(order, &prepared, self.host.eid().0)
    }

    /// Gives commands until a result comes, and checks that it comes with the last one.
    pub(super) fn load(&mut self, commands: &[Vec<u8>]) -> ProfileInstallationResult {
        let (last, before) = commands.split_last().unwrap();
        for (index, command) in before.iter().enumerate() {
            assert_continues(self.session.load_bpp(&mut self.host, command), index);
        }
        finished(self.session.load_bpp(&mut self.host, last))
    }

    /// Gives commands until one is refused, and checks what the refusal leaves: this result, kept and signed, no profile, no
    /// session, no key. Gives the index of the command.
    pub(super) fn refuses(
        &mut self,
        commands: &[Vec<u8>],
        command_id: BppCommandId,
        reason: ErrorReason,
    ) -> (usize, ProfileInstallationResult) {
        for (index, command) in commands.iter().enumerate() {
            match self.session.load_bpp(&mut self.host, command) {
                BppOutcome::Continue => {}
                BppOutcome::Finished(result) => {
                    let FinalResult::ErrorResult(error) =
                        &result.profile_installation_result_data.final_result
                    else {
                        panic!("installed at command {index}");
                    };
                    assert_eq!(
                        (error.bpp_command_id, error.error_reason),
                        (command_id, reason),
                        "at command {index}"
                    );
                    assert_eq!(self.host.results.last(), Some(&*result));
                    assert!(self.host.installed.is_empty());
                    assert!(self.host.retained.is_none());
                    assert!(self.session.last_downloaded().is_none());
                    let next = self.session.load_bpp(&mut self.host, &commands[0]);
                    assert!(matches!(next, BppOutcome::NoSession), "{next:?}");
                    return (index, *result);
                }
                other => panic!("{other:?} at command {index}"),
            }
        }
        panic!("no command was refused")
    }
}

pub(super) fn ready(response: PrepareDownloadResponse) -> PrepareDownloadResponseOk {
    match response {
        PrepareDownloadResponse::DownloadResponseOk(response) => response,
        other => panic!("{other:?}"),
    }
}

pub(super) fn finished(outcome: BppOutcome) -> ProfileInstallationResult {
    match outcome {
        BppOutcome::Finished(result) => *result,
        other => panic!("{other:?}"),
    }
}

pub(super) fn assert_continues(outcome: BppOutcome, index: impl Debug) {
    assert!(
        matches!(outcome, BppOutcome::Continue),
        "command {index:?}: {outcome:?}"
    );
}

/// Checks a signature of the eUICC with the key of the certificate that it shows.
pub(super) fn assert_signed_by(
    euicc: &Certificate,
    eum: &Certificate,
    parts: &[&[u8]],
    signature: &Signature,
) {
    let mut anchors = TrustAnchors::new();
    for curve in CURVES {
        anchors.add_ci(ci(curve)).unwrap();
    }
    let parse = |certificate: &Certificate| X509::from_der(certificate.as_der()).unwrap();
    let verified = anchors
        .verify_euicc_chain(&parse(euicc), &parse(eum), None, ChainPolicy::default())
        .unwrap();
    assert_eq!(verified.eid_digits, EID);
    let plain = <[u8; 64]>::try_from(&***signature).unwrap();
    verified
        .public_key
        .verify_parts(parts, &pki::Signature::from_bytes(plain))
        .unwrap();
}

/// Checks the signature of a result with the eUICC's key under this CI.
pub(super) fn assert_result_signed(
    host: &TestHost,
    smdp: &Smdp,
    result: &ProfileInstallationResult,
) {
    let identity = host.identity(&smdp.ci_key_id).unwrap();
    let data = &result.profile_installation_result_data;
    assert_signed_by(
        &identity.euicc_certificate,
        &identity.eum_certificate,
        &[data.bytes()],
        &result.euicc_sign_pir,
    );
}

pub(super) fn retained_of(key: &EphemeralKey, smdp: &Smdp) -> RetainedKey {
    RetainedKey {
        smdp_oid: smdp.oid(),
        key: Zeroizing::new(*key.to_bytes()),
    }
}
