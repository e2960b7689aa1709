//! What policy says of commands, as far as it shows without knowing the device.

use intent::api::{Refusal, RefusalCode};
use intent::{Command, PolicyDocument};

/// Whether policy allows commands anywhere. Asked when they are proposed, and again whenever one is signed or released.
pub(crate) fn check_commands(policy: &PolicyDocument, commands: &[Command]) -> Result<(), Refusal> {
    policy
        .check_commands(commands)
        .map_err(|forbidden| Refusal::new(RefusalCode::PolicyRefused, forbidden.to_string()))
}
