//! The reference: `docs/reference/ctl.md` is what the commands print of themselves.

use std::{fmt::Write as _, fs, path::PathBuf};

use clap::CommandFactory as _;
use lazarette_ctl::args::Args;

/// Set, it writes the page instead of comparing it.
const WRITE: &str = "LAZARETTE_WRITE_REFERENCE";
/// Where what is written by hand ends.
const FIRST: &str = "\n## ctl\n";

/// What `-h` of a command and of all below it prints, each under its heading.
fn sections(command: &clap::Command, words: &str, into: &mut String) {
    let short = command.clone().bin_name(words).term_width(100).render_help().to_string();
    let text: Vec<&str> = short.lines().map(str::trim_end).collect();
    let text = text.join("\n");
    writeln!(into, "\n## {words}\n\n```text\n{}\n```", text.trim_end()).unwrap();
    for verb in command.get_subcommands() {
        sections(verb, &format!("{words} {}", verb.get_name()), into);
    }
}

#[test]
fn the_reference_is_what_the_commands_print() {
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/ctl.md");
    let written = fs::read_to_string(&page).unwrap();
    let (by_hand, _) = written.split_once(FIRST).unwrap();
    let mut command = Args::command();
    command.build();

    let mut now = by_hand.to_owned();
    sections(&command, "ctl", &mut now);

    if std::env::var_os(WRITE).is_some() {
        fs::write(&page, &now).unwrap();
    }
    assert!(
        fs::read_to_string(&page).unwrap() == now,
        "docs/reference/ctl.md is not what the commands print: run this test with {WRITE}=yes"
    );
}
