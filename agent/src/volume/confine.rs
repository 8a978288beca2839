//! Confinement: how the child gives up all that it does not need before it touches a file (H31).

use std::io;

use rustix::{
    process::{DumpableBehavior, Resource, Rlimit},
    thread::{CapabilitySet, CapabilitySets},
};

use super::inode::Inode;

/// What a child may still do when it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Powers {
    /// Reads anything in its directory; `trusted.*` attributes are shown to `SYS_ADMIN` only.
    Read,
    /// Also makes anything there, with any owner.
    Write,
}

impl Powers {
    const fn capabilities(self) -> CapabilitySet {
        let read = CapabilitySet::DAC_READ_SEARCH.union(CapabilitySet::SYS_ADMIN);
        match self {
            Self::Read => read,
            Self::Write => read
                .union(CapabilitySet::CHOWN)
                .union(CapabilitySet::DAC_OVERRIDE)
                .union(CapabilitySet::FOWNER)
                .union(CapabilitySet::FSETID)
                .union(CapabilitySet::MKNOD)
                .union(CapabilitySet::SETFCAP),
        }
    }
}

/// The child could not be locked in, so it does nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfineError {
    /// A system call failed.
    #[error("lock the child in: {doing}")]
    Call {
        /// Which.
        doing: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The directory is not the one that the parent has looked at.
    #[error("lock the child in: it was started in another directory than it was told of")]
    Elsewhere,
}

/// What names a directory as long as it exists: its file system and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Place {
    /// Its file system.
    pub(crate) device: u64,
    /// Its number there.
    pub(crate) number: u64,
}

impl Place {
    /// Where an inode is.
    pub(crate) const fn of(inode: &Inode) -> Self {
        Self { device: inode.device, number: inode.number }
    }
}

/// Makes the working directory, which must be `place`, all that this process sees, and gives up
/// every power but `powers`. Called while there is one thread: what it sets is each thread's own.
pub(crate) fn confine(place: Place, powers: Powers) -> Result<(), ConfineError> {
    let call = |doing| move |errno| ConfineError::Call { doing, source: io::Error::from(errno) };

    let here = Inode::at(rustix::fs::CWD, b".").map_err(call("look at its directory"))?;
    if Place::of(&here) != place {
        return Err(ConfineError::Elsewhere);
    }
    raise_file_limit();
    rustix::process::chroot(".").map_err(call("change its root directory"))?;
    rustix::process::chdir("/").map_err(call("enter its root directory"))?;

    let kept = powers.capabilities();
    let now = rustix::thread::capabilities(None).map_err(call("ask for its capabilities"))?;
    for dropped in CapabilitySet::all().difference(kept).iter() {
        let held = rustix::thread::capability_is_in_bounding_set(dropped).unwrap_or(false);
        if held {
            rustix::thread::remove_capability_from_bounding_set(dropped)
                .map_err(call("bound its capabilities"))?;
        }
    }
    rustix::thread::clear_ambient_capability_set().map_err(call("clear ambient capabilities"))?;
    let kept = kept.intersection(now.permitted);
    let sets =
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).map_err(call("drop capabilities"))?;
    rustix::thread::set_no_new_privs(true).map_err(call("renounce new privileges"))?;
    // No core dump, and no other process of this user, shall see the key.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(call("forbid core dumps"))
}

/// One directory is open for each level of a tree, so as many files as may be.
fn raise_file_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if rustix::process::setrlimit(Resource::Nofile, raised).is_err() {
        tracing::debug!("the limit of open files stays as it is");
    }
}
