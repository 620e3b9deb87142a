//! Requests beside the writes: what the [guard](crate::guard) and the [fuse](crate::fuse) ask of the API server.
//!
//! They are few, they do not wait behind the writes' limits, and they need what the writer does not: the status of a
//! refusal, and the API server's own time, so that nothing depends on the clock of this machine.

use std::time::Duration;

use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use jiff::Timestamp;
use kube::{Client, client::Body};
use serde_json::Value;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// The largest answer that is read: a page of large pods.
const LARGEST: usize = 64 << 20;

/// Asks an API server.
#[derive(Clone)]
pub(crate) struct Asker(Client);

/// What it answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// When, by its own clock. Seconds resolution.
    pub(crate) at: Option<Timestamp>,
    pub(crate) text: String,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NoAnswer(String);

impl Asker {
    pub(crate) fn new(client: Client) -> Self {
        Self(client)
    }

    /// Sends a request and reads the answer, whatever its status.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, NoAnswer> {
        let request =
            Request::builder().method(method).uri(path).header(header::USER_AGENT, crate::write::AGENT);
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request = request.body(Body::from(body)).map_err(NoAnswer::of)?;
        let answer = async {
            let (head, body) = self.0.send(request).await.map_err(NoAnswer::of)?.into_parts();
            let body = Limited::new(body, LARGEST).collect().await.map_err(NoAnswer::of)?.to_bytes();
            let text = String::from_utf8(body.to_vec()).map_err(NoAnswer::of)?;
            let date = head.headers.get(header::DATE).and_then(|date| date.to_str().ok());
            let at = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()).map(|date| date.timestamp());
            Ok(Answer { status: head.status, at, text })
        };
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        answer.unwrap_or_else(|_| Err(NoAnswer(format!("no answer within {} s", PATIENCE.as_secs()))))
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Answer, NoAnswer> {
        self.ask(Method::GET, path, None).await
    }
}

impl Answer {
    /// The answer of a success.
    ///
    /// # Errors
    /// What the API server said against it.
    pub(crate) fn success(self) -> Result<Self, NoAnswer> {
        if self.status.is_success() { Ok(self) } else { Err(self.refusal()) }
    }

    /// What the API server said against it.
    pub(crate) fn refusal(&self) -> NoAnswer {
        let message = self.json().get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
        NoAnswer(format!("{}: {message}", self.status))
    }

    /// The answer as JSON; null when it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

impl NoAnswer {
    pub(crate) fn of(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

impl std::fmt::Debug for Asker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Asker")
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_date_of_an_answer_is_read() {
        let date = jiff::fmt::rfc2822::parse("Sat, 21 Nov 2026 12:48:17 GMT").unwrap();
        assert_eq!(date.timestamp().to_string(), "2026-11-21T12:48:17Z");
    }
}
