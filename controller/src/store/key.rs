//! Key: how an id becomes bytes that sort as the ids do.

use lazarette_core::id::{HostId, RepositoryId, RunId, SnapshotId, StackId};
use lazarette_core::name::{HostName, OperatorName, StackName};
use lazarette_node::certificate::Serial;
use lazarette_node::token::TokenId;

/// An id in a key. An encoding has a fixed length, or is the last of its key, so that no key is
/// the beginning of another one's.
pub trait Key: Sized {
    /// Appends the bytes; they sort as the ids do.
    fn write(&self, key: &mut Vec<u8>);

    /// The id whose bytes these are, all of them.
    fn read(bytes: &[u8]) -> Option<Self>;
}

/// The only record of its collection.
impl Key for () {
    fn write(&self, _key: &mut Vec<u8>) {}

    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.is_empty().then_some(())
    }
}

impl Key for u64 {
    fn write(&self, key: &mut Vec<u8>) {
        key.extend_from_slice(&self.to_be_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_be_bytes)
    }
}

macro_rules! ids {
    ($($name:ident)*) => {$(
        impl Key for $name {
            fn write(&self, key: &mut Vec<u8>) {
                key.extend_from_slice(self.as_bytes());
            }

            fn read(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self::from_bytes)
            }
        }
    )*};
}

ids! { HostId RepositoryId RunId SnapshotId StackId }

macro_rules! names {
    ($($name:ident)*) => {$(
        impl Key for $name {
            fn write(&self, key: &mut Vec<u8>) {
                key.extend_from_slice(self.as_str().as_bytes());
            }

            fn read(bytes: &[u8]) -> Option<Self> {
                std::str::from_utf8(bytes).ok()?.parse().ok()
            }
        }
    )*};
}

names! { HostName OperatorName StackName TokenId Serial }

macro_rules! pairs {
    ($($name:ident and $other:ident;)*) => {$(
        impl Key for ($name, $other) {
            fn write(&self, key: &mut Vec<u8>) {
                self.0.write(key);
                self.1.write(key);
            }

            fn read(bytes: &[u8]) -> Option<Self> {
                let (first, second) = bytes.split_at_checked(first_bytes::<$name>())?;
                Some((Key::read(first)?, Key::read(second)?))
            }
        }
    )*};
}

pairs! {
    RunId and u64;
    SnapshotId and u64;
    HostId and StackName;
}

/// The length of the first of a pair, which is an id.
const fn first_bytes<K>() -> usize {
    size_of::<K>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_key_is_read_as_it_was_written_and_sorts_as_its_id_does(
            ids in prop::array::uniform2(any::<[u8; 16]>()), numbers in any::<[u64; 2]>(),
        ) {
            let [one, other] = [0, 1].map(|n| (RunId::from_bytes(ids[n]), numbers[n]));
            let [mut one_key, mut other_key] = [Vec::new(), Vec::new()];
            one.write(&mut one_key);
            other.write(&mut other_key);

            prop_assert_eq!(Key::read(&one_key), Some(one));
            prop_assert_eq!(one_key.cmp(&other_key), one.cmp(&other));
        }
    }

    #[test]
    fn bytes_that_are_no_id_are_no_key() {
        assert_eq!(RunId::read(&[0; 15]), None);
        assert_eq!(<(RunId, u64)>::read(&[0; 25]), None);
        assert_eq!(HostName::read(b".."), None);
        assert_eq!(
            <(HostId, StackName)>::read(&[&[1; 16], b"shop".as_slice()].concat()).unwrap().1,
            "shop".parse().unwrap()
        );
    }
}
