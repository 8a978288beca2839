//! Containers: looked at, stopped, started, paused; what is not there is told apart.

use std::time::Duration;

use lazarette_agent::docker::{Docker, DockerError, Noun, Patience, RestartPolicy};
use lazarette_core::error::{Reason, ReasonedError as _, chain};

use crate::host::Host;

fn quick() -> Patience {
    Patience {
        settle: Duration::from_millis(500),
        give_up: Duration::from_secs(5),
        every: Duration::from_millis(50),
    }
}

#[tokio::test]
async fn no_engine_and_no_container_are_told_apart() {
    let nobody = Docker::at("/nowhere/docker.sock");
    let error = nobody.containers().await.unwrap_err();
    assert_eq!(error.reason(), Reason::DockerUnavailable);
    assert!(error.is_unreachable());
    assert_eq!(
        chain(&error),
        "docker is not reachable at /nowhere/docker.sock: No such file or directory (os error 2)"
    );

    let Some(host) = Host::shared() else { return };
    let error = host.engine().container("no-such").await.unwrap_err();
    assert_eq!(error.reason(), Reason::ContainerGone);
    assert!(error.to_string().contains("`no-such`"), "{error}");
    let error = host.engine().stop("../../version", None).await.unwrap_err();
    assert!(error.is_gone());
}

#[tokio::test]
async fn doing_it_twice_is_doing_it_once() {
    let Some(host) = Host::shared() else { return };
    host.idle("twice", &["--stop-timeout", "3"]);
    let docker = host.engine();
    let running = async || docker.container("twice").await.unwrap().state.unwrap().running;

    for _ in 0..2 {
        docker.pause("twice").await.unwrap();
    }
    for _ in 0..2 {
        docker.unpause("twice").await.unwrap();
    }
    for _ in 0..2 {
        docker.stop("twice", None).await.unwrap();
    }
    assert_eq!(running().await, Some(false));
    for _ in 0..2 {
        docker.start("twice").await.unwrap();
    }
    assert_eq!(running().await, Some(true));
}

#[tokio::test]
async fn restart_policies_are_set_and_read_back() {
    let Some(host) = Host::shared() else { return };
    host.idle("policy", &["--restart", "unless-stopped"]);
    let docker = host.engine();
    let read = async || {
        let seen = docker.container("policy").await.unwrap();
        RestartPolicy::of(seen.host_config.unwrap().restart_policy.as_ref())
    };

    assert_eq!(read().await, RestartPolicy::UnlessStopped);
    for policy in [RestartPolicy::No, RestartPolicy::OnFailure { retries: 2 }] {
        docker.set_restart_policy("policy", &policy).await.unwrap();
        assert_eq!(read().await, policy);
    }
}

#[tokio::test]
async fn h20_healthy_is_what_runs_undisturbed_and_what_its_check_says() {
    let Some(host) = Host::shared() else { return };
    host.idle("plain", &[]);
    let check = ["--health-cmd", "test -e /tmp/ok", "--health-interval", "200ms"];
    host.idle("checked", &check);
    host.docker(&["run", "-d", "--name", "ended", "debian:bookworm-slim", "sh", "-c", "exit 4"]);
    let docker = host.engine();

    docker.wait_healthy("plain", &quick()).await.unwrap();
    let sick = docker.wait_healthy("checked", &quick()).await.unwrap_err();
    assert!(sick.to_string().contains("health check"), "{sick}");
    host.docker(&["exec", "checked", "touch", "/tmp/ok"]);
    docker.wait_healthy("checked", &quick()).await.unwrap();
    let ended = docker.wait_healthy("ended", &quick()).await.unwrap_err();
    assert_eq!(ended.reason(), Reason::Unhealthy);
    assert!(ended.to_string().contains("exit code 4"), "{ended}");
}

#[tokio::test]
async fn everything_there_is_is_listed_and_documents_are_whole() {
    let Some(host) = Host::shared() else { return };
    host.idle("listed", &["-v", "listed-data:/data"]);
    let docker = host.engine();

    let version = docker.version().await.unwrap();
    assert!(!version.engine.is_empty() && version.api.contains('.'), "{version:?}");
    let names: Vec<_> =
        docker.containers().await.unwrap().into_iter().filter_map(|it| it.name).collect();
    assert!(names.iter().any(|it| it == "/listed"), "{names:?}");
    assert!(docker.volumes().await.unwrap().iter().any(|it| it.name == "listed-data"));
    assert!(docker.networks().await.unwrap().iter().any(|it| it.name.as_deref() == Some("bridge")));

    let document = docker.document(Noun::Container, "listed").await.unwrap();
    assert_eq!(document["Name"], "/listed");
    assert!(document["HostConfig"]["Binds"].is_array());
    let gone = docker.document(Noun::Volume, "no-such").await.unwrap_err();
    assert!(matches!(gone, DockerError::Gone { .. }), "{gone}");
}
