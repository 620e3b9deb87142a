//! ReplicaSets: as many pods as wanted.

use std::sync::Arc;

use serde_json::json;

use super::super::told;
use super::pod::{from_template, is_active, is_ready};
use super::{WHO, Workloads};
use crate::apiserver::delete::DeleteOptions;
use crate::apiserver::kind::Kind;
use crate::apiserver::object::Object;
use crate::apiserver::rules::value::{number, set, text};
use crate::apiserver::write::{Part, WriteOptions};

impl Workloads {
    pub(super) fn replica_set(&mut self, set: &Arc<Object>) {
        let wanted = count(number(&set.value, &["spec", "replicas"]).unwrap_or(1));
        let mut pods: Vec<Arc<Object>> =
            self.controlled(Kind::Pod, set).into_iter().filter(|pod| is_active(pod)).collect();
        for _ in pods.len()..wanted {
            let mut pod = from_template(set);
            set_generate_name(&mut pod, &set.key.name);
            let made = self.store.create(Kind::Pod, &set.key.namespace, pod, &WriteOptions::by(WHO));
            let Some(made) = told(WHO, made) else { break };
            self.made(&made.object);
            pods.push(made.object);
        }
        if pods.len() > wanted {
            // The unready go first, then the youngest.
            pods.sort_by_key(|pod| (is_ready(pod), std::cmp::Reverse(pod.version)));
            for pod in pods.drain(..pods.len() - wanted) {
                told(WHO, self.store.delete(Kind::Pod, &pod.key, &DeleteOptions::default()));
            }
        }
        let ready = pods.iter().filter(|pod| is_ready(pod)).count();
        let generation = number(&set.value, &["metadata", "generation"]);
        let done = self.store.modify(Kind::ReplicaSet, &set.key, Part::Status, WHO, |set| {
            set_counts(
                set,
                generation,
                &[
                    ("replicas", pods.len()),
                    ("fullyLabeledReplicas", pods.len()),
                    ("readyReplicas", ready),
                    ("availableReplicas", ready),
                ],
            );
        });
        told(WHO, done);
    }
}

/// Writes counts into a status. Zeros are left out, but for `replicas`, as Go's `omitempty` leaves them out.
pub(super) fn set_counts(object: &mut serde_json::Value, generation: Option<i64>, counts: &[(&str, usize)]) {
    if let Some(generation) = generation {
        set(object, &["status", "observedGeneration"], generation);
    }
    for (name, count) in counts {
        if *count > 0 || *name == "replicas" {
            set(object, &["status", name], json!(count));
        } else {
            crate::apiserver::rules::value::remove(object, &["status", name]);
        }
    }
}

/// A number of replicas.
pub(super) fn count(replicas: i64) -> usize {
    usize::try_from(replicas).unwrap_or_default()
}

fn set_generate_name(pod: &mut serde_json::Value, owner: &str) {
    debug_assert!(text(pod, &["metadata", "name"]).is_empty());
    set(pod, &["metadata", "generateName"], format!("{owner}-"));
}
