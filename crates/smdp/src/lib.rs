//! An SM-DP+ for tests and labs: the server that keeps profiles, binds them to eUICCs and
//! delivers them (SGP.22 v2.5 section 2.6; used unchanged by SGP.32).
//!
//! [`Smdp`] is the whole server without its listeners: verbs for the operator's side
//! ([`Smdp::inventory`], [`Smdp::orders`]) and for the device's side ([`Smdp::downloads`],
//! [`Smdp::notifications`]), and two routers that offer them over HTTP ([`Smdp::router`] for
//! ES9+, [`Smdp::es2plus_router`] for ES2+).
//!
//! It is for tests and labs: unprotected profile packages lie in the database in clear (readable for
//! one user only), and there is no SM-DS behind it.
//!
//! Layers, each of which knows only those below it:
//! * `http`: the bindings of ES9+ and ES2+; knows no SQL;
//! * `domain`: orders, profile states, sessions, who is believed; knows neither HTTP nor SQL;
//! * `protection`: builds bound profile packages; pure;
//! * `store`: the database tables; the only place with SQL.
//!
//! Time comes from an injected [`Clock`], randomness from an injected generator. Every change of
//! state is one transaction: a process that is killed at any moment finds either the state before
//! or the state after.

mod config;
mod domain;
mod http;
mod protection;
mod store;

pub use config::{
    Config, ConfigError, Identities, Limits, Operator, OperatorAccess, ProfileKeys, Rebinding,
    ServerIdentity,
};
pub use domain::{
    Actor, Clock, CounterValues, Downloads, Error, Fault, Icon, ImportError, ImportProfile,
    Inventory, MetadataError, NotificationRecord, Notifications, OpenError, OrderView, Orders,
    Owner, PolicyRules, ProfileEvent, ProfileMetadata, ProfileState, ProfileView, ProgressPoint,
    Refusal, Smdp, Step, activation_code,
};
pub use http::{DeliveryReport, EdgeOperatorLink, OperatorLink, ProgressError};
pub use protection::{PersonalisationError, ProtectionError};
pub use store::MIGRATIONS;
