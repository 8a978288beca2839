//! Logs: a run's record in memory and on disk, and whoever follows it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::{Stream, stream};
use lazarette_core::{
    component::Component,
    error::{Failure, chain},
    name::ComponentName,
    run::{Outcome, Phase, Progress, RunEvent, RunState},
    units::ByteCount,
};
use lazarette_node::clock::Clock;
use tokio::sync::watch;

use super::record::{Generation, Job, Line, Record, RecordError, RecordFile};
use crate::{disk::blocking, driver::Notes, vault::Commit};

/// Followers are told how far a run is no more often than this.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);
/// The longest note; drivers quote tools, and tools talk.
const NOTE_CHARS: usize = 2000;
/// Notes beyond this number are dropped: somebody is talking nonsense.
const NOTES: usize = 1000;

/// What a follower sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// The event with that sequence; none is left out.
    Event(u64, RunEvent),
    /// How far it is; only the newest.
    Progress(Progress),
}

/// A run's record in memory and on disk, and whoever follows it. Cheap to share.
#[derive(Debug)]
pub struct RunLog {
    inside: Mutex<Inside>,
    clock: Arc<dyn Clock>,
    newest: watch::Sender<u64>,
    progress: watch::Sender<Option<Progress>>,
}

#[derive(Debug)]
struct Inside {
    record: Record,
    file: RecordFile,
    done: ByteCount,
    total: Option<ByteCount>,
    told: Option<Instant>,
}

impl RunLog {
    /// Over a record and its file.
    pub fn new(record: Record, file: RecordFile, clock: Arc<dyn Clock>) -> Arc<Self> {
        let newest = watch::Sender::new(record.sequence());
        let inside =
            Mutex::new(Inside { record, file, done: ByteCount(0), total: None, told: None });
        Arc::new(Self { inside, clock, newest, progress: watch::Sender::new(None) })
    }

    /// What the run is.
    pub fn job(&self) -> Job {
        self.lock().record.job.clone()
    }

    /// Everything that is known of it.
    pub fn record(&self) -> Record {
        self.lock().record.clone()
    }

    /// Where it stands.
    pub fn state(&self) -> RunState {
        self.lock().record.state.clone()
    }

    /// Where it stands, and the sequence of its newest event.
    pub fn standing(&self) -> (RunState, u64) {
        let inside = self.lock();
        (inside.record.state.clone(), inside.record.sequence())
    }

    /// The agent took the run.
    pub async fn started(self: &Arc<Self>) {
        self.report(RunEvent::Started { at: self.clock.now() }).await;
    }

    /// The run goes on to `phase`.
    pub async fn enter(self: &Arc<Self>, phase: Phase) {
        self.report(RunEvent::Entered { at: self.clock.now(), phase }).await;
    }

    /// The stack stays held.
    pub async fn held(self: &Arc<Self>, failure: Failure) {
        self.report(RunEvent::Held { at: self.clock.now(), failure }).await;
    }

    /// A held run goes on.
    pub async fn resumed(self: &Arc<Self>) {
        self.report(RunEvent::Resumed { at: self.clock.now() }).await;
    }

    /// The run is done.
    pub async fn succeeded(self: &Arc<Self>, outcome: Outcome) {
        self.report(RunEvent::Succeeded { at: self.clock.now(), outcome }).await;
    }

    /// The run is over, without its effect.
    pub async fn failed(self: &Arc<Self>, failure: Failure) {
        self.report(RunEvent::Failed { at: self.clock.now(), failure }).await;
    }

    /// The run was stopped on request.
    pub async fn cancelled(self: &Arc<Self>) {
        self.report(RunEvent::Cancelled { at: self.clock.now() }).await;
    }

    /// The run was rolled back.
    pub async fn rolled_back(self: &Arc<Self>) {
        self.report(RunEvent::RolledBack { at: self.clock.now() }).await;
    }

