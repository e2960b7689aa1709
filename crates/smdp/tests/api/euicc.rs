//! A small eUICC: enough of one to sign, to open what it is sent, and to lie where a test wants it.

use bsp::{BspKeys, Opener, SegmentTag};
use pki::issue::{CertificateTemplate, Issuer};
use pki::{Certificate, Curve, EphemeralKey, PrivateKey, Signer, UnixTime};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use rsp::binding::Failure;
use rsp::binding::es9plus::{Request, Response};
use rsp::binding::http::Binding;
use rsp::der::{BitString, Element, Encoded, Octets, Oid};
use rsp::ids::{Iccid, TransactionId};
use rsp::sgp22::*;
use sha2::{Digest, Sha256};

use super::support::{ADDRESS, Lab, NOW, certificate, key};

pub(crate) struct TestEuicc {
    pub(crate) eid: [u8; 16],
    pub(crate) certificate: Certificate,
    pub(crate) key: PrivateKey,
    /// Certifies the first: an EUM or its sub-CA.
    pub(crate) eum: Certificate,
    /// The rest of the chain.
    pub(crate) others: Option<Vec<Certificate>>,
    pub(crate) ci_key_ids: Vec<KeyIdentifier>,
    pub(crate) info2: EuiccInfo2,
    /// Kept over sessions, as an eUICC does for a download that was interrupted.
    pub(crate) one_time: Option<EphemeralKey>,
    pub(crate) next_seq_number: i64,
    rng: ChaCha20Rng,
}

/// What the eUICC opened.
#[derive(Debug)]
pub(crate) struct Installed {
    pub(crate) metadata: Vec<u8>,
    pub(crate) package: Vec<u8>,
}

impl TestEuicc {
    /// The SGP.26 eUICC on P-256 (`NIST`) or brainpoolP256r1 (`BRP`).
    pub(crate) fn sgp26(curve: &str) -> Self {
        Self::with(
            certificate(&format!("variant-o/eUICC/CERT_EUICC_ECDSA_{curve}")),
            key(&format!("variant-o/eUICC/SK_EUICC_ECDSA_{curve}")),
            certificate(&format!("variant-o/EUM/CERT_EUM_ECDSA_{curve}")),
        )
    }

