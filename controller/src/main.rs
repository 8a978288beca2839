//! The binary: see the library of this crate.

fn main() {}
