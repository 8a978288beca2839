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
use lazarette_node::settings::{Fields, LONGEST, SettingsError};

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

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rules {
    allow_backup: bool,
    allow_restore: bool,
    stacks: Vec<Pattern>,
    extra_paths: Vec<PathBuf>,
    max_hold: Duration,
}

/// Takes every field; nothing when one of those that must be there has no value.
fn rules(fields: &mut Fields) -> Option<Rules> {
    let mut allowed = |field| {
        let flag = fields.flag(field);
        fields.require(field, "true or false");
        flag
    };
    let (allow_backup, allow_restore) = (allowed("allow_backup"), allowed("allow_restore"));
    let stacks = fields.list("stacks", pattern);
    let extra_paths = fields.list("extra_paths", extra_path).unwrap_or_default();
    let max_hold = fields.duration("max_hold", Duration::from_hours(1), LONGEST);
    Some(Rules {
        allow_backup: allow_backup?,
        allow_restore: allow_restore?,
        stacks: stacks.unwrap_or_else(|| vec![Pattern("*".to_owned())]),
        extra_paths,
        max_hold,
    })
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
    /// Why it is none, as a clause that names every key that is wrong.
    pub fn parse(path: &Path, text: &str) -> Result<Self, String> {
        match Fields::parse(path, text.as_bytes(), rules) {
            Ok(rules) => Ok(Self { path: path.to_owned(), rules, denied: None }),
            Err(SettingsError::Wrong { problems, .. }) => {
                let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
                Err(format!("is wrong: {}", problems.join("; ")))
            }
            Err(SettingsError::Read { source, .. }) => Err(format!("cannot be read: {source}")),
        }
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
        rules && is_plain(path) && self.rules.extra_paths.iter().any(|it| path.starts_with(it))
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

fn pattern(text: &str) -> Result<Pattern, String> {
    let example = text.replace('*', "x").parse::<StackName>();
    example.map_err(|error| format!("{error}; `*` stands for any characters"))?;
    Ok(Pattern(text.to_owned()))
}

/// A directory outside of all projects.
fn extra_path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if is_plain(&path) && path != Path::new("/") {
        return Ok(path);
    }
    Err("must be an absolute directory without `..`, not `/`".to_owned())
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
