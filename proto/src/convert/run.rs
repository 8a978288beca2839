//! Runs and their states, in and out.

use lazarette_core::run::{Run, RunState, Task};

use super::{
    ConvertError, Required as _, event::failure, from_wire_time, parse, parse_all, to_wire_time,
};
use crate::common::v1 as wire;

impl From<Task> for wire::Task {
    fn from(it: Task) -> Self {
        use wire::task::Task as W;
        let names = |components: Vec<lazarette_core::name::ComponentName>| {
            components.iter().map(ToString::to_string).collect()
        };
        let task = match it {
            Task::Backup { components } => {
                W::Backup(wire::BackupTask { components: names(components) })
            }
            Task::Restore { snapshot, components } => W::Restore(wire::RestoreTask {
                snapshot_id: snapshot.to_string(),
                components: names(components),
            }),
        };
        Self { task: Some(task) }
    }
}

impl TryFrom<wire::Task> for Task {
    type Error = ConvertError;

    fn try_from(it: wire::Task) -> Result<Self, Self::Error> {
        use wire::task::Task as W;
        match it.task.required("task")? {
            W::Backup(backup) => backup.try_into(),
            W::Restore(restore) => restore.try_into(),
        }
    }
}

impl TryFrom<wire::BackupTask> for Task {
    type Error = ConvertError;

    fn try_from(it: wire::BackupTask) -> Result<Self, Self::Error> {
        Ok(Self::Backup { components: parse_all("components", &it.components)? })
    }
}

impl TryFrom<wire::RestoreTask> for Task {
    type Error = ConvertError;

    fn try_from(it: wire::RestoreTask) -> Result<Self, Self::Error> {
        Ok(Self::Restore {
            snapshot: parse("snapshot_id", &it.snapshot_id)?,
            components: parse_all("components", &it.components)?,
        })
    }
}

impl From<RunState> for wire::RunState {
    fn from(it: RunState) -> Self {
        use wire::run_state::State as W;
        let time = |at| Some(to_wire_time(at));
        let state = match it {
            RunState::Queued => W::Queued(wire::Queued {}),
            RunState::Running { since, phase } => W::Running(wire::Running {
                start_time: time(since),
                phase: wire::Phase::from(phase).into(),
            }),
            RunState::LostContact { since, phase, lost } => W::LostContact(wire::LostContact {
                start_time: time(since),
                phase: wire::Phase::from(phase).into(),
                lost_time: time(lost),
            }),
            RunState::Held { since, failure } => {
                W::Held(wire::Held { held_time: time(since), failure: Some(failure.into()) })
            }
            RunState::Succeeded { at, outcome } => {
                W::Succeeded(wire::Succeeded { end_time: time(at), outcome: Some(outcome.into()) })
            }
            RunState::Failed { at, failure } => {
                W::Failed(wire::Failed { end_time: time(at), failure: Some(failure.into()) })
            }
            RunState::Cancelled { at } => W::Cancelled(wire::Cancelled { end_time: time(at) }),
            RunState::RolledBack { at, failure } => W::RolledBack(wire::RolledBack {
                end_time: time(at),
                failure: Some(failure.into()),
            }),
        };
        Self { state: Some(state) }
    }
}

impl TryFrom<wire::RunState> for RunState {
    type Error = ConvertError;

    fn try_from(it: wire::RunState) -> Result<Self, Self::Error> {
        use wire::run_state::State as W;
        Ok(match it.state.required("state")? {
            W::Queued(_) => Self::Queued,
            W::Running(it) => Self::Running {
                phase: it.phase().try_into()?,
                since: from_wire_time("start_time", it.start_time)?,
            },
            W::LostContact(it) => Self::LostContact {
                phase: it.phase().try_into()?,
                since: from_wire_time("start_time", it.start_time)?,
                lost: from_wire_time("lost_time", it.lost_time)?,
            },
            W::Held(it) => Self::Held {
                since: from_wire_time("held_time", it.held_time)?,
                failure: failure(it.failure)?,
            },
            W::Succeeded(it) => Self::Succeeded {
                at: from_wire_time("end_time", it.end_time)?,
                outcome: it.outcome.required("outcome")?.try_into()?,
            },
            W::Failed(it) => Self::Failed {
                at: from_wire_time("end_time", it.end_time)?,
                failure: failure(it.failure)?,
            },
            W::Cancelled(it) => Self::Cancelled { at: from_wire_time("end_time", it.end_time)? },
            W::RolledBack(it) => Self::RolledBack {
                at: from_wire_time("end_time", it.end_time)?,
                failure: failure(it.failure)?,
            },
        })
    }
}

impl From<Run> for wire::Run {
    fn from(it: Run) -> Self {
        Self {
            run_id: it.id.to_string(),
            task: Some(it.task.into()),
            stack_id: it.stack.to_string(),
            stack: it.stack_name.to_string(),
            host_id: it.host.to_string(),
            host: it.host_name.to_string(),
            asked_by: it.asked_by,
            create_time: Some(to_wire_time(it.created)),
            state: Some(it.state.into()),
            sequence: it.sequence,
            agent_sequence: it.agent_sequence,
            cancel_asked: it.cancel_asked,
        }
    }
}

impl TryFrom<wire::Run> for Run {
    type Error = ConvertError;

    fn try_from(it: wire::Run) -> Result<Self, Self::Error> {
        let state = it.state.required("state")?;
        Ok(Self {
            id: parse("run_id", &it.run_id)?,
            task: it.task.required("task")?.try_into()?,
            stack: parse("stack_id", &it.stack_id)?,
            stack_name: parse("stack", &it.stack)?,
            host: parse("host_id", &it.host_id)?,
            host_name: parse("host", &it.host)?,
            asked_by: it.asked_by,
            created: from_wire_time("create_time", it.create_time)?,
            state: state.try_into().map_err(|it: ConvertError| it.within("state"))?,
            sequence: it.sequence,
            agent_sequence: it.agent_sequence,
            cancel_asked: it.cancel_asked,
        })
    }
}
