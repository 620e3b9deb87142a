//! The bodies of requests: JSON or YAML, now and then protobuf, of a bounded size.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;

use super::protobuf;
use crate::apiserver::rules::ApiError;

/// The limit of the real server.
const MOST_BYTES: usize = 3 * 1024 * 1024;
/// Up to here a body that is too large is read to its end.
const MOST_DISCARDED: usize = 32 * 1024 * 1024;

/// Reads a whole body. One that is too large is read on for a while and thrown away, because a client that is still
/// sending would find its connection reset and never read why.
pub(super) async fn read(mut body: Incoming) -> Result<Vec<u8>, ApiError> {
    let (mut bytes, mut length) = (Vec::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| ApiError::bad_request(format!("cannot read the request: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length <= MOST_BYTES {
            bytes.extend_from_slice(&data);
        } else if length > MOST_DISCARDED {
            break;
        }
    }
    if length > MOST_BYTES {
        return Err(ApiError::too_large(format!("Request entity too large: limit is {MOST_BYTES}")));
    }
    Ok(bytes)
}

/// The media type of a body, without its parameters.
pub(super) fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// A body that is an object, or nothing.
pub(super) fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Value, ApiError> {
    match media_type(headers) {
        "application/json" | "" => parse_json(body),
        protobuf::MEDIA_TYPE => protobuf::decode(body),
        "application/yaml" | "application/x-yaml" | "text/yaml" => parse_yaml(body),
        _ => Err(ApiError::unsupported_media_type(&["application/json", "application/yaml"])),
    }
}

/// JSON, with the words of the real server when it is none.
pub(super) fn parse_json(body: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        ApiError::bad_request(format!("the object provided is unrecognized (must be of type JSON): {error}"))
    })
}

/// YAML, of which JSON is a part.
pub(super) fn parse_yaml(body: &[u8]) -> Result<Value, ApiError> {
    if let Ok(value) = serde_json::from_slice(body) {
        return Ok(value);
    }
    let text = std::str::from_utf8(body).map_err(|error| ApiError::bad_request(error.to_string()))?;
    serde_saphyr::from_str(text)
        .map_err(|error| ApiError::bad_request(format!("error decoding YAML: {error}")))
}
