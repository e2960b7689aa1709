//! An SM-DP+ (and SM-DS) that delivers one Profile, with deviations on demand.

use std::path::Path;
use std::rc::Rc;

use bsp::{BspKeys, bind};
use pki::issue::{Credential, TestPki, VariantPki};
use pki::{EphemeralKey, PrivateKey, Signer as _};
use rsp::binding::StatusCode;
use rsp::binding::es9plus::{Request, Response};
use rsp::der::{Element as _, Encoded, Limits, Octets, Reader, Tag, Writer};
use rsp::ids::{Eid, Iccid, TransactionId};
use rsp::saip::ProfilePackage;
use rsp::sgp22::{
    AuthenticateClientOk, AuthenticateClientOkEs11, AuthenticateResponseOk,
    AuthenticateServerResponse, BoundProfilePackage, CancelSessionResponse, CcRequiredFlag,
    Certificate, ConfigureIsdpRequest, ControlRefTemplate, CtxParams1, DpProprietaryData,
    EventEntries, GetBoundProfilePackageOk, InitialiseSecureChannelRequest,
    InitiateAuthenticationOkEs9, KeyIdentifier, NotificationConfigurationInformation,
    NotificationEvent, OctetTo16, OneTimePublicKey, OperatorId, PendingNotification, PprIds,
    PrepareDownloadResponse, RemoteOpId, ServerSigned1, Signature, SmdpSigned2,
    StoreMetadataRequest,
};

use super::{SMDP, SMDS, rng};

/// What is wrong with this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deviation {
    None,
    SignsAnotherAddress,
    SignsAnotherChallenge,
    WrongAuthenticationKey,
    OtherMetadataInPackage,
    PackageForAnotherTransaction,
    ForbiddenRule,
    WantsConfirmationCode,
    DamagedSegment,
    KeepsItsSubCas,
}

pub(crate) struct ScriptedSmdp {
    pki: Rc<TestPki>,
    eid: Eid,
    pub(crate) deviation: Deviation,
    /// Certificates that come through sub-CAs, instead of those of `pki`.
    pub(crate) variant: Option<VariantPki>,
    pub(crate) matching_ids: Vec<Option<String>>,
    pub(crate) notifications: Vec<PendingNotification>,
    pub(crate) cancelled: Vec<i64>,
    pub(crate) hashes_cc: Vec<Option<[u8; 32]>>,
    /// Events that the SM-DS holds.
    pub(crate) events: Vec<(String, String)>,
    sessions: u8,
    euicc: Option<AuthenticateResponseOk>,
}

/// ICCID of the Profile that the server delivers.
pub(crate) fn iccid_of_download() -> Iccid {
    ProfilePackage::parse(&package())
        .unwrap()
        .header()
        .unwrap()
        .iccid()
        .unwrap()
}

fn package() -> Vec<u8> {
    // The fuzz targets use this file too, from another folder.
    let data = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|folder| folder.join("tests/data"))
        .find(|data| data.is_dir())
        .unwrap();
    std::fs::read(data.join("ts48/ts48-v7-bertlv-suci.der")).unwrap()
}

/// Reason in the answer of CancelSession.
pub(crate) fn cancel_reason(response: &CancelSessionResponse) -> i64 {
    match response {
        CancelSessionResponse::CancelSessionResponseOk(ok) => {
            ok.euicc_cancel_session_signed.reason.number()
        }
        other => panic!("{other:?}"),
    }
}

impl ScriptedSmdp {
    pub(crate) fn new(pki: Rc<TestPki>, eid: Eid) -> Self {
        Self {
            pki,
            eid,
            deviation: Deviation::None,
            variant: None,
            matching_ids: Vec::new(),
            notifications: Vec::new(),
            cancelled: Vec::new(),
            hashes_cc: Vec::new(),
            events: Vec::new(),
            sessions: 0,
            euicc: None,
        }
    }

    fn auth(&self) -> &Credential {
        let of_variant = self.variant.as_ref().map(|variant| &variant.smdp_auth);
        of_variant.unwrap_or(&self.pki.smdp_auth)
    }

    fn pb(&self) -> &Credential {
        let of_variant = self.variant.as_ref().map(|variant| &variant.smdp_pb);
        of_variant.unwrap_or(&self.pki.smdp_pb)
    }

    fn other_certs_in_chain(&self) -> Option<Vec<Certificate>> {
        let variant = self.variant.as_ref()?;
        let is_kept = self.deviation == Deviation::KeepsItsSubCas;
        (!is_kept).then(|| variant.smdp_sub_cas().iter().map(wire).collect())
    }

