//! Follow: a run is watched to its end, over every loss of the connection.

use std::time::Duration;

use jiff::Timestamp;
use lazarette_core::{
    error::{Failure, Reason},
    id::RunId,
    run::{Progress, Run, RunEvent, RunState},
};
use lazarette_node::backoff::Backoff;
use lazarette_proto::{
    controller::v1::{GetRunRequest, StoredEvent, WatchRunRequest, watch_run_response::Item},
    convert::Required as _,
};
use tokio::time::Instant;
use tonic::Status;

use crate::{
    connect::{Connection, is_gone_for_now, refused},
    error::{CtlError, Exit},
    output::Output,
    view::run::told,
};

const FIRST_DELAY: Duration = Duration::from_millis(300);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// For how long a controller that has gone is waited for.
const PATIENCE: Duration = Duration::from_mins(15);

/// A run that is over or held, and what is known of its way.
#[derive(Clone, Debug)]
pub struct Followed {
    /// As it is now.
    pub run: Run,
    /// When its agent took it.
    pub started: Option<Timestamp>,
}

/// How a wish about a run is told apart from its other ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// That it succeeds.
    Success,
    /// That it is stopped.
    Cancelled,
    /// That it is rolled back.
    RolledBack,
}

impl Followed {
    /// Whether the run came to what was wanted.
    ///
    /// # Errors
    /// [`CtlError::Ended`] with what it came to instead.
    pub fn judge(&self, wanted: Wanted) -> Result<Exit, CtlError> {
        let word = self.run.task.word();
        let ended = |what: &str, failure: Failure| {
            let (host, stack) = (&self.run.host_name, &self.run.stack_name);
            let what = format!("{word} of {host}/{stack} {what}");
            Err(CtlError::Ended { what, run: self.run.id, failure })
        };
        let done = |what: &str| Failure::new(Reason::RunState, what);
        match (&self.run.state, wanted) {
            (RunState::Succeeded { .. }, Wanted::Success)
            | (RunState::Cancelled { .. }, Wanted::Cancelled)
            | (RunState::RolledBack { .. }, Wanted::RolledBack) => Ok(Exit::Done),
            (RunState::Failed { failure, .. }, _) => ended("failed", failure.clone()),
            (RunState::Held { failure, .. }, _) => ended(
                "failed; the stack is held: stopped, with its old data in place",
                failure.clone(),
            ),
            (RunState::RolledBack { failure, .. }, _) => {
                ended("was rolled back; the stack runs with its old data", failure.clone())
            }
            (RunState::Cancelled { .. }, _) => {
                ended("was cancelled", Failure::new(Reason::Cancelled, "it was stopped on request"))
            }
            (RunState::Succeeded { .. }, _) => {
                ended("ended", done("it was done before it could be stopped"))
            }
            (RunState::Queued | RunState::Running { .. } | RunState::LostContact { .. }, _) => {
                ended("goes on", done("its end was not waited for"))
            }
        }
    }
}

/// Sees what happens in a run while it is followed.
pub trait Watcher {
    /// It is in another phase.
    fn entered(&mut self, phase: &str);

    /// Something that people should know.
    fn say(&mut self, text: &str);

    /// How far it is.
    fn progress(&mut self, progress: &Progress);
}

impl Watcher for Output {
    fn entered(&mut self, phase: &str) {
        Self::say(self, phase);
    }

    fn say(&mut self, text: &str) {
        Self::say(self, text);
    }

    fn progress(&mut self, progress: &Progress) {
        Self::progress(self, progress);
    }
}

/// Watches `run` from its beginning until it is over or held.
///
/// # Errors
/// The run is unknown, or the controller stays away.
pub async fn follow_with(
    connection: &Connection,
    watcher: &mut impl Watcher,
    run: RunId,
) -> Result<Followed, CtlError> {
    (Follower { connection, watcher, run, after: 0, started: None }).finish().await
}

/// Watches `run` from after event `after` until it is over or held.
///
/// # Errors
/// The run is unknown, the controller stays away, or somebody pressed Ctrl-C.
pub async fn follow(
    connection: &Connection,
    output: &mut Output,
    run: RunId,
    after: u64,
) -> Result<Followed, CtlError> {
    let followed = tokio::select! {
        followed = (Follower { connection, watcher: &mut *output, run, after, started: None }).finish() => followed,
        pressed = tokio::signal::ctrl_c() => match pressed {
            Ok(()) => Err(CtlError::Left(run)),
            Err(source) => Err(CtlError::Input { what: "Ctrl-C".to_owned(), source }),
        },
    };
    output.end_progress();
    followed
}

struct Follower<'a, W> {
    connection: &'a Connection,
    watcher: &'a mut W,
    run: RunId,
    after: u64,
    started: Option<Timestamp>,
}

/// Why watching stopped without the run being over.
enum Broken {
    /// The controller may come back.
    Gone(Status),
    /// It does not help to try again.
    Error(CtlError),
}

