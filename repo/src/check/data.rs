//! Data: every pack read whole, hashed, and each blob in it opened and hashed again.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::StreamExt as _;
use lazarette_core::error::chain;

use crate::check::Check;
use crate::crypto::Cipher;
use crate::id::{BlobId, PackId};
use crate::pack::blob::Opener;
use crate::pack::{self, PackEntry};
use crate::storage::{ObjectName, StorageError};

/// How many packs are in memory at once.
const PARALLEL: usize = 2;

/// What is wrong with a pack, and with blobs in it.
#[derive(Default)]
struct Verdict {
    pack: Option<String>,
    blobs: Vec<(BlobId, String)>,
}

impl Check<'_> {
    /// Reads every indexed pack. Those known to be missing are left out: they are reported already.
    pub(super) async fn data(&mut self) {
        let mut packs: BTreeMap<PackId, Vec<PackEntry>> = BTreeMap::new();
        for (id, place) in self.index.blobs() {
            packs.entry(place.pack).or_default().push(place.entry(id));
        }
        packs.retain(|pack, _| !self.damage.packs.contains_key(pack));
        let (storage, cipher) = (self.storage, self.cipher.clone());
        let read = futures::stream::iter(packs).map(|(pack, indexed)| {
            let cipher = cipher.clone();
            async move {
                let content = storage.read(ObjectName::Pack(pack)).await;
                (pack, judge(cipher, pack, indexed, content).await)
            }
        });
        let mut read = read.buffer_unordered(PARALLEL);
        let mut verdicts = Vec::new();
        while let Some((pack, (verdict, bytes))) = read.next().await {
            self.report.bytes_read += bytes;
            verdicts.push((pack, verdict));
        }
        drop(read);
        for (pack, verdict) in verdicts {
            if let Some(what) = verdict.pack {
                self.damaged_pack(pack, what);
            }
            for (blob, what) in verdict.blobs {
                self.damaged_blob(blob, ObjectName::Pack(pack), what);
            }
        }
    }
}

async fn judge(
    cipher: Cipher,
    pack: PackId,
    indexed: Vec<PackEntry>,
    content: Result<Bytes, StorageError>,
) -> (Verdict, u64) {
    let failed = |what| (Verdict { pack: Some(what), blobs: Vec::new() }, 0);
    let content = match content {
        Ok(content) => content,
        Err(error) => return failed(chain(&error)),
    };
    let bytes = u64::try_from(content.len()).unwrap_or(u64::MAX);
    let judged = tokio::task::spawn_blocking(move || verdict(&cipher, pack, &indexed, &content));
    match judged.await {
        Ok(verdict) => (verdict, bytes),
        Err(error) => failed(chain(&error)),
    }
}

fn verdict(cipher: &Cipher, pack: PackId, indexed: &[PackEntry], content: &[u8]) -> Verdict {
    let mut verdict = Verdict::default();
    if PackId::of(content) != pack {
        verdict.pack = Some("its content has another SHA-256: it is damaged".to_owned());
    }
    let listed = match pack::read_header(cipher, content) {
        Ok(listed) => listed,
        Err(error) => {
            verdict.pack.get_or_insert_with(|| chain(&error));
            Vec::new()
        }
    };
    let in_header: BTreeSet<BlobId> = listed.iter().map(|entry| entry.id).collect();
    let mut opener = match Opener::new(cipher.clone()) {
        Ok(opener) => opener,
        Err(error) => {
            verdict.pack = Some(chain(&error));
            return verdict;
        }
    };
    // What the header has more than the index is in another pack as well, or nobody needs it.
    for entry in indexed {
        if verdict.pack.is_none() && !in_header.contains(&entry.id) {
            let what = "the index has it in this pack, but the pack's header has not".to_owned();
            verdict.blobs.push((entry.id, what));
        }
        let start = usize::try_from(entry.offset).unwrap_or(usize::MAX);
        let length = usize::try_from(entry.length).unwrap_or(usize::MAX);
        let sealed = content.get(start..).and_then(|rest| rest.get(..length));
        let mut sealed = sealed.unwrap_or_default().to_vec();
        if let Err(error) = opener.open(entry, &mut sealed, Vec::new()) {
            verdict.blobs.push((entry.id, chain(&error)));
        }
    }
    verdict
}
