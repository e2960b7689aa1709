//! Messages, packages and certificates as octets: what `rsp` decodes.
//!
//! `crates/rsp/tests/fuzz_smoke.rs` runs the same functions, so this file depends on `rsp` and the standard library alone.

use std::fmt::Debug;

use rsp::binding::{es2plus, es9plus as es9plus_binding, esipa as esipa_binding};
use rsp::der::{Element, Limits};
use rsp::dump::{self, Annotated, Node, Remark, TextOptions};
use rsp::saip::{EuiccCapabilities, EuiccResponse, ProfilePackage};
use rsp::tolerance::card_limits;
use rsp::{sgp22, sgp32};

macro_rules! consistent {
    ( $limits:expr, $data:expr; $( $module:ident :: { $( $name:ident ),* $(,)? } )* ) => { $( $(
        consistent::<$module::$name>($data, $limits);
    )* )* };
}

/// Messages between IPA and eIM.
pub fn esipa(data: &[u8]) {
    consistent! { &Limits::default(), data;
        sgp32::{
            GetEimPackageRequest, GetEimPackageResponse, ProvideEimPackageResult,
            ProvideEimPackageResultResponse, TransferEimPackageRequest, TransferEimPackageResponse,
            HandleNotificationEsipa, InitiateAuthenticationRequestEsipa,
            InitiateAuthenticationResponseEsipa, AuthenticateClientRequestEsipa,
            AuthenticateClientResponseEsipa, GetBoundProfilePackageRequestEsipa,
            GetBoundProfilePackageResponseEsipa, CancelSessionRequestEsipa,
            CancelSessionResponseEsipa, EuiccPackageRequest, EuiccPackageResult,
            IpaEuiccDataRequest, IpaEuiccDataResponse, EimAcknowledgements,
            ProfileDownloadTriggerRequest, ProfileDownloadTriggerResult,
        }
    }
    if let Ok(request) = esipa_binding::Request::from_asn1(data) {
        let again = esipa_binding::Request::from_asn1(&request.to_asn1());
        assert_eq!(
            again.expect("an encoded request decodes").to_asn1(),
            request.to_asn1()
        );
    }
}

/// Commands to a card and what it answers, which may come with long lengths.
pub fn es10(data: &[u8]) {
    consistent! { &card_limits(), data;
        sgp32::{
            EuiccPackageRequest, EuiccPackageResult, AddInitialEimRequest, AddInitialEimResponse,
            GetEimConfigurationDataRequest, GetEimConfigurationDataResponse, GetCertsRequest,
            GetCertsResponse, RetrieveNotificationsListRequest, RetrieveNotificationsListResponse,
            EuiccMemoryResetRequest, EuiccMemoryResetResponse, ImmediateEnableRequest,
            ImmediateEnableResponse, ProfileRollbackRequest, ProfileRollbackResponse,
            ConfigureImmediateProfileEnablingRequest, ConfigureImmediateProfileEnablingResponse,
            ExecuteFallbackMechanismResponse, ReturnFromFallbackResponse,
            EnableEmergencyProfileResponse, DisableEmergencyProfileResponse,
            GetConnectivityParametersResponse, IpaeActivationRequest, IpaeActivationResponse,
            SetDefaultDpAddressRequest, SetDefaultDpAddressResponse,
            IsdrProprietaryApplicationTemplateIot,
        }
        sgp22::{
            AuthenticateServerRequest, AuthenticateServerResponse, PrepareDownloadRequest,
            PrepareDownloadResponse, CancelSessionRequest, CancelSessionResponse,
            ProfileInstallationResult, NotificationMetadata, ListNotificationRequest,
            ListNotificationResponse, NotificationSentRequest, NotificationSentResponse,
            PendingNotification, ProfileInfoListRequest, ProfileInfoListResponse,
            EnableProfileRequest, EnableProfileResponse, DisableProfileRequest,
            DisableProfileResponse, DeleteProfileRequest, DeleteProfileResponse,
            SetNicknameRequest, SetNicknameResponse, GetEuiccChallengeResponse, EuiccInfo1,
            EuiccInfo2, GetEuiccDataRequest, GetEuiccDataResponse,
            EuiccConfiguredAddressesResponse, GetRatResponse,
        }
    }
}

