//! Bounds on what a terminal, an IPA or an eIM can make the eUICC keep or read.

/// Octets of one ES10 command, gathered from STORE DATA blocks. Above what 256 full blocks hold, so that block numbers
/// do wrap.
pub(crate) const COMMAND_OCTETS_MAX: usize = 66_000;

/// Notifications and package results kept at a time. Beyond it the oldest go, see [`crate::platform::Platform::keep`].
pub(crate) const PENDING_MAX: usize = 128;

/// Installed Profiles.
pub(crate) const PROFILES_MAX: usize = 64;

/// Octets of an address (a host name has at most 253).
pub(crate) const ADDRESS_OCTETS_MAX: usize = 255;

/// Octets of a nickname (SGP.22 v2.5 section 5.7.21).
pub(crate) const NICKNAME_OCTETS_MAX: usize = 64;

/// Octets of the stored configuration data of one eIM.
pub(crate) const EIM_CONFIGURATION_OCTETS_MAX: usize = 8192;
