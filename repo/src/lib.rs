//! Repository format (restic v2) and object storage.
//!
//! A [`Writer`](writer::Writer) makes packs for a [`PackSink`](sink::PackSink), a
//! [`Reader`](reader::Reader) reads them from a [`PackSource`](source::PackSource): neither knows
//! who holds the repository. Whoever holds it has a [`Repository`](repository::Repository) over a
//! [`Storage`](storage::Storage), and a [`Session`](session::Session) for each run that writes.

pub mod check;
pub mod chunker;
pub mod config;
pub mod crypto;
mod gojson;
pub mod hash;
pub mod id;
pub mod index;
pub mod key;
pub mod lock;
pub mod pack;
pub mod reader;
pub mod repository;
pub mod session;
pub mod sink;
pub mod snapshot;
pub mod source;
pub mod storage;
pub mod tree;
pub mod unpacked;
pub mod writer;
