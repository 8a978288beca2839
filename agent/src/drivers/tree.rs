//! Tree: what the drivers of directories and files have in common.

use std::path::Path;

use lazarette_core::{
    error::{Reason, ReasonedError},
    evidence::Evidence,
    units::ByteCount,
};

use crate::{
    driver::{Cx, DriverError},
    sink::Sink,
    source::Source,
    volume::{
        Extent, Volumes,
        exchange::{Exchange, Way},
        root::Root,
        worker::{Call, Listener, Seams, Workers},
    },
};

/// The tree itself in the component's directory.
const TREE: &str = "tree";
/// How large it is.
const EXTENT: &str = "extent.json";
/// Where what was read of each directory is remembered, so that it need not be read again.
const CACHES: &str = "/var/lib/lazarette-agent/caches";

/// Any error that knows its reason, as one of a driver's.
pub(super) fn failed<E: ReasonedError + Send + Sync + 'static>(
    doing: impl Into<String>,
) -> impl FnOnce(E) -> DriverError {
    let doing = doing.into();
    move |error| DriverError::new(error.reason(), doing, error)
}

/// What a child says goes to whoever listens to the driver.
#[derive(Clone, Copy, Debug)]
struct Heard<'a>(&'a Cx<'a>);

impl Listener for Heard<'_> {
    fn note(&self, text: String) {
        self.0.notes.note(self.0.component, text);
    }

    fn progress(&self, bytes: ByteCount) {
        self.0.notes.progress(self.0.component, bytes);
    }
}

/// Says `text` about the component.
pub(super) fn note(cx: &Cx<'_>, text: impl Into<String>) {
    cx.notes.note(cx.component, text.into());
}

fn volumes() -> Volumes {
    Volumes::new(Workers::default(), CACHES)
}

fn doing(verb: &str, cx: &Cx<'_>) -> String {
    format!("{verb} {}", cx.component.name)
}

/// Saves `root`, or what is at and below `only`.
pub(super) async fn save(
    cx: &Cx<'_>,
    root: &Root,
    only: &[Vec<u8>],
    sink: &mut Sink,
) -> Result<Evidence, DriverError> {
    let packs = sink.packs()?.clone();
    let (seams, heard) = (Seams::storing(packs.sink), Heard(cx));
    let call = Call { seams: &seams, listener: &heard, cancel: cx.cancel };
    let saved = volumes().save(root, only, &packs.key, call).await;
    let saved = saved.map_err(failed(doing("save", cx)))?;
    if saved.unchanged > 0 {
        note(cx, format!("{} unchanged files were not read again", saved.unchanged));
    }
    let extent = serde_json::to_string(&saved.extent)
        .map_err(|error| DriverError::new(Reason::Internal, doing("save", cx), error))?;
    sink.put_text(EXTENT, extent).await?;
    sink.put_node(TREE, saved.root, saved.extent.bytes)?;
    Ok(saved.evidence)
}

/// Restores into the place that `exchange` prepares. When that fails, nothing is left there.
pub(super) async fn restore(
    cx: &Cx<'_>,
    exchange: &Exchange,
    source: &Source,
) -> Result<(), DriverError> {
    let outcome = restore_beside(cx, exchange, source).await;
    if outcome.is_err()
        && let Err(error) = exchange.undo()
    {
        let left = lazarette_core::error::chain(&error);
        note(cx, format!("what was restored so far could not be removed: {left}"));
    }
    outcome
}

async fn restore_beside(
    cx: &Cx<'_>,
    exchange: &Exchange,
    source: &Source,
) -> Result<(), DriverError> {
    let extent = source.text(EXTENT).await?;
    let extent: Extent = serde_json::from_str(&extent).map_err(|error| {
        DriverError::new(Reason::RepositoryDamaged, doing("restore", cx), error)
    })?;
    let node = source.node(TREE).await?;
    let packs = source.packs()?.clone();
    let new = exchange.prepare().map_err(failed(doing("restore", cx)))?;
    let root = Root::of_engine(&new).map_err(failed(doing("restore", cx)))?;
    let (seams, heard) = (Seams::reading(packs.source), Heard(cx));
    let call = Call { seams: &seams, listener: &heard, cancel: cx.cancel };
    let restored = volumes().restore(&root, (node, extent), &packs.key, call).await;
    restored.map_err(failed(doing("restore", cx)))
}

/// Reads again what was restored beside.
pub(super) async fn verify(cx: &Cx<'_>, exchange: &Exchange) -> Result<Evidence, DriverError> {
    let root = Root::of_engine(&exchange.new_path());
    let root = root.map_err(failed(doing("verify", cx)))?;
    let (seams, heard) = (Seams::none(), Heard(cx));
    let call = Call { seams: &seams, listener: &heard, cancel: cx.cancel };
    volumes().verify(&root, call).await.map_err(failed(doing("verify", cx)))
}

/// The exchange that was prepared at `root` by this run.
pub(super) fn prepared(
    cx: &Cx<'_>,
    root: &Path,
    ways: &[Way],
) -> Result<Option<Exchange>, DriverError> {
    Exchange::find(root, ways, cx.run).map_err(failed(doing("find what was restored of", cx)))
}

/// Swaps, undoes or accepts.
pub(super) async fn on_disk(
    cx: &Cx<'_>,
    verb: &'static str,
    exchange: Exchange,
    act: fn(&Exchange) -> Result<(), crate::volume::exchange::ExchangeError>,
) -> Result<(), DriverError> {
    let done = tokio::task::spawn_blocking(move || act(&exchange)).await;
    let done = done.map_err(|error| DriverError::new(Reason::Internal, doing(verb, cx), error))?;
    done.map_err(failed(doing(verb, cx)))
}

/// Nothing was restored that could be worked on.
pub(super) fn nothing(cx: &Cx<'_>, verb: &str) -> DriverError {
    let what = "nothing of it was restored by this run";
    DriverError::new(Reason::RestoreFailed, doing(verb, cx), what)
}
