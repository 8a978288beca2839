//! Tasks: the one place that spawns, so every task has an owner who can stop it and wait for it.

use std::time::Duration;

use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};
use tracing::Instrument as _;

/// A set of tasks that live and die together. Clones are the same set.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    /// The trackers of this set and of the sets it is part of; this set's own comes last.
    trackers: Vec<TaskTracker>,
    own: TaskTracker,
    cancel: CancellationToken,
}

impl Tasks {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// A set that is part of this one: stopped with it and waited for with it, or earlier alone.
    #[must_use]
    pub fn child(&self) -> Self {
        let mut trackers = self.trackers.clone();
        trackers.push(self.own.clone());
        Self { trackers, own: TaskTracker::new(), cancel: self.cancel.child_token() }
    }

    /// A task that ends by itself, or soon after its token is cancelled.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that may")]
    pub fn spawn<F>(&self, span: tracing::Span, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let held: Vec<TaskTrackerToken> =
            self.trackers.iter().chain([&self.own]).map(TaskTracker::token).collect();
        let task = task(self.cancel.child_token());
        let tracked = async move {
            task.await;
            drop(held);
        };
        drop(tokio::spawn(tracked.instrument(span)));
    }

    /// Is cancelled when the set is asked to stop.
    pub fn cancellation(&self) -> CancellationToken {
        self.cancel.clone()
    }

    /// How many tasks run now, those of child sets among them.
    pub fn running(&self) -> usize {
        self.own.len()
    }

    /// Asks every task to stop and waits for the last one, but no longer than `grace`.
    pub async fn shutdown(self, grace: Duration) {
        self.cancel.cancel();
        self.own.close();
        if tokio::time::timeout(grace, self.own.wait()).await.is_err() {
            tracing::warn!(left = self.own.len(), "tasks did not stop in time");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    fn count_when_cancelled(tasks: &Tasks, counter: &Arc<AtomicUsize>) {
        let counter = counter.clone();
        tasks.spawn(tracing::Span::none(), |cancel| async move {
            cancel.cancelled().await;
            counter.fetch_add(1, Ordering::SeqCst);
        });
    }

    #[tokio::test]
    async fn a_shutdown_stops_and_awaits_the_tasks_of_child_sets_too() {
        let ended = Arc::new(AtomicUsize::new(0));
        let tasks = Tasks::new();
        count_when_cancelled(&tasks, &ended);
        count_when_cancelled(&tasks.child().child(), &ended);
        assert_eq!(tasks.running(), 2);

        tasks.shutdown(Duration::from_secs(5)).await;

        assert_eq!(ended.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_child_set_stops_alone() {
        let ended = Arc::new(AtomicUsize::new(0));
        let tasks = Tasks::new();
        count_when_cancelled(&tasks, &ended);
        let child = tasks.child();
        count_when_cancelled(&child, &ended);

        child.shutdown(Duration::from_secs(5)).await;

        assert_eq!((ended.load(Ordering::SeqCst), tasks.running()), (1, 1));
    }

    #[tokio::test]
    async fn a_task_that_does_not_listen_is_waited_for_no_longer_than_the_grace() {
        let tasks = Tasks::new();
        tasks.spawn(tracing::Span::none(), |_| std::future::pending());

        tasks.shutdown(Duration::from_millis(10)).await;
    }

    #[tokio::test]
    async fn a_task_that_panics_is_over() {
        let tasks = Tasks::new();
        tasks.spawn(tracing::Span::none(), |_| async { panic!("on purpose") });

        tasks.shutdown(Duration::from_secs(5)).await;
    }
}
