//! A card with Profiles, an eIM that signs packages, and a small SM-DP+.

pub(crate) mod smdp;

use std::sync::LazyLock;

use euicc::{Card, CardIdentity, MemoryNvm, Options, Personalisation, PreloadedProfile};
use pki::issue::{TestPki, TestPkiOptions};
use pki::{Curve, PrivateKey, PublicKey, Signature as SignatureValue, Signer as _, UnixTime};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use rsp::der::{Element, Encoded, Null, Octets, Writer};
use rsp::ids::{Eid, Iccid, TransactionId};
use rsp::sgp22::*;
use rsp::sgp32::*;

pub(crate) const EID: &str = "89049032123451234512345678901235";

pub(crate) static PKI: LazyLock<TestPki> = LazyLock::new(|| test_pki(Curve::P256, 1));
/// A second CI, on the other curve.
pub(crate) static OTHER_PKI: LazyLock<TestPki> =
    LazyLock::new(|| test_pki(Curve::BrainpoolP256r1, 2));
static IDENTITIES: LazyLock<Vec<CardIdentity>> =
    LazyLock::new(|| vec![identity(&PKI, 3), identity(&OTHER_PKI, 4)]);
/// The key of an eIM that nobody associated, for forgeries.
pub(crate) static STRANGER: LazyLock<PrivateKey> = LazyLock::new(|| key(99));

fn test_pki(curve: Curve, seed: u64) -> TestPki {
    let options = TestPkiOptions::new(UnixTime::from_date(2026, 1, 1).unwrap());
    TestPki::new(&mut rng(seed), curve, &options).unwrap()
}

fn identity(pki: &TestPki, seed: u64) -> CardIdentity {
    let euicc = pki.issue_euicc(&mut rng(seed), EID).unwrap();
    CardIdentity {
        key: euicc.key,
        euicc_certificate: euicc.certificate,
        eum_certificate: pki.eum.certificate.clone(),
        sub_cas: Vec::new(),
        ci_certificate: pki.ci.certificate.clone(),
    }
}

pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

pub(crate) fn key(seed: u64) -> PrivateKey {
    PrivateKey::generate(Curve::P256, &mut rng(1000 + seed)).unwrap()
}

pub(crate) fn eid() -> Eid {
    EID.parse().unwrap()
}

/// The key that verifies what the card signs under this CI.
pub(crate) fn euicc_key(index: usize) -> PublicKey {
    IDENTITIES[index].key.public_key().clone()
}

pub(crate) fn wire(certificate: &pki::Certificate) -> Certificate {
    Certificate::from_der_bytes(certificate.der().to_vec()).unwrap()
}

pub(crate) fn ci_key_id(pki: &TestPki) -> KeyIdentifier {
    KeyIdentifier(pki.ci.certificate.subject_key_identifier().unwrap().into())
}

/// ICCID of the Profile with this number.
pub(crate) fn iccid(number: u8) -> Iccid {
    format!("8949012345678901{number:03}").parse().unwrap()
}

/// A disabled operational Profile that tells `events.example.com` everything and may become the Fallback Profile.
pub(crate) fn profile(number: u8) -> PreloadedProfile {
    PreloadedProfile {
        metadata: StoreMetadataRequest {
            iccid: iccid(number),
            service_provider_name: "Operator".to_owned(),
            profile_name: format!("Profile {number}"),
            icon_type: None,
            icon: None,
            profile_class: None,
            notification_configuration_info: Some(vec![NotificationConfigurationInformation {
                profile_management_operation: NotificationEvent::of([0, 1, 2, 3]),
                notification_address: "events.example.com".to_owned(),
                extensions: Default::default(),
            }]),
            profile_owner: None,
            profile_policy_rules: None,
            service_specific_data_stored_in_euicc: None,
            service_specific_data_not_stored_in_euicc: None,
            ecall_indication: None,
            fallback_allowed: Some(true),
            extensions: Default::default(),
        },
        size_octets: 1000,
        connectivity_parameters: Some(vec![0x47, 0x01, number]),
        is_enabled: false,
        is_fallback: false,
    }
}

