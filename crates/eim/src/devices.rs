//! Devices: looking up, and what operators know of them. They are registered and retired by the authority's feed.

use pki::ChainError;
use rsp::ids::Eid;
use store::SqlError;

use crate::actor::Actor;
use crate::pending;
use crate::tables::{devices, events, inventory, notifications};
use crate::{
    AssociatedEim, Contact, Device, DeviceState, Eim, Event, Notification, Profile, StorageError,
};

/// What an operator knows of a registered device beforehand. What is absent stays as it is.
#[derive(Debug, Clone)]
pub struct DeviceData {
    /// The eUICC's identity.
    pub eid: Eid,
    /// The operator's name for it.
    pub label: Option<String>,
    /// The token that AddInitialEim or addEim returned. If it is not known, it is learnt from the
    /// device and stands once a signed result has proved it.
    pub association_token: Option<i64>,
    /// CERT.EUICC and CERT.EUM, X.509 DER.
    pub certificates: Option<(Vec<u8>, Vec<u8>)>,
}

impl DeviceData {
    /// Nothing but the EID.
    pub fn new(eid: Eid) -> Self {
        Self {
            eid,
            label: None,
            association_token: None,
            certificates: None,
        }
    }

    pub(crate) fn enrichment(&self) -> devices::Enrichment {
        devices::Enrichment {
            label: self.label.clone(),
            association_token: self.association_token,
            certificates: self.certificates.clone(),
        }
    }
}

/// Why a verb about a device was refused.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// No such device.
    #[error("no device with EID {0} is registered")]
    Unknown(Eid),
    /// It is no longer managed.
    #[error("the device with EID {0} is retired; register it again to manage it")]
    Retired(Eid),
    /// A label that is too long.
    #[error("a label has at most {limit} characters")]
    Label {
        /// Characters allowed.
        limit: usize,
    },
    /// The certificates do not show this EID.
    #[error("the certificates do not belong to an eUICC with this EID")]
    Certificates(#[source] CertificateProblem),
    /// The database.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why certificates of an eUICC were refused.
#[derive(Debug, thiserror::Error)]
pub enum CertificateProblem {
    /// Not a certificate.
    #[error("a certificate does not parse")]
    Malformed(#[from] pki::CertificateError),
    /// The chain is bad.
    #[error("the chain is bad")]
    Chain(#[from] ChainError),
    /// The chain is good, for another eUICC.
    #[error("the certificate is that of EID {found}")]
    OtherEid {
        /// The EID in the certificate.
        found: String,
    },
}

impl From<SqlError> for DeviceError {
    fn from(error: SqlError) -> Self {
        Self::Storage(error.into())
    }
}

impl From<store::StoreFault> for DeviceError {
    fn from(fault: store::StoreFault) -> Self {
        Self::Storage(fault.into())
    }
}

const LABEL_CHARACTERS_MAX: usize = 200;

impl Eim {
    /// Adds what an operator knows of a registered device. Certificates are verified here and by the authority.
    pub async fn enrich_device(
        &self,
        actor: &Actor,
        data: DeviceData,
    ) -> Result<Device, DeviceError> {
        let eid = data.eid;
        self.check_data(&data)?;
        if data.certificates.is_some() {
            self.forget_key(eid);
        }
        let row = data.enrichment();
        let at = self.now_ms();
        let enriched = pending::enriched(self.new_id(), eid, at, &actor.to_string(), &row);
        self.change(eid, move |tx| {
            let device = devices::find(tx, eid)?.ok_or(DeviceError::Unknown(eid))?;
            if device.state == DeviceState::Retired {
                return Err(DeviceError::Retired(eid));
            }
            devices::enrich(tx, eid, &row, at)?;
            enriched.append(tx)?;
            devices::find(tx, eid)?.ok_or(DeviceError::Unknown(eid))
        })
        .await
    }

    /// What can be said against it without looking at the device.
    pub(crate) fn check_data(&self, data: &DeviceData) -> Result<(), DeviceError> {
        let is_long = |label: &String| label.chars().count() > LABEL_CHARACTERS_MAX;
        if data.label.as_ref().is_some_and(is_long) {
            return Err(DeviceError::Label {
                limit: LABEL_CHARACTERS_MAX,
            });
        }
        match &data.certificates {
            Some((euicc, eum)) => self
                .verify_certificates(data.eid, euicc, eum)
                .map(|_| ())
                .map_err(DeviceError::Certificates),
            None => Ok(()),
        }
    }

    /// One device.
    pub fn device(&self, eid: Eid) -> Result<Device, DeviceError> {
        self.read(|tx| devices::find(tx, eid)?.ok_or(DeviceError::Unknown(eid)))
    }

    /// Devices in the order of their EIDs, after `after`.
    pub fn devices(&self, after: Option<Eid>, limit: u32) -> Result<Vec<Device>, StorageError> {
        self.read(|tx| Ok(devices::page(tx, after, limit)?))
    }

    /// How many devices there are, retired ones included.
    pub fn device_count(&self) -> Result<i64, StorageError> {
        self.read(|tx| Ok(devices::count(tx)?))
    }

    /// When a device was last heard of. A few seconds behind.
    pub fn contact(&self, eid: Eid) -> Result<Option<Contact>, StorageError> {
        self.read(|tx| Ok(devices::contact(tx, eid)?))
    }

    /// The Profiles that its eUICC was last known to hold.
    pub fn profiles(&self, eid: Eid) -> Result<Vec<Profile>, StorageError> {
        self.read(|tx| Ok(inventory::profiles(tx, eid)?))
    }

    /// The eIMs in its last signed listEim result.
    pub fn associated_eims(&self, eid: Eid) -> Result<Vec<AssociatedEim>, StorageError> {
        self.read(|tx| Ok(inventory::eims(tx, eid)?))
    }

    /// Its Notifications, newest first.
    pub fn notifications(&self, eid: Eid, limit: u32) -> Result<Vec<Notification>, StorageError> {
        self.read(|tx| Ok(notifications::page(tx, eid, limit)?))
    }

    /// What happened on it, oldest first, after `after`.
    pub fn events(
        &self,
        eid: Eid,
        after: Option<uuid::Uuid>,
        limit: u32,
    ) -> Result<Vec<Event>, StorageError> {
        self.read(|tx| Ok(events::page(tx, eid, after, limit)?))
    }
}
