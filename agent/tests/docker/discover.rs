//! Discovery and definitions on a real Engine, with real files.

use std::fs;

use lazarette_agent::{discover::discover, drivers::definition, policy::Policy};
use lazarette_core::{component::ComponentKind, evidence::Fact};

use crate::host::Host;

#[tokio::test]
async fn a_stack_is_found_with_its_files_volumes_and_definition() {
    let Some(host) = Host::shared() else { return };
    let project = tempfile::tempdir().unwrap();
    let root = project.path().to_str().unwrap();
    fs::create_dir(project.path().join("uploads")).unwrap();
    fs::write(project.path().join("compose.yml"), "services: {web: {env_file: web.env}}").unwrap();
    fs::write(project.path().join("web.env"), "A=1").unwrap();
    fs::write(project.path().join(".env"), "B=2").unwrap();
    let label = |key: &str, value: &str| format!("--label=com.docker.compose.{key}={value}");
    let web = [
        label("project", "found"),
        label("service", "web"),
        label("config-hash", "0f"),
        label("project.working_dir", root),
        label("project.config_files", &format!("{root}/compose.yml")),
        format!("--volume={root}/uploads:/uploads"),
        "--volume=found_data:/data".to_owned(),
        "--volume=/anonymous".to_owned(),
    ];
    host.idle("found-web-1", &web.iter().map(String::as_str).collect::<Vec<_>>());
    let docker = host.engine();

    let shipped = include_str!("../../../deploy/agent-policy.toml");
    let policy = Policy::parse("/etc/policy.toml".as_ref(), shipped).unwrap();

    let stacks = discover(&docker, &policy).await.unwrap();
    let stack = stacks.iter().find(|it| it.name.as_str() == "found").unwrap();

    let names: Vec<_> = stack.components.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["bind/uploads", "definition", "files", "volume/found_data"]);
    assert_eq!(stack.warnings, [""; 0]);
    let ComponentKind::Files { paths, .. } = &stack.components[2].kind else {
        panic!("{:?}", stack.components)
    };
    assert_eq!(*paths, [".env", "compose.yml", "web.env"]);
    let anonymous = stack.uncovered.iter().find(|it| it.why.contains("anonymous"));
    assert!(anonymous.unwrap().why.contains("/anonymous"), "{anonymous:?}");

    let saved = definition::read(&docker, &stack.name).await.unwrap();
    assert_eq!(saved.containers[0]["Name"], "/found-web-1");
    assert_eq!((saved.volumes.len(), saved.images.len()), (2, 1));
    let before = definition::evidence(&saved);
    assert_eq!(before.0["containers"], Fact::Count(1));
    host.docker(&["rm", "-f", "-v", "found-web-1"]);
    assert_eq!(definition::read(&docker, &stack.name).await.unwrap().containers.len(), 0);
}

/// Made as Compose would make it: mounts of every kind, and a network of the project's own.
fn make(host: &Host, env: &str) {
    let options = [
        "--label=com.docker.compose.project=defined",
        "--label=com.docker.compose.service=web",
        "--network=defined_default",
        "--network-alias=web",
        "--volume=/srv:/srv/uploads:ro",
        "--volume=defined_one:/one",
        "--volume=defined_two:/two",
        "--volume=/anonymous",
        "--publish=8080",
        env,
    ];
    host.idle("defined-web-1", &options);
}

#[tokio::test]
async fn a_definition_changes_only_with_what_somebody_wrote() {
    let Some(host) = Host::shared() else { return };
    let docker = host.engine();
    let stack = "defined".parse().unwrap();
    let hash = async || {
        let read = definition::read(&docker, &stack).await.unwrap();
        (definition::evidence(&read).0["sha256"].clone(), read)
    };
    host.docker(&[
        "network",
        "create",
        "--label=com.docker.compose.project=defined",
        "defined_default",
    ]);
    make(host, "--env=GREETING=hello");
    let (before, first) = hash().await;

    for verb in ["restart", "pause", "unpause", "kill", "start"] {
        host.docker(&[verb, "defined-web-1"]);
        let (after, now) = hash().await;
        assert_eq!(before, after, "{verb}: {first:#?} {now:#?}");
    }
    host.docker(&["rm", "-f", "-v", "defined-web-1"]);
    make(host, "--env=GREETING=hello");
    let (again, now) = hash().await;
    assert_eq!(before, again, "made again as it was: {first:#?} {now:#?}");
    host.docker(&["update", "--restart=always", "defined-web-1"]);
    let (updated, _) = hash().await;
    assert_ne!(before, updated);
    host.docker(&["rm", "-f", "-v", "defined-web-1"]);
    make(host, "--env=GREETING=goodbye");
    let (changed, _) = hash().await;
    assert_ne!(before, changed);

    host.docker(&["rm", "-f", "-v", "defined-web-1"]);
    host.docker(&["volume", "rm", "defined_one", "defined_two"]);
    host.docker(&["network", "rm", "defined_default"]);
}
