//! Requests to the API server: each with a limit on its time and its answer, and each failure with its reason.

use std::{
    error::Error,
    io,
    time::{Duration, Instant},
};

use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use jiff::Timestamp;
use kube::{Client, client::Body};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::super::{
    facts::{ApiFailure, Known, Missing},
    rights::Asked,
};

/// How long an answer may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer that is read: a page of large pods.
const LARGEST: usize = 64 << 20;
/// Objects a page, and pages at most.
const PAGE: usize = 500;
const PAGES: usize = 10;

/// Asks an API server.
#[derive(Clone)]
pub(super) struct Asker(Client);

/// What it answered.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// When, by its own clock.
    pub(super) at: Option<Timestamp>,
    pub(super) text: String,
    pub(super) took: Duration,
}

impl Asker {
    pub(super) fn new(client: Client) -> Self {
        Self(client)
    }

    /// Sends a request and reads the answer, whatever its status.
    ///
    /// # Errors
    /// When there is none, or it is that nobody knows the caller.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, ApiFailure> {
        let request =
            Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, "application/json");
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let other = |error: &dyn Error| ApiFailure::Other(error.to_string());
        let request = request.body(Body::from(body)).map_err(|error| other(&error))?;
        let started = Instant::now();
        let answer = async {
            let (head, body) = self.0.send(request).await.map_err(|error| failure(&error))?.into_parts();
            let body = Limited::new(body, LARGEST).collect().await;
            let body = body.map_err(|error| ApiFailure::Other(error.to_string()))?.to_bytes();
            let text = String::from_utf8_lossy(&body).into_owned();
            let date = head.headers.get(header::DATE).and_then(|date| date.to_str().ok());
            let at = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()).map(|date| date.timestamp());
            Ok(Answer { status: head.status, at, text, took: started.elapsed() })
        };
        let silent = || ApiFailure::Silent(format!("no answer within {} s", PATIENCE.as_secs()));
        let answer: Answer =
            tokio::time::timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err(silent()))?;
        if answer.status == StatusCode::UNAUTHORIZED {
            return Err(ApiFailure::Unauthorized(answer.message()));
        }
        if answer.text.contains("HTTP request to an HTTPS server") {
            return Err(ApiFailure::Tls("it speaks TLS, and the address begins with http://".to_owned()));
        }
        Ok(answer)
    }

    pub(super) async fn get(&self, path: &str) -> Result<Answer, ApiFailure> {
        self.ask(Method::GET, path, None).await
    }

    /// One object. `what` is what a refusal is told with: `get services kube-dns in kube-system`.
    pub(super) async fn object<T: DeserializeOwned>(
        &self,
        path: impl AsRef<str>,
        what: impl AsRef<str>,
    ) -> Known<T> {
        let what = what.as_ref();
        read(what, &self.known(path.as_ref(), what).await?)
    }

    /// The objects of a list, at most so many pages of it.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        path: impl AsRef<str>,
        query: &str,
        what: impl AsRef<str>,
    ) -> Known<Vec<T>> {
        let (path, what) = (path.as_ref(), what.as_ref());
        let mut all = Vec::new();
        let mut next = String::new();
        for _ in 0..PAGES {
            let path = format!("{path}?limit={PAGE}{query}{next}");
            let mut page: Value = read(what, &self.known(&path, what).await?)?;
            let items = page.get_mut("items").map(Value::take).unwrap_or_default();
            all.extend(read_value::<Option<Vec<T>>>(what, items)?.unwrap_or_default());
            match page.pointer("/metadata/continue").and_then(Value::as_str) {
                Some(token) if !token.is_empty() => next = format!("&continue={}", escaped(token)),
                _ => return Ok(all),
            }
        }
        Ok(all)
    }

    /// The first page of a list.
    pub(super) async fn sample<T: DeserializeOwned>(&self, path: &str, what: &str) -> Known<Vec<T>> {
        let mut page: Value = read(what, &self.known(&format!("{path}?limit={PAGE}"), what).await?)?;
        let items = page.get_mut("items").map(Value::take).unwrap_or_default();
        Ok(read_value::<Option<Vec<T>>>(what, items)?.unwrap_or_default())
    }

    /// A page of a pod, by way of the API server.
    pub(super) async fn page(&self, path: &str, what: &str) -> Known<(u16, String)> {
        let answer =
            self.get(path).await.map_err(|failure| Missing::Failed(what.to_owned(), failure.to_string()))?;
        // The API server's own words are a Status; everything else is the pod's.
        if !answer.status.is_success() && answer.is_status() {
            return Err(answer.missing(what));
        }
        Ok((answer.status.as_u16(), answer.text))
    }

    /// Whether somebody may do something: the caller, or an account.
    pub(super) async fn may(&self, who: Option<(&str, &str)>, asked: &Asked) -> Known<bool> {
        let (resource, subresource) = asked.resource.split_once('/').unwrap_or((asked.resource, ""));
        let attributes = json!({
            "verb": asked.verb, "group": asked.group, "resource": resource, "subresource": subresource,
            "name": asked.name.unwrap_or_default(), "namespace": asked.namespace.as_deref().unwrap_or_default(),
        });
        let (plural, kind, mut spec) = match who {
            None => ("selfsubjectaccessreviews", "SelfSubjectAccessReview", json!({})),
            Some((namespace, name)) => (
                "subjectaccessreviews",
                "SubjectAccessReview",
                json!({
                    "user": format!("system:serviceaccount:{namespace}:{name}"),
                    "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{namespace}"), "system:authenticated"],
                }),
            ),
        };
        if let Some(fields) = spec.as_object_mut() {
            fields.insert("resourceAttributes".to_owned(), attributes);
        }
        let body = json!({"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec});
        let what = format!("create {plural}");
        let path = format!("/apis/authorization.k8s.io/v1/{plural}");
        let answer = self.ask(Method::POST, &path, Some(&body)).await;
        let answer = answer.map_err(|failure| Missing::Failed(what.clone(), failure.to_string()))?;
        if !answer.status.is_success() {
            return Err(answer.missing(&what));
        }
        let review: Value = read(&what, &answer)?;
        review
            .pointer("/status/allowed")
            .and_then(Value::as_bool)
            .ok_or_else(|| Missing::Failed(what, "the answer has no status.allowed".to_owned()))
    }

    async fn known(&self, path: &str, what: &str) -> Known<Answer> {
        let answer =
            self.get(path).await.map_err(|failure| Missing::Failed(what.to_owned(), failure.to_string()))?;
        if answer.status.is_success() { Ok(answer) } else { Err(answer.missing(what)) }
    }
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    fn is_status(&self) -> bool {
        self.json().get("kind").and_then(Value::as_str) == Some("Status")
    }

    fn message(&self) -> String {
        let json = self.json();
        let message = json.get("message").and_then(Value::as_str).unwrap_or_default();
        if message.is_empty() { self.status.to_string() } else { format!("{}: {message}", self.status) }
    }

    /// Why there is no object in it.
    fn missing(&self, what: &str) -> Missing {
        match self.status {
            StatusCode::FORBIDDEN => Missing::Forbidden(what.to_owned()),
            // `get services kube-dns in kube-system` → what there is none of.
            StatusCode::NOT_FOUND => {
                let object = what.split_once(' ').map_or(what, |(_, object)| object);
                let (plural, rest) = object.split_once(' ').unwrap_or((object, ""));
                Missing::Absent(format!("{} {rest}", plural.trim_end_matches('s')).trim_end().to_owned())
            }
            _ => Missing::Failed(what.to_owned(), self.message()),
        }
    }
}

