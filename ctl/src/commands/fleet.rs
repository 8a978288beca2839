//! Fleet: one backup a stack, many at once; none waits for another but as the controller's limits say.

use std::sync::{Mutex, PoisonError};

use futures::{StreamExt as _, stream};
use lazarette_core::{
    error::{Failure, ReasonedError as _},
    name::{HostName, StackAddress},
    run::{Progress, Run, RunState},
    selection::{Candidate, Selection},
};
use lazarette_proto::{
    common::v1::BackupTask,
    controller::v1::{ListStacksRequest, Stack},
    convert::{ConvertError, parse},
};

use super::{
    backup,
    start::{self, Wished},
};
use crate::{
    board::Board,
    connect::{Connection, refused},
    error::{CtlError, Exit},
    follow::{Followed, Watcher, follow_with},
    output::Output,
    view::fleet::{FleetView, PlansView, RefusedView},
};

/// Calls under way at once. Each run that is followed takes one of the connection's streams, of
/// which the controller gives a client 64; those that are not followed yet go on all the same.
const AT_ONCE: usize = 16;

/// What is wished.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) selection: Selection,
    pub(super) dry_run: bool,
    pub(super) detach: bool,
}

pub(super) async fn run(
    wish: Wish,
    connection: &Connection,
    output: &mut Output,
) -> Result<Exit, CtlError> {
    let Chosen { stacks, away } = choose(&wish.selection, connection, output).await?;
    if wish.dry_run {
        return plan(&stacks, away, connection, output).await;
    }
    output.say(&format!("{} stacks are backed up", stacks.len()));
    let started: Vec<_> = stream::iter(&stacks)
        .map(|stack| start::start(connection, stack, everything()))
        .buffered(AT_ONCE)
        .collect()
        .await;
    let (mut runs, mut not_begun) = (Vec::new(), Vec::new());
    for (stack, started) in stacks.iter().zip(started) {
        match started {
            Ok(run) => runs.push(run),
            Err(error) => not_begun.push(RefusedView::new(stack, &error)),
        }
    }
    if wish.detach {
        let fleet = FleetView::detached(runs, not_begun, away);
        output.show(&fleet)?;
        output.say("`ctl run list --open` shows how far they are");
        return Ok(fleet.exit());
    }
    let ended = tokio::select! {
        ended = finish(runs, connection, output) => ended?,
        pressed = tokio::signal::ctrl_c() => {
            return Err(match pressed {
                Ok(()) => CtlError::LeftAll,
                Err(source) => CtlError::Input { what: "Ctrl-C".to_owned(), source },
            });
        }
    };
    let fleet = FleetView::ended(ended, not_begun, away);
    output.show(&fleet)?;
    Ok(fleet.exit())
}

fn everything() -> Wished {
    Wished::Backup(BackupTask { components: Vec::new() })
}

/// What was chosen.
#[derive(Debug)]
struct Chosen {
    stacks: Vec<StackAddress>,
    /// Hosts whose stacks may be meant too, but which could not be asked.
    away: Vec<HostName>,
}

