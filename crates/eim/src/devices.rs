//! Devices: registering, looking up, retiring.

use pki::ChainError;
use rsp::ids::Eid;
use serde_json::json;
use store::SqlError;

use crate::actor::Actor;
use crate::tables::{devices, events, inventory, notifications};
use crate::{
    AssociatedEim, Contact, Device, DeviceState, Eim, Event, Notification, Profile, StorageError,
};

/// A device to be registered.
#[derive(Debug, Clone)]
pub struct NewDevice {
    /// The eUICC's identity.
    pub eid: Eid,
    /// The operator's name for it.
    pub label: String,
    /// The token that AddInitialEim or addEim returned, if it is known. If not, it is learnt from
    /// the device and stands once a signed result has proved it.
    pub association_token: Option<i64>,
    /// The counter value last used for this association; 0 for a new one.
    pub counter: i64,
    /// CERT.EUICC and CERT.EUM, X.509 DER, when known beforehand.
    pub certificates: Option<(Vec<u8>, Vec<u8>)>,
}

impl NewDevice {
    /// A device about which nothing but its EID is known.
    pub fn new(eid: Eid) -> Self {
        Self {
            eid,
            label: String::new(),
            association_token: None,
            counter: 0,
            certificates: None,
        }
    }
}

/// Why a verb about a device was refused.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// No such device.
    #[error("no device with EID {0} is registered")]
    Unknown(Eid),
    /// It is there already.
    #[error("a device with EID {0} is registered already")]
    Exists(Eid),
    /// A label that is too long.
    #[error("a label has at most {limit} characters")]
    Label {
        /// Characters allowed.
        limit: usize,
    },
    /// A counter out of range.
    #[error("a counter is between 0 and {max}")]
    Counter {
        /// Largest counter that every eUICC supports.
        max: i64,
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
/// The largest counter that every eUICC must cope with (SGP.32 section 2.11.1.1.1).
pub(crate) const COUNTER_MAX: i64 = 8_388_607;

impl Eim {
    /// Enters a device. From then on it may poll; its data is asked for at its first poll.
    pub async fn register_device(
        &self,
        actor: &Actor,
        new: NewDevice,
    ) -> Result<Device, DeviceError> {
        if new.label.chars().count() > LABEL_CHARACTERS_MAX {
            return Err(DeviceError::Label {
                limit: LABEL_CHARACTERS_MAX,
            });
        }
        if !(0..COUNTER_MAX).contains(&new.counter) {
            return Err(DeviceError::Counter { max: COUNTER_MAX });
        }
        let eid = new.eid;
        if let Some((euicc, eum)) = &new.certificates {
            self.verify_certificates(eid, euicc, eum)
                .map_err(DeviceError::Certificates)?;
        }
        let (euicc_certificate, eum_certificate) = new.certificates.unzip();
        let row = devices::NewRow {
            eid,
            label: new.label,
            counter: new.counter,
            association_token: new.association_token,
            euicc_certificate,
            eum_certificate,
            at: self.now_ms(),
        };
        let registered = self.event(
            eid,
            actor,
            "device-registered",
            json!({ "label": row.label }),
        );
        self.change(eid, move |tx| {
            devices::insert(tx, &row).map_err(|error| {
                if error.is_unique_violation() {
                    DeviceError::Exists(eid)
                } else {
                    error.into()
                }
            })?;
            registered.append(tx)?;
            devices::find(tx, eid)?.ok_or(DeviceError::Unknown(eid))
        })
        .await
    }

    /// Ends the management of a device. Nothing is ever signed for it again.
    pub async fn retire_device(&self, actor: &Actor, eid: Eid) -> Result<(), DeviceError> {
        let at = self.now_ms();
        let retired = self.event(eid, actor, "device-retired", json!({}));
        self.change(eid, move |tx| {
            if devices::find(tx, eid)?.is_none() {
                return Err(DeviceError::Unknown(eid));
            }
            devices::set_state(tx, eid, DeviceState::Retired, at)?;
            retired.append(tx)?;
            Ok(())
        })
        .await
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
