//! What is saved comes back as it was, on every file system there is.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, sync::atomic::Ordering};

use lazarette_agent::volume::exchange::Way;
use lazarette_core::evidence::Fact;

use crate::{
    store::{Bench, is_root},
    trees::{described, grow, sh},
};

async fn round_trip(bench: &Bench, seed: u64, count: usize) {
    grow(&bench.data(), seed, count);
    let before = described(&bench.data());

    let saved = bench.save().await.unwrap();
    let new = bench.restore_beside(&saved, Way::Directory).await;

    let after = described(&new);
    if before != after {
        let (one, other) = (bench.outer().join("before"), bench.outer().join("after"));
        fs::write(&one, before).unwrap();
        fs::write(&other, after).unwrap();
        let diff = sh(bench.outer(), "diff before after | head -40 || true");
        panic!("seed {seed}: {}", String::from_utf8_lossy(&diff));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trees_of_every_kind_of_file_come_back_with_all_their_metadata() {
    if !is_root("trees_of_every_kind_of_file") {
        return;
    }
    for seed in 0..4 {
        round_trip(&Bench::new(), seed, 70).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_holds_on_tmpfs() {
    if !is_root("the_same_holds_on_tmpfs") {
        return;
    }
    round_trip(&Bench::on(Path::new("/dev/shm")), 100, 60).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_volume_comes_back_with_the_metadata_of_its_root() {
    if !is_root("an_empty_volume") {
        return;
    }
    let bench = Bench::new();
    sh(
        &bench.data(),
        "chown 70:71 . && chmod 3750 . && setfattr -n user.a -v b . && touch -d @7 .",
    );

    let saved = bench.save().await.unwrap();
    let new = bench.restore_beside(&saved, Way::Directory).await;

    assert_eq!(described(&bench.data()), described(&new));
    assert_eq!(saved.extent.entries, 1);
    assert_eq!(saved.evidence.0.get("tree/directories"), Some(&Fact::Count(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sparse_file_of_a_terabyte_is_neither_read_nor_written_in_full() {
    if !is_root("a_sparse_file_of_a_terabyte") {
        return;
    }
    let bench = Bench::new();
    sh(&bench.data(), "truncate -s 1T f && printf x | dd of=f bs=1 seek=500G conv=notrunc 2>&1");

    let saved = bench.save().await.unwrap();
    let new = bench.restore_beside(&saved, Way::Directory).await;

    let file = fs::metadata(new.join("f")).unwrap();
    assert_eq!(file.len(), 1 << 40);
    assert!(file.blocks() * 512 < 1 << 20, "{} blocks", file.blocks());
    assert!(saved.stored.0 < 1 << 20);
    assert_eq!(sh(&new, "dd if=f bs=1 skip=500G count=2 2>/dev/null"), b"x\0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_and_mounts_are_left_out_and_said() {
    if !is_root("sockets_and_mounts") {
        return;
    }
    let bench = Bench::new();
    let data = bench.data();
    let socket = std::os::unix::net::UnixListener::bind(data.join("socket")).unwrap();
    fs::create_dir(data.join("mount")).unwrap();
    sh(&data, "mount -t tmpfs none mount && touch mount/inside");

    let saved = bench.save().await;
    sh(&data, "umount mount");

    drop(socket);
    let notes = bench.notes().join("\n");
    assert!(notes.contains("socket `socket`") && notes.contains("`mount`"), "{notes}");
    assert_eq!(saved.unwrap().extent.entries, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deep_tree_with_a_path_longer_than_any_call_takes_comes_back() {
    if !is_root("a_deep_tree") {
        return;
    }
    let bench = Bench::new();
    let name = "d".repeat(100);
    sh(
        &bench.data(),
        &format!("for i in $(seq 100); do mkdir {name} && cd {name}; done; echo x > f"),
    );

    let saved = bench.save().await.unwrap();
    bench.restore_beside(&saved, Way::Directory).await;

    assert_eq!(saved.extent.entries, 102);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_files_in_one_directory_come_back_and_progress_is_told() {
    if !is_root("many_files_in_one_directory") {
        return;
    }
    let bench = Bench::new();
    sh(
        &bench.data(),
        "for i in $(seq 6000); do echo $i > file-$i; done; head -c 20M /dev/urandom > big",
    );

    let saved = bench.save().await.unwrap();
    let read = bench.heard.bytes.swap(0, Ordering::Relaxed);
    let new = bench.restore_beside(&saved, Way::Directory).await;

    assert_eq!(saved.extent.entries, 6002);
    assert_eq!(read, saved.extent.bytes.0);
    assert_eq!(described(&bench.data()), described(&new));
}
