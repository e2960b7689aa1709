//! ES10a, ES10b and ES10c as typed calls.

use rsp::der::{Element, Limits, Null, Octets, RawElement, Reader};
use rsp::ids::{Eid, TransactionId};
use rsp::sgp22::{
    AuthenticateServerRequest, AuthenticateServerResponse, CancelSessionReason,
    CancelSessionRequest, CancelSessionResponse, DeleteNotificationStatus,
    EuiccConfiguredAddressesRequest, EuiccConfiguredAddressesResponse, EuiccInfo1, EuiccInfo2,
    GetEuiccChallengeRequest, GetEuiccChallengeResponse, GetEuiccDataRequest, GetEuiccDataResponse,
    GetEuiccInfo1Request, GetEuiccInfo2Request, GetRatRequest, GetRatResponse, KeyIdentifier,
    NotificationEvent, NotificationSentRequest, NotificationSentResponse, PendingNotification,
    PrepareDownloadRequest, PrepareDownloadResponse, ProfileInfo, ProfileInfoListRequest,
    ProfileInfoListResponse, ProfileInstallationResult, RulesAuthorisationTable,
};
use rsp::sgp32::{
    AddInitialEimOk, AddInitialEimRequest, AddInitialEimResponse, Certs,
    ConfigImmediateEnableResult, ConfigureImmediateProfileEnablingRequest,
    ConfigureImmediateProfileEnablingResponse, ConnectivityParameters,
    DisableEmergencyProfileRequest, DisableEmergencyProfileResponse, DisableEmergencyProfileResult,
    EimConfigurationData, EnableEmergencyProfileRequest, EnableEmergencyProfileResponse,
    EnableEmergencyProfileResult, EuiccMemoryResetRequest, EuiccMemoryResetResponse,
    EuiccPackageResult, ExecuteFallbackMechanismRequest, ExecuteFallbackMechanismResponse,
    ExecuteFallbackMechanismResult, GetCertsRequest, GetCertsResponse,
    GetConnectivityParametersRequest, GetConnectivityParametersResponse,
    GetEimConfigurationDataRequest, GetEimConfigurationDataResponse, ImmediateEnableRequest,
    ImmediateEnableResponse, ImmediateEnableResult, OkOrUndefinedError, ProfileRollbackRequest,
    ProfileRollbackResponse, ResetOptions, RetrieveNotificationsListRequest,
    RetrieveNotificationsListResponse, RetrieveNotificationsSearchCriteria,
    ReturnFromFallbackRequest, ReturnFromFallbackResponse, ReturnFromFallbackResult,
    SetDefaultDpAddressRequest, SetDefaultDpAddressResponse,
};
use rsp::tolerance;

use super::bpp;
use super::channel::{CardError, Es10, decode};

