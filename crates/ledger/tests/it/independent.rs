//! The tiles and checkpoints of a ledger are verified by another implementation, in another language.
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{draft, key};
use ledger::{FolderStore, Ledger};

#[test]
fn the_reference_implementation_verifies_a_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let store = FolderStore::exclusive(folder.path()).unwrap();
    let mut ledger = Ledger::create(store, key()).unwrap();
    // Over the end of the second level of tiles.
    for batch in [1u64, 300, 34_000, 34_000, 5] {
        let drafts = (0..batch).map(|index| draft(index, 50)).collect();
        ledger.append(drafts).unwrap();
        ledger.publish().unwrap();
    }
    let tools = tempfile::tempdir().unwrap();
    let verifier = compiled(tools.path());
    let verify = || {
        let output = Command::new(&verifier)
            .arg(folder.path())
            .arg(key().public().to_string())
            .output()
            .unwrap();
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        (text(&output.stdout), text(&output.stderr))
    };
    let (found, problem) = verify();
    let (size, root) = (ledger.checkpoint().size(), ledger.checkpoint().root());
    assert_eq!(
        found,
        format!("good: {size} entries, root {root}\n"),
        "{problem}"
    );

    // And it sees what was altered.
    let path = folder.path().join("tile/entries/100");
    let mut bundle = std::fs::read(&path).unwrap();
    bundle[20] ^= 1;
    std::fs::write(&path, bundle).unwrap();
    let (found, problem) = verify();
    assert_eq!(found, "");
    assert!(
        problem.starts_with("entry 25600 is not what was signed"),
        "{problem}"
    );
}

/// Compiles the verifier. A machine without Go cannot run this test, and says so.
fn compiled(tools: &Path) -> PathBuf {
    // The compiler of Go itself, or that of GCC, which is a third of its size.
    let names = ["go", "go-12", "go-13", "go-14"];
    let go = names
        .into_iter()
        .find(|name| Command::new(name).arg("version").output().is_ok())
        .expect("there is no Go: run scripts/test-services");
    let verifier = tools.join("verify");
    let output = Command::new(go)
        .args(["build", "-o"])
        .arg(&verifier)
        .arg("main.go")
        // Where Debian's package puts golang.org/x/mod.
        .env("GO111MODULE", "off")
        .env("GOPATH", "/usr/share/gocode")
        .env("GOCACHE", tools.join("cache"))
        .env("GOFLAGS", "")
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/independent"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{go} cannot compile the verifier (run scripts/test-services): {}",
        String::from_utf8_lossy(&output.stderr)
    );
    verifier
}
