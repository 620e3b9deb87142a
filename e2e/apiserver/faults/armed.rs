//! Faults armed for the next requests of a certain form.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::counts::Seen;

/// Which requests a fault is for. What is left out matches everything; `*` in a text matches any part.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Requests {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: Option<String>,
    /// Plural, such as `pods`, or with a subresource, such as `pods/status`.
    pub kind: Option<String>,
    /// Namespace.
    pub namespace: Option<String>,
    /// Name.
    pub name: Option<String>,
    /// The `User-Agent` header.
    pub user_agent: Option<String>,
}

/// What is to go wrong with a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Wait this long first.
    pub delay: Duration,
    /// Answer with this status and `Retry-After`, and do nothing.
    pub answer: Option<(u16, Option<u32>)>,
    /// Do it, then wait this long before the answer is sent.
    pub late: Duration,
    /// Do it, then cut the connection.
    pub lose_response: bool,
}

/// A verdict for the next requests that match.
#[derive(Debug)]
pub(super) struct Armed {
    requests: Requests,
    pub(super) times: u32,
    verdict: Verdict,
}

const VERBS: [&str; 8] = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

impl Requests {
    /// Requests of a verb and a plural.
    pub fn of(verb: &str, kind: &str) -> Self {
        Self { verb: Some(verb.to_owned()), kind: Some(kind.to_owned()), ..Self::default() }
    }

    /// Refuses a verb or a kind that never comes, for a fault that cannot happen proves nothing.
    pub(super) fn checked(self) -> Result<Self, String> {
        if let Some(verb) = self.verb.as_deref().filter(|verb| !VERBS.contains(verb) && !verb.contains('*')) {
            return Err(format!("no verb is {verb:?}; they are {}", VERBS.join(", ")));
        }
        if let Some(kind) = self.kind.as_deref().filter(|kind| !kind.contains('*')) {
            super::kinds(Some(kind.split('/').next().unwrap_or(kind)))?;
        }
        Ok(self)
    }

    pub(super) fn matches(&self, seen: &Seen<'_>) -> bool {
        let matches =
            |pattern: &Option<String>, text: &str| pattern.as_deref().is_none_or(|it| glob(it, text));
        matches(&self.verb, seen.verb)
            && matches(&self.kind, &seen.resource())
            && matches(&self.namespace, seen.namespace)
            && matches(&self.name, seen.name)
            && matches(&self.user_agent, seen.user_agent)
    }
}

impl Verdict {
    pub(super) fn answer(status: u16, retry_after: Option<u32>) -> Self {
        Self { answer: Some((status, retry_after)), ..Self::default() }
    }
}

impl Armed {
    pub(super) fn new(requests: Requests, times: u32, verdict: Verdict) -> Self {
        Self { requests, times, verdict }
    }

    /// Adds this fault to a request's verdict. Of several answers the one armed first is given, and the others keep
    /// their turn.
    pub(super) fn meet(&mut self, seen: &Seen<'_>, verdict: &mut Verdict) {
        let has_turn = self.verdict.answer.is_none() || verdict.answer.is_none();
        if self.times == 0 || !has_turn || !self.requests.matches(seen) {
            return;
        }
        self.times -= 1;
        verdict.delay += self.verdict.delay;
        verdict.late += self.verdict.late;
        verdict.lose_response |= self.verdict.lose_response;
        if verdict.answer.is_none() {
            verdict.answer = self.verdict.answer;
        }
    }
}

/// Whether a text matches a pattern in which `*` stands for any run of characters.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part).and_then(|at| rest.get(at + part.len()..)) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}