    /// Writes down that `component` is about to reach `generation`.
    ///
    /// # Errors
    ///
    /// [`RecordError`]: then it must not be begun.
    pub async fn reach(
        self: &Arc<Self>,
        component: &ComponentName,
        generation: Generation,
    ) -> Result<(), RecordError> {
        self.add(Line::Reached { component: component.clone(), generation }).await
    }

    /// Writes down what the controller is about to be asked for.
    ///
    /// # Errors
    ///
    /// [`RecordError`]: then it must not be asked.
    pub async fn committing(self: &Arc<Self>, commit: Commit) -> Result<(), RecordError> {
        self.add(Line::Committing { commit }).await
    }

    /// Writes down that from now on there is only forward.
    ///
    /// # Errors
    ///
    /// [`RecordError`]: then there is still a way back.
    pub async fn accepting(self: &Arc<Self>, outcome: Outcome) -> Result<(), RecordError> {
        self.add(Line::Accepting { outcome }).await
    }

    /// Says something that an operator should read. Not synced: it changes nothing.
    pub fn say(&self, component: Option<&ComponentName>, text: &str) {
        let text: String = text.chars().take(NOTE_CHARS).collect();
        let component = component.cloned();
        tracing::info!(component = component.as_ref().map(ComponentName::as_str), text, "note");
        let mut inside = self.lock();
        if inside.record.events.len() >= NOTES || inside.record.state.is_terminal() {
            return;
        }
        let event = RunEvent::Noted { at: self.clock.now(), component, text };
        let line = Line::Event { sequence: inside.record.sequence() + 1, event };
        if let Err(error) = inside.add(&line, false) {
            tracing::error!(error = %chain(&error), "note");
        }
        self.newest.send_replace(inside.record.sequence());
    }

    /// Begins to count: `total` is what there is to do, when that is known.
    pub fn count_from_zero(&self, total: Option<ByteCount>) {
        let mut inside = self.lock();
        (inside.done, inside.total, inside.told) = (ByteCount(0), total, None);
    }

    /// How much was counted since.
    pub fn counted(&self) -> ByteCount {
        self.lock().done
    }

    /// The events after `after` and how far the run is, until it is over.
    pub fn follow(self: &Arc<Self>, after: u64) -> impl Stream<Item = Item> + Send + use<> {
        let (newest, progress) = (self.newest.subscribe(), self.progress.subscribe());
        let follower = Follower { log: self.clone(), after, newest, progress };
        stream::unfold(follower, |mut follower| async move {
            let item = follower.next().await?;
            Some((item, follower))
        })
    }

    /// What cannot be written down has still happened: it is told, and a restarted agent will
    /// say that it was restarted.
    async fn report(self: &Arc<Self>, event: RunEvent) {
        let log = self.clone();
        blocking(move || {
            let mut inside = log.lock();
            let line = Line::Event { sequence: inside.record.sequence() + 1, event };
            if let Err(error) = inside.add(&line, true) {
                tracing::error!(error = %chain(&error), "write down an event of a run");
            }
            log.newest.send_replace(inside.record.sequence());
        })
        .await;
    }

    async fn add(self: &Arc<Self>, line: Line) -> Result<(), RecordError> {
        let log = self.clone();
        blocking(move || log.lock().add(&line, true)).await
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn add(&mut self, line: &Line, sync: bool) -> Result<(), RecordError> {
        if let Err(why) = self.record.add(line.clone()) {
            tracing::error!(why, "an event does not fit its run: it is left out");
            return Ok(());
        }
        self.file.append(line, sync)
    }
}

impl Notes for RunLog {
    fn note(&self, component: &Component, text: String) {
        self.say(Some(&component.name), &text);
    }

