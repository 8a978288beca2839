//! Program: `ctl` as a shell calls it, without a controller.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output, Stdio},
};

fn ctl(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ctl"));
    command.args(words).env_remove("LAZARETTE_CONFIG").env_remove("XDG_CONFIG_HOME");
    command.env("HOME", "/nonexistent").stdin(Stdio::null());
    command
}

fn said(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn contexts(dir: &Path, controller: &str) -> String {
    let text = format!(
        "current = \"admin\"\n[[contexts]]\nname = \"admin\"\ncontroller = \"{controller}\"\n\
         credentials_file = \"admin.pem\"\n"
    );
    let path = dir.join("contexts.toml");
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn help_goes_to_standard_output_and_ends_well() {
    let (code, stdout, stderr) = said(&mut ctl(&["restore", "--help"]));
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.contains("ctl restore shop --dry-run"), "{stdout}");
    assert!(!stdout.contains('\u{1b}'), "{stdout}");
}

#[test]
fn wrong_usage_ends_with_2_and_is_json_when_that_is_asked_for() {
    let (code, stdout, stderr) = said(&mut ctl(&["backup", "../etc"]));
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.contains("`..` is not a name for a host"), "{stderr}");

    let (code, _, stderr) = said(&mut ctl(&["--output", "json", "backup", "../etc"]));
    let told: serde_json::Value = serde_json::from_str(&stderr).unwrap();
    assert_eq!((code, &told["error"]["reason"]), (2, &"INVALID_INPUT".into()));
}

#[test]
fn without_contexts_it_says_how_to_get_one() {
    let (code, _, stderr) = said(&mut ctl(&["host", "list"]));
    assert_eq!(code, 1);
    assert!(stderr.contains("/nonexistent/.config/lazarette/contexts.toml"), "{stderr}");
    assert!(stderr.contains("hint: `ctl context import FILE`"), "{stderr}");
}

#[test]
fn credentials_that_others_can_read_are_refused_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let pem = dir.path().join("admin.pem");
    fs::write(&pem, "").unwrap();
    fs::set_permissions(&pem, fs::Permissions::from_mode(0o640)).unwrap();

    let config = contexts(dir.path(), "localhost:7443");
    let (code, _, stderr) = said(&mut ctl(&["--config", &config, "host", "list"]));

    assert_eq!(code, 1);
    assert!(stderr.contains(&format!("chmod 600 {}", pem.display())), "{stderr}");
}

#[test]
fn an_unknown_context_is_named_with_those_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let config = contexts(dir.path(), "localhost:7443");
    let (code, _, stderr) = said(&mut ctl(&["--config", &config, "--context", "x", "run", "list"]));
    assert_eq!(code, 1);
    assert!(stderr.contains("there is no context `x`") && stderr.contains("admin"), "{stderr}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = ctl(&["--help"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""));
}

#[test]
fn the_version_is_json_when_that_is_asked_for() {
    let (code, stdout, _) = said(&mut ctl(&["--output", "json", "version"]));
    let told: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, told["protocol_version"].as_u64()), (0, Some(1)));
}