impl<W: Watcher> Follower<'_, W> {
    async fn finish(mut self) -> Result<Followed, CtlError> {
        let mut backoff = Backoff::new(FIRST_DELAY, LONGEST_DELAY);
        let mut chance = fastrand::Rng::new();
        let mut gone_since = None;
        loop {
            let before = self.after;
            match self.watch().await {
                Ok(Some(run)) => return Ok(Followed { run, started: self.started }),
                Ok(None) => {}
                Err(Broken::Error(error)) => return Err(error),
                Err(Broken::Gone(status)) => {
                    if self.after > before {
                        gone_since = None;
                        backoff.reset();
                    }
                    let since = *gone_since.get_or_insert_with(|| {
                        self.watcher
                            .say("the controller does not answer; the run goes on, trying again");
                        Instant::now()
                    });
                    if since.elapsed() > PATIENCE {
                        return Err(refused(format!("follow {}", self.run))(status));
                    }
                }
            }
            tokio::time::sleep(backoff.next_delay(&mut chance)).await;
        }
    }

    /// The run once it is over or held; nothing when the stream ended before that.
    async fn watch(&mut self) -> Result<Option<Run>, Broken> {
        let request = WatchRunRequest { run_id: self.run.to_string(), after_sequence: self.after };
        let answer = self.connection.runs().watch_run(request).await;
        let mut items = answer.map_err(|status| self.broken(status))?.into_inner();
        while let Some(item) = items.message().await.map_err(|status| self.broken(status))? {
            match item.item {
                Some(Item::Event(event)) => {
                    if self.take(event).map_err(Broken::Error)?
                        && let Some(run) = self.ended().await?
                    {
                        return Ok(Some(run));
                    }
                }
                Some(Item::Progress(progress)) => {
                    if let Ok(progress) = Progress::try_from(progress) {
                        self.watcher.progress(&progress);
                    }
                }
                // Of a newer controller: nothing that we have to know.
                None => {}
            }
        }
        self.ended().await
    }

    /// Shows an event; whether it may be the last one.
    fn take(&mut self, stored: StoredEvent) -> Result<bool, CtlError> {
        let event: RunEvent = stored
            .event
            .required("event")
            .and_then(TryInto::try_into)
            .map_err(CtlError::strange(format!("follow {}", self.run)))?;
        self.after = stored.sequence;
        let (_, word, text) = told(&event);
        match event {
            RunEvent::Started { at } => {
                self.started = self.started.or(Some(at));
            }
            RunEvent::Entered { .. } => self.watcher.entered(&text),
            RunEvent::Noted { .. } => {
                self.watcher.say(&format!("  {}", crate::escape::line(&text)));
            }
            RunEvent::ContactLost { .. }
            | RunEvent::ContactRegained { .. }
            | RunEvent::Resumed { .. } => self.watcher.say(&format!("{word}: {text}")),
            // The error and the summary say these.
            RunEvent::Held { .. }
            | RunEvent::Succeeded { .. }
            | RunEvent::Failed { .. }
            | RunEvent::Cancelled { .. }
            | RunEvent::RolledBack { .. } => return Ok(true),
        }
        Ok(false)
    }

    /// The run, if it is over or held and we have seen all its events.
    async fn ended(&self) -> Result<Option<Run>, Broken> {
        let run = read(self.connection, self.run).await;
        let run = run.map_err(|status| self.broken(status))?.map_err(Broken::Error)?;
        let is_held = matches!(run.state, RunState::Held { .. });
        Ok(Some(run)
            .filter(|run| (run.state.is_terminal() || is_held) && run.sequence <= self.after))
    }

    fn broken(&self, status: Status) -> Broken {
        if is_gone_for_now(&status) {
            return Broken::Gone(status);
        }
        Broken::Error(refused(format!("follow {}", self.run))(status))
    }
}

/// The run as it is now; the outer error is the call's.
async fn read(connection: &Connection, run: RunId) -> Result<Result<Run, CtlError>, Status> {
    let answer = connection.runs().get_run(GetRunRequest { run_id: run.to_string() }).await?;
    let run = answer.into_inner().run.required("run").and_then(Run::try_from);
    Ok(run.map_err(CtlError::strange("read the run")))
}

/// The run as it is now.
///
/// # Errors
/// There is none, or the controller cannot be asked.
pub async fn look(connection: &Connection, run: RunId) -> Result<Run, CtlError> {
    read(connection, run).await.map_err(refused(format!("look at {run}")))?
}

/// All that happened in `run` until now.
///
/// # Errors
/// The controller cannot be asked.
pub async fn events(connection: &Connection, run: &Run) -> Result<Vec<RunEvent>, CtlError> {
    let doing = format!("read the events of {}", run.id);
    let mut events = Vec::new();
    if run.sequence == 0 {
        return Ok(events);
    }
    let request = WatchRunRequest { run_id: run.id.to_string(), after_sequence: 0 };
    let answer = connection.runs().watch_run(request).await;
    let mut items = answer.map_err(refused(&doing))?.into_inner();
    while let Some(item) = items.message().await.map_err(refused(&doing))? {
        let Some(Item::Event(stored)) = item.item else { continue };
        let event = stored.event.required("event").and_then(RunEvent::try_from);
        events.push(event.map_err(CtlError::strange(&doing))?);
        if stored.sequence >= run.sequence {
            break;
        }
    }
    Ok(events)
}
