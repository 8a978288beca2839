//! Messages: what a child and its parent say to each other, and nothing else.

use std::path::PathBuf;

use lazarette_core::{error::Reason, evidence::Evidence, units::ByteCount};
use lazarette_repo::{
    id::{BlobId, PackId},
    index::BlobLocation,
    pack::{BlobKind, PackEntry},
    tree::Node,
};
use serde::{Deserialize, Serialize};

use super::{confine::Place, frame::FrameError};

/// From the parent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// The first message, and only that: what to do. The body is the repository's key, or empty.
    Begin(Box<Job>),
    /// Which blobs the repository has.
    Known {
        /// Of the question.
        question: u32,
        /// One for each blob asked for.
        known: Vec<bool>,
    },
    /// A pack is durable.
    Stored {
        /// Of the question.
        question: u32,
    },
    /// Where blobs are.
    Located {
        /// Of the question.
        question: u32,
        /// One for each blob asked for.
        locations: Vec<Option<WireLocation>>,
    },
    /// The body is the part of the pack that was asked for.
    Part {
        /// Of the question.
        question: u32,
    },
    /// What was asked for cannot be had.
    Refused {
        /// Of the question.
        question: u32,
        /// The whole chain of causes.
        why: String,
        /// Whether it may work later.
        transient: bool,
    },
}

/// From the child.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// Which of these blobs does the repository have?
    AskKnown {
        /// Chosen by the child; comes back in the answer.
        question: u32,
        /// The blobs.
        ids: Vec<BlobId>,
    },
    /// The body is a pack to store.
    PutPack {
        /// Chosen by the child; comes back in the answer.
        question: u32,
        /// Its id.
        id: PackId,
        /// What its header lists.
        entries: Vec<WireEntry>,
    },
    /// Where are these blobs?
    Locate {
        /// Chosen by the child; comes back in the answer.
        question: u32,
        /// The blobs.
        ids: Vec<BlobId>,
    },
    /// A part of a pack is wanted.
    ReadPack {
        /// Chosen by the child; comes back in the answer.
        question: u32,
        /// Which.
        pack: PackId,
        /// The first byte of it.
        start: u64,
        /// After the last byte of it.
        end: u64,
    },
    /// More was read or written.
    Progress(ByteCount),
    /// What an operator should read.
    Note(String),
    /// The last message: it is done.
    Done(Box<Done>),
    /// The last message: it failed.
    Failed {
        /// What programs match on.
        reason: Reason,
        /// The whole chain of causes.
        why: String,
    },
}

/// What a child is to do in its directory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// The directory in which it finds itself.
    pub(crate) place: Place,
    /// What to do there.
    pub(crate) task: Task,
}

/// What is to be done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Task {
    /// Read everything into packs.
    Save {
        /// What was read last time, if that is known.
        cache: Option<PathBuf>,
        /// Where to write what was read this time.
        new_cache: Option<PathBuf>,
        /// Only these paths, and what is below them; all when empty.
        only: Vec<Vec<u8>>,
    },
    /// Read everything and say what was found.
    Verify {
        /// Where the files were cut when they were restored.
        cuts: PathBuf,
        /// Only these paths, and what is below them; all when empty.
        only: Vec<Vec<u8>>,
    },
    /// Write everything from packs.
    Restore {
        /// The root's own entry.
        root: Box<Node>,
        /// How many entries it may have, the root included.
        entries: u64,
        /// How large its content may be.
        bytes: ByteCount,
        /// Where to write where the files were cut.
        cuts: PathBuf,
    },
}

/// What a child has done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    /// The root's own entry, when it was saved.
    pub(crate) root: Option<Node>,
    /// What was counted.
    pub(crate) evidence: Evidence,
    /// Of all content that stands for something, read again or not.
    pub(crate) bytes: ByteCount,
    /// What it takes on disk.
    pub(crate) allocated: ByteCount,
    /// How many entries there are, the root included.
    pub(crate) entries: u64,
    /// How many files were not read because they had not changed.
    pub(crate) unchanged: u64,
    /// What the writer counted, when something was saved.
    pub(crate) written: Option<Written>,
}

/// What went into packs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Written {
    /// Blobs that the repository did not have, in bytes.
    pub(crate) new: ByteCount,
    /// What they take in packs.
    pub(crate) stored: ByteCount,
}

/// A [`PackEntry`] on the pipe: data or not, the offset, the length, and the plain size.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct WireEntry(BlobId, BlobKind, u32, u32, Option<u32>);

impl From<&PackEntry> for WireEntry {
    fn from(it: &PackEntry) -> Self {
        Self(it.id, it.kind, it.offset, it.length, it.uncompressed)
    }
}

impl From<WireEntry> for PackEntry {
    fn from(WireEntry(id, kind, offset, length, uncompressed): WireEntry) -> Self {
        Self { id, kind, offset, length, uncompressed }
    }
}

/// A [`BlobLocation`] on the pipe.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct WireLocation(PackId, BlobKind, u32, u32, Option<u32>);

impl From<BlobLocation> for WireLocation {
    fn from(it: BlobLocation) -> Self {
        Self(it.pack, it.kind, it.offset, it.length, it.uncompressed)
    }
}

impl From<WireLocation> for BlobLocation {
    fn from(WireLocation(pack, kind, offset, length, uncompressed): WireLocation) -> Self {
        Self { pack, kind, offset, length, uncompressed }
    }
}

impl Order {
    /// The question that it answers, if it answers one.
    pub(crate) const fn question(&self) -> Option<u32> {
        match self {
            Self::Begin(_) => None,
            Self::Known { question, .. }
            | Self::Stored { question }
            | Self::Located { question, .. }
            | Self::Part { question }
            | Self::Refused { question, .. } => Some(*question),
        }
    }
}

/// What one end did not expect of the other.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PipeError {
    /// The pipe did not carry whole messages.
    #[error("talk with the other end of the pipe")]
    Frame(#[from] FrameError),
    /// It ended before the last message.
    #[error("talk with the other end of the pipe: it is gone")]
    Gone,
    /// Something came that does not belong there.
    #[error("talk with the other end of the pipe: it said something out of place")]
    OutOfPlace,
}
