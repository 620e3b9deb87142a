//! PodDisruptionBudgets (`pkg/apis/policy/validation`).

use serde_json::Value;

use crate::apiserver::rules::error::FieldError;
use crate::apiserver::rules::value::at;

pub(super) fn check(budget: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = at(budget, &["spec"]).cloned().unwrap_or_default();
    if at(&spec, &["minAvailable"]).is_some() && at(&spec, &["maxUnavailable"]).is_some() {
        let detail = "minAvailable and maxUnavailable cannot be both set";
        errors.push(FieldError::invalid("spec", spec.clone(), detail));
    }
    for key in ["minAvailable", "maxUnavailable"] {
        let field = format!("spec.{key}");
        match at(&spec, &[key]) {
            Some(Value::Number(number)) if number.as_i64().is_some_and(|number| number < 0) => {
                let detail = "must be greater than or equal to 0";
                errors.push(FieldError::invalid(field, number.clone(), detail));
            }
            Some(Value::String(percent)) if !is_percent(percent) => {
                let detail = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  \
                              or '93%', regex used for validation is '[0-9]+%')";
                errors.push(FieldError::invalid(field, percent.as_str(), detail));
            }
            _ => {}
        }
    }
    errors
}

fn is_percent(text: &str) -> bool {
    text.strip_suffix('%')
        .is_some_and(|number| !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_bound_and_a_good_one() {
        let wrong = |spec: Value| check(&json!({ "spec": spec })).len();
        assert_eq!(wrong(json!({ "maxUnavailable": 1 })), 0);
        assert_eq!(wrong(json!({ "minAvailable": "50%" })), 0);
        assert_eq!(wrong(json!({ "minAvailable": "half" })), 1);
        assert_eq!(wrong(json!({ "minAvailable": -1 })), 1);
        assert_eq!(wrong(json!({ "minAvailable": 1, "maxUnavailable": 1 })), 1);
    }
}
