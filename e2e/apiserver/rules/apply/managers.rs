//! `metadata.managedFields`: who owns which fields.

use serde_json::{Value, json};

use super::set::FieldSet;
use crate::apiserver::kind::Kind;
use crate::apiserver::rules::value::{items, text};

/// How a manager came to its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    /// By server-side apply.
    Apply,
    /// By any other write.
    Update,
}

/// Who owns fields. The same name is another manager for another operation or subresource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manager {
    pub(super) name: String,
    pub(super) operation: Operation,
    pub(super) api_version: String,
    pub(super) subresource: String,
}

impl Manager {
    pub(super) fn update(name: &str, kind: Kind, subresource: &str) -> Self {
        Self {
            name: name.to_owned(),
            operation: Operation::Update,
            api_version: kind.api_version(),
            subresource: subresource.to_owned(),
        }
    }

    /// `conflict with "kubectl" using v1`
    pub(super) fn conflict(&self) -> String {
        let mut message = format!("conflict with \"{}\"", self.name);
        if !self.subresource.is_empty() {
            message.push_str(&format!(" with subresource \"{}\"", self.subresource));
        }
        if self.operation == Operation::Update {
            message.push_str(&format!(" using {}", self.api_version));
        }
        message
    }
}

/// All managers of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Managers {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    manager: Manager,
    time: String,
    fields: FieldSet,
}

impl Managers {
    /// The managers of an object. Entries without fields, as clients send to reset the list, are none.
    pub(super) fn of(object: &Value) -> Self {
        let entries = items(object, &["metadata", "managedFields"])
            .iter()
            .map(|entry| Entry {
                manager: Manager {
                    name: text(entry, &["manager"]).to_owned(),
                    operation: if text(entry, &["operation"]) == "Apply" {
                        Operation::Apply
                    } else {
                        Operation::Update
                    },
                    api_version: text(entry, &["apiVersion"]).to_owned(),
                    subresource: text(entry, &["subresource"]).to_owned(),
                },
                time: text(entry, &["time"]).to_owned(),
                fields: entry.get("fieldsV1").map(FieldSet::from_json).unwrap_or_default(),
            })
            .filter(|entry| !entry.fields.is_empty())
            .collect();
        Self { entries }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What a manager owns.
    pub(super) fn fields(&self, manager: &Manager) -> FieldSet {
        self.entries
            .iter()
            .find(|entry| entry.manager == *manager)
            .map(|entry| entry.fields.clone())
            .unwrap_or_default()
    }

    /// What all others own.
    pub(super) fn others(&self, manager: &Manager) -> FieldSet {
        self.entries
            .iter()
            .filter(|entry| entry.manager != *manager)
            .fold(FieldSet::default(), |all, entry| all.union(&entry.fields))
    }

    /// Who else owns which of these fields.
    pub(super) fn conflicts(&self, manager: &Manager, changed: &FieldSet) -> Vec<(Manager, FieldSet)> {
        self.entries
            .iter()
            .filter(|entry| entry.manager != *manager)
            .map(|entry| (entry.manager.clone(), entry.fields.intersection(changed)))
            .filter(|(_, fields)| !fields.is_empty())
            .collect()
    }

    /// Takes fields from everybody else.
    pub(super) fn disown_others(&mut self, manager: &Manager, fields: &FieldSet) {
        for entry in self.entries.iter_mut().filter(|entry| entry.manager != *manager) {
            entry.fields = entry.fields.difference(fields);
        }
        self.entries.retain(|entry| !entry.fields.is_empty());
    }

    /// Adds a manager for fields that nobody was recorded for.
    pub(super) fn adopt(&mut self, manager: Manager, fields: FieldSet, now: &str) {
        self.replace(manager, super::stripped(fields), now);
    }

    /// Makes these fields all that a manager owns; its time moves on only when they changed.
    pub(super) fn replace(&mut self, manager: Manager, fields: FieldSet, now: &str) {
        match self.entries.iter_mut().find(|entry| entry.manager == manager) {
            Some(entry) if entry.fields == fields => {}
            Some(entry) => {
                entry.fields = fields;
                entry.time = now.to_owned();
            }
            None => self.entries.push(Entry { manager, time: now.to_owned(), fields }),
        }
        self.entries.retain(|entry| !entry.fields.is_empty());
        self.entries.sort_by(|one, other| {
            (one.manager.operation, &one.time, &one.manager.name).cmp(&(
                other.manager.operation,
                &other.time,
                &other.manager.name,
            ))
        });
    }

    pub(super) fn to_json(&self) -> Value {
        self.entries
            .iter()
            .map(|entry| {
                let mut value = json!({
                    "manager": entry.manager.name,
                    "operation": if entry.manager.operation == Operation::Apply { "Apply" } else { "Update" },
                    "apiVersion": entry.manager.api_version,
                    "time": entry.time,
                    "fieldsType": "FieldsV1",
                    "fieldsV1": entry.fields.to_json(),
                });
                if let (false, Some(map)) = (entry.manager.subresource.is_empty(), value.as_object_mut()) {
                    map.insert("subresource".to_owned(), json!(entry.manager.subresource));
                }
                value
            })
            .collect()
    }
}