/// Messages between LPA or eIM and SM-DP+ or SM-DS, ASN.1 binding.
pub fn es9plus(data: &[u8]) {
    consistent! { &Limits::default(), data;
        sgp22::{
            RemoteProfileProvisioningRequest, RemoteProfileProvisioningResponse,
            InitiateAuthenticationRequest, InitiateAuthenticationResponse,
            AuthenticateClientRequest, AuthenticateClientResponseEs9,
            AuthenticateClientResponseEs11, GetBoundProfilePackageRequest,
            GetBoundProfilePackageResponse, HandleNotification, CancelSessionRequestEs9,
            CancelSessionResponseEs9, InitiateAuthenticationOkEs9, AuthenticateClientOk,
            ServerSigned1, SmdpSigned2, EuiccSigned1, EuiccSigned2,
        }
    }
    if let Ok(request) = es9plus_binding::Request::from_asn1(data) {
        let again = es9plus_binding::Request::from_asn1(&request.to_asn1());
        assert_eq!(
            again.expect("an encoded request decodes").to_asn1(),
            request.to_asn1()
        );
    }
}

/// A bound profile package and what stands in its segments.
pub fn bound_profile_package(data: &[u8]) {
    consistent! { &Limits::default(), data;
        sgp22::{
            BoundProfilePackage, InitialiseSecureChannelRequest, ConfigureIsdpRequest,
            StoreMetadataRequest, UpdateMetadataRequest, ReplaceSessionKeysRequest,
            Segment86, Segment87, Segment88,
        }
    }
}

/// A profile package, from parsing to the decision whether it can be installed.
pub fn profile_package(data: &[u8]) {
    let package = match ProfilePackage::parse(data) {
        Ok(package) => package,
        Err(error) => return check_refusal(&error.response()),
    };
    let whole: Vec<u8> = package
        .elements()
        .iter()
        .flat_map(|element| element.raw())
        .copied()
        .collect();
    assert_eq!(whole, data, "splitting loses nothing");
    for element in package.elements() {
        let _ = (
            element.template(),
            element.pins(),
            element.authentication(),
            element.applications(),
        );
    }
    let _ = (
        package.imsi(),
        package.pins(),
        package.puks(),
        package.applications(),
    );
    match package.check(&EuiccCapabilities::telecom(1 << 20)) {
        Ok(report) => {
            assert!(report.response.is_installed());
            assert!(report.size_octets <= 1 << 20);
            assert!(
                report.header.iccid().is_ok(),
                "an accepted package has an ICCID"
            );
            assert!(package.size_octets().is_ok());
        }
        Err(refusal) => check_refusal(&refusal),
    }
}

fn check_refusal(refusal: &EuiccResponse) {
    assert!(!refusal.is_installed());
    let message = refusal.status_message.as_deref().unwrap_or_default();
    assert!(message.chars().count() <= 64, "{message}");
    assert_eq!(
        EuiccResponse::from_der(&refusal.to_der()).as_ref(),
        Ok(refusal)
    );
}

/// Certificates and keys, alone and where their SEQUENCE tag is replaced.
pub fn certificates(data: &[u8]) {
    consistent! { &Limits::default(), data;
        sgp22::{ Certificate, SubjectPublicKeyInfo }
        sgp32::{ Certs, EimConfigurationData, IpaEuiccData, GetCertsResponse, AddInitialEimRequest }
    }
    let Ok(certificate) = sgp22::Certificate::from_der_bytes(data.to_vec()) else {
        return;
    };
    assert_eq!(certificate.as_der(), data);
    let certs = sgp32::Certs {
        eum_certificate: certificate.clone(),
        euicc_certificate: certificate,
        extensions: Default::default(),
    };
    let der = certs.to_der();
    // The limit is for the message, which two large certificates can exceed.
    if der.len() <= Limits::default().message_octets_max {
        assert_eq!(sgp32::Certs::from_der(&der).as_ref(), Ok(&certs));
    }
}

