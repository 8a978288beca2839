//! Bench: us and our peers on the same data, measured in pairs; see `tests/bench`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the table is what it is for")]

mod data;
mod end_to_end;
mod peer;
mod repository;
mod rows;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};

use crate::data::tree::Shape;
use crate::end_to_end::{Memory, What};
use crate::rows::Rows;

/// What is asked for on the command line.
struct Wish {
    names: Vec<String>,
    is_quick: bool,
    json: Option<PathBuf>,
    directory: PathBuf,
}

impl Wish {
    fn read(arguments: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let directory = std::env::temp_dir();
        let mut wish = Self { names: Vec::new(), is_quick: false, json: None, directory };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => wish.is_quick = true,
                "--json" => wish.json = Some(arguments.next().context("--json FILE")?.into()),
                "--dir" => wish.directory = arguments.next().context("--dir DIR")?.into(),
                option if option.starts_with('-') => bail!("there is no option `{option}`"),
                name => wish.names.push(name.to_owned()),
            }
        }
        Ok(wish)
    }

    fn wants(&self, group: &str) -> bool {
        let fits = |name: &String| group.starts_with(name.as_str()) || name.starts_with(group);
        self.names.is_empty() || self.names.iter().any(fits)
    }
}

fn main() -> anyhow::Result<()> {
    let wish = Wish::read(std::env::args().skip(1))?;
    let scratch = wish.directory.join(format!("lazarette-bench-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).with_context(|| format!("make {}", scratch.display()))?;
    let mut rows = Rows::default();
    let measured = measure(&wish, &scratch, &mut rows);
    std::fs::remove_dir_all(&scratch).with_context(|| format!("clear {}", scratch.display()))?;
    eprintln!("cleared {}", scratch.display());
    print!("{}", rows.table());
    if let Some(path) = &wish.json {
        std::fs::write(path, rows.json()?).with_context(|| format!("write {}", path.display()))?;
    }
    measured
}

fn measure(wish: &Wish, scratch: &Path, rows: &mut Rows) -> anyhow::Result<()> {
    let restic = peer::Restic::find()?;
    let (part, runs) = if wish.is_quick { (16, 1) } else { (1, 3) };
    let (size, shape) = ((2 << 30) / part, Shape::part(part));
    eprintln!("data {} MiB, {runs} runs each, in {}", size >> 20, scratch.display());
    if wish.wants("repository/dump") {
        repository::dump(&restic, scratch, (size, runs), rows)?;
    }
    if wish.wants("repository/tree") {
        repository::tree::measure(&restic, scratch, (shape, runs), rows)?;
    }
    let mut memory: Option<Memory> = None;
    for (name, what) in
        [("end-to-end/dump", What::Dump(size)), ("end-to-end/tree", What::Tree(shape))]
    {
        if wish.wants(name) || wish.wants("memory") {
            let seen = end_to_end::measure(&restic, scratch, (what, runs), rows)?;
            memory = Some(memory.unwrap_or_default().most(seen));
        }
    }
    if let Some(memory) = memory {
        memory.tell(rows);
    }
    Ok(())
}

/// That two directories have the same files with the same content.
fn same_trees(one: &Path, other: &Path) -> anyhow::Result<()> {
    let status = std::process::Command::new("diff").arg("-rq").args([one, other]).status()?;
    ensure!(status.success(), "{} and {} are not the same", one.display(), other.display());
    Ok(())
}
