//! One HTTP request at a time to a server on loopback.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};

const PATIENCE: Duration = Duration::from_secs(30);

/// Sends a request and returns the body of a successful answer.
pub(crate) async fn call(
    server: SocketAddr,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Bytes> {
    let what = format!("{method} http://{server}{path}");
    let (status, answer) = timeout(PATIENCE, send(server, method, path, body))
        .await
        .map_err(|_| anyhow!("no answer within {PATIENCE:?}"))
        .flatten()
        .with_context(|| what.clone())?;
    ensure!(
        status.is_success(),
        "{what}: {status}: {}",
        String::from_utf8_lossy(&answer)
    );
    Ok(answer)
}

async fn send(
    server: SocketAddr,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<(StatusCode, Bytes)> {
    let stream = TcpStream::connect(server).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the connection, which ends with `sender`.
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, server.to_string())
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::<Bytes>::from(
            body.map(Value::to_string).unwrap_or_default(),
        ))?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    Ok((status, answer.into_body().collect().await?.to_bytes()))
}
