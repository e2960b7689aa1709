//! Proofs that are used again, elsewhere, or for something else.

use intent::{Action, Command, Decision, DeviceSet, Digest, Intent, IntentId, Proof};
use rsp::ids::Eid;

use crate::person::proposal;
use crate::site::{LONG_MS, Site, is_refused, operate, set_address};
use crate::support::machine::Signed;

#[test]
fn a_replayed_request_is_stopped_at_its_nonce() {
    let site = Site::new();
    let signed = site.settings("once.example.com");
    site.accepted(&signed);
    site.carried_out(&signed, "once.example.com");
    site.works("later.example.com");
    let before = site.standing();

    site.refused(&signed, 409, "replayed");
    // The same nonce in another intent, well signed.
    let (mut intent, _) = Intent::decode(signed.octets.as_bytes()).unwrap();
    intent.action = operate(site.eid, vec![set_address("twice.example.com")]);
    let again = site.signed(&intent);
    site.refused(&again, 409, "replayed");
    // A person's.
    let alice = site.alice();
    let (_, proposed) = alice.proposal(Action::RegisterDevices {
        fleet: "default".parse().unwrap(),
        devices: DeviceSet::one(crate::support::eid(7)),
    });
    assert_eq!(alice.send(&proposed).0, 201);
    is_refused(&alice.send(&proposed), 409, "replayed");
    site.nothing_came_of_it(&before);
    site.works("after-replay.example.com");
}

#[test]
fn an_assertion_for_another_intent_is_stopped_at_its_challenge() {
    let site = Site::new();
    let before = site.standing();
    let (alice, bob) = (site.alice(), site.bob());
    // Alice signs something harmless; the front puts something else in its place.
    let (harmless, _) = alice.intent(operate(site.eid, vec![Command::GetRat]));
    let (_, harmful) = alice.intent(operate(site.eid, vec![set_address("other.example.com")]));
    let answer = alice.send(&proposal(harmful, alice.assert(&harmless.0)));
    is_refused(&answer, 401, "proof-invalid");

    // Bob approves one thing; it is shown for another.
    let (one, other) = (site.waiting(), site.waiting());
    let approval = bob.assert(&Decision::Approve.challenge(one));
    let answer = bob.approve_with(other, approval.clone());
    is_refused(&answer, 401, "proof-invalid");
    // What he signed for proposing it, or for rejecting it, is no approval.
    let answer = bob.approve_with(one, bob.assert(&one.0));
    is_refused(&answer, 401, "proof-invalid");
    let answer = bob.approve_with(one, bob.assert(&Decision::Reject.challenge(one)));
    is_refused(&answer, 401, "proof-invalid");
    // Alice's assertion under bob's name, and with bob's under hers.
    let (Proof::Passkey { credential, .. }, Proof::Passkey { assertion, .. }) = (
        alice.assert(&Digest::of(&[b"anything"])),
        bob.assert(&Decision::Approve.challenge(one)),
    ) else {
        panic!("they are passkeys");
    };
    let answer = bob.approve_with(
        one,
        Proof::Passkey {
            credential,
            assertion,
        },
    );
    is_refused(&answer, 401, "proof-invalid");
    site.nothing_came_of_it(&before);

    // What he really approved can be used, once.
    let (status, answer) = bob.approve_with(one, approval.clone());
    assert_eq!(
        (status, &answer["state"]),
        (200, &"approved".into()),
        "{answer}"
    );
    is_refused(&bob.approve_with(one, approval), 403, "same-person");
    site.works("after-assertion.example.com");
}

#[test]
fn an_approval_by_its_proposer_is_stopped_at_the_person() {
    let site = Site::new();
    let before = site.standing();
    let alice = site.alice();
    let (id, proposed) = alice.proposal(operate(
        site.eid,
        vec![Command::Delete {
            iccid: "89000123456789012341".parse().unwrap(),
        }],
    ));
    assert_eq!(alice.send(&proposed).1["state"], "waiting");
    is_refused(&alice.approve(id), 403, "same-person");
    site.nothing_came_of_it(&before);
    let (status, answer) = site.bob().approve(id);
    assert_eq!(
        (status, &answer["state"]),
        (200, &"approved".into()),
        "{answer}"
    );
    site.works("after-approval.example.com");
}

#[test]
fn an_approval_with_a_machines_key_is_stopped_at_the_kind_of_proof() {
    let site = Site::new();
    let before = site.standing();
    let id = site.waiting();
    let signed = site.settings("unused.example.com");
    let answer = site
        .bob()
        .approve_with(id, Proof::HttpSignature(signed.proof));
    is_refused(&answer, 403, "passkey-needed");
    site.folder
        .run(&["intent", "approve", "--data", "eim", "--", &id.to_string()])
        .refused(1, &["passkey"]);
    assert_eq!(state(&site, id), "waiting");
    site.nothing_came_of_it(&before);
    site.works("after-key.example.com");
}

