//! Merging an intent into an object, and taking fields out of one.

use serde_json::{Map, Value};

use super::set::{FieldSet, Step};
use super::walk::{items, key_of, value_step};
use crate::apiserver::rules::schema::{Field, Ownership, Type, field};

/// The live object with everything the configuration says.
pub(super) fn merge(ty: Type, live: &Value, config: &Value) -> Value {
    let mut merged = live.as_object().cloned().unwrap_or_default();
    for (key, value) in config.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        let before = merged.remove(key).unwrap_or(Value::Null);
        merged.insert(key.clone(), merge_field(field(ty, key), &before, value));
    }
    Value::Object(merged)
}

fn merge_field(field: Field, live: &Value, config: &Value) -> Value {
    match (field.ownership, live, config) {
        (Ownership::Granular, _, Value::Object(_)) => merge(field.ty, live, config),
        (Ownership::Set, Value::Array(live), Value::Array(config)) => {
            Value::Array(merged_order(live, config))
        }
        (Ownership::Map(keys), Value::Array(_) | Value::Null, Value::Array(config)) => {
            let live = items(keys, live.as_array().map(Vec::as_slice).unwrap_or_default());
            let config = items(keys, config);
            let steps = |items: &[(Step, Value)]| -> Vec<Step> {
                items.iter().map(|(step, _)| step.clone()).collect()
            };
            let find = |items: &[(Step, Value)], step: &Step| {
                items.iter().find(|(key, _)| key == step).map(|(_, item)| item.clone())
            };
            let merged = merged_order(&steps(&live), &steps(&config))
                .iter()
                .filter_map(|step| match (find(&live, step), find(&config, step)) {
                    (before, Some(item)) => Some(merge(field.ty, &before.unwrap_or(Value::Null), &item)),
                    (before, None) => before,
                })
                .collect();
            Value::Array(merged)
        }
        _ => config.clone(),
    }
}

/// The order of a merged list: the applied order, with what only the live list has as early as it was there.
fn merged_order<K: PartialEq + Clone>(live: &[K], applied: &[K]) -> Vec<K> {
    let mut order: Vec<K> = Vec::with_capacity(live.len() + applied.len());
    let mut rest = live.iter().peekable();
    for key in applied {
        while let Some(other) = rest.next_if(|other| !applied.contains(other) || order.contains(other)) {
            if !order.contains(other) {
                order.push(other.clone());
            }
        }
        order.push(key.clone());
    }
    order.extend(rest.filter(|other| !applied.contains(other)).cloned());
    order
}

/// Takes the fields of `gone` out of the object. What somebody keeps stays, and so does what leads to it.
pub(super) fn prune(ty: Type, object: &mut Value, gone: &FieldSet, kept: &FieldSet) {
    let Some(map) = object.as_object_mut() else {
        return;
    };
    for step in gone.steps() {
        let Step::Field(key) = step else {
            continue;
        };
        let Some(value) = map.get_mut(key) else {
            continue;
        };
        if goes(step, gone, kept) {
            map.remove(key);
            continue;
        }
        let none = FieldSet::default();
        let wanted = kept.has(step);
        let (gone, kept) = (gone.below(step).unwrap_or(&none), kept.below(step).unwrap_or(&none));
        prune_value(field(ty, key), value, gone, kept);
        // An object or a list that only the manager filled goes with its content.
        if !wanted && kept.is_empty() && !gone.is_empty() && is_hollow(value) {
            map.remove(key);
        }
    }
}

fn prune_value(field: Field, value: &mut Value, gone: &FieldSet, kept: &FieldSet) {
    let list_item = |item: &Value| match field.ownership {
        Ownership::Set => Some(value_step(item)),
        Ownership::Map(keys) => Some(key_of(keys, item)),
        _ => None,
    };
    match value {
        Value::Array(items) => {
            items.retain(|item| !list_item(item).is_some_and(|step| goes(&step, gone, kept)));
            for item in items {
                if let Some(step) = list_item(item)
                    && let Some(gone) = gone.below(&step)
                {
                    let none = FieldSet::default();
                    prune(field.ty, item, gone, kept.below(&step).unwrap_or(&none));
                }
            }
        }
        Value::Object(_) => prune(field.ty, value, gone, kept),
        _ => {}
    }
}

/// Whether a field goes with everything below it.
fn goes(step: &Step, gone: &FieldSet, kept: &FieldSet) -> bool {
    gone.has(step) && !kept.has(step) && kept.below(step).is_none()
}

fn is_hollow(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_keep_both_orders() {
        assert_eq!(merged_order(&["a", "side"], &["a", "new"]), ["a", "side", "new"]);
        assert_eq!(merged_order(&["a", "b", "c"], &["c", "a"]), ["c", "a", "b"]);
        assert_eq!(merged_order(&["x", "a"], &["a"]), ["x", "a"]);
        assert_eq!(merged_order(&[], &["b", "a"]), ["b", "a"]);
    }
}
