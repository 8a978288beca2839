//! Golden: a repository of the first version, stored beside this file, is read for ever.
//!
//! A new version adds another; none is ever changed. `make` made it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use lazarette_repo::check::{CheckOptions, check};
use lazarette_repo::key;
use lazarette_repo::repository::Repository;
use lazarette_repo::storage::memory::MemoryStorage;
use lazarette_repo::storage::{Kind, ObjectName, Storage};

use crate::vault::{self, backup, in_memory, noise, restore};

fn contents() -> [Vec<u8>; 3] {
    [noise(3000, 1), b"small".to_vec(), Vec::new()]
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/1")
}

async fn load() -> Arc<MemoryStorage> {
    let storage = Arc::new(MemoryStorage::new());
    let config = fs::read(folder().join("config")).unwrap();
    storage.create(ObjectName::Config, config.into()).await.unwrap();
    for kind in Kind::ALL {
        let Ok(entries) = fs::read_dir(folder().join(kind.folder())) else { continue };
        for entry in entries {
            let entry = entry.unwrap();
            let id = entry.file_name().to_str().unwrap().parse().unwrap();
            let content = Bytes::from(fs::read(entry.path()).unwrap());
            storage.create(ObjectName::of(kind, id), content).await.unwrap();
        }
    }
    storage
}

#[tokio::test(flavor = "multi_thread")]
async fn the_golden_repository_opens_with_both_passphrases_and_is_restored() {
    let storage = load().await;

    for passphrase in [vault::PASSPHRASE, "recovery passphrase"] {
        let repository = Repository::open(storage.clone(), &passphrase.into()).await.unwrap();
        let snapshot = repository.find_snapshot("latest").await.unwrap();
        assert_eq!(restore(&repository, &snapshot).await.unwrap(), contents());
        let shared: Arc<dyn Storage> = storage.clone();
        let options = CheckOptions { read_data: true };
        let report = check(&shared, repository.master_key(), options).await.unwrap();
        assert!(report.is_sound() && report.packs == 2, "{report:?}");
    }
    assert_eq!(key::list(&*storage).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "makes the golden repository of a new version"]
async fn make() {
    assert!(!folder().exists(), "a golden repository is never changed");
    let (storage, repository) = in_memory().await;
    let contents = contents();
    let contents: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
    backup(&repository, "golden", &contents).await;
    for kind in Kind::ALL {
        fs::create_dir_all(folder().join(kind.folder())).unwrap();
        for object in storage.list(kind).await.unwrap() {
            let content = storage.read(ObjectName::of(kind, object.id)).await.unwrap();
            let path = folder().join(kind.folder()).join(object.id.to_string());
            fs::write(path, content).unwrap();
        }
    }
    let config = storage.read(ObjectName::Config).await.unwrap();
    fs::write(folder().join("config"), config).unwrap();
}
