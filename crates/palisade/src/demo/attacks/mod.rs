//! What an attacker does, against the same components over the same interfaces as everybody else.
//!
//! The attacker knows all EIDs, reaches all servers, and holds keys and certificates of its own. Where it is even stronger (it
//! owns a device, or a server signs what it wants) the attack says so.

mod arena;
mod authority;
mod expired;
mod forger;
mod network;
mod package;
mod probe;
mod profile;
mod result;
mod session;

use std::time::Instant;

use self::arena::Arena;
use super::report::{Report, Trial};
use super::screen::Screen;
use super::world::World;

/// An attack: its name, and how it is made.
struct Attack {
    name: &'static str,
    strike: fn(&mut Arena<'_, '_>) -> anyhow::Result<Trial>,
}

const fn attack(
    name: &'static str,
    strike: fn(&mut Arena<'_, '_>) -> anyhow::Result<Trial>,
) -> Attack {
    Attack { name, strike }
}

const PACKAGE: &[Attack] = &[
    attack("one bit modified", package::modified_bit),
    attack("signed with a wrong key", package::wrong_key),
    attack(
        "of an eIM that is not associated",
        package::unassociated_eim,
    ),
    attack("for the EID of another eUICC", package::wrong_eid),
    attack("replayed", package::replayed),
    attack("with an older counter", package::older_counter),
    attack("with a wrong association token", package::wrong_token),
    attack("truncated", package::truncated),
    attack("oversize", package::oversize),
];

const PROFILE: &[Attack] = &[
    attack("metadata segment modified", profile::modified_metadata),
    attack("profile segment modified", profile::modified_segment),
    attack("two segments swapped", profile::swapped_segments),
    attack("bound to another eUICC", profile::bound_to_another),
    attack(
        "bound to another, signed anew for this one",
        profile::bound_to_another_and_signed,
    ),
    attack(
        "SM-DP+ authenticates as DPpb",
        profile::wrong_role_at_authentication,
    ),
    attack("SM-DP+ binds as DPauth", profile::wrong_role_at_binding),
    attack("SM-DP+ of an unknown CI", profile::unknown_ci_of_server),
    attack("eUICC of an unknown CI", profile::unknown_ci_of_euicc),
    attack("eUICC certificate expired", expired::euicc),
    attack("SM-DP+ TLS certificate expired", expired::smdp_tls),
    attack("eIM TLS certificate expired", expired::eim_tls),
    attack("TLS server of an unknown CI", expired::unknown_tls),
    attack("EUM revoked: download", expired::revoked_at_smdp),
    attack("EUM revoked: first contact", expired::revoked_at_eim),
];

const RESULT: &[Attack] = &[
    attack("forged signature", result::forged_signature),
    attack("signed by another eUICC", result::another_signer),
    attack("certificate of another EID", result::certificate_of_another),
    attack(
        "counter of another eIM's package",
        result::counter_of_another_eim,
    ),
    attack("sent for another EID", result::sent_for_another_eid),
    attack("replayed, octet for octet", result::replayed),
    attack("sequence number used again", result::sequence_number_again),
    attack("forged notification", result::forged_notification),
];

const NETWORK: &[Attack] = &[
    attack("unregistered EID polls", network::unregistered),
    attack("stranger polls with a victim's EID", network::stranger),
    attack(
        "stranger wants a victim's activation code",
        network::activation_code,
    ),
    attack(
        "procedure moves to another connection",
        network::moved_connection,
    ),
    attack("malformed messages", network::malformed),
    attack("deeply nested messages", network::nested),
    attack("wrong content type", network::content_type),
    attack("bodies of 1 MB", network::large_bodies),
    attack("slow clients", network::slow_clients),
    attack("TLS below 1.2", network::old_tls),
];

const AUTHORITY: &[Attack] = &[
    attack(
        "compromised console alters a signed intent",
        authority::altered,
    ),
    attack(
        "compromised console replays a signed intent",
        authority::replayed,
    ),
    attack("the approver is the proposer", authority::same_person),
    attack("operations forged in the eIM's database", forger::database),
    attack(
        "compromised eIM asks for what nobody wants",
        authority::unasked,
    ),
    attack("compromised eIM asks twice", authority::twice),
    attack("compromised eIM reads beyond the quota", authority::reads),
    attack("revoked key", authority::revoked),
    attack("everything frozen", authority::frozen),
    attack("an entry of the ledger altered", authority::altered_ledger),
    attack(
        "an action left out of a device's history",
        authority::shortened_history,
    ),
];

/// Makes every attack.
pub(super) fn run(report: &mut Report, screen: &mut Screen, world: &mut World<'_>) {
    let mut arena = Arena::new(world);
    for (kind, attacks) in [
        ("package", PACKAGE),
        ("profile", PROFILE),
        ("result", RESULT),
        ("network", NETWORK),
        ("authority", AUTHORITY),
    ] {
        for attack in attacks {
            let begun = Instant::now();
            let trial = (attack.strike)(&mut arena);
            let took = begun.elapsed();
            let is_stopped = report.attack(kind, attack.name, trial, took);
            screen.done(&format!("{kind}: {}", attack.name), is_stopped, took);
        }
    }
}
