//! What `kubectl auth` asks: everybody is the administrator and may do everything.

use axum::body::Body;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::Http;
use super::body::{parse, read};
use super::respond::json_value;
use crate::apiserver::rules::ApiError;
use crate::apiserver::rules::value::set;

impl Http {
    pub(super) async fn review(
        &self,
        group: &str,
        plural: &str,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, ApiError> {
        let status = match (group, plural) {
            ("authorization.k8s.io", "selfsubjectaccessreviews") => {
                json!({ "allowed": true, "reason": "the embedded API server trusts everybody" })
            }
            ("authorization.k8s.io", "selfsubjectrulesreviews") => json!({
                "incomplete": false,
                "resourceRules": [{ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"] }],
                "nonResourceRules": [{ "verbs": ["*"], "nonResourceURLs": ["*"] }],
            }),
            ("authentication.k8s.io", "selfsubjectreviews") => {
                json!({ "userInfo": { "username": "callsign-sandbox", "groups": ["system:masters"] } })
            }
            _ => return Err(ApiError::no_such_path()),
        };
        if request.method() != Method::POST {
            return Err(ApiError::method_not_allowed());
        }
        let (head, body) = request.into_parts();
        let mut review: Value = parse(&head.headers, &read(body).await?)?;
        set(&mut review, &["status"], status);
        Ok(json_value(201, &review))
    }
}
