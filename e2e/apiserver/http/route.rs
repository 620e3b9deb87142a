//! From a path to what it is about.

use crate::apiserver::kind::{KINDS, Kind};

/// What a path is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `/api`
    CoreVersions,
    /// `/apis`
    Groups,
    /// `/apis/apps`
    Group(String),
    /// `/api/v1`, `/apis/apps/v1`: group and version.
    Resources(String, String),
    /// `/openapi/v3`
    OpenApi,
    /// `/openapi/v2`
    OpenApi2,
    /// `/openapi/v3/apis/apps/v1`: what follows `/openapi/v3/`.
    OpenApiOf(String),
    /// `/version`
    Version,
    /// `/healthz` and its like.
    Health,
    /// `/_faults`
    Faults,
    /// A review of who may do what or who somebody is, with the namespace in its path.
    Review(Review, String),
    /// What a pod itself answers.
    Proxy(ProxyTarget),
    /// Objects.
    Objects(Target),
    /// Nothing.
    Nowhere,
}

/// The kinds of reviews.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Review {
    SelfAccess,
    SelfRules,
    Access,
    LocalAccess,
    SelfSubject,
    Token,
}

/// A pod, one of its ports, and what is asked for behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProxyTarget {
    pub(super) namespace: String,
    /// `NAME`, `NAME:PORT` or `SCHEME:NAME:PORT`
    pub(super) pod: String,
    /// With its leading slash.
    pub(super) path: String,
}

/// Objects of a kind, or one of them, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The kind.
    pub(super) kind: Kind,
    /// Addressed as `events.k8s.io/v1`.
    pub(super) events_v1: bool,
    /// Empty for all namespaces and for cluster-wide kinds.
    pub(super) namespace: String,
    /// Empty for a collection.
    pub(super) name: String,
    /// Empty for the object itself.
    pub(super) subresource: String,
}

/// The group whose events have another shape.
pub(super) const EVENTS_GROUP: &str = "events.k8s.io";

impl Route {
    /// Reads a path.
    pub(super) fn of(path: &str) -> Self {
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        match segments.as_slice() {
            ["api"] => Self::CoreVersions,
            ["apis"] => Self::Groups,
            ["api", version] => Self::Resources(String::new(), (*version).to_owned()),
            ["apis", group] => Self::Group((*group).to_owned()),
            ["apis", group, version] => Self::Resources((*group).to_owned(), (*version).to_owned()),
            ["api", "v1", "namespaces", namespace, "pods", pod, "proxy", ..] => Self::Proxy(ProxyTarget {
                namespace: (*namespace).to_owned(),
                pod: pod.replace("%3A", ":").replace("%3a", ":"),
                path: behind_proxy(path),
            }),
            ["api", version, rest @ ..] => objects("", version, rest),
            ["apis", "authorization.k8s.io", "v1", "namespaces", namespace, "localsubjectaccessreviews"] => {
                Self::Review(Review::LocalAccess, (*namespace).to_owned())
            }
            ["apis", group @ ("authorization.k8s.io" | "authentication.k8s.io"), "v1", plural] => {
                review(group, plural).map_or(Self::Nowhere, |kind| Self::Review(kind, String::new()))
            }
            ["apis", group, version, rest @ ..] => objects(group, version, rest),
            ["openapi", "v2"] => Self::OpenApi2,
            ["openapi", "v3"] => Self::OpenApi,
            ["openapi", "v3", rest @ ..] => Self::OpenApiOf(rest.join("/")),
            ["version"] => Self::Version,
            ["healthz" | "readyz" | "livez", ..] => Self::Health,
            ["_faults"] => Self::Faults,
            _ => Self::Nowhere,
        }
    }
}

fn review(group: &str, plural: &str) -> Option<Review> {
    match (group, plural) {
        ("authorization.k8s.io", "selfsubjectaccessreviews") => Some(Review::SelfAccess),
        ("authorization.k8s.io", "selfsubjectrulesreviews") => Some(Review::SelfRules),
        ("authorization.k8s.io", "subjectaccessreviews") => Some(Review::Access),
        ("authentication.k8s.io", "selfsubjectreviews") => Some(Review::SelfSubject),
        ("authentication.k8s.io", "tokenreviews") => Some(Review::Token),
        _ => None,
    }
}

