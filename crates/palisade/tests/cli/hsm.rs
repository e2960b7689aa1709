//! The signing key on a token (SoftHSM 2), from `init` to the day when its devices have moved away from it.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use pki::{PublicKey, Signature};
use rsp::der::Element;
use rsp::sgp32::{EuiccPackageRequest, association_token_object};
use serde_json::Value;

use crate::support::{CODE, Folder, OWNER, Server, TOKENS, start_eim};

const LABEL: &str = "palisade test";
const PIN: &str = "271828";

/// The module. A machine without it cannot test this, and says so.
fn module() -> PathBuf {
    let given = env::var_os("SOFTHSM2_MODULE").map(PathBuf::from);
    let usual = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib64/softhsm/libsofthsm2.so",
        "/usr/lib64/pkcs11/libsofthsm2.so",
        "/usr/local/lib/softhsm/libsofthsm2.so",
    ];
    given
        .into_iter()
        .chain(usual.map(PathBuf::from))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("SoftHSM 2 is not installed: run scripts/test-services"))
}

/// A folder with a token and the file of its PIN.
fn with_token() -> Folder {
    let folder = Folder::new();
    let tokens = folder.path("tokens");
    fs::create_dir(&tokens).unwrap();
    let settings = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
        tokens.display()
    );
    fs::write(folder.path(TOKENS), settings).unwrap();
    let output = Command::new("softhsm2-util")
        .args(["--init-token", "--free", "--label", LABEL])
        .args(["--pin", PIN, "--so-pin", "314159"])
        .env("SOFTHSM2_CONF", folder.path(TOKENS))
        .output()
        .unwrap_or_else(|error| panic!("softhsm2-util: {error}; run scripts/test-services"));
    assert!(output.status.success(), "{output:?}");
    set_pin(&folder, PIN, 0o600);
    folder
}

