//! Output: the only place that prints. Data goes to standard output, talk to standard error.

use std::{
    fmt,
    io::{self, Write},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lazarette_core::run::Progress;
use serde::Serialize;

use crate::{args::Format, error::CtlError, escape};

/// Something that can be shown, to people and to programs.
pub trait View: Serialize {
    /// For people: lines, each ended by a line break.
    fn table(&self) -> String;
}

/// Where everything is printed.
pub struct Output {
    format: Format,
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    is_terminal: bool,
    can_ask: bool,
    bar: ProgressBar,
    items: u64,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("format", &self.format).finish_non_exhaustive()
    }
}

impl Output {
    /// Tables, and no terminal.
    pub fn new(out: Box<dyn Write + Send>, err: Box<dyn Write + Send>) -> Self {
        let bar = ProgressBar::hidden();
        Self { format: Format::Table, out, err, is_terminal: false, can_ask: false, bar, items: 0 }
    }

    /// Whether standard error can show a bar, and whether somebody is there to answer.
    #[must_use]
    pub fn on_terminal(mut self, is_terminal: bool, can_ask: bool) -> Self {
        self.is_terminal = is_terminal;
        self.can_ask = can_ask;
        self
    }

    /// Changes how data is shown.
    pub fn set_format(&mut self, format: Format) {
        self.format = format;
    }

    /// Whether data is for programs.
    pub const fn is_json(&self) -> bool {
        matches!(self.format, Format::Json)
    }

    /// Whether standard error can show what changes.
    pub const fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Whether somebody is there to answer a question.
    pub const fn can_ask(&self) -> bool {
        self.can_ask
    }

    /// Shows data.
    ///
    /// # Errors
    /// [`CtlError::Output`]
    pub fn show<V: View + ?Sized>(&mut self, view: &V) -> Result<(), CtlError> {
        let text = match self.format {
            Format::Table => escape::lines(&view.table()).into_owned(),
            Format::Json => pretty(view)? + "\n",
        };
        self.write(&text)
    }

    /// Shows one item of a list that may be long, at once. [`Output::end_list`] must follow.
    ///
    /// # Errors
    /// [`CtlError::Output`]
    pub fn show_item<V: View>(&mut self, view: &V) -> Result<(), CtlError> {
        let text = match self.format {
            Format::Table => escape::lines(&view.table()).into_owned(),
            Format::Json => {
                let json = serde_json::to_string(view).map_err(to_io)?;
                format!("{}{json}", if self.items == 0 { "[\n" } else { ",\n" })
            }
        };
        self.items = self.items.saturating_add(1);
        self.write(&text)
    }

    /// Ends a list.
    ///
    /// # Errors
    /// [`CtlError::Output`]
    pub fn end_list(&mut self) -> Result<(), CtlError> {
        match (self.format, self.items) {
            (Format::Table, _) => Ok(()),
            (Format::Json, 0) => self.write("[]\n"),
            (Format::Json, _) => self.write("\n]\n"),
        }
    }

    /// Prints what `--help` and the like ask for.
    ///
    /// # Errors
    /// [`CtlError::Output`]
    pub fn write_help(&mut self, text: &str) -> Result<(), CtlError> {
        self.write(text)?;
        self.finish()
    }

    fn write(&mut self, text: &str) -> Result<(), CtlError> {
        let Self { out, bar, .. } = self;
        bar.suspend(|| out.write_all(text.as_bytes())).map_err(CtlError::Output)
    }

    /// Makes sure that everything shown has left us.
    ///
    /// # Errors
    /// [`CtlError::Output`]
    pub fn finish(&mut self) -> Result<(), CtlError> {
        self.bar.finish_and_clear();
        self.out.flush().map_err(CtlError::Output)
    }

    /// Says something beside the data. That nobody listens is no error.
    pub fn say(&mut self, text: &str) {
        let text = escape::lines(text).into_owned() + "\n";
        let Self { err, bar, .. } = self;
        drop(bar.suspend(|| err.write_all(text.as_bytes()).and_then(|()| err.flush())));
    }

    /// Asks, without a line break at the end.
    pub fn prompt(&mut self, question: &str) {
        let text = escape::line(question).into_owned();
        drop(self.err.write_all(text.as_bytes()).and_then(|()| self.err.flush()));
    }

    /// Says why a command failed, and what can be done.
    pub fn fail(&mut self, error: &CtlError) {
        self.bar.finish_and_clear();
        if matches!(error, CtlError::Output(source) if source.kind() == io::ErrorKind::BrokenPipe) {
            return;
        }
        let (message, hint) = (error.message(), error.hint());
        if self.is_json() {
            let reason = error.reason();
            let told = Told { error: ToldError { reason: reason.as_str(), message, hint } };
            // Cannot fail: these are texts.
            self.say(&serde_json::to_string(&told).unwrap_or_default());
            return;
        }
        self.say(&format!("error: {}", escape::line(&message)));
        if let Some(hint) = hint {
            self.say(&format!("hint: {}", escape::line(&hint)));
        }
    }

    /// Shows how far something is, where there is a terminal.
    pub fn progress(&mut self, progress: &Progress) {
        if !self.is_terminal {
            return;
        }
        if self.bar.is_hidden() {
            self.bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        }
        match progress.total {
            Some(total) if self.bar.length() != Some(total.0) => {
                self.bar.set_length(total.0);
                self.bar.set_style(style(
                    "{bar:30} {bytes} of {total_bytes}  {binary_bytes_per_sec}  {eta} left  {msg}",
                ));
            }
            None => self.bar.set_style(style("{spinner} {bytes}  {binary_bytes_per_sec}  {msg}")),
            Some(_) => {}
        }
        let component = progress.component.as_ref().map(ToString::to_string);
        self.bar.set_message(component.unwrap_or_default());
        self.bar.set_position(progress.done.0);
    }

    /// Shows how many packs of all were looked at, where there is a terminal.
    pub fn packs(&mut self, progress: &Progress) {
        if !self.is_terminal {
            return;
        }
        if self.bar.is_hidden() {
            self.bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            self.bar.set_style(style("{bar:30} {pos} of {len} packs  {eta} left"));
        }
        self.bar.set_length(progress.total.unwrap_or_default().0);
        self.bar.set_position(progress.done.0);
    }

    /// Takes the bar away; the next progress starts another.
    pub fn end_progress(&mut self) {
        self.bar.finish_and_clear();
        self.bar = ProgressBar::hidden();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn pretty<V: Serialize + ?Sized>(view: &V) -> Result<String, CtlError> {
    serde_json::to_string_pretty(view).map_err(to_io)
}

fn to_io(error: serde_json::Error) -> CtlError {
    CtlError::Output(io::Error::from(error))
}

#[derive(Serialize)]
struct Told {
    error: ToldError,
}

#[derive(Serialize)]
struct ToldError {
    reason: &'static str,
    message: String,
    hint: Option<String>,
}
