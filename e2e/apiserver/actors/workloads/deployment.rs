//! Deployments: a ReplicaSet for each template, and the way from the old to the new.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::told;
use super::pod::{label, owner_reference};
use super::replica_set::{count, set_counts};
use super::rollout::{Limits, Set, grow, recreates, shrink};
use super::{WHO, Workloads, template_hash};
use crate::apiserver::delete::DeleteOptions;
use crate::apiserver::kind::Kind;
use crate::apiserver::object::{Key, Object};
use crate::apiserver::rules::value::{at, flag, items, number, set, text};
use crate::apiserver::write::{Part, WriteOptions, now, set_condition};

const HASH_LABEL: &str = "pod-template-hash";
const REVISION: &str = "deployment.kubernetes.io/revision";

impl Workloads {
    pub(super) fn deployment(&mut self, deployment: &Arc<Object>) {
        let hash = template_hash(&deployment.value);
        let mut old = self.controlled(Kind::ReplicaSet, deployment);
        old.retain(|set| !set.is_terminating());
        old.sort_by_key(|set| revision(set));
        let newest = old.last().map_or(0, |set| revision(set));
        let replicas = count(number(&deployment.value, &["spec", "replicas"]).unwrap_or(1));
        let new = match old.iter().position(|set| label(set, HASH_LABEL) == hash) {
            Some(at) => old.remove(at),
            None => {
                let Some(made) = self.make_set(deployment, &hash, newest + 1) else { return };
                made
            }
        };
        let number_of = if revision(&new) > newest || old.is_empty() { revision(&new) } else { newest };
        // Gone back to an older template: it is the newest revision from now on.
        let number_of =
            if old.iter().any(|set| revision(set) > revision(&new)) { newest + 1 } else { number_of };
        self.number(Kind::ReplicaSet, &new.key, number_of);
        self.number(Kind::Deployment, &deployment.key, number_of);
        self.roll(deployment, replicas, &new, &old);
        self.tidy(deployment, &old);
        self.deployment_status(deployment, replicas, &new, &old);
    }

