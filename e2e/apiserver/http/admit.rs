//! Who a request is from, and whether it may go on: authentication, impersonation, authorization
//! (`k8s.io/apiserver/pkg/endpoints/filters`).

use http::header::AUTHORIZATION;
use http::{HeaderMap, Request};
use serde_json::json;

use super::Http;
use crate::apiserver::access::{Asked, Decision, ObjectAsked, User, What};
use crate::apiserver::rules::ApiError;

const AS_USER: &str = "impersonate-user";
const AS_GROUP: &str = "impersonate-group";
const AS_UID: &str = "impersonate-uid";
const AS_EXTRA: &str = "impersonate-extra-";

impl Http {
    /// The user a request is from, or on whose behalf it is made, when that user may make it.
    pub(super) fn admit<B>(&self, request: &Request<B>) -> Result<User, ApiError> {
        if !self.access.is_enforced() {
            return Ok(User::trusted());
        }
        let user = self.impersonated(self.authenticated(request.headers())?, request.headers())?;
        self.authorize(&user, &Asked::of(request.method(), request.uri()))?;
        Ok(user)
    }

    /// 403 unless the user may.
    pub(super) fn authorize(&self, user: &User, asked: &Asked) -> Result<(), ApiError> {
        match self.access.decide(user, asked) {
            Decision::Allowed(_) => Ok(()),
            Decision::Denied(why) => Err(denied(user, asked, &why)),
        }
    }

    fn authenticated(&self, headers: &HeaderMap) -> Result<User, ApiError> {
        let Some(value) = headers.get(AUTHORIZATION) else { return Ok(User::anonymous()) };
        let token = value.to_str().ok().and_then(|value| {
            let (scheme, token) = value.trim().split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
        });
        match token.filter(|token| !token.is_empty()) {
            // Other schemes are nobody's, and so is an empty token.
            None => Ok(User::anonymous()),
            Some(token) => self.access.user_of(token).ok_or_else(unauthorized),
        }
    }

    /// The user the headers name, if whoever sends them may act as that user.
    fn impersonated(&self, user: User, headers: &HeaderMap) -> Result<User, ApiError> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let name = text(AS_USER);
        let groups: Vec<String> = headers
            .get_all(AS_GROUP)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .map(str::to_owned)
            .collect();
        let extra: Vec<(String, String)> = headers
            .iter()
            .filter_map(|(key, value)| Some((key.as_str().strip_prefix(AS_EXTRA)?, value.to_str().ok()?)))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let uid = text(AS_UID);
        if name.is_empty() {
            let others = !groups.is_empty() || !extra.is_empty() || !uid.is_empty();
            let why = "requested groups, a uid or extra data without impersonating a user";
            return if others { Err(ApiError::internal(why)) } else { Ok(user) };
        }
        let mut other = User::new(name, groups.iter().cloned());
        let whom = match other.as_account() {
            Some((namespace, name)) => impersonate("", "serviceaccounts", "", namespace, name),
            None => impersonate("", "users", "", "", name),
        };
        self.authorize(&user, &whom)?;
        for group in &groups {
            self.authorize(&user, &impersonate("", "groups", "", "", group))?;
        }
        const AUTHENTICATION: &str = "authentication.k8s.io";
        if !uid.is_empty() {
            self.authorize(&user, &impersonate(AUTHENTICATION, "uids", "", "", uid))?;
            uid.clone_into(&mut other.uid);
        }
        for (key, value) in extra {
            self.authorize(&user, &impersonate(AUTHENTICATION, "userextras", &key, "", &value))?;
            other.extra.entry(key).or_default().push(value);
        }
        Ok(other)
    }
}

fn impersonate(group: &str, resource: &str, part: &str, namespace: &str, name: &str) -> Asked {
    let object = ObjectAsked {
        group: group.to_owned(),
        resource: resource.to_owned(),
        subresource: part.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    Asked::object("impersonate", object)
}

/// 401
fn unauthorized() -> ApiError {
    ApiError { code: 401, reason: "Unauthorized", message: "Unauthorized".to_owned(), details: None }
}

/// 403 in the words of `apierrors.NewForbidden`.
fn denied(user: &User, asked: &Asked, why: &str) -> ApiError {
    let mut text = format!("User {:?} {asked}", user.name);
    if !why.is_empty() {
        text = format!("{text}: {why}");
    }
    let (message, details) = match &asked.what {
        What::Path(_) => (format!("forbidden: {text}"), json!({})),
        What::Object(object) => {
            let dot = if object.group.is_empty() { "" } else { "." };
            let resource = format!("{}{dot}{}", object.resource, object.group);
            let named =
                if object.name.is_empty() { resource } else { format!("{resource} {:?}", object.name) };
            let mut details = json!({ "kind": object.resource });
            for (key, value) in [("name", &object.name), ("group", &object.group)] {
                if !value.is_empty() {
                    crate::apiserver::rules::value::set(&mut details, &[key], value.as_str());
                }
            }
            (format!("{named} is forbidden: {text}"), details)
        }
    };
    ApiError { code: 403, reason: "Forbidden", message, details: Some(details) }
}
