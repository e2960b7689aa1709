//! Profile packages: the plain text that an SM-DP+ protects and an eUICC installs
//! (TCA "eUICC Profile Package: Interoperable Format Technical Specification", called SAIP).
//!
//! A package is a run of ProfileElement TLVs: a header, elements that create files, codes,
//! keys and applications, and an end. [`ProfilePackage`] splits it and gives typed access to
//! what provisioning needs: identity, connectivity, required features, and whether a given
//! eUICC must accept it ([`ProfilePackage::check`]). Files are not interpreted beyond that.
//!
//! Elements carry the subscriber's keys. Their octets are erased when dropped and never
//! appear in `Debug`.

mod check;
mod content;
mod element;
mod header;
mod package;
mod response;
#[cfg(test)]
mod tests;

pub use check::{EuiccCapabilities, InstallReport};
pub use content::{AkaAlgorithm, AkaConfiguration, Application, ApplicationRole, Pin, Secret};
pub use element::{ElementKind, PeHeader};
pub use header::{
    InvalidHeader, IotOptions, MandatoryAid, ProfileHeader, Service, ServicesList, TemplateId,
};
pub use package::{PACKAGE_LIMITS, ProfileElement, ProfilePackage, SaipError};
pub use response::{EuiccResponse, PeStatus, PeStatusCode};
