//! Volumes and bind mounts: directories of this host, exchanged as H9 allows.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use lazarette_core::{
    component::ComponentKind,
    error::{Reason, ReasonedError as _},
    evidence::Evidence,
};

use super::tree;
use crate::{
    docker::DockerError,
    driver::{Cx, Driver, DriverError, Inspection},
    sink::Sink,
    source::Source,
    volume::{
        exchange::{Exchange, Way},
        root::{Found, Root},
    },
};

mod target;

use self::target::{Mounter, Target};

/// In the order in which they are looked for.
const WAYS: [Way; 4] = [Way::Directory, Way::Entries, Way::Paths, Way::Content];

/// The driver of directories that containers mount.
#[derive(Debug)]
pub struct Directory {
    word: &'static str,
}

/// The driver of named volumes.
pub const VOLUME: Directory = Directory { word: "volume" };
/// The driver of bind mounts.
pub const BIND: Directory = Directory { word: "bind" };

/// What a component is on this host, now.
#[derive(Debug)]
struct Place {
    target: Target,
    mounters: Vec<Mounter>,
}

async fn place(cx: &Cx<'_>) -> Result<Option<Place>, DriverError> {
    let failed = |error: DockerError| {
        DriverError::new(error.reason(), format!("look at {}", cx.component.name), error)
    };
    let target = match &cx.component.kind {
        ComponentKind::Volume { volume, .. } => match cx.docker.volume(volume).await {
            Err(error) if error.is_gone() => return Ok(None),
            seen => target::of_volume(&seen.map_err(failed)?),
        },
        ComponentKind::Bind { path, .. } => Ok(Target::of_path(path)),
        ComponentKind::Database { .. }
        | ComponentKind::Files { .. }
        | ComponentKind::Definition => Err("it is no directory".to_owned()),
    };
    let target = target.map_err(|why| {
        DriverError::new(Reason::StackUnsupported, format!("look at {}", cx.component.name), why)
    })?;
    let containers = cx.docker.containers().await.map_err(failed)?;
    let mounters = target::running(&containers, &target);
    Ok(Some(Place { target, mounters }))
}

async fn present(cx: &Cx<'_>) -> Result<Place, DriverError> {
    place(cx).await?.ok_or_else(|| {
        let what = "there is no such volume: make it with `docker volume create` and try again";
        DriverError::new(Reason::StackUnsupported, format!("look at {}", cx.component.name), what)
    })
}

impl Place {
    /// What is there, opened.
    fn open(&self, cx: &Cx<'_>) -> Result<Found, DriverError> {
        let path = &self.target.path;
        let found = if self.target.is_engines() {
            Root::of_engine(path).map(Found::Directory)
        } else {
            Root::find(path)
        };
        let found = found.map_err(tree::failed(format!("open {}", cx.component.name)))?;
        if let Found::Directory(root) = &found
            && self.target.must_be_mounted
            && !root.is_mount()
        {
            let what = "its file system is mounted only while a container uses it: start one";
            let doing = format!("open {}", cx.component.name);
            return Err(DriverError::new(Reason::StackUnsupported, doing, what));
        }
        Ok(found)
    }

    /// How it is exchanged, and at which directory.
    fn way(&self, found: &Found) -> (Way, PathBuf) {
        match found {
            Found::Directory(root) => {
                let is_plain = self.target.is_plain && !root.is_mount() && self.mounters.is_empty();
                let way = if is_plain { Way::Directory } else { Way::Entries };
                (way, root.path().to_path_buf())
            }
            // A container that runs would keep the old file mounted.
            Found::File(outer, _) if self.mounters.is_empty() => {
                (Way::Paths, outer.path().to_path_buf())
            }
            Found::File(outer, _) => (Way::Content, outer.path().to_path_buf()),
        }
    }

    /// What this run has restored here.
    fn prepared(&self, cx: &Cx<'_>) -> Result<Option<Exchange>, DriverError> {
        let path = &self.target.path;
        let outer = path.parent().unwrap_or(path);
        let is_there = |path: &Path| path.symlink_metadata().is_ok();
        if path.is_dir() || !is_there(outer) {
            return tree::prepared(cx, path, &WAYS[..2]);
        }
        tree::prepared(cx, outer, &WAYS[2..])
    }
}

#[async_trait]
impl Driver for Directory {
    fn word(&self) -> &'static str {
        self.word
    }

    async fn inspect(&self, cx: &Cx<'_>) -> Result<Inspection, DriverError> {
        let place = present(cx).await?;
        let (way, _) = place.way(&place.open(cx)?);
        Ok(Inspection { notes: vec![format!("restore: {way}")], ..Inspection::default() })
    }

    async fn dump(&self, cx: &Cx<'_>, sink: &mut Sink) -> Result<Evidence, DriverError> {
        let place = present(cx).await?;
        for it in place.mounters.iter().filter(|it| it.writes) {
            tree::note(cx, format!("container `{}` runs and may write to it meanwhile", it.name));
        }
        match place.open(cx)? {
            Found::Directory(root) => tree::save(cx, &root, &[], sink).await,
            Found::File(outer, name) => tree::save(cx, &outer, &[name], sink).await,
        }
    }

    async fn restore(&self, cx: &Cx<'_>, source: &mut Source) -> Result<(), DriverError> {
        let place = present(cx).await?;
        let (way, root) = place.way(&place.open(cx)?);
        for it in &place.mounters {
            let what = "it runs and has it mounted: it sees the restored files at once";
            tree::note(cx, format!("container `{}`: {what}", it.name));
        }
        let exchange = Exchange::of(&root, way, cx.run);
        let exchange = exchange.map_err(tree::failed(format!("restore {}", cx.component.name)))?;
        tree::restore(cx, &exchange, source).await
    }

    async fn verify(&self, cx: &Cx<'_>, saved: &Evidence) -> Result<Evidence, DriverError> {
        let place = present(cx).await?;
        let exchange = place.prepared(cx)?.ok_or_else(|| tree::nothing(cx, "verify"))?;
        let is_done = exchange.is_done();
        if is_done.map_err(tree::failed(format!("verify {}", cx.component.name)))? {
            return Ok(saved.clone()); // it was verified before it was put in its place
        }
        tree::verify(cx, &exchange).await
    }

    async fn swap(&self, cx: &Cx<'_>) -> Result<(), DriverError> {
        let place = present(cx).await?;
        let exchange = place.prepared(cx)?.ok_or_else(|| tree::nothing(cx, "put in place"))?;
        if exchange.way() == Way::Directory
            && let Some(it) = place.mounters.first()
        {
            let what = format!("container `{}` was started meanwhile; stop it", it.name);
            let doing = format!("put {} in place", cx.component.name);
            return Err(DriverError::new(Reason::WritersActive, doing, what));
        }
        tree::on_disk(cx, "put in place", exchange, Exchange::swap).await
    }

    async fn undo(&self, cx: &Cx<'_>) -> Result<(), DriverError> {
        let Some(place) = place(cx).await? else { return Ok(()) };
        match place.prepared(cx)? {
            Some(exchange) => tree::on_disk(cx, "undo", exchange, Exchange::undo).await,
            None => Ok(()),
        }
    }

    async fn accept(&self, cx: &Cx<'_>) -> Result<(), DriverError> {
        let Some(place) = place(cx).await? else { return Ok(()) };
        match place.prepared(cx)? {
            Some(exchange) => tree::on_disk(cx, "accept", exchange, Exchange::accept).await,
            None => Ok(()),
        }
    }
}
