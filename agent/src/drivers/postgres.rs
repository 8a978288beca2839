//! PostgreSQL: every database of a server, its roles, and what `pg_dump` leaves out.
//!
//! The server's own tools are run in its container, as argv and over its socket (H4). A database
//! is restored beside the one that is there and exchanged by name; what cannot be so is said
//! before (H6). See `generation.rs` for what is where in between.

mod archive;
mod catalogue;
mod dump;
mod facts;
mod failure;
mod gate;
mod generation;
mod names;
mod quiet;
mod quote;
mod restore;
mod roles;
mod saved;
mod session;
mod settings;
mod verify;
mod way;

use std::time::Duration;

use async_trait::async_trait;
use lazarette_core::{evidence::Evidence, units::ByteCount};

use self::session::Session;
use crate::{
    driver::{Cx, Driver, DriverError, Inspection},
    sink::Sink,
    source::Source,
};

/// The driver for PostgreSQL 12 to 18.
#[derive(Clone, Copy, Debug)]
pub struct Postgres {
    /// How long a dump waits until nobody writes any more (H3).
    pub patience: Duration,
}

impl Postgres {
    /// As it is used.
    pub const USUAL: Self = Self { patience: Duration::from_secs(30) };
}

#[async_trait]
impl Driver for Postgres {
    fn word(&self) -> &'static str {
        "postgres"
    }

    async fn inspect(&self, cx: &Cx<'_>) -> Result<Inspection, DriverError> {
        let session = Session::open(cx).await?;
        let mut inspection = Inspection {
            version: session.server.version.clone(),
            size: None,
            notes: Vec::new(),
            data_dirs: session.server.data_directory.clone().into_iter().collect(),
        };
        let databases = catalogue::databases(&session).await?;
        let sizes: Option<Vec<_>> = databases.iter().map(|it| it.bytes.map(ByteCount)).collect();
        inspection.size = sizes.map(|sizes| sizes.into_iter().sum());
        if session.server.in_recovery {
            inspection.notes.push("standby: cannot be backed up; back up its primary".to_owned());
            return Ok(inspection);
        }
        for database in &databases {
            inspection.notes.push(dump::described(&session, database).await?);
        }
        Ok(inspection)
    }

    async fn dump(&self, cx: &Cx<'_>, sink: &mut Sink) -> Result<Evidence, DriverError> {
        dump::dump(cx, sink, self.patience).await
    }

    async fn restore(&self, cx: &Cx<'_>, source: &mut Source) -> Result<(), DriverError> {
        restore::restore(cx, source).await
    }

    async fn verify(&self, cx: &Cx<'_>, saved: &Evidence) -> Result<Evidence, DriverError> {
        verify::verify(cx, saved).await
    }

    async fn swap(&self, cx: &Cx<'_>) -> Result<(), DriverError> {
        let session = Session::open(cx).await?;
        generation::exchange(&session, cx.run).await
    }

    async fn undo(&self, cx: &Cx<'_>) -> Result<(), DriverError> {
        let session = Session::open(cx).await?.uncancelled();
        quiet::end_left_overs(&session).await?;
        generation::undo(&session, cx.run).await
    }

    async fn accept(&self, cx: &Cx<'_>) -> Result<(), DriverError> {
        let session = Session::open(cx).await?.uncancelled();
        generation::accept(&session, cx.run).await
    }
}
