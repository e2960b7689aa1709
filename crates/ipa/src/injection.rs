//! TransferEimPackage: packages that an eIM pushes (SGP.32 v1.2 section 3.1.1.2).

use rsp::binding::esipa::{InjectionRequest, InjectionResponse, TRANSFER_EIM_PACKAGE};
use rsp::binding::http::Binding;
use rsp::der::Null;
use rsp::sgp32::{
    EimId, EimPackageResult, EimPackageResultErrorCode, EuiccPackageRequest,
    TransferEimPackageRequest, TransferEimPackageResponse,
};

use crate::card::CardError;
use crate::client::Contact;
use crate::engine::Engine;
use crate::package::{Loaded, effects};
use crate::salvage::damaged_package;

/// Octets of a request.
const REQUEST_OCTETS_MAX: usize = 1 << 20;

impl Engine<'_> {
    /// Executes a pushed package. `from` is the eIM that the connection belongs to, as far as that is known.
    pub(crate) fn inject(
        &mut self,
        binding: Binding,
        from: Option<&EimId>,
        body: &[u8],
    ) -> Result<Vec<u8>, CardError> {
        let request = if body.len() > REQUEST_OCTETS_MAX {
            None
        } else {
            match binding {
                Binding::Asn1 => InjectionRequest::from_asn1(body).ok(),
                Binding::Json => InjectionRequest::from_json(TRANSFER_EIM_PACKAGE, body).ok(),
            }
        };
        let response = match request {
            Some(InjectionRequest(request)) => self.execute_injected(from, request)?,
            None => {
                tracing::debug!(
                    is_package = damaged_package(binding, body).is_some(),
                    "what was pushed cannot be read"
                );
                error(EimPackageResultErrorCode::InvalidPackageFormat)
            }
        };
        let response = InjectionResponse(response);
        Ok(match binding {
            Binding::Asn1 => response.to_asn1(),
            // Every answer made here has a form in JSON.
            Binding::Json => response.to_json().unwrap_or_default(),
        })
    }

    fn execute_injected(
        &mut self,
        from: Option<&EimId>,
        request: TransferEimPackageRequest,
    ) -> Result<TransferEimPackageResponse, CardError> {
        let eims = self.begin()?;
        let from = match (from, eims.as_slice()) {
            (Some(from), _) => Some(from.clone()),
            (None, [only]) => Some(only.eim_id().clone()),
            (None, _) => None,
        };
        match request {
            TransferEimPackageRequest::EuiccPackageRequest(request) => {
                self.execute_injected_package(&eims, &request)
            }
            TransferEimPackageRequest::IpaEuiccDataRequest(request) => {
                let response = self.collect_data(from.as_ref(), &request)?;
                Ok(TransferEimPackageResponse::IpaEuiccDataResponse(response))
            }
            TransferEimPackageRequest::EimAcknowledgements(list) => {
                let numbers: Vec<i64> = list.iter().map(|number| number.0).collect();
                self.acknowledge(from.as_ref(), &numbers, &[])?;
                Ok(TransferEimPackageResponse::EimPackageReceived(Null))
            }
            TransferEimPackageRequest::ProfileDownloadTriggerRequest(trigger) => match from {
                Some(from) => {
                    // Done at the next poll, which the caller should make soon.
                    self.take_trigger(&from, trigger);
                    Ok(TransferEimPackageResponse::EimPackageReceived(Null))
                }
                None => Ok(error(EimPackageResultErrorCode::UndefinedError)),
            },
            TransferEimPackageRequest::Unknown(_) => {
                Ok(error(EimPackageResultErrorCode::UnknownPackage))
            }
        }
    }

    fn execute_injected_package(
        &mut self,
        eims: &[Contact],
        request: &EuiccPackageRequest,
    ) -> Result<TransferEimPackageResponse, CardError> {
        let acting = request.euicc_package_signed.eim_id.clone();
        let result = match self.load_package(&acting, eims, request)? {
            Loaded::Result(result) => result,
            Loaded::Unusable(code) => return Ok(error(code)),
        };
        let is_about_profiles = effects(&result).is_about_profiles;
        Ok(match self.with_notifications(result, is_about_profiles)? {
            EimPackageResult::EprAndNotifications(both) => {
                TransferEimPackageResponse::EprAndNotifications(both)
            }
            EimPackageResult::EuiccPackageResult(result) => {
                TransferEimPackageResponse::EuiccPackageResult(result)
            }
            _ => error(EimPackageResultErrorCode::UndefinedError),
        })
    }
}

fn error(code: EimPackageResultErrorCode) -> TransferEimPackageResponse {
    TransferEimPackageResponse::EimPackageError(code)
}
