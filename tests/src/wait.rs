//! Wait: until something holds, and not for ever.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

const BETWEEN: Duration = Duration::from_millis(20);

/// Asks `probe` again and again until it has an answer, and gives that.
///
/// # Errors
///
/// When `limit` is over, with `what` was waited for and the last error of the probe, which does not end the wait.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let began = Instant::now();
    loop {
        let seen = probe();
        if let Ok(Some(answer)) = seen {
            return Ok(answer);
        }
        if began.elapsed() > limit {
            let doing = || format!("waited {} s for {what}", limit.as_secs());
            let Err(error) = seen else { bail!(doing()) };
            return Err(error).with_context(doing);
        }
        thread::sleep(BETWEEN);
    }
}

/// Asks `probe` again and again until it says yes.
///
/// # Errors
///
/// As [`until`].
pub fn for_truth(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<bool>,
) -> Result<()> {
    until(what, limit, || Ok(probe()?.then_some(())))
}
