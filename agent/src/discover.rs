//! Discovery: what stacks a host has, what of them would be saved, and what would not.
//!
//! Three steps: look at the Engine, look at the ground (files and places on the host that its
//! documents name), and propose, which is pure. Labels and files are input of others: what an image
//! says is not believed, and nothing is followed out of a project's directory (H12).

mod components;
mod compose;
mod engine;
mod files;
mod ground;
mod group;
mod labels;
mod members;
mod naming;
mod size;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use bollard::models::{ContainerInspectResponse, ImageInspect, Volume};
use lazarette_core::{
    name::StackName,
    stack::{StackSeen, Uncovered},
};

use self::{
    components::{Inventory, Left},
    group::{Group, groups},
    members::{disturbs, known, refusals},
};
use crate::{
    docker::{Docker, DockerError},
    policy::Policy,
};

/// What the Engine has, as it says it.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Every container, running or not.
    pub containers: Vec<ContainerInspectResponse>,
    /// Every volume.
    pub volumes: Vec<Volume>,
    /// The images of the containers, by id.
    pub images: BTreeMap<String, ImageInspect>,
}

/// What the host has where the Engine's documents point.
#[derive(Clone, Debug, Default)]
pub struct Ground {
    /// The files of each project.
    pub files: BTreeMap<StackName, ProjectFiles>,
    /// Bind sources and project directories, by path.
    pub places: BTreeMap<String, Place>,
    /// What database servers said of themselves, by container name; none that could not be asked.
    pub servers: BTreeMap<String, Server>,
}

/// What a database server said of itself, asked by its driver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// As it reports it.
    pub version: String,
    /// One line a database: its name and how it will be restored (H6).
    pub notes: Vec<String>,
    /// Where it keeps its data, in the container (H10).
    pub data_dirs: Vec<String>,
    /// Why it could not be asked; empty when it could.
    pub silent: String,
}

/// The files of a project: compose files, `.env`, and what they refer to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProjectFiles {
    /// The project directory.
    pub root: String,
    /// Relative to it, sorted.
    pub paths: Vec<String>,
    /// What is missing, outside, or not understood.
    pub warnings: Vec<String>,
}

/// A path of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What is there.
    pub kind: PlaceKind,
    /// Where it is when all links are followed; none when it cannot be told.
    pub resolved: Option<PathBuf>,
}

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceKind {
    /// A directory.
    Directory,
    /// A file.
    File,
    /// A socket.
    Socket,
    /// A device, a FIFO.
    Other,
    /// Nothing.
    Missing,
}

/// The stacks of the host of `docker`, sorted by name.
///
/// # Errors
///
/// [`DockerError`] when the Engine cannot be asked.
pub async fn discover(docker: &Docker, policy: &Policy) -> Result<Vec<StackSeen>, DockerError> {
    let found = look(docker).await?;
    let policy = policy.clone();
    Ok(blocking(move || {
        let ground = ground::look(&groups(&found));
        let proposals = propose(&found, &ground, &policy);
        proposals.into_iter().map(Proposal::measured).collect()
    })
    .await)
}

/// One stack, or none of that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sought {
    /// It is there.
    Found(Box<StackSeen>),
    /// There are only these.
    Unknown {
        /// The names of all stacks.
        known: Vec<String>,
    },
}

/// The stack of that name, with what its database `servers` said of themselves.
///
/// # Errors
///
/// [`DockerError`] when the Engine cannot be asked.
pub async fn find(
    docker: &Docker,
    policy: &Policy,
    stack: &StackName,
    servers: BTreeMap<String, Server>,
) -> Result<Sought, DockerError> {
    let found = look(docker).await?;
    let (policy, stack) = (policy.clone(), stack.clone());
    Ok(blocking(move || {
        let ground = Ground { servers, ..ground::look(&groups(&found)) };
        let mut proposals = propose(&found, &ground, &policy);
        let Some(at) = proposals.iter().position(|it| it.seen.name == stack) else {
            let known = proposals.into_iter().map(|it| it.seen.name.to_string()).collect();
            return Sought::Unknown { known };
        };
        Sought::Found(Box::new(proposals.swap_remove(at).measured()))
    })
    .await)
}

