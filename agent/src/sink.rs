//! Sink: one component's directory in the snapshot that is being written.

use std::{collections::BTreeMap, fmt, io, sync::Arc};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, future::BoxFuture};
use jiff::Timestamp;
use lazarette_core::{error::Reason, units::ByteCount};
use lazarette_repo::{
    crypto::MasterKey,
    id::BlobId,
    sink::PackSink,
    tree::{Node, NodeKind, Tree, mode},
    writer::{StreamOptions, WriteError, Writer},
};
use tokio_util::io::StreamReader;

use crate::driver::DriverError;

/// A directory that is filled by a driver. Files are streamed: nothing of them is kept here but
/// where they are.
#[derive(Debug)]
pub struct Sink {
    writer: Arc<Writer>,
    time: Timestamp,
    root: Folder,
    bytes: ByteCount,
    packs: Option<Packs>,
}

/// For whoever packs by itself, in a process of its own: what it puts belongs to the same run.
#[derive(Clone)]
pub struct Packs {
    /// Seals every pack.
    pub key: MasterKey,
    /// Takes them, and knows what is there already.
    pub sink: Arc<dyn PackSink>,
}

impl fmt::Debug for Packs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packs").field("sink", &self.sink).finish_non_exhaustive()
    }
}

/// A directory in the making.
#[derive(Debug, Default)]
struct Folder(BTreeMap<String, Entry>);

#[derive(Debug)]
enum Entry {
    Node(Box<Node>),
    Folder(Folder),
}

impl Sink {
    /// An empty directory of the snapshot that `writer` writes; its files are dated `time`.
    pub fn new(writer: Arc<Writer>, time: Timestamp) -> Self {
        Self { writer, time, root: Folder::default(), bytes: ByteCount(0), packs: None }
    }

    /// The same, for drivers that pack by themselves.
    #[must_use]
    pub fn with_packs(self, packs: Packs) -> Self {
        Self { packs: Some(packs), ..self }
    }

    /// For drivers that pack by themselves and then [`Self::put_node`] what they made.
    ///
    /// # Errors
    ///
    /// When this sink was made for others: a defect.
    pub fn packs(&self) -> Result<&Packs, DriverError> {
        let missing = "this sink takes streams only";
        self.packs.as_ref().ok_or_else(|| DriverError::plain(Reason::Internal, missing))
    }

