//! Commands: one file a verb or noun.

mod audit;
mod backup;
mod catalog;
mod context;
mod controller;
mod credential;
mod fleet;
mod host;
mod repo;
mod restore;
mod run;
mod snapshot;
mod stack;
mod start;

use crate::{
    Surroundings,
    args::{Args, Command, Global},
    connect::Connection,
    contexts::{self, Contexts},
    error::{CtlError, Exit},
    output::Output,
    view::context::VersionView,
};

/// Does what was asked.
///
/// # Errors
/// Why it was not done.
pub async fn run(
    args: Args,
    surroundings: &Surroundings,
    output: &mut Output,
) -> Result<Exit, CtlError> {
    if matches!(args.command, Command::Version) {
        return output.show(&VersionView::own()).map(|()| Exit::Done);
    }
    if let Command::Context(verb) = args.command {
        return context::run(verb, &args.global, surroundings, output);
    }
    let connection = connect(&args.global, surroundings).await?;
    with_controller(args.command, &connection, output).await
}

async fn with_controller(
    command: Command,
    connection: &Connection,
    output: &mut Output,
) -> Result<Exit, CtlError> {
    match command {
        Command::Backup(args) => backup::run(args, connection, output).await,
        Command::Restore(args) => restore::run(args, connection, output).await,
        Command::Host(verb) => host::run(verb, connection, output).await,
        Command::Stack(verb) => stack::run(verb, connection, output).await,
        Command::Run(verb) => run::run(verb, connection, output).await,
        Command::Snapshot(verb) => snapshot::run(verb, connection, output).await,
        Command::Repo(verb) => repo::run(verb, connection, output).await,
        Command::Catalog(verb) => catalog::run(verb, connection, output).await,
        Command::Credential(verb) => credential::run(verb, connection, output).await,
        Command::Audit(verb) => audit::run(verb, connection, output).await,
        Command::Controller(verb) => controller::run(verb, connection, output).await,
        Command::Context(_) | Command::Version => Ok(Exit::Done),
    }
}

async fn connect(global: &Global, surroundings: &Surroundings) -> Result<Connection, CtlError> {
    let path = contexts::path(global.config.as_deref(), surroundings)?;
    let context = Contexts::load(&path)?.named(global.context.as_ref())?;
    Connection::open(&context).await
}
