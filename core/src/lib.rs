//! Nouns and decisions of Lazarette: no I/O, no clock, no chance.
//!
//! Everything here is plain data and pure functions; what time it is, and what a host looks like,
//! comes in by argument.

pub mod component;
pub mod definition;
pub mod error;
pub mod evidence;
pub mod id;
pub mod layer;
pub mod manifest;
pub mod name;
pub mod plan;
pub mod role;
pub mod run;
pub mod selection;
pub mod snapshot;
pub mod stack;
pub mod units;
