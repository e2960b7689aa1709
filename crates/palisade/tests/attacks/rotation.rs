//! The eIM's signing key is replaced: nobody is left behind, and the old key is worth nothing afterwards.

use std::fs;
use std::time::{Duration, Instant};

use euicc::{Card, FileNvm};
use intent::Command;
use intent::api::Account;
use ipa::card::{CardSession, CardSettings, Es10};
use ipa::{CardTransport, TransportError};
use pki::{PrivateKey, Signer};
use rsp::der::{Element, Encoded};
use rsp::ids::Eid;
use rsp::sgp22::Signature as SignatureField;
use rsp::sgp32::{
    EuiccPackageRequest, EuiccPackageResult, EuiccPackageSigned, association_token_object,
};
use serde_json::Value;

use crate::cli::{OWNER, Random};
use crate::site::{LONG_MS, Site};
use crate::support::PATIENCE;

/// The keys that are in use, with how many devices depend on each.
fn keys(site: &Site) -> Vec<(String, u64)> {
    let keys = site.json(&["signing-key", "list"]);
    let used = keys
        .as_array()
        .unwrap()
        .iter()
        .filter(|key| !key["entry"].is_null());
    used.map(|key| {
        let id = key["spki_sha256"].as_str().unwrap().to_owned();
        (id, key["devices"].as_u64().unwrap())
    })
    .collect()
}

/// An owner asks, and the other one approves.
fn agreed(site: &Site, arguments: &[&str]) -> Value {
    let asked = site.json(&[arguments, &["--passkey", OWNER]].concat());
    site.approve(&asked);
    asked
}

#[track_caller]
fn is_refused(site: &Site, arguments: &[&str], words: &[&str]) {
    let asked = ["--passkey", OWNER, "--data", "eim"];
    let ran = site.folder.run(&[arguments, &asked].concat());
    ran.refused(1, words);
}

#[test]
fn a_signing_key_is_replaced_though_processes_are_killed_and_the_old_one_is_worth_nothing() {
    let mut site = Site::new();
    let second = crate::support::eid(9);
    site.register(&[second]);
    site.new_card("second", &second.to_string());
    site.poll_with("second");
    works_on_second(&site, second);
    site.works("before.example.com");
    let (old, depending) = keys(&site)[0].clone();
    assert_eq!(depending, 2);
    let made = site.json(&["signing-key", "make"]);
    let new = made["spki_sha256"].as_str().unwrap().to_owned();
    // It lies there, and is not read yet.
    is_refused(&site, &["signing-key", "add", &new], &["SIGHUP"]);
    site.reload();
    agreed(&site, &["signing-key", "add", &new]);
    is_refused(
        &site,
        &["signing-key", "retire", &old],
        &["2 devices", "adopt"],
    );

    let first = site.eid.to_string();
    let other = second.to_string();
    let rotate = ["signing-key", "rotate", &new, &first, &other];
    let asked = agreed(&site, &rotate);
    let id = asked["id"].as_str().unwrap().parse().unwrap();
    // Killed before any device was reached: it goes on from there.
    site.kill();
    site.start();
    site.poll();
    assert_eq!(
        keys(&site).iter().map(|(_, devices)| devices).sum::<u64>(),
        2
    );
    // Killed when the package was signed and nobody has it: the device may have either key, so neither goes.
    let signed = site.sign(Account::Intent(id), second).unwrap();
    site.kill();
    site.start();
    is_refused(&site, &["signing-key", "retire", &old], &["1 devices"]);
    is_refused(&site, &["signing-key", "retire", &new], &["2 devices"]);
    let again = site.sign(Account::Intent(id), second).unwrap();
    assert_eq!(signed["counter"], again["counter"]);
    assert_eq!(signed["transaction_id"], again["transaction_id"]);
    site.poll_with("second");
    let mut expected = vec![(old.clone(), 0), (new.clone(), 2)];
    expected.sort();
    // The eIM passes the answer on to the authority.
    let begun = Instant::now();
    loop {
        let mut found = keys(&site);
        found.sort();
        if found == expected {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{found:?}\n{}", site.log());
        std::thread::sleep(Duration::from_millis(50));
    }

    agreed(&site, &["signing-key", "retire", &old]);
    assert_eq!(keys(&site), [(new.clone(), 2)]);
    is_refused(
        &site,
        &["signing-key", "retire", &new],
        &["one key must remain"],
    );
    is_refused(&site, &["signing-key", "rotate", &old, &first], &["key"]);
    // The old file goes, and what names it.
    site.stop();
    let key_file = site.folder.path("eim/authority/keys/eim-signing.pem");
    let stolen = site.folder.path("stolen.pem");
    fs::rename(&key_file, &stolen).unwrap();
    let settings = site.folder.path("eim/authority/palisade.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let key = "key = { store = \"file\", path = \"keys/eim-signing-2.pem\" }";
    fs::write(&settings, format!("{text}{key}\n")).unwrap();
    site.start();
    site.works("after.example.com");
    works_on_second(&site, second);
    let work = site.settings("good.example.com");
    site.accepted(&work);
    let package = site.sign(Account::Intent(work.id), site.eid).unwrap();

    // Whoever has the old key signs a package that would be next.
    let old_key = PrivateKey::from_pem(&fs::read_to_string(&stolen).unwrap()).unwrap();
    let octets = hex::decode(package["package"].as_str().unwrap()).unwrap();
    let genuine = EuiccPackageRequest::from_der(&octets).unwrap();
    let signed = genuine.euicc_package_signed.bytes().to_vec();
    let token = association_token_object(package["association_token"].as_i64());
    let signature = old_key.sign_parts(&[&signed, &token]).unwrap();
    let forged = EuiccPackageRequest {
        euicc_package_signed: Encoded::<EuiccPackageSigned>::from_der(&signed).unwrap(),
        eim_signature: SignatureField(signature.as_bytes().as_slice().into()),
        extensions: Default::default(),
    };
    let before = site.card();
    let answer = loaded(&site, &forged.to_der());
    assert!(
        matches!(answer, EuiccPackageResult::EuiccPackageErrorUnsigned(_)),
        "{answer:?}"
    );
    assert_eq!(site.card(), before);
    // The same by the new key is what the card carries out.
    site.carried_out(&work, "good.example.com");
}

/// The other device does something.
fn works_on_second(site: &Site, eid: Eid) {
    let signed = site.machine().operate(eid, vec![Command::GetRat], LONG_MS);
    site.accepted(&signed);
    let operation = signed.operation(&site.front());
    let polled = site.poll_with("second");
    let operation = site.front().read(&format!("/v1/operations/{operation}"));
    assert_eq!(operation["state"], "done", "{operation}\n{polled}");
}

/// Sends a package to the card of the site, as an IPA does.
fn loaded(site: &Site, package: &[u8]) -> EuiccPackageResult {
    let nvm = FileNvm::open(site.folder.path("card")).unwrap();
    let mut card = Reader(Card::power_on(nvm).unwrap());
    let (mut session, settings) = (CardSession::default(), CardSettings::default());
    let mut es10 = Es10::new(&mut card, &mut session, &settings);
    let answer = es10.load_euicc_package(package).unwrap();
    EuiccPackageResult::from_der(&answer).unwrap()
}

/// The card in a reader.
struct Reader(Card);

impl CardTransport for Reader {
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, TransportError> {
        Ok(self.0.transmit(command, &mut Random))
    }

    fn reset(&mut self) -> Result<(), TransportError> {
        self.0
            .reset()
            .map_err(|error| TransportError::new(error.to_string()))
    }
}
