//! Layers: which crate may know which, and what a source file looks like. Needs no Docker.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use cargo_metadata::MetadataCommand;

/// The arrows: each crate and the crates of ours that it may depend on, in its code, build and tests alike.
const ARROWS: [(&str, &[&str]); 8] = [
    ("core", &[]),
    ("proto", &["core"]),
    ("repo", &["core"]),
    ("node", &["core"]),
    ("agent", &["core", "node", "proto", "repo"]),
    ("controller", &["core", "node", "proto", "repo"]),
    ("ctl", &["core", "node", "proto"]),
    ("tests", &["agent", "controller", "core", "ctl", "node", "proto", "repo"]),
];

/// What `core` must not know: it decides and does nothing else.
const NOT_IN_CORE: [&str; 8] =
    ["bollard", "hyper", "prost", "rustls", "sled", "tempfile", "tokio", "tonic"];

const LONGEST_FILE: usize = 500;
const NAMES_OF_NOTHING: [&str; 9] =
    ["common", "helper", "helpers", "manager", "misc", "shared", "types", "util", "utils"];

fn workspace() -> Result<PathBuf> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("find the workspace")?.to_owned())
}

/// The Rust files that are in version control, or would be.
fn sources() -> Result<Vec<(PathBuf, String)>> {
    let root = workspace()?;
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.rs"])
        .current_dir(&root)
        .output()
        .context("list the source files")?;
    ensure!(listed.status.success(), "`git ls-files` failed in {}", root.display());

    let mut sources = Vec::new();
    for name in String::from_utf8(listed.stdout)?.split_terminator('\0') {
        let path = PathBuf::from(name);
        if let Ok(text) = std::fs::read_to_string(root.join(&path)) {
            sources.push((path, text));
        }
    }
    ensure!(!sources.is_empty(), "no source file found in {}", root.display());
    Ok(sources)
}

#[test]
fn crates_know_only_those_that_the_arrows_allow() -> Result<()> {
    let metadata = MetadataCommand::new()
        .manifest_path(workspace()?.join("Cargo.toml"))
        .no_deps()
        .other_options(["--locked".to_owned()])
        .exec()?;
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        ARROWS.into_iter().map(|(name, known)| (name, known.iter().copied().collect())).collect();

    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let Some(name) = package.name.strip_prefix("lazarette-") else {
            wrong.push(format!("the package `{}` is not named lazarette-…", package.name));
            continue;
        };
        let Some(known) = allowed.get(name) else {
            wrong.push(format!("the crate `{name}` has no line in ARROWS"));
            continue;
        };
        for dependency in &package.dependencies {
            match dependency.name.strip_prefix("lazarette-") {
                Some(other) if !known.contains(other) => {
                    wrong.push(format!("`{name}` must not know `{other}`"));
                }
                None if name == "core" && NOT_IN_CORE.contains(&dependency.name.as_str()) => {
                    wrong.push(format!("`core` must not know `{}`", dependency.name));
                }
                Some(_) | None => {}
            }
        }
    }

    assert!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

#[test]
fn only_the_store_knows_its_database() -> Result<()> {
    let wrong: Vec<_> = sources()?
        .into_iter()
        .filter(|(path, _)| {
            !path.starts_with("controller/src/store") && !path.starts_with("controller/tests")
        })
        .filter(|(_, text)| text.lines().any(|line| line.trim_start().starts_with("use sled")))
        .map(|(path, _)| path)
        .collect();

    assert!(wrong.is_empty(), "`use sled` belongs into controller/src/store only: {wrong:#?}");
    Ok(())
}

#[test]
fn a_file_is_short_and_its_first_line_says_what_it_is() -> Result<()> {
    let mut wrong = Vec::new();
    for (path, text) in sources()? {
        let path = path.display();
        let lines = text.lines().count();
        if lines > LONGEST_FILE {
            wrong.push(format!("{path}: {lines} lines, {LONGEST_FILE} at most"));
        }
        let first = text.lines().next().unwrap_or_default();
        let says = first.strip_prefix("//! ").is_some_and(|noun| noun.len() > 10);
        if !says {
            wrong.push(format!(
                "{path}: the first line is not `//! Noun: what it is.` but `{first}`"
            ));
        }
    }

    assert!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

#[test]
fn no_module_has_a_name_that_says_nothing() -> Result<()> {
    let wrong: Vec<_> = sources()?
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| {
            path.iter().any(|part| {
                let part = part.to_string_lossy();
                NAMES_OF_NOTHING.contains(&part.strip_suffix(".rs").unwrap_or(&part))
            })
        })
        .collect();

    assert!(wrong.is_empty(), "say what is in it: {wrong:#?}");
    Ok(())
}

#[test]
fn no_file_is_named_mod() -> Result<()> {
    let wrong: Vec<_> = sources()?
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| path.ends_with("mod.rs"))
        .collect();

    assert!(wrong.is_empty(), "foo.rs beside foo/, not foo/mod.rs: {wrong:#?}");
    Ok(())
}
