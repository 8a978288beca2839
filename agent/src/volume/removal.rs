//! Removal: a tree taken away without ever leaving it.

use std::os::fd::{AsFd, OwnedFd};

use rustix::{
    fs::{AtFlags, Dir, OFlags},
    io::{self, Errno},
};

use super::inode::open_beneath;

/// Names of the entries of an open directory, without `.` and `..`, in the order of their bytes.
pub(crate) fn names(dir: impl AsFd) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Removes the entry `name` of `dir` and all that is in it. What is gone already is removed.
///
/// Links are removed, not followed; a mount point ends it with an error.
pub(crate) fn remove_tree(dir: impl AsFd, name: &[u8]) -> io::Result<()> {
    let Some(first) = remove_or_open(&dir, name)? else { return Ok(()) };
    // One open directory a level, and the name by which it is removed when it is empty.
    let mut stack: Vec<(OwnedFd, Vec<u8>, Vec<Vec<u8>>)> = vec![(first, name.to_vec(), Vec::new())];
    if let Some(top) = stack.last_mut() {
        top.2 = names(&top.0)?;
    }
    while let Some((open, _, left)) = stack.last_mut() {
        if let Some(entry) = left.pop() {
            if let Some(inner) = remove_or_open(&*open, &entry)? {
                let left = names(&inner)?;
                stack.push((inner, entry, left));
            }
            continue;
        }
        let Some((_, empty, _)) = stack.pop() else { break };
        match stack.last() {
            Some((parent, ..)) => remove_dir(parent, &empty)?,
            None => remove_dir(&dir, &empty)?,
        }
    }
    Ok(())
}

/// Removes what is no directory; opens what is one.
fn remove_or_open(dir: impl AsFd, name: &[u8]) -> io::Result<Option<OwnedFd>> {
    match rustix::fs::unlinkat(&dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(None),
        Err(Errno::ISDIR | Errno::PERM) => {
            open_beneath(dir, name, OFlags::RDONLY | OFlags::DIRECTORY).map(Some)
        }
        Err(error) => Err(error),
    }
}

fn remove_dir(dir: impl AsFd, name: &[u8]) -> io::Result<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn a_tree_is_removed_and_what_its_links_point_to_stays() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path();
        fs::write(path.join("kept"), "x").unwrap();
        fs::create_dir_all(path.join("gone/a/b")).unwrap();
        fs::write(path.join("gone/a/file"), "x").unwrap();
        symlink(path, path.join("gone/a/b/link")).unwrap();
        let dir = fs::File::open(path).unwrap();

        remove_tree(&dir, b"gone").unwrap();
        remove_tree(&dir, b"gone").unwrap();

        assert_eq!(names(&dir).unwrap(), [b"kept".to_vec()]);
    }
}
