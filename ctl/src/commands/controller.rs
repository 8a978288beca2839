//! Controller: `ctl controller`.

use lazarette_proto::controller::v1::GetControllerRequest;

use crate::{
    args::ControllerVerb,
    connect::{Connection, refused},
    error::{CtlError, Exit},
    output::Output,
    view::controller::ControllerView,
};

pub(super) async fn run(
    verb: ControllerVerb,
    connection: &Connection,
    output: &mut Output,
) -> Result<Exit, CtlError> {
    let ControllerVerb::Show = verb;
    let doing = "look at the controller";
    let answer = connection.controller().get_controller(GetControllerRequest {}).await;
    let view = ControllerView::try_from(answer.map_err(refused(doing))?.into_inner());
    output.show(&view.map_err(CtlError::strange(doing))?)?;
    Ok(Exit::Done)
}