    /// Stores all of `body` as the file `name`; a `/` in it makes directories. Returns its size.
    ///
    /// # Errors
    ///
    /// The error that `body` ended with, and then nothing of it is in the snapshot; or why it
    /// cannot be stored, or that the name cannot be one or is taken.
    pub async fn put<E: Into<DriverError>>(
        &mut self,
        name: &str,
        body: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<ByteCount, DriverError> {
        let body = body.map(|piece| piece.map_err(|error| io::Error::other(error.into())));
        let reader = StreamReader::new(Box::pin(body));
        let content = self.writer.write(reader, StreamOptions::default()).await;
        let content = content.map_err(|error| failed(name, error))?;
        let size = content.size();
        let node = Node {
            mode: mode::from_unix(0o100_600),
            size,
            links: 1,
            content: Some(content.into_blobs()),
            ..Node::new(b"", NodeKind::File, self.time)
        };
        self.put_node(name, node, ByteCount(size))?;
        Ok(ByteCount(size))
    }

    /// Stores `text` as the file `name`.
    ///
    /// # Errors
    ///
    /// As [`Self::put`].
    pub async fn put_text(&mut self, name: &str, text: String) -> Result<ByteCount, DriverError> {
        let body = futures::stream::iter([Ok::<_, DriverError>(Bytes::from(text))]);
        self.put(name, body).await
    }

    /// Puts an entry whose content is stored already, by whoever walked a tree: a directory with
    /// its `subtree`, or a file with its `content`. Its own name is replaced; all else of it stays:
    /// owner, mode, times. `bytes` were read for it.
    ///
    /// # Errors
    ///
    /// When the name cannot be one, or is taken.
    pub fn put_node(
        &mut self,
        name: &str,
        mut node: Node,
        bytes: ByteCount,
    ) -> Result<(), DriverError> {
        let refused = |what: &str| {
            let doing = format!("store `{}` in the snapshot", name.escape_debug());
            DriverError::new(Reason::Internal, doing, what.to_owned())
        };
        let (folders, last) = match name.rsplit_once('/') {
            Some((folders, last)) => (folders.split('/').collect(), last),
            None => (Vec::new(), name),
        };
        let mut folder = &mut self.root;
        for part in folders {
            let entry = folder.0.entry(part.to_owned());
            match entry.or_insert_with(|| Entry::Folder(Folder::default())) {
                Entry::Folder(inner) => folder = inner,
                Entry::Node(_) => return Err(refused("a file is where a directory should be")),
            }
        }
        if folder.0.contains_key(last) {
            return Err(refused("there is a file of that name"));
        }
        node.name = last.as_bytes().to_vec();
        folder.0.insert(last.to_owned(), Entry::Node(Box::new(node)));
        self.bytes = self.bytes + bytes;
        Ok(())
    }

    /// Stores the directory itself. Returns its id, and how many bytes were read for it.
    ///
    /// # Errors
    ///
    /// When it cannot be stored.
    pub async fn finish(self) -> Result<(BlobId, ByteCount), DriverError> {
        let id = self.root.store(&self.writer, self.time).await?;
        Ok((id, self.bytes))
    }
}

impl Folder {
    /// Stores what is in it, then itself.
    fn store(self, writer: &Writer, time: Timestamp) -> BoxFuture<'_, Result<BlobId, DriverError>> {
        Box::pin(async move {
            let mut nodes = Vec::new();
            for (name, entry) in self.0 {
                nodes.push(match entry {
                    Entry::Node(node) => *node,
                    Entry::Folder(folder) => {
                        let subtree = folder.store(writer, time).await?;
                        directory(name.as_bytes(), subtree, time)
                    }
                });
            }
            let tree = Tree::new(nodes).map_err(|error| failed("", WriteError::Tree(error)))?;
            writer.save_tree(&tree).await.map_err(|error| failed("", error))
        })
    }
}

/// An entry for a directory of our own making: only root may look into it.
pub fn directory(name: &[u8], subtree: BlobId, time: Timestamp) -> Node {
    Node {
        mode: mode::from_unix(0o040_700),
        links: 1,
        subtree: Some(subtree),
        ..Node::new(name, NodeKind::Dir, time)
    }
}

/// The error of a source is passed on as it is; any other is one of the repository.
fn failed(name: &str, error: WriteError) -> DriverError {
    let mut error = error;
    if let WriteError::Source(source) = error {
        match source.downcast::<DriverError>() {
            Ok(error) => return error,
            Err(source) => error = WriteError::Source(source),
        }
    }
    let what = if name.is_empty() { "a directory".to_owned() } else { format!("`{name}`") };
    let doing = format!("store {what} in the snapshot");
    DriverError::new(reason(&error), doing, error)
}

