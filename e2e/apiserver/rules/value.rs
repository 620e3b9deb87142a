//! Small ways to reach into objects that are JSON values.

use serde_json::{Map, Value};

/// The value at a path of keys.
pub fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key)).filter(|found| !found.is_null())
}

/// The string at a path, empty when there is none.
pub fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    at(value, path).and_then(Value::as_str).unwrap_or_default()
}

/// The number at a path.
pub fn number(value: &Value, path: &[&str]) -> Option<i64> {
    at(value, path).and_then(Value::as_i64)
}

/// The truth at a path; false when there is none.
pub fn flag(value: &Value, path: &[&str]) -> bool {
    at(value, path).and_then(Value::as_bool).unwrap_or_default()
}

/// As Go's query conversion reads a bool: anything but these is true.
pub fn truth(value: &str) -> bool {
    !matches!(value, "0" | "false" | "False" | "f" | "F")
}

/// The items of the list at a path, none when there is no list.
pub fn items<'a>(value: &'a Value, path: &[&str]) -> &'a [Value] {
    at(value, path).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The strings of the list at a path.
pub fn strings<'a>(value: &'a Value, path: &[&str]) -> Vec<&'a str> {
    items(value, path).iter().filter_map(Value::as_str).collect()
}

/// The entries of the object at a path.
pub fn entries<'a>(value: &'a Value, path: &[&str]) -> impl Iterator<Item = (&'a String, &'a Value)> {
    at(value, path).and_then(Value::as_object).into_iter().flatten()
}

/// The object at a path, made where it is missing. `None` when something that is no object is in the way.
pub fn object_mut<'a>(value: &'a mut Value, path: &[&str]) -> Option<&'a mut Map<String, Value>> {
    let mut current = value;
    for key in path {
        if current.is_null() {
            *current = Value::Object(Map::new());
        }
        current = current.as_object_mut()?.entry((*key).to_owned()).or_insert(Value::Null);
    }
    if current.is_null() {
        *current = Value::Object(Map::new());
    }
    current.as_object_mut()
}

/// Makes sure that there is an object at a path.
pub fn ensure_object(value: &mut Value, path: &[&str]) {
    let _ = object_mut(value, path);
}

/// The list at a path, to be changed.
pub fn items_mut<'a>(value: &'a mut Value, path: &[&str]) -> impl Iterator<Item = &'a mut Value> {
    let mut current = Some(value);
    for key in path {
        current = current.and_then(|value| value.get_mut(key));
    }
    current.and_then(Value::as_array_mut).into_iter().flatten()
}

/// Puts a value at a path, making the objects on the way.
pub fn set(value: &mut Value, path: &[&str], new: impl Into<Value>) {
    if let Some((last, parents)) = path.split_last()
        && let Some(map) = object_mut(value, parents)
    {
        map.insert((*last).to_owned(), new.into());
    }
}

/// Puts a value at a path where none is.
pub fn set_default(value: &mut Value, path: &[&str], new: impl Into<Value>) {
    if at(value, path).is_none() {
        set(value, path, new);
    }
}

/// Takes the value at a path out.
pub fn remove(value: &mut Value, path: &[&str]) -> Option<Value> {
    let (last, parents) = path.split_last()?;
    let mut current = value;
    for key in parents {
        current = current.get_mut(key)?;
    }
    current.as_object_mut()?.remove(*last)
}

/// Makes the value at a path what it is in another object: copied, or taken out where it is not there.
pub fn copy(to: &mut Value, from: &Value, path: &[&str]) {
    match at(from, path) {
        Some(found) => set(to, path, found.clone()),
        None => drop(remove(to, path)),
    }
}
