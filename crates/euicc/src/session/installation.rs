//! Installing a profile that was received completely (SGP.22 v2.5 sections 2.5.3 and 3.1.3.3).

use rsp::der::{Element, Octets};
use rsp::saip::{
    AkaAlgorithm, AkaConfiguration, EuiccResponse, InstallReport, PeStatusCode, ProfilePackage,
};
use rsp::sgp22::{
    BppCommandId, ErrorReason, FinalResult, ProfileClass, ProfileInstallationResult, SuccessResult,
};

use super::bpp::{Failed, Received};
use super::policy::install_addresses;
use super::result::Refusal;
use super::{Downloaded, Host, InstallError, NewProfile};

/// What a completed installation gives back.
pub(super) struct Installed {
    pub(super) downloaded: Downloaded,
    pub(super) result: ProfileInstallationResult,
}

impl Received {
    /// Checks the package and stores the profile with its result and notifications, all of it or nothing.
    pub(super) fn install(self, host: &mut dyn Host) -> Result<Installed, Box<Failed>> {
        let iccid = self.metadata.iccid;
        let refused = |refusal: Refusal| refusal.about(Some(iccid));
        let report = match self.check(host) {
            Ok(report) => report,
            Err(refusal) => {
                return Err(Box::new(Failed {
                    refusal: refused(refusal),
                    transaction: self.transaction,
                }));
            }
        };
        let transaction = self.transaction;
        let success = FinalResult::SuccessResult(SuccessResult {
            aid: self.isdp_aid.clone(),
            sima_response: Octets(report.response.to_der()),
            extensions: Default::default(),
        });
        let signed = transaction
            .installation_result(host.next_sequence_number(), Some(iccid), success)
            .and_then(|result| {
                let notifications = install_addresses(&self.metadata)
                    .map(|address| {
                        transaction.install_notification(
                            host.next_sequence_number(),
                            address.to_owned(),
                            iccid,
                        )
                    })
                    .collect::<Result<Vec<_>, _>>()?;
                Ok((result, notifications))
            });
        let Ok((result, notifications)) = signed else {
            let refusal = refused(loading(ErrorReason::InstallFailedDueToUnknownError));
            return Err(Box::new(Failed {
                transaction,
                refusal,
            }));
        };
        let downloaded = Downloaded {
            iccid,
            smdp_oid: transaction.smdp_oid.clone(),
            smdp_address: transaction.server_address.clone(),
        };
        let stored = host.install(NewProfile {
            isdp_aid: self.isdp_aid,
            ci_key_id: transaction.ci_key_id.clone(),
            metadata: self.metadata,
            dp_proprietary_data: self.dp_proprietary_data,
            origin: downloaded.clone(),
            package: self.package,
            size_octets: report.size_octets,
            result: result.clone(),
            notifications,
        });
        match stored {
            Ok(()) => Ok(Installed { downloaded, result }),
            Err(error) => {
                let reason = match error {
                    InstallError::InsufficientMemory => {
                        ErrorReason::InstallFailedDueToInsufficientMemoryForProfile
                    }
                    InstallError::Storage => ErrorReason::InstallFailedDueToUnknownError,
                };
                Err(Box::new(Failed {
                    transaction,
                    refusal: refused(loading(reason)),
                }))
            }
        }
    }

    fn check(&self, host: &dyn Host) -> Result<InstallReport, Refusal> {
        let package =
            ProfilePackage::parse(&self.package).map_err(|error| processing(&error.response()))?;
        // A header that cannot be read is judged by the check below.
        let announced = package.header().ok().and_then(|header| header.iccid().ok());
        if announced.is_some_and(|iccid| iccid != self.metadata.iccid) {
            return Err(loading(ErrorReason::InstallFailedDueToDataMismatch));
        }
        let mut capabilities = host.capabilities();
        capabilities.free_octets = capabilities.free_octets.min(host.free_memory_octets());
        let report = package
            .check(&capabilities)
            .map_err(|response| processing(&response))?;
        if self.metadata.class() == ProfileClass::Test && !has_only_test_keys(&package) {
            return Err(loading(
                ErrorReason::TestProfileInstallFailedDueToInvalidNaaKey,
            ));
        }
        Ok(report)
    }
}

/// Test profiles may be enabled without their owner's rules, so they must not be able to authenticate in a real network: K
/// counts up from 00 in all octets but the last (SGP.22 v2.5 section 2.4.5).
fn has_only_test_keys(package: &ProfilePackage) -> bool {
    package.authentication().is_ok_and(|applications| {
        applications.iter().all(|application| match application {
            AkaConfiguration::Mapped { .. }
            | AkaConfiguration::Own {
                algorithm: AkaAlgorithm::UsimTestAlgorithm,
                ..
            } => true,
            AkaConfiguration::Own { key, .. } => match key.expose() {
                [counted @ .., _last] => counted
                    .iter()
                    .copied()
                    .eq((0..=u8::MAX).take(counted.len())),
                [] => false,
            },
        })
    })
}

fn loading(reason: ErrorReason) -> Refusal {
    Refusal::new(BppCommandId::LoadProfileElements, reason)
}

fn processing(response: &EuiccResponse) -> Refusal {
    let lacks_memory = response
        .pe_status
        .iter()
        .any(|entry| entry.status == PeStatusCode::NotEnoughMemory);
    let reason = if lacks_memory {
        ErrorReason::InstallFailedDueToInsufficientMemoryForProfile
    } else {
        ErrorReason::InstallFailedDueToPeProcessingError
    };
    Refusal {
        sima_response: Some(Octets(response.to_der())),
        ..loading(reason)
    }
}
