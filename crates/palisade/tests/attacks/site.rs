//! An installation with two owners, a machine and a device, and what is looked at after an attack.

use std::fs;
use std::time::Instant;

use intent::api::{Account, Reference};
use intent::http_signature::{self, RequestParts, TAG_INTENT};
use intent::key_file::ClientKey;
use intent::{Action, Command, DeviceSet, Intent, IntentId};
use ledger::{FolderStore, PublicKey, Reader, verify};
use rsp::ids::Eid;
use serde_json::{Value, json};

use crate::cli::{Folder, KEY, OWNER, Server, enrol, owner_code, prepared_with, start_eim_alone};
use crate::person::Person;
use crate::support::PATIENCE;
use crate::support::control::Control;
use crate::support::machine::{Machine, Signed, now_ms};

/// The second owner's passkey.
pub(crate) const BOB: &str = "bob.json";
/// The installation of an eIM under the example name.
const INSTALLATION: &str = "eim.example.com/ledger";
/// How long intents are valid that should not expire meanwhile.
pub(crate) const LONG_MS: i64 = 3_600_000;
/// Folder with the authority's socket under the name of the eIM's: whoever has taken the eIM over talks to that.
const STOLEN: &str = "stolen";

/// The policy that installations begin with; the owners alice and bob; the machine ci, operator and fleet admin; one device,
/// associated.
pub(crate) struct Site {
    pub(crate) folder: Folder,
    pub(crate) eid: Eid,
    server: Option<Server>,
    esipa: String,
}

/// What must not change by an attack.
#[derive(Debug, PartialEq)]
pub(crate) struct Standing {
    /// Packages of the record, signed or released.
    packages: usize,
    /// What the card says about itself.
    card: Value,
}

impl Site {
    pub(crate) fn new() -> Self {
        let (folder, eid) = prepared_with(&["--insecure-software-passkeys"]);
        let mut site = Self {
            folder,
            eid: eid.parse().unwrap(),
            server: None,
            esipa: String::new(),
        };
        site.start();
        enrol(&site.folder, &owner_code(&site.folder), "alice", OWNER);
        let invite = ["person", "invite", "bob", "--grant", "owner"];
        let invited = site.json(&[&invite[..], &["--passkey", OWNER]].concat());
        enrol(&site.folder, invited["code"].as_str().unwrap(), "bob", BOB);
        let may = ["--grant", "operator", "--grant", "fleet-admin"];
        site.admit("ci", KEY, &may);
        site.register(&[site.eid]);
        site.new_card("card", &eid);
        site.poll();
        assert_eq!(
            site.json(&["device", "show", &eid])["association"],
            "accepted"
        );
        site
    }

    /// Starts the eIM, and the authority with it.
    pub(crate) fn start(&mut self) {
        self.start_with(&[]);
    }

    /// The same in another environment.
    pub(crate) fn start_with(&mut self, environment: &[(&str, String)]) {
        let environment: Vec<_> = environment
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let server = start_eim_alone(&self.folder, &[], &environment);
        let status = self.json(&["eim", "status"]);
        self.esipa = format!("localhost={}", status["listen"].as_str().unwrap());
        self.server = Some(server);
        let stolen = self.folder.path(STOLEN);
        if !stolen.exists() {
            fs::create_dir(&stolen).unwrap();
            let socket = self.folder.path("eim/authority/authority.sock");
            std::os::unix::fs::symlink(socket, stolen.join("control.sock")).unwrap();
        }
    }

