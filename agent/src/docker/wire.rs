//! The wire: HTTP to the Engine where bollard is in the way.
//!
//! Inspect documents are wanted whole, with fields that no model knows; what a command gets and
//! prints must appear in no log of ours (bollard logs bodies), and comes fastest from the bare
//! socket.

use std::future::Future;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use super::{Docker, DockerError, Doing};

/// The largest answer that is read: an inspect document of a container with thousands of mounts.
const LARGEST_ANSWER: usize = 16 << 20;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A connection that now belongs to a command, and what was read of it already.
#[derive(Debug)]
pub(super) struct Hijacked {
    pub(super) stream: UnixStream,
    pub(super) early: Bytes,
}

/// `GET path`, as JSON.
pub(super) async fn get(docker: &Docker, doing: &Doing, path: &str) -> Result<Value, DockerError> {
    let asked = ask(docker, doing, Method::GET, path, None);
    let body = within_deadline(docker, doing, asked).await?;
    json(doing, &body)
}

/// `POST path` with a JSON body; the answer as JSON.
pub(super) async fn post(
    docker: &Docker,
    doing: &Doing,
    path: &str,
    body: &Value,
) -> Result<Value, DockerError> {
    let asked = ask(docker, doing, Method::POST, path, Some(body));
    let body = within_deadline(docker, doing, asked).await?;
    json(doing, &body)
}

/// `POST path` that turns the connection into a stream of bytes both ways.
pub(super) async fn hijack(
    docker: &Docker,
    doing: &Doing,
    path: &str,
    body: &Value,
) -> Result<Hijacked, DockerError> {
    let asked = async {
        let mut request = request(docker, doing, Method::POST, path, Some(body)).await?;
        let headers = request.headers_mut();
        headers.insert(header::CONNECTION, header::HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, header::HeaderValue::from_static("tcp"));
        let (mut sender, connection) = connect(docker).await?;
        let upgrade = async {
            let answer = sender.send_request(request).await.map_err(|it| lost(docker, it))?;
            if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                let status = answer.status().as_u16();
                let text = read_whole(doing, answer).await?;
                return Err(docker.refused(doing, status, &message_in(&text)));
            }
            let upgraded = hyper::upgrade::on(answer).await.map_err(|it| lost(docker, it))?;
            let parts = upgraded
                .downcast::<TokioIo<UnixStream>>()
                .map_err(|_other| odd(doing, "the connection is of another kind"))?;
            Ok(Hijacked { stream: parts.io.into_inner(), early: parts.read_buf })
        };
        drive(connection.with_upgrades(), upgrade).await
    };
    within_deadline(docker, doing, asked).await
}

async fn ask(
    docker: &Docker,
    doing: &Doing,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Bytes, DockerError> {
    let request = request(docker, doing, method, path, body).await?;
    let (mut sender, connection) = connect(docker).await?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(|it| lost(docker, it))?;
        let status = answer.status();
        let text = read_whole(doing, answer).await?;
        if status.is_success() {
            return Ok(text);
        }
        Err(docker.refused(doing, status.as_u16(), &message_in(&text)))
    };
    drive(connection, exchange).await
}

async fn request(
    docker: &Docker,
    doing: &Doing,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Request<Full<Bytes>>, DockerError> {
    let version = docker.client().await?.client_version();
    let request = Request::builder()
        .method(method)
        .uri(format!("/v{version}{path}"))
        .header(header::HOST, "docker")
        .header(header::CONTENT_TYPE, "application/json");
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = request.body(Full::new(Bytes::from(body)));
    request.map_err(|it| DockerError::Answer { doing: doing.clone(), source: Box::new(it) })
}

type Connection = http1::Connection<TokioIo<UnixStream>, Full<Bytes>>;

async fn connect(
    docker: &Docker,
) -> Result<(http1::SendRequest<Full<Bytes>>, Connection), DockerError> {
    let connecting = UnixStream::connect(&docker.inner.socket);
    let deadline = docker.inner.deadlines.connect;
    let stream = match tokio::time::timeout(deadline, connecting).await {
        Ok(stream) => stream.map_err(|it| docker.unreachable(it))?,
        Err(_elapsed) => return Err(docker.unreachable(std::io::ErrorKind::TimedOut.into())),
    };
    http1::handshake(TokioIo::new(stream)).await.map_err(|it| lost(docker, it))
}

/// Lets `connection` work until `exchange` is done.
async fn drive<T>(
    connection: impl Future<Output = Result<(), hyper::Error>>,
    exchange: impl Future<Output = Result<T, DockerError>>,
) -> Result<T, DockerError> {
    tokio::pin!(exchange);
    tokio::select! {
        biased;
        done = &mut exchange => return done,
        // What ended the connection is told by the exchange as well.
        _ended = connection => {}
    }
    exchange.await
}

async fn within_deadline<T>(
    docker: &Docker,
    doing: &Doing,
    asked: impl Future<Output = Result<T, DockerError>>,
) -> Result<T, DockerError> {
    let after = docker.inner.deadlines.call;
    match tokio::time::timeout(after, asked).await {
        Ok(answer) => answer,
        Err(_elapsed) => Err(DockerError::Timeout { doing: doing.clone(), after }),
    }
}

async fn read_whole(doing: &Doing, answer: Response<Incoming>) -> Result<Bytes, DockerError> {
    let body = Limited::new(answer.into_body(), LARGEST_ANSWER).collect().await;
    let body = body.map_err(|source| DockerError::Answer { doing: doing.clone(), source })?;
    Ok(body.to_bytes())
}

fn json(doing: &Doing, body: &[u8]) -> Result<Value, DockerError> {
    serde_json::from_slice(body)
        .map_err(|it| DockerError::Answer { doing: doing.clone(), source: Box::new(it) })
}

/// The Engine's own words in an answer that says no.
fn message_in(body: &[u8]) -> String {
    let said = serde_json::from_slice::<Value>(body).ok();
    let message = said.as_ref().and_then(|it| it.get("message")).and_then(Value::as_str);
    message.map_or_else(|| String::from_utf8_lossy(body).into_owned(), str::to_owned)
}

fn lost(docker: &Docker, error: hyper::Error) -> DockerError {
    docker.unreachable(super::io_error(error))
}

fn odd(doing: &Doing, what: &'static str) -> DockerError {
    DockerError::Answer { doing: doing.clone(), source: Cause::from(what) }
}
