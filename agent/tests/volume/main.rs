//! Volumes, saved and put back by real child processes: every kind of file, every kind of fault.
//!
//! Needs root; without it each test says so and is skipped.

mod cache;
mod exchange;
mod faults;
mod hostile;
mod round_trip;
mod store;
mod trees;
