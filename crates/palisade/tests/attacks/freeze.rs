//! Stopping everything, and the key in the safe.

use intent::action::FreezeScope;
use intent::api::Account;
use intent::{Action, Command};

use crate::cli::OWNER;
use crate::site::{LONG_MS, Site, is_refused, set_address};

#[test]
fn a_freeze_stops_the_next_poll_and_only_two_people_end_it() {
    let site = Site::new();
    let other = crate::support::eid(8);
    site.register(&[other]);
    site.new_card("other", &other.to_string());
    site.poll_with("other");
    // Accepted, and waiting for the device, when somebody stops everything.
    let commands = vec![set_address("queued.example.com")];
    let queued = site.machine().operate(other, commands, LONG_MS);
    site.accepted(&queued);
    let before = site.standing();
    let frozen = site.json(&["freeze", "everything", "--passkey", OWNER]);
    assert_eq!(frozen["state"], "done", "{frozen}");
    let refusal = site.sign(Account::Intent(queued.id), other).unwrap_err();
    assert_eq!(refusal["code"], "frozen", "{refusal}");
    let own = Account::ListProfiles("while-frozen".to_owned());
    let refusal = site.sign(own, site.eid).unwrap_err();
    assert_eq!(refusal["code"], "frozen", "{refusal}");
    let polled = site.poll_with("other");
    let card = site.folder.json(&["euicc", "show", "-d", "other"]);
    assert!(card["default_smdp"].is_null(), "{card}\n{polled}");
    site.nothing_came_of_it(&before);

    // One person is not enough, in whatever way; a machine is nobody.
    let thaw = || Action::Thaw {
        scope: FreezeScope::Everything,
    };
    let machine = site.machine().sign(thaw(), None, LONG_MS);
    site.refused(&machine, 403, "role-refused");
    let alice = site.alice();
    let (id, proposed) = alice.proposal(thaw());
    let (status, answer) = alice.send(&proposed);
    assert_eq!(
        (status, &answer["state"]),
        (201, &"waiting".into()),
        "{answer}"
    );
    is_refused(&alice.approve(id), 403, "same-person");
    let refusal = site.sign(Account::Intent(queued.id), other).unwrap_err();
    assert_eq!(refusal["code"], "frozen", "{refusal}");
    site.nothing_came_of_it(&before);

    let (status, answer) = site.bob().approve(id);
    assert_eq!(
        (status, &answer["state"]),
        (200, &"done".into()),
        "{answer}"
    );
    assert_eq!(site.front().read("/v1/freezes"), serde_json::json!([]));
    assert!(site.sign(Account::Intent(queued.id), other).is_ok());
    site.works("after-thaw.example.com");
}

#[test]
fn the_key_from_the_safe_works_while_everything_is_frozen_and_is_an_incident() {
    let site = Site::new();
    // The device's association token is proven before.
    site.works("before-fire.example.com");
    site.json(&["freeze", "everything", "--passkey", OWNER]);
    let incidents = |site: &Site| {
        let record = site.record();
        let raised = record
            .into_iter()
            .filter(|entry| entry["kind"] == "incident.raised");
        raised.collect::<Vec<_>>()
    };
    assert_eq!(incidents(&site).len(), 0);
    let commands = vec![set_address("fire.example.com")];
    let forced = site
        .machine_with("break-glass.key")
        .operate(site.eid, commands, LONG_MS);
    assert_eq!(site.accepted(&forced)["state"], "approved");
    site.carried_out(&forced, "fire.example.com");
    let raised = incidents(&site);
    assert_eq!(raised.len(), 1, "{raised:?}");
    assert_eq!(raised[0]["body"]["what"], "break-glass", "{}", raised[0]);

    // It passes approvals and freezes, not the rest: once only, for registered devices only.
    site.refused(&forced, 409, "replayed");
    let stranger = crate::support::eid(5);
    let foreign =
        site.machine_with("break-glass.key")
            .operate(stranger, vec![Command::GetRat], LONG_MS);
    let (status, problem) = foreign.send(&site.front()).unwrap();
    assert!(status >= 400, "{problem}");
    // And it thaws for nobody else.
    let before = site.standing();
    let other = site.settings("other.example.com");
    let _ = other.send(&site.front()).unwrap();
    site.nothing_came_of_it(&before);
}

#[test]
fn the_key_from_the_safe_works_while_frozen_for_a_device_that_has_to_prove_itself() {
    let site = Site::new();
    site.json(&["freeze", "everything", "--passkey", OWNER]);
    let commands = vec![set_address("fire.example.com")];
    let forced = site
        .machine_with("break-glass.key")
        .operate(site.eid, commands, LONG_MS);
    assert_eq!(site.accepted(&forced)["state"], "approved");
    site.carried_out(&forced, "fire.example.com");
}
