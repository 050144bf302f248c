//! The HTTP server: one listener for AWS, the control interface, artifacts and metadata by path.

use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::reply::{Reply, refusal, text};
use crate::sim::Sim;
use crate::{artifacts, aws, control, imds};

/// The largest request that is read.
const MAX_BODY: usize = 4 << 20;

/// A request, read whole.
#[derive(Debug)]
pub(crate) struct Received {
    /// The method.
    pub(crate) method: Method,
    /// The path.
    pub(crate) path: String,
    /// The query string.
    pub(crate) query: String,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body.
    pub(crate) body: Bytes,
}

/// The connection is to be closed without a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection is closed without a reply, as a fault asks")]
pub(crate) struct HangUp;

/// Refuses to listen where other machines could reach.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is not a loopback one.
    #[error("{0} is not a loopback address: this stand-in has no authentication; use 127.0.0.1")]
    NotLoopback(SocketAddr),
    /// The system refused.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
}

/// Binds a listener on a loopback address.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    if !address.ip().is_loopback() {
        return Err(ListenError::NotLoopback(address));
    }
    TcpListener::bind(address)
        .await
        .map_err(|source| ListenError::Bind { address, source })
}

/// Which face of the stand-in a listener shows.
#[derive(Debug, Clone)]
pub(crate) enum Face {
    /// AWS, control interface, artifacts.
    Main,
    /// The metadata service of one instance.
    Imds(String),
}

/// Serves a listener until dropped; its connections end with it.
pub(crate) async fn serve(sim: Arc<Sim>, listener: TcpListener, face: Face) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(connection(sim.clone(), stream, face.clone()));
            }
            Err(error) => {
                // Out of file descriptors: wait for connections to end.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(sim: Arc<Sim>, stream: TcpStream, face: Face) {
    // Replies are small and awaited.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let (sim, face) = (sim.clone(), face.clone());
        async move { answer(&sim, &face, request).await }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended");
    }
}

async fn answer(sim: &Arc<Sim>, face: &Face, request: Request<Incoming>) -> Result<Reply, HangUp> {
    let (parts, body) = request.into_parts();
    let body = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return Ok(text(413, format!("cannot read the request: {error}"))),
    };
    let received = Received {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body,
    };
    if let Face::Imds(instance) = face {
        return Ok(imds::answer(sim, instance, &received.path, &received).await);
    }
    if let Some(rest) = received.path.strip_prefix("/_sim/") {
        return Ok(control::answer(sim, rest, &received));
    }
    if let Some(file) = received.path.strip_prefix("/_artifacts/") {
        return Ok(artifacts::answer(sim, file, &received.method).await);
    }
    if let Some(rest) = received.path.strip_prefix("/_imds/") {
        let (instance, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        return Ok(imds::answer(sim, instance, path, &received).await);
    }
    if received.path != "/" {
        return Ok(refusal(404, format!("nothing at {}", received.path)));
    }
    aws::answer(sim, &received).await
}
