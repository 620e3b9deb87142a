//! `/_faults`: the fault switches over HTTP, for tests in other processes and languages.
//!
//! `POST` takes one fault or a list of them, `GET` shows how many are armed and which requests came, `DELETE` lifts
//! all faults and starts counting from nothing.

use axum::body::Body;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::Http;
use super::body::{parse_json, read};
use super::respond::json_value;
use crate::apiserver::faults::Fault;
use crate::apiserver::rules::ApiError;

impl Http {
    pub(super) async fn switch(&self, request: Request<Incoming>) -> Result<Response<Body>, ApiError> {
        match *request.method() {
            Method::GET => {}
            Method::DELETE => {
                self.faults.clear();
                self.faults.reset_requests();
            }
            Method::POST => {
                let faults = match parse_json(&read(request.into_body()).await?)? {
                    Value::Array(faults) => faults,
                    fault => vec![fault],
                };
                for fault in faults {
                    let fault: Fault = serde_json::from_value(fault)
                        .map_err(|error| ApiError::bad_request(format!("no such fault: {error}")))?;
                    self.faults.set(fault).map_err(ApiError::bad_request)?;
                }
            }
            _ => return Err(ApiError::method_not_allowed()),
        }
        Ok(json_value(200, &json!({ "armed": self.faults.armed(), "requests": self.faults.requests() })))
    }
}
