//! Strategic merge patches (`k8s.io/apimachinery/pkg/util/strategicpatch`), as `kubectl apply`, `patch`, `label`,
//! `set` and `edit` send them.
//!
//! Directives: `$patch: replace|delete|merge` in an object or a list's item, `$retainKeys`, `$setElementOrder/LIST`
//! and `$deleteFromPrimitiveList/LIST`.

use serde_json::{Map, Value};

use super::order::merged_order;
use crate::apiserver::rules::error::ApiError;
use crate::apiserver::rules::schema::{PatchList, Type, field};

const DIRECTIVE: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE_VALUES: &str = "$deleteFromPrimitiveList/";

/// The object of this type with the patch applied.
pub(super) fn merge(ty: Type, current: Value, patch: &Value) -> Result<Value, ApiError> {
    let Some(patch) = patch.as_object() else {
        return Ok(patch.clone());
    };
    match patch.get(DIRECTIVE).and_then(Value::as_str) {
        Some("replace") => return merge(ty, Value::Object(Map::new()), &without_directive(patch)),
        Some("delete") => return Ok(Value::Object(Map::new())),
        Some("merge") | None => {}
        Some(other) => {
            return Err(ApiError::bad_request(format!("Unknown patch type: {other}")));
        }
    }
    let mut object = match current {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    if let Some(keys) = patch.get(RETAIN) {
        let Some(keys) = keys.as_array() else {
            return Err(ApiError::bad_request("invalid patch format of retainKeys"));
        };
        object.retain(|key, _| keys.iter().any(|kept| kept == key));
    }
    for (key, value) in patch.iter().filter(|(key, _)| !key.starts_with('$')) {
        let field = field(ty, key);
        match value {
            Value::Null => drop(object.remove(key)),
            Value::Object(_) => {
                let before = object.remove(key).unwrap_or(Value::Null);
                // A patch that deletes a whole object leaves nothing of it.
                if value.get(DIRECTIVE).and_then(Value::as_str) != Some("delete") {
                    object.insert(key.clone(), merge(field.ty, before, value)?);
                }
            }
            Value::Array(items) => {
                let before = match object.remove(key) {
                    Some(Value::Array(before)) => before,
                    _ => Vec::new(),
                };
                object.insert(key.clone(), Value::Array(merge_list(field.ty, field.patch, before, items)?));
            }
            other => drop(object.insert(key.clone(), other.clone())),
        }
    }
    directives_on_lists(ty, &mut object, patch)?;
    Ok(Value::Object(object))
}

fn merge_list(
    ty: Type,
    strategy: PatchList,
    before: Vec<Value>,
    items: &[Value],
) -> Result<Vec<Value>, ApiError> {
    match strategy {
        PatchList::Replace => Ok(items.to_vec()),
        PatchList::Set => {
            let mut list = before;
            for item in items {
                if !list.contains(item) {
                    list.push(item.clone());
                }
            }
            Ok(list)
        }
        PatchList::By(key) => merge_by_key(ty, key, before, items),
    }
}

fn merge_by_key(ty: Type, key: &str, before: Vec<Value>, items: &[Value]) -> Result<Vec<Value>, ApiError> {
    let directive = |item: &Value| item.get(DIRECTIVE).and_then(Value::as_str).unwrap_or_default().to_owned();
    // One `$patch: replace` anywhere makes the rest of the patch the whole list.
    let replace = items.iter().any(|item| directive(item) == "replace");
    let mut list = if replace { Vec::new() } else { before };
    for item in items {
        let Some(map) = item.as_object() else {
            return Err(ApiError::bad_request(format!(
                "expected an object with merge key {key}, got {item}"
            )));
        };
        let kind = directive(item);
        let Some(id) = item.get(key) else {
            if kind == "replace" {
                continue;
            }
            return Err(ApiError::bad_request(format!(
                "map: {item} does not contain declared merge key: {key}"
            )));
        };
        let patch = without_directive(map);
        if kind == "delete" {
            list.retain(|other| other.get(key) != Some(id));
            continue;
        }
        match list.iter_mut().find(|other| other.get(key) == Some(id)) {
            Some(other) => *other = merge(ty, other.take(), &patch)?,
            None => list.push(merge(ty, Value::Null, &patch)?),
        }
    }
    Ok(list)
}

/// Values taken out of lists of values, and the order of lists.
fn directives_on_lists(
    ty: Type,
    object: &mut Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<(), ApiError> {
    for (directive, value) in patch {
        let Some(values) = value.as_array() else {
            continue;
        };
        if let Some(list) = directive.strip_prefix(DELETE_VALUES)
            && let Some(items) = object.get_mut(list).and_then(Value::as_array_mut)
        {
            items.retain(|item| !values.contains(item));
        }
    }
    for (directive, value) in patch {
        let Some(list) = directive.strip_prefix(ORDER) else {
            continue;
        };
        let Some(wanted) = value.as_array() else {
            return Err(ApiError::bad_request(format!(
                "invalid patch format of setElementOrder list {list}"
            )));
        };
        let id = |item: &Value| match field(ty, list).patch {
            PatchList::By(key) => item.get(key).cloned().unwrap_or(Value::Null),
            _ => item.clone(),
        };
        if let Some(items) = object.get_mut(list).and_then(Value::as_array_mut) {
            let stored: Vec<Value> = items.iter().map(id).collect();
            let wanted: Vec<Value> = wanted.iter().map(id).filter(|wanted| stored.contains(wanted)).collect();
            let order = merged_order(&stored, &wanted);
            items.sort_by_key(|item| order.iter().position(|key| *key == id(item)));
        }
    }
    Ok(())
}

fn without_directive(patch: &Map<String, Value>) -> Value {
    Value::Object(
        patch
            .iter()
            .filter(|(key, _)| *key != DIRECTIVE)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    )
}
