//! Commit: the packs of a run become indexed, then its snapshot exists.

use jiff::Timestamp;

use crate::id::{BlobId, ObjectId, PackId};
use crate::index::{IndexFile, MAX_BLOBS};
use crate::pack::{BlobKind, PackEntry};
use crate::repository::{Repository, RepositoryError};
use crate::session::{ReportError, Session};
use crate::snapshot::{Identified, Snapshot, Summary};
use crate::source::PackSource as _;
use crate::storage::Kind;
use crate::tree::Tree;
use crate::unpacked::{self, UnpackedError};

/// What the tag of a run begins with.
const RUN_TAG: &str = "run:";

/// What a run asks to make a snapshot of.
#[derive(Debug, Clone)]
pub struct CommitRequest {
    /// The run: committing it twice is committing it once. It becomes the tag `run:…`.
    pub run: String,
    /// The root directory.
    pub tree: BlobId,
    /// What was saved.
    pub paths: Vec<String>,
    /// The host it is of.
    pub hostname: String,
    /// The user who took it.
    pub username: String,
    /// More tags.
    pub tags: Vec<String>,
    /// When it was taken, by the clock of whoever holds the repository.
    pub time: Timestamp,
    /// The snapshot that it followed.
    pub parent: Option<ObjectId>,
    /// The program that took it.
    pub program_version: String,
    /// Every pack that the run has put.
    pub packs: Vec<PackId>,
    /// What taking it amounted to.
    pub summary: Option<Summary>,
}

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The run has a snapshot of something else.
    #[error("commit run `{run}`: it has snapshot {snapshot} already, of another tree")]
    Conflict {
        /// The run.
        run: String,
        /// Its snapshot.
        snapshot: ObjectId,
    },
    /// The root directory is not in the repository.
    #[error("commit run `{run}`: its tree {tree} is in none of its packs")]
    NoTree {
        /// The run.
        run: String,
        /// The tree.
        tree: BlobId,
    },
    /// The root directory cannot be read.
    #[error("commit run `{run}`: read its tree {tree}")]
    Tree {
        /// The run.
        run: String,
        /// The tree.
        tree: BlobId,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// One of the packs is missing or not what it should be.
    #[error("commit a run")]
    Pack(#[from] ReportError),
    /// The repository failed.
    #[error("commit a run")]
    Repository(#[from] RepositoryError),
    /// An index or the snapshot cannot be stored.
    #[error("commit a run")]
    Object(#[from] UnpackedError),
}

impl CommitError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Pack(error) => error.is_transient(),
            Self::Repository(error) => error.is_transient(),
            Self::Object(error) => error.is_transient(),
            Self::Conflict { .. } | Self::NoTree { .. } | Self::Tree { .. } => false,
        }
    }
}

impl Session {
    /// Makes the snapshot of a run, and returns it. It exists when this returns, and not before;
    /// a run that has one already gets that one.
    ///
    /// # Errors
    ///
    /// [`CommitError`]; there is no snapshot then, and the same call may be made again.
    ///
    /// # Cancel safety
    ///
    /// A call that is dropped may have made the snapshot or not; make it again.
    pub async fn commit(&self, request: CommitRequest) -> Result<Identified, CommitError> {
        let repository = self.repository();
        let _alone = repository.commits.lock().await;
        let tag = format!("{RUN_TAG}{}", request.run);
        if let Some(found) = of_run(repository, &tag).await? {
            if found.snapshot.tree == request.tree {
                return Ok(found);
            }
            return Err(CommitError::Conflict { run: request.run, snapshot: found.id });
        }
        self.recall(&request.packs).await?;
        self.write_index().await?;
        self.read_root(&request).await?;
        let snapshot = snapshot(request, tag);
        let name = "snapshots";
        let json = snapshot
            .to_json()
            .map_err(|error| UnpackedError::Seal { folder: name, source: error.into() })?;
        let (storage, cipher) = (repository.storage(), repository.cipher());
        let id = unpacked::create(&**storage, cipher, Kind::Snapshot, &json).await?;
        repository.remember(id, snapshot.clone());
        Ok(Identified { id, snapshot })
    }

    /// Indexes the packs taken so far and `packs`, so that what is in them can be read before there
    /// is a snapshot, and a later run finds their blobs even if there never is one.
    ///
    /// # Errors
    ///
    /// When one of them is missing or not what it should be, or the index cannot be stored.
    pub async fn checkpoint(&self, packs: &[PackId]) -> Result<(), CommitError> {
        let _alone = self.repository().commits.lock().await;
        self.recall(packs).await?;
        self.write_index().await
    }

    async fn write_index(&self) -> Result<(), CommitError> {
        let repository = self.repository();
        let taken = self.with(|state| state.packs.clone());
        let new = repository.with_index(|index| {
            let new = taken.into_iter().filter(|(pack, _)| !index.contains_pack(pack));
            new.collect::<Vec<_>>()
        });
        for packs in in_files(new) {
            let file = IndexFile { supersedes: Vec::new(), packs };
            let json = file
                .to_json()
                .map_err(|error| UnpackedError::Seal { folder: "index", source: error.into() })?;
            let (storage, cipher) = (repository.storage(), repository.cipher());
            let id = unpacked::create(&**storage, cipher, Kind::Index, &json).await?;
            repository.change_index(|index| index.insert_file(id, &file));
        }
        Ok(())
    }

    /// Sees that the root directory is there and is one.
    async fn read_root(&self, request: &CommitRequest) -> Result<(), CommitError> {
        let (run, tree) = (request.run.clone(), request.tree);
        let located = self.repository().with_index(|index| index.locate(&tree));
        let Some(place) = located.filter(|place| place.kind == BlobKind::Tree) else {
            return Err(CommitError::NoTree { run, tree });
        };
        let start = u64::from(place.offset);
        let range = start..start + u64::from(place.length);
        let read = async {
            let mut sealed = self.repository().read_pack(place.pack, range).await?.to_vec();
            let entry = place.entry(tree);
            let plain = crate::pack::blob::open(self.repository().cipher(), &entry, &mut sealed)?;
            Tree::from_json(&plain)?;
            Ok(())
        };
        read.await.map_err(|source| CommitError::Tree { run, tree, source })
    }
}

async fn of_run(repository: &Repository, tag: &str) -> Result<Option<Identified>, RepositoryError> {
    let snapshots = repository.snapshots().await?;
    Ok(snapshots.into_iter().find(|one| one.snapshot.has_tag(tag)))
}

fn snapshot(request: CommitRequest, tag: String) -> Snapshot {
    let mut tags = request.tags;
    tags.push(tag);
    Snapshot {
        time: request.time,
        parent: request.parent,
        tree: request.tree,
        paths: request.paths,
        hostname: request.hostname,
        username: request.username,
        uid: 0,
        gid: 0,
        excludes: Vec::new(),
        tags,
        original: None,
        program_version: request.program_version,
        summary: request.summary,
    }
}

/// Splits `packs` so that each part has as many blobs as an index file may have.
fn in_files(packs: Vec<(PackId, Vec<PackEntry>)>) -> Vec<Vec<(PackId, Vec<PackEntry>)>> {
    let mut files: Vec<Vec<(PackId, Vec<PackEntry>)>> = Vec::new();
    let mut blobs = MAX_BLOBS;
    for pack in packs {
        if blobs + pack.1.len() > MAX_BLOBS {
            files.push(Vec::new());
            blobs = 0;
        }
        blobs += pack.1.len();
        if let Some(file) = files.last_mut() {
            file.push(pack);
        }
    }
    files
}
