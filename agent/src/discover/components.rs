//! Components: what of a stack would be saved, and what would not, and why.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use bollard::models::{MountPoint, Volume};
use lazarette_core::{
    component::{Component, ComponentKind},
    name::ComponentName,
    stack::{Part, Uncovered},
};

use super::{
    Found, Ground,
    group::Group,
    labels::{EXCLUDE, INCLUDE, NAME, is_yes},
    members::Known,
    naming::Names,
};
use crate::policy::Policy;

mod binds;
mod volumes;

/// How the Engine calls a mount of a volume, and one of a path.
const VOLUME_MOUNT: &str = "volume";
const BIND_MOUNT: &str = "bind";

/// Writable layers smaller than this are not worth a line.
const LEAST_LAYER: u64 = 1 << 20;

/// Something that is not saved, and where its size can be had.
#[derive(Clone, Debug)]
pub(super) struct Left {
    pub(super) uncovered: Uncovered,
    pub(super) measure: Option<PathBuf>,
    /// When it is smaller, it is not told at all.
    pub(super) least_bytes: u64,
}

/// What is known of a stack, and what was made of it so far.
pub(super) struct Inventory<'a> {
    pub(super) found: &'a Found,
    pub(super) ground: &'a Ground,
    pub(super) policy: &'a Policy,
    pub(super) group: &'a Group<'a>,
    pub(super) known: &'a [Known<'a>],
    pub(super) components: Vec<Component>,
    pub(super) left: Vec<Left>,
    pub(super) warnings: Vec<String>,
    names: Names,
    /// Volumes and paths that a database answers for, or that its exclusion takes along.
    taken: BTreeMap<String, Taken>,
}

/// Why a mount is no component of its own.
#[derive(Clone, Debug)]
enum Taken {
    By(ComponentName),
    Excluded(String),
}

/// Who mounts a volume or a path.
#[derive(Clone, Debug, Default)]
struct Use<'a> {
    by: BTreeSet<&'a str>,
    at: BTreeSet<&'a str>,
    /// All that mount it are excluded: for this reason.
    excluded: Option<&'a str>,
    included: bool,
}

impl<'a> Inventory<'a> {
    pub(super) fn of(
        (found, ground, policy): (&'a Found, &'a Ground, &'a Policy),
        group: &'a Group<'a>,
        known: &'a [Known<'a>],
    ) -> Self {
        let mut inventory = Self {
            found,
            ground,
            policy,
            group,
            known,
            components: Vec::new(),
            left: Vec::new(),
            warnings: Vec::new(),
            names: Names::default(),
            taken: BTreeMap::new(),
        };
        inventory.databases();
        inventory.volumes();
        inventory.binds();
        inventory.layers();
        inventory.files();
        if let Ok(name) = "definition".parse() {
            inventory.components.push(Component { name, kind: ComponentKind::Definition });
        }
        inventory.components.sort_by(|a, b| a.name.cmp(&b.name));
        inventory
    }

    /// A component for each database, which answers for the mounts that hold its data (H10).
    fn databases(&mut self) {
        for it in self.known {
            let Some(engine) = it.engine.as_ref().filter(|_| it.seen.part == Part::Database) else {
                continue;
            };
            let same_service = |other: &&Known<'_>| other.seen.service == it.seen.service;
            let alone = self.known.iter().filter(same_service).count() == 1;
            let plain = if alone { &it.seen.service } else { &it.seen.name };
            let wanted = it.member.labels.get(NAME).unwrap_or(plain);
            let Some(name) = self.names.component(engine.driver, wanted) else { continue };
            let taken = match it.member.labels.get(EXCLUDE) {
                Some(reason) => {
                    let why = format!("excluded by a label: {}", reason.escape_debug());
                    self.leave(&name.to_string(), why.clone(), None);
                    Taken::Excluded(why)
                }
                None => Taken::By(name.clone()),
            };
            let server = self.ground.servers.get(&it.seen.name).cloned().unwrap_or_default();
            let data_dirs = [&engine.data_dirs[..], &server.data_dirs[..]].concat();
            for key in data_mounts(it, &data_dirs) {
                self.taken.insert(key, taken.clone());
            }
            if !server.silent.is_empty() {
                self.warnings.push(format!("{name} cannot be asked: {}", server.silent));
            }
            if matches!(taken, Taken::By(_)) {
                let kind = ComponentKind::Database {
                    driver: engine.driver.to_owned(),
                    container: it.seen.name.clone(),
                    version: server.version,
                    notes: server.notes,
                };
                self.components.push(Component { name, kind });
            }
        }
    }

