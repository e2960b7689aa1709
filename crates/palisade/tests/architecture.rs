//! The shape of the project: which crate may use which, which library belongs to whom, and the walls inside the crates.
//!
//! ARCHITECTURE.md explains the rules. A failure here names the place and says what to do. To change a rule, change its table
//! below and the document in one commit.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test reports by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value as Json;

/// The crates from the bottom up, and the crates that each one uses. Development dependencies may point at anything
/// further up in this list.
const CRATES: &[(&str, &[&str])] = &[
    ("rsp", &[]),
    ("pki", &["rsp"]),
    ("bsp", &[]),
    ("store", &[]),
    ("ledger", &["rsp"]),
    ("intent", &["rsp", "pki"]),
    ("edge", &[]),
    ("euicc", &["rsp", "pki", "bsp"]),
    ("authority", &["rsp", "pki", "ledger", "intent"]),
    ("ipa", &["rsp", "pki"]),
    ("smdp", &["rsp", "pki", "bsp", "store", "edge"]),
    ("eim", &["rsp", "pki", "intent", "store", "edge"]),
    ("console", &["rsp", "intent", "store", "edge", "eim"]),
    (
        "palisade",
        &[
            "rsp",
            "pki",
            "ledger",
            "intent",
            "authority",
            "store",
            "edge",
            "euicc",
            "ipa",
            "smdp",
            "eim",
            "console",
        ],
    ),
];

/// Libraries that belong to certain crates. Everybody else goes through their public interface.
const OWNED_LIBRARIES: &[(&str, &[&str])] = &[
    ("rusqlite", &["store"]),
    ("rustls", &["edge"]),
    ("tokio-rustls", &["edge"]),
    ("rustls-webpki", &["edge"]),
    ("axum", &["edge", "smdp", "eim", "console", "palisade"]),
    ("hyper", &["edge", "palisade"]),
    ("hyper-util", &["edge", "palisade"]),
    ("http", &["edge", "smdp", "eim", "console", "palisade"]),
    (
        "tokio",
        &["store", "edge", "smdp", "eim", "console", "palisade"],
    ),
    ("aws-lc-rs", &["pki", "palisade"]),
    ("bp256", &["pki"]),
    ("ecdsa", &["pki"]),
    ("cryptoki", &["pki"]),
    ("tlog_tiles", &["ledger", "intent"]),
    ("signed_note", &["ledger"]),
    ("ed25519-dalek", &["ledger", "intent"]),
    ("sfv", &["intent"]),
    ("webauthn-rs-core", &["authority"]),
    ("askama", &["console"]),
    ("utoipa", &["console"]),
    ("utoipa-axum", &["console"]),
    ("argon2", &["intent"]),
    ("chacha20poly1305", &["intent"]),
    ("aes", &["bsp"]),
    ("cbc", &["bsp"]),
    ("cmac", &["bsp"]),
    ("clap", &["palisade"]),
    ("anyhow", &["palisade"]),
    ("toml", &["palisade"]),
    ("tracing-subscriber", &["palisade"]),
];

/// Crates that take octets, time and randomness as arguments and give octets back.
const PURE: &[&str] = &["rsp", "pki", "bsp", "ledger", "intent", "euicc", "ipa"];

/// Modules of `std` that reach outside the process.
const OUTSIDE: &[&str] = &["fs", "net", "thread", "process", "env"];

/// Files of pure crates that reach outside nevertheless, and with what.
const PURITY_DOORS: &[(&str, &[&str])] = &[
    // Long-lived keys in files, and the files that keep them from others.
    ("crates/pki/src/key_store.rs", &["fs"]),
    ("crates/pki/src/private_file.rs", &["fs", "process"]),
    // Where systemd puts the credentials of a service.
    ("crates/pki/src/secret.rs", &["env"]),
    // A PKCS#11 module is a file that is loaded.
    ("crates/pki/src/pkcs11/module.rs", &["fs"]),
    // Writing a private test PKI into a directory and reading it back.
    ("crates/pki/src/issue/test_pki.rs", &["fs"]),
    // Addresses and networks as values; nothing is connected.
    ("crates/intent/src/action.rs", &["net"]),
    ("crates/intent/src/api.rs", &["net"]),
    // The folder of a ledger: the usual implementation of Files.
    ("crates/ledger/src/folder.rs", &["fs"]),
    // The memory of a software eUICC, in two files.
    ("crates/euicc/src/nvm.rs", &["fs"]),
];

