//! Files: the project's own, read where they are, written back only when they are asked for (H11).

use std::path::Path;

use async_trait::async_trait;
use lazarette_core::{component::ComponentKind, error::Reason, evidence::Evidence};

use super::tree;
use crate::{
    driver::{Cx, Driver, DriverError, Inspection},
    sink::Sink,
    source::Source,
    volume::{
        exchange::{Exchange, FileDifference, Way},
        root::Root,
    },
};

/// The driver of project files.
#[derive(Debug)]
pub struct Files;

/// The project directory and the files in it.
fn files<'a>(cx: &Cx<'a>) -> Result<(&'a Path, Vec<Vec<u8>>), DriverError> {
    let refused = |what: String| {
        let doing = format!("look at {}", cx.component.name);
        DriverError::new(Reason::InvalidInput, doing, what)
    };
    let ComponentKind::Files { root, paths } = &cx.component.kind else {
        return Err(refused("it is no set of files".to_owned()));
    };
    for path in paths {
        let is_name = |name: &str| !matches!(name, "" | "." | "..") && !name.contains('\0');
        if !path.split('/').all(is_name) {
            return Err(refused(format!("`{}` leads out of the project", path.escape_debug())));
        }
    }
    Ok((Path::new(root), paths.iter().map(|path| path.as_bytes().to_vec()).collect()))
}

#[async_trait]
impl Driver for Files {
    fn word(&self) -> &'static str {
        "files"
    }

    async fn inspect(&self, _cx: &Cx<'_>) -> Result<Inspection, DriverError> {
        Ok(Inspection::default())
    }

    async fn dump(&self, cx: &Cx<'_>, sink: &mut Sink) -> Result<Evidence, DriverError> {
        let (root, paths) = files(cx)?;
        let root = Root::named(root);
        let root = root.map_err(tree::failed(format!("save {}", cx.component.name)))?;
        for path in root.missing(&paths) {
            tree::note(cx, format!("there is no `{path}`, or only by way of a link"));
        }
        if paths.is_empty() {
            let what = "it has no files";
            let doing = format!("save {}", cx.component.name);
            return Err(DriverError::new(Reason::InvalidInput, doing, what));
        }
        tree::save(cx, &root, &paths, sink).await
    }

    async fn restore(&self, cx: &Cx<'_>, source: &mut Source) -> Result<(), DriverError> {
        let (root, _) = files(cx)?;
        let failed = || format!("restore {}", cx.component.name);
        let exchange = Exchange::of(root, Way::Paths, cx.run).map_err(tree::failed(failed()))?;
        tree::restore(cx, &exchange, source).await?;
        for FileDifference { path, what } in
            exchange.differences().map_err(tree::failed(failed()))?
        {
            tree::note(cx, format!("`{path}` {what}"));
        }
        Ok(())
    }

    async fn verify(&self, cx: &Cx<'_>, saved: &Evidence) -> Result<Evidence, DriverError> {
        let exchange = prepared(cx)?.ok_or_else(|| tree::nothing(cx, "verify"))?;
        let is_done = exchange.is_done();
        if is_done.map_err(tree::failed(format!("verify {}", cx.component.name)))? {
            return Ok(saved.clone()); // it was verified before it was put in its place
        }
        tree::verify(cx, &exchange).await
    }

    async fn swap(&self, cx: &Cx<'_>) -> Result<(), DriverError> {
        let exchange = prepared(cx)?.ok_or_else(|| tree::nothing(cx, "put in place"))?;
        tree::on_disk(cx, "put in place", exchange, Exchange::swap).await
    }

    async fn undo(&self, cx: &Cx<'_>) -> Result<(), DriverError> {
        match prepared(cx)? {
            Some(exchange) => tree::on_disk(cx, "undo", exchange, Exchange::undo).await,
            None => Ok(()),
        }
    }

    async fn accept(&self, cx: &Cx<'_>) -> Result<(), DriverError> {
        match prepared(cx)? {
            Some(exchange) => tree::on_disk(cx, "accept", exchange, Exchange::accept).await,
            None => Ok(()),
        }
    }
}

fn prepared(cx: &Cx<'_>) -> Result<Option<Exchange>, DriverError> {
    let (root, _) = files(cx)?;
    tree::prepared(cx, root, &[Way::Paths])
}
