//! Restic: the stock tool reads, checks and restores what we write, and we read what it writes.
//!
//! The program is what `LAZARETTE_RESTIC` names, or what `tests/tools/restic.sh` fetches.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use lazarette_repo::check::{CheckOptions, check};
use lazarette_repo::id::BlobId;
use lazarette_repo::repository::Repository;
use lazarette_repo::storage::Storage;
use lazarette_repo::storage::fs::FsStorage;
use lazarette_repo::tree::{Node, NodeKind, Tree, Xattr, mode};
use lazarette_repo::writer::{StreamOptions, Writer};

use crate::vault::{self, noise, now};

fn program() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let find = || {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tools/restic.sh");
        let found = Command::new(script).output().ok().filter(|output| output.status.success());
        found.map(|output| PathBuf::from(String::from_utf8(output.stdout).unwrap().trim()))
    };
    PROGRAM.get_or_init(find).as_deref()
}

/// Runs restic on the repository at `root`, which must succeed.
fn restic(program: &Path, root: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(["--no-cache", "--repo"])
        .arg(root)
        .args(arguments)
        .env("RESTIC_PASSWORD", vault::PASSPHRASE)
        .env("HOME", root)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "restic {arguments:?}: {text}");
    text
}

macro_rules! program_or_skip {
    () => {
        match program() {
            Some(program) => program,
            None => {
                eprintln!("SKIPPED: there is no restic; see tests/tools/restic.sh");
                return;
            }
        }
    };
}

/// A tree being described and written.
struct Builder<'writer> {
    writer: &'writer Writer,
    seed: u64,
}

fn time(seed: u64) -> Timestamp {
    let nanos = i128::from(seed) * 123_456_789 + 1_500_000_000_000_000_000;
    Timestamp::from_nanosecond(nanos).unwrap()
}

impl Builder<'_> {
    fn chance(&mut self, below: u64) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.seed >> 33) % below
    }

    async fn file(&mut self, name: &[u8]) -> Node {
        let size = match self.chance(6) {
            0 => 0,
            1 => self.chance(3 << 20),
            _ => self.chance(4000),
        };
        let content = noise(usize::try_from(size).unwrap(), self.chance(1000));
        let options = StreamOptions::default();
        let content = self.writer.write(content.as_slice(), options).await.unwrap();
        let mut node = Node::new(name, NodeKind::File, time(self.seed >> 40));
        node.size = content.size();
        node.content = Some(content.into_blobs());
        node.mode = mode::from_unix(0o100_000 | [0o644, 0o600, 0o4755, 0o444][name.len() % 4]);
        node.links = 1;
        if self.chance(4) == 0 {
            let value = vec![0, 255, b'x'];
            node.xattrs = vec![Xattr { name: "user.note".to_owned(), value }];
        }
        node
    }

    async fn directory(&mut self, depth: u64) -> BlobId {
        let names: [&[u8]; 7] = [
            b"plain",
            b"with space and \"quotes\"",
            b"new\nline\ttab\\back",
            b"not utf-8 \xff\xfe",
            "gr\u{fc}\u{df}e \u{65e5}\u{672c}".as_bytes(),
            b"<html>&amp;",
            "zero\u{200b}width".as_bytes(),
        ];
        let mut nodes = Vec::new();
        for name in names {
            match self.chance(4) {
                0 if depth > 0 => {
                    let mut node = Node::new(name, NodeKind::Dir, time(self.seed >> 40));
                    node.mode = mode::from_unix(0o041_755);
                    node.subtree = Some(Box::pin(self.directory(depth - 1)).await);
                    nodes.push(node);
                }
                1 => {
                    let mut node = Node::new(name, NodeKind::Symlink, time(self.seed >> 40));
                    node.mode = mode::from_unix(0o120_777);
                    node.link_target =
                        [b"../to \xff".as_slice(), b"plain"][name.len() % 2].to_vec();
                    nodes.push(node);
                }
                2 if name.len() % 2 == 0 => {
                    let mut node = Node::new(name, NodeKind::Fifo, time(self.seed >> 40));
                    node.mode = mode::from_unix(0o010_640);
                    nodes.push(node);
                }
                _ => nodes.push(self.file(name).await),
            }
        }
        self.writer.save_tree(&Tree::new(nodes).unwrap()).await.unwrap()
    }
}

async fn at(root: &Path) -> (Arc<dyn Storage>, Arc<Repository>) {
    let storage: Arc<dyn Storage> = Arc::new(FsStorage::create(root).unwrap());
    let repository = vault::create(storage.clone()).await;
    (storage, repository)
}

/// Writes a random tree as one run.
async fn written(repository: &Arc<Repository>, seed: u64) -> BlobId {
    let session = vault::session(repository).await;
    let writer = vault::writer(repository, session.clone());
    let mut builder = Builder { writer: &writer, seed };
    let tree = builder.directory(3).await;
    let written = writer.finish().await.unwrap();
    let mut request = vault::request(&seed.to_string(), tree, &written);
    request.time += jiff::SignedDuration::from_secs(i64::try_from(seed).unwrap());
    session.commit(request).await.unwrap();
    session.end().await.unwrap();
    tree
}