pub(crate) fn enabled(number: u8) -> PreloadedProfile {
    PreloadedProfile {
        is_enabled: true,
        ..profile(number)
    }
}

pub(crate) fn with(
    mut profile: PreloadedProfile,
    change: impl FnOnce(&mut PreloadedProfile),
) -> PreloadedProfile {
    change(&mut profile);
    profile
}

pub(crate) fn with_rules(profile: PreloadedProfile, rules: &[usize]) -> PreloadedProfile {
    with(profile, |it| {
        it.metadata.profile_policy_rules = Some(PprIds::of(rules.iter().copied()));
    })
}

pub(crate) fn of_class(profile: PreloadedProfile, class: ProfileClass) -> PreloadedProfile {
    with(profile, |it| it.metadata.profile_class = Some(class))
}

pub(crate) fn emergency(number: u8) -> PreloadedProfile {
    with(profile(number), |it| {
        it.metadata.ecall_indication = Some(true)
    })
}

pub(crate) fn personalisation(profiles: Vec<PreloadedProfile>) -> Personalisation {
    Personalisation {
        profiles,
        default_smdp_address: Some("smdp.example.com".to_owned()),
        ..Personalisation::new(eid(), IDENTITIES.clone())
    }
}

/// A card, its memory and its randomness.
pub(crate) struct Bench {
    pub(crate) card: Card,
    pub(crate) nvm: MemoryNvm,
    pub(crate) rng: ChaCha20Rng,
}

impl Bench {
    pub(crate) fn new(profiles: Vec<PreloadedProfile>) -> Self {
        Self::of(personalisation(profiles))
    }

    pub(crate) fn with_options(
        profiles: Vec<PreloadedProfile>,
        change: impl FnOnce(&mut Options),
    ) -> Self {
        let mut personalisation = personalisation(profiles);
        change(&mut personalisation.options);
        Self::of(personalisation)
    }

    pub(crate) fn of(personalisation: Personalisation) -> Self {
        let nvm = MemoryNvm::new();
        let card = Card::personalise(personalisation, nvm.clone()).unwrap();
        Self {
            card,
            nvm,
            rng: rng(7),
        }
    }

    /// With an associated eIM that has a token.
    pub(crate) fn associated(profiles: Vec<PreloadedProfile>) -> (Self, Eim) {
        let mut bench = Self::new(profiles);
        let eim = bench.associate();
        (bench, eim)
    }

    pub(crate) fn associate(&mut self) -> Eim {
        let mut eim = Eim::new("eim.example.com", 1);
        let added = self.add_initial(vec![eim.configuration()]).unwrap();
        let [AddInitialEimOk::AssociationToken(token)] = added[..] else {
            panic!("{added:?}")
        };
        eim.token = Some(token);
        eim
    }

    pub(crate) fn add_initial(
        &mut self,
        list: Vec<EimConfigurationData>,
    ) -> Result<Vec<AddInitialEimOk>, AddEimResultCode> {
        let request = AddInitialEimRequest {
            eim_configuration_data_list: list,
            extensions: Default::default(),
        };
        match self.ask(&request) {
            AddInitialEimResponse::AddInitialEimOk(added) => Ok(added),
            AddInitialEimResponse::AddInitialEimError(code) => Err(code),
            other => panic!("{other:?}"),
        }
    }

    /// Powers the card off and on.
    pub(crate) fn power_cycle(&mut self) {
        self.nvm.restore_power();
        self.card = Card::power_on(self.nvm.clone()).unwrap();
    }

    pub(crate) fn es10(&mut self, command: &[u8]) -> Result<Vec<u8>, u16> {
        self.card
            .es10(command, &mut self.rng)
            .map_err(|status| status.0)
    }

