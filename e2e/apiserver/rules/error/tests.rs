use super::*;

#[test]
fn a_missing_object_is_told_with_its_resource() {
    let status = ApiError::not_found(Kind::Deployment, "web").to_status();
    assert_eq!(status["message"], "deployments.apps \"web\" not found");
    assert_eq!(status["details"], json!({ "name": "web", "group": "apps", "kind": "deployments" }));
    assert_eq!((status["code"].as_u64(), status["reason"].as_str()), (Some(404), Some("NotFound")));
}

#[test]
fn one_field_stands_alone_and_several_stand_in_brackets() {
    let required = FieldError::required("spec.ports", "");
    let invalid = FieldError::invalid("spec.ports[0].port", 0, "must be between 1 and 65535, inclusive");
    let one = ApiError::invalid(Kind::Service, "web", vec![required.clone()]);
    assert_eq!(one.message, "Service \"web\" is invalid: spec.ports: Required value");
    let two = ApiError::invalid(Kind::Service, "web", vec![required, invalid]);
    assert_eq!(
        two.message,
        "Service \"web\" is invalid: [spec.ports: Required value, spec.ports[0].port: Invalid value: 0: \
         must be between 1 and 65535, inclusive]"
    );
    assert_eq!(two.details.unwrap()["causes"][1]["reason"], "FieldValueInvalid");
}

#[test]
fn field_errors_read_as_upstream() {
    let text = FieldError::not_supported("spec.type", "X", &["ClusterIP", "NodePort"]).to_string();
    assert_eq!(text, "spec.type: Unsupported value: \"X\": supported values: \"ClusterIP\", \"NodePort\"");
    let text = FieldError::invalid("spec.clusterIPs", json!(["10.0.0.1"]), "taken").to_string();
    assert_eq!(text, "spec.clusterIPs: Invalid value: [\"10.0.0.1\"]: taken");
    assert_eq!(FieldError::too_many("a", 3, 2).to_string(), "a: Too many: 3: must have at most 2 items");
    assert_eq!(FieldError::duplicate("a", "b").to_string(), "a: Duplicate value: \"b\"");
}

#[test]
fn a_terminating_namespace_has_its_cause() {
    let status = ApiError::namespace_terminating(Kind::Pod, "p", "shop").to_status();
    assert_eq!(status["details"]["causes"][0]["reason"], "NamespaceTerminating");
    assert_eq!(
        status["message"],
        "pods \"p\" is forbidden: unable to create new content in namespace shop because it is being terminated"
    );
}

#[test]
fn apply_conflicts_are_listed() {
    let with = |m: &str| format!("conflict with \"{m}\" using v1");
    let one = ApiError::apply_conflict(vec![(with("a"), ".spec.ports".to_owned())]);
    assert_eq!(one.message, "Apply failed with 1 conflict: conflict with \"a\" using v1: .spec.ports");
    let two =
        ApiError::apply_conflict(vec![(with("a"), ".spec.x".to_owned()), (with("a"), ".spec.y".to_owned())]);
    assert_eq!(
        two.message,
        "Apply failed with 2 conflicts: conflicts with \"a\" using v1:\n- .spec.x\n- .spec.y"
    );
}
