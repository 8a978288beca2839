//! Host: `ctl host`.

use std::time::Duration;

use lazarette_core::name::HostName;
use lazarette_proto::{
    controller::v1::{InviteHostRequest, ListHostsRequest, ListHostsResponse, RemoveHostRequest},
    convert::from_wire_time,
};

use crate::{
    args::HostVerb,
    ask,
    connect::{Connection, refused},
    error::{CtlError, Exit},
    output::Output,
    table,
    view::host::{HostView, HostsView, InviteView, RemovedView},
};

pub(super) async fn run(
    verb: HostVerb,
    connection: &Connection,
    output: &mut Output,
) -> Result<Exit, CtlError> {
    match verb {
        HostVerb::List => {
            let answer = connection.hosts().list_hosts(ListHostsRequest {}).await;
            let ListHostsResponse { hosts, controller_warnings } =
                answer.map_err(refused("list hosts"))?.into_inner();
            let hosts: Result<Vec<HostView>, _> =
                hosts.into_iter().map(TryInto::try_into).collect();
            let hosts = hosts.map_err(CtlError::strange("list hosts"))?;
            output.show(&HostsView { hosts, controller_warnings })?;
        }
        HostVerb::Invite { host, valid } => {
            let invited = invite(connection, host, valid).await?;
            output.show(&invited)?;
            if !output.is_json() {
                let ends = table::time(invited.expire_time);
                output.say(&format!(
                    "on {}: lazarette-agent enroll TOKEN   (once, until {ends})",
                    invited.host
                ));
            }
        }
        HostVerb::Remove { host, yes } => {
            let question = format!("Remove {host}, so that its agent is refused from now on?");
            ask::confirm(output, yes, &question).await?;
            let request = RemoveHostRequest { host: host.to_string() };
            let answer = connection.hosts().remove_host(request).await;
            answer.map_err(refused(format!("remove {host}")))?;
            output.show(&RemovedView { removed: host })?;
        }
    }
    Ok(Exit::Done)
}

async fn invite(
    connection: &Connection,
    host: HostName,
    valid: Duration,
) -> Result<InviteView, CtlError> {
    let doing = format!("invite {host}");
    let valid_period = prost_types::Duration::try_from(valid).ok();
    let request = InviteHostRequest { host: host.to_string(), valid_period };
    let answer = connection.hosts().invite_host(request).await;
    let answer = answer.map_err(refused(&doing))?.into_inner();
    let expire_time = from_wire_time("expire_time", answer.expire_time);
    let expire_time = expire_time.map_err(CtlError::strange(&doing))?;
    Ok(InviteView { host, token: answer.token, expire_time })
}
