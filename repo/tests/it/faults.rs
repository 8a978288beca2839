//! Faults: sources that fail, sinks that fail, and damage in every kind of object.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use lazarette_repo::check::{CheckOptions, CheckReport, check};
use lazarette_repo::crypto::MasterKey;
use lazarette_repo::id::BlobId;
use lazarette_repo::pack::SealedPack;
use lazarette_repo::reader::ReadError;
use lazarette_repo::repository::Repository;
use lazarette_repo::sink::{PackSink, SinkError};
use lazarette_repo::storage::memory::MemoryStorage;
use lazarette_repo::storage::{Kind, ObjectName, Storage};
use lazarette_repo::writer::{StreamOptions, WriteError};
use tokio::io::{AsyncRead, ReadBuf};

use crate::vault::{self, backup, in_memory, noise, restore};

/// A source of zeros that fails after so many bytes.
struct Failing(usize);

impl AsyncRead for Failing {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.0 == 0 {
            return Poll::Ready(Err(io::Error::other("pg_dump ended with status 1")));
        }
        let count = self.0.min(buffer.remaining());
        buffer.put_slice(&vec![0; count]);
        self.0 -= count;
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_fails_gives_no_content_wherever_it_fails() {
    let (storage, repository) = in_memory().await;
    let session = vault::session(&repository).await;
    let writer = vault::writer(&repository, session);

    for bytes in [0, 1, 300_000, 8 << 20, 20 << 20] {
        let failed = writer.write(Failing(bytes), StreamOptions::default()).await;
        assert!(matches!(failed, Err(WriteError::Source(_))), "{bytes}: {failed:?}");
    }

    assert_eq!(storage.list(Kind::Snapshot).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_closes_after_the_end_gives_no_content() {
    let (_storage, repository) = in_memory().await;
    let session = vault::session(&repository).await;
    let writer = vault::writer(&repository, session);

    let gate = async { Err("its exit status is 1".into()) };
    let failed = writer.write_gated(b"all".as_slice(), StreamOptions::default(), gate).await;

    assert!(matches!(failed, Err(WriteError::Gate(_))), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_run_never_finishes() {
    let (_storage, repository) = in_memory().await;
    let session = vault::session(&repository).await;
    let writer = vault::writer(&repository, session);
    writer.write(b"all".as_slice(), StreamOptions::default()).await.unwrap();

    writer.poison().set("the engine's gate refused");

    let again = writer.write(b"more".as_slice(), StreamOptions::default()).await;
    assert!(matches!(again, Err(WriteError::Poisoned { .. })));
    let finished = writer.finish().await.unwrap_err();
    assert!(finished.to_string().contains("the engine's gate refused"), "{finished}");
}

/// A sink that takes so many packs and then fails.
#[derive(Debug)]
struct Full(AtomicUsize);

#[async_trait::async_trait]
impl PackSink for Full {
    async fn known(&self, ids: &[BlobId]) -> Result<Vec<bool>, SinkError> {
        Ok(vec![false; ids.len()])
    }

    async fn put_pack(&self, _: SealedPack) -> Result<(), SinkError> {
        match self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => Ok(()),
            Err(_) => Err(SinkError::plain("put a pack: no space is left")),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_fails_ends_the_run_early_with_its_reason() {
    let (_storage, repository) = in_memory().await;
    let writer = vault::writer(&repository, Arc::new(Full(AtomicUsize::new(2))));

    let written = writer.write(Noisy(1), StreamOptions::default()).await.unwrap_err();
    let finished = writer.finish().await.unwrap_err();

    for error in [written, finished] {
        let WriteError::Failed(first) = error else { unreachable!("{error:?}") };
        assert!(matches!(&*first, WriteError::Sink(_)), "{first:?}");
    }
}

/// Endless bytes by chance: it ends only because the writer gives up.
struct Noisy(u64);

impl AsyncRead for Noisy {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0 += 1;
        let bytes = noise(buffer.remaining().min(1 << 16), self.0 * 2);
        buffer.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

async fn checked(storage: &Arc<MemoryStorage>, key: &MasterKey) -> CheckReport {
    let storage: Arc<dyn Storage> = storage.clone();
    check(&storage, key, CheckOptions { read_data: true }).await.unwrap()
}

async fn flip(storage: &MemoryStorage, name: ObjectName, position: usize) {
    let mut content = storage.read(name).await.unwrap().to_vec();
    let position = position % content.len();
    content[position] ^= 0x01;
    storage.overwrite(name, content);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_in_any_object_is_found_by_check() {
    for kind in Kind::ALL {
        if kind == Kind::Lock {
            continue;
        }
        let (storage, repository) = in_memory().await;
        backup(&repository, "1", &[&noise(3 << 20, 1)]).await;
        for object in storage.list(kind).await.unwrap() {
            for position in [0, 17, 100, usize::try_from(object.size).unwrap() - 1] {
                let name = ObjectName::of(kind, object.id);
                let sound = storage.read(name).await.unwrap();
                flip(&storage, name, position).await;

                let report = checked(&storage, repository.master_key()).await;

                let named = report.problems.iter().any(|problem| problem.object == name);
                assert!(named, "{name} at {position}: {:?}", report.problems);
                storage.overwrite(name, sound);
            }
        }
        assert!(checked(&storage, repository.master_key()).await.is_sound());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_in_the_config_or_an_index_does_not_open() {
    for kind in [None, Some(Kind::Index)] {
        let (storage, repository) = in_memory().await;
        backup(&repository, "1", &[b"x"]).await;
        let name = match kind {
            None => ObjectName::Config,
            Some(kind) => ObjectName::of(kind, storage.list(kind).await.unwrap()[0].id),
        };
        flip(&storage, name, 20).await;

        let opened = Repository::open(storage, &vault::PASSPHRASE.into()).await;

        assert!(opened.is_err(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_in_a_blob_is_never_restored_silently() {
    let (storage, repository) = in_memory().await;
    let content = noise(3 << 20, 2);
    let (snapshot, _) = backup(&repository, "1", &[&content]).await;
    let tree = vault::reader(&repository).tree(snapshot.snapshot.tree).await.unwrap();
    let blobs = tree.nodes()[0].content.clone().unwrap();

    for blob in blobs {
        let place = repository.with_index(|index| index.locate(&blob)).unwrap();
        let name = ObjectName::Pack(place.pack);
        let sound = storage.read(name).await.unwrap();
        flip(&storage, name, usize::try_from(place.offset).unwrap() + 40).await;

        let error = restore(&repository, &snapshot).await.unwrap_err();
        let report = checked(&storage, repository.master_key()).await;

        let is_named = matches!(
            error, ReadError::Damaged { blob: named, pack, .. } if named == blob && pack == place.pack
        );
        assert!(is_named, "{error:?}");
        let problem = report.problems.iter().find(|problem| problem.blob == Some(blob)).unwrap();
        assert_eq!((problem.object, &problem.snapshots), (name, &vec![snapshot.id]));
        storage.overwrite(name, sound);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_or_missing_pack_is_found_without_reading_data() {
    let (storage, repository) = in_memory().await;
    let (snapshot, written) = backup(&repository, "1", &[&noise(3 << 20, 2)]).await;
    let sound = ObjectName::Pack(written.packs[0]);
    let content = storage.read(sound).await.unwrap();
    let shared: Arc<dyn Storage> = storage.clone();
    let options = CheckOptions { read_data: false };

    storage.overwrite(sound, content.slice(..content.len() - 1));
    let cut = check(&shared, repository.master_key(), options).await.unwrap();
    storage.delete(sound).await.unwrap();
    let missing = check(&shared, repository.master_key(), options).await.unwrap();

    for (report, what) in [(cut, "cut"), (missing, "missing")] {
        let problem = report.problems.iter().find(|problem| problem.object == sound).unwrap();
        assert!(problem.what.contains(what), "{}", problem.what);
        assert_eq!(problem.snapshots, [snapshot.id]);
    }
    assert!(restore(&repository, &snapshot).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_names_only_the_snapshots_that_it_concerns() {
    let (storage, repository) = in_memory().await;
    backup(&repository, "1", &[&noise(2 << 20, 2)]).await;
    let (second, written) = backup(&repository, "2", &[&noise(2 << 20, 4)]).await;

    let tree = repository.with_index(|index| index.locate(&second.snapshot.tree)).unwrap();
    for pack in written.packs.iter().filter(|pack| **pack != tree.pack) {
        storage.delete(ObjectName::Pack(*pack)).await.unwrap();
    }
    let report = checked(&storage, repository.master_key()).await;

    assert!(!report.is_sound());
    assert!(report.problems.iter().all(|problem| problem.snapshots == [second.id]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_another_repository_opens_nothing() {
    let (storage, repository) = in_memory().await;
    let (snapshot, _) = backup(&repository, "1", &[b"x"]).await;
    let other = MasterKey::generate().unwrap();

    let opened = Repository::open_with_key(storage.clone(), other.clone()).await;
    let reader = lazarette_repo::reader::Reader::new(
        &other,
        repository.clone(),
        tokio::runtime::Handle::current(),
        lazarette_repo::reader::ReaderOptions::default(),
    );
    let read = reader.tree(snapshot.snapshot.tree).await;

    assert!(opened.is_err());
    assert!(matches!(read, Err(ReadError::Damaged { .. })), "{read:?}");
}
