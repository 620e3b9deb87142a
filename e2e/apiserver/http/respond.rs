//! Answers.

use axum::body::Body;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WARNING};
use http::{Response, StatusCode};
use serde_json::Value;

use crate::apiserver::object::encode;
use crate::apiserver::rules::ApiError;
use crate::apiserver::rules::value::number;

/// A body of JSON that is ready.
pub(super) fn json_bytes(status: u16, body: Bytes) -> Response<Body> {
    with_type(status, Body::from(body), "application/json")
}

/// A body of JSON.
pub(super) fn json_value(status: u16, body: &Value) -> Response<Body> {
    json_bytes(status, encode(body))
}

/// Plain text.
pub(super) fn text(body: &'static str) -> Response<Body> {
    with_type(200, Body::from(body), "text/plain; charset=utf-8")
}

/// Lines of JSON that come as they come.
pub(super) fn stream(body: Body) -> Response<Body> {
    with_type(200, body, "application/json")
}

/// A body of a certain media type.
pub(super) fn with_type(status: u16, body: Body, media_type: &'static str) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// A `Status` for what went wrong.
pub(super) fn error(error: &ApiError) -> Response<Body> {
    let mut response = json_value(error.code, &error.to_status());
    let seconds = error.details.as_ref().and_then(|details| number(details, &["retryAfterSeconds"]));
    if let Some(value) = seconds.and_then(|seconds| HeaderValue::from_str(&seconds.to_string()).ok()) {
        response.headers_mut().insert(RETRY_AFTER, value);
    }
    response
}

/// Adds `Warning` headers, which kubectl shows.
pub(super) fn warn(response: &mut Response<Body>, warnings: &[String]) {
    for warning in warnings {
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(WARNING, value);
        }
    }
}