/// Runs what blocks on files.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

/// The ids of the containers of `stack`, sorted by the containers' names; none when there is no
/// such stack.
///
/// # Errors
///
/// [`DockerError`] when the Engine cannot be asked.
pub async fn containers_of(docker: &Docker, stack: &StackName) -> Result<Vec<String>, DockerError> {
    let found = look(docker).await?;
    let group = groups(&found).into_iter().find(|group| group.name == *stack);
    let members = group.map(|group| group.members).unwrap_or_default();
    Ok(members.into_iter().map(|member| member.id.to_owned()).collect())
}

/// Asks the Engine for everything that discovery needs.
///
/// # Errors
///
/// [`DockerError`].
pub async fn look(docker: &Docker) -> Result<Found, DockerError> {
    let containers = docker.containers().await?;
    let volumes = docker.volumes().await?;
    let ids: BTreeSet<&String> = containers.iter().filter_map(|it| it.image.as_ref()).collect();
    let mut images = BTreeMap::new();
    for id in ids {
        match docker.image(id).await {
            Ok(image) => {
                images.insert(id.clone(), image);
            }
            Err(error) if error.is_gone() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Found { containers, volumes, images })
}

/// A stack as it would be saved, before sizes are known.
#[derive(Clone, Debug)]
pub struct Proposal {
    seen: StackSeen,
    left: Vec<Left>,
}

/// What there is to save, and what is left: decided from documents alone.
pub fn propose(found: &Found, ground: &Ground, policy: &Policy) -> Vec<Proposal> {
    let disturbers = found.containers.iter().filter(|it| disturbs(it));
    let disturbers: Vec<&str> = disturbers
        .filter_map(|it| it.name.as_deref())
        .map(|name| name.trim_start_matches('/'))
        .collect();
    let groups = groups(found);
    groups.iter().map(|group| one(group, (found, ground, policy), &disturbers)).collect()
}

fn one(group: &Group<'_>, context: (&Found, &Ground, &Policy), disturbers: &[&str]) -> Proposal {
    let known = known(group);
    let Inventory { components, left, warnings: told, .. } = Inventory::of(context, group, &known);
    let mut warnings = group.warnings.clone();
    warnings.extend(told);
    for member in &group.members {
        for label in member.labels.ignored() {
            warnings.push(format!(
                "the label `{}` of container `{}` comes from its image and is ignored",
                label.escape_debug(),
                member.name
            ));
        }
    }
    for disturber in disturbers.iter().filter(|it| !group.is_member(it)) {
        warnings.push(format!(
            "container `{disturber}` may restart or replace containers in the middle of a run"
        ));
    }
    let labels = group.members.iter().flat_map(|it| it.labels.chosen_by()).collect();
    let seen = StackSeen {
        name: group.name.clone(),
        origin: group.origin.clone(),
        refusals: refusals(&known),
        containers: known.into_iter().map(|it| it.seen).collect(),
        components,
        uncovered: Vec::new(),
        warnings,
        labels,
    };
    Proposal { seen, left }
}

impl Proposal {
    /// Without the sizes of what is left.
    pub fn unmeasured(self) -> StackSeen {
        self.told(|_path| None)
    }

    /// With the sizes of what is left, as far as they can be had quickly. Blocks.
    pub fn measured(self) -> StackSeen {
        let mut budget = size::Budget::default();
        self.told(|path| budget.size_of(path))
    }

    fn told(
        self,
        mut measure: impl FnMut(&std::path::Path) -> Option<lazarette_core::units::ByteCount>,
    ) -> StackSeen {
        let tell = |left: Left| {
            let size = left.measure.as_deref().and_then(&mut measure);
            let small = size.is_some_and(|it| it.0 < left.least_bytes);
            let unknown = size.is_none() && left.least_bytes > 0;
            (!small && !unknown).then_some(Uncovered { size, ..left.uncovered })
        };
        let mut uncovered: Vec<_> = self.left.into_iter().filter_map(tell).collect();
        uncovered.sort_by(|a, b| a.what.cmp(&b.what));
        StackSeen { uncovered, ..self.seen }
    }
}

#[cfg(test)]
mod tests;