/// Where SQL may stand.
const SQL_DOORS: &[&str] = &[
    "crates/store/",
    "crates/eim/src/tables/",
    "crates/smdp/src/store/",
    "crates/console/src/sessions/",
    "crates/console/src/webhooks/",
];

/// Where HTTP may be known.
const HTTP_DOORS: &[&str] = &[
    "crates/edge/",
    "crates/eim/src/http",
    "crates/eim/src/es9.rs",
    "crates/smdp/src/http",
    "crates/console/",
    "crates/palisade/",
];

/// Lines in a source file, tests included.
const LINES_MAX: usize = 900;

/// Files that are longer, and why that is better than splitting them.
const LONG_FILES: &[(&str, &str)] = &[(
    "crates/rsp/tests/differential.rs",
    "flat declarations of both modules for an independent codec, in the modules' order",
)];

#[test]
fn crates_use_only_what_is_below_them() {
    let packages = packages();
    let rank = |name: &str| CRATES.iter().position(|(known, _)| *known == name);

    let listed: BTreeSet<&str> = CRATES.iter().map(|(name, _)| *name).collect();
    let present: BTreeSet<&str> = packages.keys().map(String::as_str).collect();
    assert_eq!(
        present, listed,
        "the workspace's crates (left) are not those of CRATES (right): give a new crate its place there"
    );

    for (position, (name, uses)) in CRATES.iter().enumerate() {
        for used in *uses {
            assert!(
                rank(used).is_some_and(|other| other < position),
                "CRATES lets {name} use {used}, which does not stand before it: arrows never point back"
            );
        }
        let declared: BTreeSet<&str> = packages[*name]
            .ordinary
            .iter()
            .map(String::as_str)
            .filter(|used| rank(used).is_some())
            .collect();
        let allowed: BTreeSet<&str> = uses.iter().copied().collect();
        assert_eq!(
            declared, allowed,
            "crates/{name}/Cargo.toml uses the crates on the left, CRATES allows those on the right: \
             either remove the dependency or argue for the edge in CRATES and ARCHITECTURE.md"
        );
        for used in &packages[*name].development {
            assert!(
                used == name || rank(used).is_none_or(|other| other < position),
                "the tests of {name} use {used}, which stands above it: move the test up to {used}"
            );
        }
    }
}

#[test]
fn libraries_stay_with_their_owners() {
    let packages = packages();
    for (library, owners) in OWNED_LIBRARIES {
        for (name, package) in &packages {
            assert!(
                !package.ordinary.contains(*library) || owners.contains(&name.as_str()),
                "crates/{name}/Cargo.toml depends on {library}, which belongs to {owners:?}: \
                 ask for what is needed through their interface"
            );
        }
    }
}

#[test]
fn pure_crates_reach_for_nothing_outside() {
    for file in sources().filter(|file| PURE.contains(&file.crate_name())) {
        let doors = PURITY_DOORS
            .iter()
            .find(|(path, _)| *path == file.path)
            .map_or(&[][..], |(_, doors)| doors);
        for module in file.std_modules() {
            assert!(
                !OUTSIDE.contains(&module.as_str()) || doors.contains(&module.as_str()),
                "{} uses std::{module}: take what it gives as an argument, behind a trait if need be",
                file.path
            );
        }
        for word in ["SystemTime", "Instant"] {
            assert!(
                !file.has_word(word),
                "{} reads a clock ({word}): take the time as an argument",
                file.path
            );
        }
    }
}

#[test]
fn randomness_comes_in_as_an_argument() {
    for file in sources().filter(|file| file.crate_name() != "palisade") {
        for word in ["OsRng", "SysRng", "ThreadRng", "thread_rng", "getrandom"] {
            assert!(
                !file.has_word(word),
                "{} draws its own randomness ({word}): take it as an argument, so that tests and simulations can repeat it",
                file.path
            );
        }
    }
}