    pub(crate) fn ask<R: Element>(&mut self, request: &impl Element) -> R {
        let answer = self.es10(&request.to_der()).unwrap();
        R::from_der(&answer).unwrap_or_else(|error| panic!("{error}: {answer:02X?}"))
    }

    pub(crate) fn apdu(&mut self, apdu: &[u8]) -> Vec<u8> {
        self.card.transmit(apdu, &mut self.rng)
    }

    /// Loads a package, whatever comes of it.
    pub(crate) fn load(&mut self, package: &[u8]) -> EuiccPackageResult {
        let answer = self.es10(package).unwrap();
        EuiccPackageResult::from_der(&answer).unwrap()
    }

    /// Lets the eIM execute operations, and checks everything about the result but the outcome.
    pub(crate) fn run(&mut self, eim: &mut Eim, package: EuiccPackage) -> Vec<EuiccResultData> {
        let request = eim.sign(package);
        let result = self.load(&request);
        let data = eim.verified(&result);
        assert_eq!(data.eim_id, eim.id);
        assert_eq!(data.counter_value, eim.counter);
        assert_eq!(data.eim_transaction_id, Some(eim.transaction_id()));
        data.euicc_result
    }

    pub(crate) fn psmo(&mut self, eim: &mut Eim, psmo: Psmo) -> EuiccResultData {
        let mut results = self.run(eim, EuiccPackage::PsmoList(vec![psmo]));
        assert_eq!(results.len(), 1);
        results.remove(0)
    }

    pub(crate) fn eco(&mut self, eim: &mut Eim, eco: Eco) -> EuiccResultData {
        let mut results = self.run(eim, EuiccPackage::EcoList(vec![eco]));
        assert_eq!(results.len(), 1);
        results.remove(0)
    }

