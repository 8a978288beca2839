//! Listing: what is counted of a tree while it is walked, to be the same after a restore.
//!
//! A directory's digest is the SHA-256 over its entries in the order of their names, with those of
//! the directories in it; the root's stands for everything. Times of access and of change, numbers
//! of inodes, and how many names a file has outside of the tree are not in it: they are never the
//! same again.

use std::collections::{HashMap, hash_map::Entry};

use lazarette_core::evidence::{Evidence, Fact};
use lazarette_repo::{
    hash::Hasher,
    id::BlobId,
    tree::{Node, NodeKind},
};

/// A listing in the making.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    stack: Vec<Level>,
    counts: Counts,
    /// The number of the first name of each file with several.
    first_names: HashMap<(u64, u64), u64>,
    names: u64,
    done: Option<Digests>,
}

#[derive(Debug, Default)]
struct Level {
    metadata: Hasher,
    content: Hasher,
}

#[derive(Clone, Copy, Debug)]
struct Digests {
    metadata: [u8; 32],
    content: [u8; 32],
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    directories: u64,
    files: u64,
    links: u64,
    pipes: u64,
    devices: u64,
    bytes: u64,
}

impl Listing {
    /// A directory begins.
    pub(crate) fn enter(&mut self, node: &Node) {
        let mut level = Level::default();
        self.counts.directories += 1;
        self.names += 1;
        describe(&mut level.metadata, node);
        put(&mut level.content, &node.name);
        self.stack.push(level);
    }

    /// A file with its content.
    pub(crate) fn file(&mut self, node: &Node, content: &[BlobId]) {
        self.counts.files += 1;
        self.names += 1;
        let first = self.first_name(node);
        if first.is_none() {
            self.counts.bytes += node.size;
        }
        let Some(level) = self.stack.last_mut() else { return };
        describe(&mut level.metadata, node);
        level.metadata.update(&first.unwrap_or(0).to_le_bytes());
        level.metadata.update(&node.size.to_le_bytes());
        put(&mut level.content, &node.name);
        level.content.update(&node.size.to_le_bytes());
        for id in content {
            level.content.update(id.as_bytes());
        }
    }

    /// Which name in the tree the file had before this one, if it had one. A file whose other
    /// names are all outside is like any other.
    fn first_name(&mut self, node: &Node) -> Option<u64> {
        if node.inode == 0 {
            return None;
        }
        match self.first_names.entry((node.device_id, node.inode)) {
            Entry::Occupied(first) => Some(*first.get()),
            Entry::Vacant(none) => {
                none.insert(self.names);
                None
            }
        }
    }

    /// A link, pipe or device.
    pub(crate) fn special(&mut self, node: &Node) {
        self.names += 1;
        match node.kind {
            NodeKind::Symlink => self.counts.links += 1,
            NodeKind::Fifo => self.counts.pipes += 1,
            NodeKind::Dev | NodeKind::CharDev => self.counts.devices += 1,
            NodeKind::File | NodeKind::Dir | NodeKind::Other => {}
        }
        let Some(level) = self.stack.last_mut() else { return };
        describe(&mut level.metadata, node);
        put(&mut level.metadata, &node.link_target);
        level.metadata.update(&node.device.to_le_bytes());
    }

    /// The directory that began last is over.
    pub(crate) fn leave(&mut self) {
        let Some(mut level) = self.stack.pop() else { return };
        let digests =
            Digests { metadata: level.metadata.finish(), content: level.content.finish() };
        match self.stack.last_mut() {
            Some(outer) => {
                outer.metadata.update(&digests.metadata);
                outer.content.update(&digests.content);
            }
            None => self.done = Some(digests),
        }
    }

    /// Content that stands for something, counted once for a file with several names.
    pub(crate) fn bytes(&self) -> u64 {
        self.counts.bytes
    }

    /// How many entries there are, the root included.
    pub(crate) const fn entries(&self) -> u64 {
        self.names
    }

    /// What was counted, after the root was left.
    pub(crate) fn evidence(&self) -> Evidence {
        let mut evidence = Evidence::default();
        let Counts { directories, files, links, pipes, devices, bytes } = self.counts;
        for (about, count) in [
            ("tree/directories", directories),
            ("tree/files", files),
            ("tree/symbolic links", links),
            ("tree/pipes", pipes),
            ("tree/devices", devices),
            ("tree/bytes", bytes),
        ] {
            evidence.insert(about, Fact::Count(count));
        }
        if let Some(digests) = self.done {
            evidence.insert("tree/metadata", Fact::Text(hex::encode(digests.metadata)));
            evidence.insert("tree/content", Fact::Text(hex::encode(digests.content)));
        }
        evidence
    }
}

/// What all entries have: name, kind, permissions, owner, time and attributes.
fn describe(hasher: &mut Hasher, node: &Node) {
    put(hasher, &node.name);
    for number in [node.mode, node.uid, node.gid] {
        hasher.update(&number.to_le_bytes());
    }
    hasher.update(&node.mtime.as_nanosecond().to_le_bytes());
    for attribute in &node.xattrs {
        put(hasher, attribute.name.as_bytes());
        put(hasher, &attribute.value);
    }
    hasher.update(&[0xff]); // ends the attributes
}

fn put(hasher: &mut Hasher, bytes: &[u8]) {
    hasher.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
    hasher.update(bytes);
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn node(name: &str, kind: NodeKind) -> Node {
        Node::new(name.as_bytes(), kind, Timestamp::UNIX_EPOCH)
    }

    fn listed(files: &[Node]) -> Evidence {
        let mut listing = Listing::default();
        listing.enter(&node("root", NodeKind::Dir));
        for file in files {
            listing.file(file, &[BlobId::of(b"x")]);
        }
        listing.leave();
        listing.evidence()
    }

    #[test]
    fn inodes_may_differ_but_which_names_are_one_file_may_not() {
        let named = |name: &str, inode| {
            let mut node = node(name, NodeKind::File);
            (node.inode, node.device_id, node.size) = (inode, 1, 5);
            node
        };

        let saved = listed(&[named("a", 7), named("b", 7), named("c", 8)]);

        assert_eq!(saved, listed(&[named("a", 70), named("b", 70), named("c", 80)]));
        assert_ne!(saved, listed(&[named("a", 7), named("b", 8), named("c", 8)]));
        assert_eq!(saved.0.get("tree/bytes"), Some(&Fact::Count(10)));
    }

    #[test]
    fn every_kept_property_is_in_the_digest() {
        let plain = node("a", NodeKind::File);
        let saved = listed(std::slice::from_ref(&plain));
        let changes: [fn(&mut Node); 6] = [
            |it| it.name = b"b".to_vec(),
            |it| it.mode ^= 1 << 23,
            |it| it.uid = 1,
            |it| it.gid = 1,
            |it| it.size = 1,
            |it| it.mtime = Timestamp::from_nanosecond(1).unwrap(),
        ];
        for change in changes {
            let mut changed = plain.clone();
            change(&mut changed);
            assert_ne!(saved, listed(&[changed]));
        }
    }
}
