//! Volumes, saved and put back by real child processes: every kind of file, every kind of fault.
//!
//! Needs root; without it each test says so and is skipped.

#[cfg(test)]
mod cache;
#[cfg(test)]
mod exchange;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod store;
#[cfg(test)]
mod trees;
