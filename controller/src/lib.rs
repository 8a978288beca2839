//! The Lazarette controller: catalog, runs, repositories, identities.
