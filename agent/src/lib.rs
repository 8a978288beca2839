//! The Lazarette agent: carries out runs on one Docker host.

pub mod docker;
pub mod policy;
