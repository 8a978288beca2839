//! Telemetry: quiet text on stderr, one line an event.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{EnvFilter, fmt::format};

/// The environment variable that changes what is logged, in the syntax of `tracing`.
pub const VARIABLE: &str = "LAZARETTE_LOG";

/// Logging could not begin.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The variable has a value that is not a filter.
    #[error("parse `{VARIABLE}`: use something like `info` or `warn,lazarette_agent=debug`")]
    Filter(#[source] tracing_subscriber::filter::FromEnvError),
    /// It has begun before.
    #[error("start logging")]
    Started(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Starts logging to stderr: what `default` says, or the variable where it is set.
///
/// # Errors
/// The variable holds no filter, or logging has begun before.
pub fn start(default: &str) -> Result<(), TelemetryError> {
    let builder = EnvFilter::builder();
    let filter = if std::env::var_os(VARIABLE).is_some() {
        builder.with_env_var(VARIABLE).try_from_env().map_err(TelemetryError::Filter)?
    } else {
        builder.parse_lossy(default)
    };
    // At `debug` this one writes whole answers of the Engine: passwords in containers' environments.
    let filter = match "bollard=info".parse() {
        Ok(quiet) => filter.add_directive(quiet),
        Err(_never) => filter,
    };
    tracing_subscriber::fmt()
        .event_format(format().compact())
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .try_init()
        .map_err(TelemetryError::Started)
}
