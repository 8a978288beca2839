//! Count: a service small enough for tests, without generated code.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use futures::{Stream, StreamExt as _, future::BoxFuture};
use lazarette_node::peer::PeerInfo;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    client::Grpc as Client,
    server::{Grpc as Server, NamedService},
    service::Routes,
    transport::Channel,
};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

/// Answers as whom it was called.
pub(crate) const WHO: &str = "/test.Count/Who";
/// The same, for those whose certificate has expired too.
pub(crate) const RENEW: &str = "/test.Count/Renew";
/// Counts up to the number given; 0 is one item and then no end.
pub(crate) const UP: &str = "/test.Count/Up";
/// Counts the bytes that it is sent.
pub(crate) const SINK: &str = "/test.Count/Sink";
/// In no table.
pub(crate) const SECRET: &str = "/test.Count/Secret";
/// For those without a certificate.
pub(crate) const ENROLL: &str = "/test.Enroll/Enroll";

type Items = Pin<Box<dyn Stream<Item = Result<u64, Status>> + Send>>;

#[derive(Clone, Debug)]
pub(crate) struct Count;

#[derive(Clone, Debug)]
pub(crate) struct Enroll;

impl NamedService for Count {
    const NAME: &'static str = "test.Count";
}

impl NamedService for Enroll {
    const NAME: &'static str = "test.Enroll";
}

pub(crate) fn calls() -> Routes {
    Routes::new(Count)
}

pub(crate) fn enrollment() -> Routes {
    Routes::new(Enroll)
}

async fn who(request: Request<()>) -> Result<Response<String>, Status> {
    let identity = PeerInfo::of(&request).and_then(PeerInfo::identity);
    Ok(Response::new(identity.map_or_else(|| "nobody".to_owned(), ToString::to_string)))
}

async fn up(request: Request<u64>) -> Result<Response<Items>, Status> {
    let items: Items = match request.into_inner() {
        0 => Box::pin(futures::stream::iter([Ok(1)]).chain(futures::stream::pending())),
        last => Box::pin(futures::stream::iter((1..=last).map(Ok))),
    };
    Ok(Response::new(items))
}

async fn sink(request: Request<Streaming<Vec<u8>>>) -> Result<Response<u64>, Status> {
    let mut messages = request.into_inner();
    let mut bytes = 0;
    while let Some(message) = messages.message().await? {
        bytes += u64::try_from(message.len()).unwrap_or_default();
    }
    Ok(Response::new(bytes))
}

impl Service<http::Request<Body>> for Count {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            Ok(match request.uri().path() {
                UP => {
                    let mut grpc = Server::new(ProstCodec::<u64, u64>::default());
                    grpc.server_streaming(service_fn(up), request).await
                }
                SINK => {
                    let mut grpc = Server::new(ProstCodec::<u64, Vec<u8>>::default());
                    grpc.client_streaming(service_fn(sink), request).await
                }
                _ => {
                    let mut grpc = Server::new(ProstCodec::<String, ()>::default());
                    grpc.unary(service_fn(who), request).await
                }
            })
        })
    }
}

impl Service<http::Request<Body>> for Enroll {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Count.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Count.call(request)
    }
}

async fn client(channel: &Channel) -> Result<Client<Channel>, Status> {
    let mut client = Client::new(channel.clone());
    client.ready().await.map_err(|error| Status::from_error(error.into()))?;
    Ok(client)
}

/// Calls a method that answers with an identity.
pub(crate) async fn ask(channel: &Channel, method: &'static str) -> Result<String, Status> {
    let codec = ProstCodec::<(), String>::default();
    let path = http::uri::PathAndQuery::from_static(method);
    let answer = client(channel).await?.unary(Request::new(()), path, codec).await?;
    Ok(answer.into_inner())
}

/// Begins to count.
pub(crate) async fn count(channel: &Channel, last: u64) -> Result<Streaming<u64>, Status> {
    let codec = ProstCodec::<u64, u64>::default();
    let path = http::uri::PathAndQuery::from_static(UP);
    let answer = client(channel).await?.server_streaming(Request::new(last), path, codec).await?;
    Ok(answer.into_inner())
}

/// Sends `messages` and answers how many bytes came out at the other end.
pub(crate) async fn send(
    channel: &Channel,
    messages: impl Stream<Item = Vec<u8>> + Send + 'static,
) -> Result<u64, Status> {
    let codec = ProstCodec::<Vec<u8>, u64>::default();
    let path = http::uri::PathAndQuery::from_static(SINK);
    let request = Request::new(messages);
    let answer = client(channel).await?.client_streaming(request, path, codec).await?;
    Ok(answer.into_inner())
}
