//! Sessions: who may write what, and that a snapshot is the last thing there is.

use std::sync::Arc;

use jiff::SignedDuration;
use lazarette_repo::id::BlobId;
use lazarette_repo::lock::{self, Holder, Lock, LockError, LockMode};
use lazarette_repo::pack::SealedPack;
use lazarette_repo::session::{CommitError, ReportError, Session};
use lazarette_repo::sink::{PackSink, SinkError};
use lazarette_repo::storage::{Kind, ObjectName, Storage};
use lazarette_repo::tree::Tree;
use lazarette_repo::writer::StreamOptions;

use crate::vault::{self, backup, in_memory, noise, now, request, restore};

/// A sink that keeps what it is given, to be lied about.
#[derive(Debug, Default)]
struct Keeper(std::sync::Mutex<Vec<SealedPack>>);

#[async_trait::async_trait]
impl PackSink for Keeper {
    async fn known(&self, ids: &[BlobId]) -> Result<Vec<bool>, SinkError> {
        Ok(vec![false; ids.len()])
    }

    async fn put_pack(&self, pack: SealedPack) -> Result<(), SinkError> {
        self.0.lock().unwrap().push(pack);
        Ok(())
    }
}

/// A pack with `content`, made for `repository` but not in it.
async fn pack_of(
    repository: &lazarette_repo::repository::Repository,
    content: &[u8],
) -> SealedPack {
    let keeper = Arc::new(Keeper::default());
    let writer = vault::writer(repository, keeper.clone());
    writer.write(content, StreamOptions::default()).await.unwrap();
    writer.finish().await.unwrap();
    let pack = keeper.0.lock().unwrap().pop();
    pack.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn h23_a_report_that_differs_from_the_pack_s_own_header_is_refused() {
    let (storage, repository) = in_memory().await;
    let session = vault::session(&repository).await;
    let pack = pack_of(&repository, b"garbage").await;
    let mut lie = pack.entries.clone();
    lie[0].id = BlobId::of(b"what others have");
    storage.create(ObjectName::Pack(pack.id), pack.bytes.clone()).await.unwrap();

    let reported = session.report(pack.id, &lie).await;
    let put = session.put(SealedPack { entries: lie.clone(), ..pack.clone() }).await;

    assert!(matches!(reported, Err(ReportError::Lie { .. })), "{reported:?}");
    assert!(matches!(put, Err(ReportError::Lie { .. })), "{put:?}");
    assert_eq!(session.known(&[lie[0].id]), [false]);
    session.report(pack.id, &pack.entries).await.unwrap();
    assert_eq!(session.known(&[pack.entries[0].id]), [true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn h23_a_pack_with_a_blob_that_was_there_before_is_refused() {
    let (_storage, repository) = in_memory().await;
    backup(&repository, "1", &[b"theirs"]).await;
    let session = vault::session(&repository).await;
    let twin = pack_of(&repository, b"theirs").await;

    let refused = session.put(twin).await;

    assert!(matches!(refused, Err(ReportError::Known { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_of_other_bytes_or_another_key_is_refused() {
    let (_storage, repository) = in_memory().await;
    let (_other, elsewhere) = in_memory().await;
    let session = vault::session(&repository).await;
    let pack = pack_of(&repository, b"x").await;
    let foreign = pack_of(&elsewhere, b"x").await;

    let renamed = session.put(SealedPack { id: foreign.id, ..pack }).await;
    let sealed_elsewhere = session.put(foreign).await;

    assert!(matches!(renamed, Err(ReportError::Content { .. })), "{renamed:?}");
    assert!(matches!(sealed_elsewhere, Err(ReportError::Header { .. })), "{sealed_elsewhere:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn committing_a_run_twice_is_committing_it_once() {
    let (_storage, repository) = in_memory().await;
    let session = vault::session(&repository).await;
    let writer = vault::writer(&repository, session.clone());
    let content = writer.write(b"once".as_slice(), StreamOptions::default()).await.unwrap();
    let tree = Tree::new(vec![vault::file("file 0", content)]).unwrap();
    let tree = writer.save_tree(&tree).await.unwrap();
    let written = writer.finish().await.unwrap();

    let first = session.commit(request("r", tree, &written)).await.unwrap();
    let second = session.commit(request("r", tree, &written)).await.unwrap();
    let later = vault::session(&repository).await;
    let third = later.commit(request("r", tree, &written)).await.unwrap();
    let other = later.commit(request("r", BlobId::of(b"other"), &written)).await;

    assert_eq!((first.id, first.id), (second.id, third.id));
    assert!(matches!(other, Err(CommitError::Conflict { .. })), "{other:?}");
    assert_eq!(repository.snapshots().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_restarted_opens_the_packs_that_it_does_not_remember() {
    let (_storage, repository) = in_memory().await;
    let before = vault::session(&repository).await;
    let writer = vault::writer(&repository, before.clone());
    let content = writer.write(b"kept".as_slice(), StreamOptions::default()).await.unwrap();
    let tree = Tree::new(vec![vault::file("file 0", content)]).unwrap();
    let tree = writer.save_tree(&tree).await.unwrap();
    let written = writer.finish().await.unwrap();
    before.end().await.unwrap();

    let after = vault::session(&repository).await;
    let snapshot = after.commit(request("r", tree, &written)).await.unwrap();

    assert_eq!(restore(&repository, &snapshot).await.unwrap(), [b"kept"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_without_its_tree_or_its_packs_makes_no_snapshot() {
    let (storage, repository) = in_memory().await;
    let session = vault::session(&repository).await;
    let writer = vault::writer(&repository, session.clone());
    let tree = writer.save_tree(&Tree::default()).await.unwrap();
    let written = writer.finish().await.unwrap();
    let data = pack_of(&repository, b"x").await;

    let no_tree = session.commit(request("a", data.entries[0].id, &written)).await;
    let mut missing = request("b", tree, &written);
    missing.packs.push(data.id);
    let no_pack = session.commit(missing).await;

    assert!(matches!(no_tree, Err(CommitError::NoTree { .. })), "{no_tree:?}");
    assert!(matches!(no_pack, Err(CommitError::Pack(_))), "{no_pack:?}");
    assert_eq!(storage.list(Kind::Snapshot).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_lets_the_next_run_reuse_what_an_aborted_one_stored() {
    let (_storage, repository) = in_memory().await;
    let content = noise(4 << 20, 1);
    let aborted = vault::session(&repository).await;
    let writer = vault::writer(&repository, aborted.clone());
    writer.write(content.as_slice(), StreamOptions::default()).await.unwrap();
    writer.finish().await.unwrap();
    aborted.checkpoint(&[]).await.unwrap();
    aborted.end().await.unwrap();

    let (_, written) = backup(&repository, "2", &[&content]).await;

    assert_eq!(written.stats.blobs_new, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_at_once_each_get_their_snapshot() {
    let (storage, repository) = in_memory().await;
    let shared = noise(6 << 20, 1);
    let contents = [noise(3 << 20, 3), noise(3 << 20, 5)];

    let one: [&[u8]; 2] = [&shared, &contents[0]];
    let two: [&[u8]; 2] = [&shared, &contents[1]];
    let (one, two) = tokio::join!(backup(&repository, "1", &one), backup(&repository, "2", &two));

    for (snapshot, own) in [(one.0, &contents[0]), (two.0, &contents[1])] {
        assert_eq!(&restore(&repository, &snapshot).await.unwrap()[1], own);
    }
    let storage: Arc<dyn Storage> = storage;
    let options = lazarette_repo::check::CheckOptions { read_data: true };
    let report = lazarette_repo::check::check(&storage, repository.master_key(), options).await;
    assert!(report.unwrap().is_sound());
}

#[tokio::test(flavor = "multi_thread")]
async fn h26_writers_share_and_a_foreign_exclusive_lock_is_named() {
    let (_storage, repository) = in_memory().await;
    let foreign = Holder { hostname: "laptop".to_owned(), username: "anna".to_owned(), pid: 4711 };
    let own = vault::holder();
    let take = |mode, holder| Lock::acquire(&repository, mode, holder, now());

    let exclusive = take(LockMode::Exclusive, &foreign).await.unwrap();
    let refused = take(LockMode::Shared, &own).await.unwrap_err();
    exclusive.release().await.unwrap();
    let one = take(LockMode::Shared, &own).await.unwrap();
    let two = take(LockMode::Shared, &foreign).await.unwrap();
    let alone = take(LockMode::Exclusive, &foreign).await;

    assert!(refused.to_string().contains("anna@laptop (process 4711)"), "{refused}");
    assert!(matches!(alone, Err(LockError::Held { .. })));
    one.refresh(now() + SignedDuration::from_mins(5)).await.unwrap();
    two.release().await.unwrap();
    assert_eq!(lock::list(&repository).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn h26_own_left_overs_are_removed_and_stale_ones_are_not_waited_for() {
    let (_storage, repository) = in_memory().await;
    let foreign = Holder { hostname: "laptop".to_owned(), ..vault::holder() };
    let left = Lock::acquire(&repository, LockMode::Shared, &vault::holder(), now()).await.unwrap();
    drop(Lock::acquire(&repository, LockMode::Shared, &foreign, now()).await.unwrap());

    let restarted = Holder { pid: 2, ..vault::holder() };
    let removed = lock::remove_own(&repository, &restarted).await.unwrap();

    assert_eq!(removed.len(), 1);
    assert!(matches!(left.refresh(now()).await, Err(LockError::Lost)));
    let later = now() + SignedDuration::from_mins(31);
    drop(Lock::acquire(&repository, LockMode::Exclusive, &restarted, later).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_holds_its_lock_until_it_ends() {
    let (_storage, repository) = in_memory().await;

    let session: Arc<Session> = vault::session(&repository).await;
    let during = lock::list(&repository).await.unwrap().len();
    session.end().await.unwrap();

    assert_eq!((during, lock::list(&repository).await.unwrap().len()), (1, 0));
}