    fn transaction_id(&self) -> TransactionId {
        TransactionId::new(&[self.sessions; 16]).unwrap()
    }

    pub(crate) fn handle(&mut self, request: Request, is_smds: bool) -> Response {
        match request {
            Request::InitiateAuthentication(request) => {
                self.sessions += 1;
                self.initiate(request.euicc_challenge, is_smds)
            }
            Request::AuthenticateClient(request) => {
                assert_eq!(request.transaction_id, self.transaction_id());
                let AuthenticateServerResponse::AuthenticateResponseOk(ok) =
                    request.authenticate_server_response
                else {
                    panic!("an eUICC that refuses must not be passed on");
                };
                let CtxParams1::CtxParamsForCommonAuthentication(context) =
                    &ok.euicc_signed1.ctx_params1
                else {
                    panic!("{ok:?}")
                };
                self.matching_ids.push(context.matching_id.clone());
                self.euicc = Some(ok);
                if is_smds {
                    self.list_events()
                } else {
                    self.offer()
                }
            }
            Request::GetBoundProfilePackage(request) => {
                let PrepareDownloadResponse::DownloadResponseOk(prepared) =
                    request.prepare_download_response
                else {
                    panic!("an eUICC that refuses must not be passed on");
                };
                self.hashes_cc
                    .push(prepared.euicc_signed2.hash_cc.as_ref().map(|hash| hash.0));
                let bound_profile_package = self.bind(&prepared.euicc_signed2.euicc_otpk);
                Response::GetBoundProfilePackage(Ok(GetBoundProfilePackageOk {
                    transaction_id: self.transaction_id(),
                    bound_profile_package,
                    extensions: Default::default(),
                }))
            }
            Request::CancelSession(request) => {
                self.cancelled
                    .push(cancel_reason(&request.cancel_session_response));
                Response::CancelSession(Ok(()))
            }
            Request::HandleNotification(request) => {
                self.notifications.push(request.pending_notification);
                Response::HandleNotification
            }
        }
    }

    fn initiate(&self, mut challenge: [u8; 16], is_smds: bool) -> Response {
        let mut address = if is_smds { SMDS } else { SMDP };
        let credential = if is_smds {
            &self.pki.smds_auth
        } else {
            self.auth()
        };
        let mut key = &credential.key;
        match self.deviation {
            Deviation::SignsAnotherAddress => address = "elsewhere.example.com",
            Deviation::SignsAnotherChallenge => challenge[0] ^= 1,
            Deviation::WrongAuthenticationKey => key = &self.pki.eim_signing.key,
            _ => {}
        }
        let server_signed1 = Encoded::new(ServerSigned1 {
            transaction_id: self.transaction_id(),
            euicc_challenge: challenge,
            server_address: address.to_owned(),
            server_challenge: [0xC4; 16],
            extensions: Default::default(),
        });
        let ci_key_id = self.pki.ci.certificate.subject_key_identifier().unwrap();
        Response::InitiateAuthentication(Ok(InitiateAuthenticationOkEs9 {
            transaction_id: self.transaction_id(),
            server_signature1: sign(key, &[server_signed1.bytes()]),
            server_signed1,
            euicc_ci_pk_id_to_be_used: KeyIdentifier(ci_key_id.into()),
            server_certificate: wire(&credential.certificate),
            other_certs_in_chain: self.other_certs_in_chain(),
            extensions: Default::default(),
        }))
    }

    fn list_events(&self) -> Response {
        let entry = |(event_id, address): &(String, String)| EventEntries {
            event_id: event_id.clone(),
            rsp_server_address: address.clone(),
            extensions: Default::default(),
        };
        Response::AuthenticateClientEs11(Ok(AuthenticateClientOkEs11 {
            transaction_id: self.transaction_id(),
            event_entries: self.events.iter().map(entry).collect(),
            extensions: Default::default(),
        }))
    }

    fn offer(&self) -> Response {
        if self.matching_ids.last() == Some(&Some("WRONG".to_owned())) {
            return Response::AuthenticateClient(Err(StatusCode::MATCHING_ID_REFUSED.into()));
        }
        let smdp_signed2 = Encoded::new(SmdpSigned2 {
            transaction_id: self.transaction_id(),
            cc_required_flag: CcRequiredFlag(self.deviation == Deviation::WantsConfirmationCode),
            bpp_euicc_otpk: None,
            extensions: Default::default(),
        });
        let euicc_signature1 = self.euicc.as_ref().unwrap().euicc_signature1.to_der();
        Response::AuthenticateClient(Ok(AuthenticateClientOk {
            transaction_id: self.transaction_id(),
            profile_meta_data: self.metadata(),
            smdp_signature2: sign(&self.pb().key, &[smdp_signed2.bytes(), &euicc_signature1]),
            smdp_signed2,
            smdp_certificate: wire(&self.pb().certificate),
            extensions: Default::default(),
        }))
    }

