//! The forms in which objects are answered: as they are, their metadata only, or rows of a table; one by one, as a
//! list, or as the events of a watch.

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;
use http::header::ACCEPT;
use serde_json::{Map, Value, json};

use crate::apiserver::kind::Kind;
use crate::apiserver::object::{Object, encode, partial};
use crate::apiserver::rules::decode::event_from_core;
use crate::apiserver::rules::table;
use crate::apiserver::rules::value::{at, number, remove};

/// How a client wants objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Full,
    Partial,
    Table,
}

/// What a table's rows carry besides their cells: `includeObject`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Include {
    None,
    #[default]
    Metadata,
    Object,
}

/// Everything needed to write an object of a kind as a client wants it.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub(super) kind: Kind,
    pub(super) events_v1: bool,
    pub(super) form: Form,
    pub(super) include: Include,
}

/// `metadata` of a list.
#[derive(Debug, Default)]
pub(super) struct ListMeta {
    pub(super) version: u64,
    pub(super) next: Option<String>,
    pub(super) remaining: Option<usize>,
}

impl Form {
    /// The first form of `Accept` that is known. Protobuf and everything else that is not becomes plain JSON.
    pub(super) fn wanted(headers: &HeaderMap) -> Self {
        let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            if !matches!(media, "application/json" | "application/*" | "*/*") {
                continue;
            }
            let wanted = parts.find_map(|part| part.strip_prefix("as="));
            match wanted {
                None => return Self::Full,
                Some("Table") => return Self::Table,
                Some("PartialObjectMetadata" | "PartialObjectMetadataList") => return Self::Partial,
                Some(_) => {}
            }
        }
        Self::Full
    }
}

impl Include {
    pub(super) fn of(text: &str) -> Option<Self> {
        match text {
            "None" => Some(Self::None),
            "Metadata" => Some(Self::Metadata),
            "Object" => Some(Self::Object),
            _ => None,
        }
    }
}

impl View {
    /// One object.
    pub(super) fn object(&self, object: &Object) -> Bytes {
        match self.form {
            Form::Full if self.events_v1 => encode(&event_from_core(&object.value)),
            Form::Full => object.json().clone(),
            Form::Partial => object.partial_json().clone(),
            Form::Table => {
                let meta = ListMeta { version: object.version, ..ListMeta::default() };
                encode(&self.table(&[object], &meta, true))
            }
        }
    }

