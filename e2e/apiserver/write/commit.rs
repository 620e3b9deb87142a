//! The last steps of a write, under the store's lock: preconditions, strategy, allocation, validation, commit.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Part, WriteOptions, name, version_of};
use crate::apiserver::kind::Kind;
use crate::apiserver::object::{Key, Object, has_finalizers, is_terminating};
use crate::apiserver::rules::error::{ApiError, FieldError};
use crate::apiserver::rules::value::{at, copy, items, items_mut, number, remove, set, text};
use crate::apiserver::rules::{apply, strategy, validate};
use crate::apiserver::store::{State, Store};

impl Store {
    /// Makes a decoded object. `track` says whether its fields still need an owner.
    pub(super) fn commit_new(
        &self,
        state: &mut State,
        kind: Kind,
        mut new: Value,
        options: &WriteOptions,
        track: bool,
    ) -> Result<Arc<Object>, ApiError> {
        let namespace = text(&new, &["metadata", "namespace"]).to_owned();
        let given = text(&new, &["metadata", "name"]).to_owned();
        if kind.info().namespaced {
            open_namespace(state, kind, &given, &namespace)?;
        }
        if !version_of(&new).is_empty() {
            return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
        }
        name::generate(&mut new, |name| state.get(kind, &Key::new(&namespace, name)).is_some());
        let now = now();
        for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
            remove(&mut new, &["metadata", field]);
        }
        if track {
            apply::track_update(kind, None, &mut new, &options.manager, &now, "");
        }
        set(&mut new, &["metadata", "uid"], json!(uuid::Uuid::new_v4().to_string()));
        set(&mut new, &["metadata", "creationTimestamp"], json!(now));
        strategy::prepare_create(kind, &mut new);
        let name = text(&new, &["metadata", "name"]).to_owned();
        // A dry run allocates from a copy, so that not even the order of what is free changes.
        let mut copy = (kind == Kind::Service && options.dry_run).then(|| state.allocator.clone());
        if kind == Kind::Service {
            let allocator = copy.as_mut().unwrap_or(&mut state.allocator);
            allocator.allocate(&mut new, None).map_err(|errors| ApiError::invalid(kind, &name, errors))?;
        }
        let mut wrong = validate::create(kind, &new);
        let exists = state.get(kind, &Key::new(&namespace, &name)).is_some();
        if name.is_empty() && wrong.is_empty() {
            wrong.push(FieldError::required("metadata.name", "name or generateName is required"));
        }
        if !wrong.is_empty() || exists || options.dry_run {
            if kind == Kind::Service && copy.is_none() {
                state.allocator.release(&new);
            }
            if !wrong.is_empty() {
                return Err(ApiError::invalid(kind, &name, wrong));
            }
            if exists {
                return Err(ApiError::already_exists(kind, &name));
            }
            return Ok(Arc::new(Object::new(kind, 0, new)));
        }
        Ok(self.put(state, kind, new))
    }

    /// Replaces a part of an object by that of a decoded one.
    pub(super) fn commit_change(
        &self,
        state: &mut State,
        old: &Arc<Object>,
        part: Part,
        mut new: Value,
        options: &WriteOptions,
        track: bool,
    ) -> Result<Arc<Object>, ApiError> {
        let kind = old.kind;
        preconditions(old, &new)?;
        for field in ["creationTimestamp", "uid"] {
            if text(&new, &["metadata", field]).is_empty() {
                copy(&mut new, &old.value, &["metadata", field]);
            }
        }
        for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "generation"] {
            copy(&mut new, &old.value, &["metadata", field]);
        }
        let now = now();
        if track {
            apply::track_update(kind, Some(&old.value), &mut new, &options.manager, &now, part.as_str());
        }
        match part {
            Part::Main | Part::Scale => strategy::prepare_update(kind, &mut new, &old.value),
            Part::Status => strategy::prepare_status_update(kind, &mut new, &old.value),
            Part::Finalize => only_finalizers(&mut new, &old.value),
        }
        // An allocation may move addresses around; a failure further down must leave them where they were.
        let mut allocator = None;
        if kind == Kind::Service && part != Part::Status && new.get("spec") != old.value.get("spec") {
            let mut trial = state.allocator.clone();
            trial
                .allocate(&mut new, Some(&old.value))
                .map_err(|errors| ApiError::invalid(kind, &old.key.name, errors))?;
            allocator = Some(trial);
        }
        let wrong = match part {
            Part::Main | Part::Scale => validate::update(kind, &new, &old.value),
            Part::Status => validate::status_update(kind, &new, &old.value),
            Part::Finalize => Vec::new(),
        };
        if !wrong.is_empty() {
            return Err(ApiError::invalid(kind, &old.key.name, wrong));
        }
        copy(&mut new, &old.value, &["metadata", "resourceVersion"]);
        if says_the_same(&mut new, &old.value) {
            return Ok(Arc::clone(old));
        }
        if options.dry_run {
            return Ok(Arc::new(Object::new(kind, old.version, new)));
        }
        if let Some(allocator) = allocator {
            state.allocator = allocator;
        }
        if may_go(kind, &new) { Ok(self.remove(state, old)) } else { Ok(self.put(state, kind, new)) }
    }
}

