//! Table: rows and labelled values as aligned text.

use std::fmt::{self, Write as _};

use jiff::Timestamp;

use crate::escape;

const GAP: usize = 2;

/// Rows under headings, each column as wide as its widest cell.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Without rows.
    pub fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|it| (*it).to_owned()).collect()] }
    }

    /// Without headings.
    pub fn bare() -> Self {
        Self::default()
    }

    /// Adds a row. Cells are made harmless here.
    pub fn row<const N: usize>(&mut self, cells: [&dyn fmt::Display; N]) {
        self.rows.push(cells.iter().map(|it| escape::line(&it.to_string()).into_owned()).collect());
    }

    /// Its lines, each indented by `indent` spaces.
    pub fn lines(&self, indent: usize) -> String {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        for row in &self.rows {
            let mut line = " ".repeat(indent);
            for (width, cell) in widths.iter().zip(row) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width + GAP - cell.chars().count()));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// A heading and, below it, indented lines; nothing when there are none.
pub fn section(text: &mut String, heading: &str, items: impl IntoIterator<Item = impl AsRef<str>>) {
    let mut items = items.into_iter().peekable();
    if items.peek().is_none() {
        return;
    }
    text.push('\n');
    text.push_str(heading);
    text.push('\n');
    for item in items {
        text.push_str("  ");
        text.push_str(escape::line(item.as_ref()).trim_end());
        text.push('\n');
    }
}

/// A moment, to the second, in UTC.
pub fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// A moment, or a dash.
pub fn time_or_dash(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "-".to_owned(), time)
}

/// A time span in milliseconds, in the two units that matter.
pub fn span(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    let mut text = String::new();
    let written = match seconds {
        0 => write!(text, "{milliseconds} ms"),
        1..60 => write!(text, "{seconds}.{} s", milliseconds % 1000 / 100),
        60..3600 => write!(text, "{} min {} s", seconds / 60, seconds % 60),
        _ => write!(text, "{} h {} min", seconds / 3600, seconds % 3600 / 60),
    };
    // Writing into a string does not fail.
    written.map(|()| text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_no_line_ends_in_blanks() {
        let mut table = Table::new(&["NAME", "SIZE"]);
        table.row([&"a", &"1"]);
        table.row([&"longer", &""]);
        assert_eq!(table.lines(0), "NAME    SIZE\na       1\nlonger\n");
    }

    #[test]
    fn spans_have_the_units_that_matter() {
        let told: Vec<_> = [999, 1_049, 61_000, 3_661_000].into_iter().map(span).collect();
        assert_eq!(told, ["999 ms", "1.0 s", "1 min 1 s", "1 h 1 min"]);
    }
}
