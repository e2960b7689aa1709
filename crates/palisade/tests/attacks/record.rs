//! The record in the hands of somebody who can write the disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use crate::site::Site;

/// What an authority says that does not start.
const NOT_STARTED: &str = "cannot be used";
/// A copy of the authority's folder beside it.
const COPY: &str = "eim/copy";

/// An installation at rest, whose record has something in it.
fn at_rest() -> Site {
    let mut site = Site::new();
    site.works("recorded.example.com");
    site.stop();
    site
}

fn copy(from: &Path, to: &Path) {
    if to.exists() {
        fs::remove_dir_all(to).unwrap();
    }
    let copied = Process::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.unwrap().success());
}

/// The newest file of a row of tiles: the one with the most in it.
fn newest(folder: &Path) -> PathBuf {
    let files = fs::read_dir(folder.join("000.p")).unwrap();
    let width =
        |path: &PathBuf| -> u32 { path.file_name().unwrap().to_str().unwrap().parse().unwrap() };
    files
        .map(|entry| entry.unwrap().path())
        .max_by_key(width)
        .unwrap()
}

/// Entries as they stand in their file, each behind its length.
fn entries(path: &Path) -> Vec<Vec<u8>> {
    let octets = fs::read(path).unwrap();
    let mut rest = octets.as_slice();
    let mut entries = Vec::new();
    while let [high, low, after @ ..] = rest {
        let (entry, next) = after.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        entries.push(entry.to_vec());
        rest = next;
    }
    entries
}

fn write(path: &Path, entries: &[Vec<u8>]) {
    let mut octets = Vec::new();
    for entry in entries {
        octets.extend(u16::try_from(entry.len()).unwrap().to_be_bytes());
        octets.extend(entry);
    }
    fs::write(path, octets).unwrap();
}

/// Does something to a copy of the record. The verification from the files names it, and no authority starts on it.
#[track_caller]
fn is_found(site: &Site, what: &str, words: &[&str], harm: impl FnOnce(&Path)) {
    let folder = site.folder.path(COPY);
    copy(&site.folder.path("eim/authority"), &folder);
    harm(&folder.join("ledger"));
    let ledger = format!("{COPY}/ledger");
    let key = "eim/authority/ledger.pub";
    let verify = ["ledger", "verify", "--ledger", &ledger, "--key", key];
    let ran = site.folder.run(&verify);
    assert_eq!(ran.status, 1, "{what}: {}{}", ran.out, ran.err);
    let said = format!("{}{}", ran.out, ran.err);
    for word in words {
        assert!(said.contains(word), "{what}: {word:?} is not in {said}");
    }
    let started = site.folder.run(&["authority", "--data", COPY]);
    assert_eq!(started.status, 1, "{what}: {}", started.err);
    assert!(started.err.contains(NOT_STARTED), "{what}: {}", started.err);
    for word in words {
        assert!(
            started.err.contains(word),
            "{what}: {word:?} is not in {}",
            started.err
        );
    }
}

#[test]
fn entries_altered_removed_swapped_or_cut_off_are_found_by_verification_and_at_the_start() {
    let mut site = at_rest();
    let file = |ledger: &Path| newest(&ledger.join("tile/entries"));
    is_found(&site, "altered", &["entry 3"], |ledger| {
        let path = file(ledger);
        let mut all = entries(&path);
        *all[3].last_mut().unwrap() ^= 1;
        write(&path, &all);
    });
    is_found(&site, "a role raised", &["entry"], |ledger| {
        let path = file(ledger);
        let mut all = entries(&path);
        let mut raised = 0;
        for entry in &mut all {
            let text = String::from_utf8(entry.clone()).unwrap();
            if text.contains("machine") || text.contains("fleet-admin") {
                let changed = text.replace("\"role\":\"fleet-admin\"", "\"role\":\"owner\"");
                raised += usize::from(changed != text);
                *entry = changed.into_bytes();
            }
        }
        assert!(raised > 0);
        write(&path, &all);
    });
    is_found(&site, "removed", &["entry 4"], |ledger| {
        let path = file(ledger);
        let mut all = entries(&path);
        all.remove(4);
        write(&path, &all);
    });
    is_found(&site, "swapped", &["entry 4"], |ledger| {
        let path = file(ledger);
        let mut all = entries(&path);
        all.swap(4, 5);
        write(&path, &all);
    });
    is_found(&site, "cut off", &["entr"], |ledger| {
        let path = file(ledger);
        let mut all = entries(&path);
        all.pop();
        write(&path, &all);
    });
    is_found(&site, "a file gone", &["entr"], |ledger| {
        fs::remove_file(file(ledger)).unwrap();
    });
    is_found(&site, "a hash altered", &["tile/0"], |ledger| {
        let path = newest(&ledger.join("tile/0"));
        let mut octets = fs::read(&path).unwrap();
        octets[40] ^= 1;
        fs::write(&path, octets).unwrap();
    });
    // The record itself is good, and goes on.
    site.start();
    site.works("after-tampering.example.com");
}

