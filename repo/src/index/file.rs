//! Index file: the JSON in which packs and their blobs are listed in the repository.

use serde::{Deserialize, Serialize};

use crate::gojson;
use crate::id::{BlobId, ObjectId, PackId};
use crate::pack::{BlobKind, PackEntry};

/// How many blobs one index file lists at most, as in restic.
pub const MAX_BLOBS: usize = 50_000;

/// What one index file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexFile {
    /// The index files that this one replaces.
    pub supersedes: Vec<ObjectId>,
    /// The packs with their blobs.
    pub packs: Vec<(PackId, Vec<PackEntry>)>,
}

#[derive(Serialize, Deserialize)]
struct FileJson {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    supersedes: Vec<ObjectId>,
    #[serde(default, deserialize_with = "gojson::list")]
    packs: Vec<PackJson>,
}

#[derive(Serialize, Deserialize)]
struct PackJson {
    id: PackId,
    blobs: Vec<BlobJson>,
}

#[derive(Serialize, Deserialize)]
struct BlobJson {
    id: BlobId,
    #[serde(rename = "type")]
    kind: BlobKind,
    offset: u32,
    length: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uncompressed_length: Option<u32>,
}

impl IndexFile {
    /// The JSON of it.
    ///
    /// # Errors
    ///
    /// What `serde_json` says; never in practice.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let packs = self.packs.iter().map(|(id, entries)| PackJson {
            id: *id,
            blobs: entries.iter().map(blob_json).collect(),
        });
        serde_json::to_vec(&FileJson {
            supersedes: self.supersedes.clone(),
            packs: packs.collect(),
        })
    }

    /// What `json` says. Its `packs_to_delete`, rustic's mark for packs that may go any time, are
    /// left out.
    ///
    /// # Errors
    ///
    /// When it is no index.
    pub fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        let file: FileJson = serde_json::from_slice(json)?;
        let packs = file.packs.into_iter().map(|pack| {
            let entries = pack.blobs.iter().map(entry).collect();
            (pack.id, entries)
        });
        Ok(Self { supersedes: file.supersedes, packs: packs.collect() })
    }
}

fn blob_json(entry: &PackEntry) -> BlobJson {
    BlobJson {
        id: entry.id,
        kind: entry.kind,
        offset: entry.offset,
        length: entry.length,
        uncompressed_length: entry.uncompressed,
    }
}

fn entry(blob: &BlobJson) -> PackEntry {
    PackEntry {
        id: blob.id,
        kind: blob.kind,
        offset: blob.offset,
        length: blob.length,
        uncompressed: blob.uncompressed_length.filter(|size| *size != 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = concat!(
        r#"{"packs":[{"id":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","#,
        r#""blobs":[{"id":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","#,
        r#""type":"tree","offset":0,"length":50,"uncompressed_length":12},"#,
        r#"{"id":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","#,
        r#""type":"data","offset":50,"length":35}]}]}"#,
    );

    #[test]
    fn the_golden_index_is_read_and_written_as_ever() {
        let file = IndexFile::from_json(GOLDEN.as_bytes()).unwrap();

        let (pack, entries) = &file.packs[0];
        assert_eq!(*pack, PackId::of(b"abc"));
        assert_eq!((entries[0].id, entries[0].uncompressed), (BlobId::of(b""), Some(12)));
        assert_eq!((entries[1].kind, entries[1].length), (BlobKind::Data, 35));
        assert_eq!(file.to_json().unwrap(), GOLDEN.as_bytes());
    }

    #[test]
    fn packs_that_rustic_marks_for_deletion_are_absent() {
        let json = GOLDEN.replace(r#"{"packs":"#, r#"{"packs":[],"packs_to_delete":"#);

        let file = IndexFile::from_json(json.as_bytes()).unwrap();

        assert_eq!(file, IndexFile::default());
    }
}
