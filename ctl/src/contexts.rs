//! Contexts: which controllers there are to talk to, and as whom. A TOML file like kubectl's.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use lazarette_core::name::OperatorName;
use lazarette_node::{
    address::Address,
    credentials::{Credentials, CredentialsError},
    durable::{self, DurableError},
    settings::{Fields, SettingsError},
};
use serde::Serialize;

use crate::Surroundings;

/// The contexts cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ContextsError {
    /// Nobody said where the file is, and there is no home to look in.
    #[error("there is no home directory to keep contexts in")]
    Homeless,
    /// There is no file.
    #[error("there is no contexts file `{}`", .0.display())]
    Absent(PathBuf),
    /// The file cannot be read.
    #[error("read the contexts file `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file has mistakes.
    #[error("check the contexts file `{}`: {problems}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// All of them, each with its field.
        problems: String,
    },
    /// There is no context of that name.
    #[error("there is no context `{name}` in `{}`; there are: {known}", path.display())]
    Unknown {
        /// What was asked for.
        name: String,
        /// The file.
        path: PathBuf,
        /// What there is.
        known: String,
    },
    /// A context of that name is there and is another one.
    #[error("there is a context `{name}` already, for the controller at {controller}")]
    Taken {
        /// The name.
        name: String,
        /// Whose it is.
        controller: Address,
    },
    /// Its credentials cannot be used.
    #[error("take over the credentials of `{name}`")]
    Credentials {
        /// Whose.
        name: String,
        /// Why.
        #[source]
        source: Box<CredentialsError>,
    },
    /// The file cannot be written.
    #[error("write the contexts file")]
    Write(#[source] DurableError),
    /// The directory of the file cannot be made.
    #[error("make the directory `{}`", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Never in practice.
    #[error("encode the contexts")]
    Encode(#[source] toml::ser::Error),
}

impl ContextsError {
    /// What can be done.
    pub fn hint(&self) -> String {
        match self {
            Self::Homeless => "name the file: `--config FILE`",
            Self::Absent(_) => {
                "`ctl context import FILE` takes over the file that `lazarette-controller init` or `admin issue` wrote; `--config FILE` uses it where it is"
            }
            Self::Unknown { .. } => "`ctl context list` lists them",
            Self::Taken { .. } => "import it under another name: `--name NAME`",
            Self::Wrong { .. } => {
                "it has `current = \"NAME\"` and for each context `[[contexts]]` with name, controller, credentials_file"
            }
            Self::Read { .. } | Self::Credentials { .. } | Self::Write(_) | Self::Directory { .. } | Self::Encode(_) => {
                "the file and its credentials must be yours: mode 600"
            }
        }
        .to_owned()
    }
}

/// One controller, and as whom to talk to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Context {
    /// What it is called here.
    pub name: OperatorName,
    /// Where the controller listens.
    pub controller: Address,
    /// Key and certificate; relative to the contexts file.
    pub credentials_file: PathBuf,
}

/// The contexts of one file.
#[derive(Clone, Debug)]
pub struct Contexts {
    path: PathBuf,
    known: Known,
}

#[derive(Clone, Debug, Default, Serialize)]
struct Known {
    /// The one that is used when none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<OperatorName>,
    contexts: Vec<Context>,
}

/// Takes what a file has.
#[expect(clippy::unnecessary_wraps, reason = "what `Fields` asks for")]
fn known(fields: &mut Fields) -> Option<Known> {
    const NAME: &str = "a name of letters, digits, `.`, `_` and `-`: \"admin\"";
    let current = fields.parsed("current", NAME);
    let contexts = fields.tables("contexts", |it| {
        const ADDRESS: &str = "host:port of a controller: \"vault.example.org:7443\"";
        const FILE: &str = "the path of a file of credentials: \"admin.pem\"";
        let (name, controller) = (it.parsed("name", NAME), it.parsed("controller", ADDRESS));
        let credentials_file = it.text("credentials_file").map(PathBuf::from);
        it.require("name", NAME);
        it.require("controller", ADDRESS);
        it.require("credentials_file", FILE);
        let (name, controller, credentials_file) = (name?, controller?, credentials_file?);
        Some(Context { name, controller, credentials_file })
    });
    Some(Known { current, contexts })
}

/// Which file: the one named on the command line, in the environment, or in the home directory.
///
/// # Errors
/// [`ContextsError::Homeless`]
pub fn path(named: Option<&Path>, surroundings: &Surroundings) -> Result<PathBuf, ContextsError> {
    let named = named.or(surroundings.contexts_file.as_deref()).map(Path::to_owned);
    let usual = || Some(surroundings.config_home.as_ref()?.join("lazarette/contexts.toml"));
    named.or_else(usual).ok_or(ContextsError::Homeless)
}

