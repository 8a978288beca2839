//! Catalog: `ctl catalog`.

use lazarette_proto::controller::v1::RebuildCatalogRequest;

use crate::{
    args::CatalogVerb,
    ask,
    connect::{Connection, refused},
    error::{CtlError, Exit},
    output::Output,
    view::repository::CatalogView,
};

const QUESTION: &str =
    "Recovery passphrase (nothing when this controller has the keys; it is not shown): ";

pub(super) async fn run(
    verb: CatalogVerb,
    connection: &Connection,
    output: &mut Output,
) -> Result<Exit, CtlError> {
    let CatalogVerb::Rebuild { passphrase_file } = verb;
    let passphrase = ask::passphrase(output, passphrase_file.as_deref(), QUESTION)?;
    let request = RebuildCatalogRequest { recovery_passphrase: passphrase.to_string() };
    let answer = connection.repositories().rebuild_catalog(request).await;
    let view = CatalogView::from(answer.map_err(refused("rebuild the catalog"))?.into_inner());
    output.show(&view)?;
    Ok(if view.problems.is_empty() { Exit::Done } else { Exit::InPart })
}
