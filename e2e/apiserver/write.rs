//! Creates, updates and patches: an object goes through the rules and, when nothing is wrong with it, into the store.
//!
//! The order is that of the real server's registry: decode, defaults, preconditions, field ownership, strategy,
//! allocation, validation, commit. A dry run goes all the way but for the commit.

use std::sync::Arc;

use serde_json::{Value, json};

use super::kind::Kind;
use super::object::{Key, Object};
use super::rules::error::{ApiError, FieldError};
use super::rules::value::{at, set, text};
use super::rules::{apply, decode, defaults, patch, warnings};
use super::store::Store;

mod commit;
mod load;
mod name;
mod special;

pub(super) use commit::{may_go, now};
pub use load::Loaded;
pub(super) use special::{scale, set_condition};

/// What comes with a write besides the object.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// Who writes, for `metadata.managedFields`.
    pub manager: String,
    /// Go through everything and store nothing.
    pub dry_run: bool,
    /// What to do about fields the kind does not have.
    pub unknown_fields: UnknownFields,
}

/// `fieldValidation`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownFields {
    /// Drop them.
    Ignore,
    /// Drop them and say so.
    #[default]
    Warn,
    /// Refuse the object.
    Strict,
}

/// The part of an object a write is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Part {
    /// Everything but the status.
    #[default]
    Main,
    /// The status.
    Status,
    /// The number of replicas, as an `autoscaling/v1 Scale`.
    Scale,
    /// `spec.finalizers` of a Namespace.
    Finalize,
}

/// A change to an object that exists; apply makes it where it does not.
#[derive(Clone, Debug)]
pub enum Patch {
    /// RFC 6902.
    Json(Value),
    /// RFC 7396.
    Merge(Value),
    /// Kubernetes' own merge, which knows the keys of lists.
    Strategic(Value),
    /// Server-side apply.
    Apply {
        /// What the manager wants.
        object: Value,
        /// Take fields from other managers.
        force: bool,
    },
}

/// What a write came to.
#[derive(Clone, Debug)]
pub struct Written {
    /// The object as it is now, or would be after a dry run.
    pub object: Arc<Object>,
    /// Whether it was made by this write.
    pub created: bool,
    /// `Warning` headers.
    pub warnings: Vec<String>,
}

impl WriteOptions {
    /// The options of a manager that wants its typing errors refused.
    pub fn by(manager: &str) -> Self {
        Self { manager: manager.to_owned(), dry_run: false, unknown_fields: UnknownFields::Strict }
    }
}

impl Part {
    /// The path segment.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Main => "",
            Self::Status => "status",
            Self::Scale => "scale",
            Self::Finalize => "finalize",
        }
    }
}

impl Store {
    /// Makes an object.
    ///
    /// # Errors
    /// As the API says them.
    pub fn create(
        &self,
        kind: Kind,
        namespace: &str,
        body: Value,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        let (mut new, mut warnings) =
            decoded(kind, body, options, |found| decode::strict_error(kind, found))?;
        name::place(kind, namespace, &mut new)?;
        defaults::defaults(kind, &mut new);
        let mut state = self.lock();
        let object = self.commit_new(&mut state, kind, new, options, true)?;
        drop(state);
        warnings.extend(warnings::warnings(kind, Some(&object.value)));
        Ok(Written { object, created: true, warnings })
    }

    /// Replaces an object or one part of it.
    ///
    /// # Errors
    /// As the API says them.
    pub fn update(
        &self,
        kind: Kind,
        key: &Key,
        part: Part,
        body: Value,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        if part == Part::Scale {
            return self.update_scale(kind, key, &body, options);
        }
        let (mut new, mut warnings) =
            decoded(kind, body, options, |found| decode::strict_error(kind, found))?;
        name::place(kind, &key.namespace, &mut new)?;
        name::same(key, &new)?;
        defaults::defaults(kind, &mut new);
        let mut state = self.lock();
        let old = state.get(kind, key).cloned();
        let (object, created) = match old {
            Some(old) => (self.commit_change(&mut state, &old, part, new, options, true)?, false),
            None if creates_on_update(kind) && part == Part::Main && version_of(&new).is_empty() => {
                (self.commit_new(&mut state, kind, new, options, true)?, true)
            }
            None => return Err(ApiError::not_found(kind, &key.name)),
        };
        drop(state);
        warnings.extend(warnings::warnings(kind, Some(&object.value)));
        Ok(Written { object, created, warnings })
    }

