//! Tests of the configuration: every mistake named, every default right.

use std::os::unix::fs::PermissionsExt;

use super::*;

const LEAST: &str = "address = \"vault.example.org:7443\"\n";

fn parse(text: impl AsRef<[u8]>) -> Result<Config, ConfigError> {
    Config::parse(Path::new("controller.toml"), text.as_ref())
}

fn refusal(text: impl AsRef<[u8]>) -> String {
    parse(text).map(|config| format!("{config:?}")).expect_err("it was taken").to_string()
}

#[test]
fn the_sample_says_the_defaults() {
    let sample = include_str!("../../../deploy/controller.toml");

    let (sample, least) = (parse(sample).unwrap(), parse(LEAST).unwrap());

    assert_eq!(sample, least);
    assert_eq!(least.repositories_dir, Path::new("/var/lib/lazarette-controller/repositories"));
    assert_eq!(least.timers.run_lost_after, Duration::from_mins(10));
}

#[test]
fn b1_an_empty_file_says_what_is_missing_with_an_example() {
    for empty in ["", "# nothing\n"] {
        let message = refusal(empty);
        assert!(message.contains("address: is missing") && message.contains("vault."), "{message}");
    }
}

#[test]
fn b2_a_big_file_is_refused_without_being_read_to_its_end() {
    assert!(refusal(vec![b'a'; 1024 * 1024 + 1]).contains("longer than 1 MiB"));

    let endless = Config::load(Path::new("/dev/zero")).expect_err("no file");

    assert!(std::error::Error::source(&endless).unwrap().to_string().contains("not a file"));
}

#[test]
fn b5_an_unknown_key_is_answered_with_the_nearest_known_one() {
    let cases = [
        ("adress = 1", "adress = 1: is not a key; did you mean `address`?"),
        ("[limits]\nrun_total = 1", "did you mean `limits.runs_total`?"),
        ("[timers]\nrun_lost = \"1s\"", "did you mean `timers.run_lost_after`?"),
        ("timers.lost_contact = \"1s\"", "timers.lost_contact = \"1s\": is not a key"),
        ("zzz = 1", "zzz = 1: is not a key; there are listen, address, state_dir"),
        ("[timers.more]\nx = 1", "timers.more.x = 1: is not a key"),
    ];
    for (text, expected) in cases {
        let message = refusal(text);
        assert!(message.contains(expected), "{text}: {message}");
    }
}

#[test]
fn b6_a_mark_and_windows_lines_are_taken_and_other_encodings_named() {
    let windows = format!("\u{feff}{}log = \"debug\"\r\n", LEAST.replace('\n', "\r\n"));
    let utf16: Vec<u8> =
        [0xfeff_u16].into_iter().chain(LEAST.encode_utf16()).flat_map(u16::to_le_bytes).collect();

    assert_eq!(parse(windows).unwrap().log, "debug");
    assert!(refusal(utf16).contains("UTF-16"));
    assert!(refusal(format!("{LEAST}log = \"a\0b\"")).contains("NUL byte"));
    assert!(refusal(b"log = 'a'\nb = '\xff'").contains("line 2 is not UTF-8"));
}

#[test]
fn b7_wrong_types_and_numbers_are_refused_with_what_was_found() {
    let cases = [
        ("listen = 7443", "listen = 7443: must be an IP address and a port"),
        ("listen = \"0.0.0.0:80a\"", "listen = \"0.0.0.0:80a\": must be"),
        ("listen = \"0.0.0.0:70000\"", "must be an IP address and a port"),
        ("address = \"http://x:1/\"", "must be host:port"),
        ("limits.runs_total = 0", "limits.runs_total = 0: must be a whole number from 1"),
        ("limits.runs_total = -1", "limits.runs_total = -1: must be"),
        ("limits.runs_total = 1e3", "limits.runs_total = 1000.0: must be"),
        ("limits.runs_per_host = \"1\"", "limits.runs_per_host = \"1\": must be"),
        ("limits = 3", "limits = 3: is not a key"),
        ("timers.keepalive = 10", "timers.keepalive = 10: must be a time with its unit"),
        ("timers.keepalive = \"10\"", "must be a time with its unit"),
        ("timers.keepalive = \"10 parsecs\"", "must be a time with its unit"),
        ("timers.keepalive = \"-1s\"", "must be a time with its unit"),
        ("timers.keepalive = \"0s\"", "must be a time with its unit"),
        ("timers.keepalive = \"8d\"", "must be a time with its unit"),
        ("timers.keepalive = \"1h\"", "run_lost_after: must be longer than timers.keepalive"),
        ("log = [1]", "log = [1]: must be a text"),
        ("log = \"a", "line"),
        ("log = \"a\"\nlog = \"b\"", "duplicate key"),
    ];
    for (text, expected) in cases {
        let message = refusal(text);
        assert!(message.contains(expected), "{text}: {message}");
    }
}

#[test]
fn b8_directories_must_be_absolute_plain_and_not_everybodys() {
    let scratch = tempfile::tempdir().unwrap();
    let (file, open) = (scratch.path().join("file"), scratch.path().join("open"));
    std::fs::write(&file, "").unwrap();
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    let cases = [
        ("state", "absolute"),
        ("~/state", "absolute"),
        ("", "absolute"),
        ("/", "must not be `/`"),
        ("/var/../etc", "must not contain `..`"),
        (file.to_str().unwrap(), "it is a file"),
        (open.to_str().unwrap(), "chmod o-w"),
    ];
    for (path, expected) in cases {
        let message = refusal(format!("{LEAST}state_dir = \"{path}\""));
        assert!(message.contains(expected), "{path}: {message}");
    }

    assert!(parse(format!("{LEAST}state_dir = \"{}/new\"", scratch.path().display())).is_ok());
}

#[test]
fn b9_a_secret_is_refused_and_never_shown_and_the_file_must_be_its_owners() {
    let message = refusal(format!("{LEAST}s3_secret_key = \"CANARY\""));
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("controller.toml");
    std::fs::write(&path, LEAST).unwrap();

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o662)).unwrap();
    let open = Config::load(&path).expect_err("everybody may write it");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();

    assert!(message.contains("never in the configuration") && !message.contains("CANARY"));
    assert!(lazarette_core::error::chain(&open).contains("chmod go-w"));
    assert_eq!(Config::load(&path).unwrap(), parse(LEAST).unwrap());
}

#[test]
fn every_mistake_is_reported_at_once_and_none_can_write_to_a_terminal() {
    let message =
        refusal("listen = 1\nstate_dir = \"a\\u001b[2J\"\nlimits.runs_total = 0\nlgo = 1");

    assert_eq!(message.lines().count(), 1 + 5, "{message}");
    assert!(!message.contains('\u{1b}'), "{message}");
}
