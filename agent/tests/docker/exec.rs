//! Commands in containers: nothing that went wrong may look whole (M5-M8, H4).

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use lazarette_agent::docker::exec::{ByteStream, Exec, ExecError};
use lazarette_core::error::{Reason, ReasonedError as _, chain};
use tokio_util::sync::CancellationToken;

use crate::host::Host;

/// Reads to the end: how much came, and how it ended.
async fn drain(mut stream: ByteStream) -> (usize, Result<(), ExecError>) {
    let mut bytes = 0;
    loop {
        match stream.try_next().await {
            Ok(Some(chunk)) => bytes += chunk.len(),
            Ok(None) => return (bytes, Ok(())),
            Err(error) => return (bytes, Err(error)),
        }
    }
}

fn body(chunks: &[&'static str]) -> impl futures::Stream<Item = Result<Bytes, ExecError>> + use<> {
    let chunks: Vec<_> = chunks.iter().map(|it| Ok(Bytes::from_static(it.as_bytes()))).collect();
    stream::iter(chunks)
}

#[tokio::test]
async fn output_is_whole_and_apart_from_errors() {
    let Some(host) = Host::shared() else { return };
    host.idle("whole", &[]);
    let docker = host.engine();

    let text = Exec::new(["sh", "-c", "echo out; echo err >&2; echo more"])
        .text(&docker, "whole")
        .await
        .unwrap();
    assert_eq!(text, "out\nmore");

    let zeros = Exec::new(["head", "-c", "50000000", "/dev/zero"]).stdout(&docker, "whole");
    let (bytes, end) = drain(zeros).await;
    end.unwrap();
    assert_eq!(bytes, 50_000_000);
}

#[tokio::test]
async fn an_exit_code_is_an_error_with_the_last_of_what_was_said_made_harmless() {
    let Some(host) = Host::shared() else { return };
    host.idle("exits", &[]);
    let docker = host.engine();

    let script = r"yes x | head -c 300000 >&2; printf 'no \033[2Jroom' >&2; echo half; exit 3";
    let (bytes, end) = drain(Exec::new(["sh", "-c", script]).stdout(&docker, "exits")).await;

    assert_eq!(bytes, 5);
    let error = end.unwrap_err();
    assert_eq!(error.reason(), Reason::DumpFailed);
    let text = error.to_string();
    assert!(text.contains("exited with 3") && text.ends_with(r"no \u{1b}[2Jroom"), "{text}");
    assert!(text.len() < 5000, "{}", text.len());
}

#[tokio::test]
async fn m5_a_missing_program_is_an_error_although_it_answers_on_standard_output() {
    let Some(host) = Host::shared() else { return };
    host.idle("missing", &[]);

    let error = Exec::new(["pg_dump", "--secret"]).text(&host.engine(), "missing").await;

    let error = error.unwrap_err();
    assert_eq!(error.reason(), Reason::DumpFailed);
    let text = chain(&error);
    assert!(text.contains("`pg_dump`") && text.contains("not found"), "{text}");
    assert!(!text.contains("--secret"), "{text}");
}

#[tokio::test]
async fn m6_a_container_killed_in_the_middle_is_an_error() {
    let Some(host) = Host::shared() else { return };
    host.idle("killed", &[]);
    let docker = host.engine();

    let mut stream = Exec::new(["cat", "/dev/zero"]).stdout(&docker, "killed");
    stream.try_next().await.unwrap();
    host.docker(&["kill", "killed"]);
    let (_, end) = drain(stream).await;

    // Which of the two is seen first, the end of the tool or that of its container, is the Engine's.
    let reason = end.unwrap_err().reason();
    assert!(matches!(reason, Reason::ContainerGone | Reason::DumpFailed), "{reason}");
}

#[tokio::test]
async fn f16_a_container_removed_in_the_middle_is_an_error() {
    let Some(host) = Host::shared() else { return };
    host.idle("removed", &[]);
    let docker = host.engine();

    let mut stream = Exec::new(["cat", "/dev/zero"]).stdout(&docker, "removed");
    stream.try_next().await.unwrap();
    host.docker(&["rm", "-f", "removed"]);
    let (_, end) = drain(stream).await;

    assert_eq!(end.unwrap_err().reason(), Reason::ContainerGone);
}

#[tokio::test]
async fn f12_an_engine_killed_in_the_middle_leaves_the_end_unknown() {
    let Some(host) = Host::new("dies") else { return };
    host.idle("db", &[]);
    let docker = host.engine();

    let mut stream = Exec::new(["cat", "/dev/zero"]).stdout(&docker, "db");
    stream.try_next().await.unwrap();
    host.tell("engine-kill");
    let (_, end) = drain(stream).await;

    let error = end.unwrap_err();
    assert_eq!(error.reason(), Reason::DumpUnknown, "{}", chain(&error));
    let error = docker.version().await.unwrap_err();
    assert!(chain(&error).contains("docker is not reachable at "), "{}", chain(&error));
    host.tell("engine-start");
    docker.version().await.unwrap();
    host.tell("down");
}

#[tokio::test]
async fn m8_a_paused_container_stalls_and_is_named() {
    let Some(host) = Host::shared() else { return };
    host.idle("paused", &[]);
    let docker = host.engine();

    let exec = Exec::new(["sh", "-c", "echo a; sleep 1000"]);
    let mut stream = exec.stall_after(Duration::from_secs(2)).stdout(&docker, "paused");
    stream.try_next().await.unwrap();
    docker.pause("paused").await.unwrap();
    let (_, end) = drain(stream).await;
    let early = Exec::new(["true"]).text(&docker, "paused").await.unwrap_err();
    docker.unpause("paused").await.unwrap();

    let error = end.unwrap_err();
    assert_eq!(error.reason(), Reason::DumpStalled);
    assert!(error.to_string().contains("paused"), "{error}");
    assert_eq!(early.reason(), Reason::EngineNotReady, "{}", chain(&early));
}

#[tokio::test]
async fn a_cancelled_run_ends_its_streams_with_an_error() {
    let Some(host) = Host::shared() else { return };
    host.idle("cancelled", &[]);
    let cancel = CancellationToken::new();

    let exec = Exec::new(["sh", "-c", "echo a; sleep 1000"]).cancel(&cancel);
    let mut stream = exec.stdout(&host.engine(), "cancelled");
    stream.try_next().await.unwrap();
    cancel.cancel();
    let (_, end) = drain(stream).await;

    assert_eq!(end.unwrap_err().reason(), Reason::Cancelled);
}

#[tokio::test]
async fn what_is_fed_arrives_whole_and_its_end_is_seen() {
    let Some(host) = Host::shared() else { return };
    host.idle("fed", &[]);
    let docker = host.engine();

    let chunk = Bytes::from(vec![b'x'; 1 << 20]);
    let chunks = stream::iter((0..20).map(|_| Ok::<_, ExecError>(chunk.clone())));
    let printed = Exec::new(["wc", "-c"]).stdin(&docker, "fed", chunks).await.unwrap();
    assert_eq!(printed.stdout.trim(), (20 << 20).to_string());

    let printed = Exec::new(["sh", "-c", "cat >&2; echo done"])
        .stdin(&docker, "fed", body(&["one ", "two"]))
        .await
        .unwrap();
    assert_eq!((printed.stdout.as_str(), printed.stderr.as_str()), ("done\n", "one two"));
}

#[tokio::test]
async fn input_that_ends_with_an_error_is_a_failure_although_the_command_exits_with_zero() {
    let Some(host) = Host::shared() else { return };
    host.idle("starved", &[]);

    let cut = body(&["half"]).chain(stream::iter([Err(ExecError::Cancelled {
        program: "repository".to_owned(),
        container: String::new(),
    })]));
    let error = Exec::new(["cat"]).stdin(&host.engine(), "starved", cut).await.unwrap_err();

    assert_eq!(error.reason(), Reason::RestoreFailed);
    assert!(chain(&error).contains("repository"), "{}", chain(&error));
}

#[tokio::test]
async fn a_command_that_ends_before_its_input_does_is_a_failure() {
    let Some(host) = Host::shared() else { return };
    host.idle("early", &[]);
    let docker = host.engine();

    let endless = || stream::repeat_with(|| Ok::<_, ExecError>(Bytes::from_static(&[0; 4096])));
    let error = Exec::new(["true"]).stdin(&docker, "early", endless()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::DumpInvalid, "{}", chain(&error));

    let error = Exec::new(["sh", "-c", "echo no >&2; exit 2"])
        .stdin(&docker, "early", endless())
        .await
        .unwrap_err();
    assert_eq!(error.reason(), Reason::DumpFailed);
    assert!(error.to_string().ends_with("exited with 2: no"), "{error}");
}

#[tokio::test]
async fn secrets_go_by_environment_and_into_no_message() {
    let Some(host) = Host::shared() else { return };
    host.idle("secrets", &[]);
    let docker = host.engine();

    let exec = || Exec::new(["sh", "-c", "id -u; echo $PGPASSWORD"]).env("PGPASSWORD", "CANARY-1");
    assert!(!format!("{:?}", exec()).contains("CANARY"));
    let text = exec().user("nobody").text(&docker, "secrets").await.unwrap();
    assert_eq!(text, "65534\nCANARY-1");

    let error = exec().user("nobody-there").text(&docker, "secrets").await.unwrap_err();
    let text = chain(&error);
    assert!(!text.contains("CANARY") && text.contains("nobody-there"), "{text}");
}

#[tokio::test]
async fn text_has_a_limit_and_is_text() {
    let Some(host) = Host::shared() else { return };
    host.idle("text", &[]);
    let docker = host.engine();

    let error = Exec::new(["head", "-c", "2000000", "/dev/zero"]).text(&docker, "text").await;
    assert!(error.unwrap_err().to_string().contains("more than 1 MiB"));
    let error = Exec::new(["printf", "\\377"]).text(&docker, "text").await;
    assert!(error.unwrap_err().to_string().contains("not UTF-8"));
}
