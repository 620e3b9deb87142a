//! ConfigMaps and Secrets (`pkg/apis/core/validation`).

use serde_json::Value;

use super::{each, names};
use crate::apiserver::rules::error::FieldError;
use crate::apiserver::rules::value::{at, entries, flag, text};

/// All values of an object together, in bytes.
const MOST: usize = 1024 * 1024;

pub(super) fn check(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut size = 0;
    for part in ["data", "binaryData"] {
        for (key, value) in entries(object, &[part]) {
            let field = format!("{part}[{key}]");
            errors.extend(each(&field, key, names::config_key(key)));
            size += value.as_str().unwrap_or_default().len();
            if part == "binaryData" && at(object, &["data", key]).is_some() {
                errors.push(FieldError::invalid(field, key.as_str(), "duplicate of key present in data"));
            }
        }
    }
    // Values of Secrets are in base64, of which four bytes are three.
    let size = if text(object, &["kind"]) == "Secret" { size / 4 * 3 } else { size };
    if size > MOST {
        errors.push(FieldError::too_long(if size > 0 { "data" } else { "" }, MOST));
    }
    errors
}

pub(super) fn update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if text(new, &["type"]) != text(old, &["type"]) {
        errors.push(FieldError::immutable("type", text(new, &["type"])));
    }
    if flag(old, &["immutable"]) {
        let detail = "field is immutable when `immutable` is set";
        if !flag(new, &["immutable"]) {
            errors.push(FieldError::forbidden("immutable", detail));
        }
        for part in ["data", "binaryData"] {
            if at(new, &[part]) != at(old, &[part]) {
                errors.push(FieldError::forbidden(part, detail));
            }
        }
    }
    errors.extend(check(new));
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_names_of_files_and_what_is_immutable_stays() {
        let texts = |errors: Vec<FieldError>| errors.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(texts(check(&json!({ "data": { "Corefile": "" } }))), Vec::<String>::new());
        assert_eq!(texts(check(&json!({ "data": { "a/b": "" } }))).len(), 1);
        assert_eq!(texts(check(&json!({ "data": { "a": "" }, "binaryData": { "a": "" } }))).len(), 1);
        assert_eq!(texts(check(&json!({ "data": { "a": "x".repeat(MOST + 1) } }))).len(), 1);
        let old = json!({ "immutable": true, "data": { "a": "1" } });
        let new = json!({ "immutable": true, "data": { "a": "2" } });
        assert_eq!(
            texts(update(&new, &old)),
            ["data: Forbidden: field is immutable when `immutable` is set"]
        );
    }
}
