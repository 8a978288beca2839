//! Mounts: file systems of their own for a test, gone when it ends.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

/// A mounted file system.
pub(crate) struct Mount {
    at: PathBuf,
    is_mounted: bool,
}

impl Mount {
    /// Mounts with these arguments of `mount`, the target left out.
    pub(crate) fn new(arguments: &[&str], at: PathBuf) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&at)?;
        let target = at.to_str().context("the path of a mount is not text")?;
        run("mount", &[arguments, &[target]].concat())?;
        Ok(Self { at, is_mounted: true })
    }

    /// Mounts the file system in a file.
    pub(crate) fn image(image: &Path, at: PathBuf) -> anyhow::Result<Self> {
        Self::new(&["-o", "loop", text(image)?], at)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.at
    }

    pub(crate) fn unmount(mut self) -> anyhow::Result<()> {
        self.is_mounted = false;
        run("umount", &[text(&self.at)?])
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.is_mounted {
            drop(run("umount", &["-l", &self.at.to_string_lossy()]));
        }
    }
}

/// Why this machine cannot do such a test, if it cannot.
pub(crate) fn missing(tools: &[&str]) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("it needs root, to mount".to_owned());
    }
    if !Path::new("/dev/loop-control").exists() {
        return Some("it needs loop devices".to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |tool: &&&str| std::env::split_paths(&path).any(|path| path.join(tool).exists());
    tools.iter().find(|tool| !is_there(tool)).map(|tool| format!("it needs `{tool}`"))
}

/// Runs a command that must succeed.
pub(crate) fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {arguments:?}: {} {said}", output.status);
    Ok(())
}

/// Makes a file of that size with a file system in it.
pub(crate) fn make_image(image: &Path, bytes: u64, mkfs: &[&str]) -> anyhow::Result<()> {
    std::fs::File::create(image)?.set_len(bytes)?;
    let (program, arguments) = mkfs.split_first().context("no mkfs")?;
    run(program, &[arguments, &[text(image)?]].concat())
}

pub(crate) fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path is not text")
}
