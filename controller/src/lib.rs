//! The Lazarette controller: catalog, runs, repositories, identities.

pub mod config;
pub mod pki;
pub mod store;
