//! A snapshot made to do harm can write nowhere but into its own directory.

use std::fs;

use jiff::Timestamp;
use lazarette_agent::volume::{Extent, VolumeError, exchange::Way};
use lazarette_core::{error::ReasonedError as _, units::ByteCount};
use lazarette_repo::{
    id::BlobId,
    tree::{Node, NodeKind, Tree, mode},
    writer::{StreamOptions, Writer, WriterOptions},
};

use crate::{
    store::{Bench, is_root},
    trees::{described, sh},
};

const ROOMY: Extent = Extent { entries: 1000, bytes: ByteCount(1 << 30), allocated: ByteCount(0) };

fn node(name: &[u8], kind: NodeKind) -> Node {
    let mut node = Node::new(name, kind, Timestamp::UNIX_EPOCH);
    let unix = if kind == NodeKind::Dir { 0o040_755 } else { 0o100_644 };
    node.mode = mode::from_unix(unix);
    node
}

/// Puts a snapshot of `entries` into the packs, whose directories are written as they are: what a
/// tree refuses can be in a snapshot all the same.
async fn snapshot(bench: &Bench, json: impl FnOnce(&str) -> Vec<String>) -> Vec<BlobId> {
    let sink = bench.sink();
    let runtime = tokio::runtime::Handle::current();
    let options = WriterOptions::default();
    let writer = Writer::start(&bench.key, sink, runtime, options).unwrap();
    let evil = writer.write(&b"evil"[..], StreamOptions::default()).await.unwrap();
    let evil = evil.blobs()[0];
    let mut ids = Vec::new();
    for json in json(&evil.to_string()) {
        ids.push(BlobId::of(json.as_bytes()));
        writer.write_raw_tree(json.into_bytes()).await;
    }
    writer.finish().await.unwrap();
    ids
}

trait RawTree {
    async fn write_raw_tree(&self, json: Vec<u8>);
}

impl RawTree for Writer {
    /// As a tree if it can be one, or else as content: the reader takes it for what it is asked.
    async fn write_raw_tree(&self, json: Vec<u8>) {
        match Tree::from_json(&json) {
            Ok(tree) => drop(self.save_tree(&tree).await.unwrap()),
            Err(_) => drop(self.write(&json[..], StreamOptions::default()).await.unwrap()),
        }
    }
}

/// Restores a root with these entries; nothing outside of it may have changed.
async fn attack(entries: impl Fn(BlobId) -> Vec<Node>) -> (Bench, Result<(), VolumeError>) {
    let bench = Bench::new();
    sh(bench.outer(), "mkdir victim && echo safe > victim/file");
    let sink = bench.sink();
    let runtime = tokio::runtime::Handle::current();
    let writer = Writer::start(&bench.key, sink, runtime, WriterOptions::default()).unwrap();
    let evil = writer.write(&b"evil"[..], StreamOptions::default()).await.unwrap().blobs()[0];
    let below = writer.save_tree(&Tree::new(entries(evil)).unwrap()).await.unwrap();
    let mut root = node(b"root", NodeKind::Dir);
    root.subtree = Some(below);
    writer.finish().await.unwrap();
    let before = described(&bench.outer().join("victim"));

    let new = bench.exchange(Way::Directory).prepare().unwrap();
    let outcome = bench.restore_to(&new, (root, ROOMY)).await;

    assert_eq!(described(&bench.outer().join("victim")), before);
    (bench, outcome)
}

fn file(name: &[u8], evil: BlobId) -> Node {
    let mut file = node(name, NodeKind::File);
    file.content = Some(vec![evil]);
    file.size = 4;
    file
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m13_a_link_out_and_a_file_of_its_name_below_it_do_not_meet() {
    if !is_root("m13_a_link_out") {
        return;
    }
    let (bench, outcome) = attack(|evil| {
        let mut link = node(b"a", NodeKind::Symlink);
        link.link_target = b"/../../../../victim".to_vec();
        let mut other = node(b"b", NodeKind::Symlink);
        other.link_target = b"../../victim/file".to_vec();
        vec![link, other, file(b"c", evil)]
    })
    .await;

    outcome.unwrap();
    let new = bench.exchange(Way::Directory).new_path();
    assert_eq!(fs::read_link(new.join("a")).unwrap().to_str(), Some("/../../../../victim"));
    assert_eq!(fs::read(new.join("c")).unwrap(), b"evil");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_lead_out_are_refused_and_named() {
    if !is_root("names_that_lead_out") {
        return;
    }
    for name in ["../victim/file", "..", ".", "", "a/b", "/etc/passwd", "a\\u0000b"] {
        let bench = Bench::new();
        let entry = |name: &str, more: &str| {
            format!(
                "{{\"name\":\"{name}\",\"type\":\"file\",\"mode\":420,\"uid\":0,\"gid\":0,\"content\":[{more}]}}"
            )
        };
        let ids = snapshot(&bench, |evil| {
            let nodes = entry(name, &format!("\"{evil}\""));
            vec![format!("{{\"nodes\":[{nodes}]}}\n")]
        })
        .await;
        let new = bench.exchange(Way::Directory).prepare().unwrap();

        let mut root = node(b"root", NodeKind::Dir);
        root.subtree = Some(ids[0]);
        let refused = bench.restore_to(&new, (root, ROOMY)).await.unwrap_err();

        assert_eq!(refused.reason().as_str(), "REPOSITORY_DAMAGED", "{name}: {refused:?}");
        assert_eq!(fs::read_dir(&new).unwrap().count(), 0, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_to_a_file_outside_of_the_tree_cannot_be_made() {
    if !is_root("a_link_to_a_file_outside") {
        return;
    }
    // The second one claims to be another name of a file whose first name is a link.
    let (bench, outcome) = attack(|evil| {
        let named = |name: &[u8]| {
            let mut file = file(name, evil);
            (file.inode, file.device_id, file.links) = (7, 7, 2);
            file
        };
        vec![named(b"a"), named(b"b")]
    })
    .await;

    outcome.unwrap();
    let new = bench.exchange(Way::Directory).new_path();
    assert_eq!(sh(&new, "stat -c %h a b"), b"2\n2\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_was_saved_is_refused() {
    if !is_root("more_than_was_saved") {
        return;
    }
    let (_, outcome) =
        attack(|evil| (0..2000).map(|number| file(format!("{number}").as_bytes(), evil)).collect())
            .await;
    assert_eq!(outcome.unwrap_err().reason().as_str(), "REPOSITORY_DAMAGED");

    let (_, outcome) = attack(|evil| {
        let mut large = file(b"large", evil);
        large.size = 1 << 40;
        vec![large]
    })
    .await;
    assert_eq!(outcome.unwrap_err().reason().as_str(), "REPOSITORY_DAMAGED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_shorter_or_longer_than_it_says_is_refused() {
    if !is_root("a_file_that_is_shorter_or_longer") {
        return;
    }
    for size in [3, 5] {
        let (_, outcome) = attack(|evil| {
            let mut lying = file(b"lying", evil);
            lying.size = size;
            vec![lying]
        })
        .await;
        assert_eq!(outcome.unwrap_err().reason().as_str(), "REPOSITORY_DAMAGED");
    }
}
