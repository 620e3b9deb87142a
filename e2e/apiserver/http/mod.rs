//! The HTTP side: from a request to what it is about, and back to an answer.

use std::fmt;
use std::sync::Arc;

use axum::body::Body;
use http::header::USER_AGENT;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::access::Access;
use super::faults::{Faults, Seen, Verdict};
use super::options::Options;
use super::rules::{ApiError, warnings};
use super::store::Store;
use super::write::scale;
use form::{Form, View};
use params::Params;
use route::{Route, Target};

mod admit;
mod body;
mod change;
mod discovery;
mod form;
mod list;
mod openapi;
mod params;
mod protobuf;
mod proxy;
mod respond;
mod review;
mod route;
mod switch;
mod token;
mod watch;

/// What answers requests.
#[derive(Debug)]
pub(super) struct Http {
    pub(super) store: Arc<Store>,
    pub(super) faults: Arc<Faults>,
    pub(super) access: Arc<Access>,
    pub(super) stop: CancellationToken,
    pub(super) options: Options,
}

/// The connection ends here without an answer: a fault asked for it.
#[derive(Debug)]
pub(super) struct Cut;

impl std::error::Error for Cut {}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer was lost by request")
    }
}

impl Http {
    /// Answers a request, or cuts its connection.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
        let user = match self.admit(&request) {
            Ok(user) => user,
            Err(error) => return Ok(respond::error(&error)),
        };
        let answer = match Route::of(request.uri().path()) {
            Route::Objects(target) => return self.objects(target, request).await,
            Route::Faults => self.switch(request).await,
            Route::Review(kind, namespace) => self.review(kind, &namespace, &user, request).await,
            Route::Proxy(target) => self.proxy(&target, request).await,
            Route::Nowhere => Err(ApiError::no_such_path()),
            _ if request.method() != Method::GET && request.method() != Method::HEAD => {
                Err(ApiError::method_not_allowed())
            }
            Route::CoreVersions => Ok(discovery::core_versions(request.headers())),
            Route::Groups => Ok(discovery::groups(request.headers())),
            Route::Group(group) => discovery::group(&group),
            Route::Resources(group, version) => discovery::resources(&group, &version),
            Route::OpenApi => Ok(openapi::index()),
            Route::OpenApi2 => Ok(openapi::version_2()),
            Route::OpenApiOf(path) => openapi::document(&path),
            Route::Version => Ok(discovery::version()),
            Route::Health => Ok(respond::text("ok")),
        };
        Ok(answer.unwrap_or_else(|error| respond::error(&error)))
    }

    async fn objects(&self, target: Target, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
        let params = match Params::of(request.uri(), target.kind) {
            Ok(params) => params,
            Err(error) => return Ok(respond::error(&error)),
        };
        let Some(verb) = verb(request.method(), &target, &params) else {
            return Ok(respond::error(&not_allowed(&target)));
        };
        let verdict = self.faults.on_request(&seen(verb, &target, &request));
        if !verdict.delay.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(verdict.delay) => {}
                () = self.stop.cancelled() => return Err(Cut),
            }
        }
        let answer = match &verdict {
            Verdict { answer: Some((status, retry_after)), .. } => Err(fault(&target, *status, *retry_after)),
            _ => self.carry_out(verb, target, params, request).await,
        };
        if !verdict.late.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(verdict.late) => {}
                () = self.stop.cancelled() => return Err(Cut),
            }
        }
        if verdict.lose_response {
            return Err(Cut);
        }
        Ok(answer.unwrap_or_else(|error| respond::error(&error)))
    }

    async fn carry_out(
        &self,
        verb: &str,
        target: Target,
        params: Params,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, ApiError> {
        let form = Form::wanted(request.headers());
        let view = View { kind: target.kind, events_v1: target.events_v1, form, include: params.include };
        // Where a list begins: not at its second page, and not at a watch that goes on from a version.
        let begins = verb == "list" && params.from.is_empty()
            || verb == "watch" && params.initial_events == Some(true);
        let seen = seen(verb, &target, &request);
        let keep = if begins { self.faults.keep_of_list(&seen) } else { None };
        match verb {
            "get" => self.get(&target, &view),
            "list" => {
                let mut response = self.list(&target, &params, &view, keep)?;
                respond::warn(&mut response, &warnings::warnings(target.kind, None));
                Ok(response)
            }
            "watch" => {
                let mut response = self.watch(target, params, view, keep)?;
                respond::warn(&mut response, &warnings::warnings(view.kind, None));
                Ok(response)
            }
            "create" => self.create(&target, &params, &view, request).await,
            "update" => self.update(&target, &params, &view, request).await,
            "patch" => self.patch(&target, &params, &view, request).await,
            "delete" => self.delete(&target, &params, &view, request).await,
            _ => self.delete_collection(&target, &params, &view, request).await,
        }
    }

    fn get(&self, target: &Target, view: &View) -> Result<Response<Body>, ApiError> {
        let found = self.store.get(target.kind, &target.namespace, &target.name);
        let object = found.ok_or_else(|| ApiError::not_found(target.kind, &target.name))?;
        let mut response = match target.subresource.as_str() {
            "" | "status" => respond::json_bytes(200, view.object(&object)),
            "scale" if view.form == Form::Table => respond::json_bytes(200, view.scale_table(&object)),
            "scale" => respond::json_value(200, &scale(&object)),
            _ => return Err(ApiError::method_not_allowed()),
        };
        respond::warn(&mut response, &warnings::warnings(target.kind, Some(&object.value)));
        Ok(response)
    }
}

