//! What the API server has been asked to write, by its own count.

use anyhow::{Context as _, Result};
use kube::Client;

use crate::prometheus;

/// What the controller writes, its lease apart.
const RESOURCES: &[&str] = &[
    "sporeinstances",
    "sporearrays",
    "sporesweeps",
    "sporeresults",
    "events",
];

/// Writes of spores, of what launches them and of Events so far, by whomever. The controller's only other writes renew its
/// lease, at a pace that no spore changes.
pub(crate) async fn writes(client: &Client) -> Result<f64> {
    let request = hyper::Request::get("/metrics").body(Vec::new())?;
    let text = client
        .request_text(request)
        .await
        .context("cannot read the API server's metrics")?;
    let writes = prometheus::sum(&text, "apiserver_request_total", |labels| {
        labels.is("resource", RESOURCES)
            && labels.is(
                "verb",
                &[
                    "POST",
                    "PUT",
                    "PATCH",
                    "APPLY",
                    "DELETE",
                    "DELETECOLLECTION",
                ],
            )
    });
    Ok(writes.unwrap_or(0.0))
}