/// The stacks that are wished.
async fn choose(
    selection: &Selection,
    connection: &Connection,
    output: &mut Output,
) -> Result<Chosen, CtlError> {
    const DOING: &str = "list the stacks to back up";
    let answer = connection.stacks().list_stacks(ListStacksRequest { host: None }).await;
    let answer = answer.map_err(refused(DOING))?.into_inner();
    let away = answer.unreachable_hosts;
    if away.len() != answer.unreachable.len() {
        // An older controller names none: a host that is away would look like one without stacks.
        let error = ConvertError::new("unreachable_hosts", "not one a host that did not answer");
        return Err(CtlError::strange(DOING)(error));
    }
    for line in &answer.unreachable {
        output.say(&format!("host {line}"));
    }
    let mut candidates = Vec::new();
    for stack in answer.stacks {
        // One that is gone from a host that answers has nothing to back up. One on a host that does
        // not answer is a backup that fails, and must be seen to.
        if stack.seen.is_some() || away.contains(&stack.host) {
            candidates.push(candidate(stack)?);
        } else {
            output.say(&format!(
                "{}/{} is not on its host any more; its snapshots stay",
                stack.host, stack.name
            ));
        }
    }
    let chosen = selection.choose(&candidates).map_err(|error| CtlError::Refused {
        doing: "choose the stacks to back up".to_owned(),
        failure: Failure::new(error.reason(), error.to_string()),
    })?;
    let address = |place: usize| {
        let Candidate { host, stack, .. } = candidates.get(place)?.clone();
        Some(StackAddress { host: Some(host), stack })
    };
    let stacks = chosen.into_iter().filter_map(address).collect();
    let away = away.iter().map(|host| parse("unreachable_hosts", host));
    let away = away.collect::<Result<Vec<HostName>, _>>().map_err(CtlError::strange(DOING))?;
    Ok(Chosen { stacks, away: away.into_iter().filter(|it| selection.reaches(it)).collect() })
}

fn candidate(stack: Stack) -> Result<Candidate, CtlError> {
    let strange = || CtlError::strange("read the list of stacks");
    let host: HostName = parse("host", &stack.host).map_err(strange())?;
    let name = parse("name", &stack.name).map_err(strange())?;
    let labels = stack.seen.map(|it| it.labels.into_iter().collect()).unwrap_or_default();
    Ok(Candidate { host, stack: name, labels })
}

/// Says what each backup would do; fails when one of them would be refused.
async fn plan(
    stacks: &[StackAddress],
    away: Vec<HostName>,
    connection: &Connection,
    output: &mut Output,
) -> Result<Exit, CtlError> {
    let wished = everything();
    let planned: Vec<_> = stream::iter(stacks)
        .map(|stack| backup::plan(connection, stack, &wished))
        .buffered(AT_ONCE)
        .collect()
        .await;
    let mut view = PlansView { not_asked: away, ..PlansView::default() };
    for (stack, planned) in stacks.iter().zip(planned) {
        match planned {
            Ok(plan) => view.plans.push(plan),
            Err(error) => view.not_begun.push(RefusedView::new(stack, &error)),
        }
    }
    output.show(&view)?;
    Ok(view.exit())
}

/// One run on the board.
struct Line<'a, 'b> {
    board: &'a Mutex<Board<'b>>,
    place: usize,
}

impl Watcher for Line<'_, '_> {
    fn entered(&mut self, phase: &str) {
        self.board().enter(self.place, phase);
    }

    fn say(&mut self, text: &str) {
        self.board().say(self.place, text);
    }

    fn progress(&mut self, progress: &Progress) {
        self.board().progress(self.place, progress);
    }
}

impl<'b> Line<'_, 'b> {
    fn board(&self) -> std::sync::MutexGuard<'_, Board<'b>> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows all of them to their ends, which come with what their snapshots miss.
async fn finish(
    runs: Vec<Run>,
    connection: &Connection,
    output: &mut Output,
) -> Result<Vec<(Followed, Vec<String>)>, CtlError> {
    let names = runs.iter().map(|run| format!("{}/{}", run.host_name, run.stack_name)).collect();
    let board = Mutex::new(Board::new(output, names));
    let mut ended: Vec<(usize, _)> = stream::iter(runs.into_iter().enumerate())
        .map(|(place, run)| {
            let board = &board;
            async move {
                let mut line = Line { board, place };
                let followed = follow_with(connection, &mut line, run.id).await?;
                let missing = backup::incomplete(connection, &followed).await?;
                line.board().end(place, word(&followed.run.state, &missing));
                Ok::<_, CtlError>((place, (followed, missing)))
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await
        .into_iter()
        .collect::<Result<_, _>>()?;
    ended.sort_by_key(|(place, _)| *place);
    Ok(ended.into_iter().map(|(_, it)| it).collect())
}

fn word(state: &RunState, missing: &[String]) -> &'static str {
    if missing.is_empty() { state.word() } else { "succeeded, incomplete" }
}
