//! Requests that change something.

use axum::body::Body;
use http::header::USER_AGENT;
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::Http;
use super::body::{media_type, parse, parse_json, parse_yaml, read};
use super::form::{ListMeta, View};
use super::list::selects;
use super::params::Params;
use super::respond::{json_bytes, json_value, warn};
use super::route::Target;
use crate::apiserver::delete::{DeleteOptions, Deleted};
use crate::apiserver::kind::Kind;
use crate::apiserver::object::Object;
use crate::apiserver::rules::ApiError;
use crate::apiserver::rules::decode::event_to_core;
use crate::apiserver::rules::value::{at, text};
use crate::apiserver::write::{Part, Patch, WriteOptions, Written, scale};

const PATCHES: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

impl Http {
    pub(super) async fn create(
        &self,
        target: &Target,
        params: &Params,
        view: &View,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, ApiError> {
        let (options, headers, body) = taken(params, request).await?;
        let body = parse(&headers, &body)?;
        match target.subresource.as_str() {
            "binding" => {
                let node = text(&body, &["target", "name"]);
                self.store.bind(&target.key(), node, &options)?;
                Ok(json_value(201, &success(None)))
            }
            "eviction" => {
                let options = at(&body, &["deleteOptions"]).cloned().unwrap_or_else(|| json!({}));
                self.store.delete(target.kind, &target.key(), &delete_options(options, params)?)?;
                Ok(json_value(201, &success(None)))
            }
            "token" => self.token(target, body, options.dry_run),
            _ => Ok(written(view, &self.store.create(target.kind, &target.namespace, body, &options)?)),
        }
    }

    pub(super) async fn update(
        &self,
        target: &Target,
        params: &Params,
        view: &View,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, ApiError> {
        let (options, headers, body) = taken(params, request).await?;
        let part = part(target)?;
        let body = parse(&headers, &body)?;
        let done = self.store.update(target.kind, &target.key(), part, body, &options)?;
        Ok(answer(view, part, &done))
    }

    pub(super) async fn patch(
        &self,
        target: &Target,
        params: &Params,
        view: &View,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, ApiError> {
        let (options, headers, body) = taken(params, request).await?;
        let part = part(target)?;
        let patch = match media_type(&headers) {
            "application/json-patch+json" => Patch::Json(parse_json(&body)?),
            "application/merge-patch+json" => Patch::Merge(stored_names(target, parse_json(&body)?)),
            "application/strategic-merge-patch+json" => Patch::Strategic(parse_json(&body)?),
            "application/apply-patch+yaml" => {
                if params.manager().is_none() {
                    return Err(missing_manager());
                }
                Patch::Apply { object: parse_yaml(&body)?, force: params.force }
            }
            _ => return Err(ApiError::unsupported_media_type(&PATCHES)),
        };
        let done = self.store.patch(target.kind, &target.key(), part, &patch, &options)?;
        Ok(answer(view, part, &done))
    }

    pub(super) async fn delete(
        &self,
        target: &Target,
        params: &Params,
        view: &View,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, ApiError> {
        let (_, headers, body) = taken(params, request).await?;
        let options = delete_options(parse_options(&headers, &body)?, params)?;
        match self.store.delete(target.kind, &target.key(), &options)? {
            // These registries return what they deleted; the others only say so.
            Deleted::Gone(object) if !matches!(target.kind, Kind::Pod | Kind::Service) => {
                Ok(json_value(200, &success(Some(&object))))
            }
            deleted => Ok(json_bytes(200, view.object(deleted.object()))),
        }
    }

    pub(super) async fn delete_collection(
        &self,
        target: &Target,
        params: &Params,
        view: &View,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, ApiError> {
        let (_, headers, body) = taken(params, request).await?;
        let options = delete_options(parse_options(&headers, &body)?, params)?;
        let (objects, version) = self.store.list(target.kind, target.scope());
        let mut deleted = Vec::new();
        for object in objects.iter().filter(|object| selects(params, object)) {
            match self.store.delete(target.kind, &object.key, &options) {
                Ok(done) => deleted.push(done),
                // Somebody else was faster.
                Err(error) if error.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
        let objects: Vec<&Object> = deleted.iter().map(|done| done.object().as_ref()).collect();
        let meta = ListMeta { version, ..ListMeta::default() };
        Ok(json_bytes(200, view.list(objects.into_iter(), &meta)))
    }
}

/// What a write needs of a request.
async fn taken(
    params: &Params,
    request: Request<Incoming>,
) -> Result<(WriteOptions, HeaderMap, Vec<u8>), ApiError> {
    let (head, body) = request.into_parts();
    let agent = head.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let options = params.write_options(agent);
    Ok((options, head.headers, read(body).await?))
}

fn part(target: &Target) -> Result<Part, ApiError> {
    match target.subresource.as_str() {
        "" => Ok(Part::Main),
        "status" => Ok(Part::Status),
        "scale" => Ok(Part::Scale),
        "finalize" => Ok(Part::Finalize),
        _ => Err(ApiError::method_not_allowed()),
    }
}

fn written(view: &View, done: &Written) -> Response<Body> {
    let mut response = json_bytes(if done.created { 201 } else { 200 }, view.object(&done.object));
    warn(&mut response, &done.warnings);
    response
}

fn answer(view: &View, part: Part, done: &Written) -> Response<Body> {
    if part == Part::Scale { json_value(200, &scale(&done.object)) } else { written(view, done) }
}

/// A patch of an `events.k8s.io/v1` event, in the words of the stored one.
fn stored_names(target: &Target, patch: Value) -> Value {
    if target.events_v1 { event_to_core(&patch) } else { patch }
}

/// `Status` of something that went well, about an object that is gone.
fn success(gone: Option<&Object>) -> Value {
    let mut status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success" });
    if let (Some(status), Some(gone)) = (status.as_object_mut(), gone) {
        let info = gone.kind.info();
        let mut details = json!({ "name": &*gone.key.name, "kind": info.plural, "uid": gone.uid() });
        if let Some(details) = details.as_object_mut().filter(|_| !info.group.is_empty()) {
            details.insert("group".to_owned(), json!(info.group));
        }
        status.insert("details".to_owned(), details);
    }
    status
}

/// The options of a delete may come without a body.
fn parse_options(headers: &HeaderMap, body: &[u8]) -> Result<Value, ApiError> {
    if body.is_empty() { Ok(json!({})) } else { parse(headers, body) }
}

/// Options from the body; the query adds what the body leaves out.
fn delete_options(body: Value, params: &Params) -> Result<DeleteOptions, ApiError> {
    let mut options: DeleteOptions = serde_json::from_value(body)
        .map_err(|error| ApiError::bad_request(format!("invalid DeleteOptions: {error}")))?;
    options.grace_period_seconds = options.grace_period_seconds.or(params.grace_period_seconds);
    if options.propagation_policy.is_none() {
        options.propagation_policy.clone_from(&params.propagation_policy);
    }
    if params.dry_run {
        options.dry_run = vec!["All".to_owned()];
    }
    Ok(options)
}

fn missing_manager() -> ApiError {
    let cause = json!({
        "reason": "FieldValueRequired",
        "message": "Required value: is required for apply patch",
        "field": "fieldManager",
    });
    ApiError {
        code: 422,
        reason: "Invalid",
        message: "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"
            .to_owned(),
        details: Some(json!({ "group": "meta.k8s.io", "kind": "PatchOptions", "causes": [cause] })),
    }
}
