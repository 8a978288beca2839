//! Mode: permissions and type of a file as Go's `os.FileMode` has them, which is what restic stores.

const DIR: u32 = 1 << 31;
const SYMLINK: u32 = 1 << 27;
const DEVICE: u32 = 1 << 26;
const NAMED_PIPE: u32 = 1 << 25;
const SOCKET: u32 = 1 << 24;
const SETUID: u32 = 1 << 23;
const SETGID: u32 = 1 << 22;
const CHAR_DEVICE: u32 = 1 << 21;
const STICKY: u32 = 1 << 20;

/// Which bit of `st_mode` is which bit of Go's, apart from the type.
const BITS: [(u32, u32); 3] = [(0o4000, SETUID), (0o2000, SETGID), (0o1000, STICKY)];

/// Go's mode for a `st_mode`.
pub fn from_unix(mode: u32) -> u32 {
    let kind = match mode & 0o170_000 {
        0o040_000 => DIR,
        0o120_000 => SYMLINK,
        0o060_000 => DEVICE,
        0o020_000 => DEVICE | CHAR_DEVICE,
        0o010_000 => NAMED_PIPE,
        0o140_000 => SOCKET,
        _ => 0,
    };
    let special = BITS.iter().filter(|(unix, _)| mode & unix != 0).map(|(_, go)| go);
    special.fold(kind | (mode & 0o777), |all, bit| all | bit)
}

/// The twelve permission bits of `st_mode` for Go's mode, without the type.
pub fn permissions(mode: u32) -> u32 {
    let special = BITS.iter().filter(|(_, go)| mode & go != 0).map(|(unix, _)| unix);
    special.fold(mode & 0o777, |all, bit| all | bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_special_bits_are_those_of_go() {
        assert_eq!(from_unix(0o040_755), 0x8000_01ed);
        assert_eq!(from_unix(0o120_777), 0x0800_01ff);
        assert_eq!(from_unix(0o020_666), 0x0420_01b6);
        assert_eq!(from_unix(0o104_755), 0x0080_01ed);
        assert_eq!(from_unix(0o041_777), 0x8010_01ff);
    }

    #[test]
    fn permissions_survive() {
        for mode in 0..0o10_000 {
            assert_eq!(permissions(from_unix(0o100_000 | mode)), mode);
        }
    }
}
