//! The head of a custom-format archive: its header, and one entry of its table of contents.

use super::ArchiveError;

/// The longest text an archive may hold in its table of contents: a function, a view, a comment.
const MAX_TEXT: usize = 256 << 20;

/// How this archive writes numbers, and which fields its entries have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Major and minor of the format: 1.14 to 1.16.
    pub(super) version: (u8, u8),
    /// Bytes of an integer, after its sign.
    pub(super) int_bytes: usize,
    /// Bytes of an offset, after its state.
    pub(super) offset_bytes: usize,
}

/// One entry of the table of contents, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) dump_id: i64,
    pub(super) has_data: bool,
    pub(super) description: String,
    pub(super) schema: String,
    pub(super) tag: String,
}

/// Reads values from the bytes that have come so far; `None` means that more are needed.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
    read: usize,
}

/// A value, or "come again with more".
type Partial<T> = Result<Option<T>, ArchiveError>;

/// Unwraps a [`Partial`], or passes on that more is needed.
macro_rules! whole {
    ($partial:expr) => {
        match $partial? {
            Some(value) => value,
            None => return Ok(None),
        }
    };
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, read: 0 }
    }

    /// How many bytes were read.
    pub(super) fn read(&self) -> usize {
        self.read
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        self.read += count;
        Some(taken)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// A sign byte, then the magnitude, least significant byte first.
    pub(super) fn int(&mut self, layout: Layout) -> Option<i64> {
        let (sign, magnitude) = self.take(1 + layout.int_bytes)?.split_first()?;
        let fold = |value: i64, byte: &u8| (value << 8) | i64::from(*byte);
        let value = magnitude.iter().rev().fold(0, fold);
        Some(if *sign == 0 { value } else { -value })
    }

    /// A length and so many bytes; a negative length is no text at all.
    fn text(&mut self, layout: Layout) -> Partial<Option<String>> {
        let Some(length) = self.int(layout) else { return Ok(None) };
        let Ok(length) = usize::try_from(length) else { return Ok(Some(None)) };
        if length > MAX_TEXT {
            return Err(ArchiveError::Malformed("a text of more than 256 MiB"));
        }
        let text = self.take(length).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        Ok(text.map(Some))
    }

    /// A text that is skipped.
    fn skip(&mut self, layout: Layout) -> Partial<()> {
        Ok(self.text(layout)?.map(drop))
    }
}

/// The header: the layout, and the number of entries.
pub(super) fn header(cursor: &mut Cursor<'_>) -> Partial<(Layout, u64)> {
    let Some(fixed) = cursor.take(11) else { return Ok(None) };
    let [b'P', b'G', b'D', b'M', b'P', major, minor, _revision, int_bytes, offset_bytes, format] =
        *fixed
    else {
        return Err(ArchiveError::Malformed("it does not begin with `PGDMP`"));
    };
    if major != 1 || !(12..=16).contains(&minor) {
        return Err(ArchiveError::Version { major, minor });
    }
    if format != 1 || !(1..=8).contains(&int_bytes) || !(1..=8).contains(&offset_bytes) {
        return Err(ArchiveError::Malformed("it is not in the custom format"));
    }
    let layout = Layout {
        version: (major, minor),
        int_bytes: usize::from(int_bytes),
        offset_bytes: usize::from(offset_bytes),
    };
    let compression = if minor >= 15 { cursor.byte().map(i64::from) } else { cursor.int(layout) };
    let Some(compression) = compression else { return Ok(None) };
    if compression != 0 {
        return Err(ArchiveError::Compressed);
    }
    for _part_of_its_date in 0..7 {
        if cursor.int(layout).is_none() {
            return Ok(None);
        }
    }
    for _database_and_versions in 0..3 {
        whole!(cursor.skip(layout));
    }
    let Some(count) = cursor.int(layout) else { return Ok(None) };
    let count = u64::try_from(count);
    let count =
        count.map_err(|_negative| ArchiveError::Malformed("a negative number of entries"))?;
    Ok(Some((layout, count)))
}

/// One entry.
pub(super) fn entry(cursor: &mut Cursor<'_>, layout: Layout) -> Partial<Entry> {
    let Some(dump_id) = cursor.int(layout) else { return Ok(None) };
    let Some(has_data) = cursor.int(layout) else { return Ok(None) };
    whole!(cursor.skip(layout)); // oid of its catalogue
    whole!(cursor.skip(layout)); // its own oid
    let tag = whole!(cursor.text(layout));
    let description = whole!(cursor.text(layout));
    if cursor.int(layout).is_none() {
        return Ok(None); // section
    }
    for _definition_drop_and_copy in 0..3 {
        whole!(cursor.skip(layout));
    }
    let schema = whole!(cursor.text(layout));
    whole!(cursor.skip(layout)); // tablespace
    if layout.version >= (1, 14) {
        whole!(cursor.skip(layout)); // access method
    }
    if layout.version >= (1, 16) && cursor.int(layout).is_none() {
        return Ok(None); // kind of relation
    }
    whole!(cursor.skip(layout)); // owner
    whole!(cursor.skip(layout)); // with oids
    while whole!(cursor.text(layout)).is_some() {} // dependencies, ended by none
    if cursor.take(1 + layout.offset_bytes).is_none() {
        return Ok(None);
    }
    Ok(Some(Entry {
        dump_id,
        has_data: has_data != 0,
        description: description.unwrap_or_default(),
        schema: schema.unwrap_or_default(),
        tag: tag.unwrap_or_default(),
    }))
}