    fn progress(&self, component: &Component, bytes: ByteCount) {
        let mut inside = self.lock();
        inside.done = inside.done + bytes;
        if inside.told.is_some_and(|at| at.elapsed() < PROGRESS_EVERY) {
            return;
        }
        inside.told = Some(Instant::now());
        let (done, total) = (inside.done, inside.total);
        drop(inside);
        let component = Some(component.name.clone());
        self.progress.send_replace(Some(Progress { component, done, total }));
    }
}

/// Somebody who follows a run.
struct Follower {
    log: Arc<RunLog>,
    after: u64,
    newest: watch::Receiver<u64>,
    progress: watch::Receiver<Option<Progress>>,
}

impl Follower {
    async fn next(&mut self) -> Option<Item> {
        loop {
            // First seen, then looked at: an event that comes in between wakes us again.
            self.newest.borrow_and_update();
            match self.log.after(self.after) {
                Next::Event(event) => {
                    self.after += 1;
                    return Some(Item::Event(self.after, event));
                }
                Next::Over => return None,
                Next::Later => {}
            }
            tokio::select! {
                biased;
                changed = self.newest.changed() => changed.ok()?,
                changed = self.progress.changed() => {
                    changed.ok()?;
                    let progress = self.progress.borrow_and_update().clone();
                    if let Some(progress) = progress {
                        return Some(Item::Progress(progress));
                    }
                }
            }
        }
    }
}

enum Next {
    Event(RunEvent),
    Later,
    Over,
}

impl RunLog {
    fn after(&self, after: u64) -> Next {
        let inside = self.lock();
        let index = usize::try_from(after).unwrap_or(usize::MAX);
        match inside.record.events.get(index) {
            Some(event) => Next::Event(event.clone()),
            None if inside.record.state.is_terminal() => Next::Over,
            None => Next::Later,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;
    use jiff::Timestamp;
    use lazarette_core::component::ComponentKind;
    use lazarette_node::clock::SettableClock;

    use super::*;
    use crate::runs::record::{Records, tests::records};

    fn log(records: &Records) -> Arc<RunLog> {
        let job = crate::runs::record::tests::backup_job();
        let file = records.begin(&job).unwrap();
        let clock = Arc::new(SettableClock::new(Timestamp::UNIX_EPOCH));
        RunLog::new(Record::new(job), file, clock)
    }

    #[tokio::test]
    async fn who_comes_late_hears_everything_after_what_it_knows_and_then_the_end() {
        let (_dir, records) = records();
        let log = log(&records);
        log.started().await;
        log.enter(Phase::Saving).await;
        log.say(None, "a note");
        log.cancelled().await;

        let heard: Vec<Item> = log.follow(1).collect().await;

        let sequences: Vec<u64> = heard
            .iter()
            .map(|item| match item {
                Item::Event(sequence, _) => *sequence,
                Item::Progress(_) => 0,
            })
            .collect();
        assert_eq!(sequences, [2, 3, 4]);
        assert_eq!(log.follow(4).count().await, 0);
        assert_eq!(records.find().unwrap().records[0].0.sequence(), 4);
    }

    #[tokio::test]
    async fn who_follows_hears_what_happens_meanwhile_and_how_far_it_is() {
        let (_dir, records) = records();
        let log = log(&records);
        log.started().await;
        let mut followed = Box::pin(log.follow(1));
        let component =
            Component { name: "definition".parse().unwrap(), kind: ComponentKind::Definition };

        log.progress(&component, ByteCount(7));
        let progress = followed.next().await.unwrap();
        log.failed(Failure::new(lazarette_core::error::Reason::Internal, "x")).await;

        assert!(matches!(progress, Item::Progress(Progress { done: ByteCount(7), .. })));
        assert!(matches!(followed.next().await, Some(Item::Event(2, RunEvent::Failed { .. }))));
        assert_eq!(followed.next().await, None);
    }

    #[tokio::test]
    async fn an_event_that_does_not_fit_is_left_out() {
        let (_dir, records) = records();
        let log = log(&records);
        log.cancelled().await;
        log.started().await;
        assert_eq!(log.standing(), (RunState::Cancelled { at: Timestamp::UNIX_EPOCH }, 1));
    }
}
