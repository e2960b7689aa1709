//! Orders, profiles and sessions: what this server does, without HTTP and without SQL.

mod decisions;
mod download;
mod eligibility;
mod euicc;
mod inventory;
mod notifications;
mod orders;
mod profile;
mod progress;
mod server;
mod session;
mod status;
mod text;

pub use download::Downloads;
pub use inventory::{ImportError, ImportProfile, Inventory, OrderView, ProfileView, Step};
pub use notifications::{NotificationRecord, Notifications};
pub use orders::Orders;
pub use profile::{
    Icon, MetadataError, Owner, PolicyRules, ProfileEvent, ProfileMetadata, ProfileState,
};
pub use progress::ProgressPoint;
pub use server::{Actor, Clock, CounterValues, OpenError, Smdp};
pub use status::{Error, Fault, Refusal};
pub use text::activation_code;

pub(crate) use progress::{Notice, Outbox};
