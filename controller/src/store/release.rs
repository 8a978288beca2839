//! Release: the moment at which a database that this process had open lets go of its file.
//!
//! sled ends some of its threads after its last handle is gone, and a program that is being started
//! has copies of our files for a moment: the lock on the file outlives the database a little. The
//! lock on the store's directory is ours by then, so nobody else can have it.

use std::{
    fs::File,
    io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

/// How often it is looked at: nothing tells when a lock goes, and waiting for it has no end.
const PERIOD: Duration = Duration::from_millis(5);

/// Waits until nobody has `file` locked, at most for `patience`; whether that is so. A file that is
/// not there is locked by nobody.
///
/// # Errors
///
/// The file cannot be opened or asked.
pub(super) fn wait(file: &Path, patience: Duration) -> io::Result<bool> {
    let file = match File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        opened => opened?,
    };
    let since = Instant::now();
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                return flock(&file, FlockOperation::Unlock).map(|()| true).map_err(Into::into);
            }
            Err(Errno::WOULDBLOCK) if since.elapsed() >= patience => return Ok(false),
            Err(Errno::WOULDBLOCK) => thread::sleep(PERIOD),
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locked(path: &Path) -> File {
        let file = File::create(path).unwrap();
        flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
        file
    }

    #[test]
    fn a_lock_that_stays_is_told_and_one_that_goes_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        assert!(wait(&path, Duration::ZERO).unwrap(), "there is no file");

        let held = locked(&path);
        assert!(!wait(&path, Duration::from_millis(20)).unwrap());
        let ended = thread::spawn(move || drop(held));
        assert!(wait(&path, Duration::from_mins(1)).unwrap());
        ended.join().unwrap();

        // Asking has left no lock.
        drop(locked(&path));
    }
}
