//! Discovery: which groups, versions, resources and verbs there are, in the old form and the aggregated one.

use axum::body::Body;
use http::header::ACCEPT;
use http::{HeaderMap, Response};
use serde_json::{Value, json};

use super::respond::{json_value, with_type};
use super::route::EVENTS_GROUP;
use crate::apiserver::kind::{KINDS, Kind, KindInfo};
use crate::apiserver::object::encode;
use crate::apiserver::rules::ApiError;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// A resource or a subresource, as discovery shows it.
struct Resource {
    info: &'static KindInfo,
    group: &'static str,
    subresource: Option<Subresource>,
}

struct Subresource {
    name: &'static str,
    /// Group, version and kind of what is sent and answered.
    kind: (&'static str, &'static str, &'static str),
    verbs: &'static [&'static str],
}

/// `/api`
pub(super) fn core_versions(headers: &HeaderMap) -> Response<Body> {
    if wants_aggregated(headers) {
        return aggregated(&[""]);
    }
    json_value(
        200,
        &json!({
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [],
        }),
    )
}

/// `/apis`
pub(super) fn groups(headers: &HeaderMap) -> Response<Body> {
    let names = group_names();
    if wants_aggregated(headers) {
        return aggregated(&names);
    }
    let groups: Vec<Value> = names.iter().map(|name| group_value(name)).collect();
    json_value(200, &json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups }))
}

/// `/apis/apps`
pub(super) fn group(name: &str) -> Result<Response<Body>, ApiError> {
    if !group_names().contains(&name) {
        return Err(ApiError::no_such_path());
    }
    let mut group = group_value(name);
    if let Some(map) = group.as_object_mut() {
        map.insert("kind".to_owned(), json!("APIGroup"));
        map.insert("apiVersion".to_owned(), json!("v1"));
    }
    Ok(json_value(200, &group))
}

/// `/api/v1`, `/apis/apps/v1`
pub(super) fn resources(group: &str, version: &str) -> Result<Response<Body>, ApiError> {
    let found = resources_of(group);
    if found.is_empty() || version != version_of(group) {
        return Err(ApiError::no_such_path());
    }
    let mut list = Vec::new();
    for resource in &found {
        let info = resource.info;
        list.push(match &resource.subresource {
            None => json!({
                "name": info.plural,
                "singularName": info.singular,
                "namespaced": info.namespaced,
                "kind": info.name,
                "verbs": VERBS,
                "shortNames": info.short_names,
                "categories": info.categories,
            }),
            Some(sub) => {
                let (group, version, kind) = sub.kind;
                json!({
                    "name": format!("{}/{}", info.plural, sub.name),
                    "singularName": "",
                    "namespaced": info.namespaced,
                    "group": group,
                    "version": version,
                    "kind": kind,
                    "verbs": sub.verbs,
                })
            }
        });
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let body = json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": list,
    });
    Ok(json_value(200, &body))
}

/// `/version`
pub(super) fn version() -> Response<Body> {
    json_value(
        200,
        &json!({
            "major": "1",
            "minor": "36",
            "gitVersion": "v1.36.0+callsign-sandbox",
            "gitCommit": "",
            "gitTreeState": "clean",
            "buildDate": "1970-01-01T00:00:00Z",
            "goVersion": "",
            "compiler": "rustc",
            "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
        }),
    )
}

/// The groups besides the core.
pub(super) fn group_names() -> Vec<&'static str> {
    let mut names: Vec<&str> = Vec::new();
    for info in KINDS.iter().filter(|info| !info.group.is_empty()) {
        if !names.contains(&info.group) {
            names.push(info.group);
        }
    }
    names.push(EVENTS_GROUP);
    names
}

/// The version of a group: each has one.
pub(super) fn version_of(group: &str) -> &'static str {
    KINDS.iter().find(|info| info.group == group).map_or("v1", |info| info.version)
}

fn resources_of(group: &str) -> Vec<Resource> {
    let mut found = Vec::new();
    for info in KINDS {
        let shown = if group == EVENTS_GROUP { info.kind == Kind::Event } else { info.group == group };
        if !shown {
            continue;
        }
        let group = if group == EVENTS_GROUP { EVENTS_GROUP } else { info.group };
        found.push(Resource { info, group, subresource: None });
        for subresource in subresources(info) {
            found.push(Resource { info, group, subresource: Some(subresource) });
        }
    }
    found
}

fn subresources(info: &'static KindInfo) -> Vec<Subresource> {
    let own = (info.group, info.version, info.name);
    let mut found = Vec::new();
    if info.kind == Kind::Pod {
        found.push(Subresource { name: "binding", kind: ("", "v1", "Binding"), verbs: &["create"] });
        found.push(Subresource { name: "eviction", kind: ("policy", "v1", "Eviction"), verbs: &["create"] });
        let kind = ("", "v1", "PodProxyOptions");
        let verbs = &["create", "delete", "get", "patch", "update"];
        found.push(Subresource { name: "proxy", kind, verbs });
    }
    if info.kind == Kind::ServiceAccount {
        let kind = ("authentication.k8s.io", "v1", "TokenRequest");
        found.push(Subresource { name: "token", kind, verbs: &["create"] });
    }
    if info.kind == Kind::Namespace {
        found.push(Subresource { name: "finalize", kind: own, verbs: &["update"] });
    }
    if info.scale {
        let kind = ("autoscaling", "v1", "Scale");
        found.push(Subresource { name: "scale", kind, verbs: &["get", "patch", "update"] });
    }
    if info.status {
        found.push(Subresource { name: "status", kind: own, verbs: &["get", "patch", "update"] });
    }
    found
}

fn group_value(name: &str) -> Value {
    let version = version_of(name);
    let version = json!({ "groupVersion": format!("{name}/{version}"), "version": version });
    json!({ "name": name, "versions": [version], "preferredVersion": version })
}

fn wants_aggregated(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|range| {
        let has = |wanted: &str| range.split(';').any(|part| part.trim() == wanted);
        has("as=APIGroupDiscoveryList") && has("v=v2")
    })
}

fn aggregated(groups: &[&str]) -> Response<Body> {
    let items: Vec<Value> = groups
        .iter()
        .map(|group| {
            let version =
                json!({ "version": version_of(group), "resources": aggregated_resources(group), "freshness": "Current" });
            let metadata = if group.is_empty() { json!({}) } else { json!({ "name": group }) };
            json!({ "metadata": metadata, "versions": [version] })
        })
        .collect();
    let body = json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    });
    with_type(200, Body::from(encode(&body)), AGGREGATED)
}

fn aggregated_resources(group: &str) -> Vec<Value> {
    let all = resources_of(group);
    let whole = all.iter().filter(|resource| resource.subresource.is_none());
    whole
        .map(|resource| {
            let info = resource.info;
            let parts = all.iter().filter(|part| part.info.kind == info.kind);
            let parts: Vec<Value> = parts
                .filter_map(|part| part.subresource.as_ref())
                .map(|sub| {
                    let (group, version, kind) = sub.kind;
                    json!({
                        "subresource": sub.name,
                        "responseKind": { "group": group, "version": version, "kind": kind },
                        "verbs": sub.verbs,
                    })
                })
                .collect();
            json!({
                "resource": info.plural,
                "responseKind": { "group": resource.group, "version": info.version, "kind": info.name },
                "scope": if info.namespaced { "Namespaced" } else { "Cluster" },
                "singularResource": info.singular,
                "verbs": VERBS,
                "shortNames": info.short_names,
                "categories": info.categories,
                "subresources": parts,
            })
        })
        .collect()
}
