//! One download session: mutual authentication, the checks that are the IPA's, and the load (SGP.22 v2.5 sections 3.0.1 and
//! 3.1.3, SGP.32 v1.2 section 3.2.3).

use rsp::der::{Element, Limits};
use rsp::ids::TransactionId;
use rsp::sgp22::{
    AuthenticateServerRequest, AuthenticateServerResponse, BoundProfilePackage,
    CancelSessionReason, CtxParams1, CtxParamsForCommonAuthentication, HashCc,
    PrepareDownloadRequest, PrepareDownloadResponse, ProfileInstallationResult,
    StoreMetadataRequest,
};
use rsp::sgp32::IpaFeatures;

use super::steps::{Authenticated, Initiated, Offer, registered_id};
use super::{Abort, Ended, Order, Way};
use crate::address;
use crate::card::{CardError, bound_package_metadata};
use crate::engine::Engine;
use crate::ports::Server;

impl Engine<'_> {
    /// One session with a server.
    pub(super) fn download(&mut self, order: &Order) -> Result<Ended, Abort> {
        let info1 = self.es10().info1()?;
        let challenge = self.es10().challenge()?;
        let initiated = self.initiate_authentication(order, challenge, info1)?;
        check_server(order, &challenge, &initiated)?;
        let transaction_id = initiated.transaction_id.clone();
        let response = self.authenticate_server(order, initiated)?;
        match self.authenticate_client(order, &transaction_id, response)? {
            Authenticated::Profile(offer) => self
                .install(order, &transaction_id, *offer)
                .map(Ended::WithResult),
            Authenticated::Events(events) => {
                let orders = events.into_iter().map(|event| Order {
                    way: Way::Direct(Server::Smdp {
                        address: event.rsp_server_address,
                    }),
                    matching_id: Some(event.event_id),
                    smdp_oid: None,
                });
                Ok(Ended::Events(orders.collect()))
            }
            Authenticated::Trigger(trigger) => Ok(Ended::Trigger(trigger)),
        }
    }

    fn authenticate_server(
        &mut self,
        order: &Order,
        initiated: Initiated,
    ) -> Result<AuthenticateServerResponse, Abort> {
        let by_eim = self
            .config
            .features
            .contains(IpaFeatures::EIM_CTX_PARAMS1_GENERATION);
        let ctx_params1 = match initiated.ctx_params1 {
            Some(ctx_params1) if by_eim => ctx_params1,
            _ => {
                let matching_id = order.matching_id.clone().or(initiated.matching_id);
                self.ctx_params1(matching_id)
            }
        };
        let request = AuthenticateServerRequest {
            server_signed1: initiated.server_signed1,
            server_signature1: initiated.server_signature1,
            euicc_ci_pk_id_to_be_used: initiated.ci_key_id,
            server_certificate: initiated.server_certificate,
            ctx_params1,
            other_certs_in_chain: initiated.other_certs_in_chain,
            extensions: Default::default(),
        };
        let response = self.es10().authenticate_server(&request)?;
        match &response {
            AuthenticateServerResponse::AuthenticateResponseOk(_) => Ok(response),
            AuthenticateServerResponse::AuthenticateResponseError(error) => {
                let reason = format!(
                    "the eUICC refuses the server: {}",
                    error.authenticate_error_code
                );
                Err(Abort::refused(reason, response.to_der()))
            }
            _ => Err(Abort::failed(
                "the eUICC answers with something else than was asked for",
            )),
        }
    }

    fn ctx_params1(&self, matching_id: Option<String>) -> CtxParams1 {
        CtxParams1::CtxParamsForCommonAuthentication(CtxParamsForCommonAuthentication {
            matching_id,
            device_info: self.config.device_info.clone(),
            extensions: Default::default(),
        })
    }

    fn install(
        &mut self,
        order: &Order,
        transaction_id: &TransactionId,
        offer: Offer,
    ) -> Result<Box<ProfileInstallationResult>, Abort> {
        let cancel = |reason: &str, code| Abort::cancelled(reason, transaction_id, code);
        if offer.smdp_signed2.transaction_id != *transaction_id {
            let reason = "the server signs another transaction";
            return Err(cancel(reason, CancelSessionReason::UndefinedReason));
        }
        if let Some(metadata) = &offer.metadata {
            self.check_rules(metadata, transaction_id)?;
        }
        if offer.smdp_signed2.cc_required_flag.0 && offer.hash_cc.is_none() {
            // The order stays at the server, so that it can be done when there is a code.
            let reason = "the server wants a confirmation code";
            return Err(cancel(reason, CancelSessionReason::Postponed));
        }
        let shown = offer.metadata;
        let request = PrepareDownloadRequest {
            smdp_signed2: offer.smdp_signed2,
            smdp_signature2: offer.smdp_signature2,
            hash_cc: offer.hash_cc.map(HashCc),
            smdp_certificate: offer.smdp_certificate,
            extensions: Default::default(),
        };
        let prepared = self.es10().prepare_download(&request)?;
        match &prepared {
            PrepareDownloadResponse::DownloadResponseOk(_) => {}
            PrepareDownloadResponse::DownloadResponseError(error) => {
                let reason = format!("the eUICC does not prepare: {}", error.download_error_code);
                return Err(Abort::refused(reason, prepared.to_der()));
            }
            _ => {
                let reason = "the eUICC answers with something else than was asked for";
                return Err(Abort::failed(reason));
            }
        }
        let package = self.get_bound_profile_package(order, transaction_id, prepared)?;
        self.check_package(&package, transaction_id, shown.as_ref())?;
        self.load(order, transaction_id, &package)
    }

    fn check_rules(
        &mut self,
        metadata: &StoreMetadataRequest,
        transaction_id: &TransactionId,
    ) -> Result<(), Abort> {
        if self.are_rules_allowed(metadata)? {
            return Ok(());
        }
        let reason = "the Profile has a Profile Policy Rule that is not allowed";
        Err(Abort::cancelled(
            reason,
            transaction_id,
            CancelSessionReason::PprNotAllowed,
        ))
    }

    /// The package must be for this session, and the Profile the one that was announced.
    fn check_package(
        &mut self,
        package: &[u8],
        transaction_id: &TransactionId,
        shown: Option<&StoreMetadataRequest>,
    ) -> Result<(), Abort> {
        let cancel = |reason: &str, code| Abort::cancelled(reason, transaction_id, code);
        let unreadable = |_| {
            cancel(
                "the package cannot be read",
                CancelSessionReason::LoadBppExecutionError,
            )
        };
        let limits = Limits::default();
        let parsed = BoundProfilePackage::from_der_within(package, &limits).map_err(unreadable)?;
        if parsed.initialise_secure_channel_request.transaction_id != *transaction_id {
            let reason = "the package is for another transaction";
            return Err(cancel(reason, CancelSessionReason::UndefinedReason));
        }
        let metadata = bound_package_metadata(package).map_err(|_| {
            cancel(
                "the metadata in the package cannot be read",
                CancelSessionReason::MetadataMismatch,
            )
        })?;
        match shown {
            Some(shown) if *shown == metadata => Ok(()),
            Some(_) => {
                let reason = "the metadata in the package are not those announced";
                Err(cancel(reason, CancelSessionReason::MetadataMismatch))
            }
            None if self
                .config
                .features
                .contains(IpaFeatures::EIM_PROFILE_METADATA_VERIFICATION) =>
            {
                Ok(())
            }
            None => self.check_rules(&metadata, transaction_id),
        }
    }

    fn load(
        &mut self,
        order: &Order,
        transaction_id: &TransactionId,
        package: &[u8],
    ) -> Result<Box<ProfileInstallationResult>, Abort> {
        // From here on the eUICC may have the Profile although the IPA does not get to know.
        if let Some(download) = self.state.downloads.first_mut() {
            download.transaction_id = Some(transaction_id.clone());
        }
        if let Way::Indirect { eim, .. } = &order.way {
            self.state.add_relayed(transaction_id.clone(), eim.eim_id());
        }
        self.save();
        match self.es10().load_bound_profile_package(package) {
            Ok(result) => Ok(Box::new(result)),
            Err(error @ CardError::Transport(_)) => Err(error.into()),
            Err(error) => {
                let reason = format!("the eUICC stopped the load: {error}");
                let code = CancelSessionReason::LoadBppExecutionError;
                Err(Abort::cancelled(reason, transaction_id, code))
            }
        }
    }
}

/// The checks of SGP.22 v2.5 section 3.0.1 that an LPA makes: the right server, and an answer to our question.
fn check_server(order: &Order, challenge: &[u8; 16], initiated: &Initiated) -> Result<(), Abort> {
    let signed = &initiated.server_signed1;
    let called = match &order.way {
        Way::Direct(server) => Some(server.host()),
        // Without an address it is the eIM that compares.
        Way::Indirect { address, .. } => address.as_deref(),
    };
    if called.is_some_and(|called| !address::is_same(&signed.server_address, called)) {
        return Err(Abort::failed(
            "the server signs another address than the one called",
        ));
    }
    if signed.transaction_id != initiated.transaction_id {
        return Err(Abort::failed("the server signs another transaction"));
    }
    if signed.euicc_challenge != *challenge {
        return Err(Abort::failed("the server signs another challenge"));
    }
    if let Some(expected) = &order.smdp_oid
        && registered_id(&initiated.server_certificate).as_ref() != Some(expected)
    {
        return Err(Abort::failed(
            "the server has another OID than the activation code says",
        ));
    }
    Ok(())
}
