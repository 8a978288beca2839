//! Target: which directory of this host a volume or bind mount is, and who has it mounted, as the
//! Engine's documents say it.

use std::path::{Path, PathBuf};

use bollard::models::{ContainerInspectResponse, MountPoint, Volume};

/// A directory, or a file, of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Where it is.
    pub(super) path: PathBuf,
    /// The volume's name; none for a bind mount.
    volume: Option<String>,
    /// Whether it is a directory of the Engine's own, which nothing is mounted on.
    pub(super) is_plain: bool,
    /// Whether it is empty unless something is mounted there.
    pub(super) must_be_mounted: bool,
}

/// A running container that has it mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mounter {
    /// Its name.
    pub(super) name: String,
    /// Whether it may write to it.
    pub(super) writes: bool,
}

impl Target {
    /// A bind mount.
    pub(super) fn of_path(path: &str) -> Self {
        Self { path: path.into(), volume: None, is_plain: false, must_be_mounted: false }
    }

    /// Whether the Engine says where it is, and not a compose file.
    pub(super) fn is_engines(&self) -> bool {
        self.volume.is_some() && (self.is_plain || self.must_be_mounted)
    }
}

/// Where a volume's data is, or why nobody can say.
pub(super) fn of_volume(volume: &Volume) -> Result<Target, String> {
    let name = Some(volume.name.clone());
    let mountpoint = PathBuf::from(&volume.mountpoint);
    if !mountpoint.is_absolute() {
        return Err(format!("its driver `{}` keeps it outside of this host", volume.driver));
    }
    let target = Target { path: mountpoint, volume: name, is_plain: false, must_be_mounted: true };
    if volume.driver != "local" {
        return Ok(target);
    }
    let option = |name: &str| volume.options.get(name).map_or("", String::as_str);
    if volume.options.is_empty() {
        return Ok(Target { is_plain: true, must_be_mounted: false, ..target });
    }
    if option("type") == "tmpfs" {
        return Err("it is kept in memory, and gone when its last container stops".to_owned());
    }
    let is_bind = option("o").split(',').any(|it| matches!(it.trim(), "bind" | "rbind"));
    match (is_bind, option("device")) {
        // While no container runs, the mount point is an empty directory: read what it stands for.
        (true, device) if Path::new(device).is_absolute() => {
            Ok(Target { path: device.into(), must_be_mounted: false, ..target })
        }
        _ => Ok(target),
    }
}

/// Who has `target` mounted and runs.
pub(super) fn running(containers: &[ContainerInspectResponse], target: &Target) -> Vec<Mounter> {
    let runs = |it: &&ContainerInspectResponse| {
        it.state.as_ref().and_then(|state| state.running).unwrap_or(false)
    };
    let mut found = Vec::new();
    for container in containers.iter().filter(runs) {
        let mounts = container.mounts.as_deref().unwrap_or_default();
        let ours: Vec<_> = mounts.iter().filter(|it| is_of(it, target)).collect();
        if ours.is_empty() {
            continue;
        }
        let name = container.name.as_deref().unwrap_or_default().trim_start_matches('/').to_owned();
        let writes = ours.iter().any(|it| it.rw.unwrap_or(true));
        found.push(Mounter { name, writes });
    }
    found
}

/// Whether a mount shows anything of `target`: itself, something in it, or what it is in.
fn is_of(mount: &MountPoint, target: &Target) -> bool {
    if target.volume.is_some() && mount.name == target.volume {
        return true;
    }
    mount.source.as_deref().is_some_and(|source| {
        let source = Path::new(source);
        source.is_absolute()
            && (source.starts_with(&target.path) || target.path.starts_with(source))
    })
}

#[cfg(test)]
mod tests {
    use bollard::models::ContainerState;

    use super::*;

    fn volume(driver: &str, options: &[(&str, &str)]) -> Volume {
        Volume {
            name: "data".to_owned(),
            driver: driver.to_owned(),
            mountpoint: "/var/lib/docker/volumes/data/_data".to_owned(),
            options: options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            ..Volume::default()
        }
    }

    #[test]
    fn h9_only_a_local_volume_without_options_is_a_plain_directory() {
        let plain = of_volume(&volume("local", &[])).unwrap();
        assert!(plain.is_plain && !plain.must_be_mounted && plain.is_engines());

        let bind = [("type", "none"), ("o", "rw,bind"), ("device", "/srv/data")];
        let bind = of_volume(&volume("local", &bind)).unwrap();
        assert_eq!(bind.path, Path::new("/srv/data"));
        assert!(!bind.is_plain && !bind.must_be_mounted && !bind.is_engines());

        let nfs = [("type", "nfs"), ("o", "addr=10.0.0.1"), ("device", ":/export")];
        let nfs = of_volume(&volume("local", &nfs)).unwrap();
        assert!(!nfs.is_plain && nfs.must_be_mounted);

        assert!(of_volume(&volume("plugin", &[])).unwrap().must_be_mounted);
        assert!(of_volume(&volume("local", &[("type", "tmpfs")])).is_err());
    }

    #[test]
    fn running_containers_that_see_any_of_it_are_found() {
        let container = |name: &str, running, source: &str, volume: Option<&str>| {
            let mount = MountPoint {
                source: Some(source.to_owned()),
                name: volume.map(str::to_owned),
                rw: Some(volume.is_some()),
                ..MountPoint::default()
            };
            ContainerInspectResponse {
                name: Some(format!("/{name}")),
                state: Some(ContainerState { running: Some(running), ..ContainerState::default() }),
                mounts: Some(vec![mount]),
                ..ContainerInspectResponse::default()
            }
        };
        let data = "/var/lib/docker/volumes/data/_data";
        let containers = [
            container("mounts", true, data, Some("data")),
            container("stopped", false, data, Some("data")),
            container("inner", true, "/var/lib/docker/volumes/data/_data/sub", None),
            container("outer", true, "/var/lib/docker", None),
            container("other", true, "/var/lib/docker/volumes/data2/_data", Some("data2")),
        ];

        let found = running(&containers, &of_volume(&volume("local", &[])).unwrap());

        let names: Vec<_> = found.iter().map(|it| (it.name.as_str(), it.writes)).collect();
        assert_eq!(names, [("mounts", true), ("inner", false), ("outer", false)]);
    }
}
