//! Conformance: what every storage must do. Run [`all`] on an empty one of your backend.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a suite of tests fails by panicking")]

use bytes::Bytes;

use crate::id::{ObjectId, PackId};
use crate::storage::{Created, Kind, ObjectName, Storage, StorageError};

/// Runs every test on `storage`, which must be empty and is left empty.
pub async fn all(storage: &dyn Storage) {
    an_object_is_read_as_it_was_created(storage).await;
    parts_are_exact(storage).await;
    creating_twice_is_creating_once(storage).await;
    other_content_never_replaces(storage).await;
    what_is_missing_is_not_found(storage).await;
    lists_are_by_kind_and_ordered(storage).await;
    deleting_twice_is_deleting_once(storage).await;
    many_at_once_do_not_meet(storage).await;
    assert_empty(storage).await;
}

fn pack(content: &[u8]) -> (ObjectName, Bytes) {
    (ObjectName::Pack(PackId::of(content)), Bytes::copy_from_slice(content))
}

async fn an_object_is_read_as_it_was_created(storage: &dyn Storage) {
    let large: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
    for content in [b"".as_slice(), b"content", &large] {
        for kind in Kind::ALL {
            let name = ObjectName::of(kind, ObjectId::of(content));
            let created = storage.create(name, Bytes::copy_from_slice(content)).await.unwrap();
            assert_eq!(created, Created::New, "{name}");
            assert_eq!(storage.read(name).await.unwrap(), content, "{name}");
            assert_eq!(storage.size(name).await.unwrap(), u64::try_from(content.len()).unwrap());
            storage.delete(name).await.unwrap();
        }
    }
    storage.create(ObjectName::Config, Bytes::from_static(b"config")).await.unwrap();
    assert_eq!(storage.read(ObjectName::Config).await.unwrap(), b"config".as_slice());
    storage.delete(ObjectName::Config).await.unwrap();
}

async fn parts_are_exact(storage: &dyn Storage) {
    let (name, content) = pack(b"0123456789");
    storage.create(name, content).await.unwrap();

    assert_eq!(storage.read_range(name, 2..5).await.unwrap(), b"234".as_slice());
    assert_eq!(storage.read_range(name, 0..10).await.unwrap(), b"0123456789".as_slice());
    assert_eq!(storage.read_range(name, 10..10).await.unwrap(), b"".as_slice());
    for range in [5..11, 20..30] {
        let short = storage.read_range(name, range).await;
        assert!(matches!(short, Err(StorageError::Short { size: 10, .. })), "{short:?}");
    }
    storage.delete(name).await.unwrap();
}

async fn creating_twice_is_creating_once(storage: &dyn Storage) {
    let (name, content) = pack(b"twice");

    assert_eq!(storage.create(name, content.clone()).await.unwrap(), Created::New);
    assert_eq!(storage.create(name, content).await.unwrap(), Created::AlreadyThere);

    assert_eq!(storage.list(Kind::Pack).await.unwrap().len(), 1);
    storage.delete(name).await.unwrap();
}

async fn other_content_never_replaces(storage: &dyn Storage) {
    for (name, first) in [(ObjectName::Config, b"one".as_slice()), (pack(b"first").0, b"first")] {
        storage.create(name, Bytes::copy_from_slice(first)).await.unwrap();
        let refused = storage.create(name, Bytes::from_static(b"another")).await;

        assert!(matches!(refused, Err(StorageError::Conflict { .. })), "{name}: {refused:?}");
        assert_eq!(storage.read(name).await.unwrap(), first);
        storage.delete(name).await.unwrap();
    }
}

async fn what_is_missing_is_not_found(storage: &dyn Storage) {
    let name = pack(b"missing").0;

    let results = [
        storage.read(name).await.map(drop),
        storage.read_range(name, 0..1).await.map(drop),
        storage.size(name).await.map(drop),
        storage.read(ObjectName::Config).await.map(drop),
    ];

    for result in results {
        match result {
            Err(error @ StorageError::NotFound { .. }) => assert!(!error.is_transient()),
            other => panic!("a missing object: {other:?}"),
        }
    }
}

async fn lists_are_by_kind_and_ordered(storage: &dyn Storage) {
    let contents: Vec<Vec<u8>> = (0..40u8).map(|number| vec![number; 5]).collect();
    for content in &contents {
        let name = ObjectName::of(Kind::Snapshot, ObjectId::of(content));
        storage.create(name, Bytes::copy_from_slice(content)).await.unwrap();
    }
    let (other, content) = pack(b"of another kind");
    storage.create(other, content).await.unwrap();

    let listed = storage.list(Kind::Snapshot).await.unwrap();

    let mut ids: Vec<_> = contents.iter().map(|content| ObjectId::of(content)).collect();
    ids.sort();
    assert_eq!(listed.iter().map(|object| object.id).collect::<Vec<_>>(), ids);
    assert!(listed.iter().all(|object| object.size == 5));
    for id in ids {
        storage.delete(ObjectName::Snapshot(id)).await.unwrap();
    }
    storage.delete(other).await.unwrap();
}

async fn deleting_twice_is_deleting_once(storage: &dyn Storage) {
    let (name, content) = pack(b"gone");
    storage.create(name, content).await.unwrap();

    storage.delete(name).await.unwrap();
    storage.delete(name).await.unwrap();

    assert!(matches!(storage.read(name).await, Err(StorageError::NotFound { .. })));
}

async fn many_at_once_do_not_meet(storage: &dyn Storage) {
    let (name, content) = pack(b"by many at once");
    let other = pack(b"another");

    let same = futures::future::join_all((0..8).map(|_| storage.create(name, content.clone())));
    let (same, different) = futures::join!(same, storage.create(other.0, other.1.clone()));

    let new = same.into_iter().filter(|made| *made.as_ref().unwrap() == Created::New).count();
    assert_eq!(new, 1, "one of eight makes it");
    assert_eq!(different.unwrap(), Created::New);
    assert_eq!(storage.read(name).await.unwrap(), content);
    storage.delete(name).await.unwrap();
    storage.delete(other.0).await.unwrap();
}

async fn assert_empty(storage: &dyn Storage) {
    for kind in Kind::ALL {
        assert_eq!(storage.list(kind).await.unwrap(), [], "the storage is left empty");
    }
}
