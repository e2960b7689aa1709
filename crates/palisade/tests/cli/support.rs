//! Runs the binary.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use pki::issue::{CertificateTemplate, TestPki};
use pki::{Curve, PrivateKey, Signer};
use serde_json::Value;

/// How long anything here may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder in which commands run, and nothing of the environment.
pub(crate) struct Folder(tempfile::TempDir);

/// What a command left.
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
        command
            .args(arguments)
            .current_dir(self.0.path())
            .env_clear()
            // Servers of many tests run side by side; those about the console give it a port.
            .env("PALISADE_CONSOLE", "off");
        // Every change is signed; by the machine of the lab unless a test says otherwise.
        if self.path(KEY).exists() {
            command.env("PALISADE_KEY", KEY);
        }
        if self.path(TOKENS).exists() {
            command.env("SOFTHSM2_CONF", self.path(TOKENS));
        }
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, &[], b"")
    }

    pub(crate) fn run_with(
        &self,
        arguments: &[&str],
        environment: &[(&str, &str)],
        input: &[u8],
    ) -> Ran {
        let mut child = self
            .command(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that does not read its input closes it.
        let _ = child.stdin.take().unwrap().write_all(input);
        Ran::from(child.wait_with_output().unwrap())
    }

    /// Runs a command that must succeed, and gives its output.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.status, 0, "{arguments:?}: {}\n{}", ran.err, ran.out);
        ran.out
    }

    /// The same with JSON output.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let out = self.ok(&[arguments, &["--output", "json"]].concat());
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {out}"))
    }

    /// Starts a server that is ready when `is_ready` succeeds.
    pub(crate) fn serve(&self, arguments: &[&str], is_ready: &[&str]) -> Server {
        self.serve_with(arguments, &[], is_ready)
    }

    /// Starts a server and does not wait for it.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Server {
        self.spawn_with(arguments, &[])
    }

    fn spawn_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Server {
        let log = self.path(&format!(
            "{}.log",
            arguments.join("-").replace(['/', ' '], "-")
        ));
        let child = self
            .command(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Server { child, log }
    }

    pub(crate) fn serve_with(
        &self,
        arguments: &[&str],
        environment: &[(&str, &str)],
        is_ready: &[&str],
    ) -> Server {
        let mut server = self.spawn_with(arguments, environment);
        let begun = Instant::now();
        while self.run(is_ready).status != 0 {
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none(), "the server ended: {}", server.log());
            assert!(
                begun.elapsed() < PATIENCE,
                "the server is not ready: {}",
                server.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }
}

/// A server under test, which ends with the test.
pub(crate) struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until the log holds these words.
    #[track_caller]
    pub(crate) fn await_log(&self, words: &str) {
        let begun = Instant::now();
        while !self.log().contains(words) {
            assert!(begun.elapsed() < PATIENCE, "{words:?}: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends SIGTERM (or another signal) by number of the process.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Ends it as an operator does; gives exit status and log.
    pub(crate) fn terminate(mut self) -> (Option<i32>, String) {
        self.signal("-TERM");
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.code(), self.log());
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "the server does not end: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it as a power cut does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    /// Asserts a failure with this status that says all of these words.
    #[track_caller]
    pub(crate) fn refused(&self, status: i32, words: &[&str]) {
        assert_eq!(self.status, status, "{}{}", self.out, self.err);
        for word in words {
            assert!(self.err.contains(word), "{word:?} is not in {:?}", self.err);
        }
    }
}

/// A file of the repository's test data.
pub(crate) fn data(name: &str) -> String {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data")).join(name);
    path.to_str().unwrap().to_owned()
}

/// The key of the machine that asks for changes.
pub(crate) const KEY: &str = "ci.key";
/// The passkey of the owner.
pub(crate) const OWNER: &str = "alice.json";
/// SoftHSM's configuration, in a folder that has tokens.
pub(crate) const TOKENS: &str = "softhsm2.conf";
/// Where the owner's one-time code lies until it is used.
pub(crate) const CODE: &str = "owner-code";

/// A folder with a PKI and an eIM that is not started, and the EID of the one eUICC of the PKI. The policy asks for no
/// approvals.
pub(crate) fn prepared() -> (Folder, String) {
    prepared_with(&["--insecure-no-approvals"])
}

/// The same with other options of `init`.
pub(crate) fn prepared_with(options: &[&str]) -> (Folder, String) {
    let folder = Folder::new();
    let made = folder.json(&["pki", "new", "-d", "pki"]);
    let eid = made["eids"][0].as_str().unwrap().to_owned();
    let init = ["init", "--data", "eim", "--pki", "pki"];
    let made = folder.json(&[&init[..], &["--fqdn", "localhost:8443"], options].concat());
    fs::write(folder.path(CODE), made["code"].as_str().unwrap()).unwrap();
    (folder, eid)
}

/// Starts the eIM of a prepared folder. At the first time the owner enrols and admits the machine.
pub(crate) fn start_eim(folder: &Folder) -> Server {
    start_eim_with(folder, &[])
}

pub(crate) fn start_eim_with(folder: &Folder, more: &[&str]) -> Server {
    start_eim_in(folder, more, &[])
}

pub(crate) fn start_eim_in(folder: &Folder, more: &[&str], environment: &[(&str, &str)]) -> Server {
    let server = start_eim_alone(folder, more, environment);
    if let Ok(code) = fs::read_to_string(folder.path(CODE)) {
        enrol(folder, &code, "alice", OWNER);
        fs::remove_file(folder.path(CODE)).unwrap();
        let create = ["key", "create", "ci", "--data", "eim", "--out", KEY];
        let may = ["--grant", "operator", "--grant", "fleet-admin"];
        folder.ok(&[&create[..], &may, &["--passkey", OWNER]].concat());
    }
    server
}

/// Starts the eIM of a prepared folder, and enrols nobody.
pub(crate) fn start_eim_alone(
    folder: &Folder,
    more: &[&str],
    environment: &[(&str, &str)],
) -> Server {
    let arguments = [&["serve", "--data", "eim", "--listen", "127.0.0.1:0"], more].concat();
    folder.serve_with(&arguments, environment, &["eim", "status", "--data", "eim"])
}

/// The owner's one-time code, of a folder in which nobody is enrolled yet.
pub(crate) fn owner_code(folder: &Folder) -> String {
    fs::read_to_string(folder.path(CODE)).unwrap()
}

/// Enrols a person with a passkey in this file.
pub(crate) fn enrol(folder: &Folder, code: &str, name: &str, passkey: &str) {
    let enrol = ["enrol", "--data", "eim", "--code", code, "--name", name];
    folder.ok(&[&enrol[..], &["--software-passkey", passkey]].concat());
}

/// A TLS certificate for localhost from the PKI of the folder, and its key: NAME.pem and NAME.key.
pub(crate) fn tls_identity(folder: &Folder, name: &str) {
    let pki = TestPki::load(&folder.path("pki")).unwrap();
    let now = pki.eim_tls.certificate.not_before();
    let key = PrivateKey::generate(Curve::P256, &mut Random).unwrap();
    let certificate = CertificateTemplate::eim_tls("XX", &["localhost".to_owned()], None)
        .valid(now, now.plus_days(90))
        .random_serial(&mut Random)
        .issue(key.public_key(), pki.tls_ca.issuer())
        .unwrap();
    let pem = certificate.to_pem().unwrap();
    fs::write(folder.path(&format!("{name}.pem")), pem).unwrap();
    let file = folder.path(&format!("{name}.key"));
    fs::write(&file, key.to_pkcs8_pem().unwrap()).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Randomness for keys of tests.
pub(crate) struct Random;

impl rand_core::TryRng for Random {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut octets = [0; 4];
        self.try_fill_bytes(&mut octets)?;
        Ok(u32::from_le_bytes(octets))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut octets = [0; 8];
        self.try_fill_bytes(&mut octets)?;
        Ok(u64::from_le_bytes(octets))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        aws_lc_rs::rand::fill(out).unwrap();
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Random {}
