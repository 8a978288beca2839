//! Engines: which containers are database servers, by their image, environment and command.
//!
//! What is recognised here is confirmed by the driver, which asks the server itself.

use std::collections::BTreeMap;

use bollard::models::ContainerInspectResponse;

/// A database server, as far as it can be told without asking it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Engine {
    /// Whose.
    pub(super) driver: &'static str,
    /// Where it keeps its data, in the container (H10).
    pub(super) data_dirs: Vec<String>,
}

/// Parts of image names that mean PostgreSQL.
const POSTGRES: [&str; 7] =
    ["postgres", "pgvector", "postgis", "timescale", "citus", "paradedb", "vectorchord"];

/// Parts of image names of programs beside it.
const BESIDE: [&str; 10] = [
    "exporter", "backup", "admin", "bouncer", "pool", "rest", "client", "operator", "proxy", "dump",
];

/// Programs that make the image of a server something else.
const OTHER_PROGRAMS: [&str; 15] = [
    "sh",
    "bash",
    "psql",
    "pg_dump",
    "pg_dumpall",
    "pg_restore",
    "pg_basebackup",
    "pg_isready",
    "sleep",
    "tail",
    "cat",
    "true",
    "crond",
    "cron",
    "env",
];

/// Which engine a container runs, if any.
pub(super) fn recognise(container: &ContainerInspectResponse) -> Option<Engine> {
    let config = container.config.as_ref()?;
    let image = repository(config.image.as_deref().unwrap_or_default());
    let env: BTreeMap<&str, &str> =
        config.env.iter().flatten().filter_map(|it| it.split_once('=')).collect();
    let has = |parts: &[&str]| parts.iter().any(|part| image.contains(part));
    let command = program(container);
    let by_image = has(&POSTGRES) && !has(&BESIDE);
    let server = matches!(command.as_str(), "postgres" | "postmaster");
    if OTHER_PROGRAMS.contains(&command.as_str()) {
        return None;
    }
    if !by_image && !env.contains_key("PGDATA") && !server {
        return None;
    }
    let default =
        if image.contains("bitnami") { "/bitnami/postgresql" } else { "/var/lib/postgresql/data" };
    let told = data_option(container);
    let data = told.or_else(|| env.get("PGDATA").copied()).unwrap_or(default);
    let data_dirs = vec![data.trim_end_matches('/').to_owned()];
    Some(Engine { driver: "postgres", data_dirs })
}

/// The last part of an image's name, and who it is by: without registry, tag and digest.
fn repository(image: &str) -> String {
    let image = image.split('@').next().unwrap_or_default();
    let parts: Vec<&str> = image.split('/').collect();
    let skipped = parts.len().saturating_sub(2);
    let ours = parts.into_iter().skip(skipped);
    let ours: Vec<&str> = ours.map(|part| part.split(':').next().unwrap_or_default()).collect();
    ours.join("/").to_ascii_lowercase()
}

/// The data directory that the server's command line names.
fn data_option(container: &ContainerInspectResponse) -> Option<&str> {
    let args: Vec<&str> = container.args.iter().flatten().map(String::as_str).collect();
    let after = |option: &str| {
        let at = args.iter().position(|it| *it == option)?;
        args.get(at + 1).copied()
    };
    let within = || {
        let options = ["--data-directory=", "--data_directory=", "data_directory=", "-D"];
        args.iter().find_map(|arg| options.iter().find_map(|option| arg.strip_prefix(*option)))
    };
    after("-D").or_else(within).filter(|it| it.starts_with('/'))
}

/// The program that the container runs, behind its entrypoint script.
fn program(container: &ContainerInspectResponse) -> String {
    let path = container.path.iter().map(String::as_str);
    let args = container.args.iter().flatten().map(String::as_str);
    let base = |word: &str| word.rsplit('/').next().unwrap_or_default().to_owned();
    let wraps = |word: &str| {
        word.contains("entrypoint") || matches!(word, "tini" | "dumb-init" | "gosu" | "su-exec")
    };
    let mut words = path.chain(args).map(base).filter(|it| it != "--" && !wraps(it));
    words.next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use bollard::models::ContainerConfig;

    use super::*;

    fn container(image: &str, env: &[&str], command: &[&str]) -> ContainerInspectResponse {
        let words: Vec<String> = command.iter().map(|it| (*it).to_owned()).collect();
        let (path, args) = words.split_first().unwrap();
        ContainerInspectResponse {
            path: Some(path.clone()),
            args: Some(args.to_vec()),
            config: Some(ContainerConfig {
                image: Some(image.to_owned()),
                env: Some(env.iter().map(|it| (*it).to_owned()).collect()),
                ..ContainerConfig::default()
            }),
            ..ContainerInspectResponse::default()
        }
    }

    #[test]
    fn servers_are_known_by_image_environment_or_command() {
        let official = ["docker-entrypoint.sh", "postgres"];
        for image in [
            "postgres:17",
            "pgvector/pgvector:pg17",
            "registry.local:5000/postgis/postgis:17-3.5",
            "timescale/timescaledb@sha256:0000",
            "bitnami/postgresql",
        ] {
            assert!(recognise(&container(image, &[], &official)).is_some(), "{image}");
        }
        let own = container("shop-db", &["PGDATA=/data/pg/"], &["/start"]);
        assert_eq!(recognise(&own).unwrap().data_dirs, ["/data/pg"]);
        for options in [&["-D", "/d"][..], &["-D/d"], &["-c", "data_directory=/d"]] {
            let command = [&["/usr/lib/postgresql/17/bin/postgres"], options].concat();
            let bare = recognise(&container("shop-db", &["PGDATA=/e"], &command)).unwrap();
            assert_eq!(bare.data_dirs, ["/d"], "{options:?}");
        }
    }

    #[test]
    fn what_only_stands_beside_a_server_is_none() {
        let data = ["PGDATA=/var/lib/postgresql/data"];
        let backup = ["docker-entrypoint.sh", "sh", "-c", "while :; do pg_dump; done"];
        assert_eq!(recognise(&container("postgres:17", &data, &backup)), None);
        for image in
            ["prometheuscommunity/postgres-exporter", "dpage/pgadmin4", "postgrest/postgrest"]
        {
            assert_eq!(recognise(&container(image, &[], &["/app"])), None, "{image}");
        }
    }
}
