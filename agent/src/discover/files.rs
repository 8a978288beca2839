//! Files: those of a Compose project, found by what its compose files refer to.
//!
//! Root reads here what labels and files of others name, so everything is opened beneath the
//! project's directory: no link and no `..` leads out (H12).

use std::{
    collections::{BTreeSet, VecDeque},
    fs::File,
    io::Read as _,
    os::fd::OwnedFd,
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2},
    io::Errno,
};

use super::{
    ProjectFiles,
    compose::{Reference, references},
};

/// Larger files are not compose files.
const LARGEST_COMPOSE: u64 = 1 << 20;

/// More compose files than this are not read.
const MOST_COMPOSE: usize = 64;

/// The files of the project in `root`, whose compose files are `config_files`. Blocks.
pub(super) fn of_project(root: &str, config_files: &[String]) -> ProjectFiles {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = match open(root, flags, Mode::empty()) {
        Ok(directory) => directory,
        Err(error) => {
            let shown = root.escape_debug();
            let warning = format!("the project directory `{shown}` cannot be opened: {error}");
            return ProjectFiles { warnings: vec![warning], ..ProjectFiles::default() };
        }
    };
    let mut search =
        Search { root: Path::new(root), directory, found: BTreeSet::new(), warnings: Vec::new() };
    search.run(config_files);
    ProjectFiles {
        root: root.to_owned(),
        paths: search.found.into_iter().collect(),
        warnings: search.warnings,
    }
}

struct Search<'a> {
    root: &'a Path,
    directory: OwnedFd,
    found: BTreeSet<String>,
    warnings: Vec<String>,
}

/// A compose file that is still to be read; what it names is relative to `base`.
struct Compose {
    reference: Reference,
    from: PathBuf,
    is_main: bool,
}

impl Search<'_> {
    fn run(&mut self, config_files: &[String]) {
        let main = |path: &String| Compose {
            reference: Reference { what: "compose file".to_owned(), path: path.clone() },
            from: PathBuf::new(),
            is_main: true,
        };
        let mut queue: VecDeque<Compose> = config_files.iter().map(main).collect();
        let mut read = 0;
        while let Some(compose) = queue.pop_front() {
            let Some((path, file)) = self.open(&compose.reference, &compose.from) else { continue };
            let seen_before = !self.found.insert(path.clone());
            read += 1;
            if seen_before || read > MOST_COMPOSE {
                continue;
            }
            // Compose takes paths in the project's own files from the project directory, in others
            // from where these are.
            let parent = Path::new(&path).parent().unwrap_or(Path::new("")).to_owned();
            let base = if compose.is_main { PathBuf::new() } else { parent };
            let Some(named) = self.parse(&path, file) else { continue };
            for reference in named.files {
                self.add(&reference, &base);
            }
            let next = named.compose.into_iter();
            queue.extend(next.map(|reference| Compose {
                reference,
                from: base.clone(),
                is_main: false,
            }));
        }
        if self.try_open(Path::new(".env")).is_ok() {
            self.found.insert(".env".to_owned());
        }
    }

    fn add(&mut self, reference: &Reference, base: &Path) {
        if let Some((path, _file)) = self.open(reference, base) {
            self.found.insert(path);
        }
    }

    fn parse(&mut self, path: &str, file: File) -> Option<super::compose::References> {
        let mut text = String::new();
        let read = file.take(LARGEST_COMPOSE + 1).read_to_string(&mut text);
        let too_large = u64::try_from(text.len()).unwrap_or(u64::MAX) > LARGEST_COMPOSE;
        let parsed = match read {
            Err(error) => Err(error.to_string()),
            Ok(_) if too_large => Err("it is larger than 1 MiB".to_owned()),
            Ok(_) => references(&text),
        };
        let named = parsed.map_err(|why| {
            let shown = path.escape_debug();
            let why = crate::docker::plain(&why, 200);
            self.warnings
                .push(format!("what `{shown}` refers to is not known, and so not saved: {why}"));
        });
        named.ok()
    }

    /// Opens a file that is named, and says what it is called beneath the root.
    fn open(&mut self, reference: &Reference, base: &Path) -> Option<(String, File)> {
        let shown = reference.path.escape_debug().to_string();
        let what = &reference.what;
        if reference.path.contains('$') {
            self.warnings.push(format!("{what} `{shown}` has a variable in it: not saved"));
            return None;
        }
        let written = Path::new(&reference.path);
        let relative = match written.strip_prefix(self.root) {
            Ok(below) => Some(below.to_owned()),
            Err(_outside) if written.is_absolute() => None,
            Err(_relative) => Some(base.join(written)),
        };
        let outside = format!("{what} `{shown}` is outside of the project directory: not saved");
        let Some(path) = relative.as_deref().and_then(cleaned) else {
            self.warnings.push(outside);
            return None;
        };
        match self.try_open(&path) {
            Ok(file) => Some((path.to_string_lossy().into_owned(), file)),
            Err(Errno::NOENT | Errno::NOTDIR) => {
                self.warnings.push(format!("{what} `{shown}` is missing"));
                None
            }
            Err(Errno::XDEV | Errno::LOOP) => {
                self.warnings.push(outside);
                None
            }
            Err(error) => {
                self.warnings.push(format!("{what} `{shown}` cannot be read: {error}"));
                None
            }
        }
    }

    /// Opens a regular file beneath the root.
    fn try_open(&self, path: &Path) -> Result<File, Errno> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let file = openat2(&self.directory, path, flags, Mode::empty(), beneath)?;
        let kind = FileType::from_raw_mode(fstat(&file)?.st_mode);
        if kind == FileType::RegularFile { Ok(File::from(file)) } else { Err(Errno::INVAL) }
    }
}

