//! Tests of records: what is written, read again, and found after a crash.

use lazarette_core::{error::Failure, id::SnapshotId, run::Phase};

use super::*;

pub(crate) fn backup_job() -> Job {
    Job {
        run: RunId::new(),
        stack: StackId::new(),
        host: "host1".parse().unwrap(),
        plan: Plan::Backup(BackupPlan {
            stack: "shop".parse().unwrap(),
            stop: vec![vec!["web".to_owned()]],
            components: vec![],
            uncovered: vec![],
            warnings: vec![],
            hold_budget_seconds: 60,
        }),
    }
}

pub(crate) fn restore_job() -> Job {
    let plan = RestorePlan {
        stack: "shop".parse().unwrap(),
        snapshot: SnapshotId::from_bytes([7; 32]),
        stop: vec![vec!["web".to_owned()]],
        components: vec![],
        left_out: vec![],
        warnings: vec![],
    };
    Job { plan: Plan::Restore(plan), ..backup_job() }
}

pub(crate) fn records() -> (tempfile::TempDir, Records) {
    let dir = tempfile::tempdir().unwrap();
    let reserve = Arc::new(Reserve::take(dir.path().join("reserve")));
    let records = Records::new(dir.path().join("runs"), reserve).unwrap();
    (dir, records)
}

fn event(sequence: u64, event: RunEvent) -> Line {
    Line::Event { sequence, event }
}

fn lines() -> Vec<Line> {
    let at = Timestamp::UNIX_EPOCH;
    vec![
        event(1, RunEvent::Started { at }),
        event(2, RunEvent::Entered { at, phase: Phase::Swapping }),
        Line::Reached {
            component: "volume/uploads".parse().unwrap(),
            generation: Generation::Swapped,
        },
        event(3, RunEvent::Held { at, failure: Failure::new(Reason::Unhealthy, "x") }),
    ]
}

#[test]
fn a_record_is_read_back_as_it_was_written() {
    let (_dir, records) = records();
    let mut record = Record::new(restore_job());
    let mut file = records.begin(&record.job).unwrap();
    for line in lines() {
        file.append(&line, true).unwrap();
        record.add(line).unwrap();
    }

    let found = records.find().unwrap();

    assert_eq!(found.records[0].0, record);
    assert_eq!(record.sequence(), 3);
    records.forget(record.job.run).unwrap();
    assert!(records.find().unwrap().records.is_empty());
}

#[test]
fn a_line_that_a_crash_cut_off_never_happened_and_the_next_one_fits() {
    let (_dir, records) = records();
    let job = restore_job();
    let mut file = records.begin(&job).unwrap();
    for line in lines().iter().take(2) {
        file.append(line, true).unwrap();
    }
    let path = records.path_of(job.run);
    let whole = fs::read(&path).unwrap();
    for cut in whole.len() - 30..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();

        let mut found = records.find().unwrap();
        let (record, file) = &mut found.records[0];
        assert_eq!(record.sequence(), 1);
        file.append(&lines()[1], true).unwrap();
        assert_eq!(records.find().unwrap().records[0].0.sequence(), 2);
    }
}

#[test]
fn an_unreadable_record_is_set_aside_and_hides_no_other() {
    let (_dir, records) = records();
    let (broken, whole) = (backup_job(), backup_job());
    drop(records.begin(&broken).unwrap());
    drop(records.begin(&whole).unwrap());
    fs::write(records.path_of(broken.run), "something else\n").unwrap();

    let found = records.find().unwrap();

    assert_eq!(found.records.len(), 1);
    assert_eq!(found.set_aside.len(), 1);
}

#[test]
fn the_golden_file_of_format_1_is_read_for_ever() {
    let (_dir, records) = records();
    let golden = include_str!("../golden/run-1.run");
    fs::write(records.dir.join("golden.run"), golden).unwrap();

    let found = records.find().unwrap();

    assert_eq!(found.set_aside, []);
    let record = &found.records[0].0;
    assert_eq!(record.sequence(), 3);
    assert!(matches!(record.state, RunState::Held { .. }));
    assert_eq!(record.generations.len(), 1);
}
