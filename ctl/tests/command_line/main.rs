//! The command line: what is understood, what is shown, and how the program ends.

#![expect(clippy::unwrap_used, reason = "a test may end where it cannot go on")]

mod fleet;
mod program;
mod reference;
mod views;
mod words;
