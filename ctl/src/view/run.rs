//! Runs, as they are shown.

use jiff::Timestamp;
use lazarette_core::{
    error::Failure,
    run::{Outcome, Run, RunEvent, RunState, Task, Totals},
    units::{ByteCount, ByteRate},
};
use serde::Serialize;

use crate::{
    output::View,
    table::{self, Table},
};

/// A run.
#[derive(Debug, Serialize)]
pub struct RunView {
    pub(super) run_id: String,
    task: &'static str,
    pub(super) state: &'static str,
    phase: Option<String>,
    pub(super) host: String,
    host_id: String,
    pub(super) stack: String,
    stack_id: String,
    asked_by: String,
    components: Vec<String>,
    pub(super) snapshot_id: Option<String>,
    create_time: Timestamp,
    start_time: Option<Timestamp>,
    end_time: Option<Timestamp>,
    pub(super) duration_ms: Option<u64>,
    pub(super) totals: Option<TotalsView>,
    compared_fact_count: Option<u64>,
    pub(super) failure: Option<Failure>,
    cancel_asked: bool,
    /// What makes the snapshot that it made less than whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) incomplete: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<Vec<EventView>>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct TotalsView {
    pub(super) read_bytes: u64,
    pub(super) new_bytes: u64,
    reused_bytes: u64,
    pub(super) stored_bytes: u64,
    item_count: u64,
    pub(super) downtime_ms: u64,
    bytes_per_second: Option<u64>,
}

#[derive(Debug, Serialize)]
struct EventView {
    time: Timestamp,
    event: &'static str,
    text: String,
}

impl RunView {
    /// As it is; `started` is known from its events.
    pub fn new(run: Run, started: Option<Timestamp>) -> Self {
        let (components, target) = match run.task {
            Task::Backup { ref components } => (components, None),
            Task::Restore { snapshot, ref components } => (components, Some(snapshot)),
        };
        let stands = Standing::of(&run.state);
        let start_time = stands.since.or(started);
        let duration_ms = start_time.zip(stands.end).map(|(from, to)| milliseconds(from, to));
        let (snapshot, compared) = match stands.outcome {
            Some(Outcome::Saved { snapshot, .. }) => (Some(*snapshot), None),
            Some(Outcome::Restored { snapshot, facts_compared, .. }) => {
                (Some(*snapshot), Some(*facts_compared))
            }
            None => (target, None),
        };
        Self {
            run_id: run.id.to_string(),
            task: run.task.word(),
            state: run.state.word(),
            phase: stands.phase,
            host: run.host_name.to_string(),
            host_id: run.host.to_string(),
            stack: run.stack_name.to_string(),
            stack_id: run.stack.to_string(),
            components: components.iter().map(ToString::to_string).collect(),
            snapshot_id: snapshot.map(|it| it.to_string()),
            create_time: run.created,
            start_time,
            end_time: stands.end,
            duration_ms,
            totals: stands.outcome.map(|it| totals(it, duration_ms)),
            compared_fact_count: compared,
            failure: stands.failure.cloned(),
            cancel_asked: run.cancel_asked,
            asked_by: run.asked_by,
            incomplete: None,
            events: None,
        }
    }

    /// With what makes its snapshot less than whole.
    #[must_use]
    pub fn with_incomplete(mut self, incomplete: Vec<String>) -> Self {
        self.incomplete = Some(incomplete);
        self
    }

    /// With all that happened in it.
    #[must_use]
    pub fn with_events(mut self, events: &[RunEvent]) -> Self {
        self.events = Some(events.iter().map(EventView::of).collect());
        self
    }
}

/// What a state says, apart from its word.
#[derive(Default)]
struct Standing<'a> {
    since: Option<Timestamp>,
    end: Option<Timestamp>,
    phase: Option<String>,
    outcome: Option<&'a Outcome>,
    failure: Option<&'a Failure>,
}

impl<'a> Standing<'a> {
    fn of(state: &'a RunState) -> Self {
        let none = Self::default();
        match state {
            RunState::Queued => none,
            RunState::Running { since, phase } | RunState::LostContact { since, phase, .. } => {
                Self { since: Some(*since), phase: Some(phase.to_string()), ..none }
            }
            RunState::Held { failure, .. } => Self { failure: Some(failure), ..none },
            RunState::Succeeded { at, outcome } => {
                Self { end: Some(*at), outcome: Some(outcome), ..none }
            }
            RunState::Failed { at, failure } | RunState::RolledBack { at, failure } => {
                Self { end: Some(*at), failure: Some(failure), ..none }
            }
            RunState::Cancelled { at } => Self { end: Some(*at), ..none },
        }
    }
}

fn milliseconds(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.duration_since(from).as_millis()).unwrap_or_default()
}

