//! Docker, as the agent uses it, on a real Engine: commands, their ends, and containers.

mod containers;
mod discover;
mod exec;
mod host;
