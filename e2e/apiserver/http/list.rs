//! Lists: which version a client gets, and pages that belong together.

use std::sync::Arc;

use axum::body::Body;
use http::Response;

use super::Http;
use super::form::{ListMeta, View};
use super::params::{Params, VersionMatch};
use super::respond::json_bytes;
use super::route::Target;
use crate::apiserver::log::Lost;
use crate::apiserver::object::{Key, Object};
use crate::apiserver::rules::ApiError;
use crate::apiserver::store::Scope;

/// A `continue` token: the version of the first page, and the key the next page begins behind. Opaque to clients,
/// legible to whoever debugs one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    version: u64,
    after: Key,
}

/// What a list reads.
enum Read {
    /// What there is now.
    Newest,
    /// What there was at a version, behind a key.
    At(u64, Option<Key>),
}

impl Target {
    pub(super) fn scope(&self) -> Scope<'_> {
        if self.namespace.is_empty() { Scope::All } else { Scope::Namespace(&self.namespace) }
    }

    pub(super) fn key(&self) -> Key {
        Key::new(&self.namespace, &self.name)
    }
}

impl Http {
    pub(super) fn list(
        &self,
        target: &Target,
        params: &Params,
        view: &View,
        keep: Option<usize>,
    ) -> Result<Response<Body>, ApiError> {
        let read = self.what_to_read(params)?;
        // The watch cache, which serves version 0, has no pages.
        let limit = if params.limit == 0 || (params.version == Some(0) && params.from.is_empty()) {
            usize::MAX
        } else {
            params.limit
        };
        let (objects, version, after) = match read {
            Read::Newest => {
                let (objects, version) = self.store.list(target.kind, target.scope());
                (objects, version, None)
            }
            Read::At(version, after) => {
                let objects = self.store.list_at(target.kind, target.scope(), version);
                (objects.map_err(|Lost| expired(&params.from))?, version, after)
            }
        };
        let behind = |object: &&Arc<Object>| after.as_ref().is_none_or(|after| object.key > *after);
        let matching = objects.iter().filter(behind).filter(|object| selects(params, object));
        let mut matching = matching.take(keep.unwrap_or(usize::MAX));
        let page: Vec<&Object> = matching.by_ref().take(limit).map(Arc::as_ref).collect();
        let rest = matching.count();
        let next = page.last().filter(|_| rest > 0).map(|last| Token { version, after: last.key.clone() });
        // The real server does not count what a selector hides.
        let counted = params.labels.is_empty() && params.fields.is_empty();
        let remaining = (rest > 0 && counted).then_some(rest);
        let meta = ListMeta { version, next: next.map(|token| token.write()), remaining };
        Ok(json_bytes(200, view.list(page.into_iter(), &meta)))
    }

    fn what_to_read(&self, params: &Params) -> Result<Read, ApiError> {
        if !params.from.is_empty() {
            if params.version.is_some_and(|version| version != 0) {
                return Err(ApiError::bad_request(
                    "specifying resource version is not allowed when using continue",
                ));
            }
            let token = Token::read(&params.from)?;
            return Ok(Read::At(token.version, Some(token.after)));
        }
        let Some(version) = params.version else {
            return match params.version_match {
                Some(_) => Err(forbidden_match(
                    "resourceVersionMatch is forbidden unless resourceVersion is provided",
                )),
                None => Ok(Read::Newest),
            };
        };
        let newest = self.store.version();
        if version > newest {
            let mut error =
                ApiError::timeout(&format!("Too large resource version: {version}, current: {newest}"), 1);
            if let Some(details) = error.details.as_mut().and_then(serde_json::Value::as_object_mut) {
                let cause = serde_json::json!({
                    "reason": "ResourceVersionTooLarge",
                    "message": "Too large resource version",
                });
                details.insert("causes".to_owned(), serde_json::json!([cause]));
            }
            return Err(error);
        }
        match params.version_match {
            Some(VersionMatch::Exact) if version == 0 => {
                Err(forbidden_match("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""))
            }
            Some(VersionMatch::Exact) => Ok(Read::At(version, None)),
            Some(VersionMatch::NotOlderThan) => Ok(Read::Newest),
            // Without a match, a page is of that very version, and a whole list is at least as new.
            None if params.limit > 0 && version > 0 => Ok(Read::At(version, None)),
            None => Ok(Read::Newest),
        }
    }
}

/// Whether an object is one of those asked for.
pub(super) fn selects(params: &Params, object: &Object) -> bool {
    params.labels.matches(object.labels()) && params.fields.matches(&object.value)
}

impl Token {
    fn write(&self) -> String {
        format!("{}:{}/{}", self.version, self.after.namespace, self.after.name)
    }

    fn read(text: &str) -> Result<Self, ApiError> {
        let parts = text.split_once(':').and_then(|(version, key)| Some((version, key.split_once('/')?)));
        let token = parts.and_then(|(version, (namespace, name))| {
            Some(Self { version: version.parse().ok()?, after: Key::new(namespace, name) })
        });
        token.ok_or_else(|| ApiError::bad_request(format!("continue key is not valid: {text:?}")))
    }
}

fn expired(token: &str) -> ApiError {
    if token.is_empty() {
        return ApiError::expired("The resourceVersion for the provided list is too old.");
    }
    ApiError::expired(
        "The provided continue parameter is too old to display a consistent list result. You must start a new list \
         without the continue parameter.",
    )
}

/// 422 about the options of a list.
pub(super) fn forbidden_match(why: &str) -> ApiError {
    invalid_options("resourceVersionMatch", why)
}

/// `ListOptions.meta.k8s.io "" is invalid: field: Forbidden: why`
pub(super) fn invalid_options(field: &str, why: &str) -> ApiError {
    let cause = serde_json::json!({
        "reason": "FieldValueForbidden",
        "message": format!("Forbidden: {why}"),
        "field": field,
    });
    ApiError {
        code: 422,
        reason: "Invalid",
        message: format!("ListOptions.meta.k8s.io \"\" is invalid: {field}: Forbidden: {why}"),
        details: Some(serde_json::json!({
            "group": "meta.k8s.io", "kind": "ListOptions", "causes": [cause],
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written() {
        for key in [Key::new("shop", "web"), Key::new("", "node-a")] {
            let token = Token { version: 12, after: key };
            assert_eq!(Token::read(&token.write()).unwrap(), token);
        }
        for wrong in ["", "x", "12:web", "x:shop/web"] {
            assert_eq!(Token::read(wrong).unwrap_err().code, 400, "{wrong}");
        }
    }
}