    /// Another eUICC of the SGP.26 EUM on P-256.
    pub(crate) fn issued(eid: &str) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(99);
        let own = PrivateKey::generate(Curve::P256, &mut rng).unwrap();
        let eum = certificate("variant-o/EUM/CERT_EUM_ECDSA_NIST");
        let eum_key = key("variant-o/EUM/SK_EUM_ECDSA_NIST");
        let issued = CertificateTemplate::euicc("RSP Test EUM", eid)
            .valid(UnixTime(NOW).plus_days(-10), UnixTime(NOW).plus_days(3650))
            .issue(
                own.public_key(),
                Issuer {
                    certificate: &eum,
                    signer: &eum_key,
                },
            )
            .unwrap();
        Self::with(issued, own, eum)
    }

    pub(crate) fn with(certificate: Certificate, key: PrivateKey, eum: Certificate) -> Self {
        let digits = certificate
            .subject_serial_number()
            .unwrap_or_default()
            .to_owned();
        let mut eid = [0; 16];
        for (octet, pair) in eid.iter_mut().zip(digits.as_bytes().chunks(2)) {
            *octet = u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        }
        let ci = eum.authority_key_identifier().unwrap_or(&[9; 20]).to_vec();
        let ci_key_ids = vec![KeyIdentifier(Octets(ci))];
        Self {
            eid,
            info2: info2(&ci_key_ids),
            certificate,
            key,
            eum,
            others: None,
            ci_key_ids,
            one_time: None,
            next_seq_number: 1,
            rng: ChaCha20Rng::seed_from_u64(5),
        }
    }

    pub(crate) fn initiate(&self) -> Request {
        Request::InitiateAuthentication(InitiateAuthenticationRequest {
            euicc_challenge: [0x11; 16],
            smdp_address: ADDRESS.to_owned(),
            euicc_info1: EuiccInfo1 {
                svn: VersionType::new(2, 5, 0),
                euicc_ci_pk_id_list_for_verification: self.ci_key_ids.clone(),
                euicc_ci_pk_id_list_for_signing: self.ci_key_ids.clone(),
                extensions: Default::default(),
            },
            extensions: Default::default(),
        })
    }

    pub(crate) fn signed1(
        &self,
        server: &ServerSigned1,
        matching_id: Option<&str>,
    ) -> EuiccSigned1 {
        EuiccSigned1 {
            transaction_id: server.transaction_id.clone(),
            server_address: server.server_address.clone(),
            server_challenge: server.server_challenge,
            euicc_info2: self.info2.clone(),
            ctx_params1: CtxParams1::CtxParamsForCommonAuthentication(
                CtxParamsForCommonAuthentication {
                    matching_id: matching_id.map(str::to_owned),
                    device_info: DeviceInfo {
                        tac: [0x35, 0x29, 0x06, 0x11],
                        device_capabilities: no_capabilities(),
                        imei: None,
                        extensions: Default::default(),
                    },
                    extensions: Default::default(),
                },
            ),
            extensions: Default::default(),
        }
    }

    pub(crate) fn authenticate(
        &self,
        transaction_id: &TransactionId,
        signed: EuiccSigned1,
    ) -> Request {
        let euicc_signed1 = Encoded::new(signed);
        let euicc_signature1 = self.sign(&[euicc_signed1.bytes()]);
        self.authenticate_with(transaction_id, euicc_signed1, euicc_signature1)
    }

    pub(crate) fn authenticate_with(
        &self,
        transaction_id: &TransactionId,
        euicc_signed1: Encoded<EuiccSigned1>,
        euicc_signature1: Signature,
    ) -> Request {
        Request::AuthenticateClient(AuthenticateClientRequest {
            transaction_id: transaction_id.clone(),
            authenticate_server_response: AuthenticateServerResponse::AuthenticateResponseOk(
                AuthenticateResponseOk {
                    euicc_signed1,
                    euicc_signature1,
                    euicc_certificate: carried(&self.certificate),
                    eum_certificate: carried(&self.eum),
                    other_certs_in_chain: self.carried_others(),
                    extensions: Default::default(),
                },
            ),
            extensions: Default::default(),
        })
    }

    /// Checks what the server signed, makes or keeps a one-time key, and agrees to the download.
    pub(crate) fn prepare(&mut self, ok: &AuthenticateClientOk, code: Option<&str>) -> Request {
        let pb = Certificate::from_der(ok.smdp_certificate.as_der()).unwrap();
        let pb_curve = pb.public_key().unwrap().curve();
        let proposed = ok.smdp_signed2.bpp_euicc_otpk.as_ref();
        let kept = self
            .one_time
            .take()
            .filter(|key| proposed.is_some_and(|proposed| *proposed.0 == *key.public_point()));
        let one_time =
            kept.unwrap_or_else(|| EphemeralKey::generate(pb_curve, &mut self.rng).unwrap());
        let hash_cc = code.map(|code| {
            let mut hash = Sha256::new();
            hash.update(Sha256::digest(code.as_bytes()));
            hash.update(ok.transaction_id.octets());
            HashCc(hash.finalize().into())
        });
        let request = self.prepare_with(ok, one_time.public_point(), hash_cc);
        self.one_time = Some(one_time);
        request
    }

    pub(crate) fn prepare_with(
        &self,
        ok: &AuthenticateClientOk,
        otpk: &[u8],
        hash_cc: Option<HashCc>,
    ) -> Request {
        let euicc_signed2 = Encoded::new(EuiccSigned2 {
            transaction_id: ok.transaction_id.clone(),
            euicc_otpk: OneTimePublicKey(Octets(otpk.to_vec())),
            hash_cc,
            extensions: Default::default(),
        });
        let euicc_signature2 = self.sign(&[euicc_signed2.bytes(), &ok.smdp_signature2.to_der()]);
        Request::GetBoundProfilePackage(GetBoundProfilePackageRequest {
            transaction_id: ok.transaction_id.clone(),
            prepare_download_response: PrepareDownloadResponse::DownloadResponseOk(
                PrepareDownloadResponseOk {
                    euicc_signed2,
                    euicc_signature2,
                    extensions: Default::default(),
                },
            ),
            extensions: Default::default(),
        })
    }

    /// Opens a package as an eUICC does, every signature and MAC checked.
    pub(crate) fn open(
        &self,
        pb: &rsp::sgp22::Certificate,
        package: &BoundProfilePackage,
    ) -> Installed {
        let channel = &package.initialise_secure_channel_request;
        let one_time = self.one_time.as_ref().unwrap();
        let pb = Certificate::from_der(pb.as_der()).unwrap();
        let otpk = OneTimePublicKey(Octets(one_time.public_point().to_vec()));
        pb.public_key()
            .unwrap()
            .verify(
                &channel.signed_octets(&otpk),
                &pki::Signature::from_wire(&channel.smdp_sign).unwrap(),
            )
            .unwrap();
        let shared = one_time.agree(&channel.smdp_otpk).unwrap();
        let host_id = channel.control_ref_template.host_id.octets();
        let mut opener = Opener::new(&BspKeys::derive(&shared, host_id, &self.eid).unwrap());
        for segment in &package.first_sequence_of87 {
            opener
                .open(SegmentTag::Command87, &segment.to_der())
                .unwrap();
        }
        let mut installed = Installed {
            metadata: Vec::new(),
            package: Vec::new(),
        };
        for segment in &package.sequence_of88 {
            installed.metadata.extend_from_slice(
                &opener
                    .open(SegmentTag::Metadata88, &segment.to_der())
                    .unwrap(),
            );
        }
        for segment in package.second_sequence_of87.iter().flatten() {
            let request = opener
                .open(SegmentTag::Command87, &segment.to_der())
                .unwrap();
            let request = ReplaceSessionKeysRequest::from_der(&request).unwrap();
            opener.replace_keys(&BspKeys {
                s_enc: request.ppk_enc.0,
                s_mac: request.ppk_cmac.0,
                initial_mac_chaining_value: request.initial_mac_chaining_value.0,
            });
        }
        for segment in &package.sequence_of86 {
            let der = segment.to_der();
            assert!(der.len() <= 1020);
            installed
                .package
                .extend_from_slice(&opener.open(SegmentTag::Profile86, &der).unwrap());
        }
        installed
    }

    pub(crate) fn result_data(
        &mut self,
        id: &TransactionId,
        iccid: Iccid,
        success: bool,
    ) -> ProfileInstallationResultData {
        let seq_number = self.next_seq_number;
        self.next_seq_number += 1;
        ProfileInstallationResultData {
            transaction_id: id.clone(),
            notification_metadata: NotificationMetadata {
                seq_number,
                profile_management_operation: NotificationEvent::of([NotificationEvent::INSTALL]),
                notification_address: ADDRESS.to_owned(),
                iccid: Some(iccid),
                extensions: Default::default(),
            },
            smdp_oid: Oid::from_dotted("2.999.10").unwrap(),
            final_result: match success {
                true => FinalResult::SuccessResult(SuccessResult {
                    aid: OctetTo16::new(&[0xA0, 0, 0, 5, 0x59]).unwrap(),
                    sima_response: Octets(vec![0x30, 7, 0xA0, 5, 0x30, 3, 0x80, 1, 0]),
                    extensions: Default::default(),
                }),
                false => FinalResult::ErrorResult(ErrorResult {
                    bpp_command_id: BppCommandId::LoadProfileElements,
                    error_reason: ErrorReason::InstallFailedDueToPeProcessingError,
                    sima_response: None,
                    extensions: Default::default(),
                }),
            },
            extensions: Default::default(),
        }
    }

    pub(crate) fn result(&self, data: ProfileInstallationResultData) -> PendingNotification {
        let data = Encoded::new(data);
        let euicc_sign_pir = self.sign(&[data.bytes()]);
        PendingNotification::ProfileInstallationResult(ProfileInstallationResult {
            profile_installation_result_data: data,
            euicc_sign_pir,
            extensions: Default::default(),
        })
    }

    pub(crate) fn notification(&mut self, event: usize, iccid: Iccid) -> PendingNotification {
        let seq_number = self.next_seq_number;
        self.next_seq_number += 1;
        let metadata = Encoded::new(NotificationMetadata {
            seq_number,
            profile_management_operation: NotificationEvent::of([event]),
            notification_address: ADDRESS.to_owned(),
            iccid: Some(iccid),
            extensions: Default::default(),
        });
        PendingNotification::OtherSignedNotification(OtherSignedNotification {
            euicc_notification_signature: self.sign(&[metadata.bytes()]),
            tbs_other_notification: metadata,
            euicc_certificate: carried(&self.certificate),
            eum_certificate: carried(&self.eum),
            other_certs_in_chain: self.carried_others(),
            extensions: Default::default(),
        })
    }

    pub(crate) fn cancel(
        &self,
        id: &TransactionId,
        oid: &str,
        reason: CancelSessionReason,
    ) -> Request {
        let signed = Encoded::new(EuiccCancelSessionSigned {
            transaction_id: id.clone(),
            smdp_oid: Oid::from_dotted(oid).unwrap(),
            reason,
            extensions: Default::default(),
        });
        let signature = self.sign(&[signed.bytes()]);
        Request::CancelSession(CancelSessionRequestEs9 {
            transaction_id: id.clone(),
            cancel_session_response: CancelSessionResponse::CancelSessionResponseOk(
                CancelSessionResponseOk {
                    euicc_cancel_session_signed: signed,
                    euicc_cancel_session_signature: signature,
                    extensions: Default::default(),
                },
            ),
            extensions: Default::default(),
        })
    }

    fn carried_others(&self) -> Option<Vec<rsp::sgp22::Certificate>> {
        let others = self.others.as_ref()?;
        Some(others.iter().map(carried).collect())
    }

    /// Under this CI, which an EUM below a sub-CA does not name.
    pub(crate) fn under_ci(mut self, key_id: &[u8]) -> Self {
        self.ci_key_ids = vec![KeyIdentifier(Octets(key_id.to_vec()))];
        self.info2 = info2(&self.ci_key_ids);
        self
    }

    pub(crate) fn sign(&self, parts: &[&[u8]]) -> Signature {
        Signature(Octets(
            self.key.sign_parts(parts).unwrap().as_bytes().to_vec(),
        ))
    }
}

