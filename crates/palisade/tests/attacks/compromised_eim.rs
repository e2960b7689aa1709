//! Whoever has taken the eIM over talks to the authority directly.

use intent::IntentId;
use intent::api::Account;
use rsp::der::Element;
use rsp::sgp32::EuiccPackageRequest;
use serde_json::{Value, json};

use crate::site::{LONG_MS, Site, is_refused, set_address};

#[test]
fn a_signature_that_no_intent_asks_for_is_stopped_at_the_authority() {
    let site = Site::new();
    let before = site.standing();
    let refusal = |id: IntentId, eid| {
        let refusal = site.sign(Account::Intent(id), eid).unwrap_err();
        let released = site.release(Account::Intent(id), eid).unwrap_err();
        assert_eq!(refusal["code"], released["code"]);
        refusal["code"].as_str().unwrap().to_owned()
    };
    assert_eq!(refusal(IntentId::of(b"nothing"), site.eid), "unknown");
    assert_eq!(refusal(site.waiting(), site.eid), "not-approved");

    // Approved, for another device; and for one that nobody registered.
    let other = crate::support::eid(1);
    site.register(&[other]);
    let signed = site.settings("one.example.com");
    site.accepted(&signed);
    assert_eq!(refusal(signed.id, other), "out-of-scope");
    assert_eq!(refusal(signed.id, crate::support::eid(2)), "not-associated");
    // A device that is registered and has shown no eUICC.
    let unseen = site
        .machine()
        .operate(other, vec![set_address("two.example.com")], LONG_MS);
    site.accepted(&unseen);
    let said = site.sign(Account::Intent(unseen.id), other).unwrap_err();
    assert_eq!(said["code"], "not-associated", "{said}");
    // What is no operation has no packages.
    let register = site.machine().register(vec![crate::support::eid(3)]);
    site.accepted(&register);
    let said = site
        .sign(Account::Intent(register.id), site.eid)
        .unwrap_err();
    assert!(
        ["out-of-scope", "wrong-state"].contains(&said["code"].as_str().unwrap()),
        "{said}"
    );
    // Signed packages do not leave unsigned.
    let said = site
        .release(Account::Intent(signed.id), site.eid)
        .unwrap_err();
    assert_eq!(said["code"], "malformed", "{said}");
    assert_eq!(before, site.standing());
    site.carried_out(&signed, "one.example.com");
}

#[test]
fn octets_and_commands_of_the_eim_are_stopped_at_the_interface() {
    let site = Site::new();
    let before = site.standing();
    let signed = site.settings("asked.example.com");
    site.accepted(&signed);
    let eid = site.eid.to_string();
    let id = signed.id.to_string();
    let command = json!({ "command": "set-default-smdp", "address": "mine.example.com" });
    for reference in [
        json!({ "account": { "intent": id }, "eid": eid, "commands": [command] }),
        json!({ "account": { "intent": id }, "eid": eid, "package": "BF5100" }),
        json!({ "account": { "intent": id }, "eid": eid, "counter": 999 }),
        json!({ "account": { "intent": id, "list-profiles": "x" }, "eid": eid }),
        json!({ "account": { "delete": "x" }, "eid": eid }),
        json!({ "account": { "get-rat": "x" }, "eid": eid }),
        json!({ "account": { "commands": [command] }, "eid": eid }),
        json!({ "account": { "list-profiles": "" }, "eid": eid }),
        json!({ "account": { "list-profiles": "x".repeat(65) }, "eid": eid }),
        json!({ "package": "BF5100" }),
    ] {
        let body = json!([reference]).to_string();
        let (status, answer) = site.authority().post("/v1/signatures", &body).unwrap();
        let code = if status == 200 {
            &answer[0]["refused"]["code"]
        } else {
            &answer["code"]
        };
        assert_eq!(code, "malformed", "{reference}: {answer}");
    }
    for path in [
        "/v1/sign",
        "/v1/keys",
        "/v1/entries",
        "/v1/policy",
        "/v1/principals",
        "/v1/freezes",
    ] {
        let (status, answer) = site.authority().post(path, "").unwrap();
        assert!([404, 405].contains(&status), "{path}: {status}: {answer}");
    }
    assert_eq!(before, site.standing());
    site.carried_out(&signed, "asked.example.com");
}

