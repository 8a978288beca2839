//! Fields: the values of a file, taken out one by one, with the mistakes found on the way.

use std::num::NonZeroU32;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;
use toml::{Table, Value};

use super::error::Problem;

/// No timer is longer.
const LONGEST: Duration = Duration::from_hours(24 * 7);

/// What is left in the file, and what was wrong so far.
#[derive(Debug)]
pub(super) struct Fields {
    table: Table,
    /// Every field that was asked for: what may be in a file.
    known: Vec<&'static str>,
    present: Vec<&'static str>,
    problems: Vec<Problem>,
}

impl Fields {
    /// Reads TOML.
    pub(super) fn read(text: &str) -> Result<Self, Problem> {
        match text.parse::<Table>() {
            Ok(table) => {
                let (known, present, problems) = (Vec::new(), Vec::new(), Vec::new());
                Ok(Self { table, known, present, problems })
            }
            Err(error) => Err(Problem::of_file(error.to_string().trim_end().to_owned())),
        }
    }

    pub(super) fn problems(self) -> Vec<Problem> {
        self.problems
    }

    /// A text, as it is.
    pub(super) fn text(&mut self, field: &'static str) -> Option<String> {
        let value = self.take(field)?;
        match value.as_str() {
            Some(text) => Some(text.to_owned()),
            None => self.wrong(field, &value, "must be a text in quotes"),
        }
    }

    /// A text that is something more.
    pub(super) fn parsed<T: FromStr>(&mut self, field: &'static str, rule: &str) -> Option<T> {
        let value = self.take(field)?;
        match value.as_str().map(str::parse) {
            Some(Ok(parsed)) => Some(parsed),
            Some(Err(_)) | None => self.wrong(field, &value, &format!("must be {rule}")),
        }
    }

    /// A directory: an absolute path without detours, on which nobody else can lay hands.
    pub(super) fn directory(&mut self, field: &'static str) -> Option<PathBuf> {
        let value = self.take(field)?;
        let Some(text) = value.as_str() else {
            return self.wrong(field, &value, "must be a path in quotes");
        };
        match objection(Path::new(text)) {
            None => Some(PathBuf::from(text)),
            Some(rule) => self.wrong(field, &value, rule),
        }
    }

    /// A number from 1 to `most`.
    pub(super) fn count(&mut self, field: &'static str, default: u32, most: u32) -> NonZeroU32 {
        let default = NonZeroU32::new(default).unwrap_or(NonZeroU32::MIN);
        let Some(value) = self.take(field) else { return default };
        let count = value.as_integer().and_then(|count| u32::try_from(count).ok());
        let count = count.filter(|count| *count <= most).and_then(NonZeroU32::new);
        let rule = format!("must be a whole number from 1 to {most}");
        count.or_else(|| self.wrong(field, &value, &rule)).unwrap_or(default)
    }

    /// A time with its unit.
    pub(super) fn duration(&mut self, field: &'static str, default_seconds: u64) -> Duration {
        const RULE: &str = "must be a time with its unit, more than zero and at most a week: \
                            \"30s\", \"10m\", \"1h\"";
        let default = Duration::from_secs(default_seconds);
        let Some(value) = self.take(field) else { return default };
        let duration = value
            .as_str()
            .and_then(|text| text.parse::<SignedDuration>().ok())
            .and_then(|duration| Duration::try_from(duration).ok())
            .filter(|duration| !duration.is_zero() && *duration <= LONGEST);
        duration.or_else(|| self.wrong(field, &value, RULE)).unwrap_or(default)
    }

    /// Says that a field must be there, when it is not.
    pub(super) fn require(&mut self, field: &'static str, rule: &str) {
        if !self.present.contains(&field) {
            let rule = format!("is missing; it must be {rule}");
            self.problems.push(Problem { field: field.to_owned(), received: None, rule });
        }
    }

    /// Says that a field does not fit the others.
    pub(super) fn refuse(&mut self, field: &'static str, rule: &str) {
        let rule = format!("must be {rule}");
        self.problems.push(Problem { field: field.to_owned(), received: None, rule });
    }

    /// Says that what nobody asked for is not known.
    pub(super) fn refuse_unknown(&mut self) {
        let mut left = Vec::new();
        flatten("", &self.table, &mut left);
        for (field, value) in left {
            let rule = unknown(&field, &self.known);
            // A value that is not understood may be a secret.
            let received = (!rule.contains("secret")).then(|| value.to_string());
            self.problems.push(Problem { field, received, rule });
        }
    }

    fn take(&mut self, field: &'static str) -> Option<Value> {
        self.known.push(field);
        let value = match field.split_once('.') {
            None => self.table.remove(field),
            Some((section, key)) => match self.table.get_mut(section) {
                Some(Value::Table(table)) => table.remove(key),
                Some(_) | None => None,
            },
        };
        if value.is_some() {
            self.present.push(field);
        }
        value
    }

    fn wrong<T>(&mut self, field: &'static str, value: &Value, rule: &str) -> Option<T> {
        let (field, rule) = (field.to_owned(), rule.to_owned());
        self.problems.push(Problem { field, received: Some(value.to_string()), rule });
        None
    }
}

/// Why this path cannot be a directory of the controller.
fn objection(path: &Path) -> Option<&'static str> {
    if !path.is_absolute() {
        return Some("must be an absolute path; `~` and variables mean nothing here");
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Some("must not contain `..`");
    }
    if path.components().count() == 1 {
        return Some("must not be `/`");
    }
    match std::fs::metadata(path) {
        Ok(there) if !there.is_dir() => Some("must be a directory, and it is a file"),
        Ok(there) if is_open_to_all(&there) => {
            Some("must not be writable by everybody; run `chmod o-w` on it")
        }
        Ok(_) | Err(_) => None,
    }
}

fn is_open_to_all(directory: &std::fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::mode(directory) & 0o002 != 0
}

/// The path and value of everything in a table.
fn flatten(prefix: &str, table: &Table, into: &mut Vec<(String, Value)>) {
    for (key, value) in table {
        let field = format!("{prefix}{key}");
        match value.as_table() {
            Some(inner) => flatten(&format!("{field}."), inner, into),
            None => into.push((field, value.clone())),
        }
    }
}

fn unknown(field: &str, known: &[&str]) -> String {
    const SECRETS: [&str; 4] = ["password", "passphrase", "secret", "token"];
    let lower = field.to_ascii_lowercase();
    if SECRETS.iter().any(|secret| lower.contains(secret)) {
        return "is not a key; a secret is never in the configuration".to_owned();
    }
    let nearest = known.iter().map(|known| (distance(&lower, known), known)).min();
    match nearest {
        Some((distance, known)) if distance <= known.len() / 3 => {
            format!("is not a key; did you mean `{known}`?")
        }
        _ => format!("is not a key; there are {}", known.join(", ")),
    }
}

/// How many letters must be added, removed or changed to make one of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, letter) in (1..).zip(one.chars()) {
        let mut diagonal = line - 1;
        let mut left = line;
        for (cell, wanted) in row.iter_mut().skip(1).zip(&other) {
            let changed = diagonal + usize::from(letter != *wanted);
            diagonal = *cell;
            left = changed.min(diagonal + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = line;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn distances_are_counted_in_letters() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("listen", "listen"), 0);
        assert_eq!(distance("lisen", "listen"), 1);
    }
}
