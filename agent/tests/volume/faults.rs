//! What goes wrong is an error and leaves nothing half done.

use std::{fs, path::Path};

use lazarette_agent::volume::{
    exchange::Way,
    root::Root,
    worker::{Seams, Workers},
};
use lazarette_core::{
    error::{Reason, ReasonedError as _, chain},
    units::ByteCount,
};
use tokio_util::sync::CancellationToken;

use crate::{
    store::{Bench, is_root},
    trees::{described, sh},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_refuses_fails_the_save_and_says_why() {
    if !is_root("a_sink_that_refuses") {
        return;
    }
    let bench = Bench::new();
    sh(&bench.data(), "head -c 60M /dev/urandom > big");
    *bench.store.room.lock().unwrap() = Some(1);

    let error = bench.save().await.unwrap_err();

    assert!(chain(&error).contains("the store is full"), "{}", chain(&error));
    assert_eq!(error.reason(), Reason::StorageUnavailable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_save_ends_its_child() {
    if !is_root("a_cancelled_save") {
        return;
    }
    let bench = Bench::new();
    sh(&bench.data(), "head -c 100M /dev/urandom > big");
    *bench.store.on_pack.lock().unwrap() = Some(bench.cancel.clone());

    let error = bench.save().await.unwrap_err();

    assert_eq!(error.reason(), Reason::Cancelled);
    assert_eq!(child_in(&bench.data()), None);
}

/// The process that is at work in `dir`.
fn child_in(dir: &Path) -> Option<String> {
    let here = |pid: &String| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|it| it == dir);
    let all = fs::read_dir("/proc").unwrap();
    let mut pids = all.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    pids.find(here)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_is_killed_in_the_middle_is_an_error() {
    if !is_root("a_child_that_is_killed") {
        return;
    }
    let mut bench = Bench::new();
    sh(&bench.data(), "head -c 200M /dev/urandom > big");
    let first_pack = CancellationToken::new();
    *bench.store.on_pack.lock().unwrap() = Some(first_pack.clone());
    bench.cancel = CancellationToken::new();

    let (saved, ()) = tokio::join!(bench.save(), async {
        first_pack.cancelled().await;
        let pid = child_in(&bench.data()).unwrap();
        sh(Path::new("/"), &format!("kill -KILL {pid}"));
    });

    let error = saved.unwrap_err();
    assert!(chain(&error).contains("signal: 9"), "{}", chain(&error));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_no_child_or_talks_nonsense_is_an_error() {
    if !is_root("a_program_that_is_no_child") {
        return;
    }
    let bench = Bench::new();
    let scripts =
        ["exit 0", "exit 3", "head -c 100 /dev/zero", "head -c 100 /dev/urandom", "echo '{}'"];
    for (number, script) in scripts.into_iter().enumerate() {
        let program = bench.outer().join(format!("program-{number}"));
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        sh(bench.outer(), &format!("chmod +x program-{number}"));
        let volumes = lazarette_agent::volume::Volumes::new(
            Workers::running(&program),
            bench.outer().join("caches"),
        );
        let root = Root::named(&bench.data()).unwrap();
        let seams = Seams::storing(bench.sink());

        let saved = volumes.save(&root, &[], &bench.key, bench.call(&seams)).await;

        assert_eq!(saved.unwrap_err().reason(), Reason::Internal, "{script}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_byte_is_never_restored() {
    if !is_root("a_flipped_byte") {
        return;
    }
    let bench = Bench::new();
    sh(&bench.data(), "head -c 3M /dev/urandom > f");
    let saved = bench.save().await.unwrap();
    bench.store.damage();
    let new = bench.exchange(Way::Directory).prepare().unwrap();

    let error = bench.restore_to(&new, (saved.root.clone(), saved.extent)).await.unwrap_err();

    assert_eq!(error.reason(), Reason::RepositoryDamaged, "{}", chain(&error));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f53_a_full_disk_is_found_before_and_told_in_the_middle() {
    if !is_root("f53_a_full_disk") {
        return;
    }
    let bench = Bench::new();
    sh(&bench.data(), "head -c 20M /dev/urandom > big; for i in $(seq 200); do echo $i > $i; done");
    let saved = bench.save().await.unwrap();
    for options in ["size=10M", "size=40M,nr_inodes=100"] {
        let small = bench.outer().join("small");
        sh(
            bench.outer(),
            &format!("mkdir small && mount -t tmpfs -o {options} none small && mkdir small/new"),
        );

        let refused =
            bench.restore_to(&small.join("new"), (saved.root.clone(), saved.extent)).await;
        let mut lying = saved.extent;
        lying.allocated = ByteCount(0);
        lying.entries = 80;
        if options.contains("inodes") {
            lying.entries = 80;
        } else {
            lying.entries = saved.extent.entries;
        }
        let told = bench.restore_to(&small.join("new"), (saved.root.clone(), lying)).await;
        sh(bench.outer(), "umount small && rmdir small");

        let refused = refused.unwrap_err();
        assert_eq!(refused.reason(), Reason::DiskFull);
        assert!(chain(&refused).contains("too full by"), "{}", chain(&refused));
        if !options.contains("inodes") {
            let told = told.unwrap_err();
            assert_eq!(told.reason(), Reason::DiskFull, "{}", chain(&told));
            assert!(chain(&told).contains("`big`"), "{}", chain(&told));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h31_a_child_sees_its_directory_only_and_has_few_powers() {
    if !is_root("h31_a_child_sees_its_directory_only") {
        return;
    }
    let mut bench = Bench::new();
    sh(&bench.data(), "head -c 200M /dev/urandom > big");
    let first_pack = CancellationToken::new();
    *bench.store.on_pack.lock().unwrap() = Some(first_pack.clone());
    bench.cancel = CancellationToken::new();

    let (saved, seen) = tokio::join!(bench.save(), async {
        first_pack.cancelled().await;
        let script = format!(
            "pid={}; readlink /proc/$pid/root /proc/$pid/cwd; \
             grep -E '^(CapEff|CapPrm|CapBnd|CapAmb|NoNewPrivs)' /proc/$pid/status; \
             tr '\\0' ' ' < /proc/$pid/cmdline; wc -c < /proc/$pid/environ; \
             ls -l /proc/$pid/fd | sed 's/.* -> //'",
            child_in(&bench.data()).unwrap()
        );
        String::from_utf8(sh(Path::new("/"), &script)).unwrap()
    });

    saved.unwrap();
    let data = bench.data();
    let data = data.to_str().unwrap();
    let mut lines = seen.lines();
    assert_eq!((lines.next(), lines.next()), (Some(data), Some(data)), "{seen}");
    // DAC_READ_SEARCH and, for trusted attributes, SYS_ADMIN.
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert!(seen.contains(&format!("{set}:\t0000000000200004")), "{seen}");
    }
    assert!(
        seen.contains("CapAmb:\t0000000000000000") && seen.contains("NoNewPrivs:\t1"),
        "{seen}"
    );
    assert!(seen.contains("volume-child 0"), "{seen}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f80_a_file_that_never_stops_changing_is_saved_and_said() {
    if !is_root("f80_a_file_that_never_stops_changing") {
        return;
    }
    let bench = Bench::new();
    sh(&bench.data(), "head -c 40M /dev/urandom > busy");
    let mut writer = std::process::Command::new("bash")
        .args(["-c", "while :; do echo more >> busy; done"])
        .current_dir(bench.data())
        .spawn()
        .unwrap();

    let saved = bench.save().await;
    writer.kill().unwrap();
    writer.wait().unwrap();

    let saved = saved.unwrap();
    assert!(
        bench.notes().iter().any(|note| note.contains("`busy` changed")),
        "{:?}",
        bench.notes()
    );
    bench.restore_beside(&saved, Way::Directory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_was_replaced_since_it_was_looked_at_is_not_read() {
    if !is_root("a_directory_that_was_replaced") {
        return;
    }
    let bench = Bench::new();
    let root = Root::named(&bench.data()).unwrap();
    sh(bench.outer(), "mv data old && mkdir data && echo secret > data/f && echo mine > old/f");
    let seams = Seams::storing(bench.sink());

    let saved = bench.volumes().save(&root, &[], &bench.key, bench.call(&seams)).await.unwrap();

    let new = bench.exchange(Way::Directory).prepare().unwrap();
    bench.restore_to(&new, (saved.root.clone(), saved.extent)).await.unwrap();
    assert_eq!(described(&new), described(&bench.outer().join("old")));
}