#[test]
fn an_intent_altered_behind_its_signature_is_stopped_at_the_digest() {
    let site = Site::new();
    let before = site.standing();
    let signed = site.settings("asked.example.com");
    let altered = |octets: String| Signed {
        id: IntentId::of(octets.as_bytes()),
        octets,
        proof: signed.proof.clone(),
        devices: None,
    };
    for (old, new) in [
        ("asked.example.com", "altered.example.com"),
        (&*site.eid.to_string(), &*crate::support::eid(9).to_string()),
        ("\"v\":1", "\"v\":1 "),
    ] {
        let octets = signed.octets.replace(old, new);
        assert_ne!(octets, signed.octets);
        let (status, problem) = altered(octets).send(&site.front()).unwrap();
        assert!(
            problem["code"] == "proof-invalid" && status == 401
                // What is no canonical intent does not get as far.
                || new == "\"v\":1 " && status == 400,
            "{status}: {problem}"
        );
    }
    site.nothing_came_of_it(&before);
    // As it was signed it is good.
    site.accepted(&signed);
    site.carried_out(&signed, "asked.example.com");
}

#[test]
fn an_expired_intent_is_stopped_when_it_is_proposed_and_when_it_is_signed() {
    let site = Site::new();
    let before = site.standing();
    let brief = |lifetime_ms| {
        let command = vec![set_address("late.example.com")];
        site.machine().operate(site.eid, command, lifetime_ms)
    };
    let late = brief(1);
    std::thread::sleep(std::time::Duration::from_millis(5));
    site.refused(&late, 409, "expired");
    // Accepted in time, and the device comes too late.
    let slow = brief(2000);
    site.accepted(&slow);
    std::thread::sleep(std::time::Duration::from_millis(2000));
    let refusal = site
        .sign(intent::api::Account::Intent(slow.id), site.eid)
        .unwrap_err();
    assert_eq!(refusal["code"], "expired", "{refusal}");
    // Longer than any intent may be.
    let (mut intent, _) = Intent::decode(brief(LONG_MS).octets.as_bytes()).unwrap();
    intent.expires_at += 40 * 86_400_000;
    let endless = site.signed(&intent);
    let (status, _) = endless.send(&site.front()).unwrap();
    assert!((400..500).contains(&status), "{status}");
    // Made ahead, to be used when the key is long revoked.
    let (mut intent, _) = Intent::decode(brief(LONG_MS).octets.as_bytes()).unwrap();
    intent.created_at += 86_400_000;
    intent.expires_at += 86_400_000;
    site.refused(&site.signed(&intent), 409, "expired");
    site.nothing_came_of_it(&before);
    site.works("after-expiry.example.com");
}

#[test]
fn an_extended_list_of_devices_is_stopped_at_its_root() {
    let mut site = Site::new();
    site.set_policy("devices_over = 100", "devices_over = 10000");
    let others: Vec<Eid> = (1..=300).map(crate::support::eid).collect();
    site.register(&others);
    let before = site.standing();
    // A campaign: the intent commits to its list by a root.
    let (devices, along) = DeviceSet::of(others.clone()).unwrap();
    let action = Action::Operate {
        devices,
        commands: vec![set_address("campaign.example.com")],
    };
    let mut signed = site.machine().sign(action, along, LONG_MS);
    let listed = signed.devices.clone().unwrap();
    let mut longer = listed.clone();
    longer.push(site.eid);
    longer.sort();
    signed.devices = Some(longer);
    site.refused(&signed, 400, "malformed");
    // Exchanged, at the same number.
    let mut exchanged = listed.clone();
    exchanged.pop();
    exchanged.push(site.eid);
    exchanged.sort();
    signed.devices = Some(exchanged);
    site.refused(&signed, 400, "malformed");
    signed.devices = Some(listed[1..].to_vec());
    site.refused(&signed, 400, "malformed");
    site.nothing_came_of_it(&before);

    signed.devices = Some(listed);
    assert_eq!(site.accepted(&signed)["devices"], 300);
    // And it still is about no other.
    let account = intent::api::Account::Intent(signed.id);
    let refusal = site.sign(account.clone(), site.eid).unwrap_err();
    assert_eq!(refusal["code"], "out-of-scope", "{refusal}");
    // Not after a restart either.
    site.stop();
    site.start();
    let refusal = site.sign(account, site.eid).unwrap_err();
    assert_eq!(refusal["code"], "out-of-scope", "{refusal}");
    site.works("after-list.example.com");
}

#[test]
fn an_intent_for_another_installation_is_stopped_at_the_name() {
    let site = Site::new();
    let before = site.standing();
    let (mut intent, _) =
        Intent::decode(site.settings("else.example.com").octets.as_bytes()).unwrap();
    intent.installation = "elsewhere.example.com/ledger".to_owned();
    let problem = site.refused(&site.signed(&intent), 400, "malformed");
    assert!(
        problem.to_string().contains("elsewhere.example.com"),
        "{problem}"
    );
    site.nothing_came_of_it(&before);
    site.works("after-elsewhere.example.com");
}

fn state(site: &Site, id: IntentId) -> String {
    let shown = site.front().read(&format!("/v1/intents/{id}"));
    shown["state"].as_str().unwrap().to_owned()
}
