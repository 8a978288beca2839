//! Policy: what this host allows, whatever the controller asks. A file of root's, read at start.

pub mod places;

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Component as PathComponent, Path, PathBuf},
    time::Duration,
};

use lazarette_core::{
    error::{Reason, ReasonedError},
    name::StackName,
};
use serde::{Deserialize, Deserializer, de};

/// Where the policy is when nobody says otherwise.
pub const DEFAULT_PATH: &str = "/etc/lazarette/agent-policy.toml";

/// Larger files are not a policy.
const LARGEST: u64 = 1 << 20;

/// What a run may ask of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Reading a stack, with its applications stopped for a while.
    Backup,
    /// Writing over a stack.
    Restore,
}

/// What this host allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    path: PathBuf,
    rules: Rules,
    /// Why everything is denied; none when the rules stand.
    denied: Option<String>,
}

/// The file, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    allow_backup: bool,
    allow_restore: bool,
    #[serde(default = "all_stacks")]
    stacks: Vec<Pattern>,
    #[serde(default)]
    extra_paths: Vec<ExtraPath>,
    #[serde(default = "an_hour", deserialize_with = "duration")]
    max_hold: Duration,
}

fn all_stacks() -> Vec<Pattern> {
    vec![Pattern("*".to_owned())]
}

const fn an_hour() -> Duration {
    Duration::from_hours(1)
}

/// The policy forbids something, or cannot be relied on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The file is missing, unreadable, wrong, or others can write it.
    #[error(
        "this host denies everything: its policy {} {why}; mend it and restart the agent",
        path.display()
    )]
    Unusable {
        /// The file.
        path: PathBuf,
        /// A clause.
        why: String,
    },
    /// A key says no.
    #[error("`{key}` in {} of this host does not allow {what}", path.display())]
    Denied {
        /// The file.
        path: PathBuf,
        /// Which key.
        key: &'static str,
        /// What was asked.
        what: String,
    },
}

impl ReasonedError for PolicyError {
    fn reason(&self) -> Reason {
        Reason::PolicyDenied
    }
}

impl Policy {
    /// The policy in the file at `path`. One that cannot be relied on denies everything (B13).
    pub fn load(path: &Path) -> Self {
        let text = read(path, 0);
        let rules = text.and_then(|text| Self::parse(path, &text));
        rules.unwrap_or_else(|why| Self::deny_all(path, why))
    }

    /// The policy that `text` says.
    ///
    /// # Errors
    ///
    /// Why it is none, as a clause that names key and line.
    pub fn parse(path: &Path, text: &str) -> Result<Self, String> {
        let rules = toml::Deserializer::parse(text)
            .map_err(|error| format!("is not TOML: {}", error.to_string().trim()))?;
        let rules = serde_path_to_error::deserialize(rules).map_err(|error| {
            let key = error.path().to_string();
            format!("is wrong at `{key}`: {}", error.inner().to_string().trim())
        })?;
        Ok(Self { path: path.to_owned(), rules, denied: None })
    }

    fn deny_all(path: &Path, why: String) -> Self {
        let rules = Rules {
            allow_backup: false,
            allow_restore: false,
            stacks: Vec::new(),
            extra_paths: Vec::new(),
            max_hold: Duration::ZERO,
        };
        Self { path: path.to_owned(), rules, denied: Some(why) }
    }

    /// Whether the file's rules stand. Asked, and said, when the agent starts.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Unusable`]: why everything is denied.
    pub fn usable(&self) -> Result<(), PolicyError> {
        match &self.denied {
            None => Ok(()),
            Some(why) => Err(PolicyError::Unusable { path: self.path.clone(), why: why.clone() }),
        }
    }

    /// Whether `verb` may be done to `stack`, holding it for at most `hold`.
    ///
    /// # Errors
    ///
    /// [`PolicyError`], which names the key and the file.
    pub fn check(&self, verb: Verb, stack: &StackName, hold: Duration) -> Result<(), PolicyError> {
        self.usable()?;
        let (allowed, key, word) = match verb {
            Verb::Backup => (self.rules.allow_backup, "allow_backup", "backups"),
            Verb::Restore => (self.rules.allow_restore, "allow_restore", "restores"),
        };
        if !allowed {
            return Err(self.denies(key, word.to_owned()));
        }
        if !self.rules.stacks.iter().any(|pattern| pattern.fits(stack.as_str())) {
            return Err(self.denies("stacks", format!("work on the stack `{stack}`")));
        }
        if hold > self.rules.max_hold {
            let (asked, most) = (hold.as_secs(), self.rules.max_hold.as_secs());
            let what = format!("holding a stack for {asked} s, only for {most} s");
            return Err(self.denies("max_hold", what));
        }
        Ok(())
    }

