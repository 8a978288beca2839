//! The cache saves time and never the wrong content.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    sync::atomic::Ordering,
};

use lazarette_agent::volume::exchange::Way;

use crate::{
    store::{Bench, is_root},
    trees::{described, sh},
};

/// Longer ago than the cache wants a file to have been left alone.
async fn settle() {
    tokio::time::sleep(std::time::Duration::from_millis(2300)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tree_that_has_not_changed_is_not_read_again() {
    if !is_root("a_tree_that_has_not_changed") {
        return;
    }
    let bench = Bench::new();
    sh(
        &bench.data(),
        "mkdir a; for i in $(seq 300); do echo $i > a/$i; done; setfattr -n user.x -v y a/7; ln a/1 b",
    );
    settle().await;

    let first = bench.save().await.unwrap();
    let puts = bench.store.puts.load(Ordering::Relaxed);
    let second = bench.save().await.unwrap();

    assert_eq!((first.unchanged, second.unchanged), (0, 300));
    assert_eq!(first.root, second.root);
    assert_eq!(first.evidence, second.evidence);
    assert_eq!(bench.store.puts.load(Ordering::Relaxed), puts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_that_changed_under_the_same_size_and_time_is_found() {
    if !is_root("content_that_changed_under_the_same_size") {
        return;
    }
    let bench = Bench::new();
    sh(&bench.data(), "echo one > f; touch -d @1000000000 f; echo kept > g");
    settle().await;
    let first = bench.save().await.unwrap();

    sh(&bench.data(), "printf two > f; echo >> f; touch -d @1000000000 f");
    let second = bench.save().await.unwrap();

    assert_ne!(first.root, second.root);
    assert_eq!(second.unchanged, 1);
    let new = bench.restore_beside(&second, Way::Directory).await;
    assert_eq!(fs::read(new.join("f")).unwrap(), b"two\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h8_a_store_into_a_mapped_page_between_two_runs_is_found() {
    if !is_root("h8_a_store_into_a_mapped_page") {
        return;
    }
    let bench = Bench::new();
    fs::write(bench.data().join("f"), vec![b'a'; 8192]).unwrap();
    // It dirties a mapped page now, and stores into the same page again when it is told to.
    let program = "
import mmap, os, sys
fd = os.open('f', os.O_RDWR)
page = mmap.mmap(fd, 8192, mmap.MAP_SHARED)
page[0:5] = b'first'
print('ready', flush=True)
sys.stdin.readline()
page[0:5] = b'later'
print('done', flush=True)
sys.stdin.readline()
";
    let mut writer = std::process::Command::new("python3")
        .args(["-c", program])
        .current_dir(bench.data())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = std::io::BufReader::new(writer.stdout.take().unwrap());
    let mut tell = writer.stdin.take().unwrap();
    let mut hear = |wanted: &str| {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut said, &mut line).unwrap();
        assert_eq!(line.trim(), wanted);
    };
    hear("ready");
    settle().await;
    let first = bench.save().await.unwrap();
    settle().await;

    std::io::Write::write_all(&mut tell, b"\n").unwrap();
    hear("done");
    let second = bench.save().await.unwrap();
    std::io::Write::write_all(&mut tell, b"\n").unwrap();
    writer.wait().unwrap();

    assert_ne!(first.root, second.root, "the stale page was kept");
    let new = bench.restore_beside(&second, Way::Directory).await;
    assert_eq!(&fs::read(new.join("f")).unwrap()[..5], b"later");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_whose_packs_are_gone_or_that_is_damaged_costs_time_only() {
    if !is_root("a_cache_whose_packs_are_gone") {
        return;
    }
    let mut bench = Bench::new();
    sh(&bench.data(), "for i in $(seq 50); do echo $i > $i; done");
    settle().await;
    let first = bench.save().await.unwrap();

    // Another repository, which has nothing.
    bench.store = std::sync::Arc::default();
    let second = bench.save().await.unwrap();
    assert_eq!(second.unchanged, 0);
    assert_eq!(second.evidence, first.evidence);

    let caches = bench.outer().join("caches");
    for cache in fs::read_dir(&caches).unwrap() {
        let file = File::options().write(true).open(cache.unwrap().path()).unwrap();
        file.write_all_at(b"damaged", 60).unwrap();
    }
    let third = bench.save().await.unwrap();
    assert_eq!((third.unchanged, &third.root), (0, &second.root));
    let new = bench.restore_beside(&third, Way::Directory).await;
    assert_eq!(described(&bench.data()), described(&new));
}