    fn make_set(&mut self, deployment: &Object, hash: &str, revision: i64) -> Option<Arc<Object>> {
        let spec = |path: &[&str]| at(&deployment.value, &[&["spec"], path].concat()).cloned();
        let mut template = spec(&["template"]).unwrap_or_default();
        set(&mut template, &["metadata", "labels", HASH_LABEL], hash);
        let mut selector = spec(&["selector"]).unwrap_or_default();
        set(&mut selector, &["matchLabels", HASH_LABEL], hash);
        let object = json!({
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": format!("{}-{hash}", deployment.key.name),
                "namespace": &*deployment.key.namespace,
                "labels": template.get("metadata").and_then(|it| it.get("labels")),
                "annotations": { REVISION: revision.to_string() },
                "ownerReferences": [owner_reference(deployment)],
            },
            "spec": { "replicas": 0, "selector": selector, "template": template },
        });
        let namespace = &deployment.key.namespace;
        let made = told(WHO, self.store.create(Kind::ReplicaSet, namespace, object, &WriteOptions::by(WHO)))?;
        self.made(&made.object);
        Some(made.object)
    }

    fn roll(&self, deployment: &Object, replicas: usize, new: &Object, old: &[Arc<Object>]) {
        let mut new_size = size(new);
        let old_sizes: Vec<Set> = old.iter().map(|set| size(set)).collect();
        if flag(&deployment.value, &["spec", "paused"]) {
            // Only the number of pods follows, and not the template.
            if old_sizes.iter().all(|set| set.wanted == 0) {
                self.scale(&new.key, replicas);
            }
            return;
        }
        if recreates(&deployment.value) {
            old.iter().for_each(|set| self.scale(&set.key, 0));
            let left = |set: &Arc<Object>| !self.controlled(Kind::Pod, set).is_empty();
            if !old.iter().any(left) {
                self.scale(&new.key, replicas);
            }
            return;
        }
        let limits = Limits::of(&deployment.value, replicas);
        new_size.wanted = grow(replicas, limits, new_size, &old_sizes);
        self.scale(&new.key, new_size.wanted);
        for (set, size) in old.iter().zip(shrink(replicas, limits, new_size, &old_sizes)) {
            self.scale(&set.key, size);
        }
    }

    fn scale(&self, key: &Key, replicas: usize) {
        let done = self.store.modify(Kind::ReplicaSet, key, Part::Main, WHO, |it| {
            set(it, &["spec", "replicas"], json!(replicas));
        });
        told(WHO, done);
    }

    fn number(&self, kind: Kind, key: &Key, revision: i64) {
        let done = self.store.modify(kind, key, Part::Main, WHO, |object| {
            set(object, &["metadata", "annotations", REVISION], revision.to_string());
        });
        told(WHO, done);
    }

    /// Deletes the oldest of the sets that are empty and beyond `revisionHistoryLimit`.
    fn tidy(&self, deployment: &Object, old: &[Arc<Object>]) {
        let keep = count(number(&deployment.value, &["spec", "revisionHistoryLimit"]).unwrap_or(10));
        let is_empty = |set: &&Arc<Object>| {
            size(set).wanted == 0 && number(&set.value, &["status", "replicas"]).unwrap_or_default() == 0
        };
        let empty: Vec<&Arc<Object>> = old.iter().filter(is_empty).collect();
        for set in empty.iter().take(empty.len().saturating_sub(keep)) {
            told(WHO, self.store.delete(Kind::ReplicaSet, &set.key, &DeleteOptions::default()));
        }
    }

    fn deployment_status(&self, deployment: &Object, replicas: usize, new: &Object, old: &[Arc<Object>]) {
        let current = |set: &Object| {
            let set = self.store.get(Kind::ReplicaSet, &set.key.namespace, &set.key.name);
            let counted = |name: &str| {
                count(set.as_ref().and_then(|set| number(&set.value, &["status", name])).unwrap_or_default())
            };
            (counted("replicas"), counted("readyReplicas"), counted("availableReplicas"))
        };
        let (updated, new_ready, new_available) = current(new);
        let (mut all, mut ready, mut available) = (updated, new_ready, new_available);
        for set in old {
            let (it_all, it_ready, it_available) = current(set);
            all += it_all;
            ready += it_ready;
            available += it_available;
        }
        let least = replicas.saturating_sub(Limits::of(&deployment.value, replicas).unavailable);
        let complete = updated == replicas && all == replicas && available == replicas;
        let generation = number(&deployment.value, &["metadata", "generation"]);
        let done = self.store.modify(Kind::Deployment, &deployment.key, Part::Status, WHO, |it| {
            set_counts(
                it,
                generation,
                &[
                    ("replicas", all),
                    ("updatedReplicas", updated),
                    ("readyReplicas", ready),
                    ("availableReplicas", available),
                    ("unavailableReplicas", all.max(replicas).saturating_sub(available)),
                ],
            );
            if all == 0 {
                crate::apiserver::rules::value::remove(it, &["status", "replicas"]);
            }
            let minimum = if available >= least {
                ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.".to_owned())
            } else {
                let message = "Deployment does not have minimum availability.".to_owned();
                ("False", "MinimumReplicasUnavailable", message)
            };
            put(it, "Available", minimum);
            let progress = if complete {
                let message = format!("ReplicaSet \"{}\" has successfully progressed.", new.key.name);
                ("True", "NewReplicaSetAvailable", message)
            } else {
                ("True", "ReplicaSetUpdated", format!("ReplicaSet \"{}\" is progressing.", new.key.name))
            };
            put(it, "Progressing", progress);
        });
        told(WHO, done);
    }
}

/// Writes a condition if it says something new.
fn put(deployment: &mut Value, kind: &str, (status, reason, message): (&str, &str, String)) {
    let held = items(deployment, &["status", "conditions"]).iter().find(|it| text(it, &["type"]) == kind);
    if held.is_some_and(|it| text(it, &["reason"]) == reason && text(it, &["message"]) == message) {
        return;
    }
    let now = now();
    let since = held.filter(|it| text(it, &["status"]) == status).map(|it| text(it, &["lastTransitionTime"]));
    let since = since.unwrap_or(&now).to_owned();
    let condition = json!({
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastUpdateTime": now,
        "lastTransitionTime": since,
    });
    set_condition(deployment, condition);
}

fn size(set: &Object) -> Set {
    Set {
        wanted: count(number(&set.value, &["spec", "replicas"]).unwrap_or_default()),
        available: count(number(&set.value, &["status", "availableReplicas"]).unwrap_or_default()),
    }
}

fn revision(set: &Object) -> i64 {
    text(&set.value, &["metadata", "annotations", REVISION]).parse().unwrap_or_default()
}
