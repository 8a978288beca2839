//! Opening: which of the ways into a server is open.

use lazarette_core::{
    component::ComponentKind,
    error::{Reason, ReasonedError as _},
};
use zeroize::Zeroizing;

use super::{APPLICATION, Access, PSQL, Server, Session};
use crate::{
    docker::{
        Docker,
        exec::{Exec, ExecError},
    },
    driver::{Cx, DriverError},
    drivers::postgres::failure,
};

/// Whom the container's environment names as the server's superuser, in the order of asking.
const ROLE_VARIABLES: [&str; 4] =
    ["POSTGRES_USER", "PGUSER", "POSTGRESQL_USERNAME", "POSTGRESQL_POSTGRES_USER"];

/// Where a container's environment has the superuser's password; each also with `_FILE`.
const PASSWORD_VARIABLES: [&str; 4] =
    ["POSTGRES_PASSWORD", "PGPASSWORD", "POSTGRESQL_POSTGRES_PASSWORD", "POSTGRESQL_PASSWORD"];

/// Where sockets are, after the tool's own default.
const SOCKETS: [&str; 3] = ["", "/var/run/postgresql", "/tmp"];

/// What is asked of a server first.
const WHO: &str = "SELECT json_build_object(\
    'version_num', current_setting('server_version_num')::int, \
    'version', current_setting('server_version'), \
    'in_recovery', pg_is_in_recovery(), \
    'superuser', r.rolsuper, \
    'data_directory', CASE WHEN r.rolsuper THEN current_setting('data_directory') END, \
    'role', current_user) \
    FROM pg_catalog.pg_roles r WHERE r.rolname = current_user";

/// What a container's environment says.
#[derive(Debug)]
struct Environment(Vec<String>);

impl Environment {
    /// The value of `name`, unless it is empty.
    fn value(&self, name: &str) -> Option<&str> {
        let value = self.0.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.filter(|value| !value.is_empty())
    }

    /// Who may be the server's superuser, likeliest first.
    fn roles(&self) -> Vec<String> {
        let named = ROLE_VARIABLES.iter().filter_map(|name| self.value(name));
        let mut roles: Vec<String> = Vec::new();
        for role in named.chain(["postgres"]) {
            if !roles.iter().any(|known| known == role) {
                roles.push(role.to_owned());
            }
        }
        roles
    }

    /// Databases that may let us in, likeliest first.
    fn databases(&self) -> Vec<String> {
        let named = ["POSTGRES_DB", "POSTGRESQL_DATABASE"].iter().filter_map(|it| self.value(it));
        ["postgres", "template1"].into_iter().chain(named).map(str::to_owned).collect()
    }
}

/// What came of one try.
enum Tried {
    In(Box<Server>),
    /// This way is closed; another may be open.
    Closed(ExecError),
    /// No way can be open.
    Never(ExecError),
}

impl Session {
    /// Finds a way into the server of the component's container.
    pub(in crate::drivers::postgres) async fn open(cx: &Cx<'_>) -> Result<Self, DriverError> {
        let ComponentKind::Database { container, .. } = &cx.component.kind else {
            let doing = format!("treat {} as a database", cx.component.name);
            return Err(DriverError::plain(Reason::Internal, doing));
        };
        let doing = format!("reach PostgreSQL in container `{container}`");
        let seen = cx.docker.container(container).await;
        let seen = seen.map_err(|error| DriverError::new(error.reason(), &*doing, error))?;
        let environment = seen.config.and_then(|config| config.env).unwrap_or_default();
        let environment = Environment(environment);
        let application = format!("{APPLICATION}{}", cx.run);
        let mut search = Search {
            docker: cx.docker,
            container,
            application: &application,
            environment: &environment,
            closed: None,
        };
        let found = match search.all(None).await {
            Ok(None) if search.wants_password() => {
                let password = search.password().await;
                let again = if password.is_some() { search.all(password).await } else { Ok(None) };
                again.map_err(|error| failure::explain(&doing, error))?
            }
            found => found.map_err(|error| failure::explain(&doing, error))?,
        };
        let Some((access, server)) = found else {
            return Err(match search.closed {
                Some(error) => failure::explain(&doing, error),
                None => DriverError::plain(Reason::EngineNotReady, doing),
            });
        };
        Ok(Self {
            docker: cx.docker.clone(),
            container: container.clone(),
            access,
            application,
            cancel: cx.cancel.clone(),
            server,
        })
    }
}