    fn metadata(&self) -> StoreMetadataRequest {
        let has_rule = self.deviation == Deviation::ForbiddenRule;
        StoreMetadataRequest {
            iccid: iccid_of_download(),
            service_provider_name: "Operator".to_owned(),
            profile_name: "Downloaded".to_owned(),
            icon_type: None,
            icon: None,
            profile_class: None,
            notification_configuration_info: Some(vec![NotificationConfigurationInformation {
                profile_management_operation: NotificationEvent::of([NotificationEvent::INSTALL]),
                notification_address: SMDP.to_owned(),
                extensions: Default::default(),
            }]),
            profile_owner: has_rule.then(|| OperatorId {
                mcc_mnc: [0x62, 0xF2, 0x10],
                gid1: None,
                gid2: None,
                extensions: Default::default(),
            }),
            profile_policy_rules: has_rule.then(|| PprIds::of([PprIds::PPR2])),
            service_specific_data_stored_in_euicc: None,
            service_specific_data_not_stored_in_euicc: None,
            ecall_indication: None,
            fallback_allowed: None,
            extensions: Default::default(),
        }
    }

    fn bind(&self, euicc_otpk: &OneTimePublicKey) -> BoundProfilePackage {
        let curve = self.pb().key.public_key().curve();
        let one_time_key = EphemeralKey::generate(curve, &mut rng(77)).unwrap();
        let shared = one_time_key.agree(euicc_otpk).unwrap();
        let keys = BspKeys::derive(&shared, b"host", self.eid.octets()).unwrap();
        let profile_keys = BspKeys::generate(&mut rng(78));
        let configure_isdp = ConfigureIsdpRequest {
            dp_proprietary_data: Some(DpProprietaryData {
                dp_oid: self
                    .pki
                    .smdp_auth
                    .certificate
                    .registered_id()
                    .unwrap()
                    .clone(),
                extensions: Default::default(),
            }),
            extensions: Default::default(),
        };
        let mut metadata = self.metadata();
        if self.deviation == Deviation::OtherMetadataInPackage {
            metadata.profile_name = "Another".to_owned();
        }
        let mut segments = bind(
            &keys,
            &configure_isdp.to_der(),
            &metadata.to_der(),
            Some(&profile_keys),
            &package(),
        )
        .unwrap();
        if self.deviation == Deviation::DamagedSegment {
            *segments.sequence_of_86[1].last_mut().unwrap() ^= 1;
        }
        let other = TransactionId::new(&[0xEE; 16]).unwrap();
        let mut initialise = InitialiseSecureChannelRequest {
            remote_op_id: RemoteOpId::InstallBoundProfilePackage,
            transaction_id: match self.deviation {
                Deviation::PackageForAnotherTransaction => other,
                _ => self.transaction_id(),
            },
            control_ref_template: ControlRefTemplate {
                key_type: [0x88],
                key_len: [0x10],
                host_id: OctetTo16::new(b"host").unwrap(),
                extensions: Default::default(),
            },
            smdp_otpk: OneTimePublicKey(one_time_key.public_point().into()),
            smdp_sign: Signature(Octets::default()),
            extensions: Default::default(),
        };
        initialise.smdp_sign = sign(&self.pb().key, &[&initialise.signed_octets(euicc_otpk)]);
        let mut writer = Writer::new();
        writer.tlv(Tag::new(0xBF36), |writer| {
            initialise.encode_element(writer);
            for (tag, list) in [
                (0xA0, &segments.first_sequence_of_87),
                (0xA1, &segments.sequence_of_88),
                (0xA2, &segments.second_sequence_of_87),
                (0xA3, &segments.sequence_of_86),
            ] {
                writer.tlv(Tag::new(tag), |writer| writer.raw(&list.concat()));
            }
        });
        let octets = writer.into_bytes();
        let limits = Limits::default();
        assert!(Reader::new(&octets, &limits).is_ok());
        BoundProfilePackage::from_der(&octets).unwrap()
    }
}

fn sign(key: &PrivateKey, parts: &[&[u8]]) -> Signature {
    Signature(Octets(key.sign_parts(parts).unwrap().as_bytes().to_vec()))
}

fn wire(certificate: &pki::Certificate) -> Certificate {
    Certificate::from_der_bytes(certificate.der().to_vec()).unwrap()
}
