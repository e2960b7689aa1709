//! The state in use, with the keys made ready and the memory behind it.
//!
//! A command works on `state`; [`Platform::commit`] makes that durable in one step, [`Platform::roll_back`] forgets it. Nothing
//! of a command may be answered before its commit.

mod birth;
mod host;
mod profiles;

pub use birth::CardError;
pub(crate) use profiles::Notify;

use std::sync::Arc;

use pki::{Certificate as ParsedCertificate, PrivateKey, Signer, TrustAnchors};
use rsp::der::{Encoded, Octets};
use rsp::ids::Iccid;
use rsp::sgp22::{
    EuiccInfo1, EuiccInfo2, KeyIdentifier, NotificationEvent, NotificationMetadata, Signature,
};

use crate::apdu::StatusWord;
use crate::limits::PENDING_MAX;
use crate::nvm::{CommitLog, NvmError};
use crate::session::Identity;
use crate::state::{KeptNotification, Pending, Profile, State};

/// See the module.
pub(crate) struct Platform {
    pub(crate) state: State,
    committed: State,
    log: CommitLog,
    keys: Vec<ReadyIdentity>,
    trust: TrustAnchors,
    /// Why the memory failed; nothing works after that.
    fault: Option<NvmError>,
}

struct ReadyIdentity {
    ci_key_id: Octets,
    identity: Identity,
}

/// Why a command ended without its answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Refused with this status word; the state is as before.
    Status(StatusWord),
    /// The memory failed; the card is dead until it is powered on again.
    Memory,
}

impl From<StatusWord> for Failure {
    fn from(status: StatusWord) -> Self {
        Self::Status(status)
    }
}

impl Platform {
    fn new(log: CommitLog, state: State) -> Result<Self, CardError> {
        let keys = state
            .identities
            .iter()
            .map(|stored| {
                let key = PrivateKey::from_pkcs8_der(stored.private_key.expose())
                    .map_err(CardError::StoredKey)?;
                let signer: Arc<dyn Signer> = Arc::new(key);
                Ok(ReadyIdentity {
                    ci_key_id: stored.ci_key_id.clone(),
                    identity: Identity::new(
                        signer,
                        stored.euicc_certificate.clone(),
                        stored.eum_certificate.clone(),
                        stored.sub_cas.as_deref().unwrap_or_default(),
                    ),
                })
            })
            .collect::<Result<_, CardError>>()?;
        let mut trust = TrustAnchors::new();
        for certificate in &state.ci_certificates {
            let parsed = ParsedCertificate::from_der(certificate.as_der())
                .map_err(CardError::CiCertificate)?;
            trust.add_ci(parsed).map_err(CardError::Ci)?;
        }
        Ok(Self {
            committed: state.clone(),
            state,
            log,
            keys,
            trust,
            fault: None,
        })
    }

    /// Makes the state durable if it changed.
    pub(crate) fn commit(&mut self) -> Result<(), Failure> {
        if self.fault.is_some() {
            return Err(Failure::Memory);
        }
        if self.state == self.committed {
            return Ok(());
        }
        if let Err(fault) = self.log.commit(&self.state.encode()) {
            tracing::warn!(
                error = &fault as &dyn std::error::Error,
                "card memory failed"
            );
            self.fault = Some(fault);
            return Err(Failure::Memory);
        }
        self.committed = self.state.clone();
        Ok(())
    }

    /// Forgets what was not committed.
    pub(crate) fn roll_back(&mut self) {
        if self.state != self.committed {
            self.state = self.committed.clone();
        }
    }

    /// Why the memory failed, if it did.
    pub(crate) fn fault(&self) -> Option<&NvmError> {
        self.fault.as_ref()
    }

    /// Reads the state again from the memory, as after a power cycle.
    pub(crate) fn restart(self) -> Result<Self, CardError> {
        Self::power_on(self.log.into_nvm())
    }

    /// The keys under a CI, or for `None` the preferred ones.
    pub(crate) fn identity(&self, ci_key_id: Option<&[u8]>) -> Option<&Identity> {
        let ready = match ci_key_id {
            Some(key_id) => self
                .keys
                .iter()
                .find(|ready| ready.ci_key_id[..] == *key_id),
            None => self.keys.first(),
        };
        ready.map(|ready| &ready.identity)
    }

