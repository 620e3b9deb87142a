//! Leases (`pkg/apis/coordination/validation`).

use serde_json::Value;

use super::non_negative;
use crate::apiserver::rules::error::FieldError;
use crate::apiserver::rules::value::{at, number};

pub(super) fn check(lease: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(seconds) = number(lease, &["spec", "leaseDurationSeconds"]).filter(|seconds| *seconds <= 0) {
        errors.push(FieldError::invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0"));
    }
    errors.extend(non_negative(number(lease, &["spec", "leaseTransitions"]), "spec.leaseTransitions"));
    if at(lease, &["spec", "preferredHolder"]).is_some() && at(lease, &["spec", "strategy"]).is_none() {
        let detail = "can only be specified if leaseStrategy is defined";
        errors.push(FieldError::forbidden("spec.preferredHolder", detail));
    }
    errors
}
