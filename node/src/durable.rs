//! Durable files: there whole or not at all, also when the power fails.
//!
//! The calls block; async code makes them from `spawn_blocking`.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// A file could not be written or removed for good.
#[derive(Debug, thiserror::Error)]
#[error("{doing} `{}`", path.display())]
pub struct DurableError {
    doing: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl DurableError {
    /// Why, as the operating system says it.
    pub const fn io(&self) -> &io::Error {
        &self.source
    }
}

fn failed<'a>(doing: &'static str, path: &'a Path) -> impl Fn(io::Error) -> DurableError + use<'a> {
    move |source| DurableError { doing, path: path.to_owned(), source }
}

/// Makes `path` hold `bytes` with `mode`, in place of what was there. One writer a path.
///
/// Written beside, synced, renamed, directory synced: a crash leaves the old file or the new one.
///
/// # Errors
/// Names the step and the path; the old file is still there.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), DurableError> {
    let beside = beside(path);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed("remove the left-over", &beside)(error));
        }
        _ => {}
    }
    write_new(&beside, bytes, mode).map_err(failed("write", &beside))?;
    fs::rename(&beside, path).map_err(failed("rename into place", path))?;
    sync_directory(parent(path))
}

/// Removes `path` for good. That it is not there is not an error.
///
/// # Errors
/// Names the step and the path.
pub fn remove(path: &Path) -> Result<(), DurableError> {
    match fs::remove_file(path) {
        Ok(()) => sync_directory(parent(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("remove", path)(error)),
    }
}

/// Makes what was created, renamed or removed in `directory` last.
///
/// # Errors
/// Names the directory.
pub fn sync_directory(directory: &Path) -> Result<(), DurableError> {
    let sync = || File::open(directory)?.sync_all();
    sync().map_err(failed("sync the directory", directory))
}

/// Whether `name` is what an interrupted [`write()`] leaves behind: to be ignored by readers.
pub fn is_left_over(name: &Path) -> bool {
    name.extension().is_some_and(|extension| extension == "new")
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_with_the_mode_asked_for_and_nothing_is_left_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.pem");

        write(&path, b"old", 0o644).unwrap();
        write(&path, b"new", 0o600).unwrap();

        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_crash_left_beside_it_is_in_nobodys_way() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run-1.json");
        std::os::unix::fs::symlink("/etc/passwd", beside(&path)).unwrap();
        assert!(is_left_over(&beside(&path)) && !is_left_over(&path));

        write(&path, b"{}", 0o600).unwrap();

        assert_eq!(fs::read(&path).unwrap(), b"{}");
        assert!(!fs::symlink_metadata(&path).unwrap().is_symlink());
    }

    #[test]
    fn removing_twice_is_removing_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hold");
        write(&path, b"x", 0o600).unwrap();

        remove(&path).unwrap();
        remove(&path).unwrap();

        assert!(!path.exists());
    }

    #[test]
    fn an_error_names_the_path() {
        let error = write(Path::new("/nowhere/at/all"), b"", 0o600).unwrap_err();
        assert_eq!(error.to_string(), "write `/nowhere/at/all.new`");
    }
}