    pub(crate) fn profiles(&mut self) -> Vec<ProfileInfo> {
        let request = ProfileInfoListRequest {
            search_criteria: None,
            tag_list: None,
            extensions: Default::default(),
        };
        match self.ask(&request) {
            ProfileInfoListResponse::ProfileInfoListOk(list) => list,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn enabled(&mut self) -> Option<Iccid> {
        let profiles = self.profiles();
        let mut enabled = profiles
            .iter()
            .filter(|profile| profile.profile_state == Some(ProfileState::Enabled))
            .map(|profile| profile.iccid.unwrap());
        let first = enabled.next();
        assert_eq!(enabled.next(), None, "more than one is enabled");
        assert_eq!(first, self.card.enabled_profile());
        first
    }

    pub(crate) fn fallback(&mut self) -> Option<Iccid> {
        let profiles = self.profiles();
        let is_fallback = |it: &&ProfileInfo| it.fallback_attribute == Some(true);
        profiles
            .iter()
            .find(is_fallback)
            .map(|profile| profile.iccid.unwrap())
    }

    pub(crate) fn eims(&mut self) -> Vec<EimConfigurationData> {
        let request = GetEimConfigurationDataRequest {
            search_criteria: None,
            extensions: Default::default(),
        };
        let response: GetEimConfigurationDataResponse = self.ask(&request);
        response.eim_configuration_data_list
    }

    /// Events and Profiles of the notifications that wait, in their order.
    pub(crate) fn events(&mut self) -> Vec<(usize, Iccid)> {
        let request = ListNotificationRequest {
            profile_management_operation: None,
            extensions: Default::default(),
        };
        match self.ask(&request) {
            ListNotificationResponse::NotificationMetadataList(list) => list
                .iter()
                .map(|metadata| {
                    let event = metadata
                        .profile_management_operation
                        .0
                        .bits()
                        .next()
                        .unwrap();
                    (event, metadata.iccid.unwrap())
                })
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    /// The package results that wait.
    pub(crate) fn results(&mut self) -> Vec<EuiccPackageResult> {
        let criteria = RetrieveNotificationsSearchCriteria::EuiccPackageResults(Null);
        match self.retrieve(Some(criteria)) {
            RetrieveNotificationsListResponse::EuiccPackageResultList(list) => list,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn retrieve(
        &mut self,
        search_criteria: Option<RetrieveNotificationsSearchCriteria>,
    ) -> RetrieveNotificationsListResponse {
        let request = RetrieveNotificationsListRequest {
            search_criteria,
            extensions: Default::default(),
        };
        self.ask(&request)
    }

    pub(crate) fn acknowledge(&mut self, seq_number: i64) -> DeleteNotificationStatus {
        let request = NotificationSentRequest {
            seq_number,
            extensions: Default::default(),
        };
        let response: NotificationSentResponse = self.ask(&request);
        response.delete_notification_status
    }
}

/// An eIM as the card should know it.
#[derive(Clone)]
pub(crate) struct Eim {
    pub(crate) id: EimId,
    pub(crate) key: PrivateKey,
    pub(crate) token: Option<i64>,
    /// The last counter value used.
    pub(crate) counter: i64,
    /// Which of the card's keys signs for it.
    pub(crate) euicc_key: usize,
}

impl Eim {
    pub(crate) fn new(name: &str, seed: u64) -> Self {
        Self {
            id: name.parse().unwrap(),
            key: key(seed),
            token: None,
            counter: 10,
            euicc_key: 0,
        }
    }

    pub(crate) fn public_key_data(&self) -> EimPublicKeyData {
        let spki = self.key.public_key().to_spki_der();
        EimPublicKeyData::EimPublicKey(SubjectPublicKeyInfo::from_der_bytes(spki).unwrap())
    }

    /// Configuration data that asks for a token.
    pub(crate) fn configuration(&self) -> EimConfigurationData {
        EimConfigurationData {
            eim_fqdn: Some(self.id.to_string()),
            eim_id_type: Some(EimIdType::EimIdTypeFqdn),
            counter_value: Some(self.counter),
            association_token: Some(EimConfigurationData::COMPUTE_ASSOCIATION_TOKEN),
            eim_public_key_data: Some(self.public_key_data()),
            ..EimConfigurationData::named(self.id.clone())
        }
    }

    pub(crate) fn token_object(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.value(0x84, &self.token.unwrap_or(0));
        writer.into_bytes()
    }

    pub(crate) fn transaction_id(&self) -> TransactionId {
        TransactionId::new(&self.counter.to_be_bytes()).unwrap()
    }

    /// The signed part of the next package.
    pub(crate) fn next(&mut self, package: EuiccPackage) -> EuiccPackageSigned {
        self.counter += 1;
        EuiccPackageSigned {
            eim_id: self.id.clone(),
            eid_value: eid().to_field(),
            counter_value: self.counter,
            eim_transaction_id: Some(self.transaction_id()),
            euicc_package: package,
            extensions: Default::default(),
        }
    }

    pub(crate) fn sign(&mut self, package: EuiccPackage) -> Vec<u8> {
        let signed = self.next(package);
        self.sign_this(signed)
    }

    pub(crate) fn sign_this(&self, signed: EuiccPackageSigned) -> Vec<u8> {
        let signed = Encoded::new(signed);
        let eim_signature = signature(&self.key, &[signed.bytes(), &self.token_object()]);
        EuiccPackageRequest {
            euicc_package_signed: signed,
            eim_signature,
            extensions: Default::default(),
        }
        .to_der()
    }

    /// A package of any operations, well-formed or not: `list` stands under A0 or A1.
    pub(crate) fn sign_raw(&mut self, list_tag: u32, list: &[u8]) -> Vec<u8> {
        self.counter += 1;
        let mut writer = Writer::new();
        writer.tlv(rsp::der::Tag::SEQUENCE, |writer| {
            writer.value(0x80, &self.id);
            writer.value(0x5A, &eid().to_field());
            writer.value(0x81, &self.counter);
            writer.value(0x82, &self.transaction_id());
            writer.tlv(rsp::der::Tag::new(list_tag), |writer| writer.raw(list));
        });
        let signed = writer.into_bytes();
        let signature = signature(&self.key, &[&signed, &self.token_object()]);
        let mut writer = Writer::new();
        writer.tlv(rsp::der::Tag::new(0xBF51), |writer| {
            writer.raw(&signed);
            signature.encode_element(writer);
        });
        writer.into_bytes()
    }

    /// The data of a signed result, verified with the card's key and the token.
    pub(crate) fn verified(&self, result: &EuiccPackageResult) -> EuiccPackageResultDataSigned {
        let EuiccPackageResult::EuiccPackageResultSigned(result) = result else {
            panic!("not a signed result: {result:?}")
        };
        self.verify(
            result.euicc_package_result_data_signed.bytes(),
            &result.euicc_sign_epr,
        );
        result.euicc_package_result_data_signed.clone().into_value()
    }

    /// The code of a signed error, verified.
    pub(crate) fn error(&self, result: &EuiccPackageResult) -> EuiccPackageErrorDataSigned {
        let EuiccPackageResult::EuiccPackageErrorSigned(error) = result else {
            panic!("not a signed error: {result:?}")
        };
        self.verify(
            error.euicc_package_error_data_signed.bytes(),
            &error.euicc_sign_epe,
        );
        error.euicc_package_error_data_signed.clone().into_value()
    }

    fn verify(&self, data: &[u8], signature: &Signature) {
        let signature = SignatureValue::from_wire(signature).unwrap();
        euicc_key(self.euicc_key)
            .verify_parts(&[data, &self.token_object()], &signature)
            .expect("signature of the eUICC over data and token");
    }
}

pub(crate) fn signature(key: &PrivateKey, parts: &[&[u8]]) -> Signature {
    Signature(Octets(key.sign_parts(parts).unwrap().as_bytes().to_vec()))
}

pub(crate) fn enable(number: u8) -> Psmo {
    Psmo::Enable(EnablePsmo {
        iccid: iccid(number),
        rollback_flag: None,
        extensions: Default::default(),
    })
}

pub(crate) fn enable_with_rollback(number: u8) -> Psmo {
    Psmo::Enable(EnablePsmo {
        iccid: iccid(number),
        rollback_flag: Some(Null),
        extensions: Default::default(),
    })
}

fn about(number: u8) -> IccidArgument {
    IccidArgument {
        iccid: iccid(number),
        extensions: Default::default(),
    }
}

pub(crate) fn disable(number: u8) -> Psmo {
    Psmo::Disable(about(number))
}

pub(crate) fn delete(number: u8) -> Psmo {
    Psmo::Delete(about(number))
}

pub(crate) fn set_fallback(number: u8) -> Psmo {
    Psmo::SetFallbackAttribute(about(number))
}

pub(crate) fn no_arguments() -> NoArguments {
    NoArguments {
        extensions: Default::default(),
    }
}

pub(crate) fn list_profiles() -> Psmo {
    Psmo::ListProfileInfo(ProfileInfoListRequest {
        search_criteria: None,
        tag_list: None,
        extensions: Default::default(),
    })
}

pub(crate) fn delete_eim(id: &EimId) -> Eco {
    Eco::DeleteEim(DeleteEim {
        eim_id: id.clone(),
        extensions: Default::default(),
    })
}

pub(crate) fn list_eim() -> EuiccPackage {
    EuiccPackage::EcoList(vec![Eco::ListEim(no_arguments())])
}

/// Codes of the results, for short assertions.
pub(crate) fn enable_code(result: &EuiccResultData) -> EnableProfileResult {
    match result {
        EuiccResultData::EnableResult(code) => *code,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn hex_data(name: &str) -> Vec<u8> {
    hex::decode(String::from_utf8(data(name)).unwrap().trim()).unwrap()
}

pub(crate) fn data(name: &str) -> Vec<u8> {
    // The fuzz targets use this file too, from another folder.
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|folder| folder.join("tests/data"))
        .find(|data| data.is_dir())
        .unwrap();
    std::fs::read(data.join(name)).unwrap()
}
