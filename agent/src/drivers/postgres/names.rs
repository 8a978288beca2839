//! Names: what the databases of a restore are called, derived from the run that makes them.

use lazarette_core::id::RunId;
use sha2::{Digest, Sha256};

/// The longest name of a database, in bytes.
const MAX_LEN: usize = 63;

/// The part of a run's id that tells it from others: ten digits of its random end.
fn short(run: RunId) -> String {
    let text = run.to_string();
    text.get(text.len().saturating_sub(10)..).unwrap_or_default().to_owned()
}

/// What `database` is called while it is restored beside the one that is there.
pub(super) fn beside(database: &str, run: RunId) -> String {
    with_suffix(database, &format!("__lz_{}", short(run)))
}

/// What `database` is called after another has taken its place.
pub(super) fn old(database: &str, run: RunId) -> String {
    with_suffix(database, &format!("__old_{}", short(run)))
}

/// `database` and `suffix`; a name that is too long for that is cut, and told apart by a hash.
fn with_suffix(database: &str, suffix: &str) -> String {
    if database.len() + suffix.len() <= MAX_LEN {
        return format!("{database}{suffix}");
    }
    let hash: String = hex::encode(Sha256::digest(database)).chars().take(8).collect();
    let room = MAX_LEN - suffix.len() - hash.len() - 1;
    let mut end = room.min(database.len());
    while !database.is_char_boundary(end) {
        end -= 1;
    }
    let kept = database.get(..end).unwrap_or_default();
    format!("{kept}~{hash}{suffix}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_says_whose_it_is_and_of_which_run() {
        let run: RunId = "run-0192f7a8b8c07d6e8f90a1b2c3d4e5f6".parse().unwrap();
        assert_eq!(beside("shop", run), "shop__lz_b2c3d4e5f6");
        assert_eq!(old("shop", run), "shop__old_b2c3d4e5f6");
    }

    proptest! {
        #[test]
        fn names_fit_and_never_meet(one in ".{1,40}", other in ".{1,40}") {
            let run = RunId::new();
            prop_assert!(beside(&one, run).len() <= MAX_LEN && old(&one, run).len() <= MAX_LEN);
            prop_assert_ne!(beside(&one, run), old(&one, run));
            if one != other {
                prop_assert_ne!(beside(&one, run), beside(&other, run));
            }
        }
    }
}