    /// Whether `extra_paths` has `path` or a directory above it.
    pub fn has_path(&self, path: &Path) -> bool {
        let rules = self.denied.is_none();
        rules && is_plain(path) && self.rules.extra_paths.iter().any(|it| path.starts_with(&it.0))
    }

    /// Whether `path`, which is not below a project's directory, may be read and written.
    ///
    /// # Errors
    ///
    /// [`PolicyError`], which names the key and the file.
    pub fn check_path(&self, path: &Path) -> Result<(), PolicyError> {
        self.usable()?;
        if self.has_path(path) {
            return Ok(());
        }
        let shown = path.display().to_string();
        Err(self.denies("extra_paths", format!("the path `{}`", shown.escape_debug())))
    }

    /// How long a stack may be held at most.
    pub const fn max_hold(&self) -> Duration {
        self.rules.max_hold
    }

    fn denies(&self, key: &'static str, what: String) -> PolicyError {
        PolicyError::Denied { path: self.path.clone(), key, what }
    }
}

/// Whether `path` is absolute and goes nowhere but down.
fn is_plain(path: &Path) -> bool {
    let down = |part| matches!(part, PathComponent::RootDir | PathComponent::Normal(_));
    path.is_absolute() && path.components().all(down)
}

/// The text of a file that only `owner` can write.
fn read(path: &Path, owner: u32) -> Result<String, String> {
    let about = std::fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?;
    if !about.is_file() {
        return Err("is not a file".to_owned());
    }
    if about.uid() != owner {
        return Err(format!("belongs to user {}, and must to {owner}", about.uid()));
    }
    if about.mode() & 0o022 != 0 {
        let mode = about.mode() & 0o7777;
        return Err(format!("can be written by others (mode {mode:04o}): chmod 0644"));
    }
    if about.len() > LARGEST {
        return Err("is larger than 1 MiB".to_owned());
    }
    std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))
}

/// A name, in which `*` stands for any number of characters.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern(String);

impl Pattern {
    fn fits(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
            return false;
        };
        let mut parts: Vec<&str> = parts.collect();
        let Some(last) = parts.pop() else { return rest.is_empty() };
        for part in parts {
            let Some((_, after)) = rest.split_once(part) else { return false };
            rest = after;
        }
        rest.ends_with(last)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let example = text.replace('*', "x");
        let name = example.parse::<StackName>();
        name.map_err(|error| de::Error::custom(format!("{error}; `*` stands for any characters")))?;
        Ok(Self(text))
    }
}

/// A directory outside of all projects.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ExtraPath(PathBuf);

impl<'de> Deserialize<'de> for ExtraPath {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let path = PathBuf::deserialize(from)?;
        if !is_plain(&path) || path == Path::new("/") {
            return Err(de::Error::custom("an absolute directory without `..` is wanted, not `/`"));
        }
        Ok(Self(path))
    }
}

/// `"90s"`, `"15m"`, `"1h"`.
fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    let wanted = || de::Error::custom("a number with its unit is wanted: \"90s\", \"15m\", \"1h\"");
    let unit = text.chars().last().ok_or_else(wanted)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return Err(wanted()),
    };
    let number = text.strip_suffix(unit).unwrap_or_default();
    let number: u64 = number.parse().map_err(|_error| wanted())?;
    let total = number.checked_mul(seconds).filter(|it| (1..=7 * 86_400).contains(it));
    total.map(Duration::from_secs).ok_or_else(|| de::Error::custom("1 s to 7 days are possible"))
}

/// The policy that a host has when nobody wrote another.
const SHIPPED: &str = include_str!("../../deploy/agent-policy.toml");

/// Writes the shipped policy to `path` when there is none; whether it did.
///
/// # Errors
///
/// It cannot be written.
pub fn install(path: &Path) -> Result<bool, lazarette_node::durable::DurableError> {
    if path.exists() {
        return Ok(false);
    }
    if let Some(directory) = path.parent() {
        // A directory that cannot be made is told by the write below.
        drop(std::fs::create_dir_all(directory));
    }
    lazarette_node::durable::write(path, SHIPPED.as_bytes(), 0o644)?;
    Ok(true)
}

#[cfg(test)]
mod tests;
