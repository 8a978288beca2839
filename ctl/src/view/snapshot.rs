//! Snapshots, as they are shown.

use std::os::unix::ffi::OsStringExt as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use lazarette_core::{snapshot::Snapshot, units::ByteCount};
use lazarette_proto::{
    controller::v1::ListSnapshotFilesResponse,
    convert::{ConvertError, from_wire_time},
};
use serde::Serialize;

use super::SavedView;
use crate::{
    escape,
    output::View,
    table::{self, Table},
};

/// So many facts of a component are shown to people.
const FACTS_SHOWN: usize = 30;

/// A snapshot.
#[derive(Debug, Serialize)]
pub struct SnapshotView {
    snapshot_id: String,
    #[serde(skip)]
    short: String,
    commit_time: Timestamp,
    host: String,
    host_id: String,
    stack: String,
    stack_id: String,
    repository_id: String,
    run_id: String,
    read_bytes: u64,
    new_bytes: u64,
    reused_bytes: u64,
    stored_bytes: u64,
    downtime_ms: u64,
    incomplete: Vec<String>,
    components: Vec<SavedView>,
}

impl From<Snapshot> for SnapshotView {
    fn from(it: Snapshot) -> Self {
        Self {
            snapshot_id: it.id.to_string(),
            short: it.id.short(),
            commit_time: it.time,
            host: it.host_name.to_string(),
            host_id: it.host.to_string(),
            stack: it.stack_name.to_string(),
            stack_id: it.stack.to_string(),
            repository_id: it.repository.to_string(),
            run_id: it.run.to_string(),
            read_bytes: it.read_bytes.0,
            new_bytes: it.new_bytes.0,
            reused_bytes: it.read_bytes.0.saturating_sub(it.new_bytes.0),
            stored_bytes: it.stored_bytes.0,
            downtime_ms: it.downtime_ms,
            incomplete: it.incomplete,
            components: it.components.into_iter().map(Into::into).collect(),
        }
    }
}

impl View for Vec<SnapshotView> {
    fn table(&self) -> String {
        let mut table = Table::new(&[
            "SNAPSHOT",
            "TIME",
            "HOST",
            "STACK",
            "COMPONENTS",
            "SIZE",
            "NEW",
            "DOWNTIME",
            "",
        ]);
        for it in self {
            table.row([
                &it.short,
                &table::time(it.commit_time),
                &it.host,
                &it.stack,
                &it.components.len(),
                &ByteCount(it.read_bytes),
                &ByteCount(it.new_bytes),
                &table::span(it.downtime_ms),
                &if it.incomplete.is_empty() { "" } else { "incomplete" },
            ]);
        }
        table.lines(0)
    }
}

impl View for SnapshotView {
    fn table(&self) -> String {
        let mut head = Table::bare();
        head.row([&"snapshot", &self.snapshot_id]);
        head.row([&"of", &format!("{}/{}", self.host, self.stack)]);
        head.row([&"made", &table::time(self.commit_time)]);
        head.row([&"by", &self.run_id]);
        head.row([&"in", &self.repository_id]);
        head.row([&"size", &ByteCount(self.read_bytes)]);
        let (new, reused) = (ByteCount(self.new_bytes), ByteCount(self.reused_bytes));
        head.row([&"new", &format!("{new}, {reused} were there already")]);
        head.row([&"stored", &ByteCount(self.stored_bytes)]);
        head.row([&"downtime", &table::span(self.downtime_ms)]);
        let mut text = head.lines(0);
        table::section(&mut text, "INCOMPLETE", &self.incomplete);
        for it in &self.components {
            let (name, size) = (&it.component.name, ByteCount(it.size_bytes));
            let heading = format!("{name}  {size}  {}", super::described(&it.component.kind));
            let facts = &it.evidence.0;
            let shown = facts.iter().take(FACTS_SHOWN);
            let mut lines: Vec<_> =
                shown.map(|(about, fact)| format!("{about} = {fact}")).collect();
            match facts.len().saturating_sub(FACTS_SHOWN) {
                0 if facts.is_empty() => lines.push("no evidence".to_owned()),
                0 => {}
                more => lines.push(format!("and {more} more facts: `--output json` has them all")),
            }
            table::section(&mut text, &escape::line(&heading), lines);
        }
        text
    }
}

/// One thing in a snapshot.
#[derive(Debug, Serialize)]
pub struct FileView {
    path: String,
    /// The same, when the name is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_base64: Option<String>,
    kind: String,
    size_bytes: u64,
    mode: u32,
    uid: u32,
    gid: u32,
    modify_time: Option<Timestamp>,
}

impl TryFrom<ListSnapshotFilesResponse> for FileView {
    type Error = ConvertError;

    fn try_from(it: ListSnapshotFilesResponse) -> Result<Self, Self::Error> {
        let time = it.modify_time.map(|at| from_wire_time("modify_time", Some(at))).transpose()?;
        let (path, path_base64) = match String::from_utf8(it.path) {
            Ok(path) => (path, None),
            Err(error) => {
                let bytes = error.into_bytes();
                let encoded = STANDARD.encode(&bytes);
                let shown = std::ffi::OsString::from_vec(bytes);
                (shown.to_string_lossy().into_owned(), Some(encoded))
            }
        };
        Ok(Self {
            path,
            path_base64,
            kind: it.kind,
            size_bytes: it.size_bytes,
            mode: it.mode,
            uid: it.uid,
            gid: it.gid,
            modify_time: time,
        })
    }
}

impl View for FileView {
    fn table(&self) -> String {
        let mode = mode(&self.kind, self.mode);
        let (uid, gid, size) = (self.uid, self.gid, self.size_bytes);
        let time = table::time_or_dash(self.modify_time);
        let path = escape::line(&self.path);
        format!("{mode} {uid:>6} {gid:>6} {size:>12} {time:>20} {path}\n")
    }
}

/// As `ls` writes it.
fn mode(kind: &str, mode: u32) -> String {
    let first = match kind {
        "file" => '-',
        "dir" => 'd',
        "symlink" => 'l',
        "fifo" => 'p',
        "dev" => 'b',
        "chardev" => 'c',
        _ => '?',
    };
    let mut text = String::from(first);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 == 0 { '-' } else { 'r' });
        text.push(if bits & 2 == 0 { '-' } else { 'w' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}
