//! The profiles that this server has.

use std::sync::Arc;

use jiff::Timestamp;
use rsp::der::{Element, Encoded};
use rsp::ids::Iccid;
use rsp::saip::{InvalidHeader, ProfilePackage, SaipError};
use rsp::sgp22::StoreMetadataRequest;
use sha2::{Digest, Sha256};

use super::profile::{MetadataError, ProfileMetadata, ProfileState};
use super::server::Core;
use super::status::{Error, Fault};
use crate::protection::{PersonalisationError, personalise};
use crate::store;
use crate::store::profiles::ProfileRow;

/// Imports and lists profiles.
#[derive(Clone)]
pub struct Inventory {
    core: Arc<Core>,
}

/// Profiles to add, all from one unprotected profile package.
#[derive(Debug, Clone)]
pub struct ImportProfile<'a> {
    /// The unprotected profile package (UPP): DER profile elements.
    pub package: &'a [u8],
    /// Name under which operators order profiles of this kind.
    pub profile_type: String,
    /// Name of the operator that may order them; any if `None`.
    pub operator: Option<String>,
    /// What devices and eUICCs are told.
    pub metadata: ProfileMetadata,
    /// ICCIDs of the profiles to make; empty takes the one in the package. The package is made to
    /// carry the ICCID of each profile when it is delivered.
    pub iccids: Vec<Iccid>,
}