fn set_pin(folder: &Folder, pin: &str, mode: u32) {
    let path = folder.path("pin");
    fs::write(&path, format!("{pin}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

fn uri(module: &str, token: &str, pin: &str) -> String {
    let token = token.replace(' ', "%20");
    format!("pkcs11:token={token};object=eim-signing?module-path={module}&pin-source=file:{pin}")
}

fn good_uri() -> String {
    uri(module().to_str().unwrap(), LABEL, "pin")
}

fn init(uri: &str) -> Vec<&str> {
    vec![
        "init",
        "--data",
        "eim",
        "--fqdn",
        "localhost:8443",
        "--insecure-no-approvals",
        "--signing-key",
        uri,
    ]
}

#[test]
fn a_token_that_cannot_be_used_ends_init_with_what_to_do_and_leaves_nothing_half_made() {
    let folder = with_token();
    let module = module();
    let module = module.to_str().unwrap();
    let refused = |uri: &str, words: &[&str]| {
        folder.run(&init(uri)).refused(1, words);
        for name in ["eim", "break-glass.key"] {
            assert!(!folder.path(name).exists(), "{uri}: {name} was made");
        }
    };
    refused(
        &uri("/nowhere/libsofthsm2.so", LABEL, "pin"),
        &[
            "there is no PKCS#11 module /nowhere/libsofthsm2.so",
            "install",
        ],
    );
    refused(
        &uri(module, "another token", "pin"),
        &[
            "there is no token \"another token\"",
            LABEL,
            "correct the label",
        ],
    );
    refused(&uri(module, LABEL, "no-pin"), &["PIN", "no-pin"]);
    set_pin(&folder, "111111", 0o600);
    refused(
        &good_uri(),
        &["refused the PIN", "correct it where it is kept"],
    );
    set_pin(&folder, PIN, 0o644);
    refused(&good_uri(), &["mode 644", "chmod 600"]);
    set_pin(&folder, PIN, 0o600);
    // The PIN is not given on the command line, where others can read it.
    let given = format!("{}&pin-value={PIN}", good_uri());
    folder.run(&init(&given)).refused(2, &["others can read"]);
    folder.ok(&["pki", "new", "-d", "pki"]);
    let good = good_uri();
    let with_pki = [&init(&good)[..], &["--pki", "pki"]].concat();
    folder
        .run(&with_pki)
        .refused(2, &["brings a signing key of its own"]);
    assert!(!folder.path("eim").exists());
    // The same command works when what it complained of is right.
    folder.ok(&init(&good_uri()));
}

/// An eIM whose key is on the token, and one device.
struct Site {
    folder: Folder,
    eid: String,
    server: Option<Server>,
    esipa: String,
}

impl Site {
    fn new() -> Self {
        let folder = with_token();
        let made = folder.json(&["pki", "new", "-d", "pki"]);
        let eid = made["eids"][0].as_str().unwrap().to_owned();
        let made = folder.json(&init(&good_uri()));
        fs::write(folder.path(CODE), made["code"].as_str().unwrap()).unwrap();
        for (from, to) in [
            ("pki/ci.der", "eim/trust/euicc/ci.der"),
            ("pki/ci.crl", "eim/trust/euicc/ci.crl"),
            ("pki/tls-ca.der", "eim/trust/smdp/tls-ca.der"),
        ] {
            fs::copy(folder.path(from), folder.path(to)).unwrap();
        }
        let mut site = Self {
            folder,
            eid,
            server: None,
            esipa: String::new(),
        };
        site.start();
        site
    }

    fn start(&mut self) {
        let server = start_eim(&self.folder);
        let status = self.json(&["eim", "status"]);
        self.esipa = format!("localhost={}", status["listen"].as_str().unwrap());
        self.server = Some(server);
    }

    fn stop(&mut self) {
        let (code, log) = self.server.take().unwrap().terminate();
        assert_eq!(code, Some(0), "{log}");
    }

    fn json(&self, arguments: &[&str]) -> Value {
        self.folder.json(&[arguments, &["--data", "eim"]].concat())
    }

    /// Registers the device and associates its card; gives the token.
    fn associate(&self) -> Option<i64> {
        self.json(&["device", "register", &self.eid]);
        let new = ["euicc", "new", "-d", "card", "--pki", "pki"];
        self.folder.ok(&new);
        let data = ["eim", "association-data", "--data", "eim", "--out", "a.der"];
        self.folder.ok(&data);
        let add = ["ipa", "add-initial-eim", "--euicc", "card"];
        let added = self
            .folder
            .json(&[&add[..], &["--association-data", "a.der"]].concat());
        self.poll();
        added["eims"][0]["association_token"].as_i64()
    }

    fn poll(&self) -> String {
        let poll = [
            "ipa",
            "run",
            "--once",
            "--euicc",
            "card",
            "--trust",
            "pki/tls-ca.der",
        ];
        let ran = self
            .folder
            .run(&[&poll[..], &["--resolve", &self.esipa]].concat());
        format!("{}{}", ran.out, ran.err)
    }

    /// Has the device do something, and gives the operation.
    #[track_caller]
    fn works(&self) -> Value {
        let proposed = self.json(&["profile", "rat", &self.eid]);
        self.carried_out(&proposed)
    }

    #[track_caller]
    fn carried_out(&self, proposed: &Value) -> Value {
        let id = proposed["operations"][0]["id"].as_str().unwrap();
        let polled = self.poll();
        let operation = self.json(&["operation", "show", id]);
        let log = self.server.as_ref().unwrap().log();
        assert_eq!(operation["state"], "done", "{operation}\n{polled}\n{log}");
        operation
    }

    fn keys(&self) -> Vec<Value> {
        let keys = self.json(&["signing-key", "list"]);
        keys.as_array().unwrap().clone()
    }
}

#[test]
fn a_key_on_a_token_signs_and_devices_move_from_it_to_another() {
    let mut site = Site::new();
    let files: Vec<String> = fs::read_dir(site.folder.path("eim/authority/keys"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(files, ["ledger.key"], "the signing key is nowhere else");

    let eid = site.eid.clone();
    let token = site.associate();
    let operation = site.works();

    // What the eUICC accepted verifies with the key that the token shows.
    let keys = site.keys();
    let [old] = keys.as_slice() else {
        panic!("{keys:?}")
    };
    let spki = hex::decode(old["spki"].as_str().unwrap()).unwrap();
    let key = PublicKey::from_spki_der(&spki).unwrap();
    let request = hex::decode(operation["request"].as_str().unwrap()).unwrap();
    let request = EuiccPackageRequest::from_der(&request).unwrap();
    let signature = Signature::from_wire(&request.eim_signature).unwrap();
    let signed = request.euicc_package_signed.bytes();
    let verified = key.verify_parts(&[signed, &association_token_object(token)], &signature);
    verified.unwrap();

    // A PIN that is changed while nobody looks stops the next start, with what to do.
    site.stop();
    set_pin(&site.folder, "111111", 0o600);
    let serve = ["serve", "--data", "eim", "--listen", "127.0.0.1:0"];
    site.folder
        .run(&serve)
        .refused(1, &["refused the PIN", "Nothing can be signed"]);
    set_pin(&site.folder, PIN, 0o600);
    site.start();

    // To a key in a file.
    let made = site.json(&["signing-key", "make"]);
    let new = made["spki_sha256"].as_str().unwrap();
    let server = site.server.as_ref().unwrap();
    server.signal("-HUP");
    server.await_log("the signing keys were read again");
    site.json(&["signing-key", "add", new, "--passkey", OWNER]);
    let rotated = site.json(&["signing-key", "rotate", new, &eid, "--passkey", OWNER]);
    site.carried_out(&rotated);
    let old = old["spki_sha256"].as_str().unwrap();
    let retired = site.json(&["signing-key", "retire", old, "--passkey", OWNER]);
    assert_eq!(retired["state"], "done", "{retired}");
    site.works();

    // The token goes, and with it the setting that names it.
    site.stop();
    fs::rename(site.folder.path("tokens"), site.folder.path("gone")).unwrap();
    fs::create_dir(site.folder.path("tokens")).unwrap();
    site.folder.run(&serve).refused(
        1,
        &["there is no token", "remove from there what was retired"],
    );
    let settings = site.folder.path("eim/authority/palisade.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let kept: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("key = "))
        .collect();
    let key = "key = { store = \"file\", path = \"keys/eim-signing-2.pem\" }";
    fs::write(&settings, format!("{}\n{key}\n", kept.join("\n"))).unwrap();
    site.start();
    site.works();
    let keys = site.keys();
    assert!(keys.len() == 1 && keys[0]["devices"] == 1, "{keys:?}");
}

#[test]
fn a_token_that_is_gone_holds_the_operation_and_says_so() {
    let site = Site::new();
    let eid = site.eid.clone();
    site.associate();
    site.works();
    let tokens = site.folder.path("tokens");
    fs::rename(&tokens, site.folder.path("away")).unwrap();
    fs::create_dir(&tokens).unwrap();
    let proposed = site.json(&["profile", "rat", &eid]);
    let id = proposed["operations"][0]["id"].as_str().unwrap();
    site.poll();
    let operation = site.json(&["operation", "show", id]);
    assert_eq!(operation["state"], "queued", "{operation}");
    let held = operation["held"].to_string();
    assert!(held.contains("token"), "{operation}");
}

#[test]
fn a_pin_that_is_refused_is_not_tried_again_and_again() {
    let site = Site::new();
    let pid = || site.json(&["eim", "status"])["authority"]["pid"].to_string();
    let first = pid();
    set_pin(&site.folder, "111111", 0o600);
    let killed = Command::new("kill").args(["-KILL", &first]).status();
    assert!(killed.unwrap().success());
    let server = site.server.as_ref().unwrap();
    server.await_log("it is not started again by itself");
    // Long enough for several attempts.
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(server.log().matches("refused the PIN").count(), 1);
    set_pin(&site.folder, PIN, 0o600);
    server.signal("-HUP");
    let begun = Instant::now();
    while ["null", &first].contains(&pid().as_str()) {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{}",
            server.log()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    site.associate();
    site.works();
}