    /// Signs with SK.EUICC under a CI, or for `None` under the preferred one.
    pub(crate) fn sign(
        &self,
        ci_key_id: Option<&[u8]>,
        parts: &[&[u8]],
    ) -> Result<Signature, Failure> {
        let identity = self.identity(ci_key_id).ok_or(StatusWord::NO_DIAGNOSIS)?;
        let signature = identity.signer.sign_parts(parts).map_err(|error| {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "card key did not sign"
            );
            StatusWord::NO_DIAGNOSIS
        })?;
        Ok(Signature(Octets(signature.as_bytes().to_vec())))
    }

    /// The key identifiers of `euiccCiPKIdListForSigning`.
    pub(crate) fn signing_cis(&self) -> Vec<KeyIdentifier> {
        self.keys
            .iter()
            .map(|ready| KeyIdentifier(ready.ci_key_id.clone()))
            .collect()
    }

    /// EUICCInfo1 (SGP.22 v2.5 section 5.7.8).
    pub(crate) fn info1(&self) -> EuiccInfo1 {
        EuiccInfo1 {
            svn: self.state.info2_template.svn,
            euicc_ci_pk_id_list_for_verification: self.verification_cis(),
            euicc_ci_pk_id_list_for_signing: self.signing_cis(),
            extensions: Default::default(),
        }
    }

    /// EUICCInfo2 as it is now.
    pub(crate) fn info2(&self) -> EuiccInfo2 {
        EuiccInfo2 {
            ext_card_resource: self.card_resource(),
            euicc_ci_pk_id_list_for_verification: self.verification_cis(),
            euicc_ci_pk_id_list_for_signing: self.signing_cis(),
            ..self.state.info2_template.clone()
        }
    }

    /// CIs with an own key first, in their order, then the others.
    fn verification_cis(&self) -> Vec<KeyIdentifier> {
        let own = self.keys.iter().map(|ready| &ready.ci_key_id[..]);
        let is_own = |key_id: &&[u8]| {
            !self
                .keys
                .iter()
                .any(|ready| ready.ci_key_id[..] == **key_id)
        };
        own.chain(self.trust.key_ids().filter(is_own))
            .map(|key_id| KeyIdentifier(Octets::from(key_id)))
            .collect()
    }

    /// Content of tag FF21 of ETSI TS 102 226: number of applications, free non-volatile and volatile memory.
    fn card_resource(&self) -> Octets {
        const FREE_VOLATILE_OCTETS: u32 = 16 << 10;
        let applications = u8::try_from(self.state.profiles.len()).unwrap_or(u8::MAX);
        let free = u32::try_from(self.state.free_octets()).unwrap_or(u32::MAX);
        let mut content = vec![0x81, 0x01, applications, 0x82, 0x04];
        content.extend(free.to_be_bytes());
        content.extend([0x83, 0x04]);
        content.extend(FREE_VOLATILE_OCTETS.to_be_bytes());
        Octets(content)
    }

    /// Puts something into the list of what waits for acknowledgement. When the list is full the oldest entry goes:
    /// an IPA that never acknowledges must not be able to stop the eUICC.
    pub(crate) fn keep(&mut self, pending: Pending) {
        while self.state.pending.len() >= PENDING_MAX {
            self.state.pending.remove(0);
        }
        self.state.pending.push(pending);
    }

    /// Writes a notification of an event of a Profile for each address that wants to hear of it (SGP.22 v2.5 section
    /// 3.5; `event` is a bit of [`NotificationEvent`]).
    pub(crate) fn notify(&mut self, iccid: &Iccid, event: usize) -> Result<(), Failure> {
        let Some(profile) = self.state.profile(iccid) else {
            return Ok(());
        };
        let ci_key_id = self.notification_ci(profile);
        let addresses: Vec<String> = profile
            .metadata
            .notification_configuration_info
            .iter()
            .flatten()
            .filter(|wish| wish.profile_management_operation.contains(event))
            .map(|wish| wish.notification_address.clone())
            .collect();
        for notification_address in addresses {
            let metadata = Encoded::new(NotificationMetadata {
                seq_number: self.state.take_sequence_number(),
                profile_management_operation: NotificationEvent::of([event]),
                notification_address,
                iccid: Some(*iccid),
                extensions: Default::default(),
            });
            let signature = self.sign(Some(&ci_key_id[..]), &[metadata.bytes()])?;
            self.keep(Pending::Notification(KeptNotification {
                metadata,
                signature,
                ci_key_id: ci_key_id.clone(),
                extensions: Default::default(),
            }));
        }
        Ok(())
    }

    /// The CI whose chain verifies a Profile's notifications: that of its download while the eUICC has it, else the
    /// preferred one.
    fn notification_ci(&self, profile: &Profile) -> KeyIdentifier {
        let of_download = profile
            .ci_key_id
            .clone()
            .filter(|key_id| self.identity(Some(&key_id[..])).is_some());
        of_download
            .or_else(|| self.signing_cis().into_iter().next())
            .unwrap_or_else(|| KeyIdentifier(Octets::default()))
    }
}