    /// A list.
    pub(super) fn list<'a>(
        &self,
        objects: impl ExactSizeIterator<Item = &'a Object>,
        meta: &ListMeta,
    ) -> Bytes {
        let (kind, api_version) = match self.form {
            Form::Table => {
                let objects: Vec<&Object> = objects.collect();
                return encode(&self.table(&objects, meta, true));
            }
            Form::Partial => ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1".to_owned()),
            Form::Full => (format!("{}List", self.kind.info().name), self.api_version()),
        };
        let head = json!({ "kind": kind, "apiVersion": api_version, "metadata": meta.to_value() });
        let mut text = BytesMut::from(&*encode(&head));
        // Items go where the closing brace of the head is.
        text.truncate(text.len().saturating_sub(1));
        text.reserve(objects.len() * 1024);
        text.put_slice(br#","items":["#);
        let types = format!(r#"{{"apiVersion":"{}","kind":"{}","#, self.api_version(), self.kind.info().name);
        for (index, object) in objects.enumerate() {
            if index > 0 {
                text.put_u8(b',');
            }
            let json = self.object(object);
            // Items of a typed list do not repeat the list's types.
            match json.strip_prefix(types.as_bytes()).filter(|_| self.form == Form::Full) {
                Some(rest) => {
                    text.put_u8(b'{');
                    text.put_slice(rest);
                }
                None => text.put_slice(&json),
            }
        }
        text.put_slice(b"]}");
        text.freeze()
    }

    /// An event of a watch, with its line end. `first` is whether it is the first of its watch.
    pub(super) fn event(&self, change: &str, object: &Object, first: bool) -> Bytes {
        let body = match self.form {
            Form::Table => {
                let meta = ListMeta { version: object.version, ..ListMeta::default() };
                encode(&self.table(&[object], &meta, first))
            }
            _ => self.object(object),
        };
        line(change, &body)
    }

    /// A bookmark: an object with nothing but a version.
    pub(super) fn bookmark(&self, version: u64, ends_initial_events: bool) -> Bytes {
        let mut metadata = json!({ "resourceVersion": version.to_string() });
        if let Some(map) = metadata.as_object_mut().filter(|_| ends_initial_events) {
            map.insert("annotations".to_owned(), json!({ "k8s.io/initial-events-end": "true" }));
        }
        let (kind, api_version) = match self.form {
            Form::Full => (self.kind.info().name, self.api_version()),
            Form::Partial => ("PartialObjectMetadata", "meta.k8s.io/v1".to_owned()),
            Form::Table => ("Table", "meta.k8s.io/v1".to_owned()),
        };
        let mut object = json!({ "kind": kind, "apiVersion": api_version, "metadata": metadata });
        if let Some(map) = object.as_object_mut().filter(|_| self.form == Form::Table) {
            map.insert("columnDefinitions".to_owned(), json!([]));
            map.insert("rows".to_owned(), json!([]));
        }
        line("BOOKMARK", &encode(&object))
    }

    /// The `Scale` of a workload as a row.
    pub(super) fn scale_table(&self, object: &Object) -> Bytes {
        let column = |name: &str, ty: &str| json!({ "name": name, "type": ty, "format": "", "description": "", "priority": 0 });
        let count = |path: &[&str]| number(&object.value, path).unwrap_or_default();
        let meta = ListMeta { version: object.version, ..ListMeta::default() };
        encode(&json!({
            "kind": "Table",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": meta.to_value(),
            "columnDefinitions": [column("Name", "string"), column("Desired", "integer"), column("Available", "integer")],
            "rows": [{
                "cells": [&*object.key.name, count(&["spec", "replicas"]), count(&["status", "replicas"])],
                "object": partial(&object.value),
            }],
        }))
    }

    fn api_version(&self) -> String {
        if self.events_v1 { "events.k8s.io/v1".to_owned() } else { self.kind.api_version() }
    }

    fn table(&self, objects: &[&Object], meta: &ListMeta, with_columns: bool) -> Value {
        let now = jiff::Timestamp::now();
        let rows: Vec<Value> = objects
            .iter()
            .map(|object| {
                let mut row = json!({ "cells": table::cells(self.kind, &object.value, now) });
                let carried = match self.include {
                    Include::None => None,
                    Include::Metadata => Some(without_managed_fields(partial(&object.value))),
                    Include::Object => Some(object.value.clone()),
                };
                if let (Some(row), Some(carried)) = (row.as_object_mut(), carried) {
                    row.insert("object".to_owned(), carried);
                }
                row
            })
            .collect();
        json!({
            "kind": "Table",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": meta.to_value(),
            "columnDefinitions": if with_columns { table::columns(self.kind) } else { Value::Null },
            "rows": rows,
        })
    }
}

impl ListMeta {
    fn to_value(&self) -> Value {
        let mut meta = Map::new();
        meta.insert("resourceVersion".to_owned(), json!(self.version.to_string()));
        if let Some(next) = &self.next {
            meta.insert("continue".to_owned(), json!(next));
        }
        if let Some(remaining) = self.remaining {
            meta.insert("remainingItemCount".to_owned(), json!(remaining));
        }
        Value::Object(meta)
    }
}

/// A line of a watch around an object.
pub(super) fn line(change: &str, object: &[u8]) -> Bytes {
    let mut text = BytesMut::with_capacity(object.len() + 40);
    text.put_slice(br#"{"type":""#);
    text.put_slice(change.as_bytes());
    text.put_slice(br#"","object":"#);
    text.put_slice(object);
    text.put_slice(b"}\n");
    text.freeze()
}

fn without_managed_fields(mut partial: Value) -> Value {
    if at(&partial, &["metadata", "managedFields"]).is_some() {
        remove(&mut partial, &["metadata", "managedFields"]);
    }
    partial
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(accept: &str) -> Form {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        Form::wanted(&headers)
    }

    fn view(form: Form) -> View {
        View { kind: Kind::Pod, events_v1: false, form, include: Include::Metadata }
    }

    fn pod() -> Object {
        let value = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "b"}, "spec": {}});
        Object::new(Kind::Pod, 3, value)
    }

    #[test]
    fn the_first_known_form_is_taken() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(wanted(kubectl), Form::Table);
        assert_eq!(wanted("application/vnd.kubernetes.protobuf,application/json"), Form::Full);
        assert_eq!(wanted("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"), Form::Partial);
        assert_eq!(wanted("application/json;as=Nonsense, */*"), Form::Full);
        assert_eq!(Form::wanted(&HeaderMap::new()), Form::Full);
    }

    #[test]
    fn items_of_a_list_do_not_repeat_its_types() {
        let (pod, meta) = (pod(), ListMeta { version: 9, next: Some("t".to_owned()), remaining: Some(1) });
        let list: Value =
            serde_json::from_slice(&view(Form::Full).list([&pod, &pod].into_iter(), &meta)).unwrap();
        assert_eq!(list["kind"], "PodList");
        assert_eq!(
            list["metadata"],
            json!({"resourceVersion": "9", "continue": "t", "remainingItemCount": 1})
        );
        assert_eq!(list["items"][1], json!({"metadata": {"name": "a", "namespace": "b"}, "spec": {}}));
        let list = view(Form::Partial).list([&pod].into_iter(), &meta);
        let list: Value = serde_json::from_slice(&list).unwrap();
        assert_eq!(list["kind"], "PartialObjectMetadataList");
        assert_eq!(list["items"][0]["kind"], "PartialObjectMetadata");
        let none: Value = serde_json::from_slice(&view(Form::Full).list([].into_iter(), &meta)).unwrap();
        assert_eq!(none["items"], json!([]));
    }

    #[test]
    fn an_event_is_a_line_and_a_table_names_its_columns_once() {
        let line = view(Form::Full).event("ADDED", &pod(), true);
        assert!(line.ends_with(b"}\n"));
        let event: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!((&event["type"], &event["object"]["kind"]), (&json!("ADDED"), &json!("Pod")));
        let row = |first| -> Value {
            serde_json::from_slice(&view(Form::Table).event("ADDED", &pod(), first)).unwrap()
        };
        assert!(row(true)["object"]["columnDefinitions"].is_array());
        assert!(row(false)["object"]["columnDefinitions"].is_null());
        assert_eq!(row(false)["object"]["rows"][0]["cells"][0], "a");
    }

    #[test]
    fn the_bookmark_that_ends_the_initial_events_says_so() {
        let event: Value = serde_json::from_slice(&view(Form::Full).bookmark(7, true)).unwrap();
        assert_eq!(event["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
        assert_eq!(event["object"]["metadata"]["resourceVersion"], "7");
    }
}