impl Contexts {
    /// Those of the file at `path`.
    ///
    /// # Errors
    /// [`ContextsError::Absent`], or what is wrong with the file.
    pub fn load(path: &Path) -> Result<Self, ContextsError> {
        match Fields::load(path, known) {
            Ok(known) => Ok(Self { path: path.to_owned(), known }),
            Err(SettingsError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Err(ContextsError::Absent(path.to_owned()))
            }
            Err(SettingsError::Read { path, source }) => Err(ContextsError::Read { path, source }),
            Err(SettingsError::Wrong { path, problems }) => {
                let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
                Err(ContextsError::Wrong { path, problems: problems.join("; ") })
            }
        }
    }

    /// The same, or none when there is no file yet.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn load_or_new(path: &Path) -> Result<Self, ContextsError> {
        match Self::load(path) {
            Err(ContextsError::Absent(path)) => Ok(Self { path, known: Known::default() }),
            loaded => loaded,
        }
    }

    /// The context called `name`, or the current one, with the full path of its credentials.
    ///
    /// # Errors
    /// [`ContextsError::Unknown`]
    pub fn named(&self, name: Option<&OperatorName>) -> Result<Context, ContextsError> {
        let only = match self.known.contexts.as_slice() {
            [only] => Some(&only.name),
            _ => None,
        };
        let wanted = name.or(self.known.current.as_ref()).or(only);
        let found = self.known.contexts.iter().find(|it| Some(&it.name) == wanted);
        let found = found.ok_or_else(|| self.unknown(wanted))?;
        let credentials_file = self.directory().join(&found.credentials_file);
        Ok(Context { credentials_file, ..found.clone() })
    }

    /// All of them, and the current one's name.
    pub fn all(&self) -> (&[Context], Option<&OperatorName>) {
        (&self.known.contexts, self.known.current.as_ref())
    }

    /// Makes `name` the current one.
    ///
    /// # Errors
    /// There is none of that name, or the file cannot be written.
    pub fn choose(&mut self, name: &OperatorName) -> Result<(), ContextsError> {
        self.named(Some(name))?;
        self.known.current = Some(name.clone());
        self.save()
    }

    /// Takes over a context of another file, with a copy of its credentials, and makes it current.
    /// One that is there already, under the same name for the same controller, is renewed.
    ///
    /// # Errors
    /// The name is taken by another, the credentials cannot be used, or a file cannot be written.
    pub fn take_over(&mut self, from: &Context, name: &OperatorName) -> Result<(), ContextsError> {
        if let Some(other) = self.known.contexts.iter().find(|it| it.name == *name)
            && other.controller != from.controller
        {
            let (name, controller) = (name.to_string(), other.controller.clone());
            return Err(ContextsError::Taken { name, controller });
        }
        let directory = self.directory().to_owned();
        let make = |source| ContextsError::Directory { path: directory.clone(), source };
        fs::create_dir_all(&directory).map_err(make)?;
        let unusable = |source| ContextsError::Credentials {
            name: from.name.to_string(),
            source: Box::new(source),
        };
        let credentials_file = PathBuf::from(format!("{name}.pem"));
        let credentials = Credentials::load(&from.credentials_file).map_err(unusable)?;
        credentials.save(&directory.join(&credentials_file)).map_err(unusable)?;
        let controller = from.controller.clone();
        self.known.contexts.retain(|it| it.name != *name);
        self.known.contexts.push(Context { name: name.clone(), controller, credentials_file });
        self.known.contexts.sort_by(|a, b| a.name.cmp(&b.name));
        self.known.current = Some(name.clone());
        self.save()
    }

    fn save(&self) -> Result<(), ContextsError> {
        let text = toml::to_string(&self.known).map_err(ContextsError::Encode)?;
        durable::write(&self.path, text.as_bytes(), 0o600).map_err(ContextsError::Write)
    }

    /// Without a directory of its own, a file is in the current one.
    fn directory(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            Some(_) | None => Path::new("."),
        }
    }

    fn unknown(&self, wanted: Option<&OperatorName>) -> ContextsError {
        let known: Vec<_> = self.known.contexts.iter().map(|it| it.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let name = wanted.map_or_else(|| "current".to_owned(), ToString::to_string);
        ContextsError::Unknown { name, path: self.path.clone(), known }
    }
}

#[cfg(test)]
mod tests;
