//! Problem: a mistake in a file of settings, for the one who must mend it; and all of them together.

use std::{fmt, io, path::PathBuf};

/// The longest part of a received value that is shown, in characters.
const SHOWN: usize = 200;

/// Why settings are not used. Nothing was done with any part of them.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("read the configuration `{}`", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file has mistakes.
    #[error("check the configuration `{}`{}", path.display(), Lines(problems))]
    Wrong {
        /// Which file.
        path: PathBuf,
        /// All of them, in no order.
        problems: Vec<Problem>,
    },
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The path of the field, `limits.runs_total`; empty for the file as a whole.
    pub field: String,
    /// What was found there, as it would be written in the file; none when it is missing.
    pub received: Option<String>,
    /// What is wrong, or what may be there.
    pub rule: String,
}

impl Problem {
    /// A mistake of the file as a whole.
    pub(super) fn of_file(rule: impl Into<String>) -> Self {
        Self { field: String::new(), received: None, rule: rule.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, received, rule } = self;
        match received {
            Some(received) => {
                let shown: String = received.chars().take(SHOWN).flat_map(printable).collect();
                let cut = if received.chars().count() > SHOWN { "…" } else { "" };
                write!(f, "{field} = {shown}{cut}: {rule}")
            }
            None if field.is_empty() => f.write_str(rule),
            None => write!(f, "{field}: {rule}"),
        }
    }
}

/// A character, escaped if a terminal could obey it.
fn printable(character: char) -> Vec<char> {
    if character.is_control() { character.escape_unicode().collect() } else { vec![character] }
}

struct Lines<'a>(&'a [Problem]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in self.0 {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}
