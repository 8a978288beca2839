//! Faults: named points at which a test may end this process.
//!
//! Only in builds with the feature `faults`; the environment variable `LAZARETTE_FAULT` names the
//! point. Everything that the process would still do is not done, as when its power fails.

/// The points there are, in the order of a run.
pub const POINTS: &[&str] = &[
    "after_journal",
    "after_stop",
    "while_saving",
    "before_thaw",
    "after_thaw",
    "before_commit",
    "after_commit",
    "after_restore_beside",
    "after_swap_one",
    "after_swap_all",
    "before_accept",
];

/// Ends the process here when a test asked for it.
#[cfg(feature = "faults")]
pub fn point(name: &str) {
    debug_assert!(POINTS.contains(&name), "an unknown fault point: {name}");
    if std::env::var_os("LAZARETTE_FAULT").is_some_and(|wanted| wanted == name) {
        tracing::warn!(name, "fault point reached: ending this process");
        let myself = rustix::process::getpid();
        if let Err(error) = rustix::process::kill_process(myself, rustix::process::Signal::KILL) {
            tracing::error!(%error, "end this process");
        }
    }
}

/// Does nothing in this build.
#[cfg(not(feature = "faults"))]
pub fn point(_name: &str) {}