#[test]
fn only_the_tables_know_sql() {
    for file in sources().filter(|file| !file.is_behind(SQL_DOORS)) {
        assert!(
            !file.has_word("rusqlite"),
            "{} names rusqlite: use the types of `store`",
            file.path
        );
        for text in &file.strings {
            assert!(
                !is_sql(text),
                "{} holds SQL ({text:?}): move the query into the crate's tables",
                file.path
            );
        }
    }
}

#[test]
fn only_the_outer_layers_know_http() {
    for file in sources().filter(|file| !file.is_behind(HTTP_DOORS)) {
        for word in ["axum", "hyper", "hyper_util", "http_body_util"] {
            assert!(
                !file.has_word(word),
                "{} names {word}: the domain gets values and gives values, an http module translates",
                file.path
            );
        }
        // `rsp::binding::http` and a crate's own `http` module are another thing than the library.
        assert!(
            !file.code.contains("use http::") || file.path.ends_with("/lib.rs"),
            "{} uses the http library: the domain gets values and gives values, an http module translates",
            file.path
        );
    }
}

/// The double that signs whatever it is asked to is for tests and measurements.
#[test]
fn what_is_run_in_earnest_never_names_the_unguarded_authority() {
    for file in sources() {
        let may = ["crates/eim/src/authority/", "crates/palisade/src/bench/"];
        assert!(
            file.is_behind(&may) || !file.has_word("unguarded"),
            "{} names the unguarded authority: only tests and `palisade bench` may",
            file.path
        );
    }
}

#[test]
fn every_crate_is_under_the_workspace_lints() {
    let root = manifest("Cargo.toml");
    assert_eq!(
        root["workspace"]["lints"]["rust"]["unsafe_code"].as_str(),
        Some("forbid"),
        "Cargo.toml must forbid unsafe code for the workspace"
    );
    for (name, _) in CRATES {
        let path = format!("crates/{name}/Cargo.toml");
        assert_eq!(
            manifest(&path)
                .get("lints")
                .and_then(|lints| lints.get("workspace")?.as_bool()),
            Some(true),
            "{path} must say `[lints] workspace = true`: unsafe code and panics on outside data are refused there"
        );
    }
}

#[test]
fn files_stay_readable() {
    let mut excused: BTreeSet<&str> = LONG_FILES.iter().map(|(path, _)| *path).collect();
    for path in rust_files(&root().join("crates")) {
        let name = relative(&path);
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        if lines > LINES_MAX {
            assert!(
                excused.remove(name.as_str()),
                "{name} has {lines} lines, more than {LINES_MAX}: split it by what each part hides, \
                 or give it a reason in LONG_FILES"
            );
        }
    }
    assert!(
        excused.is_empty(),
        "no longer too long, take them out of LONG_FILES: {excused:?}"
    );
}

#[test]
fn the_documented_crates_are_the_real_ones() {
    let document = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let documented: BTreeMap<String, BTreeSet<String>> = document
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let name = cells.get(1)?.strip_prefix('`')?.strip_suffix('`')?;
            let known = CRATES.iter().any(|(known, _)| *known == name);
            let uses = cells.get(2)?;
            known.then(|| {
                (
                    name.to_owned(),
                    code_spans(uses).map(str::to_owned).collect(),
                )
            })
        })
        .collect();
    let real: BTreeMap<String, BTreeSet<String>> = CRATES
        .iter()
        .map(|(name, uses)| {
            (
                (*name).to_owned(),
                uses.iter().map(|used| (*used).to_owned()).collect(),
            )
        })
        .collect();
    assert_eq!(
        documented, real,
        "the crate table of ARCHITECTURE.md (left) differs from CRATES (right)"
    );
}

#[test]
fn every_dependency_is_explained() {
    let root_manifest = manifest("Cargo.toml");
    let declared: BTreeSet<&str> = root_manifest["workspace"]["dependencies"]
        .as_table()
        .unwrap()
        .iter()
        .filter(|(_, source)| source.get("path").is_none())
        .map(|(name, _)| name.as_str())
        .collect();
    let document = fs::read_to_string(root().join("docs/dependencies.md")).unwrap();
    let explained: BTreeSet<&str> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" |").next())
        .flat_map(code_spans)
        .filter(|name| !name.starts_with("cargo-"))
        .collect();
    assert_eq!(
        explained, declared,
        "docs/dependencies.md explains the dependencies on the left, Cargo.toml has those on the right"
    );
}

