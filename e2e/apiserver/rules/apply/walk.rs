//! Objects as fields: which fields an object has, and how two objects differ, by the list types of the schema.

use std::collections::BTreeMap;

use serde_json::Value;

use super::set::{FieldSet, Step};
use crate::apiserver::rules::schema::{Field, Ownership, Type, field, key_default};

/// Structs that are part of their parent in Go, not behind a pointer: they are never added or removed themselves.
const ALWAYS_THERE: &[&str] = &[
    "metadata",
    "spec",
    "status",
    "strategy",
    "updateStrategy",
    "template",
    "loadBalancer",
    "resources",
    "containers",
    "source",
];

/// Items of a list with the step that names each.
pub(super) fn items(keys: &[&str], list: &[Value]) -> Vec<(Step, Value)> {
    list.iter().map(|item| (key_of(keys, item), item.clone())).collect()
}

/// The step to a value of a set.
pub(super) fn value_step(value: &Value) -> Step {
    Step::Value(value.to_string())
}

/// The step to an item by its keys; a key that is not there has its schema's default, or is null.
pub(super) fn key_of(keys: &[&str], item: &Value) -> Step {
    let keys: BTreeMap<String, String> = keys
        .iter()
        .map(|key| {
            let value = item.get(key).filter(|value| !value.is_null()).map(Value::to_string);
            let value = value.or_else(|| key_default(key).map(|text| Value::from(text).to_string()));
            ((*key).to_owned(), value.unwrap_or_else(|| "null".to_owned()))
        })
        .collect();
    Step::Key(keys)
}

/// The fields an applied object has.
pub(super) fn field_set(ty: Type, object: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    for (key, value) in object.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        let field = field(ty, key);
        let step = Step::Field(key.clone());
        let below = below(field, value);
        let plain_map = matches!(key.as_str(), "labels" | "annotations");
        if below.is_empty() {
            set.insert(step);
        } else {
            if plain_map && value.as_object().is_some_and(serde_json::Map::is_empty) {
                set.insert(step.clone());
            }
            set.insert_below(step, below);
        }
    }
    set
}

fn below(field: Field, value: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    match (field.ownership, value) {
        (Ownership::Granular, Value::Object(_)) => return field_set(field.ty, value),
        (Ownership::Set, Value::Array(list)) => list.iter().for_each(|value| set.insert(value_step(value))),
        (Ownership::Map(keys), Value::Array(list)) => {
            for (step, item) in items(keys, list) {
                set.insert(step.clone());
                set.insert_below(step, field_set(field.ty, &item));
            }
        }
        _ => {}
    }
    set
}

/// How one object became another.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) added: FieldSet,
    pub(super) modified: FieldSet,
    pub(super) removed: FieldSet,
}

/// The difference of two objects of a type.
pub(super) fn compare(ty: Type, old: &Value, new: &Value) -> Comparison {
    let mut comparison = Comparison::default();
    let empty = serde_json::Map::new();
    let (old, new) = (old.as_object().unwrap_or(&empty), new.as_object().unwrap_or(&empty));
    let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let (before, after) = (present(old.get(key)), present(new.get(key)));
        if before != after {
            let always = ALWAYS_THERE.contains(&key.as_str());
            step(&mut comparison, Step::Field(key.clone()), field(ty, key), before, after, always);
        }
    }
    comparison
}

fn step(
    into: &mut Comparison,
    step: Step,
    field: Field,
    before: Option<&Value>,
    after: Option<&Value>,
    always_there: bool,
) {
    let below = match (field.ownership, before, after) {
        (Ownership::Granular, None | Some(Value::Object(_)), None | Some(Value::Object(_))) => {
            Some(compare(field.ty, before.unwrap_or(&Value::Null), after.unwrap_or(&Value::Null)))
        }
        (Ownership::Set, None | Some(Value::Array(_)), None | Some(Value::Array(_))) => {
            Some(compare_items(field, list(before), list(after), value_step))
        }
        (Ownership::Map(keys), None | Some(Value::Array(_)), None | Some(Value::Array(_))) => {
            Some(compare_items(field, list(before), list(after), |item| key_of(keys, item)))
        }
        _ => None,
    };
    let leaf = below
        .as_ref()
        .is_none_or(|below| below.added.is_empty() && below.modified.is_empty() && below.removed.is_empty());
    if leaf || !always_there {
        match (before, after) {
            (None, Some(_)) => into.added.insert(step.clone()),
            (Some(_), None) => into.removed.insert(step.clone()),
            (Some(_), Some(_)) if below.is_none() => into.modified.insert(step.clone()),
            _ => {}
        }
    }
    if let Some(below) = below {
        into.added.insert_below(step.clone(), below.added);
        into.modified.insert_below(step.clone(), below.modified);
        into.removed.insert_below(step, below.removed);
    }
}

fn compare_items(field: Field, old: &[Value], new: &[Value], id: impl Fn(&Value) -> Step) -> Comparison {
    let mut comparison = Comparison::default();
    let item_field = Field { ownership: Ownership::Granular, ..field };
    let (old, new): (BTreeMap<Step, &Value>, BTreeMap<Step, &Value>) = (
        old.iter().map(|item| (id(item), item)).collect(),
        new.iter().map(|item| (id(item), item)).collect(),
    );
    for (key, before) in &old {
        let after = new.get(key).copied();
        if after != Some(*before) {
            step(&mut comparison, key.clone(), item_field, Some(before), after, false);
        }
    }
    for (key, after) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
        step(&mut comparison, key.clone(), item_field, None, Some(after), false);
    }
    comparison
}

/// Lists that are maps need their keys, once each.
pub(super) fn check_lists(ty: Type, object: &Value, path: &mut Vec<String>) -> Result<(), String> {
    for (key, value) in object.as_object().into_iter().flatten() {
        let field = field(ty, key);
        path.push(format!(".{key}"));
        match (field.ownership, value) {
            (Ownership::Granular, Value::Object(_)) => check_lists(field.ty, value, path)?,
            (Ownership::Map(keys), Value::Array(list)) => check_list(field, keys, list, path)?,
            (Ownership::Set, Value::Array(list)) => {
                for (index, value) in list.iter().enumerate() {
                    if list.iter().take(index).any(|earlier| earlier == value) {
                        return Err(format!("{}: duplicate entries for key [={value}]", path.concat()));
                    }
                }
            }
            _ => {}
        }
        path.pop();
    }
    Ok(())
}

fn check_list(field: Field, keys: &[&str], list: &[Value], path: &mut Vec<String>) -> Result<(), String> {
    let mut seen = Vec::new();
    for (index, item) in list.iter().enumerate() {
        if let Some(missing) = keys.iter().find(|key| item.get(**key).is_none() && key_default(key).is_none())
        {
            return Err(format!(
                "{}: element {index}: associative list with keys has an element that omits key field \"{missing}\" (and \
                 doesn't have default value)",
                path.concat()
            ));
        }
        let id = key_of(keys, item);
        let mut shown = FieldSet::default();
        shown.insert(id.clone());
        let shown = shown.paths().concat();
        if seen.contains(&id) {
            return Err(format!("{}: duplicate entries for key {shown}", path.concat()));
        }
        seen.push(id);
        path.push(shown);
        check_lists(field.ty, item, path)?;
        path.pop();
    }
    Ok(())
}

fn present(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| !value.is_null())
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}
