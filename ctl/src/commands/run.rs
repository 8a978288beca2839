//! Run: `ctl run`.

use lazarette_core::{
    id::RunId,
    run::{Run, RunEvent},
};
use lazarette_proto::controller::v1::{
    CancelRunRequest, ListRunsRequest, ResumeRunRequest, RollBackRunRequest,
};
use tonic::Status;

use super::start;
use crate::{
    args::{RunArgs, RunVerb},
    connect::{Connection, refused},
    error::{CtlError, Exit},
    follow::{self, Wanted},
    output::Output,
    view::run::RunView,
};

pub(super) async fn run(
    verb: RunVerb,
    connection: &Connection,
    output: &mut Output,
) -> Result<Exit, CtlError> {
    match verb {
        RunVerb::List { stack, open, limit } => {
            let address = stack.map(|it| it.to_string());
            output.show(&list(connection, address, open, limit).await?)?;
            Ok(Exit::Done)
        }
        RunVerb::Show { run } => {
            let run = follow::look(connection, run).await?;
            let events = follow::events(connection, &run).await?;
            let started = events.iter().find_map(|event| {
                if let RunEvent::Started { at } = event { Some(*at) } else { None }
            });
            output.show(&RunView::new(run, started).with_events(&events))?;
            Ok(Exit::Done)
        }
        RunVerb::Watch { run } => {
            start::finish(connection, output, (run, 0), Wanted::Success).await
        }
        RunVerb::Cancel(args) => change(Change::Cancel, args, connection, output).await,
        RunVerb::Resume(args) => change(Change::Resume, args, connection, output).await,
        RunVerb::Rollback(args) => change(Change::RollBack, args, connection, output).await,
    }
}

async fn list(
    connection: &Connection,
    address: Option<String>,
    open: bool,
    limit: u32,
) -> Result<Vec<RunView>, CtlError> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut views = Vec::new();
    let mut page_token = String::new();
    while views.len() < limit {
        let left = u32::try_from(limit - views.len()).unwrap_or(u32::MAX);
        let request =
            ListRunsRequest { address: address.clone(), open, page_size: left, page_token };
        let answer = connection.runs().list_runs(request).await;
        let answer = answer.map_err(refused("list runs"))?.into_inner();
        for run in answer.runs {
            let run = Run::try_from(run).map_err(CtlError::strange("list runs"))?;
            views.push(RunView::new(run, None));
        }
        if answer.next_page_token.is_empty() {
            break;
        }
        page_token = answer.next_page_token;
    }
    views.truncate(limit);
    Ok(views)
}

/// What is asked of a run that is there.
#[derive(Clone, Copy, Debug)]
enum Change {
    Cancel,
    Resume,
    RollBack,
}

async fn change(
    change: Change,
    args: RunArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<Exit, CtlError> {
    let RunArgs { run, detach } = args;
    // What happened before is known; only what comes of it is of interest.
    let after = follow::look(connection, run).await?.sequence;
    let (doing, wanted) = match change {
        Change::Cancel => ("cancel", Wanted::Cancelled),
        Change::Resume => ("resume", Wanted::Success),
        Change::RollBack => ("roll back", Wanted::RolledBack),
    };
    ask_for(change, run, connection).await.map_err(refused(format!("{doing} {run}")))?;
    if detach {
        let run = follow::look(connection, run).await?;
        return start::detach(output, run);
    }
    start::finish(connection, output, (run, after), wanted).await
}

async fn ask_for(change: Change, run: RunId, connection: &Connection) -> Result<(), Status> {
    let (run_id, mut runs) = (run.to_string(), connection.runs());
    match change {
        Change::Cancel => runs.cancel_run(CancelRunRequest { run_id }).await.map(drop),
        Change::Resume => runs.resume_run(ResumeRunRequest { run_id }).await.map(drop),
        Change::RollBack => runs.roll_back_run(RollBackRunRequest { run_id }).await.map(drop),
    }
}