/// `path` without `.` and `..`; none when it climbs out.
fn cleaned(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !clean.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!clean.as_os_str().is_empty()).then_some(clean)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        directory
    }

    fn found(directory: &tempfile::TempDir, config: &[&str]) -> ProjectFiles {
        let root = directory.path().to_str().unwrap();
        let config: Vec<_> = config.iter().map(|it| (*it).to_owned()).collect();
        of_project(root, &config)
    }

    #[test]
    fn compose_files_and_all_they_refer_to_are_found_in_their_own_way() {
        let directory = project(&[
            ("compose.yml", "include: [sub/more.yml]\nservices: {a: {env_file: ./a.env}}"),
            ("prod.yml", "secrets: {s: {file: sub/../secret}}"),
            ("sub/more.yml", "services: {b: {env_file: b.env}}"),
            ("a.env", ""),
            ("secret", ""),
            ("sub/b.env", ""),
            (".env", ""),
            ("other", ""),
        ]);
        let absolute = directory.path().join("compose.yml");

        let files = found(&directory, &[absolute.to_str().unwrap(), "prod.yml"]);

        let paths =
            [".env", "a.env", "compose.yml", "prod.yml", "secret", "sub/b.env", "sub/more.yml"];
        assert_eq!(files.paths, paths);
        assert_eq!(files.warnings, [""; 0]);
    }

    #[test]
    fn h12_nothing_is_followed_out_of_the_project() {
        let directory = project(&[(
            "compose.yml",
            "secrets:\n  a: {file: /etc/shadow}\n  b: {file: ../../etc/shadow}\n  \
             c: {file: link}\n  d: {file: dir/shadow}\n  e: {file: \"${HOME}/x\"}\n  \
             f: {file: missing}\n  g: {file: /proc/self/environ}",
        )]);
        symlink("/etc/shadow", directory.path().join("link")).unwrap();
        symlink("/etc", directory.path().join("dir")).unwrap();

        let files = found(&directory, &["compose.yml", "/etc/passwd"]);

        assert_eq!(files.paths, ["compose.yml"]);
        let outside = files.warnings.iter().filter(|it| it.contains("outside of the project"));
        assert_eq!(outside.count(), 6, "{:?}", files.warnings);
        let told = |text: &str| files.warnings.iter().any(|it| it.contains(text));
        assert!(told("`missing` is missing") && told("variable"), "{:?}", files.warnings);
    }

    #[test]
    fn what_is_no_compose_file_is_saved_and_said() {
        let directory = project(&[("compose.yml", "services: [")]);
        let files = found(&directory, &["compose.yml"]);
        assert_eq!(files.paths, ["compose.yml"]);
        assert!(files.warnings.concat().contains("is not known"), "{:?}", files.warnings);

        let gone = of_project("/no/such/project", &[]);
        assert!(gone.paths.is_empty() && gone.warnings.concat().contains("/no/such/project"));
    }
}
