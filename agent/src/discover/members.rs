//! Members: what each container of a stack is to a backup, and why it may not be touched.

use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum, HostConfig};
use lazarette_core::stack::{ContainerSeen, ContainerState, Part};

use super::{
    engine::{Engine, recognise},
    group::{Group, Member},
    labels::{DEPENDS_ON, ONE_OFF, SWARM_TASK, is_yes},
};
use crate::docker::{RestartPolicy, own_grace};

/// A member, understood.
#[derive(Clone, Debug)]
pub(super) struct Known<'a> {
    pub(super) member: Member<'a>,
    pub(super) seen: ContainerSeen,
    pub(super) engine: Option<Engine>,
}

/// The containers of a group, in its order.
pub(super) fn known<'a>(group: &Group<'a>) -> Vec<Known<'a>> {
    let one = |member: &Member<'a>| {
        let engine = recognise(member.seen);
        let state = state(member.seen);
        let config = member.seen.config.as_ref();
        let has_health_check = config.and_then(|it| it.healthcheck.as_ref()).is_some_and(|it| {
            it.test.as_ref().and_then(|test| test.first()).is_some_and(|it| it != "NONE")
        });
        let grace = own_grace(config.and_then(|it| it.stop_timeout));
        let seen = ContainerSeen {
            id: member.id.to_owned(),
            name: member.name.to_owned(),
            service: member.service.to_owned(),
            image: config.and_then(|it| it.image.clone()).unwrap_or_default(),
            state,
            needs: needs(group, member),
            part: part(member, state, engine.is_some()),
            has_health_check,
            stop_timeout_seconds: u32::try_from(grace.as_secs()).unwrap_or(u32::MAX),
        };
        Known { member: member.clone(), seen, engine }
    };
    group.members.iter().map(one).collect()
}

fn state(container: &ContainerInspectResponse) -> ContainerState {
    let state = container.state.as_ref();
    let is = |flag: Option<bool>| flag.unwrap_or(false);
    if state.is_some_and(|it| is(it.restarting)) {
        ContainerState::Restarting
    } else if state.is_some_and(|it| is(it.paused)) {
        ContainerState::Paused
    } else if state.is_some_and(|it| is(it.running)) {
        ContainerState::Running
    } else {
        ContainerState::Stopped
    }
}

fn part(member: &Member<'_>, state: ContainerState, is_engine: bool) -> Part {
    let one_off = is_yes(member.labels.of_compose(ONE_OFF));
    if one_off {
        return Part::OneShot;
    }
    if is_engine {
        return Part::Database;
    }
    let about = member.seen.state.as_ref();
    let exited = about.and_then(|it| it.status) == Some(ContainerStateStatusEnum::EXITED);
    let well = about.and_then(|it| it.exit_code) == Some(0);
    let stays = restart_policy(member) == RestartPolicy::No;
    if state == ContainerState::Stopped && exited && well && stays {
        return Part::OneShot;
    }
    Part::Application
}

fn restart_policy(member: &Member<'_>) -> RestartPolicy {
    let host = member.seen.host_config.as_ref();
    RestartPolicy::of(host.and_then(|it| it.restart_policy.as_ref()))
}

/// Containers of the group that `member` cannot be without (H19), by name, sorted.
fn needs(group: &Group<'_>, member: &Member<'_>) -> Vec<String> {
    let services = member.labels.get(DEPENDS_ON).unwrap_or_default().split(',');
    let services = services.filter_map(|it| it.split(':').next()).map(str::trim);
    let by_service = services.flat_map(|service| {
        group.members.iter().filter(move |other| !service.is_empty() && other.service == service)
    });
    let host = member.seen.host_config.as_ref();
    let references = host.map(references).unwrap_or_default();
    let by_reference = group.members.iter().filter(|other| {
        let is = |reference: &String| {
            reference == other.name || (reference.len() >= 12 && other.id.starts_with(reference))
        };
        references.iter().any(is)
    });
    let mut needs: Vec<String> = by_service
        .chain(by_reference)
        .filter(|other| other.id != member.id)
        .map(|other| other.name.to_owned())
        .collect();
    needs.sort_unstable();
    needs.dedup();
    needs
}

/// Containers that a container shares something with, by name or id.
fn references(host: &HostConfig) -> Vec<String> {
    let modes = [&host.network_mode, &host.ipc_mode, &host.pid_mode];
    let modes = modes.into_iter().flatten().filter_map(|it| it.strip_prefix("container:"));
    let from = host.volumes_from.iter().flatten().filter_map(|it| it.split(':').next());
    let links = host.links.iter().flatten().filter_map(|it| it.split(':').next());
    let all = modes.chain(from).chain(links);
    all.map(|it| it.trim_start_matches('/').to_owned()).filter(|it| !it.is_empty()).collect()
}

/// Why the stack cannot be held as it is, each with the way out (H13, H20).
pub(super) fn refusals(known: &[Known<'_>]) -> Vec<String> {
    let mut refusals = Vec::new();
    for it in known {
        let name = it.member.name;
        let host = it.member.seen.host_config.as_ref();
        let runs = it.seen.state != ContainerState::Stopped;
        if it.member.labels.get(SWARM_TASK).is_some() {
            refusals.push(format!(
                "container `{name}` is a task of a Swarm, which would replace it: Swarm services \
                 are not backed up"
            ));
        } else if runs && it.seen.part == Part::OneShot {
            refusals
                .push(format!("the one-off container `{name}` runs: wait for its end, or stop it"));
        } else if runs && is_removed(host) && it.seen.part == Part::Application {
            refusals.push(format!(
                "container `{name}` removes itself and its anonymous volumes when it is stopped \
                 (--rm): stop it, or run it without --rm"
            ));
        }
    }
    refusals
}

fn is_removed(host: Option<&HostConfig>) -> bool {
    host.and_then(|it| it.auto_remove).unwrap_or(false)
}

/// What disturbs: programs that restart or replace containers of others (H20).
pub(super) fn disturbs(container: &ContainerInspectResponse) -> bool {
    const DISTURBERS: [&str; 3] = ["watchtower", "autoheal", "ouroboros"];
    let image = container.config.as_ref().and_then(|it| it.image.as_deref()).unwrap_or_default();
    let runs = state(container) != ContainerState::Stopped;
    runs && DISTURBERS.iter().any(|it| image.contains(it))
}
