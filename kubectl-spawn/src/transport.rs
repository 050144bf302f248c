//! The connection to the API server.
//!
//! kube's own client leaves Nagle's algorithm on: the first request of a connection then waits for
//! the server's delayed acknowledgement of the TLS handshake, 40 ms in which nothing happens. A
//! command that lives for one request feels that, so this client is put together from kube's parts
//! with the algorithm off.

use hyper_timeout::TimeoutConnector;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use kube::{
    Client, Config,
    client::{Body, ConfigExt, retry::RetryPolicy},
};
use tower::{BoxError, ServiceBuilder, retry::RetryLayer};

/// A client for a cluster.
pub(crate) fn client(config: Config) -> kube::Result<Client> {
    if config.proxy_url.is_some() {
        // Only kube's own client knows proxies.
        return Client::try_from(config);
    }
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .layer(RetryLayer::new(RetryPolicy::server_retry()))
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http_client(&config)?);
    Ok(Client::new(service, config.default_namespace))
}

fn http_client(
    config: &Config,
) -> kube::Result<legacy::Client<impl legacy::connect::Connect + Clone + use<>, Body>> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let tls = config.rustls_https_connector_with_connector(tcp)?;
    // Around both, so that a server that accepts and then says nothing is found out too.
    let mut connector = TimeoutConnector::new(tls);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_write_timeout(config.write_timeout);
    Ok(legacy::Client::builder(TokioExecutor::new()).build(connector))
}