/// Why profiles were not imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// Too large.
    #[error("the profile package has {octets} octets; at most {maximum} are accepted")]
    TooLarge {
        /// Its size.
        octets: usize,
        /// The limit.
        maximum: usize,
    },
    /// Not a profile package.
    #[error("this is not an unprotected profile package; it must begin with a ProfileHeader")]
    Package(#[source] SaipError),
    /// Its header or elements are broken.
    #[error("the profile package cannot be read")]
    Element(#[source] rsp::der::Error),
    /// Its header is broken.
    #[error("the header of the profile package is not valid")]
    Header(#[source] InvalidHeader),
    /// Its ICCID cannot be exchanged.
    #[error("the profile package cannot be given another ICCID")]
    Personalisation(#[source] PersonalisationError),
    /// Metadata are not valid.
    #[error("the metadata are not valid")]
    Metadata(#[source] MetadataError),
    /// The type has no name.
    #[error("a profile type has a name of 1 to 64 characters")]
    ProfileType,
    /// The operator is not configured.
    #[error("there is no operator {0:?} in the configuration")]
    UnknownOperator(String),
    /// An ICCID is in the inventory already; nothing was imported.
    #[error("a profile with ICCID {0} is in the inventory already")]
    Known(Iccid),
    /// The server failed.
    #[error("the profiles could not be stored")]
    Server(#[from] Error),
}

/// A profile as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct ProfileView {
    /// Its ICCID.
    pub iccid: Iccid,
    /// Its type.
    pub profile_type: String,
    /// Who may order it; anyone if `None`.
    pub operator: Option<String>,
    /// Where it is in its life.
    pub state: ProfileState,
    /// What devices and eUICCs are told.
    pub metadata: StoreMetadataRequest,
    /// The order that it is in, or was in last.
    pub order: Option<OrderView>,
}

/// A download order as it stands. The confirmation code is not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderView {
    /// The eUICC, 32 digits.
    pub eid: Option<String>,
    /// The matching id; empty for the default SM-DP+, `None` until confirmed.
    pub matching_id: Option<String>,
    /// Whether a confirmation code is needed.
    pub confirmation_code: bool,
    /// Wrong confirmation codes so far.
    pub confirmation_failures: u32,
    /// Downloads begun so far.
    pub attempts: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when a download may begin.
    pub expires_at: Option<Timestamp>,
}

/// One change in the life of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// When.
    pub at: Timestamp,
    /// What happened.
    pub event: String,
    /// State before.
    pub before: String,
    /// State after.
    pub after: String,
    /// Who did it.
    pub actor: String,
}

impl Inventory {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Adds profiles in the state Available, all or none, and gives their ICCIDs.
    ///
    /// # Errors
    /// When package or metadata are not valid, or an ICCID is known.
    pub fn import(&self, import: ImportProfile<'_>) -> Result<Vec<Iccid>, ImportError> {
        let ImportProfile {
            package,
            profile_type,
            operator,
            metadata,
            iccids,
        } = import;
        let maximum = self.core.config.limits.package_octets_max;
        if package.len() > maximum {
            return Err(ImportError::TooLarge {
                octets: package.len(),
                maximum,
            });
        }
        if !(1..=64).contains(&profile_type.chars().count()) {
            return Err(ImportError::ProfileType);
        }
        if let Some(name) = &operator
            && self.core.config.operator(name).is_none()
        {
            return Err(ImportError::UnknownOperator(name.clone()));
        }
        metadata.check().map_err(ImportError::Metadata)?;
        let parsed = ProfilePackage::parse(package).map_err(ImportError::Package)?;
        let header = parsed.header().map_err(ImportError::Element)?;
        let own_iccid = header.iccid().map_err(ImportError::Header)?;
        let memory = parsed.size_octets().map_err(ImportError::Element)?;
        let iccids = if iccids.is_empty() {
            vec![own_iccid]
        } else {
            iccids
        };
        for iccid in &iccids {
            personalise(package, *iccid).map_err(ImportError::Personalisation)?;
        }

        let octets = zeroize::Zeroizing::new(package.to_vec());
        let sha256: [u8; 32] = Sha256::digest(package).into();
        let rows: Vec<ProfileRow> = iccids
            .iter()
            .map(|&iccid| ProfileRow {
                iccid,
                profile_type: profile_type.clone(),
                operator: operator.clone(),
                package_id: 0,
                metadata: metadata.request(iccid).bytes().to_vec(),
                state: ProfileState::Available,
                order_id: None,
            })
            .collect();
        let known = self.core.write(move |tx| {
            for row in &rows {
                if store::profiles::by_iccid(tx, &row.iccid)?.is_some() {
                    return Ok(Some(row.iccid));
                }
            }
            let memory = u64::try_from(memory).unwrap_or(u64::MAX);
            let package_id = store::profiles::keep_package(tx, &sha256, &octets, memory)?;
            for row in &rows {
                store::profiles::insert(
                    tx,
                    &ProfileRow {
                        package_id,
                        ..row.clone()
                    },
                )?;
            }
            Ok(None)
        })?;
        match known {
            Some(iccid) => Err(ImportError::Known(iccid)),
            None => Ok(iccids),
        }
    }

    /// One profile.
    pub fn profile(&self, iccid: &Iccid) -> Result<Option<ProfileView>, Error> {
        self.core.read(|tx| {
            store::profiles::by_iccid(tx, iccid)?
                .map(|row| view(tx, row))
                .transpose()
        })
    }

    /// Profiles in the order of their ICCIDs: at most `count_max` that come after `after`.
    pub fn profiles(
        &self,
        after: Option<&Iccid>,
        count_max: u32,
    ) -> Result<Vec<ProfileView>, Error> {
        self.core.read(|tx| {
            let rows = store::profiles::list(tx, after, count_max)?;
            rows.into_iter().map(|row| view(tx, row)).collect()
        })
    }

    /// The last changes of a profile, oldest first, at most `count_max`.
    pub fn history(&self, iccid: &Iccid, count_max: u32) -> Result<Vec<Step>, Error> {
        self.core
            .read(|tx| Ok(store::history::of_profile(tx, iccid, count_max)?))
    }

    /// HandleDownloadProgressInfo messages that wait for delivery.
    pub fn progress_waiting(&self) -> Result<u64, Error> {
        super::progress::Outbox(Arc::clone(&self.core)).waiting()
    }
}

/// The stored metadata, with the octets that eUICC and device are given.
pub(super) fn metadata_of(row: &ProfileRow) -> Result<Encoded<StoreMetadataRequest>, Error> {
    Encoded::<StoreMetadataRequest>::from_der(&row.metadata)
        .map_err(|_| Fault::Corrupt("StoreMetadataRequest").into())
}

fn view(tx: &::store::ReadTx<'_>, row: ProfileRow) -> Result<ProfileView, Error> {
    let order = match row.order_id {
        Some(id) => store::orders::by_id(tx, id)?,
        None => None,
    };
    Ok(ProfileView {
        metadata: metadata_of(&row)?.into_value(),
        iccid: row.iccid,
        profile_type: row.profile_type,
        operator: row.operator,
        state: row.state,
        order: order.map(|order| OrderView {
            eid: order.eid,
            matching_id: order.matching_id,
            confirmation_code: order.confirmation_hash.is_some(),
            confirmation_failures: order.confirmation_failures,
            attempts: order.attempts,
            created_at: order.created_at,
            expires_at: order.expires_at,
        }),
    })
}
