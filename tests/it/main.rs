//! Integration: agent, controller and ctl against real Docker hosts; one binary, a module a subject.

mod controller;
mod harness;
