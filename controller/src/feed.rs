//! Feeds: what watchers of runs wait for.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use lazarette_core::{id::RunId, run::Progress};
use tokio::sync::watch;

/// The newest of a run.
#[derive(Clone, Debug, Default)]
pub struct Newest {
    /// Of its newest event.
    pub sequence: u64,
    /// How far it is; none when nothing was said since the newest event.
    pub progress: Option<Progress>,
}

/// Tells watchers that there is something new. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Feeds(Arc<Mutex<HashMap<RunId, watch::Sender<Newest>>>>);

impl Feeds {
    /// Nobody watches yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells that `run` has an event with this sequence.
    pub fn event(&self, run: RunId, sequence: u64) {
        self.change(run, |newest| *newest = Newest { sequence, progress: None });
    }

    /// Tells how far `run` is.
    pub fn progress(&self, run: RunId, progress: Progress) {
        self.change(run, |newest| newest.progress = Some(progress));
    }

    /// Watches `run`; the newest is there at once.
    pub fn watch(&self, run: RunId) -> watch::Receiver<Newest> {
        let mut feeds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        feeds.retain(|id, sender| *id == run || sender.receiver_count() > 0);
        feeds.entry(run).or_default().subscribe()
    }

    fn change(&self, run: RunId, change: impl FnOnce(&mut Newest)) {
        let feeds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = feeds.get(&run) {
            sender.send_modify(change);
        }
    }
}