/// What follows `/proxy`, as it was sent.
fn behind_proxy(path: &str) -> String {
    // Behind `/api/v1/namespaces/NAMESPACE/pods/POD/proxy`.
    let rest = path.trim_start_matches('/').splitn(8, '/').nth(7).unwrap_or_default();
    format!("/{rest}")
}

fn objects(group: &str, version: &str, rest: &[&str]) -> Route {
    // `/namespaces/shop` is an object, `/namespaces/shop/pods` a collection and `/namespaces/shop/status` a part.
    let (namespace, rest) = match rest {
        ["namespaces", _, "status" | "finalize"] => ("", rest),
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
        _ => ("", rest),
    };
    let (plural, name, subresource) = match rest {
        [plural] => (*plural, "", ""),
        [plural, name] => (*plural, *name, ""),
        [plural, name, subresource] => (*plural, *name, *subresource),
        _ => return Route::Nowhere,
    };
    let events_v1 = group == EVENTS_GROUP && plural == "events";
    let group = if events_v1 { "" } else { group };
    let found =
        KINDS.iter().find(|info| info.group == group && info.version == version && info.plural == plural);
    let Some(info) = found else { return Route::Nowhere };
    // A namespaced object needs its namespace; a cluster-wide one has none.
    if info.namespaced == namespace.is_empty() && !(info.namespaced && name.is_empty()) {
        return Route::Nowhere;
    }
    Route::Objects(Target {
        kind: info.kind,
        events_v1,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        subresource: subresource.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(path: &str) -> Option<(Kind, String, String, String)> {
        match Route::of(path) {
            Route::Objects(it) => Some((it.kind, it.namespace, it.name, it.subresource)),
            _ => None,
        }
    }

    #[test]
    fn paths_are_collections_objects_and_parts() {
        let cases = [
            ("/api/v1/pods", Some((Kind::Pod, "", "", ""))),
            ("/api/v1/namespaces/shop/pods", Some((Kind::Pod, "shop", "", ""))),
            ("/api/v1/namespaces/shop/pods/web", Some((Kind::Pod, "shop", "web", ""))),
            ("/api/v1/namespaces/shop/pods/web/status", Some((Kind::Pod, "shop", "web", "status"))),
            ("/api/v1/namespaces", Some((Kind::Namespace, "", "", ""))),
            ("/api/v1/namespaces/shop", Some((Kind::Namespace, "", "shop", ""))),
            ("/api/v1/namespaces/shop/finalize", Some((Kind::Namespace, "", "shop", "finalize"))),
            ("/api/v1/namespaces/status/pods", Some((Kind::Pod, "status", "", ""))),
            ("/api/v1/nodes/node-a", Some((Kind::Node, "", "node-a", ""))),
            ("/apis/apps/v1/deployments", Some((Kind::Deployment, "", "", ""))),
            ("/api/v1/deployments", None),
            ("/apis/apps/v2/deployments", None),
            ("/api/v1/pods/web", None),
            ("/api/v1/namespaces/shop/nodes/node-a", None),
            ("/api/v1/namespaces/a/pods/b/c/d", None),
        ];
        for (path, wanted) in cases {
            let wanted = wanted.map(|(kind, namespace, name, part)| {
                (kind, namespace.to_owned(), name.to_owned(), part.to_owned())
            });
            assert_eq!(target(path), wanted, "{path}");
        }
    }

    #[test]
    fn events_have_two_groups_and_one_storage() {
        let Route::Objects(old) = Route::of("/api/v1/namespaces/shop/events") else { panic!() };
        let Route::Objects(new) = Route::of("/apis/events.k8s.io/v1/namespaces/shop/events") else {
            panic!()
        };
        assert!(!old.events_v1 && new.events_v1 && old.kind == new.kind);
    }

    #[test]
    fn the_other_paths() {
        assert_eq!(Route::of("/api"), Route::CoreVersions);
        assert_eq!(Route::of("/apis/apps/v1"), Route::Resources("apps".to_owned(), "v1".to_owned()));
        assert_eq!(Route::of("/openapi/v3/apis/apps/v1"), Route::OpenApiOf("apis/apps/v1".to_owned()));
        assert_eq!(Route::of("/readyz/etcd"), Route::Health);
        assert_eq!(Route::of("/"), Route::Nowhere);
    }
}