#[test]
fn a_second_signature_is_the_same_package_under_the_same_counter() {
    let site = Site::new();
    // Before, so that the eIM has proven the device's token: it signs nothing else in between.
    site.works("before.example.com");
    let before = site.packages().len();
    let signed = site.settings("once.example.com");
    site.accepted(&signed);
    let account = || Account::Intent(signed.id);
    let first = site.sign(account(), site.eid).unwrap();
    let package = decoded(&first);
    for _ in 0..3 {
        let again = site.sign(account(), site.eid).unwrap();
        assert_eq!(again["counter"], first["counter"]);
        assert_eq!(again["entry"], first["entry"]);
        let again = decoded(&again);
        assert_eq!(
            again.euicc_package_signed.bytes(),
            package.euicc_package_signed.bytes()
        );
    }
    // Many at once, in one call and in several.
    let reference = json!({ "account": account(), "eid": site.eid.to_string() });
    let body = json!(vec![reference; 8]);
    let answers: Vec<Value> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    site.authority()
                        .post("/v1/signatures", &body.to_string())
                        .unwrap()
                        .1
                })
            })
            .collect();
        asked.into_iter().map(|one| one.join().unwrap()).collect()
    });
    for answer in answers
        .iter()
        .flat_map(|answers| answers.as_array().unwrap())
    {
        assert_eq!(answer["done"]["counter"], first["counter"], "{answer}");
    }
    assert_eq!(site.packages().len(), before + 1);
    site.carried_out(&signed, "once.example.com");
    // Carried out, it is not signed under a new counter either.
    if let Ok(again) = site.sign(account(), site.eid) {
        assert_eq!(again["counter"], first["counter"], "{again}");
    }
    assert_eq!(site.packages().len(), before + 1);
    site.works("after-twice.example.com");
}

fn decoded(signed: &Value) -> EuiccPackageRequest {
    let octets = hex::decode(signed["package"].as_str().unwrap()).unwrap();
    EuiccPackageRequest::from_der(&octets).unwrap()
}

#[test]
fn more_signatures_than_the_quota_are_stopped_at_the_authority() {
    let site = Site::new();
    site.set_policy("fleet_per_hour = 10000", "fleet_per_hour = 2");
    for address in ["one.example.com", "two.example.com"] {
        site.works(address);
    }
    let before = site.standing();
    let third = site.settings("three.example.com");
    site.accepted(&third);
    let refusal = site.sign(Account::Intent(third.id), site.eid).unwrap_err();
    assert_eq!(refusal["code"], "quota-exceeded", "{refusal}");
    assert!(refusal["retry_at"].is_number(), "{refusal}");
    site.nothing_came_of_it(&before);
    // Whoever may raise it has to be two. Then many are asked for at once, and there is room for one of them.
    site.set_policy("fleet_per_hour = 2", "fleet_per_hour = 3");
    let others = ["four.example.com", "five.example.com"].map(|address| {
        let signed = site.settings(address);
        site.accepted(&signed);
        signed.id
    });
    let all = [third.id, others[0], others[1]];
    let references =
        all.map(|id| json!({ "account": Account::Intent(id), "eid": site.eid.to_string() }));
    let body = json!(references).to_string();
    let signed: usize = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| site.authority().post("/v1/signatures", &body).unwrap().1))
            .collect();
        let answers: Vec<Value> = asked.into_iter().map(|one| one.join().unwrap()).collect();
        let is_signed = |n: usize| answers.iter().any(|answer| answer[n]["done"].is_object());
        (0..all.len()).filter(|n| is_signed(*n)).count()
    });
    assert_eq!(signed, 1);
    // Two that were carried out, and this one.
    assert_eq!(site.packages().len(), 3);
}

