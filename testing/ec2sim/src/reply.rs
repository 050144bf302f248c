//! HTTP replies.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

/// A reply.
pub(crate) type Reply = Response<Full<Bytes>>;

/// A reply with a body of some type.
pub(crate) fn reply(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

/// Plain text.
pub(crate) fn text(status: u16, body: impl Into<Bytes>) -> Reply {
    reply(status, "text/plain", body)
}

/// JSON.
pub(crate) fn json(status: u16, value: &impl serde::Serialize) -> Reply {
    match serde_json::to_vec(value) {
        Ok(body) => reply(status, "application/json", body),
        Err(error) => text(500, format!("cannot write the reply as JSON: {error}")),
    }
}

/// A JSON error of the control interface.
pub(crate) fn refusal(status: u16, message: impl Into<String>) -> Reply {
    json(status, &serde_json::json!({ "error": message.into() }))
}

/// Adds a header with a name and value known at build time, or a number.
pub(crate) fn with_header(mut reply: Reply, name: &'static str, value: &str) -> Reply {
    if let Ok(value) = HeaderValue::from_str(value) {
        reply
            .headers_mut()
            .insert(HeaderName::from_static(name), value);
    }
    reply
}
