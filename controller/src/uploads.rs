//! Uploads: how much of packs on their way in may be in memory, for each host.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use lazarette_core::id::HostId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const MIB: u64 = 1 << 20;
/// For each host: one pack of the largest size, and some of the usual 16 MiB.
const MIB_PER_HOST: u32 = 192;

/// The room that is taken now. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Uploads(Arc<Mutex<HashMap<HostId, Arc<Semaphore>>>>);

impl Uploads {
    /// Nothing is on its way.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes room for `bytes` more of `host` until the permit is dropped; nothing when there is
    /// none now. Nobody waits for it: a stream that waits unread takes the window of its
    /// connection from those that have room, and from all else.
    pub fn room(&self, host: HostId, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let permits = u32::try_from(bytes.div_ceil(MIB)).unwrap_or(u32::MAX).clamp(1, MIB_PER_HOST);
        self.of(host).try_acquire_many_owned(permits).ok()
    }

    fn of(&self, host: HostId) -> Arc<Semaphore> {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let permits = usize::try_from(MIB_PER_HOST).unwrap_or(usize::MAX);
        let known = hosts.entry(host).or_insert_with(|| Arc::new(Semaphore::new(permits)));
        Arc::clone(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_room_for_so_much_and_takes_none_from_others() {
        let (uploads, greedy, other) = (Uploads::new(), HostId::new(), HostId::new());
        let largest = uploads.room(greedy, 128 * MIB).unwrap();
        let _usual = uploads.room(greedy, 64 * MIB).unwrap();

        assert!(uploads.room(greedy, 1).is_none());
        assert!(uploads.room(other, 128 * MIB).is_some());

        drop(largest);
        assert!(uploads.room(greedy, 128 * MIB).is_some());
    }
}
