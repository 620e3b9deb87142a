//! Defaults of Deployments, ReplicaSets, StatefulSets and DaemonSets.

use serde_json::{Value, json};

use super::pod;
use crate::apiserver::rules::value::{ensure_object, items_mut, set_default, text};

pub(super) fn deployment(object: &mut Value) {
    template(object);
    set_default(object, &["spec", "replicas"], 1);
    set_default(object, &["spec", "strategy", "type"], "RollingUpdate");
    if text(object, &["spec", "strategy", "type"]) == "RollingUpdate" {
        set_default(object, &["spec", "strategy", "rollingUpdate", "maxUnavailable"], "25%");
        set_default(object, &["spec", "strategy", "rollingUpdate", "maxSurge"], "25%");
    }
    set_default(object, &["spec", "revisionHistoryLimit"], 10);
    set_default(object, &["spec", "progressDeadlineSeconds"], 600);
    ensure_object(object, &["status"]);
}

pub(super) fn replica_set(object: &mut Value) {
    template(object);
    set_default(object, &["spec", "replicas"], 1);
    set_default(object, &["status", "replicas"], 0);
}

pub(super) fn stateful_set(object: &mut Value) {
    template(object);
    set_default(object, &["spec", "podManagementPolicy"], "OrderedReady");
    set_default(object, &["spec", "updateStrategy", "type"], "RollingUpdate");
    if text(object, &["spec", "updateStrategy", "type"]) == "RollingUpdate" {
        set_default(object, &["spec", "updateStrategy", "rollingUpdate", "partition"], 0);
    }
    let retention = ["spec", "persistentVolumeClaimRetentionPolicy"];
    for when in ["whenDeleted", "whenScaled"] {
        set_default(object, &[retention[0], retention[1], when], "Retain");
    }
    set_default(object, &["spec", "replicas"], 1);
    set_default(object, &["spec", "revisionHistoryLimit"], 10);
    for claim in items_mut(object, &["spec", "volumeClaimTemplates"]) {
        set_default(claim, &["apiVersion"], "v1");
        set_default(claim, &["kind"], "PersistentVolumeClaim");
        set_default(claim, &["spec", "volumeMode"], "Filesystem");
        set_default(claim, &["status"], json!({ "phase": "Pending" }));
    }
    set_default(object, &["status", "replicas"], 0);
    set_default(object, &["status", "availableReplicas"], 0);
}

pub(super) fn daemon_set(object: &mut Value) {
    template(object);
    set_default(object, &["spec", "updateStrategy", "type"], "RollingUpdate");
    if text(object, &["spec", "updateStrategy", "type"]) == "RollingUpdate" {
        set_default(object, &["spec", "updateStrategy", "rollingUpdate", "maxUnavailable"], 1);
        set_default(object, &["spec", "updateStrategy", "rollingUpdate", "maxSurge"], 0);
    }
    set_default(object, &["spec", "revisionHistoryLimit"], 10);
    ensure_object(object, &["status"]);
}

fn template(object: &mut Value) {
    if let Some(spec) =
        object.get_mut("spec").and_then(|spec| spec.get_mut("template")).and_then(|t| t.get_mut("spec"))
    {
        pod::pod_spec(spec);
    }
}
