//! Keys on a real PKCS#11 token: SoftHSM 2, which scripts/test-services installs.
//!
//! SoftHSM finds its tokens through the environment variable SOFTHSM2_CONF. A process must not change its own environment while
//! it has threads, so each test starts itself again, as a child with a token of its own (`support::on_a_token`).

mod errors;
mod keys;
mod loss;
mod support;
