//! StatefulSets: pods with numbers, made in order, each with a name of its own under the set's Service.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::told;
use super::pod::{from_template, is_active, is_finished, is_ready, label};
use super::replica_set::{count, set_counts};
use super::{WHO, Workloads, template_hash};
use crate::apiserver::delete::DeleteOptions;
use crate::apiserver::kind::Kind;
use crate::apiserver::object::Object;
use crate::apiserver::rules::value::{at, number, set, text};
use crate::apiserver::write::{Part, WriteOptions};

const REVISION_LABEL: &str = "controller-revision-hash";

impl Workloads {
    pub(super) fn stateful_set(&mut self, owner: &Arc<Object>) {
        let revision = format!("{}-{}", owner.key.name, template_hash(&owner.value));
        let mut pods: BTreeMap<usize, Arc<Object>> = BTreeMap::new();
        for pod in self.controlled(Kind::Pod, owner) {
            if let Some(ordinal) = ordinal(&owner.key.name, &pod.key.name) {
                pods.insert(ordinal, pod);
            }
        }
        self.next_step(owner, &revision, &mut pods);
        self.stateful_set_status(owner, &revision, &pods);
    }

    /// Does what may be done now: everything at once, or in order up to the first pod that is not ready.
    fn next_step(&mut self, owner: &Arc<Object>, revision: &str, pods: &mut BTreeMap<usize, Arc<Object>>) {
        let spec = |path: &[&str]| at(&owner.value, &[&["spec"], path].concat());
        let one_by_one = spec(&["podManagementPolicy"]).and_then(Value::as_str) != Some("Parallel");
        let first = count(number(&owner.value, &["spec", "ordinals", "start"]).unwrap_or_default());
        let replicas = count(number(&owner.value, &["spec", "replicas"]).unwrap_or(1));
        let wanted = first..first + replicas;
        for ordinal in wanted.clone() {
            if pods.get(&ordinal).is_some_and(|pod| is_finished(pod) && !pod.is_terminating()) {
                self.end(pods, ordinal);
            }
            if let std::collections::btree_map::Entry::Vacant(free) = pods.entry(ordinal) {
                let pod = numbered(owner, revision, ordinal);
                let made = self.store.create(Kind::Pod, &owner.key.namespace, pod, &WriteOptions::by(WHO));
                let Some(made) = told(WHO, made) else { return };
                self.made(&made.object);
                free.insert(made.object);
            }
            let settled = pods.get(&ordinal).is_some_and(|pod| is_ready(pod) && !pod.is_terminating());
            if one_by_one && !settled {
                return;
            }
        }
        let condemned: Vec<usize> = pods.keys().copied().filter(|it| !wanted.contains(it)).collect();
        for ordinal in condemned.iter().rev() {
            if pods.get(ordinal).is_some_and(|pod| !pod.is_terminating()) {
                self.end(pods, *ordinal);
            }
            if one_by_one {
                return;
            }
        }
        if spec(&["updateStrategy", "type"]).and_then(Value::as_str) == Some("OnDelete") {
            return;
        }
        let partition = number(&owner.value, &["spec", "updateStrategy", "rollingUpdate", "partition"]);
        let updated = wanted.start.max(count(partition.unwrap_or_default()))..wanted.end;
        for ordinal in updated.rev() {
            let Some(pod) = pods.get(&ordinal) else { continue };
            if pod.is_terminating() {
                return;
            }
            if label(pod, REVISION_LABEL) != revision {
                return self.end(pods, ordinal);
            }
            if !is_ready(pod) {
                return;
            }
        }
    }

    /// Deletes a pod. One that goes at once leaves its number free.
    fn end(&self, pods: &mut BTreeMap<usize, Arc<Object>>, ordinal: usize) {
        let Some(pod) = pods.get(&ordinal) else { return };
        told(WHO, self.store.delete(Kind::Pod, &pod.key, &DeleteOptions::default()));
        match self.store.get(Kind::Pod, &pod.key.namespace, &pod.key.name) {
            Some(terminating) => drop(pods.insert(ordinal, terminating)),
            None => drop(pods.remove(&ordinal)),
        }
    }

    fn stateful_set_status(&self, owner: &Object, revision: &str, pods: &BTreeMap<usize, Arc<Object>>) {
        let active: Vec<&Arc<Object>> = pods.values().filter(|pod| is_active(pod)).collect();
        let ready = active.iter().filter(|pod| is_ready(pod)).count();
        let updated = active.iter().filter(|pod| label(pod, REVISION_LABEL) == revision).count();
        let replicas = count(number(&owner.value, &["spec", "replicas"]).unwrap_or(1));
        let before = text(&owner.value, &["status", "currentRevision"]);
        let complete = updated == replicas && ready == replicas && active.len() == replicas;
        let current = if complete || before.is_empty() { revision } else { before };
        let of_current = active.iter().filter(|pod| label(pod, REVISION_LABEL) == current).count();
        let generation = number(&owner.value, &["metadata", "generation"]);
        let done = self.store.modify(Kind::StatefulSet, &owner.key, Part::Status, WHO, |it| {
            set_counts(
                it,
                generation,
                &[
                    ("replicas", active.len()),
                    ("readyReplicas", ready),
                    ("currentReplicas", of_current),
                    ("updatedReplicas", updated),
                ],
            );
            set(it, &["status", "availableReplicas"], json!(ready));
            set(it, &["status", "currentRevision"], current);
            set(it, &["status", "updateRevision"], revision);
            set(it, &["status", "collisionCount"], 0);
        });
        told(WHO, done);
    }
}

/// The pod with this number.
fn numbered(owner: &Object, revision: &str, ordinal: usize) -> Value {
    let name = format!("{}-{ordinal}", owner.key.name);
    let mut pod = from_template(owner);
    let labels = [
        ("statefulset.kubernetes.io/pod-name", name.as_str()),
        ("apps.kubernetes.io/pod-index", &ordinal.to_string()),
        (REVISION_LABEL, revision),
    ];
    for (label, value) in labels {
        set(&mut pod, &["metadata", "labels", label], value);
    }
    set(&mut pod, &["spec", "hostname"], name.as_str());
    set(&mut pod, &["spec", "subdomain"], text(&owner.value, &["spec", "serviceName"]));
    set(&mut pod, &["metadata", "name"], name);
    pod
}

fn ordinal(owner: &str, pod: &str) -> Option<usize> {
    pod.strip_prefix(owner)?.strip_prefix('-')?.parse().ok()
}