impl Es10<'_> {
    /// ES10c.GetEID.
    pub fn eid(&mut self) -> Result<Eid, CardError> {
        const FUNCTION: &str = "GetEID";
        let request = GetEuiccDataRequest {
            tag_list: Octets(vec![0x5A]),
            extensions: Default::default(),
        };
        let response: GetEuiccDataResponse = self.call(FUNCTION, &request)?;
        Eid::try_from(response.eid_value).map_err(|_| CardError::Protocol {
            function: FUNCTION,
            problem: "what the card gives as its EID is none",
        })
    }

    /// ES10b.GetEUICCInfo, EUICCInfo1.
    pub fn info1(&mut self) -> Result<EuiccInfo1, CardError> {
        self.call(
            "GetEUICCInfo1",
            &GetEuiccInfo1Request {
                extensions: Default::default(),
            },
        )
    }

    /// ES10b.GetEUICCInfo, EUICCInfo2.
    pub fn info2(&mut self) -> Result<EuiccInfo2, CardError> {
        self.call(
            "GetEUICCInfo2",
            &GetEuiccInfo2Request {
                extensions: Default::default(),
            },
        )
    }

    /// ES10b.GetEUICCChallenge. Begins a session and ends the one before.
    pub fn challenge(&mut self) -> Result<[u8; 16], CardError> {
        let request = GetEuiccChallengeRequest {
            extensions: Default::default(),
        };
        let response: GetEuiccChallengeResponse = self.call("GetEUICCChallenge", &request)?;
        Ok(response.euicc_challenge)
    }

    /// ES10b.GetRAT.
    pub fn rules_authorisation_table(&mut self) -> Result<RulesAuthorisationTable, CardError> {
        let request = GetRatRequest {
            extensions: Default::default(),
        };
        let response: GetRatResponse = self.call("GetRAT", &request)?;
        Ok(response.rat)
    }

    /// ES10c.GetProfilesInfo, for all Profiles.
    ///
    /// `tag_list` holds concatenated tags; `None` leaves the choice to the eUICC.
    pub fn profiles(&mut self, tag_list: Option<&[u8]>) -> Result<Vec<ProfileInfo>, CardError> {
        const FUNCTION: &str = "GetProfilesInfo";
        let request = ProfileInfoListRequest {
            search_criteria: None,
            tag_list: tag_list.map(Octets::from),
            extensions: Default::default(),
        };
        match self.call(FUNCTION, &request)? {
            ProfileInfoListResponse::ProfileInfoListOk(profiles) => Ok(profiles),
            ProfileInfoListResponse::ProfileInfoListError(code) => Err(CardError::Code {
                function: FUNCTION,
                code: code.number(),
            }),
            ProfileInfoListResponse::Unknown(_) => Err(unknown(FUNCTION)),
        }
    }

    /// ES10a.GetEuiccConfiguredAddresses.
    pub fn addresses(&mut self) -> Result<EuiccConfiguredAddressesResponse, CardError> {
        let request = EuiccConfiguredAddressesRequest {
            extensions: Default::default(),
        };
        self.call("GetEuiccConfiguredAddresses", &request)
    }

    /// ES10a.SetDefaultDpAddress; an empty text removes it.
    pub fn set_default_dp_address(
        &mut self,
        address: &str,
    ) -> Result<OkOrUndefinedError, CardError> {
        let request = SetDefaultDpAddressRequest {
            default_dp_address: address.to_owned(),
            extensions: Default::default(),
        };
        let response: SetDefaultDpAddressResponse = self.call("SetDefaultDpAddress", &request)?;
        Ok(response.set_default_dp_address_result)
    }

    /// ES10b.GetCerts. `Ok(None)`: the eUICC has no chain under this CI.
    pub fn certificates(
        &mut self,
        ci_key_id: Option<KeyIdentifier>,
    ) -> Result<Option<Certs>, CardError> {
        const FUNCTION: &str = "GetCerts";
        let request = GetCertsRequest {
            euicc_ci_pk_id: ci_key_id,
            extensions: Default::default(),
        };
        match self.call(FUNCTION, &request)? {
            GetCertsResponse::Certs(certs) => Ok(Some(certs)),
            GetCertsResponse::GetCertsError(rsp::sgp32::GetCertsError::InvalidCiPKId) => Ok(None),
            GetCertsResponse::GetCertsError(code) => Err(CardError::Code {
                function: FUNCTION,
                code: code.number(),
            }),
            GetCertsResponse::Unknown(_) => Err(unknown(FUNCTION)),
        }
    }

    /// ES10b.GetEimConfigurationData, for all eIMs. An eUICC that knows none may also refuse with 6A88.
    pub fn eim_configuration(&mut self) -> Result<Vec<EimConfigurationData>, CardError> {
        let request = GetEimConfigurationDataRequest {
            search_criteria: None,
            extensions: Default::default(),
        };
        match self.call::<_, GetEimConfigurationDataResponse>("GetEimConfigurationData", &request) {
            Ok(response) => Ok(response.eim_configuration_data_list),
            Err(CardError::Status { status: 0x6A88, .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// ES10b.AddInitialEim. One answer per eIM.
    ///
    /// # Errors
    /// [`CardError::Code`] with a number of `AddEimResultCode`, among others.
    pub fn add_initial_eim(
        &mut self,
        eims: Vec<EimConfigurationData>,
    ) -> Result<Vec<AddInitialEimOk>, CardError> {
        const FUNCTION: &str = "AddInitialEim";
        let request = AddInitialEimRequest {
            eim_configuration_data_list: eims,
            extensions: Default::default(),
        };
        match self.call(FUNCTION, &request)? {
            AddInitialEimResponse::AddInitialEimOk(answers) => Ok(answers),
            AddInitialEimResponse::AddInitialEimError(code) => Err(CardError::Code {
                function: FUNCTION,
                code: code.number(),
            }),
            AddInitialEimResponse::Unknown(_) => Err(unknown(FUNCTION)),
        }
    }

    /// ES10b.ConfigureImmediateProfileEnabling; only while no eIM is associated.
    pub fn configure_immediate_enabling(
        &mut self,
        request: &ConfigureImmediateProfileEnablingRequest,
    ) -> Result<ConfigImmediateEnableResult, CardError> {
        let response: ConfigureImmediateProfileEnablingResponse =
            self.call("ConfigureImmediateProfileEnabling", request)?;
        Ok(response.config_immediate_enable_result)
    }

    /// ES10b.LoadEuiccPackage: octets in, octets out. The answer is not looked at here.
    pub fn load_euicc_package(&mut self, package: &[u8]) -> Result<Vec<u8>, CardError> {
        self.store_data("LoadEuiccPackage", package)
    }

    /// ES10b.RetrieveNotificationsList for Notifications.
    pub fn notifications(
        &mut self,
        criteria: Option<NotificationCriteria>,
    ) -> Result<Vec<PendingNotification>, CardError> {
        const FUNCTION: &str = "RetrieveNotificationsList";
        let criteria = criteria.map(|criteria| match criteria {
            NotificationCriteria::SequenceNumber(number) => {
                RetrieveNotificationsSearchCriteria::SeqNumber(number)
            }
            NotificationCriteria::Event(event) => {
                RetrieveNotificationsSearchCriteria::ProfileManagementOperation(event)
            }
        });
        match self.retrieve_notifications_list(criteria)? {
            RetrieveNotificationsListResponse::NotificationList(list) => Ok(list),
            RetrieveNotificationsListResponse::EuiccPackageResultList(_) => Ok(Vec::new()),
            RetrieveNotificationsListResponse::NotificationsListResultError(code) => {
                Err(CardError::Code {
                    function: FUNCTION,
                    code: code.number(),
                })
            }
            RetrieveNotificationsListResponse::Unknown(_) => Err(unknown(FUNCTION)),
        }
    }

    /// ES10b.RetrieveNotificationsList for eUICC Package Results.
    pub fn package_results(&mut self) -> Result<Vec<EuiccPackageResult>, CardError> {
        const FUNCTION: &str = "RetrieveNotificationsList";
        let criteria = RetrieveNotificationsSearchCriteria::EuiccPackageResults(Null);
        match self.retrieve_notifications_list(Some(criteria))? {
            RetrieveNotificationsListResponse::EuiccPackageResultList(list) => Ok(list),
            RetrieveNotificationsListResponse::NotificationList(_) => Ok(Vec::new()),
            RetrieveNotificationsListResponse::NotificationsListResultError(code) => {
                Err(CardError::Code {
                    function: FUNCTION,
                    code: code.number(),
                })
            }
            RetrieveNotificationsListResponse::Unknown(_) => Err(unknown(FUNCTION)),
        }
    }

    fn retrieve_notifications_list(
        &mut self,
        search_criteria: Option<RetrieveNotificationsSearchCriteria>,
    ) -> Result<RetrieveNotificationsListResponse, CardError> {
        let request = RetrieveNotificationsListRequest {
            search_criteria,
            extensions: Default::default(),
        };
        self.call("RetrieveNotificationsList", &request)
    }

    /// ES10b.RemoveNotificationFromList. Whether there was something to remove.
    pub fn remove_notification(&mut self, sequence_number: i64) -> Result<bool, CardError> {
        const FUNCTION: &str = "RemoveNotificationFromList";
        let request = NotificationSentRequest {
            seq_number: sequence_number,
            extensions: Default::default(),
        };
        let response: NotificationSentResponse = self.call(FUNCTION, &request)?;
        match response.delete_notification_status {
            DeleteNotificationStatus::Ok => Ok(true),
            DeleteNotificationStatus::NothingToDelete => Ok(false),
            code => Err(CardError::Code {
                function: FUNCTION,
                code: code.number(),
            }),
        }
    }

    /// ES10b.AuthenticateServer.
    pub fn authenticate_server(
        &mut self,
        request: &AuthenticateServerRequest,
    ) -> Result<AuthenticateServerResponse, CardError> {
        self.call("AuthenticateServer", request)
    }

    /// ES10b.PrepareDownload.
    pub fn prepare_download(
        &mut self,
        request: &PrepareDownloadRequest,
    ) -> Result<PrepareDownloadResponse, CardError> {
        self.call("PrepareDownload", request)
    }

    /// ES10b.LoadBoundProfilePackage, in the segments of SGP.22 v2.5 section 2.5.5. The eUICC's result ends it, success or
    /// not.
    pub fn load_bound_profile_package(
        &mut self,
        package: &[u8],
    ) -> Result<ProfileInstallationResult, CardError> {
        const FUNCTION: &str = "LoadBoundProfilePackage";
        let limits = Limits::default();
        let commands = bpp::commands(package, &limits).map_err(|source| CardError::Malformed {
            function: FUNCTION,
            source,
        })?;
        for command in commands {
            let answer = self.store_data(FUNCTION, command)?;
            if !answer.is_empty() {
                return decode(FUNCTION, &answer);
            }
        }
        Err(CardError::Protocol {
            function: FUNCTION,
            problem: "the package ended without a result",
        })
    }

    /// ES10b.CancelSession.
    pub fn cancel_session(
        &mut self,
        transaction_id: TransactionId,
        reason: CancelSessionReason,
    ) -> Result<CancelSessionResponse, CardError> {
        let request = CancelSessionRequest {
            transaction_id,
            reason,
            extensions: Default::default(),
        };
        self.call("CancelSession", &request)
    }

    /// ES10b.ImmediateEnable.
    pub fn immediate_enable(
        &mut self,
        refresh_flag: bool,
    ) -> Result<ImmediateEnableResult, CardError> {
        let request = ImmediateEnableRequest {
            refresh_flag,
            extensions: Default::default(),
        };
        let response: ImmediateEnableResponse = self.call("ImmediateEnable", &request)?;
        Ok(response.immediate_enable_result)
    }

    /// ES10b.ProfileRollback.
    pub fn profile_rollback(
        &mut self,
        refresh_flag: bool,
    ) -> Result<ProfileRollbackResponse, CardError> {
        let request = ProfileRollbackRequest {
            refresh_flag,
            extensions: Default::default(),
        };
        self.call("ProfileRollback", &request)
    }

    /// ES10b.ExecuteFallbackMechanism.
    pub fn execute_fallback(
        &mut self,
        refresh_flag: bool,
    ) -> Result<ExecuteFallbackMechanismResult, CardError> {
        let request = ExecuteFallbackMechanismRequest {
            refresh_flag,
            extensions: Default::default(),
        };
        let response: ExecuteFallbackMechanismResponse =
            self.call("ExecuteFallbackMechanism", &request)?;
        Ok(response.execute_fallback_mechanism_result)
    }

    /// ES10b.ReturnFromFallback.
    pub fn return_from_fallback(
        &mut self,
        refresh_flag: bool,
    ) -> Result<ReturnFromFallbackResult, CardError> {
        let request = ReturnFromFallbackRequest {
            refresh_flag,
            extensions: Default::default(),
        };
        let response: ReturnFromFallbackResponse = self.call("ReturnFromFallback", &request)?;
        Ok(response.return_from_fallback_result)
    }

    /// ES10b.EnableEmergencyProfile.
    pub fn enable_emergency_profile(
        &mut self,
        refresh_flag: bool,
    ) -> Result<EnableEmergencyProfileResult, CardError> {
        let request = EnableEmergencyProfileRequest {
            refresh_flag,
            extensions: Default::default(),
        };
        let response: EnableEmergencyProfileResponse =
            self.call("EnableEmergencyProfile", &request)?;
        Ok(response.enable_emergency_profile_result)
    }

    /// ES10b.DisableEmergencyProfile.
    pub fn disable_emergency_profile(
        &mut self,
        refresh_flag: bool,
    ) -> Result<DisableEmergencyProfileResult, CardError> {
        let request = DisableEmergencyProfileRequest {
            refresh_flag,
            extensions: Default::default(),
        };
        let response: DisableEmergencyProfileResponse =
            self.call("DisableEmergencyProfile", &request)?;
        Ok(response.disable_emergency_profile_result)
    }

    /// ES10b.GetConnectivityParameters of the enabled Profile. `Ok(None)`: it has none.
    pub fn connectivity_parameters(&mut self) -> Result<Option<ConnectivityParameters>, CardError> {
        const FUNCTION: &str = "GetConnectivityParameters";
        use GetConnectivityParametersResponse as R;
        let request = GetConnectivityParametersRequest {
            extensions: Default::default(),
        };
        match self.call(FUNCTION, &request)? {
            R::ConnectivityParameters(parameters) => Ok(Some(parameters)),
            R::ConnectivityParametersError(
                rsp::sgp32::ConnectivityParametersError::ParametersNotAvailable,
            ) => Ok(None),
            R::ConnectivityParametersError(code) => Err(CardError::Code {
                function: FUNCTION,
                code: code.number(),
            }),
            R::Unknown(_) => Err(unknown(FUNCTION)),
        }
    }

    /// ES10b.eUICCMemoryReset.
    pub fn memory_reset(
        &mut self,
        options: ResetOptions,
    ) -> Result<EuiccMemoryResetResponse, CardError> {
        let request = EuiccMemoryResetRequest {
            reset_options: options,
            extensions: Default::default(),
        };
        self.call("eUICCMemoryReset", &request)
    }
}

/// Which Notifications to retrieve.
#[derive(Debug, Clone, PartialEq)]
pub enum NotificationCriteria {
    /// The one with this number.
    SequenceNumber(i64),
    /// Those of these events.
    Event(NotificationEvent),
}

/// Reads the answer of LoadEuiccPackage. One that this version cannot read is kept as it is: it is for the eIM to judge.
///
/// # Errors
/// When it is not BF51 with one TLV inside.
pub(crate) fn package_result(answer: &[u8]) -> Result<EuiccPackageResult, CardError> {
    const FUNCTION: &str = "LoadEuiccPackage";
    let limits = tolerance::card_limits();
    EuiccPackageResult::from_der_within(answer, &limits)
        .or_else(|_| {
            let mut reader = Reader::new(answer, &limits)?;
            let mut arms = reader.expect(0xBF51.into())?.open()?;
            let arm = arms.expect_any()?;
            arms.finish()?;
            Ok(EuiccPackageResult::Unknown(RawElement::from_tlv(arm)))
        })
        .map_err(|source| CardError::Malformed {
            function: FUNCTION,
            source,
        })
}

fn unknown(function: &'static str) -> CardError {
    CardError::Protocol {
        function,
        problem: "an answer of unknown kind",
    }
}

#[cfg(test)]
mod tests {
    use hex_literal::hex;

    use super::*;

    #[test]
    fn a_result_that_cannot_be_read_is_passed_on_as_it_came() {
        // EuiccResultData with an ICCID of letters inside: a later version might allow it.
        let odd = hex!("BF51 0A A0 08 30 06 80 01 65 81 01 FF");
        let result = package_result(&odd).unwrap();
        assert!(matches!(result, EuiccPackageResult::Unknown(_)));
        assert_eq!(result.to_der(), odd);
        for wrong in [
            &hex!("BF52 00")[..],
            &hex!("BF51 00"),
            &hex!("BF51 04 A0 00 A1 00"),
            &[],
        ] {
            assert!(package_result(wrong).is_err(), "{wrong:02X?}");
        }
    }
}
