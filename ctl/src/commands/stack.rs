//! Stack: `ctl stack`.

use lazarette_proto::{
    controller::v1::{GetStackRequest, ListStacksRequest},
    convert::Required as _,
};

use crate::{
    args::StackVerb,
    connect::{Connection, refused},
    error::{CtlError, Exit},
    escape,
    output::Output,
    view::stack::{StackView, StacksView},
};

pub(super) async fn run(
    verb: StackVerb,
    connection: &Connection,
    output: &mut Output,
) -> Result<Exit, CtlError> {
    match verb {
        StackVerb::List { host } => {
            let request = ListStacksRequest { host: host.map(|it| it.to_string()) };
            let answer = connection.stacks().list_stacks(request).await;
            let answer = answer.map_err(refused("list stacks"))?.into_inner();
            let views: Result<Vec<StackView>, _> =
                answer.stacks.into_iter().map(TryInto::try_into).collect();
            output.show(&StacksView(views.map_err(CtlError::strange("list stacks"))?))?;
            for host in &answer.unreachable {
                output.say(&format!("warning: not asked: {}", escape::line(host)));
            }
            Ok(if answer.unreachable.is_empty() { Exit::Done } else { Exit::InPart })
        }
        StackVerb::Show { stack } => {
            let doing = format!("look at stack {stack}");
            let request = GetStackRequest { address: stack.to_string() };
            let answer = connection.stacks().get_stack(request).await;
            let stack = answer.map_err(refused(&doing))?.into_inner().stack.required("stack");
            let view = stack.and_then(StackView::try_from).map_err(CtlError::strange(doing))?;
            output.show(&view)?;
            Ok(Exit::Done)
        }
    }
}
