//! Host: `ctl host`.

use std::time::Duration;

use lazarette_core::{
    error::{Failure, Reason},
    name::HostName,
};
use lazarette_proto::{
    controller::v1::{
        DrainHostRequest, InviteHostRequest, ListHostsRequest, ListHostsResponse,
        RemoveHostRequest, RenameHostRequest,
    },
    convert::from_wire_time,
};

use crate::{
    args::HostVerb,
    ask,
    connect::{Connection, refused},
    error::{CtlError, Exit},
    output::Output,
    table,
    view::host::{DrainedView, HostView, HostsView, InviteView, RemovedView, RenamedView},
};

pub(super) async fn run(
    verb: HostVerb,
    connection: &Connection,
    output: &mut Output,
) -> Result<Exit, CtlError> {
    match verb {
        HostVerb::List => {
            output.show(&list(connection).await?)?;
        }
        HostVerb::Show { host } => {
            let hosts = list(connection).await?.hosts;
            let found = hosts.into_iter().find(|it| it.name() == host.as_str());
            let found = found.ok_or_else(|| {
                let failure =
                    Failure::new(Reason::HostUnknown, format!("there is no host `{host}`"));
                CtlError::Refused { doing: format!("show {host}"), failure }
            })?;
            output.show(&found)?;
        }
        HostVerb::Rename { host, new_name } => {
            let request =
                RenameHostRequest { host: host.to_string(), new_name: new_name.to_string() };
            let answer = connection.hosts().rename_host(request).await;
            answer.map_err(refused(format!("rename {host}")))?;
            output.show(&RenamedView { renamed: host, name: new_name })?;
        }
        HostVerb::Drain { host, undo } => {
            let request = DrainHostRequest { host: host.to_string(), drained: !undo };
            let answer = connection.hosts().drain_host(request).await;
            let open_run_ids =
                answer.map_err(refused(format!("drain {host}")))?.into_inner().open_run_ids;
            output.show(&DrainedView { host, drained: !undo, open_run_ids })?;
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

async fn list(connection: &Connection) -> Result<HostsView, CtlError> {
    let answer = connection.hosts().list_hosts(ListHostsRequest {}).await;
    let ListHostsResponse { hosts, controller_warnings } =
        answer.map_err(refused("list hosts"))?.into_inner();
    let hosts: Result<Vec<HostView>, _> = hosts.into_iter().map(TryInto::try_into).collect();
    let hosts = hosts.map_err(CtlError::strange("list hosts"))?;
    Ok(HostsView { hosts, controller_warnings })
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