fn totals(outcome: &Outcome, duration_ms: Option<u64>) -> TotalsView {
    let (Outcome::Saved { totals, .. } | Outcome::Restored { totals, .. }) = outcome;
    let Totals { read, new, stored, items, downtime_ms } = *totals;
    let took = duration_ms.map(std::time::Duration::from_millis);
    TotalsView {
        read_bytes: read.0,
        new_bytes: new.0,
        reused_bytes: read.0.saturating_sub(new.0),
        stored_bytes: stored.0,
        item_count: items,
        downtime_ms,
        bytes_per_second: took.and_then(|took| ByteRate::of(read, took)).map(|rate| rate.0),
    }
}

/// One event in a line: its word, and the rest.
pub fn told(event: &RunEvent) -> (Timestamp, &'static str, String) {
    match event {
        RunEvent::Started { at } => (*at, "started", String::new()),
        RunEvent::Entered { at, phase } => (*at, "entered", phase.to_string()),
        RunEvent::Noted { at, component: Some(component), text } => {
            (*at, "noted", format!("{component}: {text}"))
        }
        RunEvent::Noted { at, component: None, text } => (*at, "noted", text.clone()),
        RunEvent::ContactLost { at } => {
            (*at, "contact-lost", "the host does not answer".to_owned())
        }
        RunEvent::ContactRegained { at } => {
            (*at, "contact-regained", "the host answers again".to_owned())
        }
        RunEvent::Held { at, failure } => (*at, "held", failure.message.clone()),
        RunEvent::Resumed { at } => (*at, "resumed", String::new()),
        RunEvent::Succeeded { at, .. } => (*at, "succeeded", String::new()),
        RunEvent::Failed { at, failure } => (*at, "failed", failure.message.clone()),
        RunEvent::Cancelled { at } => (*at, "cancelled", String::new()),
        RunEvent::RolledBack { at } => (*at, "rolled-back", String::new()),
    }
}

impl EventView {
    fn of(event: &RunEvent) -> Self {
        let (time, event, text) = told(event);
        Self { time, event, text }
    }
}

impl View for Vec<RunView> {
    fn table(&self) -> String {
        let headings = ["RUN", "TASK", "HOST", "STACK", "STATE", "ACCEPTED", "SNAPSHOT", ""];
        let mut table = Table::new(&headings);
        for it in self {
            let snapshot: String =
                it.snapshot_id.iter().flat_map(|id| id.chars().take(8)).collect();
            let remark = match (&it.failure, &it.phase) {
                (Some(failure), _) => failure.reason.to_string(),
                (None, Some(phase)) => phase.clone(),
                (None, None) => String::new(),
            };
            let accepted = table::time(it.create_time);
            table.row([
                &it.run_id, &it.task, &it.host, &it.stack, &it.state, &accepted, &snapshot, &remark,
            ]);
        }
        table.lines(0)
    }
}

impl View for RunView {
    fn table(&self) -> String {
        let mut table = Table::bare();
        table.row([&"run", &self.run_id]);
        table.row([&self.task, &format!("{}/{}", self.host, self.stack)]);
        if !self.components.is_empty() {
            table.row([&"only", &self.components.join(", ")]);
        }
        let phase = self.phase.as_ref().map(|it| format!(": {it}")).unwrap_or_default();
        table.row([&"state", &format!("{}{phase}", self.state)]);
        if let Some(failure) = &self.failure {
            table.row([&"because", &format!("{} ({})", failure.message, failure.reason)]);
        }
        if let Some(snapshot) = &self.snapshot_id {
            table.row([&"snapshot", snapshot]);
        }
        table.row([&"asked by", &format!("{}, {}", self.asked_by, table::time(self.create_time))]);
        if let Some(totals) = &self.totals {
            self.took(&mut table, totals);
        }
        let mut text = table.lines(0);
        table::section(&mut text, "INCOMPLETE", self.incomplete.iter().flatten());
        let line =
            |it: &EventView| format!("{}  {:<11} {}", table::time(it.time), it.event, it.text);
        table::section(&mut text, "EVENTS", self.events.iter().flatten().map(line));
        text
    }
}

impl RunView {
    fn took(&self, table: &mut Table, totals: &TotalsView) {
        if let Some(took) = self.duration_ms {
            let rate = totals.bytes_per_second.map(ByteRate);
            let rate = rate.map(|rate| format!(", {rate}")).unwrap_or_default();
            table.row([&"took", &format!("{}{rate}", table::span(took))]);
        }
        let (read, stored) = (ByteCount(totals.read_bytes), ByteCount(totals.stored_bytes));
        if self.task == "backup" {
            let (new, reused) = (ByteCount(totals.new_bytes), ByteCount(totals.reused_bytes));
            table.row([&"read", &format!("{read} in {} items", totals.item_count)]);
            table.row([&"new", &format!("{new}, {reused} were there already")]);
            table.row([&"stored", &stored]);
        } else {
            table.row([&"written", &format!("{read} in {} items", totals.item_count)]);
            table.row([&"fetched", &stored]);
        }
        table.row([&"downtime", &table::span(totals.downtime_ms)]);
        if let Some(facts) = self.compared_fact_count {
            table.row([&"compared", &format!("{facts} facts, all equal")]);
        }
    }
}