fn read<T: DeserializeOwned>(what: &str, answer: &Answer) -> Known<T> {
    serde_json::from_str(&answer.text).map_err(|error| unreadable(what, &error))
}

fn read_value<T: DeserializeOwned>(what: &str, value: Value) -> Known<T> {
    serde_json::from_value(value).map_err(|error| unreadable(what, &error))
}

fn unreadable(what: &str, error: &serde_json::Error) -> Missing {
    Missing::Failed(what.to_owned(), format!("the answer cannot be read: {error}"))
}

/// A token of the API server's in a URL.
fn escaped(token: &str) -> String {
    token
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// Why a request had no answer: the first cause that tells.
fn failure(error: &kube::Error) -> ApiFailure {
    let mut texts = Vec::new();
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(cause) = next {
        let text = cause.to_string();
        if let Some(known) = known(cause, &text) {
            return known;
        }
        texts.push(text);
        // An error that was put into one of IO is not its source.
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = inner.map(|inner| inner as &(dyn Error + 'static)).or_else(|| cause.source());
        if texts.len() > 16 {
            break;
        }
    }
    // Outer texts often repeat the inner ones.
    ApiFailure::Other(texts.pop().unwrap_or_default())
}

fn known(cause: &(dyn Error + 'static), text: &str) -> Option<ApiFailure> {
    if cause.is::<rustls::Error>() {
        return Some(ApiFailure::Tls(text.to_owned()));
    }
    if let Some(io) = cause.downcast_ref::<io::Error>() {
        return match io.kind() {
            io::ErrorKind::ConnectionRefused => Some(ApiFailure::Refused("connection refused".to_owned())),
            io::ErrorKind::TimedOut => Some(ApiFailure::Silent(text.to_owned())),
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                Some(ApiFailure::Silent(text.to_owned()))
            }
            _ if text.contains("failed to lookup address") => Some(ApiFailure::NoAddress(text.to_owned())),
            _ => None,
        };
    }
    (text == "deadline has elapsed").then(|| ApiFailure::Silent("no connection in time".to_owned()))
}

impl std::fmt::Display for ApiFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(text)
            | Self::Silent(text)
            | Self::Tls(text)
            | Self::NoAddress(text)
            | Self::Unauthorized(text)
            | Self::Other(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, text: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            at: None,
            text: text.to_owned(),
            took: Duration::ZERO,
        }
    }

    #[test]
    fn statuses_are_reasons() {
        let what = "get services kube-dns in kube-system";
        assert_eq!(
            answer(403, "{}").missing(what).to_string(),
            "may not get services kube-dns in kube-system"
        );
        assert_eq!(
            answer(404, "{}").missing(what),
            Missing::Absent("service kube-dns in kube-system".to_owned())
        );
        let failed = answer(500, r#"{"kind":"Status","message":"etcd"}"#);
        assert!(failed.is_status() && !answer(503, "kubernetes").is_status());
        assert_eq!(
            failed.missing(what).to_string(),
            "could not get services kube-dns in kube-system: 500 Internal Server Error: etcd"
        );
        assert_eq!(escaped("a/b=="), "a%2Fb%3D%3D");
    }

    #[test]
    fn causes_are_told_apart() {
        let of = |error: io::Error| {
            let error = kube::Error::Service(Box::new(error));
            failure(&error)
        };
        assert!(matches!(of(io::ErrorKind::ConnectionRefused.into()), ApiFailure::Refused(_)));
        assert!(matches!(of(io::ErrorKind::TimedOut.into()), ApiFailure::Silent(_)));
        let tls = io::Error::other(rustls::Error::HandshakeNotComplete);
        assert!(matches!(of(tls), ApiFailure::Tls(_)));
        let name = io::Error::other("failed to lookup address information: Name or service not known");
        assert!(matches!(of(name), ApiFailure::NoAddress(_)));
        assert_eq!(of(io::Error::other("odd")), ApiFailure::Other("odd".to_owned()));
    }
}