/// The verb of a request, as audit logs and RBAC call it; `None` for what the target does not have.
fn verb(method: &Method, target: &Target, params: &Params) -> Option<&'static str> {
    let info = target.kind.info();
    let part = target.subresource.as_str();
    let collection = target.name.is_empty();
    let known = match part {
        "" => true,
        "status" => info.status,
        "scale" => info.scale,
        "finalize" => info.name == "Namespace" && *method == Method::PUT,
        "binding" | "eviction" => info.name == "Pod" && *method == Method::POST,
        "token" => info.name == "ServiceAccount" && *method == Method::POST,
        _ => false,
    };
    if !known {
        return None;
    }
    // A namespaced object is made in a namespace.
    let nowhere = info.namespaced && target.namespace.is_empty();
    match (method, collection) {
        (&Method::GET | &Method::HEAD, true) => Some(if params.watch { "watch" } else { "list" }),
        (&Method::GET | &Method::HEAD, false) => Some("get"),
        (&Method::POST, true) if !nowhere => Some("create"),
        (&Method::POST, false) if matches!(part, "binding" | "eviction" | "token") => Some("create"),
        (&Method::PUT, false) => Some("update"),
        (&Method::PATCH, false) => Some("patch"),
        (&Method::DELETE, false) if part.is_empty() => Some("delete"),
        (&Method::DELETE, true) if !nowhere => Some("deletecollection"),
        _ => None,
    }
}

/// Why a request is not answered; `kubectl logs` and `exec` deserve a word of their own.
fn not_allowed(target: &Target) -> ApiError {
    match target.subresource.as_str() {
        "log" | "exec" | "attach" | "portforward" => {
            ApiError::bad_request("the pods of the embedded API server run no containers")
        }
        _ => ApiError::method_not_allowed(),
    }
}

fn seen<'a, B>(verb: &'a str, target: &'a Target, request: &'a Request<B>) -> Seen<'a> {
    Seen {
        verb,
        plural: target.kind.info().plural,
        subresource: &target.subresource,
        namespace: &target.namespace,
        name: &target.name,
        user_agent: user_agent(request),
    }
}

fn user_agent<B>(request: &Request<B>) -> &str {
    request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The answer of a fault.
fn fault(target: &Target, status: u16, retry_after: Option<u32>) -> ApiError {
    let mut error = match status {
        404 => ApiError::not_found(target.kind, &target.name),
        409 => ApiError::modified(target.kind, &target.name),
        410 => ApiError::expired("The provided resource version is too old."),
        403 => ApiError::forbidden(target.kind, &target.name, "refused by a fault"),
        429 => ApiError::too_many_requests("The server has received too many requests", 1),
        500 => ApiError::internal("asked for by a fault"),
        503 => ApiError::unavailable("the server is currently unable to handle the request"),
        504 => ApiError::timeout("asked for by a fault", 1),
        code => ApiError { code, reason: "", message: "asked for by a fault".to_owned(), details: None },
    };
    if let Some(seconds) = retry_after {
        let details = error.details.get_or_insert_with(|| json!({}));
        super::rules::value::set(details, &["retryAfterSeconds"], seconds);
    }
    error
}
