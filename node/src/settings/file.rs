//! File: the bytes of a file of settings, which nobody but its owner can write.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use super::problem::Problem;

/// The longest file that is read, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// Reads a file, but no more of it than could be settings.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    if metadata.mode() & 0o022 != 0 {
        let rule = "others than its owner may write it; run `chmod go-w` on it";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, rule));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of a file, without a byte order mark.
pub(super) fn text(bytes: &[u8]) -> Result<&str, Problem> {
    let problem = |rule: &str| Problem::of_file(rule);
    if bytes.len() > usize::try_from(MAX_BYTES).unwrap_or(usize::MAX) {
        return Err(problem("it is longer than 1 MiB"));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(problem("it is UTF-16; save it as UTF-8"));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.contains(&0) {
        return Err(problem("it contains a NUL byte"));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes.iter().take(error.valid_up_to()).filter(|byte| **byte == b'\n').count();
        problem(&format!("line {} is not UTF-8", line + 1))
    })
}
