//! Protobuf bodies, which `kubectl create` of what it makes from flags, `kubectl auth can-i` and `kubectl drain` send and
//! for which they know no substitute.
//!
//! Only what these commands send is known (see [`schema`]). A field that is not known is refused by name, never
//! dropped. Answers are JSON always.

mod schema;
mod wire;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use self::schema::{Message, Type, message_of};
use self::wire::{Field, Reader};
use crate::apiserver::rules::{ApiError, value};

/// The media type.
pub(super) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// What precedes every object.
const MAGIC: &[u8] = b"k8s\0";

/// Decodes `runtime.Unknown` and the object in it.
pub(super) fn decode(body: &[u8]) -> Result<Value, ApiError> {
    let wrong = |why: String| ApiError::bad_request(format!("cannot decode the protobuf body: {why}"));
    let unknown = body.strip_prefix(MAGIC).ok_or_else(|| wrong("it does not begin with k8s".to_owned()))?;
    let envelope = object(&schema::UNKNOWN, unknown, "Unknown").map_err(wrong)?;
    let api_version = value::text(&envelope, &["typeMeta", "apiVersion"]);
    let kind = value::text(&envelope, &["typeMeta", "kind"]);
    let Some(message) = message_of(api_version, kind) else {
        let mut error = ApiError::unsupported_media_type(&["application/json", "application/yaml"]);
        error.message = format!("{kind} of {api_version} is not taken as protobuf here: {}", error.message);
        return Err(error);
    };
    let raw = raw(unknown).map_err(wrong)?;
    let mut decoded = object(message, raw, kind).map_err(wrong)?;
    if let Some(map) = decoded.as_object_mut() {
        map.insert("apiVersion".to_owned(), json!(api_version));
        map.insert("kind".to_owned(), json!(kind));
    }
    Ok(decoded)
}

/// Field 2 of `runtime.Unknown`: the bytes of the object.
fn raw(unknown: &[u8]) -> Result<&[u8], String> {
    let mut reader = Reader::new(unknown);
    let mut found: &[u8] = &[];
    while let Some((number, field)) = reader.next()? {
        if let (2, Field::Bytes(bytes)) = (number, field) {
            found = bytes;
        }
    }
    Ok(found)
}

fn object(message: &Message, bytes: &[u8], path: &str) -> Result<Value, String> {
    let mut map = Map::new();
    let mut reader = Reader::new(bytes);
    while let Some((number, field)) = reader.next()? {
        let Some((_, name, ty)) = message.iter().find(|(it, ..)| *it == number) else {
            // Go writes fields that are no pointers even when they are empty; those say nothing.
            if matches!(field, Field::Number(0) | Field::Bytes([])) {
                continue;
            }
            return Err(format!("field {number} of {path} is not known here; send JSON"));
        };
        let path = format!("{path}.{name}");
        put(&mut map, name, ty, field, &path)?;
    }
    Ok(Value::Object(map))
}

/// Puts a field into an object. What Go writes although it is empty is left out, as its JSON would.
fn put(
    map: &mut Map<String, Value>,
    name: &str,
    ty: &Type,
    field: Field<'_>,
    path: &str,
) -> Result<(), String> {
    let value = match (ty, field) {
        (Type::Skip, _) => return Ok(()),
        (Type::Text, Field::Bytes(bytes)) => match text(bytes, path)? {
            "" => return Ok(()),
            text => json!(text),
        },
        (Type::Bytes, Field::Bytes(bytes)) => json!(BASE64_STANDARD.encode(bytes)),
        (Type::Bool, Field::Number(0)) | (Type::Int, Field::Number(0)) => return Ok(()),
        (Type::Bool | Type::OptionalBool, Field::Number(number)) => json!(number != 0),
        // Negative numbers are sent as 64 bits, whatever their type.
        (Type::Int | Type::OptionalInt, Field::Number(number)) => json!(number.cast_signed()),
        (Type::Message(message), Field::Bytes(bytes)) => match object(message, bytes, path)? {
            Value::Object(inner) if inner.is_empty() && *name != *"spec" => return Ok(()),
            inner => inner,
        },
        (Type::Quantity, Field::Bytes(bytes)) => {
            json!(value::text(&object(&schema::QUANTITY, bytes, path)?, &["string"]))
        }
        (Type::IntOrString, Field::Bytes(bytes)) => {
            int_or_string(&object(&schema::INT_OR_STRING, bytes, path)?)
        }
        (Type::Time, Field::Bytes(bytes)) => match time(&object(&schema::TIME, bytes, path)?) {
            Some(time) => json!(time),
            None => return Ok(()),
        },
        (Type::List(item), field) => {
            let mut one = Map::new();
            put(&mut one, name, item, field, path)?;
            let item = one.remove(name).unwrap_or_else(|| json!(""));
            match map.entry(name.to_owned()).or_insert_with(|| json!([])) {
                Value::Array(list) => list.push(item),
                _ => return Err(format!("{path} is a list and not a list")),
            }
            return Ok(());
        }
        (Type::Map(item), Field::Bytes(bytes)) => {
            let (key, value) = entry(item, bytes, path)?;
            if let Value::Object(entries) = map.entry(name.to_owned()).or_insert_with(|| json!({})) {
                entries.insert(key, value);
            }
            return Ok(());
        }
        _ => return Err(format!("{path} is of the wrong wire type")),
    };
    map.insert(name.to_owned(), value);
    Ok(())
}

fn entry(item: &Type, bytes: &[u8], path: &str) -> Result<(String, Value), String> {
    let (mut key, mut value) = (String::new(), Map::new());
    let mut reader = Reader::new(bytes);
    while let Some((number, field)) = reader.next()? {
        match (number, field) {
            (1, Field::Bytes(bytes)) => key = text(bytes, path)?.to_owned(),
            (2, field) => put(&mut value, "value", item, field, path)?,
            _ => return Err(format!("{path} has an entry that is none")),
        }
    }
    Ok((key, value.remove("value").unwrap_or_else(|| json!(""))))
}

fn text<'a>(bytes: &'a [u8], path: &str) -> Result<&'a str, String> {
    std::str::from_utf8(bytes).map_err(|_| format!("{path} is not UTF-8"))
}

fn int_or_string(value: &Value) -> Value {
    match value::number(value, &["type"]) {
        Some(1) => json!(value::text(value, &["strVal"])),
        _ => json!(value::number(value, &["intVal"]).unwrap_or_default()),
    }
}

fn time(value: &Value) -> Option<String> {
    let seconds = value.get("seconds")?.as_i64()?;
    Some(jiff::Timestamp::from_second(seconds).ok()?.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

#[cfg(test)]
mod tests;
