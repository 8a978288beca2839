//! Find: the one snapshot that a person means.

use crate::repository::{Repository, RepositoryError};
use crate::snapshot::Identified;

impl Repository {
    /// The snapshot whose id begins with `wanted`, or the newest one for `latest`.
    ///
    /// # Errors
    ///
    /// [`RepositoryError::NoSnapshot`], and [`RepositoryError::Ambiguous`] with the candidates.
    pub async fn find_snapshot(&self, wanted: &str) -> Result<Identified, RepositoryError> {
        let none = || RepositoryError::NoSnapshot { wanted: wanted.to_owned() };
        let mut snapshots = self.snapshots().await?;
        if wanted == "latest" {
            return snapshots.pop().ok_or_else(none);
        }
        let prefix = wanted.to_ascii_lowercase();
        if prefix.is_empty() {
            return Err(none());
        }
        snapshots.retain(|one| one.id.to_string().starts_with(&prefix));
        let candidates: Vec<_> = snapshots.iter().map(|one| one.id.short()).collect();
        match (snapshots.pop(), snapshots.is_empty()) {
            (Some(only), true) => Ok(only),
            (Some(_), false) => {
                Err(RepositoryError::Ambiguous { wanted: wanted.to_owned(), candidates })
            }
            (None, _) => Err(none()),
        }
    }
}
