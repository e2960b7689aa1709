use intent::Digest;
use intent::api::RefusalCode;

use super::*;
use crate::testing::policy;

fn digest(key: &PrivateKey) -> Digest {
    Digest::of(&[key.public_key().spki_der()])
}

fn keys(site: &Site) -> Vec<(Digest, bool, u64)> {
    let keys = site.authority().signing_keys().unwrap();
    keys.iter()
        .filter(|key| key.entry.is_some())
        .map(|key| (key.spki_sha256, key.for_association, key.devices))
        .collect()
}

#[test]
fn a_key_is_exchanged_device_by_device() {
    let mut site = Site::new(policy());
    let (old, new) = (digest(&key(1)), digest(&key(2)));
    let mut devices = [site.device(0), site.device(1)];
    site.keys.push(key(2));
    site.authority().set_signers(site.parts().signers).unwrap();
    site.agree(Action::AddSigningKey { spki_sha256: new });
    let mut expected = vec![(old, true, 2), (new, false, 0)];
    expected.sort();
    let mut found = keys(&site);
    found.sort();
    assert_eq!(found, expected);

    let eids = [devices[0].eid, devices[1].eid];
    let adopt = crate::testing::operate(&eids, Command::AdoptEimKey { spki_sha256: new });
    let id = site.agree(adopt).id;
    let retire = || Action::RetireSigningKey { spki_sha256: old };
    let refusal = site.propose(retire()).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::LastOne);

    // The first device adopts it. Until its answer is here, the old key signs.
    let signed = site.sign_intent(id, eids[0]).unwrap();
    let result = devices[0].load(&signed.package);
    let again = site.sign_intent(id, eids[0]).unwrap();
    assert_eq!(signed_part(&again.package), signed_part(&signed.package));
    site.record(eids[0], &result).unwrap();
    site.reopen();
    site.list(&mut devices[0], "with-the-new-key");
    // The second goes on with the old one, then adopts it too.
    site.list(&mut devices[1], "with-the-old-key");
    assert_eq!(
        site.propose(retire()).unwrap_err().code,
        RefusalCode::LastOne
    );
    let signed = site.sign_intent(id, eids[1]).unwrap();
    let result = devices[1].load(&signed.package);
    site.record(eids[1], &result).unwrap();
    let mut found = keys(&site);
    found.sort();
    let mut expected = vec![(old, true, 0), (new, false, 2)];
    expected.sort();
    assert_eq!(found, expected);
    site.agree(retire());
    site.keys.remove(0);
    site.reopen();
    for device in &mut devices {
        site.list(device, "after");
    }
    // Devices to come are associated with the new key.
    site.device(2);
    // What the old key would have to sign again is lost.
    let refusal = site.sign_intent(id, eids[1]).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Conflict);
}

#[test]
fn a_key_that_devices_may_be_adopting_is_not_retired() {
    let mut site = Site::new(policy());
    let new = digest(&key(2));
    let device = site.device(0);
    site.keys.push(key(2));
    site.reopen();
    site.agree(Action::AddSigningKey { spki_sha256: new });
    let adopt = crate::testing::operate(&[device.eid], Command::AdoptEimKey { spki_sha256: new });
    let id = site.agree(adopt).id;
    site.sign_intent(id, device.eid).unwrap();
    let retire = Action::RetireSigningKey { spki_sha256: new };
    assert_eq!(site.propose(retire).unwrap_err().code, RefusalCode::LastOne);
}

#[test]
fn without_a_key_in_use_it_does_not_open() {
    let mut site = Site::new(policy());
    site.authority = None;
    site.keys = vec![key(2)];
    let error = site.open().unwrap_err();
    let OpenError::SigningKeyMissing { spki_sha256, entry } = &error else {
        panic!("{error:?}")
    };
    assert_eq!((*spki_sha256, *entry), (digest(&key(1)), 0));
    assert!(error.to_string().contains(&digest(&key(1)).to_string()));
    site.keys = vec![key(1)];
    site.open().unwrap();
    let error = site.authority().set_signers(Vec::new()).unwrap_err();
    assert!(matches!(error, OpenError::SigningKeyMissing { .. }));
}

#[test]
fn a_key_is_adopted_late_or_not_at_all() {
    let mut generous = policy();
    generous.quotas.reads_per_device_hour = 1_000;
    let mut site = Site::new(generous);
    let (old, new) = (digest(&key(1)), digest(&key(2)));
    let mut devices = [site.device(0), site.device(1)];
    site.keys.push(key(2));
    site.authority().set_signers(site.parts().signers).unwrap();
    site.agree(Action::AddSigningKey { spki_sha256: new });
    let eids = [devices[0].eid, devices[1].eid];
    let adopt = crate::testing::operate(&eids, Command::AdoptEimKey { spki_sha256: new });
    let id = site.agree(adopt).id;
    let counts = |site: &Site| {
        let keys = keys(site);
        let of = |key| keys.iter().find(|it| it.0 == key).map(|it| it.2);
        (of(old), of(new))
    };
    let signed = [0, 1].map(|n| site.sign_intent(id, eids[n]).unwrap());
    assert_eq!(counts(&site), (Some(2), Some(2)), "both may be adopting it");

    // The answer of the first comes when the octets are long forgotten.
    for n in 0..20 {
        let account = Account::ListProfiles(format!("unanswered-{n}"));
        site.sign(account, eids[0]).unwrap();
    }
    assert!(site.sign_intent(id, eids[0]).is_err(), "forgotten");
    let result = devices[0].load(&signed[0].package);
    site.record(eids[0], &result).unwrap();
    assert_eq!(counts(&site), (Some(1), Some(2)));
    site.reopen();
    site.list(&mut devices[0], "with-the-new-key");

    // The second never got its package, and executed a later one with the old key.
    site.list(&mut devices[1], "with-the-old-key");
    assert_eq!(
        counts(&site),
        (Some(1), Some(1)),
        "it cannot adopt any more"
    );
    site.reopen();
    assert_eq!(counts(&site), (Some(1), Some(1)));
}