/// Compares what restic restored with what was written, entry by entry.
async fn compare(repository: &Arc<Repository>, tree: BlobId, restored: &Path) {
    let reader = vault::reader(repository);
    let mut walk = reader.walk(tree);
    let mut expected = BTreeMap::new();
    while let Some(entry) = walk.next().await.unwrap() {
        expected.insert(entry.path, entry.node);
    }
    let mut found = Vec::new();
    let mut todo = vec![restored.to_path_buf()];
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let inner = path.strip_prefix(restored).unwrap();
            found.push(inner.to_path_buf().into_os_string().into_vec());
            if path.symlink_metadata().unwrap().is_dir() {
                todo.push(path);
            }
        }
    }
    found.sort();
    assert!(found.iter().eq(expected.keys()), "{} of {}", found.len(), expected.len());
    for (path, node) in expected {
        let path = restored.join(std::ffi::OsStr::from_bytes(&path));
        let metadata = path.symlink_metadata().unwrap();
        let mtime =
            i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
        assert_eq!(mtime, node.mtime.as_nanosecond(), "{}", path.display());
        match node.kind {
            NodeKind::Symlink => {
                let target = fs::read_link(&path).unwrap();
                assert_eq!(target.as_os_str().as_bytes(), node.link_target);
                continue;
            }
            NodeKind::File => {
                let mut content = Vec::new();
                reader.read(&node.content.unwrap(), &mut content).await.unwrap();
                assert!(fs::read(&path).unwrap() == content, "{}", path.display());
            }
            _ => assert_eq!(
                metadata.mode() & 0o170_000,
                if path.is_dir() { 0o040_000 } else { 0o010_000 }
            ),
        }
        let permissions = metadata.permissions().mode() & 0o7777;
        assert_eq!(permissions, mode::permissions(node.mode), "{}", path.display());
        for xattr in node.xattrs {
            let mut value = [0; 16];
            let size = rustix::fs::lgetxattr(&path, xattr.name.as_str(), &mut value).unwrap();
            assert_eq!(value[..size], xattr.value);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restic_checks_and_restores_what_we_write() {
    let program = program_or_skip!();
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("repository");
    let (_storage, repository) = at(&root).await;

    for seed in [1, 2, 3] {
        let tree = written(&repository, seed).await;
        let checked = restic(program, &root, &["check", "--read-data"]);
        assert!(checked.contains("no errors were found"), "{checked}");
        let restored = scratch.path().join(format!("restored {seed}"));
        restic(program, &root, &["restore", "latest", "--target", restored.to_str().unwrap()]);
        compare(&repository, tree, &restored).await;
    }

    let listed = restic(program, &root, &["snapshots", "--json"]);
    assert!(listed.contains("\"run:3\"") && listed.contains("lazarette test"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_restic_has_forgotten_and_pruned_we_read_on() {
    let program = program_or_skip!();
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("repository");
    let (storage, repository) = at(&root).await;
    written(&repository, 4).await;
    let kept = written(&repository, 5).await;

    restic(program, &root, &["forget", "--keep-last", "1", "--group-by", "", "--prune"]);
    repository.refresh().await.unwrap();
    let more = written(&repository, 6).await;

    let report = check(&storage, repository.master_key(), CheckOptions { read_data: true }).await;
    let report = report.unwrap();
    assert!(report.is_sound(), "{:?}", report.problems);
    for tree in [kept, more] {
        let mut walk = vault::reader(&repository).walk(tree);
        while walk.next().await.unwrap().is_some() {}
    }
    restic(program, &root, &["check", "--read-data"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_restic_stored_is_the_same_blob_when_we_store_it() {
    let program = program_or_skip!();
    let scratch = tempfile::tempdir().unwrap();
    let (root, source) = (scratch.path().join("repository"), scratch.path().join("source"));
    let (_storage, repository) = at(&root).await;
    fs::create_dir(&source).unwrap();
    for name in [b"plain".as_slice(), b"<&> \xff\n", "\u{65e5}\u{200b}".as_bytes()] {
        fs::write(source.join(std::ffi::OsStr::from_bytes(name)), noise(100_000, 3)).unwrap();
    }
    std::os::unix::fs::symlink("plain", source.join("link")).unwrap();
    fs::create_dir(source.join("empty")).unwrap();

    let backup = Command::new(program)
        .args(["--no-cache", "--repo", root.to_str().unwrap(), "backup", "."])
        .env("RESTIC_PASSWORD", vault::PASSPHRASE)
        .current_dir(&source)
        .output()
        .unwrap();
    assert!(backup.status.success(), "{backup:?}");
    repository.refresh().await.unwrap();

    let snapshot = repository.find_snapshot("latest").await.unwrap();
    let reader = vault::reader(&repository);
    let (mut walk, mut directories) = (reader.walk(snapshot.snapshot.tree), 0);
    let mut ids = vec![snapshot.snapshot.tree];
    while let Some(entry) = walk.next().await.unwrap() {
        ids.extend(entry.node.subtree);
    }
    for id in ids {
        let tree = reader.tree(id).await.unwrap();
        assert_eq!(BlobId::of(&tree.to_json().unwrap()), id, "{tree:?}");
        directories += 1;
    }
    assert!(directories >= 2);
    assert!(snapshot.snapshot.time > now());
}
