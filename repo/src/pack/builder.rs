//! Builder: x.