#[test]
fn reads_on_the_eims_own_account_are_bounded_and_change_nothing() {
    let mut site = Site::new();
    // The eIM lists profiles once by itself, to prove the token.
    site.works("before-reads.example.com");
    site.set_policy("reads_per_device_hour = 240", "reads_per_device_hour = 3");
    let before = site.standing();
    let read = |site: &Site, n: u32| site.sign(Account::ListProfiles(format!("r{n}")), site.eid);
    let mut given = 0;
    let refusal = loop {
        match read(&site, given) {
            Ok(_) => given += 1,
            Err(refusal) => break refusal,
        }
        assert!(given <= 3, "{given} reads");
    };
    assert_eq!(refusal["code"], "quota-exceeded", "{refusal}");
    let eims = Account::ListEims("e".to_owned());
    assert_eq!(
        site.sign(eims, site.eid).unwrap_err()["code"],
        "quota-exceeded"
    );
    // A restart does not forget.
    site.stop();
    site.start();
    assert_eq!(read(&site, 99).unwrap_err()["code"], "quota-exceeded");
    // They do nothing but read.
    for entry in site.record() {
        if entry["kind"] == "package.ordered" && !entry["body"]["account"]["read"].is_null() {
            assert_eq!(entry["actor"], "eim", "{entry}");
        }
    }
    assert_eq!(before, site.standing());
    site.works("after-reads.example.com");
}

#[test]
fn certificates_and_results_that_the_eim_makes_up_are_stopped_at_their_signatures() {
    let site = Site::new();
    let der = |name: &str| hex::encode(std::fs::read(site.folder.path(name)).unwrap());
    let other = crate::support::eid(4);
    site.register(&[other]);
    let associate = |eid: String, euicc: &str, eum: &str, token: i64| {
        let body = json!({
            "eid": eid,
            "euicc_certificate": euicc,
            "eum_certificates": [eum],
            "association_token": token,
        });
        site.authority()
            .post("/v1/associations", &body.to_string())
            .unwrap()
    };
    let euicc = der(&format!("pki/euicc-{}.der", site.eid));
    let eum = der("pki/eum.der");
    // A good eUICC under the name of another, one that is certified by nobody, and one with an altered certificate.
    is_refused(
        &associate(other.to_string(), &euicc, &eum, 1),
        422,
        "euicc-refused",
    );
    site.folder.ok(&["pki", "new", "-d", "foreign"]);
    let foreign = std::fs::read_dir(site.folder.path("foreign")).unwrap();
    let foreign = foreign
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .find(|name| name.starts_with("euicc-") && name.ends_with(".der"))
        .unwrap();
    let foreign_eid = foreign["euicc-".len()..foreign.len() - 4].to_owned();
    site.register(&[foreign_eid.parse().unwrap()]);
    let answer = associate(
        foreign_eid,
        &der(&format!("foreign/{foreign}")),
        &der("foreign/eum.der"),
        1,
    );
    is_refused(&answer, 422, "euicc-refused");
    let mut altered = hex::decode(&euicc).unwrap();
    *altered.last_mut().unwrap() ^= 1;
    is_refused(
        &associate(site.eid.to_string(), &hex::encode(altered), &eum, 1),
        422,
        "euicc-refused",
    );

    // A result that no eUICC signed: one of an operation, with a bit turned.
    site.works("result.example.com");
    let results = |site: &Site| {
        site.record()
            .iter()
            .filter(|entry| entry["kind"] == "result.recorded")
            .count()
    };
    let recorded = results(&site);
    let entry = site
        .record()
        .into_iter()
        .rfind(|entry| entry["kind"] == "result.recorded")
        .unwrap();
    let text = entry["body"]["result"].as_str().unwrap();
    let shown = site
        .front()
        .read(&format!("/v1/devices/{}/operations", site.eid));
    let operation = shown["operations"][0]["id"].as_str().unwrap();
    let shown = site.front().read(&format!("/v1/operations/{operation}"));
    let good = hex::decode(shown["result"].as_str().unwrap()).unwrap();
    assert!(!text.is_empty());
    for place in [good.len() - 1, good.len() / 2] {
        let mut forged = good.clone();
        forged[place] ^= 1;
        let body = json!([{ "eid": site.eid.to_string(), "result": hex::encode(forged) }]);
        let (_, answer) = site
            .authority()
            .post("/v1/results", &body.to_string())
            .unwrap();
        let code = answer[0]["refused"]["code"].as_str().unwrap();
        assert!(["euicc-refused", "malformed"].contains(&code), "{answer}");
    }
    assert_eq!(results(&site), recorded);
    site.works("after-results.example.com");
}
