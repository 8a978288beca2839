//! Snapshot: one finished recovery point, in the fields and the order that restic gives them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::gojson;
use crate::id::{BlobId, ObjectId};

/// What a snapshot's object holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// When it was taken.
    pub time: Timestamp,
    /// The snapshot that it followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ObjectId>,
    /// Its root directory.
    pub tree: BlobId,
    /// What was saved.
    #[serde(default, deserialize_with = "gojson::list")]
    pub paths: Vec<String>,
    /// The host it is of.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// The user who took it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// That user's number.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub uid: u32,
    /// That user's group.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gid: u32,
    /// What was left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excludes: Vec<String>,
    /// Its tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The snapshot that this one is a rewritten form of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<ObjectId>,
    /// The program that took it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub program_version: String,
    /// What taking it amounted to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
}

/// What taking a snapshot amounted to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// When it began.
    pub backup_start: Timestamp,
    /// When it ended.
    pub backup_end: Timestamp,
    /// Files that its parent had not.
    pub files_new: u64,
    /// Files that its parent had otherwise.
    pub files_changed: u64,
    /// Files that its parent had so.
    pub files_unmodified: u64,
    /// Directories that its parent had not.
    pub dirs_new: u64,
    /// Directories that its parent had otherwise.
    pub dirs_changed: u64,
    /// Directories that its parent had so.
    pub dirs_unmodified: u64,
    /// New blobs of files.
    pub data_blobs: u64,
    /// New blobs of directories.
    pub tree_blobs: u64,
    /// Bytes of new blobs, plain.
    pub data_added: u64,
    /// Bytes of new blobs, as they are stored.
    pub data_added_packed: u64,
    /// Files in all.
    pub total_files_processed: u64,
    /// Bytes in all.
    pub total_bytes_processed: u64,
}

/// A snapshot with its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identified {
    /// Its id.
    pub id: ObjectId,
    /// What it holds.
    pub snapshot: Snapshot,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Snapshot {
    /// The JSON of it, as restic writes it.
    ///
    /// # Errors
    ///
    /// What `serde_json` says; never in practice.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut json = Vec::new();
        gojson::write(&mut json, self)?;
        Ok(json)
    }

    /// Whether it has `tag`.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|own| own == tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As restic 0.18 writes it.
    const GOLDEN: &str = concat!(
        r#"{"time":"2026-02-03T04:05:06.789Z","#,
        r#""parent":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","#,
        r#""tree":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","#,
        r#""paths":["/shop"],"hostname":"host","username":"root","uid":1,"excludes":["*.tmp"],"#,
        r#""tags":["a\u0026b"],"program_version":"restic 0.18.0","summary":{"#,
        r#""backup_start":"2026-02-03T04:05:00Z","backup_end":"2026-02-03T04:05:06Z","#,
        r#""files_new":1,"files_changed":2,"files_unmodified":3,"dirs_new":4,"dirs_changed":5,"#,
        r#""dirs_unmodified":6,"data_blobs":7,"tree_blobs":8,"data_added":9,"#,
        r#""data_added_packed":10,"total_files_processed":11,"total_bytes_processed":12}}"#,
    );

    #[test]
    fn the_golden_snapshot_is_read_and_written_as_ever() {
        let snapshot: Snapshot = serde_json::from_str(GOLDEN).unwrap();

        assert!(snapshot.has_tag("a&b"));
        assert_eq!(snapshot.summary.map(|summary| summary.total_bytes_processed), Some(12));
        assert_eq!(snapshot.to_json().unwrap(), GOLDEN.as_bytes());
    }

    #[test]
    fn an_old_snapshot_with_less_in_it_is_read() {
        let json = concat!(
            r#"{"time":"2016-01-02T03:04:05.678901234+01:00","#,
            r#""tree":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","#,
            r#""paths":null}"#
        );

        assert_eq!(serde_json::from_str::<Snapshot>(json).unwrap().paths, Vec::<String>::new());
    }
}