/// Now, as the API writes times.
pub(crate) fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Whether a terminating object has nothing left to wait for.
pub(crate) fn may_go(kind: Kind, value: &Value) -> bool {
    let waits = number(value, &["metadata", "deletionGracePeriodSeconds"]).unwrap_or_default() > 0;
    let held = kind == Kind::Namespace && !items(value, &["spec", "finalizers"]).is_empty();
    is_terminating(value) && !has_finalizers(value) && !waits && !held
}

/// Refuses what goes into a namespace that is missing or going away.
fn open_namespace(state: &State, kind: Kind, name: &str, namespace: &str) -> Result<(), ApiError> {
    match state.get(Kind::Namespace, &Key::new("", namespace)) {
        None => Err(ApiError::not_found(Kind::Namespace, namespace)),
        Some(found) if found.is_terminating() => Err(ApiError::namespace_terminating(kind, name, namespace)),
        Some(_) => Ok(()),
    }
}

/// What the client knew must still be so.
fn preconditions(old: &Object, new: &Value) -> Result<(), ApiError> {
    let uid = text(new, &["metadata", "uid"]);
    if !uid.is_empty() && uid != old.uid() {
        let why =
            format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", old.uid());
        return Err(ApiError::conflict(old.kind, &old.key.name, &why));
    }
    let known = version_of(new);
    if known.is_empty() && old.kind == Kind::Lease {
        // The one strategy here without AllowUnconditionalUpdate.
        let why = "must be specified for an update";
        let error = FieldError::invalid("metadata.resourceVersion", 0, why);
        return Err(ApiError::invalid(old.kind, &old.key.name, vec![error]));
    }
    if !known.is_empty() && known != "0" && known != version_of(&old.value) {
        return Err(ApiError::modified(old.kind, &old.key.name));
    }
    Ok(())
}

/// Whether a write changes nothing but the time at which fields were owned.
fn says_the_same(new: &mut Value, old: &Value) -> bool {
    if new == old {
        return true;
    }
    let owned = items(old, &["metadata", "managedFields"]);
    if items(new, &["metadata", "managedFields"]).len() != owned.len() {
        return false;
    }
    let mut same = new.clone();
    for (entry, old) in items_mut(&mut same, &["metadata", "managedFields"]).zip(owned) {
        copy(entry, old, &["time"]);
    }
    same == *old
}

/// The old object with the new one's `spec.finalizers`.
fn only_finalizers(new: &mut Value, old: &Value) {
    let finalizers = at(new, &["spec", "finalizers"]).cloned();
    let managed = at(new, &["metadata", "managedFields"]).cloned();
    *new = old.clone();
    if let Some(managed) = managed {
        set(new, &["metadata", "managedFields"], managed);
    }
    match finalizers.filter(|list| list.as_array().is_some_and(|list| !list.is_empty())) {
        Some(list) => set(new, &["spec", "finalizers"], list),
        None => drop(remove(new, &["spec", "finalizers"])),
    }
}
