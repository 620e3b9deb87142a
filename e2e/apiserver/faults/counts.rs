//! How many requests came, by verb, resource and client: tests hold that nothing is written twice.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

/// A request, as far as faults and counts look at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) verb: &'a str,
    pub(crate) plural: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) user_agent: &'a str,
}

/// A count of like requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestCount {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// Plural, with `/status` and the like for a subresource.
    pub resource: String,
    /// The `User-Agent` header.
    pub user_agent: String,
    /// How many.
    pub count: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counts(BTreeMap<(String, String, String), u64>);

/// A client that sends ever new names for itself does not fill the memory.
const MOST_ROWS: usize = 4096;

impl Seen<'_> {
    /// `pods`, `pods/status`
    pub(crate) fn resource(&self) -> Cow<'_, str> {
        if self.subresource.is_empty() {
            Cow::Borrowed(self.plural)
        } else {
            Cow::Owned(format!("{}/{}", self.plural, self.subresource))
        }
    }
}

impl Counts {
    pub(super) fn add(&mut self, seen: &Seen<'_>) {
        let key = (seen.verb.to_owned(), seen.resource().into_owned(), seen.user_agent.to_owned());
        if self.0.len() < MOST_ROWS || self.0.contains_key(&key) {
            *self.0.entry(key).or_default() += 1;
        }
    }

    pub(super) fn list(&self) -> Vec<RequestCount> {
        let row = |((verb, resource, user_agent), count): (&(String, String, String), &u64)| RequestCount {
            verb: verb.clone(),
            resource: resource.clone(),
            user_agent: user_agent.clone(),
            count: *count,
        };
        self.0.iter().map(row).collect()
    }

    pub(super) fn of(&self, verb: &str, resource: &str) -> u64 {
        let matches = |key: &(String, String, String)| key.0 == verb && key.1 == resource;
        self.0.iter().filter(|(key, _)| matches(key)).map(|(_, count)| count).sum()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
