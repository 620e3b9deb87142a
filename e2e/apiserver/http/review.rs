//! What `kubectl auth` and other servers ask: who may do what, and who somebody is. The same function answers that
//! decides about requests.

use axum::body::Body;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use serde_json::{Map, Value, json};

use super::Http;
use super::body::{parse, read};
use super::respond::json_value;
use super::route::Review;
use crate::apiserver::access::{Asked, Decision, MASTERS, ObjectAsked, Rule, User, What};
use crate::apiserver::rules::ApiError;
use crate::apiserver::rules::value::{at, set, strings, text};

impl Http {
    pub(super) async fn review(
        &self,
        kind: Review,
        namespace: &str,
        user: &User,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, ApiError> {
        if request.method() != Method::POST {
            return Err(ApiError::method_not_allowed());
        }
        let (head, body) = request.into_parts();
        let mut review: Value = parse(&head.headers, &read(body).await?)?;
        let spec = at(&review, &["spec"]).cloned().unwrap_or_else(|| json!({}));
        let status = match kind {
            Review::SelfAccess => self.access_status(user, &asked(&spec)?),
            Review::Access => self.access_status(&subject(&spec)?, &asked(&spec)?),
            Review::LocalAccess => {
                if text(&spec, &["resourceAttributes", "namespace"]) != namespace {
                    let why = "spec.resourceAttributes.namespace must match metadata.namespace";
                    return Err(ApiError::bad_request(why));
                }
                self.access_status(&subject(&spec)?, &asked(&spec)?)
            }
            Review::SelfRules => match text(&spec, &["namespace"]) {
                "" => return Err(ApiError::bad_request("no namespace on request")),
                namespace => self.rules_status(user, namespace),
            },
            Review::SelfSubject => json!({ "userInfo": info(user) }),
            Review::Token => match self.access.user_of(text(&spec, &["token"])) {
                Some(user) => json!({ "authenticated": true, "user": info(&user) }),
                None => json!({ "error": "invalid bearer token", "user": {} }),
            },
        };
        set(&mut review, &["status"], status);
        Ok(json_value(201, &review))
    }

    fn access_status(&self, user: &User, asked: &Asked) -> Value {
        let decision = if self.access.is_enforced() {
            self.access.policy().decide(user, asked)
        } else {
            Decision::Allowed("everybody is trusted".to_owned())
        };
        let (allowed, reason) = match decision {
            Decision::Allowed(why) => (true, why),
            Decision::Denied(why) => (false, why),
        };
        let mut status = json!({ "allowed": allowed });
        if !reason.is_empty() {
            set(&mut status, &["reason"], reason);
        }
        status
    }

    fn rules_status(&self, user: &User, namespace: &str) -> Value {
        let everything =
            || Rule { verbs: all(), groups: all(), resources: all(), paths: all(), names: Vec::new() };
        let rules = if !self.access.is_enforced() || user.is_in(MASTERS) {
            vec![everything()]
        } else {
            self.access.policy().rules_of(user, namespace)
        };
        let of_objects = rules.iter().filter(|rule| !rule.resources.is_empty()).map(|rule| {
            let mut value = json!({
                "verbs": rule.verbs, "apiGroups": rule.groups, "resources": rule.resources,
            });
            if !rule.names.is_empty() {
                set(&mut value, &["resourceNames"], rule.names.clone());
            }
            value
        });
        let of_paths = rules
            .iter()
            .filter(|rule| !rule.paths.is_empty())
            .map(|rule| json!({ "verbs": rule.verbs, "nonResourceURLs": rule.paths }));
        json!({
            "incomplete": false,
            "resourceRules": of_objects.collect::<Vec<_>>(),
            "nonResourceRules": of_paths.collect::<Vec<_>>(),
        })
    }
}

fn all() -> Vec<String> {
    vec!["*".to_owned()]
}

/// What a review is about.
fn asked(spec: &Value) -> Result<Asked, ApiError> {
    let objects = at(spec, &["resourceAttributes"]);
    let path = at(spec, &["nonResourceAttributes"]);
    match (objects, path) {
        (Some(objects), None) => {
            let part = |key: &str| text(objects, &[key]).to_owned();
            let object = ObjectAsked {
                group: part("group"),
                resource: part("resource"),
                subresource: part("subresource"),
                namespace: part("namespace"),
                name: part("name"),
            };
            Ok(Asked::object(text(objects, &["verb"]), object))
        }
        (None, Some(path)) => Ok(Asked {
            verb: text(path, &["verb"]).to_owned(),
            what: What::Path(text(path, &["path"]).to_owned()),
        }),
        _ => Err(ApiError::bad_request(
            "exactly one of spec.resourceAttributes and spec.nonResourceAttributes must be specified",
        )),
    }
}

/// Whom a review is about. Its groups are those it states, no more.
fn subject(spec: &Value) -> Result<User, ApiError> {
    let groups: Vec<String> = strings(spec, &["groups"]).into_iter().map(str::to_owned).collect();
    let (name, uid) = (text(spec, &["user"]).to_owned(), text(spec, &["uid"]).to_owned());
    if name.is_empty() && groups.is_empty() {
        return Err(ApiError::bad_request("at least one of spec.user and spec.groups must be specified"));
    }
    Ok(User { name, uid, groups, ..User::default() })
}

/// `authentication.k8s.io/v1 UserInfo`
fn info(user: &User) -> Value {
    let mut info = Map::new();
    info.insert("username".to_owned(), json!(user.name));
    if !user.uid.is_empty() {
        info.insert("uid".to_owned(), json!(user.uid));
    }
    info.insert("groups".to_owned(), json!(user.groups));
    if !user.extra.is_empty() {
        info.insert("extra".to_owned(), json!(user.extra));
    }
    Value::Object(info)
}
