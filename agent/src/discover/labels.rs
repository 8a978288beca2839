//! Labels: what a container says of itself, less what its image says for it (H12).
//!
//! Anybody can publish an image; only who may create containers can label one. So a label that the
//! image carries with the same value is not believed.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{ContainerInspectResponse, ImageInspect};

/// Keeps something from being saved; its value says why.
pub(super) const EXCLUDE: &str = "lazarette.exclude";
/// Saves something that is not by default.
pub(super) const INCLUDE: &str = "lazarette.include";
/// Before a key by which operators choose stacks.
const CHOSEN_BY: &str = "lazarette.label.";
/// So many of these are kept of a container; nobody needs more to choose by.
const CHOSEN_BY_LIMIT: usize = 32;
/// Names a component.
pub(super) const NAME: &str = "lazarette.name";

/// What Compose writes on its containers, volumes and networks.
pub(super) const PROJECT: &str = "com.docker.compose.project";
pub(super) const SERVICE: &str = "com.docker.compose.service";
pub(super) const VOLUME: &str = "com.docker.compose.volume";
pub(super) const ONE_OFF: &str = "com.docker.compose.oneoff";
pub(super) const DEPENDS_ON: &str = "com.docker.compose.depends_on";
pub(super) const WORKING_DIR: &str = "com.docker.compose.project.working_dir";
pub(super) const CONFIG_FILES: &str = "com.docker.compose.project.config_files";
const CONFIG_HASH: &str = "com.docker.compose.config-hash";
/// On every container that Swarm runs.
pub(super) const SWARM_TASK: &str = "com.docker.swarm.task.id";

/// Longer values are not labels of ours or Compose's.
const LONGEST: usize = 4096;

/// The labels of one container.
#[derive(Clone, Copy, Debug)]
pub(super) struct Labels<'a> {
    own: Option<&'a HashMap<String, String>>,
    image: Option<&'a HashMap<String, String>>,
}

impl<'a> Labels<'a> {
    pub(super) fn of(
        container: &'a ContainerInspectResponse,
        images: &'a BTreeMap<String, ImageInspect>,
    ) -> Self {
        let image = container.image.as_ref().and_then(|id| images.get(id));
        Self {
            own: container.config.as_ref().and_then(|it| it.labels.as_ref()),
            image: image.and_then(|it| it.config.as_ref()).and_then(|it| it.labels.as_ref()),
        }
    }

    /// The label's value when it was given to the container itself.
    pub(super) fn get(&self, key: &str) -> Option<&'a str> {
        self.raw(key).filter(|_| !self.inherited(key))
    }

    /// A label that Compose also writes on the images it builds: believed when it was Compose that
    /// made the container.
    pub(super) fn of_compose(&self, key: &str) -> Option<&'a str> {
        if self.get(CONFIG_HASH).is_some() { self.raw(key) } else { self.get(key) }
    }

    /// Labels that mean something to us and come from the image.
    pub(super) fn ignored(&self) -> Vec<&'a str> {
        let ours = |key: &str| {
            key.starts_with("lazarette.")
                || [WORKING_DIR, CONFIG_FILES, DEPENDS_ON].contains(&key)
                || (key == PROJECT && self.of_compose(key).is_none())
        };
        let own = self.own.into_iter().flatten().map(|(key, _)| key.as_str());
        let mut ignored: Vec<_> = own.filter(|key| ours(key) && self.inherited(key)).collect();
        ignored.sort_unstable();
        ignored
    }

    /// What stacks are chosen by, as `KEY` and its value, sorted by key.
    pub(super) fn chosen_by(&self) -> BTreeMap<String, String> {
        let own = self.own.into_iter().flatten().map(|(key, _)| key.as_str());
        let mut keys: Vec<_> = own.filter(|key| key.starts_with(CHOSEN_BY)).collect();
        keys.sort_unstable();
        let value = |key: &str| {
            let name = key.strip_prefix(CHOSEN_BY).filter(|name| !name.is_empty())?;
            Some((name.to_owned(), self.get(key)?.to_owned()))
        };
        keys.into_iter().filter_map(value).take(CHOSEN_BY_LIMIT).collect()
    }

    fn raw(&self, key: &str) -> Option<&'a str> {
        let value = self.own?.get(key)?.as_str();
        (!value.is_empty() && value.len() <= LONGEST).then_some(value)
    }

    fn inherited(&self, key: &str) -> bool {
        let of_image = self.image.and_then(|labels| labels.get(key));
        of_image.is_some() && of_image == self.own.and_then(|labels| labels.get(key))
    }
}

/// Whether a label's value means yes.
pub(super) fn is_yes(value: Option<&str>) -> bool {
    value.is_some_and(|it| ["true", "1", "yes"].contains(&it.to_ascii_lowercase().as_str()))
}
