//! Volumes: the named ones of a stack are saved, others are told (H11).

use std::{collections::BTreeSet, path::PathBuf};

use bollard::models::Volume;
use lazarette_core::component::{Component, ComponentKind};

use super::{
    super::labels::{EXCLUDE, INCLUDE, NAME, PROJECT, VOLUME, is_yes},
    Inventory, Use, VOLUME_MOUNT,
};

impl Inventory<'_> {
    pub(super) fn volumes(&mut self) {
        let uses = self.uses(VOLUME_MOUNT);
        let declared = self.found.volumes.iter().filter(|volume| self.is_own(volume));
        let declared = declared.map(|volume| volume.name.as_str());
        let all: BTreeSet<&str> = uses.keys().copied().chain(declared).collect();
        let nobody = Use::default();
        for name in all {
            let used = uses.get(name).unwrap_or(&nobody);
            self.one_volume(name, used);
        }
    }

    /// Whether Compose made the volume for this project.
    fn is_own(&self, volume: &Volume) -> bool {
        let project = volume.labels.get(PROJECT).map(String::as_str);
        project.is_some() && project == self.group.project
    }

    fn one_volume(&mut self, name: &str, used: &Use<'_>) {
        let volume = self.volume(name);
        let label = |key: &str| volume.and_then(|it| it.labels.get(key)).map(String::as_str);
        let what = format!("volume/{name}");
        let place = volume.map(|it| PathBuf::from(&it.mountpoint));
        if self.is_taken(name, &what) {
            return;
        }
        if let Some(reason) = label(EXCLUDE).or(used.excluded) {
            let why = format!("excluded by a label: {}", reason.escape_debug());
            return self.leave(&what, why, place);
        }
        let included = is_yes(label(INCLUDE)) || used.included;
        let Some(volume) = volume else {
            return self.leave(&what, "docker does not know it any more".to_owned(), None);
        };
        if let Some(why) = self.not_by_default(volume, used).filter(|_| !included) {
            return self.leave(&what, why, place);
        }
        if let Some(why) = is_elsewhere(volume) {
            return self.leave(&what, why, None);
        }
        let given = label(VOLUME).filter(|_| self.is_own(volume));
        let wanted = label(NAME).or(given).unwrap_or(name);
        let Some(component) = self.names.component("volume", wanted) else { return };
        self.warn_of_strangers(name);
        let mounted_by = used.by.iter().map(|it| (*it).to_owned()).collect();
        let kind = ComponentKind::Volume { volume: name.to_owned(), mounted_by };
        self.components.push(Component { name: component, kind });
    }

    /// Why a volume is not saved unless a label says so.
    fn not_by_default(&self, volume: &Volume, used: &Use<'_>) -> Option<String> {
        let at = used.at.iter().copied().collect::<Vec<_>>().join(", ");
        if is_anonymous(&volume.name) {
            return Some(format!(
                "an anonymous volume at {at}: give it a name, or its container the label \
                 lazarette.include=true"
            ));
        }
        let project = volume.labels.get(PROJECT)?;
        if Some(project.as_str()) == self.group.project {
            return None;
        }
        Some(format!("it belongs to the project `{}`", project.escape_debug()))
    }

    /// Running containers of other stacks are not stopped, and may write meanwhile.
    fn warn_of_strangers(&mut self, volume: &str) {
        for container in &self.found.containers {
            let name = container.name.as_deref().unwrap_or_default().trim_start_matches('/');
            let mounts = container.mounts.iter().flatten();
            let mut writes = mounts
                .filter(|it| it.name.as_deref() == Some(volume) && it.rw == Some(true))
                .take(1);
            let runs = container.state.as_ref().and_then(|it| it.running) == Some(true);
            if runs && !self.group.is_member(name) && writes.next().is_some() {
                self.warnings.push(format!(
                    "container `{name}` of another stack may write into volume `{volume}` while \
                     it is read"
                ));
            }
        }
    }
}

/// Docker gives a volume without a name one of 64 hex digits.
fn is_anonymous(name: &str) -> bool {
    name.len() == 64 && name.chars().all(|c| c.is_ascii_hexdigit())
}

/// Why a volume's data is not in its directory on this host once its containers are stopped.
fn is_elsewhere(volume: &Volume) -> Option<String> {
    if volume.driver != "local" {
        let driver = volume.driver.escape_debug();
        return Some(format!("its driver `{driver}` keeps it elsewhere, which is not saved yet"));
    }
    let device = volume.options.get("device")?;
    Some(format!(
        "it is mounted from `{}` by its options, only while a container uses it: not saved yet",
        device.escape_debug()
    ))
}
