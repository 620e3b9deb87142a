//! `POST …/serviceaccounts/NAME/token`: tokens of ServiceAccounts (`authentication.k8s.io/v1 TokenRequest`).

use axum::body::Body;
use http::Response;
use serde_json::{Value, json};

use super::Http;
use super::respond::json_value;
use super::route::Target;
use crate::apiserver::access::Bound;
use crate::apiserver::kind::Kind;
use crate::apiserver::rules::ApiError;
use crate::apiserver::rules::value::{at, number, set, strings, text};

/// How long a token is good when nobody says.
const HOUR: i64 = 3600;

impl Http {
    pub(super) fn token(
        &self,
        target: &Target,
        mut request: Value,
        dry_run: bool,
    ) -> Result<Response<Body>, ApiError> {
        let seconds = number(&request, &["spec", "expirationSeconds"]).unwrap_or(HOUR);
        let audiences: Vec<String> =
            strings(&request, &["spec", "audiences"]).into_iter().map(str::to_owned).collect();
        let bound = at(&request, &["spec", "boundObjectRef"]).map(bound).transpose()?;
        let issued =
            self.access.issue(&target.namespace, &target.name, seconds, bound.as_ref(), &audiences)?;
        if dry_run {
            self.access.revoke(&issued.token);
        }
        set(&mut request, &["metadata", "name"], target.name.as_str());
        set(&mut request, &["metadata", "namespace"], target.namespace.as_str());
        set(&mut request, &["spec", "expirationSeconds"], seconds);
        set(&mut request, &["spec", "audiences"], issued.audiences);
        let status = json!({ "token": issued.token, "expirationTimestamp": issued.until });
        set(&mut request, &["status"], status);
        Ok(json_value(201, &request))
    }
}

fn bound(reference: &Value) -> Result<Bound, ApiError> {
    let part = |key: &str| text(reference, &[key]);
    let kind = Kind::of(part("apiVersion"), part("kind"))
        .filter(|kind| matches!(kind, Kind::Pod | Kind::Node | Kind::Secret));
    let Some(kind) = kind else {
        let why = format!("cannot bind token for serviceaccount to object kind {:?}", part("kind"));
        return Err(ApiError::bad_request(why));
    };
    Ok(Bound { kind, name: part("name").to_owned(), uid: part("uid").to_owned() })
}
