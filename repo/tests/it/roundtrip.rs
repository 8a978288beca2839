//! Round trip: what is written is read again, once stored it is not stored twice.

use lazarette_repo::check::{CheckOptions, check};
use lazarette_repo::lock;
use lazarette_repo::repository::{Repository, RepositoryError};
use lazarette_repo::storage::memory::MemoryStorage;
use lazarette_repo::tree::{Node, NodeKind, Tree};
use lazarette_repo::writer::{FileRead, StreamOptions};
use proptest::prelude::*;

use crate::vault::{self, backup, in_memory, noise, now, restore};

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_every_size_come_back() {
    let (_storage, repository) = in_memory().await;
    let sizes = [0, 1, 100, 524_287, 524_288, 3 << 20, (8 << 20) - 1, 8 << 20, 20 << 20];
    let contents: Vec<_> = (0..).zip(sizes).map(|(seed, size)| noise(size, seed)).collect();
    let contents: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();

    let (snapshot, written) = backup(&repository, "1", &contents).await;

    assert_eq!(restore(&repository, &snapshot).await.unwrap(), contents);
    assert!(written.packs.len() > 8, "{written:?}");
    assert_eq!(written.stats.files_read, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_stores_only_what_changed() {
    let (storage, repository) = in_memory().await;
    let before = noise(24 << 20, 2);
    let mut after = before.clone();
    after.splice(9_000_000..9_000_010, *b"some other bytes");
    backup(&repository, "1", &[&before]).await;

    let (snapshot, written) = backup(&repository, "2", &[&after]).await;

    assert_eq!(restore(&repository, &snapshot).await.unwrap(), [after]);
    assert!(written.stats.blobs_new <= 3, "{:?}", written.stats);
    let reopened = Repository::open(storage, &vault::PASSPHRASE.into()).await.unwrap();
    assert_eq!(restore(&reopened, &snapshot).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_content_again_stores_nothing_but_the_snapshot() {
    let (_storage, repository) = in_memory().await;
    let content = noise(5 << 20, 1);
    backup(&repository, "1", &[&content, &content]).await;

    let (_, written) = backup(&repository, "2", &[&content, &content]).await;

    assert_eq!((written.packs.len(), written.stats.bytes_new), (0, 0));
    assert_eq!(repository.snapshots().await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn small_files_are_read_by_the_workers_and_one_failure_is_that_file_s() {
    let (_storage, repository) = in_memory().await;
    let session = vault::session(&repository).await;
    let writer = vault::writer(&repository, session.clone());
    let mut reads: Vec<FileRead> = Vec::new();
    for number in 0..200u64 {
        reads.push(Box::new(move |buffer| {
            buffer.extend(noise(4096, number));
            match number {
                7 => Err(std::io::Error::other("vanished")),
                _ => Ok(()),
            }
        }));
    }

    let pending = writer.write_files(reads).await.unwrap();
    let contents = pending.wait().await.unwrap();

    assert!(contents[7].is_err());
    let nodes = contents.into_iter().enumerate().filter_map(|(number, content)| {
        Some(vault::file(&format!("file {number}"), content.ok()?))
    });
    let tree = writer.save_tree(&Tree::new(nodes.collect()).unwrap()).await.unwrap();
    let written = writer.finish().await.unwrap();
    let snapshot = session.commit(vault::request("1", tree, &written)).await.unwrap();
    let restored = restore(&repository, &snapshot).await.unwrap();
    assert_eq!(restored.len(), 199);
    assert_eq!(restored[7], noise(4096, 8));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_content_is_reused_only_while_all_of_it_is_known() {
    let (_storage, repository) = in_memory().await;
    let (snapshot, _) = backup(&repository, "1", &[&noise(4 << 20, 1)]).await;
    let tree = vault::reader(&repository).tree(snapshot.snapshot.tree).await.unwrap();
    let content = tree.nodes()[0].content.clone().unwrap();
    let mut partly = content.clone();
    partly.push(lazarette_repo::id::BlobId::of(b"something else"));
    let session = vault::session(&repository).await;
    let writer = vault::writer(&repository, session);

    let reused = writer.reuse(&[&content, &partly, &[]]).await.unwrap();

    assert_eq!(reused, [true, false, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sha256_of_a_stream_is_that_of_the_whole() {
    let (_storage, repository) = in_memory().await;
    let session = vault::session(&repository).await;
    let writer = vault::writer(&repository, session);
    let content = noise(9 << 20, 3);

    let options = StreamOptions { sha256: true };
    let written = writer.write(content.as_slice(), options).await.unwrap();
    let blocking = tokio::task::spawn_blocking({
        let content = content.clone();
        move || writer.write_blocking(content.as_slice(), options)
    });

    assert_eq!(written.sha256(), Some(lazarette_repo::hash::sha256(&content)));
    assert_eq!(blocking.await.unwrap().unwrap(), written);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_meets_directories_before_what_is_in_them() {
    let (_storage, repository) = in_memory().await;
    let session = vault::session(&repository).await;
    let writer = vault::writer(&repository, session.clone());
    let content = writer.write(b"deep".as_slice(), StreamOptions::default()).await.unwrap();
    let mut below = Node::new(b"below", NodeKind::Dir, now());
    let leaf = Tree::new(vec![vault::file("leaf", content)]).unwrap();
    below.subtree = Some(writer.save_tree(&leaf).await.unwrap());
    let other = Node::new(b"other", NodeKind::Fifo, now());
    let root = writer.save_tree(&Tree::new(vec![other, below]).unwrap()).await.unwrap();
    let written = writer.finish().await.unwrap();
    session.commit(vault::request("1", root, &written)).await.unwrap();

    let reader = vault::reader(&repository);
    let (mut walk, mut paths) = (reader.walk(root), Vec::new());
    while let Some(entry) = walk.next().await.unwrap() {
        paths.push(String::from_utf8(entry.path).unwrap());
    }

    assert_eq!(paths, ["below", "below/leaf", "other"]);
    let found = reader.find(root, b"below/leaf").await.unwrap().unwrap();
    assert_eq!(found.size, 4);
    assert!(reader.find(root, b"below/none").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_are_found_by_their_beginning() {
    let (_storage, repository) = in_memory().await;
    for run in 0..20 {
        backup(&repository, &run.to_string(), &[format!("{run}").as_bytes()]).await;
    }
    let all = repository.snapshots().await.unwrap();

    let whole = repository.find_snapshot(&all[3].id.to_string()).await.unwrap();
    let none = repository.find_snapshot("zz").await;

    assert_eq!(whole, all[3]);
    assert!(matches!(none, Err(RepositoryError::NoSnapshot { .. })));
    // Of twenty ids by chance two begin with one of sixteen digits.
    let ambiguous = "0123456789abcdef".chars().map(String::from);
    let mut errors = Vec::new();
    for digit in ambiguous {
        errors.extend(repository.find_snapshot(&digit).await.err());
    }
    let ambiguous = errors.iter().find(|error| matches!(error, RepositoryError::Ambiguous { .. }));
    assert!(ambiguous.unwrap().to_string().contains(" or "), "{ambiguous:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_repository_checks_as_sound_and_keeps_no_lock() {
    let (storage, repository) = in_memory().await;
    backup(&repository, "1", &[&noise(6 << 20, 1), b"x", b""]).await;

    let storage: std::sync::Arc<dyn lazarette_repo::storage::Storage> = storage;
    let report = check(&storage, repository.master_key(), CheckOptions { read_data: true }).await;

    let report = report.unwrap();
    assert!(report.is_sound(), "{:?}", report.problems);
    assert!(report.bytes_read > 1 << 20 && report.snapshots == 1);
    assert_eq!(lock::list(&repository).await.unwrap(), []);
}

#[tokio::test]
async fn a_second_repository_is_not_made_in_the_same_place() {
    let storage = std::sync::Arc::new(MemoryStorage::new());
    vault::create(storage.clone()).await;

    let again = Repository::create(storage, &[], lazarette_repo::key::Hardness::TEST, now()).await;

    assert!(matches!(again, Err(RepositoryError::Exists)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn any_files_come_back(
        files in proptest::collection::vec((0usize..2_000_000, 0u64..6), 0..8),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (_storage, repository) = in_memory().await;
            let contents: Vec<_> = files.iter().map(|(size, seed)| noise(*size, *seed)).collect();
            let contents: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();

            let (snapshot, _) = backup(&repository, "1", &contents).await;

            assert_eq!(restore(&repository, &snapshot).await.unwrap(), contents);
        });
    }
}
