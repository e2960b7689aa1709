//! Every type decodes from what it encodes to, and encodes to the same octets again.

#![expect(clippy::panic, reason = "a test fails by panicking")]

use std::fmt::Debug;

use arbitrary::{Arbitrary, Unstructured};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use rsp::der::Element;

/// `roundtrip! { module: Type, … }` makes one test per type, named like it.
macro_rules! roundtrip {
    ( $module:ident: $($name:ident),* $(,)? ) => {
        #[allow(non_snake_case, reason = "a test is named like its type")]
        mod $module {
            use rsp::$module::*;

            $(
                #[test]
                fn $name() {
                    super::round_trip::<$name>();
                }
            )*
        }
    };
}

fn round_trip<T>()
where
    T: Element + PartialEq + Debug + for<'a> Arbitrary<'a>,
{
    let config = Config {
        cases: 64,
        failure_persistence: None,
        ..Config::default()
    };
    let inputs = (vec(any::<u8>(), 0..2048), any::<Index>(), any::<u8>());
    let outcome = TestRunner::new(config).run(&inputs, |(octets, place, octet)| {
        let value = T::arbitrary(&mut Unstructured::new(&octets))
            .map_err(|_| TestCaseError::reject("too few octets"))?;
        let der = value.to_der();
        prop_assert_eq!(decode::<T>(&der)?, value);
        prop_assert_eq!(decode::<T>(&der)?.to_der(), der.clone());

        // One octet damaged: refused, or understood as something that is itself consistent.
        let mut damaged = der;
        *place.get_mut(&mut damaged) = octet;
        if let Ok(other) = T::from_der(&damaged) {
            prop_assert_eq!(decode::<T>(&other.to_der())?, other);
        }
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{}: {failure}", T::info().name);
    }
}

fn decode<T: Element>(octets: &[u8]) -> Result<T, TestCaseError> {
    T::from_der(octets).map_err(|error| TestCaseError::fail(error.to_string()))
}

// An untagged CHOICE is tested inside the types that hold it.
roundtrip! { sgp22:
    AuthenticateClientOk,
    AuthenticateClientOkEs11,
    AuthenticateClientRequest,
    AuthenticateClientResponseEs11,
    AuthenticateClientResponseEs9,
    AuthenticateResponseError,
    AuthenticateResponseOk,
    AuthenticateServerRequest,
    AuthenticateServerResponse,
    BoundProfilePackage,
    CancelSessionOk,
    CancelSessionRequest,
    CancelSessionRequestEs9,
    CancelSessionResponse,
    CancelSessionResponseEs9,
    CancelSessionResponseOk,
    CcRequiredFlag,
    Certificate,
    CertificationDataObject,
    CompactAuthenticateResponseOk,
    CompactCancelSessionResponseOk,
    CompactEuiccCancelSessionSigned,
    CompactEuiccSigned1,
    CompactEuiccSigned2,
    CompactOtherSignedNotification,
    CompactPrepareDownloadResponseOk,
    CompactProfileInstallationResult,
    CompactProfileInstallationResultData,
    CompactSuccessResult,
    ConfigureIsdpRequest,
    ControlRefTemplate,
    CtxParamsForCommonAuthentication,
    DeleteProfileRequest,
    DeleteProfileResponse,
    DeviceAdditionalFeatureSupport,
    DeviceCapabilities,
    DeviceInfo,
    DisableProfileRequest,
    DisableProfileResponse,
    DpProprietaryData,
    EnableProfileRequest,
    EnableProfileResponse,
    ErrorResult,
    EuiccCancelSessionSigned,
    EuiccConfiguredAddressesRequest,
    EuiccConfiguredAddressesResponse,
    EuiccInfo1,
    EuiccInfo2,
    EuiccSigned1,
    EuiccSigned2,
    EventEntries,
    GetBoundProfilePackageOk,
    GetBoundProfilePackageRequest,
    GetBoundProfilePackageResponse,
    GetEuiccChallengeRequest,
    GetEuiccChallengeResponse,
    GetEuiccDataRequest,
    GetEuiccDataResponse,
    GetEuiccInfo1Request,
    GetEuiccInfo2Request,
    GetRatRequest,
    GetRatResponse,
    HandleNotification,
    HashCc,
    IccidPresent,
    InitialiseSecureChannelRequest,
    InitiateAuthenticationOkEs9,
    InitiateAuthenticationRequest,
    InitiateAuthenticationResponse,
    IotSpecificInfo,
    KeyIdentifier,
    ListNotificationRequest,
    ListNotificationResponse,
    NotificationConfigurationInformation,
    NotificationMetadata,
    NotificationSentRequest,
    NotificationSentResponse,
    OneTimePublicKey,
    OperatorId,
    OtherSignedNotification,
    PrepareDownloadRequest,
    PrepareDownloadResponse,
    PrepareDownloadResponseError,
    PrepareDownloadResponseOk,
    ProfileInfo,
    ProfileInfoListRequest,
    ProfileInfoListResponse,
    ProfileInstallationResult,
    ProfileInstallationResultData,
    ProfilePolicyAuthorisationRule,
    RemoteProfileProvisioningRequest,
    RemoteProfileProvisioningResponse,
    ReplaceSessionKeysRequest,
    SasAcreditationNumber,
    Segment86,
    Segment87,
    Segment88,
    ServerSigned1,
    SetNicknameRequest,
    SetNicknameResponse,
    Signature,
    SmdpSigned2,
    StoreMetadataRequest,
    SubjectPublicKeyInfo,
    SuccessResult,
    UpdateMetadataRequest,
    VendorSpecificExtension,
    VersionType,
}

roundtrip! { sgp32:
    AddInitialEimRequest,
    AddInitialEimResponse,
    AuthenticateClientOkDpEsipa,
    AuthenticateClientOkDsEsipa,
    AuthenticateClientRequestEsipa,
    AuthenticateClientResponseEsipa,
    CancelSessionOk,
    CancelSessionRequestEsipa,
    CancelSessionResponseEsipa,
    Certs,
    ConfigureImmediateEnable,
    ConfigureImmediateProfileEnablingRequest,
    ConfigureImmediateProfileEnablingResponse,
    ConnectivityParameters,
    ContactSmds,
    DeleteEim,
    DisableEmergencyProfileRequest,
    DisableEmergencyProfileResponse,
    EimAcknowledgements,
    EimConfigurationData,
    EimIdInfo,
    EimPackageErrorWithCid,
    EimPackageReceivedWithCid,
    EimPackageResultResponseError,
    EmptyResponse,
    EnableEmergencyProfileRequest,
    EnableEmergencyProfileResponse,
    EnablePsmo,
    EprAndNotifications,
    EuiccMemoryResetRequest,
    EuiccMemoryResetResponse,
    EuiccPackageErrorDataSigned,
    EuiccPackageErrorSigned,
    EuiccPackageErrorUnsigned,
    EuiccPackageRequest,
    EuiccPackageResult,
    EuiccPackageResultDataSigned,
    EuiccPackageResultSigned,
    EuiccPackageSigned,
    ExecuteFallbackMechanismRequest,
    ExecuteFallbackMechanismResponse,
    GetBoundProfilePackageOkEsipa,
    GetBoundProfilePackageRequestEsipa,
    GetBoundProfilePackageResponseEsipa,
    GetCertsRequest,
    GetCertsResponse,
    GetConnectivityParametersRequest,
    GetConnectivityParametersResponse,
    GetEimConfigurationDataRequest,
    GetEimConfigurationDataResponse,
    GetEimPackageRequest,
    GetEimPackageResponse,
    HandleNotificationEsipa,
    IccidArgument,
    ImmediateEnableRequest,
    ImmediateEnableResponse,
    InitiateAuthenticationOkEsipa,
    InitiateAuthenticationRequestEsipa,
    InitiateAuthenticationResponseEsipa,
    IpaCapabilities,
    IpaEuiccData,
    IpaEuiccDataRequest,
    IpaEuiccDataResponse,
    IpaEuiccDataResponseError,
    IpaeActivationRequest,
    IpaeActivationResponse,
    IsdrProprietaryApplicationTemplateIot,
    NoArguments,
    ProfileDownloadError,
    ProfileDownloadTriggerRequest,
    ProfileDownloadTriggerResult,
    ProfileRollbackRequest,
    ProfileRollbackResponse,
    ProvideEimPackageResult,
    ProvideEimPackageResultResponse,
    RetrieveNotificationsListRequest,
    RetrieveNotificationsListResponse,
    ReturnFromFallbackRequest,
    ReturnFromFallbackResponse,
    SequenceNumber,
    SetDefaultDpAddressRequest,
    SetDefaultDpAddressResponse,
    TransferEimPackageRequest,
    TransferEimPackageResponse,
}
