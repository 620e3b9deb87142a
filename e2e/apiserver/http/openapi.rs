//! OpenAPI: as much as `kubectl` needs to trust the server's own validation. It looks for the patch operation of a
//! kind with the parameter `fieldValidation` before it creates or applies, and refuses to go on without.
//!
//! There are no schemas of fields in it: what a field may be is for the server to say.

use axum::body::Body;
use http::Response;
use serde_json::{Map, Value, json};

use super::discovery::{group_names, version_of};
use super::respond::{json_value, with_type};
use super::route::EVENTS_GROUP;
use crate::apiserver::kind::{KINDS, Kind, KindInfo};
use crate::apiserver::rules::ApiError;

/// `/openapi/v3`
pub(super) fn index() -> Response<Body> {
    let mut paths = Map::new();
    for path in documents() {
        let url = format!("/openapi/v3/{path}?hash={}", env!("CARGO_PKG_VERSION"));
        paths.insert(path, json!({ "serverRelativeURL": url }));
    }
    json_value(200, &json!({ "paths": paths }))
}

/// `/openapi/v3/apis/apps/v1`
pub(super) fn document(path: &str) -> Result<Response<Body>, ApiError> {
    if !documents().iter().any(|known| known == path) {
        return Err(ApiError::no_such_path());
    }
    let group =
        path.strip_prefix("apis/").and_then(|rest| rest.split_once('/')).map_or("", |(group, _)| group);
    let shown = |info: &&KindInfo| {
        if group == EVENTS_GROUP { info.kind == Kind::Event } else { info.group == group }
    };
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for info in KINDS.iter().filter(shown) {
        let gvk = json!({ "group": group, "version": info.version, "kind": info.name });
        let namespace = if info.namespaced { "/namespaces/{namespace}" } else { "" };
        let one = format!("/{path}{namespace}/{}/{{name}}", info.plural);
        paths.insert(one, json!({ "patch": operation("patch", &gvk) }));
        let (version, kind) = (info.version, info.name);
        let name = format!("io.k8s.{}.{version}.{kind}", if group.is_empty() { "core" } else { group });
        schemas.insert(name, schema(info, &gvk));
    }
    let body = json!({
        "openapi": "3.0.0",
        "info": { "title": "Callsign sandbox", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "components": { "schemas": schemas },
    });
    Ok(json_value(200, &body))
}

/// `/openapi/v2`: a document without paths, in the protobuf that kubectl asks for when version 3 does not have a group.
/// Without it, kubectl says that validation failed where it should say that there is no such kind.
pub(super) fn version_2() -> Response<Body> {
    // Document { swagger: "2.0", info: { title, version }, paths: {} }
    const EMPTY: &[u8] = b"\x0a\x032.0\x12\x15\x0a\x10Callsign sandbox\x12\x011\x42\x00";
    with_type(200, Body::from(EMPTY), "application/com.github.proto-openapi.spec.v2.v1.0+protobuf")
}

fn documents() -> Vec<String> {
    let groups = group_names().into_iter().map(|group| format!("apis/{group}/{}", version_of(group)));
    std::iter::once("api/v1".to_owned()).chain(groups).collect()
}

fn operation(action: &str, gvk: &Value) -> Value {
    let text = |name: &str| json!({ "name": name, "in": "query", "schema": { "type": "string" } });
    json!({
        "parameters": [text("dryRun"), text("fieldManager"), text("fieldValidation"), text("force")],
        "responses": { "200": { "description": "OK" } },
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": gvk,
    })
}

fn schema(info: &KindInfo, gvk: &Value) -> Value {
    let object = |description: &str| json!({ "type": "object", "description": description });
    let mut properties = json!({
        "apiVersion": { "type": "string", "description": "The version of the object's schema." },
        "kind": { "type": "string", "description": "What the object is." },
        "metadata": object("The object's name, labels and the like."),
        "spec": object("What is wanted."),
    });
    if let Some(map) = properties.as_object_mut().filter(|_| info.status) {
        map.insert("status".to_owned(), object("What is."));
    }
    json!({
        "type": "object",
        "description": format!("{} of the embedded API server, a test double.", info.name),
        "properties": properties,
        "x-kubernetes-group-version-kind": [gvk],
    })
}
