//! A restored tree takes the place of a live one, and gives it back, from wherever it was stopped.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use lazarette_agent::volume::{
    SavedTree,
    exchange::{Exchange, ExchangeError, Way},
    root::Root,
    worker::Seams,
};
use lazarette_core::error::ReasonedError as _;

use crate::{
    store::{Bench, is_root},
    trees::{described, grow, sh},
};

struct Prepared {
    bench: Bench,
    live: String,
    restored: String,
    saved: SavedTree,
}

/// A live tree, and another one restored beside it.
async fn prepared(way: Way) -> Prepared {
    let bench = Bench::new();
    grow(&bench.data(), 7, 14);
    sh(
        &bench.data(),
        "echo same > same; mkdir -p both/inner; setfacl -d -m u:5:r .; touch -d @5 .",
    );
    let restored = described(&bench.data());
    let saved = bench.save().await.unwrap();
    sh(
        &bench.data(),
        "rm -rf plain* both; echo other > same; echo x > only-live; chmod 711 .; chown 9 .",
    );
    sh(&bench.data(), "setfattr -n user.live -v 1 .; mkdir sub; touch -d @77 sub .");
    let live = described(&bench.data());
    bench.restore_beside(&saved, way).await;
    Prepared { bench, live, restored, saved }
}

/// What is in the live directory, without what belongs to the exchange.
fn seen(bench: &Bench) -> String {
    let work = bench.data().join(format!(".lazarette-{}", bench.run));
    let has_work = work.exists();
    if has_work {
        sh(
            bench.outer(),
            &format!("touch -r data time; mv {} aside; touch -r time data", work.display()),
        );
    }
    let all = described(&bench.data());
    if has_work {
        sh(bench.outer(), &format!("mv aside {}; touch -r time data", work.display()));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ways_swap_undo_and_accept_and_doing_it_twice_is_doing_it_once() {
    if !is_root("both_ways_swap_undo_and_accept") {
        return;
    }
    for way in [Way::Directory, Way::Entries] {
        let Prepared { bench, live, restored, .. } = prepared(way).await;
        let exchange = || bench.exchange(way);

        assert!(matches!(exchange().accept(), Err(ExchangeError::NotPrepared { .. })));
        for _ in 0..2 {
            exchange().swap().unwrap();
        }
        assert_eq!(seen(&bench), restored, "{way}");
        for _ in 0..2 {
            exchange().undo().unwrap();
        }
        assert_eq!(described(&bench.data()), live, "{way}");

        let saved = bench.save().await.unwrap();
        bench.restore_beside(&saved, way).await;
        exchange().swap().unwrap();
        for _ in 0..2 {
            exchange().accept().unwrap();
        }
        assert_eq!(described(&bench.data()), live, "{way}");
        assert!(!exchange().work_path().exists());
    }
}

/// Stops the exchange by the kernel after each rename that it makes, and undoes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undo_leads_back_from_a_kill_between_any_two_renames() {
    if !is_root("undo_leads_back_from_a_kill") {
        return;
    }
    for way in [Way::Directory, Way::Entries] {
        let Prepared { bench, live, saved, .. } = prepared(way).await;
        let mut kills = 0;
        // The journal is kept by the one call, everything else is moved by the other.
        let stops = [("renameat", 1)].into_iter().chain((1..).map(|stop| ("renameat2", stop)));
        for (call, stop) in stops {
            // Another process does what a killed agent had done: `strace` ends it at a rename.
            let helper = std::env::current_exe().unwrap();
            let inject = format!("inject={call}:signal=KILL:when={stop}");
            let status = std::process::Command::new("strace")
                .args(["-f", "-qqq", "-o", "/dev/null", "-e", &inject])
                .arg(helper)
                .args(["--exact", "exchange::helper_that_swaps", "--ignored", "--nocapture"])
                .env("SWAP_ROOT", bench.data())
                .env("SWAP_RUN", bench.run.to_string())
                .env("SWAP_WAY", if way == Way::Directory { "directory" } else { "entries" })
                .output()
                .unwrap();
            if status.status.success() {
                break;
            }
            kills += 1;
            bench.exchange(way).undo().unwrap();
            assert_eq!(described(&bench.data()), live, "{way}, stopped at {call} {stop}");
            // Undoing has removed what was restored: restore it again for the next one.
            bench.restore_beside(&saved, way).await;
        }
        assert!(kills >= 3, "{way}: {kills}");
        bench.exchange(way).undo().unwrap();
        assert_eq!(described(&bench.data()), live, "{way}");
    }
}

/// Not a test: see above.
#[test]
#[ignore = "is started by another test"]
fn helper_that_swaps() {
    let Ok(root) = std::env::var("SWAP_ROOT") else { return };
    let way = match std::env::var("SWAP_WAY").unwrap().as_str() {
        "directory" => Way::Directory,
        _ => Way::Entries,
    };
    let run = std::env::var("SWAP_RUN").unwrap().parse().unwrap();
    Exchange::of(Path::new(&root), way, run).unwrap().swap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h9_a_mount_point_is_not_exchanged_as_a_directory_and_its_entries_are() {
    if !is_root("h9_a_mount_point") {
        return;
    }
    let bench = Bench::new();
    sh(bench.outer(), "mount -t tmpfs none data && echo live > data/f");

    let refused = Exchange::of(&bench.data(), Way::Directory, bench.run).unwrap_err();
    let saved = bench.save().await.unwrap();
    sh(&bench.data(), "echo changed > f");
    bench.restore_beside(&saved, Way::Entries).await;
    bench.exchange(Way::Entries).swap().unwrap();
    let swapped = fs::read(bench.data().join("f"));
    bench.exchange(Way::Entries).accept().unwrap();
    sh(bench.outer(), "umount data");

    assert!(matches!(refused, ExchangeError::Mounted { .. }), "{refused}");
    assert_eq!(swapped.unwrap(), b"live\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mount_below_the_root_refuses_the_exchange_before_anything_is_touched() {
    if !is_root("a_mount_below_the_root") {
        return;
    }
    let bench = Bench::new();
    sh(&bench.data(), "mkdir m && mount -t tmpfs none m");

    let refused = bench.exchange(Way::Entries).prepare().unwrap_err();
    sh(&bench.data(), "umount m");

    assert!(refused.to_string().contains("data/m"), "{refused}");
    assert_eq!(refused.reason().as_str(), "STACK_UNSUPPORTED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_restore_left_is_not_saved() {
    if !is_root("what_another_restore_left") {
        return;
    }
    let Prepared { bench, .. } = prepared(Way::Entries).await;

    let saved = bench.save().await.unwrap();

    assert!(bench.notes().iter().any(|note| note.contains(".lazarette-run-")));
    bench.exchange(Way::Entries).undo().unwrap();
    let found = bench.save().await.unwrap();
    let without_time = |it: &SavedTree| it.evidence.0["tree/content"].clone();
    assert_eq!(without_time(&saved), without_time(&found));
}

/// Saves two files of a project, changes the project, and restores the files beside.
async fn project(way: Way) -> (Bench, String) {
    let bench = Bench::new();
    sh(
        &bench.data(),
        "mkdir -p conf/app other; echo A=1 > .env; echo saved > conf/app/x; echo z > other/z",
    );
    sh(
        &bench.data(),
        "chmod 600 .env; chown 5:6 conf/app/x; ln -s ../.env conf/link; touch -d @9 .env",
    );
    let only = [&b".env"[..], b"conf/app/x", b"conf/link"].map(<[u8]>::to_vec);
    let root = Root::named(&bench.data()).unwrap();
    let seams = Seams::storing(bench.sink());
    let saved = bench.volumes().save(&root, &only, &bench.key, bench.call(&seams)).await.unwrap();
    sh(&bench.data(), "echo A=2 > .env; rm -rf conf; echo changed > other/z; touch -d @5 .");
    let live = described(&bench.data());
    bench.restore_beside(&saved, way).await;
    (bench, live)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h11_files_come_back_one_by_one_and_nothing_else_is_touched() {
    if !is_root("h11_files_come_back_one_by_one") {
        return;
    }
    for way in [Way::Paths, Way::Content] {
        let (bench, live) = project(way).await;
        let inode = fs::metadata(bench.data().join(".env")).unwrap().ino();
        let told = bench.exchange(way).differences().unwrap();

        for _ in 0..2 {
            bench.exchange(way).swap().unwrap();
        }
        let state = "cat .env conf/app/x other/z; stat -c '%a %u %g %Y' .env conf/app/x; readlink conf/link";
        let swapped = String::from_utf8(sh(&bench.data(), state)).unwrap();
        let is_same = fs::metadata(bench.data().join(".env")).unwrap().ino() == inode;
        for _ in 0..2 {
            bench.exchange(way).undo().unwrap();
        }

        let paths: Vec<_> = told.iter().map(|it| it.path.as_str()).collect();
        assert_eq!(paths, [".env", "conf/app/x", "conf/link"], "{way}");
        assert!(
            swapped.starts_with("A=1\nsaved\nchanged\n600 0 0 9\n644 5 6 "),
            "{way}: {swapped}"
        );
        assert!(swapped.ends_with("../.env\n"), "{way}: {swapped}");
        assert_eq!(is_same, way == Way::Content, "{way}");
        assert_eq!(described(&bench.data()), live, "{way}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h12_files_are_not_written_through_a_link_that_was_put_in_their_way() {
    if !is_root("h12_files_are_not_written_through_a_link") {
        return;
    }
    for way in [Way::Paths, Way::Content] {
        let (bench, _) = project(way).await;
        sh(
            bench.outer(),
            "mkdir -p victim/app && echo safe > victim/app/x && ln -s ../victim data/conf",
        );
        let victim = described(&bench.outer().join("victim"));

        let refused = bench.exchange(way).swap();
        bench.exchange(way).undo().unwrap();

        assert!(refused.is_err());
        assert_eq!(described(&bench.outer().join("victim")), victim);
        assert_eq!(fs::read(bench.data().join(".env")).unwrap(), b"A=2\n");
    }
}