#[test]
fn documents_point_at_things_that_exist() {
    let root = root();
    let mut documents: Vec<PathBuf> = fs::read_dir(&root)
        .unwrap()
        .chain(fs::read_dir(root.join("docs")).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    documents.sort();
    for document in documents {
        let name = relative(&document);
        let text = fs::read_to_string(&document).unwrap();
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let file = target.split('#').next().unwrap();
            if file.is_empty() || target.contains("://") {
                continue;
            }
            assert!(
                document.parent().unwrap().join(file).exists(),
                "{name} links to {target}, which is not there"
            );
        }
        for span in code_spans(&text).filter(|span| span.starts_with("crates/")) {
            assert!(
                root.join(span).exists(),
                "{name} names {span}, which is not there"
            );
        }
    }
}

#[test]
fn the_proofs_in_the_security_notes_exist() {
    let notes = fs::read_to_string(root().join("docs/security-notes.md")).unwrap();
    let mut proofs = 0;
    for (name, _) in CRATES {
        let functions: BTreeSet<String> = rust_files(&root().join("crates").join(name))
            .iter()
            .flat_map(|path| functions(&fs::read_to_string(path).unwrap()))
            .collect();
        for span in code_spans(&notes) {
            let Some(function) = span
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix("::"))
            else {
                continue;
            };
            proofs += 1;
            assert!(
                functions.contains(function),
                "docs/security-notes.md names the test {span}, which is not there: correct the name, or restore the test"
            );
        }
    }
    assert!(
        proofs > 20,
        "docs/security-notes.md names {proofs} tests only"
    );
}

/// What a crate's manifest asks for.
struct Package {
    ordinary: BTreeSet<String>,
    development: BTreeSet<String>,
}

/// The crates of the workspace as cargo sees them.
fn packages() -> BTreeMap<String, Package> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .arg("--manifest-path")
        .arg(root().join("Cargo.toml"))
        .output()
        .expect("cargo can be started");
    assert!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Json = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| {
            let of_kind = |development: bool| {
                package["dependencies"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter(|dependency| (dependency["kind"] == "dev") == development)
                    .map(|dependency| dependency["name"].as_str().unwrap().to_owned())
                    .collect()
            };
            (
                package["name"].as_str().unwrap().to_owned(),
                Package {
                    ordinary: of_kind(false),
                    development: of_kind(true),
                },
            )
        })
        .collect()
}

/// A source file without its comments and tests; `code` has no string literals either.
struct Source {
    path: String,
    code: String,
    strings: Vec<String>,
}

impl Source {
    fn crate_name(&self) -> &str {
        self.path.split('/').nth(1).unwrap()
    }

    fn is_behind(&self, doors: &[&str]) -> bool {
        doors.iter().any(|door| self.path.starts_with(door))
    }

    fn has_word(&self, word: &str) -> bool {
        let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
        self.code.match_indices(word).any(|(at, _)| {
            !self.code[..at].ends_with(part_of_name)
                && !self.code[at + word.len()..].starts_with(part_of_name)
        })
    }