#[test]
fn a_checkpoint_altered_or_missing_is_found_by_verification_and_at_the_start() {
    let mut site = at_rest();
    let replace = |ledger: &Path, change: &dyn Fn(Vec<String>) -> Vec<String>| {
        let path = ledger.join("checkpoint");
        let lines = fs::read_to_string(&path).unwrap();
        let lines = change(lines.lines().map(str::to_owned).collect());
        fs::write(&path, lines.join("\n") + "\n").unwrap();
    };
    is_found(&site, "fewer entries", &["checkpoint"], |ledger| {
        replace(ledger, &|mut lines| {
            let size: u64 = lines[1].parse().unwrap();
            lines[1] = (size - 1).to_string();
            lines
        });
    });
    is_found(&site, "another root", &["checkpoint"], |ledger| {
        replace(ledger, &|mut lines| {
            lines[2] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned();
            lines
        });
    });
    is_found(&site, "signed by nobody", &["checkpoint"], |ledger| {
        replace(ledger, &|lines| {
            lines
                .into_iter()
                .filter(|line| !line.starts_with('\u{2014}'))
                .collect()
        });
    });
    is_found(&site, "gone", &["checkpoint"], |ledger| {
        fs::remove_file(ledger.join("checkpoint")).unwrap();
    });
    // Another key in the place of the real one: a record signed anew by somebody else.
    let other = site.folder.path("other");
    fs::create_dir(&other).unwrap();
    let made = [
        "init",
        "--data",
        "other/eim",
        "--pki",
        "pki",
        "--fqdn",
        "localhost:8443",
    ];
    site.folder
        .ok(&[&made[..], &["--break-glass", "other/break-glass.key"]].concat());
    is_found(&site, "another authority's", &["checkpoint"], |ledger| {
        fs::copy(
            other.join("eim/authority/ledger/checkpoint"),
            ledger.join("checkpoint"),
        )
        .unwrap();
    });
    site.start();
    site.works("after-checkpoint.example.com");
}

#[test]
fn a_disk_that_was_rolled_back_is_found_by_what_the_eim_remembers() {
    let mut site = at_rest();
    let (authority, backup) = (
        site.folder.path("eim/authority"),
        site.folder.path("backup"),
    );
    copy(&authority, &backup);
    site.start();
    // What somebody would like to undo.
    let frozen = site.json(&["freeze", "everything", "--passkey", crate::cli::OWNER]);
    assert_eq!(frozen["state"], "done");
    site.record();
    site.stop();
    let newest = site.folder.path("newest");
    copy(&authority, &newest);
    copy(&backup, &authority);

    let verify = ["ledger", "verify", "--data", "eim"];
    assert_eq!(
        site.folder.run(&verify).status,
        0,
        "the old record is good in itself"
    );
    let remembered = ["--remembered", "eim/authority-checkpoint"];
    let ran = site.folder.run(&[&verify[..], &remembered].concat());
    assert_eq!(ran.status, 1, "{}", ran.out);
    assert!(ran.out.contains("rolled back"), "{}", ran.out);
    let serve = ["serve", "--data", "eim", "--listen", "127.0.0.1:0"];
    site.folder
        .run(&serve)
        .refused(1, &["rolled back", "Nothing can be signed"]);

    copy(&newest, &authority);
    site.start();
    let refusal = site.sign(intent::api::Account::ListEims("x".to_owned()), site.eid);
    assert_eq!(refusal.unwrap_err()["code"], "frozen");
}