/// The first two steps, with the server's signatures checked.
pub(crate) async fn begin(
    lab: &Lab,
    euicc: &TestEuicc,
    binding: Binding,
) -> InitiateAuthenticationOkEs9 {
    let Response::InitiateAuthentication(Ok(ok)) = lab.es9(binding, &euicc.initiate()).await else {
        panic!("no session")
    };
    let server = Certificate::from_der(ok.server_certificate.as_der()).unwrap();
    let signature = pki::Signature::from_wire(&ok.server_signature1).unwrap();
    server
        .public_key()
        .unwrap()
        .verify(ok.server_signed1.bytes(), &signature)
        .unwrap();
    assert_eq!(ok.server_signed1.transaction_id, ok.transaction_id);
    assert_eq!(ok.transaction_id.octets().len(), 16);
    assert_eq!(ok.server_signed1.euicc_challenge, [0x11; 16]);
    assert_eq!(ok.server_signed1.server_address, ADDRESS);
    assert!(euicc.ci_key_ids.contains(&ok.euicc_ci_pk_id_to_be_used));
    ok
}

pub(crate) async fn authenticate(
    lab: &Lab,
    euicc: &TestEuicc,
    matching_id: Option<&str>,
    binding: Binding,
) -> Result<AuthenticateClientOk, Failure> {
    let begun = begin(lab, euicc, binding).await;
    let signed = euicc.signed1(&begun.server_signed1, matching_id);
    let request = euicc.authenticate(&begun.transaction_id, signed);
    let Request::AuthenticateClient(sent) = &request else {
        panic!()
    };
    let AuthenticateServerResponse::AuthenticateResponseOk(sent) =
        &sent.authenticate_server_response
    else {
        panic!()
    };
    let euicc_signature1 = sent.euicc_signature1.to_der();
    let Response::AuthenticateClient(outcome) = lab.es9(binding, &request).await else {
        panic!()
    };
    if let Ok(ok) = &outcome {
        let pb = Certificate::from_der(ok.smdp_certificate.as_der()).unwrap();
        let signature = pki::Signature::from_wire(&ok.smdp_signature2).unwrap();
        let covered = [ok.smdp_signed2.bytes(), &euicc_signature1].concat();
        pb.public_key()
            .unwrap()
            .verify(&covered, &signature)
            .unwrap();
        assert_eq!(ok.smdp_signed2.transaction_id, ok.transaction_id);
    }
    outcome
}