    /// First segments of all paths under `std`, in `std::a::b` and in `std::{a::b, c}`.
    fn std_modules(&self) -> BTreeSet<String> {
        let segment = |path: &str| -> String {
            path.trim_start()
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect()
        };
        let mut modules = BTreeSet::new();
        for (at, mark) in self.code.match_indices("std::") {
            let rest = &self.code[at + mark.len()..];
            let Some(group) = rest.strip_prefix('{') else {
                modules.insert(segment(rest));
                continue;
            };
            let mut depth = 0;
            let mut member = String::new();
            for c in group.chars() {
                match c {
                    '}' if depth == 0 => break,
                    ',' if depth == 0 => {
                        modules.insert(segment(&member));
                        member.clear();
                        continue;
                    }
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                member.push(c);
            }
            modules.insert(segment(&member));
        }
        modules
    }
}

/// Every source file of every crate that is not a test.
fn sources() -> impl Iterator<Item = Source> {
    rust_files(&root().join("crates"))
        .into_iter()
        .filter_map(|path| {
            let name = relative(&path);
            let inside = name.split('/').nth(2)? == "src";
            let test = name.contains("/tests/") || name.ends_with("/tests.rs");
            (inside && !test).then(|| {
                let text = fs::read_to_string(&path).unwrap();
                let (code, strings) = take_apart(&without_tests(&text));
                Source {
                    path: name,
                    code,
                    strings,
                }
            })
        })
}

/// A source text without its module of unit tests.
fn without_tests(text: &str) -> String {
    let Some((before, tests)) = text.split_once("#[cfg(test)]\nmod tests {") else {
        return text.to_owned();
    };
    let behind = tests.split_once("\n}\n").map_or("", |(_, behind)| behind);
    format!("{before}{behind}")
}

/// Splits Rust into code without comments and literals, and the contents of its string literals.
fn take_apart(text: &str) -> (String, Vec<String>) {
    let mut code = String::new();
    let mut strings = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        } else if rest.starts_with("/*") {
            rest = rest.find("*/").map_or("", |end| &rest[end + 2..]);
        } else if let Some((literal, after)) = raw_string(rest) {
            strings.push(literal.to_owned());
            code.push_str("\"\"");
            rest = after;
        } else if c == '"' {
            let mut end = 1;
            let mut escaped = false;
            for c in rest[1..].chars() {
                end += c.len_utf8();
                if c == '"' && !escaped {
                    break;
                }
                escaped = c == '\\' && !escaped;
            }
            strings.push(rest[1..end].trim_end_matches('"').to_owned());
            code.push_str("\"\"");
            rest = &rest[end..];
        } else if let Some(after) = quote_character(rest) {
            rest = after;
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    (code, strings)
}

/// `r"…"`, `r#"…"#` and so on at the start of `text`: the content, and what follows.
fn raw_string(text: &str) -> Option<(&str, &str)> {
    let after = text.strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let content = after[hashes..].strip_prefix('"')?;
    let closing = format!("\"{}", "#".repeat(hashes));
    content.split_once(closing.as_str())
}

/// A character literal of a quote, which would look like the start of a string.
fn quote_character(text: &str) -> Option<&str> {
    ["'\"'", "'\\\"'"]
        .iter()
        .find_map(|literal| text.strip_prefix(literal))
}

fn is_sql(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        ["SELECT", rest @ ..] => rest.contains(&"FROM"),
        ["UPDATE", rest @ ..] => rest.contains(&"SET"),
        ["INSERT", "INTO" | "OR", ..] | ["DELETE", "FROM", ..] => true,
        [
            "CREATE" | "ALTER" | "DROP",
            "TABLE" | "INDEX" | "UNIQUE" | "TRIGGER" | "VIEW",
            ..,
        ] => true,
        _ => false,
    }
}

/// Names of the functions in a source text.
fn functions(text: &str) -> Vec<String> {
    text.split("fn ")
        .skip(1)
        .map(|rest| {
            rest.chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect()
        })
        .collect()
}

/// What stands between backquotes on one line of a document.
fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2))
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn manifest(path: &str) -> toml::Table {
    fs::read_to_string(root().join(path))
        .unwrap()
        .parse()
        .unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned()
}

#[test]
fn the_lexer_sees_code_and_strings_apart() {
    let (code, strings) = take_apart(
        "let a = \"x \\\" // y\"; // SELECT 1 FROM b\nlet q = '\"'; /* rusqlite */ let r = r#\"SELECT a FROM b\"#;",
    );
    assert_eq!(code, "let a = \"\"; \nlet q = ;  let r = \"\";");
    assert_eq!(strings, ["x \\\" // y", "SELECT a FROM b"]);
    assert!(is_sql(&strings[1]));
    assert!(!is_sql("SELECT ISD-R"));

    let source = Source {
        path: "crates/rsp/src/x.rs".to_owned(),
        code: "use std::{fmt, net::{IpAddr, TcpStream}}; std::fs::read(); my_axum::x();".to_owned(),
        strings: Vec::new(),
    };
    let modules: Vec<String> = source.std_modules().into_iter().collect();
    assert_eq!(modules, ["fmt", "fs", "net"]);
    assert!(!source.has_word("axum"));
    assert!(source.has_word("TcpStream"));
}
