//! An API server for tests: a [`kube::Client`] whose other end is a [`Cluster`], with faults on demand.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use callsign_shared::Key;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{Cluster, Refusal};

/// An API server in front of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Api(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    cluster: Arc<Cluster>,
    faults: Mutex<VecDeque<Fault>>,
    log: Mutex<Vec<Call>>,
    latency: Duration,
}

/// What goes wrong with the next request that writes.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// It is answered with this instead.
    Answer(u16, Vec<(&'static str, &'static str)>, Value),
    /// It is done, and the answer is lost.
    Lost,
}

/// A request that was made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) verb: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) query: String,
    pub(crate) agent: String,
    pub(crate) body: Value,
    pub(crate) code: u16,
}

impl Api {
    pub(crate) fn new(cluster: &Arc<Cluster>) -> Self {
        Self::slow(cluster, Duration::ZERO)
    }

    /// One that takes its time for each request.
    pub(crate) fn slow(cluster: &Arc<Cluster>, latency: Duration) -> Self {
        Self(Arc::new(Inner {
            cluster: Arc::clone(cluster),
            faults: Mutex::default(),
            log: Mutex::default(),
            latency,
        }))
    }

    pub(crate) fn client(&self) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request| {
            let api = api.clone();
            async move { api.serve(request).await }
        });
        kube::Client::new(service, "default")
    }

    pub(crate) fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.0.faults.lock().extend(faults);
    }

    /// The requests so far, and forgets them.
    pub(crate) fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.0.log.lock())
    }

    /// The requests so far that wrote, as `verb kind`.
    pub(crate) fn writes(&self) -> Vec<String> {
        let mut writes: Vec<_> = self
            .calls()
            .iter()
            .filter(|c| c.verb != "get")
            .map(|c| format!("{} {}", c.verb, c.kind))
            .collect();
        writes.sort_unstable();
        writes
    }

    async fn serve(self, request: Request<Body>) -> Result<Response<Body>, std::io::Error> {
        if !self.0.latency.is_zero() {
            tokio::time::sleep(self.0.latency).await;
        }
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let parts: Vec<&str> = head.uri.path().trim_matches('/').split('/').collect();
        let at = parts.iter().position(|part| *part == "namespaces").unwrap();
        let kind = match parts[at + 2] {
            "endpoints" => "Endpoints",
            "endpointslices" => "EndpointSlice",
            "services" => "Service",
            other => panic!("unknown resource {other}"),
        };
        let name = parts.get(at + 3).map_or_else(|| body["metadata"]["name"].as_str().unwrap(), |name| *name);
        let key = Key::new(parts[at + 1], name);
        let verb = match head.method {
            Method::GET => "get",
            Method::POST => "create",
            Method::PUT => "update",
            Method::DELETE => "delete",
            other => panic!("unknown method {other}"),
        };
        let fault = if verb == "get" { None } else { self.0.faults.lock().pop_front() };
        let cluster = &self.0.cluster;
        let (code, headers, answer) = match fault {
            Some(Fault::Answer(code, headers, answer)) => (code, headers, answer),
            fault => {
                let result = match verb {
                    "get" => cluster.get(kind, &key).ok_or(Refusal::NotFound),
                    "create" => cluster.create(kind, &key, body.clone()),
                    "update" => cluster.replace(kind, &key, body.clone()),
                    _ => {
                        let conditions = &body["preconditions"];
                        assert!(conditions["uid"].is_string(), "a deletion without uid");
                        cluster.delete(kind, &key, conditions["resourceVersion"].as_str())
                    }
                };
                if matches!(fault, Some(Fault::Lost)) {
                    return Err(std::io::Error::other("connection reset"));
                }
                let (code, answer) = match result {
                    Ok(object) => (if verb == "create" { 201 } else { 200 }, object),
                    Err(refusal) => refused(refusal),
                };
                (code, Vec::new(), answer)
            }
        };
        let text = |value: Option<&http::HeaderValue>| {
            value.map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default()
        };
        self.0.log.lock().push(Call {
            verb,
            kind,
            name: name.to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            agent: text(head.headers.get("user-agent")),
            body,
            code,
        });
        let mut response = Response::builder().status(StatusCode::from_u16(code).unwrap());
        for (name, value) in headers {
            response = response.header(name, value);
        }
        Ok(response.body(Body::from(answer.to_string().into_bytes())).unwrap())
    }
}

fn refused(refusal: Refusal) -> (u16, Value) {
    let (code, reason) = match refusal {
        Refusal::NotFound => (404, "NotFound"),
        Refusal::AlreadyExists => (409, "AlreadyExists"),
        Refusal::Conflict => (409, "Conflict"),
    };
    (code, json!({"kind": "Status", "status": "Failure", "reason": reason, "code": code, "message": reason}))
}
