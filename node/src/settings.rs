//! Settings: what an operator wrote in a TOML file, read once; every mistake in it is found.
//!
//! serde stops at the first mistake, so values are taken out of the table one by one.

mod fields;
mod file;
mod problem;

pub use self::{
    fields::{Fields, LONGEST},
    problem::{Problem, SettingsError},
};
