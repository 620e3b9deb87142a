//! The query parameters of a request about objects.

use axum::extract::Query;
use http::Uri;

use super::form::Include;
use crate::apiserver::kind::Kind;
use crate::apiserver::rules::ApiError;
use crate::apiserver::rules::selector::{FieldSelector, LabelSelector, parse_fields, parse_labels};
use crate::apiserver::rules::value::truth;
use crate::apiserver::write::{UnknownFields, WriteOptions};

/// All parameters, read and checked.
#[derive(Debug, Default)]
pub(super) struct Params {
    pub(super) limit: usize,
    pub(super) from: String,
    /// As sent; what it may be depends on the verb.
    pub(super) version: Option<u64>,
    pub(super) version_match: Option<VersionMatch>,
    pub(super) labels: LabelSelector,
    pub(super) fields: FieldSelector,
    pub(super) watch: bool,
    pub(super) bookmarks: bool,
    pub(super) initial_events: Option<bool>,
    pub(super) timeout_seconds: Option<u64>,
    pub(super) include: Include,
    pub(super) force: bool,
    pub(super) dry_run: bool,
    pub(super) grace_period_seconds: Option<i64>,
    pub(super) propagation_policy: Option<String>,
    manager: Option<String>,
    unknown_fields: UnknownFields,
}

/// `resourceVersionMatch`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VersionMatch {
    Exact,
    NotOlderThan,
}

impl Params {
    /// Reads the query of a request about a kind.
    pub(super) fn of(uri: &Uri, kind: Kind) -> Result<Self, ApiError> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|error| ApiError::bad_request(format!("invalid query: {error}")))?;
        let mut params = Self::default();
        for (name, value) in &pairs {
            params.take(kind, name, value)?;
        }
        Ok(params)
    }

    /// What a write needs to know; a client that gives no manager is called by its `User-Agent`.
    pub(super) fn write_options(&self, user_agent: &str) -> WriteOptions {
        let agent = user_agent.split('/').next().filter(|name| !name.is_empty()).unwrap_or("unknown");
        WriteOptions {
            manager: self.manager.clone().unwrap_or_else(|| agent.to_owned()),
            dry_run: self.dry_run,
            unknown_fields: self.unknown_fields,
        }
    }

    /// The manager the client named.
    pub(super) fn manager(&self) -> Option<&str> {
        self.manager.as_deref()
    }

    fn take(&mut self, kind: Kind, name: &str, value: &str) -> Result<(), ApiError> {
        let invalid =
            || ApiError::bad_request(format!("invalid value {value:?} for query parameter {name:?}"));
        match name {
            "limit" if !value.is_empty() => self.limit = value.parse().map_err(|_| invalid())?,
            "continue" => value.clone_into(&mut self.from),
            "resourceVersion" if !value.is_empty() => {
                self.version = Some(value.parse().map_err(|_| invalid_version(value))?);
            }
            "resourceVersionMatch" if !value.is_empty() => self.version_match = Some(version_match(value)?),
            "labelSelector" => self.labels = parse_labels(value)?,
            "fieldSelector" => self.fields = parse_fields(kind, value)?,
            "watch" => self.watch = truth(value),
            "allowWatchBookmarks" => self.bookmarks = truth(value),
            "sendInitialEvents" if !value.is_empty() => self.initial_events = Some(truth(value)),
            "timeoutSeconds" if !value.is_empty() => {
                self.timeout_seconds = Some(value.parse().map_err(|_| invalid())?);
            }
            "includeObject" if !value.is_empty() => {
                self.include = Include::of(value).ok_or_else(invalid)?;
            }
            "force" => self.force = truth(value),
            "dryRun" if value == "All" => self.dry_run = true,
            "dryRun" if !value.is_empty() => return Err(invalid()),
            "gracePeriodSeconds" if !value.is_empty() => {
                self.grace_period_seconds = Some(value.parse().map_err(|_| invalid())?);
            }
            "propagationPolicy" if !value.is_empty() => self.propagation_policy = Some(value.to_owned()),
            "fieldManager" if !value.is_empty() => self.manager = Some(value.to_owned()),
            "fieldValidation" => {
                self.unknown_fields = match value {
                    "Ignore" => UnknownFields::Ignore,
                    "Warn" | "" => UnknownFields::Warn,
                    "Strict" => UnknownFields::Strict,
                    _ => return Err(invalid()),
                };
            }
            // Parameters nobody knows are ignored, as the real server does.
            _ => {}
        }
        Ok(())
    }
}

fn version_match(value: &str) -> Result<VersionMatch, ApiError> {
    match value {
        "Exact" => Ok(VersionMatch::Exact),
        "NotOlderThan" => Ok(VersionMatch::NotOlderThan),
        other => Err(ApiError::bad_request(format!(
            "resourceVersionMatch: Unsupported value: {other:?}: supported values: \"Exact\", \"NotOlderThan\""
        ))),
    }
}

fn invalid_version(value: &str) -> ApiError {
    ApiError::bad_request(format!("resourceVersion: Invalid value: {value:?}: invalid syntax"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Params, ApiError> {
        Params::of(&format!("/api/v1/pods?{query}").parse().unwrap(), Kind::Pod)
    }

    #[test]
    fn a_query_is_read_and_nonsense_is_a_bad_request() {
        let params =
            read("limit=5&resourceVersion=7&resourceVersionMatch=Exact&watch=1&dryRun=All&x=y").unwrap();
        assert_eq!((params.limit, params.version), (5, Some(7)));
        assert_eq!(params.version_match, Some(VersionMatch::Exact));
        assert!(params.watch && params.dry_run && !params.bookmarks);
        for wrong in
            ["limit=x", "resourceVersion=abc", "resourceVersionMatch=x", "dryRun=Some", "fieldValidation=x"]
        {
            assert_eq!(read(wrong).unwrap_err().code, 400, "{wrong}");
        }
    }

    #[test]
    fn a_manager_is_named_or_called_by_its_agent() {
        assert_eq!(read("").unwrap().write_options("kubectl/v1.36 (linux)").manager, "kubectl");
        assert_eq!(read("fieldManager=me").unwrap().write_options("kubectl/v1.36").manager, "me");
        assert_eq!(read("").unwrap().write_options("").manager, "unknown");
    }
}
