//! One thing that is wrong with one field, in the words of `k8s.io/apimachinery/pkg/util/validation/field`.

use std::fmt;

use serde_json::{Value, json};

/// The type of a field's error, which decides its text and its cause's reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldErrorType {
    /// The value must be there.
    Required,
    /// The value is not of the right form.
    Invalid,
    /// The value is none of those known.
    NotSupported,
    /// The value is there already.
    Duplicate,
    /// The value may not be set here.
    Forbidden,
    /// The string is too long.
    TooLong,
    /// The list has too many items.
    TooMany,
    /// What the value names does not exist.
    NotFound,
    /// The server failed to do it.
    Internal,
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    /// Which form of error.
    pub kind: FieldErrorType,
    /// Path as in `spec.ports[0].port`.
    pub field: String,
    /// The value as it is shown.
    pub bad: Option<Value>,
    /// The rest of the sentence.
    pub detail: String,
}

impl FieldError {
    /// `field: Required value: detail`
    pub fn required(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { kind: FieldErrorType::Required, field: field.into(), bad: None, detail: detail.into() }
    }

    /// `field: Invalid value: bad: detail`
    pub fn invalid(field: impl Into<String>, bad: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self {
            kind: FieldErrorType::Invalid,
            field: field.into(),
            bad: Some(bad.into()),
            detail: detail.into(),
        }
    }

    /// `field: Unsupported value: bad: supported values: "a", "b"`
    pub fn not_supported(field: impl Into<String>, bad: impl Into<Value>, supported: &[&str]) -> Self {
        let detail = if supported.is_empty() {
            String::new()
        } else {
            let quoted: Vec<String> = supported.iter().map(|value| format!("\"{value}\"")).collect();
            format!("supported values: {}", quoted.join(", "))
        };
        Self { kind: FieldErrorType::NotSupported, field: field.into(), bad: Some(bad.into()), detail }
    }

    /// `field: Duplicate value: bad`
    pub fn duplicate(field: impl Into<String>, bad: impl Into<Value>) -> Self {
        let bad = Some(bad.into());
        Self { kind: FieldErrorType::Duplicate, field: field.into(), bad, detail: String::new() }
    }

    /// `field: Forbidden: detail`
    pub fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { kind: FieldErrorType::Forbidden, field: field.into(), bad: None, detail: detail.into() }
    }

    /// `field: Too long: may not be more than N bytes`
    pub fn too_long(field: impl Into<String>, max: usize) -> Self {
        let detail = format!("may not be more than {max} bytes");
        Self { kind: FieldErrorType::TooLong, field: field.into(), bad: None, detail }
    }

    /// `field: Too many: N: must have at most M items`
    pub fn too_many(field: impl Into<String>, count: usize, max: usize) -> Self {
        let detail = format!("must have at most {max} item{}", if max == 1 { "" } else { "s" });
        Self { kind: FieldErrorType::TooMany, field: field.into(), bad: Some(json!(count)), detail }
    }

    /// `field: Invalid value: bad: field is immutable`
    pub fn immutable(field: impl Into<String>, bad: impl Into<Value>) -> Self {
        Self::invalid(field, bad, "field is immutable")
    }

    /// `field: Not found: bad`
    pub fn not_found(field: impl Into<String>, bad: impl Into<Value>) -> Self {
        let bad = Some(bad.into());
        Self { kind: FieldErrorType::NotFound, field: field.into(), bad, detail: String::new() }
    }

    /// `field: Internal error: detail`
    pub fn internal(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { kind: FieldErrorType::Internal, field: field.into(), bad: None, detail: detail.into() }
    }

    /// The `StatusCause`.
    pub fn to_cause(&self) -> Value {
        json!({ "reason": self.kind.reason(), "message": self.body(), "field": self.field })
    }

    /// The text without the field's path.
    fn body(&self) -> String {
        let mut text = self.kind.text().to_owned();
        if let Some(bad) = &self.bad {
            text.push_str(": ");
            text.push_str(&bad.to_string());
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

impl FieldErrorType {
    fn text(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Duplicate => "Duplicate value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::NotFound => "Not found",
            Self::Internal => "Internal error",
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::NotFound => "FieldValueNotFound",
            Self::Internal => "InternalError",
        }
    }
}