/// The annotated tree, for any octets and any type.
pub fn dump(data: &[u8]) {
    if let Ok(octets) = dump::parse_input(data) {
        assert!(octets.len() <= data.len());
    }
    let Ok(annotated) = dump::annotate(data, None) else {
        return;
    };
    check_tree(&annotated);
    if let Some(&choice) = data.last() {
        let forced = dump::types().nth(usize::from(choice) % dump::types().count());
        check_tree(&dump::annotate(data, forced).expect("there are octets and the type exists"));
    }
}

fn check_tree(annotated: &Annotated) {
    for full in [false, true] {
        let text = annotated.to_text(TextOptions {
            full,
            offsets: full,
        });
        let is_printable = |letter: char| letter == '\n' || !letter.is_control();
        assert!(
            text.chars().all(is_printable),
            "nothing that controls a terminal"
        );
    }
    if let Some(fault) = &annotated.fault {
        assert!(
            annotated
                .to_text(TextOptions::default())
                .ends_with(&format!("!! {fault}\n"))
        );
    }
}

/// JSON bodies of ESipa, ES9+ and ES2+.
pub fn bindings(data: &[u8]) {
    for function in esipa_binding::Function::ALL {
        if let Ok(request) = esipa_binding::Request::from_json(function.name(), data)
            && let Ok((name, body)) = request.to_json()
        {
            let again =
                esipa_binding::Request::from_json(name, &body).expect("a written body is read");
            assert_eq!(again.to_asn1(), request.to_asn1());
        }
        if let Ok(response) = esipa_binding::Response::from_json(function, data)
            && let Ok(Some(body)) = response.to_json()
        {
            let again = esipa_binding::Response::from_json(function, &body)
                .expect("a written body is read");
            assert_eq!(again.to_asn1(), response.to_asn1());
        }
    }
    for function in es9plus_binding::Function::ALL {
        if let Ok(request) = es9plus_binding::Request::from_json(function.name(), data) {
            let (name, body) = request.to_json();
            let again =
                es9plus_binding::Request::from_json(name, &body).expect("a written body is read");
            assert_eq!(again.to_asn1(), request.to_asn1());
        }
        if let Ok(response) = es9plus_binding::Response::from_json(function, data)
            && let Some(body) = response.to_json()
        {
            es9plus_binding::Response::from_json(function, &body).expect("a written body is read");
        }
    }
    for function in es2plus::Function::ALL {
        if let Ok(request) = es2plus::Request::from_json(function.name(), data) {
            let (name, body) = request.to_json();
            es2plus::Request::from_json(name, &body).expect("a written body is read");
        }
        if let Ok(response) = es2plus::Response::from_json(function, data)
            && let Some(body) = response.to_json()
        {
            es2plus::Response::from_json(function, &body).expect("a written body is read");
        }
    }
}

/// What decodes is encoded to what decodes to the same; and the annotated tree, which does not
/// use the decoder, finds nothing missing or misplaced in it.
fn consistent<T: Element + PartialEq + Debug>(data: &[u8], limits: &Limits) {
    let Ok(value) = T::from_der_within(data, limits) else {
        return;
    };
    let der = value.to_der();
    match T::from_der_within(&der, limits) {
        Ok(again) => {
            assert_eq!(again, value, "decode(encode(x)) is x");
            assert_eq!(again.to_der(), der, "encoding is stable");
        }
        Err(error) => panic!(
            "{} does not decode from its own encoding: {error}",
            T::info().name
        ),
    }
    // An unknown alternative is whatever stands in its place, which the tree may see otherwise.
    let has_unknown = format!("{value:?}").contains("Unknown(");
    if !has_unknown && let Ok(annotated) = dump::annotate(data, Some(T::info().name)) {
        let is_incomplete = annotated
            .objects
            .iter()
            .any(|object| is_incomplete(&object.node));
        assert!(
            !is_incomplete,
            "decodes, but is shown with misfits:\n{annotated}"
        );
    }
}

fn is_incomplete(node: &Node) -> bool {
    node.remarks
        .iter()
        .any(|remark| matches!(remark, Remark::Missing | Remark::Misplaced))
        || node.children.iter().any(is_incomplete)
}
