//! What a request asks for, as the authorizer sees it.
//!
//! Read from method, path and query alone (`k8s.io/apiserver/pkg/endpoints/request/requestinfo.go`), so that what the
//! server does not have is refused before it is not found, too.

use std::fmt;

use axum::extract::Query;
use http::{Method, Uri};

use crate::apiserver::rules::value::truth;

/// A verb, and what it is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; of a path the method.
    pub verb: String,
    /// An object or a path.
    pub what: What,
}

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// Objects of a resource, or one of them.
    Object(ObjectAsked),
    /// Something else, by its path.
    Path(String),
}

/// Objects of a resource, or one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectAsked {
    /// Empty for the core group.
    pub group: String,
    /// Lower-case plural.
    pub resource: String,
    /// Empty for the object itself.
    pub subresource: String,
    /// Empty for the whole cluster.
    pub namespace: String,
    /// Empty where a request names none: lists, creates.
    pub name: String,
}

/// Parts of a namespace that are no resources in it.
const NAMESPACE_PARTS: [&str; 2] = ["status", "finalize"];

impl Asked {
    /// Reads a request.
    pub fn of(method: &Method, uri: &Uri) -> Self {
        let path = || {
            let verb = method.as_str().to_lowercase();
            Self { verb, what: What::Path(uri.path().to_owned()) }
        };
        let segments: Vec<&str> = uri.path().split('/').filter(|segment| !segment.is_empty()).collect();
        let (group, rest) = match segments.as_slice() {
            ["api", _version, rest @ ..] if !rest.is_empty() => ("", rest),
            ["apis", group, _version, rest @ ..] if !rest.is_empty() => (*group, rest),
            _ => return path(),
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, part, ..] if NAMESPACE_PARTS.contains(part) => (*namespace, rest),
            ["namespaces", namespace, inner @ ..] if !inner.is_empty() => (*namespace, inner),
            ["namespaces", namespace] => (*namespace, rest),
            _ => ("", rest),
        };
        let part = |index: usize| rest.get(index).copied().unwrap_or_default().to_owned();
        let mut object = ObjectAsked {
            group: group.to_owned(),
            resource: part(0),
            name: part(1),
            subresource: part(2),
            namespace: namespace.to_owned(),
        };
        let verb = match *method {
            Method::GET | Method::HEAD if object.name.is_empty() => {
                let query = ListQuery::of(uri);
                object.name = query.name;
                if query.watch { "watch" } else { "list" }
            }
            Method::GET | Method::HEAD => "get",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if object.name.is_empty() => "deletecollection",
            Method::DELETE => "delete",
            _ => "",
        };
        Self { verb: verb.to_owned(), what: What::Object(object) }
    }

    /// A question about objects.
    pub fn object(verb: &str, object: ObjectAsked) -> Self {
        Self { verb: verb.to_owned(), what: What::Object(object) }
    }
}

/// What the query of a list says that matters here.
#[derive(Default)]
struct ListQuery {
    watch: bool,
    name: String,
}

impl ListQuery {
    fn of(uri: &Uri) -> Self {
        let Ok(Query(pairs)) = Query::<Vec<(String, String)>>::try_from_uri(uri) else {
            return Self::default();
        };
        let value = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let selector = value("fieldSelector").unwrap_or_default().split(',').find_map(|term| {
            let name = term.trim().strip_prefix("metadata.name=")?;
            Some(name.strip_prefix('=').unwrap_or(name))
        });
        // A name that no path could hold is none.
        let name = selector.filter(|name| !name.contains(['/', '%']) && !matches!(*name, "." | ".."));
        Self { watch: value("watch").is_some_and(truth), name: name.unwrap_or_default().to_owned() }
    }
}

impl ObjectAsked {
    /// `pods`, `pods/status`
    pub fn resource(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }
}

/// As kube-apiserver says what it does not allow: `cannot list resource "services" in API group "" at the cluster scope`.
impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Path(path) => write!(f, "cannot {} path {path:?}", self.verb),
            What::Object(object) => {
                let resource = object.resource();
                write!(f, "cannot {} resource {resource:?} in API group {:?} ", self.verb, object.group)?;
                if object.namespace.is_empty() {
                    f.write_str("at the cluster scope")
                } else {
                    write!(f, "in the namespace {:?}", object.namespace)
                }
            }
        }
    }
}
