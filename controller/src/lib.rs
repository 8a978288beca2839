//! The Lazarette controller: catalog, runs, repositories, identities.

pub mod pki;
pub mod store;