/// The search for a way in.
struct Search<'a> {
    docker: &'a Docker,
    container: &'a str,
    application: &'a str,
    environment: &'a Environment,
    /// Why the last way that led to a server was closed.
    closed: Option<ExecError>,
}

impl Search<'_> {
    /// Tries every way with this password.
    async fn all(
        &mut self,
        password: Option<Zeroizing<String>>,
    ) -> Result<Option<(Access, Server)>, ExecError> {
        for os_user in [Some("postgres"), None] {
            for socket in SOCKETS {
                for role in self.environment.roles() {
                    let access = Access {
                        os_user,
                        socket: socket.to_owned(),
                        role,
                        password: password.clone(),
                        database: String::new(),
                    };
                    if let Some(found) = self.databases(access).await? {
                        return Ok(Some(found));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Tries one way with every database.
    async fn databases(&mut self, access: Access) -> Result<Option<(Access, Server)>, ExecError> {
        for database in self.environment.databases() {
            let access = Access { database, ..access.clone() };
            match self.one(&access).await {
                Tried::In(server) => return Ok(Some((access, *server))),
                Tried::Never(error) => return Err(error),
                Tried::Closed(error) => {
                    let another_database = says(&error, "does not exist")
                        && says(&error, "database")
                        || says(&error, "not currently accepting connections");
                    if !(self.closed.is_some() && says(&error, "Is the server running")) {
                        self.closed = Some(error);
                    }
                    if !another_database {
                        break;
                    }
                }
            }
        }
        Ok(None)
    }

    async fn one(&self, access: &Access) -> Tried {
        let mut arguments = PSQL.to_vec();
        arguments.extend(["-c", WHO]);
        let psql = access.exec("psql", &arguments, &access.database, (self.application, ""));
        match psql.text(self.docker, self.container).await {
            Ok(text) => match serde_json::from_str(&text) {
                Ok(server) => Tried::In(Box::new(server)),
                Err(_not_json) => Tried::Never(self.not_psql()),
            },
            Err(error @ ExecError::Exit { .. }) => match failure::known(stderr(&error)) {
                // Full or not ready is so on every way.
                Some((Reason::EngineNotReady, _)) if says(&error, "too many") => {
                    Tried::Never(error)
                }
                Some(_) if says(&error, "slots are reserved") => Tried::Never(error),
                Some(_) if says(&error, "the database system is") => Tried::Never(error),
                _ => Tried::Closed(error),
            },
            // There may be no such user in the container.
            Err(error @ ExecError::Docker { .. })
                if access.os_user.is_some() && error.reason() != Reason::DockerUnavailable =>
            {
                Tried::Closed(error)
            }
            Err(error @ ExecError::NotRun { .. }) if access.os_user.is_some() => {
                Tried::Closed(error)
            }
            Err(error) => Tried::Never(error),
        }
    }

    fn not_psql(&self) -> ExecError {
        ExecError::Odd {
            program: "psql".to_owned(),
            container: self.container.to_owned(),
            what: "it does not answer as PostgreSQL's psql does",
        }
    }

    /// Whether a password could open what is closed.
    fn wants_password(&self) -> bool {
        let words = ["password", "authentication", "pg_hba"];
        self.closed.as_ref().is_some_and(|error| words.iter().any(|word| says(error, word)))
    }

    /// The password that the container's environment names.
    async fn password(&self) -> Option<Zeroizing<String>> {
        for name in PASSWORD_VARIABLES {
            if let Some(password) = self.environment.value(name) {
                return Some(Zeroizing::new(password.to_owned()));
            }
            if let Some(path) = self.environment.value(&format!("{name}_FILE")) {
                let read = Exec::new(["cat", "--", path]).user("0");
                if let Ok(text) = read.text(self.docker, self.container).await {
                    return Some(Zeroizing::new(text));
                }
            }
        }
        None
    }
}

fn stderr(error: &ExecError) -> &str {
    if let ExecError::Exit { stderr, .. } = error { stderr } else { "" }
}

fn says(error: &ExecError, words: &str) -> bool {
    stderr(error).contains(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_says_who_is_likely_superuser_and_nobody_twice() {
        let lines = ["POSTGRES_USER=shopper", "PGUSER=postgres", "POSTGRES_DB=shop", "EMPTY="];
        let environment = Environment(lines.map(str::to_owned).to_vec());
        assert_eq!(environment.roles(), ["shopper", "postgres"]);
        assert_eq!(environment.databases(), ["postgres", "template1", "shop"]);
        assert_eq!(environment.value("EMPTY"), None);
        assert_eq!(environment.value("POSTGRES"), None);
    }
}