    /// What applications wrote into their containers is lost with these, and not saved.
    fn layers(&mut self) {
        for it in self.known.iter().filter(|it| it.seen.part == Part::Application) {
            let driver = it.member.seen.graph_driver.as_ref();
            let Some(upper) = driver.and_then(|it| it.data.get("UpperDir")) else { continue };
            self.left.push(Left {
                uncovered: Uncovered {
                    what: format!("writable layer of {}", it.seen.name),
                    why: "what is written outside of volumes goes with the container".to_owned(),
                    size: None,
                },
                measure: Some(PathBuf::from(upper)),
                least_bytes: LEAST_LAYER,
            });
        }
    }

    /// The project's own files, as they were found on the ground.
    fn files(&mut self) {
        let Some(files) = self.ground.files.get(&self.group.name) else { return };
        self.warnings.extend(files.warnings.iter().cloned());
        if files.paths.is_empty() {
            return;
        }
        let kind = ComponentKind::Files { root: files.root.clone(), paths: files.paths.clone() };
        if let Ok(name) = "files".parse() {
            self.components.push(Component { name, kind });
        }
    }

    fn leave(&mut self, what: &str, why: String, measure: Option<PathBuf>) {
        let uncovered = Uncovered { what: what.to_owned(), why, size: None };
        self.left.push(Left { uncovered, measure, least_bytes: 0 });
    }

    /// Says of a mount that something else takes: a database, an exclusion. Whether it was so.
    fn is_taken(&mut self, key: &str, what: &str) -> bool {
        let Some(taken) = self.taken.get(key).cloned() else { return false };
        let why = match taken {
            Taken::By(name) => format!("covered by {name}"),
            Taken::Excluded(why) => why,
        };
        self.leave(what, why, None);
        true
    }

    /// Mounts of one type: by volume name or by path, who mounts them.
    fn uses(&self, wanted: &str) -> BTreeMap<&'a str, Use<'a>> {
        let mut uses: BTreeMap<&str, Use<'a>> = BTreeMap::new();
        for it in self.known {
            let labels = &it.member.labels;
            let excluded = labels.get(EXCLUDE);
            for mount in mounts(it).filter(|mount| mount.typ.as_deref() == Some(wanted)) {
                let Some(key) = key(mount) else { continue };
                let first = !uses.contains_key(key);
                let entry = uses.entry(key).or_default();
                entry.excluded = if first { excluded } else { entry.excluded.and(excluded) };
                entry.included |= is_yes(labels.get(INCLUDE));
                entry.by.insert(it.member.name);
                entry.at.extend(mount.destination.as_deref());
            }
        }
        uses
    }

    fn volume(&self, name: &str) -> Option<&'a Volume> {
        self.found.volumes.iter().find(|volume| volume.name == name)
    }
}

fn mounts<'a>(known: &Known<'a>) -> impl Iterator<Item = &'a MountPoint> + use<'a> {
    known.member.seen.mounts.iter().flatten()
}

/// What tells a mount from others on the host: a volume's name, a path.
fn key(mount: &MountPoint) -> Option<&str> {
    match mount.typ.as_deref() {
        Some(VOLUME_MOUNT) => mount.name.as_deref(),
        Some(BIND_MOUNT) => mount.source.as_deref(),
        _ => None,
    }
}

/// The mounts that hold any of `data_dirs`, or a part of one.
fn data_mounts(known: &Known<'_>, data_dirs: &[String]) -> Vec<String> {
    let below = |inner: &str, outer: &str| {
        inner
            .strip_prefix(outer.trim_end_matches('/'))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let mut keys = Vec::new();
    for data in data_dirs {
        let at = |mount: &&MountPoint| mount.destination.clone().unwrap_or_default();
        let holding = mounts(known)
            .filter(|mount| below(data, &at(mount)))
            .max_by_key(|mount| at(mount).len());
        let within = mounts(known).filter(|mount| below(&at(mount), data));
        keys.extend(holding.into_iter().chain(within).filter_map(key).map(str::to_owned));
    }
    keys
}