#[test]
fn a_forked_record_is_found_by_what_the_eim_remembers() {
    let mut site = at_rest();
    let (authority, backup) = (
        site.folder.path("eim/authority"),
        site.folder.path("backup"),
    );
    let remembered = site.folder.path("eim/authority-checkpoint");
    copy(&authority, &backup);
    let old_memory = fs::read(&remembered).unwrap();
    // One history, which the eIM has seen.
    site.start();
    site.json(&["freeze", "everything", "--passkey", crate::cli::OWNER]);
    site.record();
    site.stop();
    let seen = fs::read(&remembered).unwrap();
    assert_ne!(seen, old_memory);
    let newest = site.folder.path("newest");
    copy(&authority, &newest);
    // Another one from the same beginning, longer, with all the keys; whoever made it had the eIM forget meanwhile.
    copy(&backup, &authority);
    fs::write(&remembered, &old_memory).unwrap();
    site.start();
    for n in 20..30 {
        site.register(&[crate::support::eid(n)]);
    }
    site.record();
    site.stop();
    fs::write(&remembered, &seen).unwrap();
    let verify = [
        "ledger",
        "verify",
        "--data",
        "eim",
        "--remembered",
        "eim/authority-checkpoint",
    ];
    let ran = site.folder.run(&verify);
    assert_eq!(ran.status, 1, "{}", ran.out);
    assert!(ran.out.contains("fork"), "{}", ran.out);
    let serve = ["serve", "--data", "eim", "--listen", "127.0.0.1:0"];
    site.folder
        .run(&serve)
        .refused(1, &["fork", "Nothing can be signed"]);
    copy(&newest, &authority);
    site.start();
}

#[test]
fn an_altered_journal_is_found_by_verification_and_at_the_start() {
    let mut site = Site::new();
    site.stop();
    let settings = site.folder.path("eim/authority/palisade.toml");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, text + "publish_interval_s = 3600\n").unwrap();
    site.start();
    // Durable, and in no tile yet.
    let revoked = site.settings("one.example.com");
    site.accepted(&revoked);
    for n in 40..44 {
        site.register(&[crate::support::eid(n)]);
    }
    let entries = site.authority().read("/v1/status")["entries"]
        .as_u64()
        .unwrap();
    site.kill();
    let journal = |ledger: &Path| {
        let files = [".journal.0", ".journal.1"].map(|name| ledger.join(name));
        let needle = b"one.example.com";
        let found = files.into_iter().find_map(|path| {
            let octets = fs::read(&path).ok()?;
            let place = octets
                .windows(needle.len())
                .position(|window| window == needle)?;
            Some((path, octets, place))
        });
        found.unwrap()
    };
    is_found(&site, "altered", &["journal"], |ledger| {
        let (path, mut octets, place) = journal(ledger);
        octets[place] ^= 1;
        fs::write(path, octets).unwrap();
    });
    is_found(&site, "emptied before its end", &["journal"], |ledger| {
        let (path, mut octets, place) = journal(ledger);
        let block = place / 4096 * 4096;
        octets[block..block + 4096].fill(0);
        fs::write(path, octets).unwrap();
    });
    is_found(&site, "gone", &["journal"], |ledger| {
        let (path, _, _) = journal(ledger);
        fs::remove_file(path).unwrap();
    });
    // Unharmed, everything that was acknowledged is there.
    site.start();
    let now = site.authority().read("/v1/status")["entries"]
        .as_u64()
        .unwrap();
    assert!(now >= entries, "{now} of {entries}");
    site.carried_out(&revoked, "one.example.com");
}

#[test]
fn a_remembered_checkpoint_that_was_exchanged_stops_the_eim() {
    let mut site = at_rest();
    let remembered = site.folder.path("eim/authority-checkpoint");
    let good = fs::read_to_string(&remembered).unwrap();
    let serve = ["serve", "--data", "eim", "--listen", "127.0.0.1:0"];
    let altered = {
        let mut lines: Vec<&str> = good.lines().collect();
        lines[3] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        lines.join("\n") + "\n"
    };
    for text in ["", "nothing\n", &altered] {
        fs::write(&remembered, text).unwrap();
        site.folder
            .run(&serve)
            .refused(1, &["authority-checkpoint"]);
    }
    fs::write(&remembered, &good).unwrap();
    site.start();
    site.works("after-memory.example.com");
}
