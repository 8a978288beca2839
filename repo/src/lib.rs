//! Repository format (restic v2) and object storage.
