//! eIM Configuration Operations (SGP.32 v1.2 sections 2.10, 3.5).

use rsp::der::Extensions;
use rsp::sgp32::{
    AddEimResult, AddEimResultCode, DeleteEimResult, Eco, EimConfigurationData, EimId, EimIdInfo,
    EuiccResultData as R, ListEimResult, ProcessingTerminated, UpdateEimResult,
};

use super::execution::{Execution, Outcome};
use crate::decisions::{COUNTER_LOWERED_ONLY_WITH_NEW_KEY, UPDATE_EIM_WITH_TOKEN_IS_REFUSED};
use crate::eims::{
    NewAssociation, fits, is_ci_known, is_counter_in_range, new_association, public_key,
};

pub(super) fn execute(execution: &mut Execution<'_>, eco: Eco) -> Outcome {
    Outcome::Done(match eco {
        Eco::AddEim(data) => R::AddEimResult(execution.add_eim(&data)),
        Eco::DeleteEim(delete) => R::DeleteEimResult(execution.delete_eim(&delete.eim_id)),
        Eco::UpdateEim(data) => R::UpdateEimResult(execution.update_eim(data)),
        Eco::ListEim(_) => R::ListEimResult(execution.list_eim()),
        Eco::Unknown(_) => {
            return Outcome::Terminated(ProcessingTerminated::UnknownOrDamagedCommand);
        }
    })
}

impl Execution<'_> {
    fn add_eim(&mut self, data: &EimConfigurationData) -> AddEimResult {
        let association = match self.check_add(data) {
            Ok(association) => association,
            Err(code) => return AddEimResult::AddEimResultCode(code),
        };
        let NewAssociation {
            mut eim,
            wants_token,
        } = association;
        let state = &mut self.platform.state;
        let token = wants_token.then(|| state.take_association_token());
        eim.association_token = token;
        state.eims.push(eim);
        token.map_or(
            AddEimResult::AddEimResultCode(AddEimResultCode::Ok),
            AddEimResult::AssociationToken,
        )
    }

    fn check_add(&self, data: &EimConfigurationData) -> Result<NewAssociation, AddEimResultCode> {
        let state = &self.platform.state;
        if state.eim(&data.eim_id).is_some() {
            return Err(AddEimResultCode::AssociatedEimAlreadyExists);
        }
        let association = new_association(self.platform, data)?;
        if state.eims.len() as u64 >= state.options.eims_max.max(0) as u64 {
            return Err(AddEimResultCode::InsufficientMemory);
        }
        Ok(association)
    }

    /// The last one may go too: then the eUICC is open to AddInitialEim again.
    fn delete_eim(&mut self, eim_id: &EimId) -> DeleteEimResult {
        let eims = &mut self.platform.state.eims;
        let before = eims.len();
        eims.retain(|eim| eim.configuration.eim_id != *eim_id);
        if eims.len() == before {
            DeleteEimResult::EimNotFound
        } else if eims.is_empty() {
            DeleteEimResult::LastEimDeleted
        } else {
            DeleteEimResult::Ok
        }
    }

    /// Replaces the members that are present.
    fn update_eim(&mut self, data: EimConfigurationData) -> UpdateEimResult {
        let state = &self.platform.state;
        let Some(current) = state.eim(&data.eim_id) else {
            return UpdateEimResult::EimNotFound;
        };
        if let Some(counter_value) = data.counter_value {
            let is_lower = counter_value < current.counter_value;
            let has_new_key = data.eim_public_key_data.as_ref().is_some_and(|new| {
                let old = current.configuration.eim_public_key_data.as_ref();
                public_key(new) != old.and_then(public_key)
            });
            let is_refused = is_lower && COUNTER_LOWERED_ONLY_WITH_NEW_KEY && !has_new_key;
            if !is_counter_in_range(counter_value) || is_refused {
                return UpdateEimResult::CounterValueOutOfRange;
            }
        }
        if !is_ci_known(self.platform, &data) {
            return UpdateEimResult::CiPKUnknown;
        }
        if data.association_token.is_some() && UPDATE_EIM_WITH_TOKEN_IS_REFUSED {
            return UpdateEimResult::CommandError;
        }
        if data
            .eim_public_key_data
            .as_ref()
            .is_some_and(|key| public_key(key).is_none())
        {
            return UpdateEimResult::CommandError;
        }
        let counter_value = data.counter_value.unwrap_or(current.counter_value);
        let configuration = merged(current.configuration.clone(), data);
        if !fits(&configuration) {
            return UpdateEimResult::UndefinedError;
        }
        if let Some(eim) = self.platform.state.eim_mut(&configuration.eim_id) {
            eim.counter_value = counter_value;
            eim.configuration = configuration;
        }
        UpdateEimResult::Ok
    }

    fn list_eim(&self) -> ListEimResult {
        let eims = self.platform.state.eims.iter().map(|eim| EimIdInfo {
            eim_id: eim.configuration.eim_id.clone(),
            eim_id_type: eim.configuration.eim_id_type,
            extensions: Extensions::default(),
        });
        ListEimResult::EimIdList(eims.collect())
    }
}

/// The members of `new` where present, else those of `old`. Counter value and token are kept elsewhere.
fn merged(old: EimConfigurationData, new: EimConfigurationData) -> EimConfigurationData {
    EimConfigurationData {
        eim_id: old.eim_id,
        eim_fqdn: new.eim_fqdn.or(old.eim_fqdn),
        eim_id_type: new.eim_id_type.or(old.eim_id_type),
        counter_value: None,
        association_token: None,
        eim_public_key_data: new.eim_public_key_data.or(old.eim_public_key_data),
        trusted_public_key_data_tls: new
            .trusted_public_key_data_tls
            .or(old.trusted_public_key_data_tls),
        eim_supported_protocol: new.eim_supported_protocol.or(old.eim_supported_protocol),
        euicc_ci_pk_id: new.euicc_ci_pk_id.or(old.euicc_ci_pk_id),
        indirect_profile_download: new
            .indirect_profile_download
            .or(old.indirect_profile_download),
        extensions: if new.extensions.is_empty() {
            old.extensions
        } else {
            new.extensions
        },
    }
}
