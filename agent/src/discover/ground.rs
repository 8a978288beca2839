//! The ground: files and places of the host that the Engine's documents name, looked at.

use std::{os::unix::fs::FileTypeExt as _, path::Path};

use lazarette_core::stack::Origin;

use super::{Ground, Place, PlaceKind, files, group::Group};

/// Looks at every place that matters for `groups`. Blocks.
pub(super) fn look(groups: &[Group<'_>]) -> Ground {
    let mut ground = Ground::default();
    for group in groups {
        let mounts = group.members.iter().flat_map(|it| it.seen.mounts.iter().flatten());
        let binds = mounts.filter(|it| it.name.is_none()).filter_map(|it| it.source.as_deref());
        for path in binds.chain(group.root()) {
            ground.places.entry(path.to_owned()).or_insert_with(|| place(Path::new(path)));
        }
        if let Origin::Compose { working_dir: Some(root), config_files } = &group.origin {
            ground.files.insert(group.name.clone(), files::of_project(root, config_files));
        }
    }
    ground
}

fn place(path: &Path) -> Place {
    let kind = match std::fs::metadata(path) {
        Err(_missing) => PlaceKind::Missing,
        Ok(about) if about.is_dir() => PlaceKind::Directory,
        Ok(about) if about.is_file() => PlaceKind::File,
        Ok(about) if about.file_type().is_socket() => PlaceKind::Socket,
        Ok(_) => PlaceKind::Other,
    };
    Place { kind, resolved: std::fs::canonicalize(path).ok() }
}
