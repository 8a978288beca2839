//! Binds: directories and files of the host under the project are saved, others are told (H11, H12).

use std::path::{Path, PathBuf};

use lazarette_core::component::{Component, ComponentKind};

use super::{
    super::{PlaceKind, naming::is_plain_path},
    BIND_MOUNT, Inventory, Taken, Use,
};

/// Of the host's system: nobody wants them in a backup of a stack, or told their size.
const SYSTEM: [&str; 10] = [
    "/dev",
    "/proc",
    "/sys",
    "/run",
    "/var/run",
    "/etc",
    "/usr",
    "/lib",
    "/boot",
    "/var/lib/docker",
];

impl Inventory<'_> {
    pub(super) fn binds(&mut self) {
        let uses = self.uses(BIND_MOUNT);
        let mut accepted: Vec<(String, String)> = Vec::new();
        for (source, used) in uses {
            let what = format!("bind {}", source.escape_debug());
            if self.is_taken(source, &what) {
                continue;
            }
            if let Some(reason) = used.excluded {
                let why = format!("excluded by a label: {}", reason.escape_debug());
                self.leave(&what, why, Some(PathBuf::from(source)));
                continue;
            }
            // Sorted by path: what lies around this one was met before.
            let around = accepted.iter().find(|(path, _)| Path::new(source).starts_with(path));
            if let Some((_, name)) = around {
                let why = format!("covered by {name}");
                self.leave(&what, why, None);
                continue;
            }
            match self.bind_name(source) {
                Err((why, measured)) => {
                    self.leave(&what, why, measured.then(|| PathBuf::from(source)));
                }
                Ok(wanted) => {
                    if let Some(name) = self.one_bind(source, &wanted, &used) {
                        accepted.push((source.to_owned(), name));
                    }
                }
            }
        }
    }

    fn one_bind(&mut self, source: &str, wanted: &str, used: &Use<'_>) -> Option<String> {
        let name = self.names.component("bind", wanted)?;
        let inside = self.taken.iter().find(|(path, taken)| {
            matches!(taken, Taken::By(_)) && Path::new(path).starts_with(source)
        });
        if let Some((path, Taken::By(database))) = inside {
            let path = path.escape_debug();
            self.warnings.push(format!(
                "{name} holds `{path}`, which {database} writes while it is read: only the dump \
                 of {database} is consistent"
            ));
        }
        let mounted_by = used.by.iter().map(|it| (*it).to_owned()).collect();
        let kind = ComponentKind::Bind { path: source.to_owned(), mounted_by };
        let told = name.to_string();
        self.components.push(Component { name, kind });
        Some(told)
    }

    /// What to call the bind, or why it is not saved and whether its size is to be told.
    fn bind_name(&self, source: &str) -> Result<String, (String, bool)> {
        let place = self.ground.places.get(source);
        let kind = place.map(|it| it.kind);
        if kind == Some(PlaceKind::Socket)
            || Path::new(source).extension().is_some_and(|it| it == "sock")
        {
            return Err(("a socket, which holds no data".to_owned(), false));
        }
        match kind {
            Some(PlaceKind::Missing) => {
                return Err(("it does not exist on this host".to_owned(), false));
            }
            Some(PlaceKind::Other) => {
                return Err(("neither a directory nor a file".to_owned(), false));
            }
            Some(PlaceKind::Directory | PlaceKind::File | PlaceKind::Socket) | None => {}
        }
        if !is_plain_path(source) {
            return Err(("its path cannot be followed".to_owned(), false));
        }
        let truly = place.and_then(|it| it.resolved.as_deref()).unwrap_or(Path::new(source));
        let root = self.group.root();
        let place_of_root = root.and_then(|it| self.ground.places.get(it));
        let true_root = place_of_root.and_then(|it| it.resolved.as_deref());
        let under = root.and_then(|root| {
            let inside = truly.starts_with(true_root.unwrap_or(Path::new(root)));
            Path::new(source).strip_prefix(root).ok().filter(|_| inside)
        });
        if let Some(relative) = under {
            let relative = relative.to_string_lossy();
            let whole = relative.is_empty();
            return Ok(if whole { "project".to_owned() } else { relative.into_owned() });
        }
        if self.policy.has_path(truly) {
            return Ok(source.trim_start_matches('/').to_owned());
        }
        if SYSTEM.iter().any(|it| Path::new(source).starts_with(it)) || source == "/" {
            return Err(("part of the host's own system".to_owned(), false));
        }
        let outside = "outside of the project directory; `extra_paths` in the host's policy can \
                       allow it";
        Err((outside.to_owned(), true))
    }
}