    /// Changes an object or one part of it.
    ///
    /// # Errors
    /// As the API says them.
    pub fn patch(
        &self,
        kind: Kind,
        key: &Key,
        part: Part,
        patch: &Patch,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        if let Patch::Apply { object, force } = patch {
            return self.apply(kind, key, part, object, *force, options);
        }
        let mut state = self.lock();
        let Some(old) = state.get(kind, key).cloned() else {
            return Err(ApiError::not_found(kind, &key.name));
        };
        if part == Part::Scale {
            let scale = patched(kind, &scale(&old), patch)?;
            drop(state);
            return self.update_scale(kind, key, &scale, options);
        }
        let body = patched(kind, &old.value, patch)?;
        let (mut new, mut warnings) =
            decoded(kind, body, options, |found| invalid_patch(kind, key, patch, found))?;
        name::place(kind, &key.namespace, &mut new)?;
        name::same(key, &new)?;
        defaults::defaults(kind, &mut new);
        let object = self.commit_change(&mut state, &old, part, new, options, true)?;
        drop(state);
        warnings.extend(warnings::warnings(kind, Some(&object.value)));
        Ok(Written { object, created: false, warnings })
    }

    /// Changes an object in place, as one of the server's own actors. Nothing happens when it is not there, and
    /// nothing is written when nothing changes.
    ///
    /// # Errors
    /// As the API says them.
    pub(super) fn modify(
        &self,
        kind: Kind,
        key: &Key,
        part: Part,
        manager: &str,
        change: impl FnOnce(&mut Value),
    ) -> Result<Option<Arc<Object>>, ApiError> {
        let mut state = self.lock();
        let Some(old) = state.get(kind, key).cloned() else { return Ok(None) };
        let mut new = old.value.clone();
        change(&mut new);
        defaults::defaults(kind, &mut new);
        self.commit_change(&mut state, &old, part, new, &WriteOptions::by(manager), true).map(Some)
    }

    fn apply(
        &self,
        kind: Kind,
        key: &Key,
        part: Part,
        applied: &Value,
        force: bool,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        let (mut applied, mut warnings) =
            decoded(kind, applied.clone(), options, |found| decode::strict_error(kind, found))?;
        name::place(kind, &key.namespace, &mut applied)?;
        if text(&applied, &["metadata", "name"]).is_empty() {
            set(&mut applied, &["metadata", "name"], json!(&*key.name));
        }
        name::same(key, &applied)?;
        if at(&applied, &["metadata", "managedFields"]).is_some() {
            return Err(ApiError::bad_request("metadata.managedFields must be nil"));
        }
        let mut state = self.lock();
        let live = state.get(kind, key).cloned();
        if live.is_none() && part != Part::Main {
            return Err(ApiError::not_found(kind, &key.name));
        }
        let live_value = live.as_ref().map(|object| &object.value);
        let now = now();
        let merged = apply::apply(kind, live_value, &applied, &options.manager, force, &now, part.as_str())?;
        let mut new = merged;
        defaults::defaults(kind, &mut new);
        let (object, created) = match live {
            Some(old) => (self.commit_change(&mut state, &old, part, new, options, false)?, false),
            None if version_of(&new).is_empty() => {
                (self.commit_new(&mut state, kind, new, options, false)?, true)
            }
            None => return Err(ApiError::modified(kind, &key.name)),
        };
        drop(state);
        warnings.extend(warnings::warnings(kind, Some(&object.value)));
        Ok(Written { object, created, warnings })
    }
}

/// Applies a patch that is not an apply to a value of a kind.
fn patched(kind: Kind, current: &Value, patch: &Patch) -> Result<Value, ApiError> {
    match patch {
        Patch::Json(patch) => patch::json_patch(kind, current, patch),
        Patch::Merge(patch) => patch::merge_patch(kind, current, patch),
        Patch::Strategic(patch) => patch::strategic_merge(kind, current, patch),
        Patch::Apply { .. } => Err(ApiError::internal("an apply is no plain patch")),
    }
}

/// An object of a kind, and what there is to say about fields the kind does not have.
fn decoded(
    kind: Kind,
    body: Value,
    options: &WriteOptions,
    refuse: impl FnOnce(&[String]) -> ApiError,
) -> Result<(Value, Vec<String>), ApiError> {
    if options.unknown_fields == UnknownFields::Ignore {
        return Ok((decode::decode(kind, body)?, Vec::new()));
    }
    let object = decode::decode(kind, body.clone())?;
    // What comes out as it went in has nothing unknown in it; so it is with most updates.
    let found = if object == body { Vec::new() } else { decode::unknown_fields(kind, &body) };
    if options.unknown_fields == UnknownFields::Strict && !found.is_empty() {
        return Err(refuse(&found));
    }
    Ok((object, found))
}

fn invalid_patch(kind: Kind, key: &Key, patch: &Patch, unknown: &[String]) -> ApiError {
    let (Patch::Json(body) | Patch::Merge(body) | Patch::Strategic(body) | Patch::Apply { object: body, .. }) =
        patch;
    let why = format!("strict decoding error: {}", unknown.join(", "));
    ApiError::invalid(kind, &key.name, vec![FieldError::invalid("patch", body.to_string(), why)])
}

fn version_of(value: &Value) -> &str {
    text(value, &["metadata", "resourceVersion"])
}

/// The strategies with `AllowCreateOnUpdate`.
fn creates_on_update(kind: Kind) -> bool {
    matches!(kind, Kind::Service | Kind::Endpoints | Kind::Event | Kind::Lease)
}
