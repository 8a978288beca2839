//! Process: a program of ours that goes on while a test looks at it, and can be killed at any moment.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::log::Log;
use crate::outcome::shown;
use crate::site::Site;
use crate::wait;

/// How long a process may take to end after it was asked to.
const END: Duration = Duration::from_mins(1);

/// A running process, killed when it is dropped.
#[derive(Debug)]
pub struct Process {
    what: String,
    child: Child,
    /// The program itself: what was started may be an `nsenter` that waits for it.
    pid: Pid,
    note: PathBuf,
}

impl Process {
    /// Starts `command`, whose standard error goes into `log`.
    pub(crate) fn start(mut command: Command, log: &Log) -> Result<Self> {
        let what = shown(&command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("start `{what}`"))?;
        for pipe in [child.stdout.take().map(boxed), child.stderr.take().map(boxed)] {
            log.follow(pipe.context("read what it writes")?);
        }

        let entered = command.get_program() == "nsenter";
        let pid = if entered { child_of(child.id())? } else { child.id() };
        let note = note(pid)?;
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("name the process")?;
        Ok(Self { what, child, pid, note })
    }

    /// Its process id, as this process sees it.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Whether it still runs.
    ///
    /// # Errors
    ///
    /// When that cannot be told.
    pub fn is_alive(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Kills it with SIGKILL and waits until it is gone.
    ///
    /// # Errors
    ///
    /// When it does not go.
    pub fn kill(mut self) -> Result<()> {
        self.send(Signal::KILL)?;
        self.ended().map(drop)
    }

    /// Asks it to end, as a service manager would, and waits until it has.
    ///
    /// # Errors
    ///
    /// When it does not end in a minute, or not with success.
    pub fn stop(mut self) -> Result<()> {
        self.send(Signal::TERM)?;
        let code = self.ended()?;
        ensure!(code == Some(0), "`{}` ended with {code:?} after SIGTERM", self.what);
        Ok(())
    }

    /// Waits until it ends by itself, and gives its exit status; none when a signal ended it.
    ///
    /// # Errors
    ///
    /// When it does not end in a minute.
    pub fn ended(&mut self) -> Result<Option<i32>> {
        let what = format!("the end of `{}`", self.what);
        Ok(wait::until(&what, END, || Ok(self.child.try_wait()?))?.code())
    }

    /// Stops it in its tracks, as a machine that hangs.
    ///
    /// # Errors
    ///
    /// When it is gone.
    pub fn freeze(&self) -> Result<()> {
        self.send(Signal::STOP)
    }

    /// Lets it go on after [`Process::freeze`].
    ///
    /// # Errors
    ///
    /// When it is gone.
    pub fn unfreeze(&self) -> Result<()> {
        self.send(Signal::CONT)
    }

    /// Its resident memory now, and the most it ever had, in bytes.
    ///
    /// # Errors
    ///
    /// When it is gone.
    pub fn memory(&self) -> Result<(u64, u64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let field = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kibibytes = line.and_then(|rest| rest.split_whitespace().next());
            Ok(kibibytes.with_context(|| format!("find {name}"))?.parse::<u64>()? * 1024)
        };
        Ok((field("VmRSS:")?, field("VmHWM:")?))
    }

    fn send(&self, signal: Signal) -> Result<()> {
        kill_process(self.pid, signal)
            .with_context(|| format!("send {signal:?} to `{}`", self.what))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) && self.send(Signal::KILL).is_ok() {
            drop(self.child.wait());
        }
        drop(std::fs::remove_file(&self.note));
    }
}

fn boxed(pipe: impl std::io::Read + Send + 'static) -> Box<dyn std::io::Read + Send> {
    Box::new(pipe)
}

/// The only child of a process that starts one and waits for it.
fn child_of(parent: u32) -> Result<u32> {
    let children = format!("/proc/{parent}/task/{parent}/children");
    wait::until(&format!("the child of process {parent}"), Duration::from_secs(10), || {
        let listed = std::fs::read_to_string(&children)?;
        Ok(listed.split_whitespace().next().and_then(|pid| pid.parse().ok()))
    })
}

/// Notes a process where the keeper looks for what a test that was killed leaves running.
fn note(pid: u32) -> Result<PathBuf> {
    let notes = Site::of_this_process()?.dir().join(".pids");
    std::fs::create_dir_all(&notes)?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let began = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(19)).unwrap_or("0");
    let note = notes.join(pid.to_string());
    std::fs::write(&note, format!("{pid} {began}\n"))?;
    Ok(note)
}
