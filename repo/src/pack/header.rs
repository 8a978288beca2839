//! Header: the list of blobs at the end of each pack.

use std::ops::Range;

use crate::crypto::{Cipher, OVERHEAD};
use crate::id::BlobId;
use crate::pack::{BlobKind, PackEntry, PackError};

/// How many bytes the length of the header takes, at the very end.
pub(crate) const TRAILER: usize = 4;

/// The longest header that is read, as restic has it.
const LONGEST: u64 = 16 << 20;

/// How many bytes an entry takes, without and with the size of a compressed blob.
const PLAIN_ENTRY: usize = 1 + 4 + 32;
const COMPRESSED_ENTRY: usize = PLAIN_ENTRY + 4;

/// Appends the header's plain entry for `entry` to `header`.
pub(crate) fn push_entry(header: &mut Vec<u8>, entry: &PackEntry) {
    let kind = match (entry.kind, entry.uncompressed) {
        (BlobKind::Data, None) => 0,
        (BlobKind::Tree, None) => 1,
        (BlobKind::Data, Some(_)) => 2,
        (BlobKind::Tree, Some(_)) => 3,
    };
    header.push(kind);
    header.extend_from_slice(&entry.length.to_le_bytes());
    if let Some(size) = entry.uncompressed {
        header.extend_from_slice(&size.to_le_bytes());
    }
    header.extend_from_slice(entry.id.as_bytes());
}

/// Where the sealed header is in a pack of `size` bytes that ends with `tail`.
///
/// # Errors
///
/// [`PackError::Header`] when there can be none.
pub(crate) fn header_range(size: u64, tail: &[u8]) -> Result<Range<u64>, PackError> {
    let bad = |reason| PackError::Header { size, reason };
    let trailer = tail.last_chunk::<TRAILER>().ok_or(bad("it is too short"))?;
    let length = u64::from(u32::from_le_bytes(*trailer));
    let end = size.checked_sub(4).ok_or(bad("it is too short"))?;
    let start = end.checked_sub(length).ok_or(bad("its header would begin before it"))?;
    if length <= 32 {
        return Err(bad("its header is empty"));
    }
    if length > LONGEST {
        return Err(bad("its header is longer than 16 MiB"));
    }
    Ok(start..end)
}

/// The blobs that `sealed`, the header of a pack of `size` bytes, lists; they fill the pack without
/// gaps.
///
/// # Errors
///
/// [`PackError::Crypto`] when it was not sealed with this key, [`PackError::Header`] when it lists
/// something else than what fills the pack.
pub fn open_header(cipher: &Cipher, size: u64, sealed: &[u8]) -> Result<Vec<PackEntry>, PackError> {
    let bad = |reason| PackError::Header { size, reason };
    let plain = cipher.open(sealed).map_err(PackError::Crypto)?;
    let mut entries = Vec::with_capacity(plain.len() / PLAIN_ENTRY);
    let (mut rest, mut offset) = (plain.as_slice(), 0u32);
    while !rest.is_empty() {
        let (entry, after) = take_entry(rest, offset).ok_or(bad("an entry is malformed"))?;
        rest = after;
        offset = offset.checked_add(entry.length).ok_or(bad("its blobs are too large"))?;
        entries.push(entry);
    }
    let header = u64::try_from(sealed.len()).unwrap_or(u64::MAX);
    if u64::from(offset).saturating_add(header).saturating_add(4) != size {
        return Err(bad("its blobs do not fill it"));
    }
    Ok(entries)
}

/// The blobs of the whole pack `bytes`.
///
/// # Errors
///
/// As [`header_range`] and [`open_header`].
pub fn read_header(cipher: &Cipher, bytes: &[u8]) -> Result<Vec<PackEntry>, PackError> {
    let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let range = header_range(size, bytes)?;
    let bad = PackError::Header { size, reason: "its header is not within it" };
    let (start, end) = (usize::try_from(range.start), usize::try_from(range.end));
    match (start, end) {
        (Ok(start), Ok(end)) => open_header(cipher, size, bytes.get(start..end).ok_or(bad)?),
        _ => Err(bad),
    }
}

fn take_entry(rest: &[u8], offset: u32) -> Option<(PackEntry, &[u8])> {
    let (kind, compressed) = match rest.first()? {
        0 => (BlobKind::Data, false),
        1 => (BlobKind::Tree, false),
        2 => (BlobKind::Data, true),
        3 => (BlobKind::Tree, true),
        _ => return None,
    };
    let (fixed, after) =
        rest.split_at_checked(if compressed { COMPRESSED_ENTRY } else { PLAIN_ENTRY })?;
    let length = number(fixed, 1)?;
    let uncompressed = if compressed { Some(number(fixed, 5)?) } else { None };
    let id = BlobId::new(*fixed.last_chunk::<32>()?);
    let fits = usize::try_from(length).is_ok_and(|length| length >= OVERHEAD);
    fits.then_some((PackEntry { id, kind, offset, length, uncompressed }, after))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes))
}
