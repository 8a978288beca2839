//! Log: what a process wrote to standard error, kept to be searched, and quiet unless a test said otherwise.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::wait;

/// Words that mark a line as something a person would have to look at.
const LOUD: [&str; 3] = [" WARN ", " ERROR ", "panicked at"];

/// The lines of one program, over all its starts. Clones are the same log.
#[derive(Clone, Debug)]
pub struct Log {
    name: String,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    lines: Vec<String>,
    expected: Vec<String>,
}

impl Log {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), inner: Arc::default() }
    }

    /// Takes in all that `pipe` gives, in the background, until it ends.
    pub(crate) fn follow(&self, pipe: impl Read + Send + 'static) {
        let log = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                log.with(|inner| inner.lines.push(String::from_utf8_lossy(&line).into_owned()));
            }
        });
    }

    /// From here on, and looking back, warnings and errors that have `part` in them are expected.
    pub fn expect(&self, part: &str) {
        self.with(|inner| inner.expected.push(part.to_owned()));
    }

    /// The warnings, errors and panics that nobody expected.
    pub fn unexpected(&self) -> Vec<String> {
        self.with(|inner| {
            let loud = |line: &&String| LOUD.iter().any(|word| line.contains(word));
            let expected = |line: &String| inner.expected.iter().any(|part| line.contains(part));
            inner.lines.iter().filter(loud).filter(|line| !expected(line)).cloned().collect()
        })
    }

    /// Whether a line has `part` in it.
    pub fn contains(&self, part: &str) -> bool {
        self.with(|inner| inner.lines.iter().any(|line| line.contains(part)))
    }

    /// Waits until a line has `part` in it.
    ///
    /// # Errors
    ///
    /// When none has within half a minute.
    pub fn wait_for(&self, part: &str) -> Result<()> {
        let what = format!("`{part}` in the log of {}", self.name);
        wait::for_truth(&what, Duration::from_secs(30), || Ok(self.contains(part)))
    }

    /// All of it.
    pub fn text(&self) -> String {
        self.with(|inner| inner.lines.join("\n"))
    }

    /// Shows it where a failed test shows what it wrote.
    #[expect(
        clippy::print_stdout,
        reason = "the test runner shows it when the test fails, and only then"
    )]
    pub(crate) fn show(&self) {
        println!("--- log of {}\n{}", self.name, self.text());
    }

    fn with<T>(&self, look: impl FnOnce(&mut Inner) -> T) -> T {
        look(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