    /// Stops both in order.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        let (code, log) = self.server.take().unwrap().terminate();
        assert_eq!(code, Some(0), "{log}");
    }

    /// Has the authority read its settings and keys again.
    pub(crate) fn reload(&self) {
        let server = self.server.as_ref().unwrap();
        server.signal("-HUP");
        server.await_log("the signing keys were read again");
    }

    /// Ends both as a power cut does: the authority cannot even publish what is durable.
    pub(crate) fn kill(&mut self) {
        let server = self.server.take().unwrap();
        let pid = self.authority().read("/v1/status")["pid"].to_string();
        // Otherwise it would start the authority again.
        server.signal("-STOP");
        let killed = std::process::Command::new("kill")
            .args(["-KILL", &pid])
            .status();
        assert!(killed.unwrap().success());
        server.kill();
    }

    /// The eIM's log.
    pub(crate) fn log(&self) -> String {
        self.server.as_ref().unwrap().log()
    }

    /// Runs a command on the data folder that must succeed.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        self.folder.json(&[arguments, &["--data", "eim"]].concat())
    }

    /// The eIM's socket, as people and machines reach it.
    pub(crate) fn front(&self) -> Control {
        Control::new(&self.folder.path("eim"))
    }

    /// The authority's socket, as the eIM reaches it.
    pub(crate) fn authority(&self) -> Control {
        Control::new(&self.folder.path(STOLEN))
    }

    pub(crate) fn machine(&self) -> Machine {
        self.machine_with(KEY)
    }

    pub(crate) fn machine_with(&self, key: &str) -> Machine {
        Machine::new(&self.folder.path(key), INSTALLATION)
    }

    pub(crate) fn alice(&self) -> Person {
        Person::new(&self.folder.path(OWNER), &self.front())
    }

    pub(crate) fn bob(&self) -> Person {
        Person::new(&self.folder.path(BOB), &self.front())
    }

    /// The owners admit a machine. `may` are further arguments. Gives the key's id.
    pub(crate) fn admit(&self, name: &str, key: &str, may: &[&str]) -> String {
        let create = ["key", "create", name, "--out", key, "--passkey", OWNER];
        let asked = self.json(&[&create[..], may].concat());
        self.approve(&asked["intent"]);
        asked["key_id"].as_str().unwrap().to_owned()
    }

    /// Bob approves what waits.
    #[track_caller]
    pub(crate) fn approve(&self, asked: &Value) {
        let id = asked["id"].as_str().unwrap().parse().unwrap();
        let (status, approved) = self.bob().approve(id);
        let state = approved["state"].as_str().unwrap_or_default();
        assert!(
            status == 200 && ["done", "approved"].contains(&state),
            "{approved}"
        );
    }

    /// Replaces words in the policy.
    pub(crate) fn set_policy(&self, old: &str, new: &str) {
        let policy = self.folder.ok(&["policy", "show", "--data", "eim"]);
        let changed = policy.replace(old, new);
        assert_ne!(policy, changed, "{policy}");
        fs::write(self.folder.path("policy.toml"), changed).unwrap();
        let asked = self.json(&["policy", "set", "policy.toml", "--passkey", OWNER]);
        self.approve(&asked);
    }

    /// Registers devices in the fleet `default`.
    #[track_caller]
    pub(crate) fn register(&self, eids: &[Eid]) {
        let signed = self.machine().register(eids.to_vec());
        self.accepted(&signed);
    }

    /// Makes a card that is associated with the eIM.
    pub(crate) fn new_card(&self, name: &str, eid: &str) {
        let new = ["euicc", "new", "-d", name, "--pki", "pki", "--eid", eid];
        self.folder.ok(&new);
        let data = ["eim", "association-data", "--data", "eim", "--out", "a.der"];
        self.folder.ok(&data);
        let add = ["ipa", "add-initial-eim", "--euicc", name];
        self.folder
            .ok(&[&add[..], &["--association-data", "a.der"]].concat());
    }

    /// One poll of the device.
    pub(crate) fn poll(&self) -> String {
        self.poll_with("card")
    }

    /// One poll of the device with this card.
    pub(crate) fn poll_with(&self, card: &str) -> String {
        let poll = ["ipa", "run", "--once", "--euicc", card];
        let network = ["--trust", "pki/tls-ca.der", "--resolve", &self.esipa];
        let ran = self.folder.run(&[&poll[..], &network].concat());
        format!("{}{}", ran.out, ran.err)
    }

    /// What the card says about itself.
    pub(crate) fn card(&self) -> Value {
        self.folder.json(&["euicc", "show", "-d", "card"])
    }

    /// An operation on the device that needs no approval, by the machine.
    pub(crate) fn settings(&self, address: &str) -> Signed {
        self.machine()
            .operate(self.eid, vec![set_address(address)], LONG_MS)
    }

    /// An operation that needs an approval, by the machine. Sent; it waits.
    pub(crate) fn waiting(&self) -> IntentId {
        let iccid = "89000123456789012341".parse().unwrap();
        let signed = self
            .machine()
            .operate(self.eid, vec![Command::Delete { iccid }], LONG_MS);
        assert_eq!(self.accepted(&signed)["state"], "waiting");
        signed.id
    }

    /// The machine signs whatever intent a test made.
    pub(crate) fn signed(&self, intent: &Intent) -> Signed {
        let octets = intent.encode().unwrap();
        let key = fs::read_to_string(self.folder.path(KEY)).unwrap();
        let request = RequestParts {
            method: "POST",
            path: "/v1/intents",
            query: None,
        };
        let proof = http_signature::sign(
            &request,
            &octets,
            &ClientKey::from_json(&key).unwrap(),
            now_ms() as u64 / 1000,
            "0123456789abcdef",
            TAG_INTENT,
        );
        Signed {
            id: IntentId::of(&octets),
            octets: String::from_utf8(octets).unwrap(),
            proof: proof.unwrap(),
            devices: None,
        }
    }

    /// Sends what must be accepted.
    #[track_caller]
    pub(crate) fn accepted(&self, signed: &Signed) -> Value {
        let (status, answer) = signed.send(&self.front()).unwrap();
        assert_eq!(status, 201, "{answer}");
        answer
    }

    /// Sends what must be refused with this status and code.
    #[track_caller]
    pub(crate) fn refused(&self, signed: &Signed, status: u16, code: &str) -> Value {
        let answer = signed.send(&self.front()).unwrap();
        is_refused(&answer, status, code);
        answer.1
    }

    /// Asks the authority for one signature, as the eIM does.
    pub(crate) fn sign(&self, account: Account, eid: Eid) -> Result<Value, Value> {
        self.ask("/v1/signatures", account, eid)
    }

    /// The same for a package that carries no signature.
    pub(crate) fn release(&self, account: Account, eid: Eid) -> Result<Value, Value> {
        self.ask("/v1/releases", account, eid)
    }

    fn ask(&self, path: &str, account: Account, eid: Eid) -> Result<Value, Value> {
        let body = json!([Reference { account, eid }]).to_string();
        let (status, answer) = self.authority().post(path, &body).unwrap();
        assert_eq!(status, 200, "{answer}");
        match answer[0].get("done") {
            Some(done) => Ok(done.clone()),
            None => Err(answer[0]["refused"].clone()),
        }
    }

    /// Every entry of the record, read from its files alone, which have to be good.
    pub(crate) fn record(&self) -> Vec<Value> {
        let entries = |answer: Value| answer["entries"].as_u64().unwrap();
        let durable = entries(self.authority().read("/v1/status"));
        let folder = self.folder.path("eim/authority/ledger");
        let key = fs::read_to_string(self.folder.path("eim/authority/ledger.pub")).unwrap();
        let key: PublicKey = key.trim().parse().unwrap();
        let begun = Instant::now();
        loop {
            let files = FolderStore::reader(&folder);
            // A publication may be under way.
            if let Ok(reader) = Reader::open(&files, &key)
                && reader.checkpoint().size() >= durable
                && let Ok(all) = (0..reader.checkpoint().size())
                    .map(|number| reader.octets(number))
                    .collect::<Result<Vec<_>, _>>()
            {
                let report = verify(&files, &key, None, &mut |_| {});
                assert!(report.is_good(), "{report}");
                let entry = |octets: Vec<u8>| serde_json::from_slice(&octets).unwrap();
                return all.into_iter().map(entry).collect();
            }
            assert!(begun.elapsed() < PATIENCE, "the record is not published");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// Packages of the record that were signed or released, but for what the eIM may read on its own account.
    pub(crate) fn packages(&self) -> Vec<Value> {
        let is_package = |entry: &Value| {
            entry["kind"] == "package.released"
                || entry["kind"] == "package.ordered" && entry["body"]["account"]["read"].is_null()
        };
        self.record().into_iter().filter(is_package).collect()
    }

    pub(crate) fn standing(&self) -> Standing {
        Standing {
            packages: self.packages().len(),
            card: self.card(),
        }
    }

    /// The device polls; nothing is signed for it and nothing changes on it.
    #[track_caller]
    pub(crate) fn nothing_came_of_it(&self, before: &Standing) {
        let polled = self.poll();
        assert_eq!(*before, self.standing(), "{polled}");
    }

    /// What is legitimate still works: the machine asks, and the card does it.
    #[track_caller]
    pub(crate) fn works(&self, address: &str) {
        let signed = self.settings(address);
        self.accepted(&signed);
        self.carried_out(&signed, address);
    }

    /// The device polls and has that address then.
    #[track_caller]
    pub(crate) fn carried_out(&self, signed: &Signed, address: &str) {
        let operation = signed.operation(&self.front());
        let polled = self.poll();
        let operation = self.front().read(&format!("/v1/operations/{operation}"));
        assert_eq!(
            operation["state"],
            "done",
            "{operation}\n{polled}\n{}",
            self.log()
        );
        assert_eq!(self.card()["default_smdp"], address);
    }
}

pub(crate) fn set_address(address: &str) -> Command {
    Command::SetDefaultSmdp {
        address: address.to_owned(),
    }
}

/// Commands on one device.
pub(crate) fn operate(eid: Eid, commands: Vec<Command>) -> Action {
    let devices = DeviceSet::one(eid);
    Action::Operate { devices, commands }
}

/// Asserts a refusal.
#[track_caller]
pub(crate) fn is_refused((status, problem): &(u16, Value), expected: u16, code: &str) {
    assert_eq!(
        (*status, &problem["code"]),
        (expected, &json!(code)),
        "{problem}"
    );
}