pub(crate) async fn get_package(
    lab: &Lab,
    request: &Request,
    binding: Binding,
) -> Result<BoundProfilePackage, Failure> {
    let Response::GetBoundProfilePackage(outcome) = lab.es9(binding, request).await else {
        panic!()
    };
    outcome.map(|ok| ok.bound_profile_package)
}

pub(crate) async fn notify(lab: &Lab, notification: PendingNotification, binding: Binding) {
    let request = Request::HandleNotification(HandleNotification {
        pending_notification: notification,
        extensions: Default::default(),
    });
    lab.es9(binding, &request).await;
}

pub(crate) fn carried(certificate: &Certificate) -> rsp::sgp22::Certificate {
    rsp::sgp22::Certificate::from_der_bytes(certificate.der().to_vec()).unwrap()
}

fn info2(ci_key_ids: &[KeyIdentifier]) -> EuiccInfo2 {
    EuiccInfo2 {
        profile_version: VersionType::new(2, 3, 1),
        svn: VersionType::new(2, 5, 0),
        euicc_firmware_ver: VersionType::new(1, 0, 0),
        // 0x60000 octets of non-volatile memory are free.
        ext_card_resource: Octets(vec![0x81, 1, 0, 0x82, 4, 0, 6, 0, 0, 0x83, 2, 0x22, 0x23]),
        uicc_capability: BitString::from_bits([1, 2, 3]),
        ts102241_version: None,
        globalplatform_version: None,
        rsp_capability: RspCapability::of([0, 3]),
        euicc_ci_pk_id_list_for_verification: ci_key_ids.to_vec(),
        euicc_ci_pk_id_list_for_signing: ci_key_ids.to_vec(),
        euicc_category: None,
        forbidden_profile_policy_rules: None,
        pp_version: VersionType::new(1, 0, 0),
        sas_acreditation_number: SasAcreditationNumber("TEST".to_owned()),
        certification_data_object: None,
        tre_properties: None,
        tre_product_reference: None,
        additional_euicc_profile_package_versions: None,
        ipa_mode: None,
        euicc_ci_pk_id_list_for_signing_v3: None,
        additional_euicc_info: None,
        highest_svn: None,
        iot_specific_info: None,
        extensions: Default::default(),
    }
}

fn no_capabilities() -> DeviceCapabilities {
    DeviceCapabilities::from_der(&[0x30, 0]).unwrap()
}
