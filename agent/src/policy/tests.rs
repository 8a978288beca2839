//! Tests of the host's policy.

use std::{fs::Permissions, os::unix::fs::PermissionsExt as _};

use super::*;

const MINUTE: Duration = Duration::from_mins(1);

fn policy(text: &str) -> Policy {
    Policy::parse(Path::new("/etc/p.toml"), text).unwrap()
}

fn refusal(text: &str) -> String {
    Policy::parse(Path::new("/etc/p.toml"), text).unwrap_err()
}

fn stack(name: &str) -> StackName {
    name.parse().unwrap()
}

#[test]
fn the_shipped_policy_allows_backup_and_restore_of_projects_and_no_path_more() {
    let shipped = include_str!("../../../deploy/agent-policy.toml");
    let policy = policy(shipped);

    policy.check(Verb::Backup, &stack("shop"), MINUTE).unwrap();
    policy.check(Verb::Restore, &stack("shop"), MINUTE).unwrap();
    policy.check_path(Path::new("/mnt/media")).unwrap_err();
}

#[test]
fn a_refusal_names_the_key_and_the_file() {
    let policy = policy(
        "allow_backup = true\nallow_restore = false\nstacks = ['shop', 'wiki-*']\nmax_hold = '90s'",
    );

    let denied =
        |verb, name: &str, hold| policy.check(verb, &stack(name), hold).unwrap_err().to_string();
    assert!(policy.check(Verb::Backup, &stack("wiki-2"), MINUTE).is_ok());
    assert_eq!(
        denied(Verb::Restore, "shop", MINUTE),
        "`allow_restore` in /etc/p.toml of this host does not allow restores"
    );
    assert!(denied(Verb::Backup, "shop2", MINUTE).contains("`stacks`"));
    assert!(denied(Verb::Backup, "shop", 2 * MINUTE).contains("`max_hold`"));
}

#[test]
fn paths_outside_of_projects_need_an_entry_and_never_climb() {
    let policy = policy("allow_backup = true\nallow_restore = true\nextra_paths = ['/mnt/media']");

    assert!(policy.check_path(Path::new("/mnt/media/films")).is_ok());
    for path in ["/mnt/media2", "/mnt/media/../secrets", "/etc/shadow", "media", "/"] {
        let error = policy.check_path(Path::new(path)).unwrap_err();
        assert!(error.to_string().contains("`extra_paths`"), "{error}");
    }
}

#[test]
fn mistakes_are_named_with_their_key() {
    let base = "allow_backup = true\nallow_restore = true\n";
    let wrong = |line: &str| refusal(&format!("{base}{line}"));

    assert!(refusal("allow_backup = true").contains("allow_restore"));
    assert!(wrong("alow = 1").contains("alow"));
    assert!(wrong("max_hold = 90").contains("max_hold"));
    assert!(wrong("max_hold = '90'").contains("unit"));
    assert!(wrong("max_hold = '0s'").contains("7 days"));
    assert!(wrong("stacks = ['../x']").contains("stacks[0]"));
    assert!(wrong("extra_paths = ['/']").contains("extra_paths[0]"));
    assert!(wrong("extra_paths = ['/a/../b']").contains("absolute"));
    assert!(wrong("stacks = ").contains("TOML"));
    let both = refusal("alow = 1\nallow_backup = 1\nmax_hold = '90'");
    let parts = ["alow", "allow_backup = 1", "allow_restore: is missing", "max_hold"];
    assert!(parts.iter().all(|part| both.contains(part)), "{both}");
}

#[test]
fn stars_stand_for_any_characters_and_nothing_else_does() {
    let fits = |pattern: &str, name: &str| Pattern(pattern.to_owned()).fits(name);

    assert!(fits("*", "shop") && fits("sh*p", "shop") && fits("s*o*", "shop") && fits("a", "a"));
    assert!(
        !fits("sh*p", "shops") && !fits("a", "ab") && !fits("*x*", "shop") && !fits("aa*a", "aa")
    );
}

#[test]
fn b13_a_policy_that_is_missing_or_can_be_written_by_others_denies_everything_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("p.toml");
    let mine = rustix::process::geteuid().as_raw();

    assert!(Policy::load(&path).usable().unwrap_err().to_string().contains("cannot be read"));

    std::fs::write(&path, "allow_backup = true\nallow_restore = true").unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o664)).unwrap();
    assert!(read(&path, mine).unwrap_err().contains("chmod 0644"));
    std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    assert!(read(&path, mine + 1).unwrap_err().contains("belongs to user"));
    assert!(read(&path, mine).is_ok());

    let denied = Policy::deny_all(&path, "is gone".to_owned());
    let error = denied.check(Verb::Backup, &stack("shop"), MINUTE).unwrap_err();
    assert_eq!(error.reason(), Reason::PolicyDenied);
    assert!(error.to_string().contains("p.toml is gone"), "{error}");
}
