//! Tokens for tests.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use pki::pkcs11::{KeySelector, Pkcs11Error, Pkcs11KeyStore, TokenName};
use pki::{Secret, SecretError, SecretLocation, SecretSource};
use zeroize::Zeroizing;

pub(super) const LABEL: &str = "palisade test";
pub(super) const PIN: &str = "271828";
const SECURITY_OFFICER_PIN: &str = "314159";

/// Where the child finds what its parent made.
const DIRECTORY: &str = "PALISADE_TEST_TOKENS";

/// A directory with a token in it.
pub(super) struct Token {
    pub(super) directory: PathBuf,
    pub(super) module: PathBuf,
}

/// Runs `test` in a process of its own, which has one initialised token. `name` is the test's, as in `pkcs11::keys::x`.
pub(super) fn on_a_token(name: &str, test: impl FnOnce(&Token)) {
    let module = module();
    if let Some(directory) = env::var_os(DIRECTORY) {
        let directory = directory.into();
        return test(&Token { directory, module });
    }
    let directory = tempfile::tempdir().unwrap();
    let tokens = directory.path().join("tokens");
    fs::create_dir(&tokens).unwrap();
    let configuration = directory.path().join("softhsm2.conf");
    fs::write(
        &configuration,
        format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            tokens.display()
        ),
    )
    .unwrap();
    initialise(&configuration, LABEL);

    let output = Command::new(env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env("SOFTHSM2_CONF", &configuration)
        .env(DIRECTORY, directory.path())
        .output()
        .unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    print!("{said}");
    assert!(
        output.status.success() && said.contains("1 passed"),
        "test {name} failed in its process"
    );
}

/// The module. A machine without it cannot test this crate, and says so.
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
        .unwrap_or_else(|| {
            panic!(
                "SoftHSM 2 is not installed: run scripts/test-services (or apt-get install softhsm2), \
                 or name its libsofthsm2.so in SOFTHSM2_MODULE"
            )
        })
}

fn initialise(configuration: &Path, label: &str) {
    softhsm(
        configuration,
        &[
            "--init-token",
            "--free",
            "--label",
            label,
            "--pin",
            PIN,
            "--so-pin",
            SECURITY_OFFICER_PIN,
        ],
    );
}

fn softhsm(configuration: &Path, arguments: &[&str]) {
    let output = Command::new("softhsm2-util")
        .args(arguments)
        .env("SOFTHSM2_CONF", configuration)
        .output()
        .unwrap_or_else(|error| {
            panic!(
                "softhsm2-util: {error}; run scripts/test-services (or apt-get install softhsm2)"
            )
        });
    assert!(
        output.status.success(),
        "softhsm2-util {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

impl Token {
    pub(super) fn name(&self) -> TokenName {
        TokenName {
            module: self.module.clone(),
            label: LABEL.to_owned(),
            serial: None,
        }
    }

    pub(super) fn open(&self) -> Result<Pkcs11KeyStore, Pkcs11Error> {
        Pkcs11KeyStore::open(&self.name(), secret(PIN), 2)
    }

    /// Makes another token, in a process of its own.
    pub(super) fn add_token(&self, label: &str) {
        initialise(&self.directory.join("softhsm2.conf"), label);
    }

    /// Puts a key onto the token that was made elsewhere.
    pub(super) fn import(&self, pem: &str, label: &str, id: &str) {
        let file = self.directory.join("import.pem");
        fs::write(&file, pem).unwrap();
        softhsm(
            &self.directory.join("softhsm2.conf"),
            &[
                "--import",
                file.to_str().unwrap(),
                "--token",
                LABEL,
                "--pin",
                PIN,
                "--label",
                label,
                "--id",
                id,
            ],
        );
        fs::remove_file(&file).unwrap();
    }

    /// A file with the PIN.
    pub(super) fn pin_file(&self, pin: &str, mode: u32) -> SecretLocation {
        let path = self.directory.join("pin");
        fs::write(&path, format!("{pin}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        SecretLocation::File(path)
    }

    /// Takes the tokens away or brings them back.
    pub(super) fn set_present(&self, present: bool) {
        let here = self.directory.join("tokens");
        let away = self.directory.join("away");
        match present {
            true => {
                fs::remove_dir_all(&here).unwrap();
                fs::rename(away, here).unwrap();
            }
            false => {
                fs::rename(&here, away).unwrap();
                fs::create_dir(here).unwrap();
            }
        }
    }

    /// The module as another part of the process would use it.
    pub(super) fn elsewhere(&self) -> cryptoki::context::Pkcs11 {
        cryptoki::context::Pkcs11::new(&self.module).unwrap()
    }

    /// A session of that other part, logged in.
    pub(super) fn session_elsewhere(&self) -> cryptoki::session::Session {
        let module = self.elsewhere();
        let slot = module
            .get_slots_with_initialized_token()
            .unwrap()
            .into_iter()
            .find(|slot| module.get_token_info(*slot).unwrap().label() == LABEL)
            .unwrap();
        let session = module.open_rw_session(slot).unwrap();
        let pin = cryptoki::types::AuthPin::from(PIN);
        match session.login(cryptoki::session::UserType::User, Some(&pin)) {
            Ok(())
            | Err(cryptoki::error::Error::Pkcs11(
                cryptoki::error::RvError::UserAlreadyLoggedIn,
                _,
            )) => session,
            Err(error) => panic!("{error}"),
        }
    }
}

pub(super) fn secret(text: &str) -> Arc<dyn SecretSource> {
    let text = text.to_owned();
    Arc::new(move || Ok::<_, SecretError>(Secret::new(Zeroizing::new(text.clone()))))
}

pub(super) fn labelled(label: &str) -> KeySelector {
    KeySelector {
        label: Some(label.to_owned()),
        id: None,
    }
}
