//! Snapshot: `ctl snapshot`.

use lazarette_core::snapshot::Snapshot;
use lazarette_proto::{
    controller::v1::{GetSnapshotRequest, ListSnapshotFilesRequest, ListSnapshotsRequest},
    convert::Required as _,
};

use crate::{
    args::{SnapshotVerb, SnapshotWord},
    connect::{Connection, refused},
    error::{CtlError, Exit},
    output::Output,
    view::snapshot::{FileView, SnapshotView},
};

pub(super) async fn run(
    verb: SnapshotVerb,
    connection: &Connection,
    output: &mut Output,
) -> Result<Exit, CtlError> {
    match verb {
        SnapshotVerb::List { stack } => {
            let request = ListSnapshotsRequest { address: stack.map(|it| it.to_string()) };
            let answer = connection.snapshots().list_snapshots(request).await;
            let snapshots = answer.map_err(refused("list snapshots"))?.into_inner().snapshots;
            let views: Result<Vec<SnapshotView>, _> =
                snapshots.into_iter().map(|it| Snapshot::try_from(it).map(Into::into)).collect();
            output.show(&views.map_err(CtlError::strange("list snapshots"))?)?;
        }
        SnapshotVerb::Show { snapshot } => {
            let doing = format!("look at snapshot {snapshot}");
            let request = GetSnapshotRequest { snapshot: snapshot.to_string() };
            let answer = connection.snapshots().get_snapshot(request).await;
            let snapshot = answer.map_err(refused(&doing))?.into_inner().snapshot;
            let snapshot = snapshot.required("snapshot").and_then(Snapshot::try_from);
            output.show(&SnapshotView::from(snapshot.map_err(CtlError::strange(doing))?))?;
        }
        SnapshotVerb::Files { snapshot, path } => {
            files(connection, output, &snapshot, path).await?;
        }
    }
    Ok(Exit::Done)
}

async fn files(
    connection: &Connection,
    output: &mut Output,
    snapshot: &SnapshotWord,
    path: String,
) -> Result<(), CtlError> {
    let doing = format!("list the files of snapshot {snapshot}");
    let request = ListSnapshotFilesRequest { snapshot: snapshot.to_string(), path };
    let answer = connection.snapshots().list_snapshot_files(request).await;
    let mut files = answer.map_err(refused(&doing))?.into_inner();
    while let Some(file) = files.message().await.map_err(refused(&doing))? {
        output.show_item(&FileView::try_from(file).map_err(CtlError::strange(&doing))?)?;
    }
    output.end_list()
}
