//! The repository as a whole: what is written is read, what is damaged is seen, and plain restic
//! agrees.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test, and what it stands on, fails by panicking"
)]

mod faults;
mod golden;
mod restic;
mod roundtrip;
mod sessions;
mod vault;
