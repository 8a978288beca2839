//! Conformance: what every store does, whatever it is made of.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::{
    Batch, DiskStore, Expected, MAX_KEY_BYTES, MAX_VALUE_BYTES, MemoryStore, Options, Order, Scan,
    Store, StoreError,
};

/// Every test gets an empty store of each kind.
macro_rules! conformance {
    ($($name:ident)*) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(std::sync::Arc::new(super::MemoryStore::new())).await;
            })*
        }
        mod disk {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let dir = tempfile::tempdir().unwrap();
                let store = super::open(dir.path());
                super::$name(std::sync::Arc::new(store)).await;
            })*
        }
    };
}

conformance! {
    a_value_is_there_after_its_commit_and_gone_after_its_delete
    a_batch_happens_wholly_or_not_at_all
    an_insert_of_what_is_there_is_a_conflict
    a_scan_lists_a_prefix_page_by_page_in_both_orders
    a_page_ends_early_when_its_values_are_big
    the_longest_key_and_value_fit_and_longer_ones_are_refused
    of_many_tasks_that_count_up_one_key_none_is_lost
    of_many_tasks_that_take_one_key_one_gets_it
}

/// A store on disk, small and without a reserve.
pub(super) fn open(directory: &std::path::Path) -> DiskStore {
    DiskStore::open(directory, &small()).unwrap()
}

pub(super) fn small() -> Options {
    Options { reserve_bytes: 0, floor_bytes: 0, ..Options::default() }
}

type Any = Arc<dyn Store>;

async fn a_value_is_there_after_its_commit_and_gone_after_its_delete(store: Any) {
    let mut put = Batch::new();
    put.put("a", "1");
    put.put("b", "");
    let mut delete = Batch::new();
    delete.delete("a");
    delete.delete("never there");

    store.commit(put).await.unwrap();
    let there = (store.get(b"a").await.unwrap(), store.get(b"b").await.unwrap());
    store.commit(delete).await.unwrap();
    let gone = store.get(b"a").await.unwrap();

    assert_eq!(there, (Some(Bytes::from("1")), Some(Bytes::new())));
    assert_eq!(gone, None);
    store.commit(Batch::new()).await.unwrap();
}

async fn a_batch_happens_wholly_or_not_at_all(store: Any) {
    let mut first = Batch::new();
    first.put("a", "1");
    store.commit(first).await.unwrap();
    let mut second = Batch::new();
    second.put("b", "2");
    second.delete("a");
    second.require("c", Expected::Value("3".into()));

    let outcome = store.commit(second).await;

    assert!(matches!(outcome, Err(StoreError::Conflict { key }) if key.to_string() == "c"));
    assert_eq!(store.get(b"a").await.unwrap(), Some("1".into()));
    assert_eq!(store.get(b"b").await.unwrap(), None);
}

async fn an_insert_of_what_is_there_is_a_conflict(store: Any) {
    let mut insert = Batch::new();
    insert.insert("token/1", "fresh");
    store.commit(insert.clone()).await.unwrap();
    let mut burn = Batch::new();
    burn.replace("token/1", "fresh", "used");

    let again = store.commit(insert).await;
    store.commit(burn.clone()).await.unwrap();
    let burnt_twice = store.commit(burn).await;

    assert!(again.unwrap_err().is_conflict());
    assert!(burnt_twice.unwrap_err().is_conflict());
    assert_eq!(store.get(b"token/1").await.unwrap(), Some("used".into()));
}

async fn a_scan_lists_a_prefix_page_by_page_in_both_orders(store: Any) {
    let mut batch = Batch::new();
    for n in 0..10_u8 {
        batch.put([b"run/".as_slice(), &[n]].concat(), vec![n]);
    }
    batch.put("run", "before");
    batch.put("run0", "behind");
    batch.put([255, 255], "last");
    store.commit(batch).await.unwrap();

    let up = keys(&store, Order::Ascending, 3).await;
    let down = keys(&store, Order::Descending, 4).await;
    let all = store.scan(Scan::prefix("")).await.unwrap();

    assert_eq!(up, (0..10).collect::<Vec<_>>());
    assert_eq!(down, (0..10).rev().collect::<Vec<_>>());
    assert_eq!((all.entries.len(), all.more), (13, false));
    assert_eq!(all.entries.last().unwrap().key, [255, 255]);
    assert!(store.scan(Scan::prefix("nothing")).await.unwrap().entries.is_empty());
}

/// The last bytes of the keys in `run/`, read in pages of `limit`.
async fn keys(store: &Any, order: Order, limit: usize) -> Vec<u8> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    loop {
        let after = found.last().cloned();
        let scan = Scan { prefix: b"run/".to_vec(), after, limit, order };
        let page = store.scan(scan).await.unwrap();
        assert!(page.entries.len() <= limit);
        found.extend(page.entries.into_iter().map(|entry| entry.key));
        if !page.more {
            return found.into_iter().map(|key| key[4]).collect();
        }
    }
}

