//! Queue: one run a stack, so many a host, so many in all; the oldest first.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lazarette_core::{
    id::{HostId, RunId, StackId},
    run::Run,
};
use tokio::sync::watch;

/// Who may run now. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    lines: Arc<Mutex<Lines>>,
    changed: watch::Sender<u64>,
    per_host: usize,
    total: usize,
}

/// Every run that waits or runs, oldest first.
type Lines = BTreeMap<RunId, Place>;

#[derive(Clone, Copy, Debug)]
struct Place {
    host: HostId,
    stack: StackId,
    runs: bool,
}

/// A place among those that run; given back when dropped.
#[derive(Debug)]
#[must_use = "a slot that is dropped lets the next run begin"]
pub(super) struct Slot {
    queue: Queue,
    run: RunId,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.queue.lock().remove(&self.run);
        self.queue.wake();
    }
}

/// Why a run does not begin yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Another run of the same stack is older.
    Stack(RunId),
    /// The host, or the fleet, has as many as it may.
    Limit,
}

impl Queue {
    pub(super) fn new(per_host: usize, total: usize) -> Self {
        let changed = watch::Sender::new(0);
        Self { lines: Arc::default(), changed, per_host, total }
    }

    /// Looks at every waiting run again.
    pub(super) fn wake(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// Told when a waiting run should look again.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Enters a run. One that was running when this process started runs on, whatever the limits.
    pub(super) fn enter(&self, run: &Run, runs: bool) -> Slot {
        self.lock().insert(run.id, Place { host: run.host, stack: run.stack, runs });
        Slot { queue: self.clone(), run: run.id }
    }

    /// Lets the run begin, or says what it waits for.
    pub(super) fn try_begin(&self, run: RunId) -> Result<(), Wait> {
        let mut lines = self.lock();
        let verdict = judge(&lines, run, self.per_host, self.total);
        if verdict.is_ok()
            && let Some(place) = lines.get_mut(&run)
        {
            place.runs = true;
        }
        verdict
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `run` may begin among `lines`.
fn judge(lines: &Lines, run: RunId, per_host: usize, total: usize) -> Result<(), Wait> {
    let Some(own) = lines.get(&run) else { return Ok(()) };
    let others = || lines.iter().filter(|(id, _)| **id != run);
    let before = others().find(|(id, it)| it.stack == own.stack && (it.runs || **id < run));
    if let Some((id, _)) = before {
        return Err(Wait::Stack(*id));
    }
    let running = others().filter(|(_, it)| it.runs).count();
    let on_host = others().filter(|(_, it)| it.runs && it.host == own.host).count();
    if running >= total || on_host >= per_host {
        return Err(Wait::Limit);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(entries: &[(RunId, HostId, StackId, bool)]) -> Lines {
        let place = |&(id, host, stack, runs): &(RunId, HostId, StackId, bool)| {
            (id, Place { host, stack, runs })
        };
        entries.iter().map(place).collect()
    }

    #[test]
    fn one_run_a_stack_the_oldest_first() {
        let (first, second) = (RunId::new(), RunId::new());
        let (host, stack) = (HostId::new(), StackId::new());
        let lines = lines(&[(first, host, stack, false), (second, host, stack, false)]);

        assert_eq!(judge(&lines, first, 2, 9), Ok(()));
        assert_eq!(judge(&lines, second, 2, 9), Err(Wait::Stack(first)));
    }

    #[test]
    fn a_host_and_the_fleet_have_limits() {
        let (first, second, third) = (RunId::new(), RunId::new(), RunId::new());
        let (host, other) = (HostId::new(), HostId::new());
        let lines = lines(&[
            (first, host, StackId::new(), true),
            (second, host, StackId::new(), false),
            (third, other, StackId::new(), false),
        ]);

        assert_eq!(judge(&lines, second, 1, 9), Err(Wait::Limit));
        assert_eq!(judge(&lines, third, 1, 9), Ok(()));
        assert_eq!(judge(&lines, third, 1, 1), Err(Wait::Limit));
    }
}
