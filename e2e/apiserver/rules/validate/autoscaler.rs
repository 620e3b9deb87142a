//! HorizontalPodAutoscalers (`pkg/apis/autoscaling/validation`).

use serde_json::Value;

use crate::apiserver::rules::error::FieldError;
use crate::apiserver::rules::value::{items, number, text};

pub(super) fn check(autoscaler: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let least = number(autoscaler, &["spec", "minReplicas"]).unwrap_or(1);
    let most = number(autoscaler, &["spec", "maxReplicas"]).unwrap_or_default();
    if least < 1 {
        let detail = "must be greater than or equal to 1";
        errors.push(FieldError::invalid("spec.minReplicas", least, detail));
    }
    if most < 1 {
        errors.push(FieldError::invalid("spec.maxReplicas", most, "must be greater than 0"));
    }
    if most < least {
        let detail = "must be greater than or equal to `minReplicas`";
        errors.push(FieldError::invalid("spec.maxReplicas", most, detail));
    }
    for key in ["kind", "name"] {
        if text(autoscaler, &["spec", "scaleTargetRef", key]).is_empty() {
            errors.push(FieldError::required(format!("spec.scaleTargetRef.{key}"), ""));
        }
    }
    for (index, metric) in items(autoscaler, &["spec", "metrics"]).iter().enumerate() {
        let known = ["ContainerResource", "External", "Object", "Pods", "Resource"];
        let field = format!("spec.metrics[{index}].type");
        match text(metric, &["type"]) {
            "" => errors.push(FieldError::required(field, "must specify a metric source type")),
            other if !known.contains(&other) => errors.push(FieldError::not_supported(field, other, &known)),
            _ => {}
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bounds_target_and_metrics() {
        let wrong = |spec: Value| check(&json!({ "spec": spec })).len();
        let target = json!({ "kind": "Deployment", "name": "a", "apiVersion": "apps/v1" });
        assert_eq!(wrong(json!({ "scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 3 })), 0);
        assert_eq!(wrong(json!({ "scaleTargetRef": target, "minReplicas": 4, "maxReplicas": 3 })), 1);
        assert_eq!(wrong(json!({ "scaleTargetRef": { "name": "a" }, "maxReplicas": 3 })), 1);
        let metrics = json!([{ "type": "Resource" }, { "type": "Weather" }]);
        assert_eq!(wrong(json!({ "scaleTargetRef": target, "maxReplicas": 3, "metrics": metrics })), 1);
    }
}