/// Why a writer failed, for programs.
fn reason(error: &WriteError) -> Reason {
    match error {
        WriteError::Failed(first) => reason(first),
        WriteError::Sink(_) => Reason::StorageUnavailable,
        WriteError::Poisoned { .. } => Reason::Cancelled,
        WriteError::Source(_)
        | WriteError::Gate(_)
        | WriteError::Pack(_)
        | WriteError::Tree(_)
        | WriteError::Gone => Reason::Internal,
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt as _;
    use lazarette_core::error::{ReasonedError as _, chain};
    use lazarette_repo::{
        key::Hardness,
        lock::{Holder, Lock, LockMode},
        reader::{Reader, ReaderOptions},
        repository::Repository,
        session::Session,
        storage::memory::MemoryStorage,
        writer::WriterOptions,
    };
    use tokio::runtime::Handle;

    use super::*;
    use crate::source::Source;

    /// A repository in memory, and a session in which it is written.
    async fn session() -> Arc<Session> {
        let storage = Arc::new(MemoryStorage::new());
        let made = Repository::create(storage, &[], Hardness::TEST, Timestamp::UNIX_EPOCH).await;
        let repository = made.unwrap();
        let holder = Holder { hostname: "here".into(), username: "test".into(), pid: 1 };
        let now = Timestamp::UNIX_EPOCH;
        let lock = Lock::acquire(&repository, LockMode::Shared, &holder, now).await.unwrap();
        Session::begin(&repository, lock).await.unwrap()
    }

    fn sink(session: &Arc<Session>) -> Sink {
        let key = session.repository().master_key();
        let packs = Arc::clone(session);
        let writer = Writer::start(key, packs, Handle::current(), WriterOptions::default());
        Sink::new(Arc::new(writer.unwrap()), Timestamp::UNIX_EPOCH)
    }

    async fn source(session: &Session, sink: Sink) -> (Source, ByteCount) {
        let writer = Arc::clone(&sink.writer);
        let (root, bytes) = sink.finish().await.unwrap();
        Arc::into_inner(writer).unwrap().finish().await.unwrap();
        session.checkpoint(&[]).await.unwrap();
        let repository = Arc::clone(session.repository());
        let key = repository.master_key().clone();
        let reader = Reader::new(&key, repository, Handle::current(), ReaderOptions::default());
        (Source::new(reader, root).await.unwrap(), bytes)
    }

    fn pieces(count: usize) -> impl Stream<Item = Result<Bytes, DriverError>> + Send {
        futures::stream::iter(
            (0..count).map(|at| Ok(Bytes::from(vec![at.to_le_bytes()[0]; 70_000]))),
        )
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_put_is_read_again_and_directories_come_by_themselves() {
        let session = session().await;
        let mut sink = sink(&session);

        sink.put_text("server.json", "{}".to_owned()).await.unwrap();
        let size = sink.put("databases/shop.dump", pieces(100)).await.unwrap();
        sink.put("databases/empty", pieces(0)).await.unwrap();
        let (source, bytes) = source(&session, sink).await;

        assert_eq!((size, bytes), (ByteCount(7_000_000), ByteCount(7_000_002)));
        assert_eq!(source.names(), ["databases", "server.json"]);
        assert_eq!(source.text("server.json").await.unwrap(), "{}");
        assert_eq!(source.text("databases/empty").await.unwrap(), "");
        let all: Vec<Bytes> =
            source.open("databases/shop.dump").await.unwrap().try_collect().await.unwrap();
        let put: Vec<Bytes> = pieces(100).try_collect().await.unwrap();
        assert!(all.concat() == put.concat());
        let inner = source.subtree("databases").await.unwrap();
        assert_eq!(source.reader().tree(inner).await.unwrap().nodes().len(), 2);
        for missing in ["no", "databases/no", "server.json/no", "databases"] {
            let refused = source.open(missing).await.err().unwrap();
            assert_eq!(refused.reason(), Reason::RepositoryDamaged, "{missing}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_body_that_ends_with_an_error_leaves_nothing_and_its_error_is_told() {
        let session = session().await;
        let mut sink = sink(&session);
        let cut = DriverError::plain(Reason::DumpUnknown, "dump database `shop`");
        let body = pieces(50).chain(futures::stream::iter([Err(cut)]));

        let error = sink.put("shop.dump", body).await.unwrap_err();
        sink.put_text("other", "x".to_owned()).await.unwrap();
        let (source, _) = source(&session, sink).await;

        assert_eq!(error.reason(), Reason::DumpUnknown);
        assert_eq!(chain(&error), "dump database `shop`");
        assert_eq!(source.names(), ["other"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_name_is_taken_twice_or_leads_out_of_the_directory() {
        let session = session().await;
        let mut sink = sink(&session);
        sink.put_text("a", String::new()).await.unwrap();
        for taken in ["a", "a/b"] {
            assert!(sink.put_text(taken, String::new()).await.is_err(), "{taken}");
        }
        sink.put_text("../b", String::new()).await.unwrap();
        assert!(sink.finish().await.is_err());
    }
}
