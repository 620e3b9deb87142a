//! Server-side apply and the ownership of fields (KEP-555, `sigs.k8s.io/structured-merge-diff`).
//!
//! Every write records which fields its manager set; an apply merges the manager's whole intent into the live object,
//! asks before it changes what somebody else set, and takes away what the manager no longer wants and nobody else owns.

mod managers;
mod merge;
mod set;
#[cfg(test)]
mod tests;
mod walk;

use serde_json::{Value, json};

use self::managers::{Manager, Managers, Operation};
use self::set::FieldSet;
use super::error::ApiError;
use super::schema::Type;
use super::value::{at, remove, set, text};
use crate::apiserver::kind::Kind;

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Merges what a manager applies into the live object and records what it owns.
///
/// What comes back is what an update would bring: it still needs defaults, strategy and validation. An apply that
/// changes nothing gives the live object back as it is.
pub fn apply(
    kind: Kind,
    live: Option<&Value>,
    applied: &Value,
    manager: &str,
    force: bool,
    now: &str,
    subresource: &str,
) -> Result<Value, ApiError> {
    if at(applied, &["metadata", "managedFields"]).is_some() {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    let mut config = applied.clone();
    keep_half(kind, &mut config, subresource);
    let root = Type::Root(kind);
    walk::check_lists(root, &config, &mut Vec::new()).map_err(|why| untyped(kind, applied, &why))?;

    let empty = json!({});
    let before = live.unwrap_or(&empty);
    let mut managers = Managers::of(before);
    if live.is_some() && managers.is_empty() {
        managers.adopt(Manager::update("before-first-apply", kind, ""), walk::field_set(root, before), now);
    }
    let mut merged = merge::merge(root, before, &config);
    let wanted = stripped(walk::field_set(root, &config));
    let me = Manager {
        name: manager.to_owned(),
        operation: Operation::Apply,
        ..Manager::update("", kind, subresource)
    };

    let comparison = walk::compare(root, before, &merged);
    let changed = comparison.added.union(&comparison.modified);
    let conflicts = managers.conflicts(&me, &changed);
    if !conflicts.is_empty() {
        if !(force || migrates(kind, before, manager, &conflicts)) {
            let causes = conflicts
                .iter()
                .flat_map(|(other, fields)| fields.paths().into_iter().map(|path| (other.conflict(), path)))
                .collect();
            return Err(ApiError::apply_conflict(causes));
        }
        managers.disown_others(&me, &changed);
    }
    let last = managers.fields(&me);
    let others = managers.others(&me);
    merge::prune(root, &mut merged, &last.difference(&wanted), &wanted.union(&others));
    let removed = walk::compare(root, before, &merged).removed;
    managers.disown_others(&me, &removed);
    managers.replace(me, wanted, now);

    renew_last_applied(before, applied, manager, &mut merged);
    for key in ["apiVersion", "kind"] {
        if let Some(value) = applied.get(key) {
            set(&mut merged, &[key], value.clone());
        }
    }
    if let Some(live) = live {
        let mut unchanged = merged.clone();
        set_managers(&mut unchanged, &Managers::of(live));
        let same_managers = managers == Managers::of(live);
        let mut bare = live.clone();
        set_managers(&mut bare, &Managers::of(live));
        if same_managers && unchanged == bare {
            return Ok(live.clone());
        }
    }
    set_managers(&mut merged, &managers);
    Ok(merged)
}

/// Records which fields a create, an update or a patch changed, and by whom.
pub fn track_update(
    kind: Kind,
    old: Option<&Value>,
    new: &mut Value,
    manager: &str,
    now: &str,
    subresource: &str,
) {
    let empty = json!({});
    let before = old.unwrap_or(&empty);
    let root = Type::Root(kind);
    // A client may leave the list out, send it back, or empty it on purpose, which forgets everybody.
    let mut managers = match new.get("metadata").and_then(|metadata| metadata.get("managedFields")) {
        None | Some(Value::Null) => Managers::of(before),
        Some(_) => Managers::of(new),
    };
    let mut after = new.clone();
    keep_half(kind, &mut after, subresource);
    let mut base = before.clone();
    keep_half(kind, &mut base, subresource);
    let comparison = walk::compare(root, &base, &after);
    let changed = stripped(comparison.added.union(&comparison.modified));
    let me = Manager::update(manager, kind, subresource);
    if !(changed.is_empty() && comparison.removed.is_empty()) {
        managers.disown_others(&me, &changed);
        managers.disown_others(&me, &comparison.removed);
        let mine = managers.fields(&me).difference(&comparison.removed).union(&changed);
        managers.replace(me, mine, now);
    }
    set_managers(new, &managers);
}

/// The half of an object that a request to a subresource may write.
fn keep_half(kind: Kind, object: &mut Value, subresource: &str) {
    if !kind.info().status {
        return;
    }
    match subresource {
        "" => drop(remove(object, &["status"])),
        "status" => drop(remove(object, &["spec"])),
        _ => {}
    }
}

/// Fields nobody owns: identity, and what the server keeps.
fn stripped(fields: FieldSet) -> FieldSet {
    let mut fields = fields;
    for key in ["apiVersion", "kind", "metadata"] {
        fields.remove(&[key]);
    }
    for key in [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "generation",
        "managedFields",
        "resourceVersion",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        fields.remove(&["metadata", key]);
    }
    fields
}

fn set_managers(object: &mut Value, managers: &Managers) {
    if managers.is_empty() {
        remove(object, &["metadata", "managedFields"]);
    } else {
        set(object, &["metadata", "managedFields"], managers.to_json());
    }
}

/// `kubectl apply --server-side` after client-side `kubectl apply`: what the last-applied annotation says and the object
/// still has is kubectl's own, whoever is recorded as its manager.
fn migrates(kind: Kind, live: &Value, manager: &str, conflicts: &[(Manager, FieldSet)]) -> bool {
    if manager != "kubectl" {
        return false;
    }
    let annotation = text(live, &["metadata", "annotations", LAST_APPLIED]);
    let Ok(last) = serde_json::from_str::<Value>(annotation) else {
        return false;
    };
    let root = Type::Root(kind);
    let merged = merge::merge(root, live, &last);
    let comparison = walk::compare(root, live, &merged);
    let kept = walk::field_set(root, &last).difference(&comparison.added.union(&comparison.modified));
    conflicts.iter().all(|(_, fields)| fields.difference(&kept).is_empty())
}

/// Keeps the annotation of client-side apply in step, so that both forms of apply can follow each other.
fn renew_last_applied(live: &Value, applied: &Value, manager: &str, merged: &mut Value) {
    if manager != "kubectl" || text(live, &["metadata", "annotations", LAST_APPLIED]).is_empty() {
        return;
    }
    let mut config = applied.clone();
    remove(&mut config, &["metadata", "annotations", LAST_APPLIED]);
    set(merged, &["metadata", "annotations", LAST_APPLIED], format!("{config}\n"));
}

fn untyped(kind: Kind, applied: &Value, why: &str) -> ApiError {
    let info = kind.info();
    let (namespace, name) = (text(applied, &["metadata", "namespace"]), text(applied, &["metadata", "name"]));
    let group = if info.group.is_empty() { format!("/{}", info.version) } else { kind.api_version() };
    ApiError {
        code: 500,
        reason: "",
        message: format!(
            "failed to create typed patch object ({namespace}/{name}; {group}, Kind={}): {why}",
            info.name
        ),
        details: None,
    }
}
