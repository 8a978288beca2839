//! The Lazarette controller: catalog, runs, repositories, identities.

pub mod store;