async fn a_page_ends_early_when_its_values_are_big(store: Any) {
    for n in 0..100_u8 {
        let mut batch = Batch::new();
        batch.put([n + 1], vec![n; MAX_VALUE_BYTES]);
        store.commit(batch).await.unwrap();
    }

    let page = store.scan(Scan::prefix("")).await.unwrap();

    assert!(page.more);
    assert_eq!(page.entries.len(), 65);
}

async fn the_longest_key_and_value_fit_and_longer_ones_are_refused(store: Any) {
    let (key, value) = (vec![b'k'; MAX_KEY_BYTES], vec![7; MAX_VALUE_BYTES]);
    let mut longest = Batch::new();
    longest.put(key.clone(), value.clone());
    let mut longer = Batch::new();
    longer.put("k", vec![7; MAX_VALUE_BYTES + 1]);

    store.commit(longest).await.unwrap();
    let refused = store.commit(longer).await;

    assert_eq!(store.get(&key).await.unwrap(), Some(value.into()));
    assert!(matches!(refused, Err(StoreError::Refused(_))));
    assert_eq!(store.get(b"k").await.unwrap(), None);
}

async fn of_many_tasks_that_count_up_one_key_none_is_lost(store: Any) {
    const TASKS: u64 = 16;
    const TIMES: u64 = 25;
    let tasks = (0..TASKS).map(|_| {
        let store = Arc::clone(&store);
        async move {
            for _ in 0..TIMES {
                while !count_up(&store).await {}
            }
        }
    });

    futures::future::join_all(tasks).await;

    let count = store.get(b"count").await.unwrap().unwrap();
    assert_eq!(number(&count), TASKS * TIMES);
}

async fn count_up(store: &Any) -> bool {
    let seen = store.get(b"count").await.unwrap();
    let mut batch = Batch::new();
    match seen {
        Some(seen) => {
            let next = number(&seen) + 1;
            batch.replace("count", seen, next.to_be_bytes().to_vec());
        }
        None => batch.insert("count", 1_u64.to_be_bytes().to_vec()),
    }
    match store.commit(batch).await {
        Ok(()) => true,
        Err(error) if error.is_conflict() => false,
        Err(error) => panic!("{error}"),
    }
}

fn number(value: &[u8]) -> u64 {
    u64::from_be_bytes(value.try_into().unwrap())
}

async fn of_many_tasks_that_take_one_key_one_gets_it(store: Any) {
    let tasks = (0..100).map(|n| {
        let store = Arc::clone(&store);
        async move {
            let mut batch = Batch::new();
            batch.insert("lease", format!("task {n}"));
            batch.put(format!("task/{n}"), "won");
            store.commit(batch).await.is_ok()
        }
    });

    let won = futures::future::join_all(tasks).await;

    assert_eq!(won.iter().filter(|won| **won).count(), 1);
    assert_eq!(store.scan(Scan::prefix("task/")).await.unwrap().entries.len(), 1);
}

/// One change of a small set of keys.
#[derive(Clone, Debug)]
enum Step {
    Put(u8, u8),
    Delete(u8),
    Insert(u8, u8),
    Swap(u8, u8, u8),
}

fn step() -> impl Strategy<Value = Step> {
    let (key, value) = (1..8_u8, 0..4_u8);
    prop_oneof![
        (key.clone(), value.clone()).prop_map(|(key, value)| Step::Put(key, value)),
        key.clone().prop_map(Step::Delete),
        (key.clone(), value.clone()).prop_map(|(key, value)| Step::Insert(key, value)),
        (key, value.clone(), value).prop_map(|(key, seen, value)| Step::Swap(key, seen, value)),
    ]
}

fn batch(steps: &[Step]) -> Batch {
    let mut batch = Batch::new();
    for step in steps {
        match *step {
            Step::Put(key, value) => batch.put([key], vec![value]),
            Step::Delete(key) => batch.delete([key]),
            Step::Insert(key, value) => batch.insert([key], vec![value]),
            Step::Swap(key, seen, value) => batch.replace([key], vec![seen], vec![value]),
        }
    }
    batch
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_disk_answers_as_memory_does_also_after_it_was_opened_again(
        batches in prop::collection::vec(prop::collection::vec(step(), 0..4), 0..20),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (disk, memory) = (open(dir.path()), MemoryStore::new());

        for steps in &batches {
            let (one, other) = runtime.block_on(async {
                (disk.commit(batch(steps)).await, memory.commit(batch(steps)).await)
            });
            prop_assert_eq!(format!("{one:?}"), format!("{other:?}"));
        }

        let expected = runtime.block_on(entries(&memory));
        prop_assert_eq!(&runtime.block_on(entries(&disk)), &expected);
        drop(disk);
        prop_assert_eq!(&runtime.block_on(entries(&open(dir.path()))), &expected);
    }
}

async fn entries(store: &dyn Store) -> BTreeMap<Vec<u8>, Bytes> {
    let page = store.scan(Scan::prefix("")).await.unwrap();
    page.entries.into_iter().map(|entry| (entry.key, entry.value)).collect()
}
