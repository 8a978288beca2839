//! Groups: which containers make a stack: Compose projects, and lone containers.

use std::collections::BTreeMap;

use bollard::models::ContainerInspectResponse;
use lazarette_core::{name::StackName, stack::Origin};

use super::{
    Found,
    labels::{CONFIG_FILES, Labels, PROJECT, SERVICE, WORKING_DIR},
    naming,
};

/// One container of a stack.
#[derive(Clone, Debug)]
pub(super) struct Member<'a> {
    pub(super) seen: &'a ContainerInspectResponse,
    pub(super) id: &'a str,
    pub(super) name: &'a str,
    pub(super) service: &'a str,
    pub(super) labels: Labels<'a>,
}

/// The containers of one stack, sorted by name.
#[derive(Clone, Debug)]
pub(super) struct Group<'a> {
    pub(super) name: StackName,
    /// As Compose calls it.
    pub(super) project: Option<&'a str>,
    pub(super) origin: Origin,
    pub(super) members: Vec<Member<'a>>,
    pub(super) warnings: Vec<String>,
}

impl Group<'_> {
    /// The project directory, when it is one that may be read.
    pub(super) fn root(&self) -> Option<&str> {
        match &self.origin {
            Origin::Compose { working_dir, .. } => working_dir.as_deref(),
            Origin::Container => None,
        }
    }

    pub(super) fn is_member(&self, container: &str) -> bool {
        self.members.iter().any(|member| member.name == container)
    }
}

/// The stacks of a host, sorted by name.
pub(super) fn groups(found: &Found) -> Vec<Group<'_>> {
    let mut projects: BTreeMap<&str, Vec<Member<'_>>> = BTreeMap::new();
    let mut lone = Vec::new();
    for seen in &found.containers {
        let (Some(id), Some(name)) = (seen.id.as_deref(), seen.name.as_deref()) else { continue };
        let name = name.trim_start_matches('/');
        let labels = Labels::of(seen, &found.images);
        let service = labels.of_compose(SERVICE).unwrap_or(name);
        let member = Member { seen, id, name, service, labels };
        match labels.of_compose(PROJECT) {
            Some(project) => projects.entry(project).or_default().push(member),
            None => lone.push(member),
        }
    }
    let mut names = naming::Names::default();
    let mut groups = Vec::new();
    for (project, mut members) in projects {
        members.sort_by_key(|member| member.name);
        let Some(name) = names.stack(project) else { continue };
        let (origin, warnings) = compose_origin(&members);
        groups.push(Group { name, project: Some(project), origin, members, warnings });
    }
    lone.sort_by_key(|member| member.name);
    for member in lone {
        let Some(name) = names.stack(member.name) else { continue };
        let (origin, members) = (Origin::Container, vec![member]);
        groups.push(Group { name, project: None, origin, members, warnings: Vec::new() });
    }
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    groups
}

fn compose_origin(members: &[Member<'_>]) -> (Origin, Vec<String>) {
    let mut warnings = Vec::new();
    let label = |key: &str| members.iter().find_map(|member| member.labels.get(key));
    let mut working_dir = label(WORKING_DIR).map(|it| it.trim_end_matches('/').to_owned());
    let says = |member: &Member<'_>| member.labels.get(WORKING_DIR).map(str::to_owned);
    let others = members.iter().filter_map(says);
    let others = others.map(|it| it.trim_end_matches('/').to_owned());
    if others.clone().any(|other| Some(&other) != working_dir.as_ref()) {
        warnings.push("containers of the project name different project directories".to_owned());
    }
    if let Some(directory) = working_dir.take_if(|it| !may_be_project(it)) {
        let shown = directory.escape_debug();
        warnings.push(format!("`{shown}` cannot be a project directory: its files are not saved"));
    }
    let config_files = label(CONFIG_FILES).unwrap_or_default();
    let config_files = config_files.split(',').map(str::trim).filter(|it| !it.is_empty());
    let config_files = config_files.map(str::to_owned).collect();
    (Origin::Compose { working_dir, config_files }, warnings)
}

/// A project directory is absolute, and not one of the system's: everything below it is taken for
/// the project's own.
fn may_be_project(directory: &str) -> bool {
    const SYSTEM: [&str; 13] = [
        "/bin",
        "/boot",
        "/dev",
        "/etc",
        "/lib",
        "/proc",
        "/run",
        "/sbin",
        "/sys",
        "/usr",
        "/var/lib/docker",
        "/var/run",
        "/var/lib/containerd",
    ];
    const ITSELF: [&str; 5] = ["", "/home", "/root", "/var", "/var/lib"];
    let plain = naming::is_plain_path(directory);
    let below = |system: &str| {
        directory.strip_prefix(system).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    plain && !ITSELF.contains(&directory) && !SYSTEM.iter().any(|it| below(it))
}
