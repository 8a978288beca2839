//! Outcome: what a program that ran to its end has said, and how it ended.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::wait;

/// The longest that any program which should end may run; a test that needs less says so by itself.
const LONGEST: Duration = Duration::from_mins(10);

/// How a program ended, and all that it wrote.
#[derive(Clone, Debug)]
#[must_use = "look at how it ended: `.done()?`, `.ok()?` or `.fails(…)?`"]
pub struct Outcome {
    /// The program and its arguments.
    pub what: String,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
    /// Its exit status; none when a signal ended it.
    pub code: Option<i32>,
    /// How long it took.
    pub took: Duration,
}

impl Outcome {
    /// Runs `command` to its end, without input.
    ///
    /// # Errors
    ///
    /// When it cannot be started, or takes more than ten minutes. That it failed is in the outcome.
    pub fn of(command: &mut Command) -> Result<Self> {
        Self::with_input(command, "")
    }

    /// As [`Outcome::of`], with `input` on standard input.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn with_input(command: &mut Command, input: &str) -> Result<Self> {
        let what = shown(command);
        let began = Instant::now();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("start `{what}`"))?;

        let mut stdin = child.stdin.take();
        let (out, err) = (collect(child.stdout.take()), collect(child.stderr.take()));
        if let Some(stdin) = stdin.as_mut() {
            // A program may end without having read its input.
            drop(stdin.write_all(input.as_bytes()));
        }
        drop(stdin);

        let code = end_of(&mut child, &what)?;
        let joined = |it: thread::JoinHandle<String>| it.join().unwrap_or_default();
        let (stdout, stderr) = (joined(out), joined(err));
        Ok(Self { what, stdout, stderr, code, took: began.elapsed() })
    }

    /// Itself, if the program succeeded.
    ///
    /// # Errors
    ///
    /// When it did not, with what it wrote.
    pub fn ok(self) -> Result<Self> {
        ensure!(self.code == Some(0), "{self}");
        Ok(self)
    }

    /// Nothing, if the program succeeded: for what is run for its effect.
    ///
    /// # Errors
    ///
    /// As [`Outcome::ok`].
    pub fn done(self) -> Result<()> {
        self.ok().map(drop)
    }

    /// Itself, if the program failed with `code` and its standard error has all of `parts`.
    ///
    /// # Errors
    ///
    /// When it succeeded, ended otherwise, or said something else.
    pub fn fails(self, code: i32, parts: &[&str]) -> Result<Self> {
        ensure!(self.code == Some(code), "expected exit status {code}: {self}");
        let missing: Vec<_> = parts.iter().filter(|part| !self.stderr.contains(**part)).collect();
        ensure!(missing.is_empty(), "expected {missing:?} on standard error: {self}");
        Ok(self)
    }

    /// Standard output as JSON.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("read the JSON of: {self}"))
    }

    /// The lines of standard output, each as JSON.
    ///
    /// # Errors
    ///
    /// When one is none.
    pub fn json_lines(&self) -> Result<Vec<serde_json::Value>> {
        let read = |line| serde_json::from_str(line).with_context(|| format!("read `{line}`"));
        self.stdout.lines().map(read).collect()
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let code = self.code.map_or("a signal".to_owned(), |code| format!("exit status {code}"));
        write!(f, "`{}` ended with {code}", self.what)?;
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !text.trim().is_empty() {
                write!(f, "\n--- {name}\n{}", text.trim_end())?;
            }
        }
        Ok(())
    }
}

/// A command as a person would type it, nearly.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read before an error is still worth showing.
            drop(pipe.read_to_end(&mut bytes));
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn end_of(child: &mut Child, what: &str) -> Result<Option<i32>> {
    let ended = wait::until(&format!("the end of `{what}`"), LONGEST, || Ok(child.try_wait()?));
    if ended.is_err() {
        child.kill().context("end what takes too long")?;
    }
    Ok(ended?.code())
}
