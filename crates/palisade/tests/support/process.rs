//! The binary: commands that end, and a server that is killed.

use std::fs::{self, File, OpenOptions};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::PATIENCE;
use super::control::Control;
use super::machine::Machine;

/// The binary under test.
const PROGRAM: &str = "palisade";
/// Files of the machine that asks, and of the owner.
const KEY: &str = "ci.key";
const OWNER: &str = "alice.json";
/// The installation of an eIM under the example name.
const INSTALLATION: &str = "eim.example.com/ledger";

/// A folder with a PKI and the data of an eIM.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    /// With a PKI and an eIM under its example name.
    pub(crate) fn prepared() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        // A build beside a test replaces the program, and a server then does not find its own any more.
        let built = env!("CARGO_BIN_EXE_palisade");
        let program = folder.path(PROGRAM);
        if fs::hard_link(built, &program).is_err() {
            fs::copy(built, &program).unwrap();
        }
        folder.run(&["pki", "new", "-d", "pki"]);
        let init = ["init", "--data", "eim", "--pki", "pki"];
        let options = ["--fqdn", "eim.example.com", "--insecure-no-approvals"];
        let made = folder.json(&[&init[..], &options].concat());
        folder.settle_in(made["code"].as_str().unwrap());
        folder
    }

    /// The owner enrols, and admits a machine.
    fn settle_in(&self, code: &str) {
        let mut server = self.spawn();
        server.ready();
        let enrol = ["enrol", "--data", "eim", "--name", "alice", "--code", code];
        self.run(&[&enrol[..], &["--software-passkey", OWNER]].concat());
        let create = ["key", "create", "ci", "--data", "eim", "--out", KEY];
        let may = ["--grant", "operator", "--grant", "fleet-admin"];
        self.run(&[&create[..], &may, &["--passkey", OWNER]].concat());
        server.terminate();
        assert!(server.ended().success());
    }

    /// Whoever asks for changes, by the machine's key.
    pub(crate) fn machine(&self) -> Machine {
        Machine::new(&self.path(KEY), INSTALLATION)
    }

    /// The number of the authority's process, if it answers.
    pub(crate) fn authority_pid(&self) -> Option<u32> {
        let (_, status) = self.control().get("/v1/authority").ok()?;
        status["pid"].as_u64()?.try_into().ok()
    }

    /// SIGKILL to the authority. Whether there was one.
    pub(crate) fn kill_authority(&self) -> bool {
        let Some(pid) = self.authority_pid() else {
            return false;
        };
        let killed = Command::new("kill")
            .args(["-KILL", &pid.to_string()])
            .stderr(Stdio::null())
            .status();
        killed.unwrap().success()
    }

    /// Puts something else in the place of the program.
    pub(crate) fn replace_program(&self) {
        let program = self.path(PROGRAM);
        fs::remove_file(&program).unwrap();
        fs::write(&program, b"another version").unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn control(&self) -> Control {
        Control::new(&self.path("eim"))
    }

    /// Runs a command that must succeed, and reads its output.
    fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self
            .command(&[arguments, &["--output", "json"]].concat())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs a command that must succeed.
    pub(crate) fn run(&self, arguments: &[&str]) {
        let output = self.command(arguments).output().unwrap();
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Starts the eIM and does not wait for it. Its log goes on where that of the last one ended.
    pub(crate) fn spawn(&self) -> Server {
        let log = self.path("server.log");
        let child = self
            .command(&["serve", "--data", "eim", "--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(append(&log))
            .spawn()
            .unwrap();
        Server {
            child,
            log,
            control: self.control(),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.path(PROGRAM));
        command
            .args(arguments)
            .current_dir(self.0.path())
            .env_clear()
            // Servers of many tests run side by side; those about the console give it a port.
            .env("PALISADE_CONSOLE", "off");
        command
    }
}

fn append(path: &PathBuf) -> File {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap()
}

/// A server under test, which ends with the test.
pub(crate) struct Server {
    child: Child,
    log: PathBuf,
    control: Control,
}

impl Server {
    /// Waits until it answers, and says where ESipa listens.
    pub(crate) fn ready(&mut self) -> SocketAddr {
        let begun = Instant::now();
        loop {
            if let Ok((200, status)) = self.control.get("/v1/status") {
                return status["listen"].as_str().unwrap().parse().unwrap();
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "the server ended: {}", self.log());
            assert!(begun.elapsed() < PATIENCE, "not ready: {}", self.log());
            thread::sleep(Duration::from_millis(4));
        }
    }

    /// The number of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for one that was killed.
    pub(crate) fn gone(&mut self) {
        self.child.wait().unwrap();
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        let sent = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until it has ended by itself.
    pub(crate) fn ended(mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "does not end: {}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Everything logged so far, by the servers before it too.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
