//! Integration: agent, controller and ctl against real Docker hosts; one binary, a module a subject.

mod controller;
mod crash;
mod fleet;
mod harness;
mod hostile_agent;
mod main_job;
mod refusals;
