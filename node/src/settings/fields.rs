//! Fields: the values of a file, taken out one by one, with the mistakes found on the way.

use std::{
    num::NonZeroU32,
    path::{Component, Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use jiff::SignedDuration;
use toml::{Table, Value};

use super::{
    file,
    problem::{Problem, SettingsError},
};

/// No time is longer, unless its field says otherwise.
pub const LONGEST: Duration = Duration::from_hours(24 * 7);

/// What is left in the file, and what was wrong so far.
#[derive(Debug, Default)]
pub struct Fields {
    table: Table,
    /// Where this table is in the file: `contexts[0].`.
    within: String,
    /// Every field that was asked for: what may be in a file.
    known: Vec<&'static str>,
    present: Vec<&'static str>,
    problems: Vec<Problem>,
}

impl Fields {
    /// Reads the file at `path`, and what `take` takes out of it.
    ///
    /// # Errors
    ///
    /// It cannot be read, others than its owner may write it, or it has mistakes: all of them.
    pub fn load<T>(
        path: &Path,
        take: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Result<T, SettingsError> {
        let bytes =
            file::read(path).map_err(|source| SettingsError::Read { path: path.into(), source })?;
        Self::parse(path, &bytes, take)
    }

    /// Reads the content of a file called `path`. `take` gives nothing only where it has told why.
    ///
    /// # Errors
    ///
    /// It has mistakes: all of them. What `take` did not ask for is one.
    pub fn parse<T>(
        path: &Path,
        bytes: &[u8],
        take: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Result<T, SettingsError> {
        let problems = match Self::read(bytes) {
            Ok(mut fields) => {
                let taken = take(&mut fields);
                fields.refuse_unknown();
                match taken {
                    Some(taken) if fields.problems.is_empty() => return Ok(taken),
                    Some(_) | None => fields.problems,
                }
            }
            Err(problem) => vec![problem],
        };
        Err(SettingsError::Wrong { path: path.to_owned(), problems })
    }

    fn read(bytes: &[u8]) -> Result<Self, Problem> {
        match file::text(bytes)?.parse::<Table>() {
            Ok(table) => Ok(Self { table, ..Self::default() }),
            Err(error) => Err(Problem::of_file(error.to_string().trim_end().to_owned())),
        }
    }

    /// A text, as it is.
    pub fn text(&mut self, field: &'static str) -> Option<String> {
        let value = self.take(field)?;
        match value.as_str() {
            Some(text) => Some(text.to_owned()),
            None => self.wrong(field, &value, "must be a text in quotes"),
        }
    }

    /// A text that is something more.
    pub fn parsed<T: FromStr>(&mut self, field: &'static str, rule: &str) -> Option<T> {
        let value = self.take(field)?;
        match value.as_str().map(str::parse) {
            Some(Ok(parsed)) => Some(parsed),
            Some(Err(_)) | None => self.wrong(field, &value, &format!("must be {rule}")),
        }
    }

    /// `true` or `false`.
    pub fn flag(&mut self, field: &'static str) -> Option<bool> {
        let value = self.take(field)?;
        value.as_bool().or_else(|| self.wrong(field, &value, "must be true or false"))
    }

    /// A list of texts, each of which `read` must understand; otherwise it says what is wanted.
    pub fn list<T>(
        &mut self,
        field: &'static str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let value = self.take(field)?;
        let Some(items) = value.as_array() else {
            return self.wrong(field, &value, "must be a list of texts: [\"a\", \"b\"]");
        };
        let mut list = Vec::with_capacity(items.len());
        for (place, item) in items.iter().enumerate() {
            let wanted = || "must be a text in quotes".to_owned();
            match item.as_str().ok_or_else(wanted).and_then(&read) {
                Ok(item) => list.push(item),
                Err(rule) => {
                    let field = format!("{}{field}[{place}]", self.within);
                    let received = Some(item.to_string());
                    self.problems.push(Problem { field, received, rule });
                }
            }
        }
        Some(list)
    }

    /// The tables of an array of tables, `[[field]]`, each taken apart by `take`.
    pub fn tables<T>(
        &mut self,
        field: &'static str,
        take: impl Fn(&mut Self) -> Option<T>,
    ) -> Vec<T> {
        let Some(value) = self.take(field) else { return Vec::new() };
        let tables: Option<Vec<Table>> = value
            .as_array()
            .and_then(|items| items.iter().map(|item| item.as_table().cloned()).collect());
        let Some(tables) = tables else {
            let rule = format!("must be tables, each under a line `[[{field}]]`");
            return self.wrong(field, &value, &rule).unwrap_or_default();
        };
        let mut taken = Vec::with_capacity(tables.len());
        for (place, table) in tables.into_iter().enumerate() {
            let within = format!("{}{field}[{place}].", self.within);
            let mut fields = Self { table, within, ..Self::default() };
            taken.extend(take(&mut fields));
            fields.refuse_unknown();
            self.problems.append(&mut fields.problems);
        }
        taken
    }

    /// A directory: an absolute path without detours, on which nobody else can lay hands.
    pub fn directory(&mut self, field: &'static str) -> Option<PathBuf> {
        let value = self.take(field)?;
        let Some(text) = value.as_str() else {
            return self.wrong(field, &value, "must be a path in quotes");
        };
        match objection(Path::new(text)) {
            None => Some(PathBuf::from(text)),
            Some(rule) => self.wrong(field, &value, rule),
        }
    }

    /// The path of a file or socket, which need not be there.
    pub fn path(&mut self, field: &'static str) -> Option<PathBuf> {
        let value = self.take(field)?;
        let Some(text) = value.as_str() else {
            return self.wrong(field, &value, "must be a path in quotes");
        };
        match detour(Path::new(text)) {
            None => Some(PathBuf::from(text)),
            Some(rule) => self.wrong(field, &value, rule),
        }
    }

    /// A number from 1 to `most`.
    pub fn count(&mut self, field: &'static str, default: u32, most: u32) -> NonZeroU32 {
        let default = NonZeroU32::new(default).unwrap_or(NonZeroU32::MIN);
        let Some(value) = self.take(field) else { return default };
        let count = value.as_integer().and_then(|count| u32::try_from(count).ok());
        let count = count.filter(|count| *count <= most).and_then(NonZeroU32::new);
        let rule = format!("must be a whole number from 1 to {most}");
        count.or_else(|| self.wrong(field, &value, &rule)).unwrap_or(default)
    }

    /// A time with its unit, at most `longest`.
    pub fn duration(
        &mut self,
        field: &'static str,
        default: Duration,
        longest: Duration,
    ) -> Duration {
        let Some(value) = self.take(field) else { return default };
        let duration = value
            .as_str()
            .and_then(|text| text.parse::<SignedDuration>().ok())
            .and_then(|duration| Duration::try_from(duration).ok())
            .filter(|duration| !duration.is_zero() && *duration <= longest);
        let days = longest.as_secs() / 86_400;
        let rule = format!(
            "must be a time with its unit, more than zero and at most {days} days: \"30s\", \
             \"10m\", \"1h\""
        );
        duration.or_else(|| self.wrong(field, &value, &rule)).unwrap_or(default)
    }

    /// Says that a field must be there, when it is not.
    pub fn require(&mut self, field: &'static str, rule: &str) {
        if !self.present.contains(&field) {
            let rule = format!("is missing; it must be {rule}");
            self.refuse_as(field, rule);
        }
    }

    /// Says that a field does not fit the others.
    pub fn refuse(&mut self, field: &'static str, rule: &str) {
        self.refuse_as(field, format!("must be {rule}"));
    }

    fn refuse_as(&mut self, field: &str, rule: String) {
        let field = format!("{}{field}", self.within);
        self.problems.push(Problem { field, received: None, rule });
    }

    /// Says that what nobody asked for is not known.
    fn refuse_unknown(&mut self) {
        let mut left = Vec::new();
        flatten("", &self.table, &mut left);
        for (field, value) in left {
            let rule = unknown(&field, &self.known);
            // A value that is not understood may be a secret.
            let received = (!rule.contains("secret")).then(|| value.to_string());
            let field = format!("{}{field}", self.within);
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
        let (field, rule) = (format!("{}{field}", self.within), rule.to_owned());
        self.problems.push(Problem { field, received: Some(value.to_string()), rule });
        None
    }
}

/// Why this path cannot be used at all.
fn detour(path: &Path) -> Option<&'static str> {
    if !path.is_absolute() {
        return Some("must be an absolute path; `~` and variables mean nothing here");
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Some("must not contain `..`");
    }
    (path.components().count() == 1).then_some("must not be `/`")
}

/// Why this path cannot be a directory of ours.
fn objection(path: &Path) -> Option<&'static str> {
    if let Some(rule) = detour(path) {
        return Some(rule);
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
    use super::*;

    #[test]
    fn distances_are_counted_in_letters() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("listen", "listen"), 0);
        assert_eq!(distance("lisen", "listen"), 1);
    }

    #[test]
    fn every_mistake_in_lists_and_tables_is_named_with_its_place() {
        let text = "names = [\"a\", 1, \"..\"]\n[[inner]]\nlargest = 0\nlargets = 1\n[[inner]]\n";
        let even = |text: &str| if text == ".." { Err("no".to_owned()) } else { Ok(()) };

        let wrong = Fields::parse(Path::new("x.toml"), text.as_bytes(), |fields| {
            let names = fields.list("names", even)?;
            let inner = fields.tables("inner", |inner| {
                let largest = inner.count("largest", 1, 9);
                inner.require("largest", "a number");
                Some(largest)
            });
            Some((names, inner))
        });

        let told = wrong.unwrap_err().to_string();
        for part in [
            "names[1] = 1: must be a text",
            "names[2] = \"..\": no",
            "inner[0].largest = 0: must be a whole number",
            "inner[0].largets = 1: is not a key; did you mean `largest`?",
            "inner[1].largest: is missing",
        ] {
            assert!(told.contains(part), "{part} in {told}");
        }
        assert_eq!(told.lines().count(), 6, "{told}");
    }
}
