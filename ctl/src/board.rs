//! Board: many runs at once, a line each: drawn again and again on a terminal, said once elsewhere.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use lazarette_core::run::Progress;

use crate::{escape, output::Output};

/// So many lines fit a terminal; what there is more of is said, not drawn.
const LINES: usize = 40;

/// The runs that are followed.
#[derive(Debug)]
pub struct Board<'a> {
    output: &'a mut Output,
    names: Vec<String>,
    bars: Vec<ProgressBar>,
    ended: usize,
}

impl<'a> Board<'a> {
    /// For runs of the stacks `names`.
    pub fn new(output: &'a mut Output, names: Vec<String>) -> Self {
        let bars = if output.is_terminal() && names.len() <= LINES { bars(&names) } else { vec![] };
        Self { output, names, bars, ended: 0 }
    }

    /// The run at `place` is in another phase.
    pub fn enter(&mut self, place: usize, phase: &str) {
        let Some(bar) = self.bars.get(place) else { return self.tell(place, phase) };
        bar.set_message(phase.to_owned());
    }

    /// The run at `place` has something to say; where lines are drawn, `ctl run show` says it.
    pub fn say(&mut self, place: usize, text: &str) {
        if self.bars.is_empty() {
            self.tell(place, text);
        }
    }

    /// How far the run at `place` is.
    pub fn progress(&mut self, place: usize, progress: &Progress) {
        let Some(bar) = self.bars.get(place) else { return };
        bar.set_position(progress.done.0);
        if let Some(component) = &progress.component {
            bar.set_message(format!("saving {component}"));
        }
    }

    /// The run at `place` is over.
    pub fn end(&mut self, place: usize, word: &'static str) {
        self.ended += 1;
        if let Some(bar) = self.bars.get(place) {
            bar.finish_with_message(word);
        } else {
            let text = format!("{word} ({} of {})", self.ended, self.names.len());
            self.tell(place, &text);
        }
    }

    fn tell(&mut self, place: usize, text: &str) {
        let name = self.names.get(place).map(String::as_str).unwrap_or_default();
        let text = format!("{name}: {}", escape::line(text));
        self.output.say(&text);
    }
}

impl Drop for Board<'_> {
    /// The table of what came of them takes its place.
    fn drop(&mut self) {
        for bar in &self.bars {
            bar.finish_and_clear();
        }
    }
}

fn bars(names: &[String]) -> Vec<ProgressBar> {
    let lines = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
    let width = names.iter().map(String::len).max().unwrap_or_default();
    let template =
        format!("{{prefix:{width}}}  {{bytes:>11}}  {{binary_bytes_per_sec:>13}}  {{msg}}");
    let style = ProgressStyle::with_template(&template);
    let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = |name: &String| {
        let bar = lines.add(ProgressBar::no_length()).with_style(style.clone());
        bar.with_prefix(name.clone()).with_message("queued")
    };
    names.iter().map(bar).collect()
}
