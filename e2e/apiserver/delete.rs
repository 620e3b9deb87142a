//! Deletion: at once, gracefully, or as soon as nobody holds the object back.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::kind::Kind;
use super::object::{Key, Object, has_finalizers};
use super::rules::error::{ApiError, FieldError};
use super::rules::value::{items, number, set, text};
use super::store::{State, Store};
use super::write;

/// `meta/v1 DeleteOptions`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeleteOptions {
    /// Seconds for a pod to end by itself; 0 removes it at once.
    pub grace_period_seconds: Option<i64>,
    /// What must hold for the deletion.
    pub preconditions: Option<Preconditions>,
    /// `Background`, `Foreground` or `Orphan`.
    pub propagation_policy: Option<String>,
    /// The old form of `Orphan`.
    pub orphan_dependents: Option<bool>,
    /// `["All"]` to delete nothing.
    pub dry_run: Vec<String>,
}

/// What must hold for a deletion.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Preconditions {
    /// The object's uid.
    pub uid: Option<String>,
    /// The object's version.
    pub resource_version: Option<String>,
}

/// What a deletion came to.
#[derive(Clone, Debug)]
pub enum Deleted {
    /// It is gone; this was its last state.
    Gone(Arc<Object>),
    /// It is terminating.
    Terminating(Arc<Object>),
}

/// Holds an object until its dependents are gone.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// Holds an object until its dependents have forgotten it.
pub(super) const ORPHAN: &str = "orphan";

impl DeleteOptions {
    /// With this grace period.
    pub fn grace(seconds: i64) -> Self {
        Self { grace_period_seconds: Some(seconds), ..Self::default() }
    }

    fn is_dry_run(&self) -> bool {
        !self.dry_run.is_empty()
    }
}

impl Deleted {
    /// The object, whatever became of it.
    pub fn object(&self) -> &Arc<Object> {
        let (Self::Gone(object) | Self::Terminating(object)) = self;
        object
    }
}

impl Store {
    /// Deletes an object.
    ///
    /// # Errors
    /// As the API says them.
    pub fn delete(&self, kind: Kind, key: &Key, options: &DeleteOptions) -> Result<Deleted, ApiError> {
        let mut state = self.lock();
        let Some(old) = state.get(kind, key).cloned() else {
            return Err(ApiError::not_found(kind, &key.name));
        };
        check(&old, options)?;
        let mut new = old.value.clone();
        mark(kind, &mut new, options);
        if write::may_go(kind, &new) {
            if options.is_dry_run() {
                return Ok(Deleted::Gone(old));
            }
            return Ok(Deleted::Gone(self.remove(&mut state, &old)));
        }
        if options.is_dry_run() || new == old.value {
            return Ok(Deleted::Terminating(old));
        }
        Ok(Deleted::Terminating(self.put(&mut state, kind, new)))
    }

    /// Takes an object out, with what goes with it: a Service gives back its addresses and takes along the Endpoints
    /// of its name, as the real server's Service registry does.
    ///
    /// What watches are told is the state that was stored last: a mark that was never stored is never seen.
    pub(super) fn remove(&self, state: &mut State, old: &Arc<Object>) -> Arc<Object> {
        if old.kind == Kind::Service {
            state.allocator.release(&old.value);
            if let Some(endpoints) = state.get(Kind::Endpoints, &old.key).cloned() {
                self.take(state, &endpoints);
            }
        }
        self.take(state, old)
    }
}

/// Whether the client's options make sense and its preconditions hold.
fn check(old: &Object, options: &DeleteOptions) -> Result<(), ApiError> {
    let invalid = |error| {
        let mut refused = ApiError::invalid(old.kind, "", vec![error]);
        refused.message = refused.message.replacen(old.kind.info().name, "DeleteOptions.meta.k8s.io", 1);
        Err(refused)
    };
    let policy = options.propagation_policy.as_deref();
    if let Some(policy) = policy.filter(|it| !["Background", "Foreground", "Orphan"].contains(it)) {
        let known = ["Background", "Foreground", "Orphan"];
        return invalid(FieldError::not_supported("propagationPolicy", policy, &known));
    }
    if policy.is_some() && options.orphan_dependents.is_some() {
        let why = "orphanDependents and deletionPropagation cannot be both set";
        return invalid(FieldError::invalid("propagationPolicy", policy.unwrap_or_default(), why));
    }
    let Some(preconditions) = &options.preconditions else { return Ok(()) };
    let failed = |what: &str, wanted: &str, found: &str| {
        let why =
            format!("Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}");
        Err(ApiError::conflict(old.kind, &old.key.name, &why))
    };
    if let Some(uid) = preconditions.uid.as_deref().filter(|uid| *uid != old.uid()) {
        return failed("UID", uid, old.uid());
    }
    let version = text(&old.value, &["metadata", "resourceVersion"]);
    match preconditions.resource_version.as_deref().filter(|wanted| *wanted != version) {
        Some(wanted) => failed("ResourceVersion", wanted, version),
        None => Ok(()),
    }
}

/// Marks an object as terminating, or shortens the time it has left.
fn mark(kind: Kind, new: &mut Value, options: &DeleteOptions) {
    let grace = grace(kind, new, options);
    let first = text(new, &["metadata", "deletionTimestamp"]).is_empty();
    let left = number(new, &["metadata", "deletionGracePeriodSeconds"]);
    if first || left.is_some_and(|left| grace < left) {
        let end = jiff::Timestamp::now()
            .checked_add(jiff::SignedDuration::from_secs(grace))
            .unwrap_or(jiff::Timestamp::MAX);
        set(new, &["metadata", "deletionTimestamp"], json!(end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()));
        set(new, &["metadata", "deletionGracePeriodSeconds"], json!(grace));
        let generation = number(new, &["metadata", "generation"]);
        if let Some(generation) = generation.filter(|_| first) {
            set(new, &["metadata", "generation"], json!(generation + 1));
        }
    }
    hold(new, options);
    if kind == Kind::Namespace {
        set(new, &["status", "phase"], json!("Terminating"));
    }
}

/// The seconds an object has. Only pods that run somewhere get any.
fn grace(kind: Kind, pod: &Value, options: &DeleteOptions) -> i64 {
    let idle = text(pod, &["spec", "nodeName"]).is_empty()
        || matches!(text(pod, &["status", "phase"]), "Succeeded" | "Failed");
    if kind != Kind::Pod || idle {
        return 0;
    }
    let own = number(pod, &["spec", "terminationGracePeriodSeconds"]).unwrap_or(30);
    match options.grace_period_seconds.unwrap_or(own) {
        negative if negative < 0 => 1,
        seconds => seconds,
    }
}

/// Adds the finalizer that the propagation policy stands for, and takes away the other.
fn hold(object: &mut Value, options: &DeleteOptions) {
    let policy = match (options.propagation_policy.as_deref(), options.orphan_dependents) {
        (Some("Foreground"), _) => Some(FOREGROUND),
        (Some("Orphan"), _) | (None, Some(true)) => Some(ORPHAN),
        (None, None) => return,
        _ => None,
    };
    let held = has_finalizers(object);
    let others = items(object, &["metadata", "finalizers"])
        .iter()
        .filter(|it| !matches!(it.as_str(), Some(FOREGROUND | ORPHAN)))
        .cloned();
    let finalizers: Vec<Value> = others.chain(policy.map(|name| json!(name))).collect();
    if held || !finalizers.is_empty() {
        set(object, &["metadata", "finalizers"], Value::Array(finalizers));
    }
}
