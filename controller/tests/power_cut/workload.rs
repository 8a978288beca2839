//! Workload: writers whose every acknowledged step can be checked afterwards.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, ensure};
use lazarette_controller::store::{Batch, DiskStore, Scan, Store, StoreError};

/// How many write at once, in one process.
pub(crate) const WRITERS: usize = 8;
/// How many entries of each writer are kept: older ones are deleted, so that the database is
/// cleaned and its segments are written again.
const KEPT: u64 = 40;
/// Where the child finds the directory of its store.
const DIRECTORY: &str = "LAZARETTE_POWERCUT_DIRECTORY";

/// The number of each writer's last acknowledged step.
pub(crate) type Steps = [u64; WRITERS];

/// A process that writes until it is killed.
pub(crate) struct Process {
    child: Child,
    acknowledged: Arc<Mutex<Steps>>,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts this test binary again, as a writer of the store in `directory`.
    pub(crate) fn start(directory: &Path) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--ignored", "--exact", "workload::the_writer", "--nocapture"])
            .env(DIRECTORY, directory)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let output = BufReader::new(child.stdout.take().context("no output")?);
        let acknowledged = Arc::new(Mutex::new(Steps::default()));
        let steps = Arc::clone(&acknowledged);
        let reader = std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                note(&line, &steps);
            }
        });
        Ok(Self { child, acknowledged, reader: Some(reader) })
    }

    /// What is known to be acknowledged by now.
    pub(crate) fn acknowledged(&self) -> Steps {
        *self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills it, and gives everything that it acknowledged before.
    pub(crate) fn kill(mut self) -> anyhow::Result<Steps> {
        self.child.kill()?;
        self.child.wait()?;
        if let Some(reader) = self.reader.take() {
            ensure!(reader.join().is_ok(), "the reader of acknowledgements panicked");
        }
        Ok(self.acknowledged())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.reader.is_some() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

fn note(line: &str, steps: &Mutex<Steps>) {
    let mut words = line.split(' ');
    let (Some("ack"), Some(writer), Some(step)) = (words.next(), words.next(), words.next()) else {
        return;
    };
    let (Ok(writer), Ok(step)) = (writer.parse::<usize>(), step.parse()) else { return };
    let mut steps = steps.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(last) = steps.get_mut(writer) {
        *last = step;
    }
}

/// Not a test: the process that [`Process::start`] starts.
#[test]
#[ignore = "it is the child of other tests, and ends when it is killed"]
fn the_writer() -> anyhow::Result<()> {
    let directory = std::env::var_os(DIRECTORY).context("start it through `Process`")?;
    let store = super::open(Path::new(&directory))?;
    runtime()?.block_on(async {
        let failed = write_all(&store, |writer, step| {
            let line = format!("ack {writer} {step}\n");
            std::io::stdout().write_all(line.as_bytes()).map_err(anyhow::Error::from)
        });
        Err(failed.await)
    })
}

pub(crate) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

/// Writes on and on, from where the store is; `acknowledge` hears of each step after its commit.
/// Gives why it ended.
pub(crate) async fn write_all(
    store: &DiskStore,
    acknowledge: impl Fn(usize, u64) -> anyhow::Result<()>,
) -> anyhow::Error {
    let writers = (0..WRITERS).map(|writer| {
        let acknowledge = &acknowledge;
        Box::pin(async move {
            let mut step = last(store, writer).await?;
            loop {
                step += 1;
                store.commit(batch(writer, step)).await?;
                acknowledge(writer, step)?;
            }
        })
    });
    let outcome: Result<Vec<()>, anyhow::Error> = futures::future::try_join_all(writers).await;
    outcome.err().unwrap_or_else(|| anyhow::anyhow!("writers never end"))
}

/// One step: the count goes up, an entry comes, an old one goes; together or not at all.
fn batch(writer: usize, step: u64) -> Batch {
    let mut batch = Batch::new();
    match step {
        1 => batch.insert(count_key(writer), number(1)),
        _ => batch.replace(count_key(writer), number(step - 1), number(step)),
    }
    batch.insert(entry_key(writer, step), value(writer, step));
    if let Some(old) = step.checked_sub(KEPT).filter(|old| *old > 0) {
        batch.remove(entry_key(writer, old), value(writer, old));
    }
    batch
}

/// Checks that everything up to `acknowledged` is there and that nothing is torn; gives what is
/// there, which may be more.
pub(crate) async fn verify(store: &DiskStore, acknowledged: Steps) -> anyhow::Result<Steps> {
    let mut there = Steps::default();
    for (writer, (last_there, acknowledged)) in there.iter_mut().zip(acknowledged).enumerate() {
        let step = last(store, writer).await?;
        ensure!(
            step >= acknowledged,
            "writer {writer} was told that step {acknowledged} is safe, and {step} is there"
        );
        let prefix = entry_key(writer, 0).strip_suffix(&[0; 8]).map(<[u8]>::to_vec);
        let page = store.scan(Scan::prefix(prefix.unwrap_or_default())).await?;
        let first = step.saturating_sub(KEPT - 1).max(1);
        let expected: Vec<_> = (first..=step).map(|step| entry_key(writer, step)).collect();
        let keys: Vec<_> = page.entries.iter().map(|entry| entry.key.clone()).collect();
        ensure!(keys == expected, "writer {writer} has other entries than its step {step} says");
        for (entry, step) in page.entries.iter().zip(first..) {
            ensure!(entry.value == value(writer, step), "step {step} of {writer} is torn");
        }
        *last_there = step;
    }
    Ok(there)
}

async fn last(store: &DiskStore, writer: usize) -> Result<u64, StoreError> {
    let count = store.get(&count_key(writer)).await?;
    let count = count.and_then(|count| count.as_ref().try_into().ok());
    Ok(count.map_or(0, u64::from_be_bytes))
}

fn count_key(writer: usize) -> Vec<u8> {
    format!("count/{writer}").into_bytes()
}

fn entry_key(writer: usize, step: u64) -> Vec<u8> {
    [format!("entry/{writer}/").as_bytes(), &step.to_be_bytes()].concat()
}

fn number(step: u64) -> Vec<u8> {
    step.to_be_bytes().to_vec()
}

/// From some bytes to the longest value there can be, all different.
fn value(writer: usize, step: u64) -> Vec<u8> {
    let length = match step % 64 {
        0 => lazarette_controller::store::MAX_VALUE_BYTES,
        1..=8 => 6000,
        other => usize::try_from(other).unwrap_or_default() * 7,
    };
    let seed = step.wrapping_mul(31).wrapping_add(u64::try_from(writer).unwrap_or_default());
    let mut value = vec![0; length];
    fastrand::Rng::with_seed(seed).fill(&mut value);
    value
}
