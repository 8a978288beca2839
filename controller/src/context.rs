//! Context: what `ctl` needs to reach this controller as somebody.

use std::path::{Path, PathBuf};

use lazarette_node::{
    address::Address,
    credentials::{Credentials, CredentialsError},
    durable,
};
use serde::Serialize;

/// A context could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// The credentials cannot be kept.
    #[error("write the credentials for `ctl`")]
    Credentials(#[source] CredentialsError),
    /// The file cannot be written.
    #[error("write the contexts for `ctl`")]
    File(#[source] durable::DurableError),
    /// Never in practice.
    #[error("encode the contexts for `ctl`")]
    Encode(#[source] toml::ser::Error),
}

#[derive(Serialize)]
struct Contexts<'a> {
    current: &'a str,
    contexts: [Context<'a>; 1],
}

#[derive(Serialize)]
struct Context<'a> {
    name: &'a str,
    controller: String,
    credentials_file: &'a str,
}

/// Writes a contexts file for `ctl` and the credentials it names, both beside each other in
/// `directory`; the path of the contexts file.
///
/// # Errors
///
/// [`ContextError`]
pub fn write(
    directory: &Path,
    name: &str,
    controller: &Address,
    credentials: &Credentials,
) -> Result<PathBuf, ContextError> {
    let credentials_file = format!("{name}.pem");
    credentials.save(&directory.join(&credentials_file)).map_err(ContextError::Credentials)?;
    let context =
        Context { name, controller: controller.to_string(), credentials_file: &credentials_file };
    let text = toml::to_string(&Contexts { current: name, contexts: [context] });
    let text = text.map_err(ContextError::Encode)?;
    let path = directory.join(format!("{name}.toml"));
    durable::write(&path, text.as_bytes(), 0o600).map_err(ContextError::File)?;
    Ok(path)
}
