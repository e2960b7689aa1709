use crate::support::Folder;

/// Every command, deepest first.
const COMMANDS: &[&[&str]] = &[
    &[],
    &["init"],
    &["serve"],
    &["authority"],
    &["eim"],
    &["eim", "association-data"],
    &["eim", "status"],
    &["eim", "list"],
    &["eim", "add"],
    &["eim", "update"],
    &["eim", "delete"],
    &["device"],
    &["device", "register"],
    &["device", "import"],
    &["device", "list"],
    &["device", "show"],
    &["device", "retire"],
    &["device", "reassociate"],
    &["device", "history"],
    &["device", "events"],
    &["device", "notifications"],
    &["device", "read-data"],
    &["device", "wait"],
    &["profile"],
    &["profile", "list"],
    &["profile", "download"],
    &["profile", "enable"],
    &["profile", "disable"],
    &["profile", "delete"],
    &["profile", "set-fallback"],
    &["profile", "unset-fallback"],
    &["profile", "rat"],
    &["profile", "immediate-enable"],
    &["profile", "set-default-smdp"],
    &["operation"],
    &["operation", "list"],
    &["operation", "show"],
    &["operation", "cancel"],
    &["operation", "propose"],
    &["enrol"],
    &["person"],
    &["person", "invite"],
    &["person", "grant"],
    &["person", "revoke"],
    &["key"],
    &["key", "create"],
    &["key", "rotate"],
    &["key", "revoke"],
    &["key", "list"],
    &["token"],
    &["token", "create"],
    &["token", "revoke"],
    &["token", "check"],
    &["intent"],
    &["intent", "list"],
    &["intent", "show"],
    &["intent", "approve"],
    &["intent", "reject"],
    &["intent", "cancel"],
    &["policy"],
    &["policy", "show"],
    &["policy", "diff"],
    &["policy", "set"],
    &["policy", "example"],
    &["freeze"],
    &["freeze", "everything"],
    &["freeze", "fleet"],
    &["freeze", "principal"],
    &["freeze", "credential"],
    &["thaw"],
    &["thaw", "everything"],
    &["thaw", "fleet"],
    &["thaw", "principal"],
    &["thaw", "credential"],
    &["signing-key"],
    &["signing-key", "list"],
    &["signing-key", "make"],
    &["signing-key", "add"],
    &["signing-key", "rotate"],
    &["signing-key", "retire"],
    &["ledger"],
    &["ledger", "verify"],
    &["ledger", "prove"],
    &["ledger", "show"],
    &["ledger", "export"],
    &["ledger", "check-bundle"],
    &["ledger", "witness"],
    &["ledger", "witness", "new"],
    &["ledger", "witness", "run"],
    &["pki"],
    &["pki", "new"],
    &["pki", "show"],
    &["pki", "verify"],
    &["decode"],
    &["config"],
    &["config", "example"],
    &["config", "check"],
    &["smdp"],
    &["smdp", "serve"],
    &["smdp", "import"],
    &["smdp", "order"],
    &["smdp", "cancel"],
    &["smdp", "list"],
    &["smdp", "show"],
    &["smdp", "status"],
    &["euicc"],
    &["euicc", "new"],
    &["euicc", "show"],
    &["euicc", "apdu"],
    &["ipa"],
    &["ipa", "run"],
    &["ipa", "add-initial-eim"],
];

#[test]
fn every_command_explains_itself() {
    let folder = Folder::new();
    for command in COMMANDS {
        let help = folder.ok(&[command, &["--help"][..]].concat());
        let usage = ["palisade", &command.join(" ")].join(" ");
        assert!(
            help.contains(&format!("Usage: {}", usage.trim())),
            "{command:?}: {help}"
        );
        let summary = help.lines().next().unwrap_or_default();
        assert!(summary.len() > 15, "{command:?} begins with {summary:?}");
    }
}

#[test]
fn commands_with_commands_and_those_that_start_something_show_examples() {
    let folder = Folder::new();
    let with_examples = COMMANDS.iter().filter(|command| command.len() == 1);
    let deeper = [
        &["device", "history"][..],
        &["pki", "new"],
        &["pki", "verify"],
        &["profile", "download"],
        &["device", "register"],
        &["smdp", "import"],
        &["ipa", "run"],
    ];
    for command in with_examples.copied().chain(deeper) {
        let help = folder.ok(&[command, &["--help"][..]].concat());
        assert!(
            help.contains("Examples:\n  "),
            "{command:?} has no examples"
        );
    }
}

#[test]
fn no_command_is_missing_from_this_list() {
    let folder = Folder::new();
    for command in COMMANDS {
        let help = folder.ok(&[command, &["--help"][..]].concat());
        let Some((_, listed)) = help.split_once("\nCommands:\n") else {
            continue;
        };
        for line in listed.lines().take_while(|line| line.starts_with("  ")) {
            // Lines that go on with a description are indented further.
            let Some(name) = line
                .strip_prefix("  ")
                .filter(|rest| !rest.starts_with(' '))
            else {
                continue;
            };
            let name = name.split_whitespace().next().unwrap();
            let path = [command, &[name][..]].concat();
            // `demo` and `bench` have tests of their own.
            let is_known =
                COMMANDS.contains(&path.as_slice()) || matches!(name, "help" | "demo" | "bench");
            assert!(is_known, "{path:?} is not in the list of this test");
        }
    }
}

#[test]
fn wrong_usage_ends_with_status_2() {
    let folder = Folder::new();
    folder.run(&[]).refused(2, &["Usage: palisade"]);
    folder.run(&["nonsense"]).refused(2, &["nonsense"]);
    folder
        .run(&["profile", "list", "12"])
        .refused(2, &["<EID>"]);
    folder
        .run(&["profile", "enable", "89049032123451234512345678901235"])
        .refused(2, &["<ICCID>"]);
    folder
        .run(&["profile", "download", "89049032123451234512345678901235"])
        .refused(2, &["--activation-code"]);
    assert!(folder.ok(&["--version"]).starts_with("palisade "));
}

#[test]
fn ids_that_begin_with_a_hyphen_are_ids() {
    let folder = Folder::new();
    let id = format!("-{}A", "a".repeat(41));
    for command in [
        &["intent", "show"][..],
        &["intent", "approve"],
        &["signing-key", "add"],
        &["key", "revoke"],
        &["freeze", "credential"],
    ] {
        let ran = folder.run(&[command, &[id.as_str()][..]].concat());
        // There is no server here; what matters is that the id was understood.
        assert_eq!(ran.status, 1, "{command:?}: {}", ran.err);
    }
    folder.ok(&["intent", "show", "--help"]);
}
