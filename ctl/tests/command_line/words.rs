//! Tests of the command line: what is understood, and what is refused before anybody is asked.

use clap::{CommandFactory as _, Parser as _, error::ErrorKind};

use lazarette_ctl::args::{Args, Format};

fn parse(words: &[&str]) -> Result<Args, clap::Error> {
    Args::try_parse_from([&["ctl"], words].concat())
}

fn refusal(words: &[&str]) -> clap::Error {
    let error = parse(words).unwrap_err();
    assert_eq!(error.exit_code(), 2, "{words:?}");
    error
}

#[test]
fn the_command_line_is_consistent() {
    Args::command().debug_assert();
}

#[test]
fn every_command_teaches_by_example() {
    fn walk(command: &clap::Command) {
        for verb in command.get_subcommands() {
            if verb.has_subcommands() {
                walk(verb);
            } else {
                let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Example"), "`{}` has no example", verb.get_name());
            }
        }
    }
    walk(&Args::command());
}

#[test]
fn stacks_hosts_and_components_are_checked_before_anybody_is_asked() {
    let long = "x".repeat(300);
    for name in ["", "a;b", "$(id)", "`id`", "a b", "..", "../x", "a/../b", "a*", "a\nb", &long] {
        if name != "a*" {
            let error = refusal(&["backup", "--", name]);
            assert_eq!(error.kind(), ErrorKind::ValueValidation, "{name:?}");
            assert!(error.to_string().contains("STACK"), "{error}");
        }
        refusal(&["backup", "shop", "--component", name]);
        refusal(&["restore", "--", name]);
        refusal(&["stack", "show", "--", name]);
        refusal(&["host", "invite", "--", name]);
        refusal(&["repo", "show", "--", name]);
        refusal(&["run", "show", "--", name]);
    }
}

#[test]
fn a_name_that_looks_like_an_option_is_never_one() {
    for name in ["-rf", "--help-me", "--yes=1"] {
        assert_eq!(refusal(&["backup", name]).kind(), ErrorKind::UnknownArgument);
        assert_eq!(refusal(&["backup", "--", name]).kind(), ErrorKind::ValueValidation);
    }
}

#[test]
fn snapshots_are_hex_or_latest() {
    for word in ["", "abc", "ABCD", "zzzz", "latest ", "-1"] {
        refusal(&["restore", "shop", &format!("--snapshot={word}")]);
        refusal(&["snapshot", "show", "--", word]);
    }
    assert!(parse(&["restore", "shop", "--snapshot", "1f3a"]).is_ok());
    assert!(parse(&["restore", "shop"]).is_ok());
}

#[test]
fn flags_that_contradict_each_other_or_come_twice_are_refused() {
    refusal(&["backup", "shop", "--dry-run", "--detach"]);
    refusal(&["backup"]);
    refusal(&["backup", "--all", "shop"]);
    refusal(&["backup", "--all", "--host", "web1"]);
    refusal(&["backup", "--label", "tier"]);
    refusal(&["restore", "shop", "--dry-run", "--yes"]);
    refusal(&["restore", "shop", "--snapshot", "latest", "--snapshot", "1f3a"]);
    refusal(&["--context", "a", "--context", "b", "version"]);
}

#[test]
fn a_revocation_names_one_credential_or_one_operator() {
    refusal(&["credential", "revoke"]);
    refusal(&["credential", "revoke", "xyz"]);
    refusal(&["credential", "revoke", "4f1c", "--operator", "eve"]);
    refusal(&["credential", "revoke", "--operator", "../eve"]);
    assert!(parse(&["credential", "revoke", "4f1c", "--yes"]).is_ok());
    assert!(parse(&["credential", "revoke", "--operator", "eve", "--reason", "gone"]).is_ok());
}

#[test]
fn a_passphrase_is_never_an_argument() {
    refusal(&["catalog", "rebuild", "--passphrase", "secret"]);
    refusal(&["catalog", "rebuild", "secret"]);
}

#[test]
fn global_options_stand_anywhere() {
    for words in [["--output", "json", "version"], ["version", "--output", "json"]] {
        assert_eq!(parse(&words).unwrap().global.output, Format::Json);
    }
}

#[test]
fn nothing_and_half_a_command_are_wrong_usage() {
    refusal(&[]);
    refusal(&["host"]);
    refusal(&["frobnicate"]);
}
