//! The rules together, on objects that a real API server took.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::value::{at, items, text};
use super::{Allocator, FieldError, decode, defaults, strategy, validate};
use crate::apiserver::kind::Kind;

/// Every object of the recorded cases, with the case it is from.
fn recorded() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut objects = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let case: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        for list in ["prelude", "steps"] {
            for step in items(&case, &[list]).iter().filter(|step| step[0] == "apply") {
                objects.push((name.clone(), step[1].clone()));
            }
        }
    }
    assert!(objects.len() > 100, "the cases are there");
    objects
}

fn texts(errors: &[FieldError]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn what_a_real_server_took_is_taken() {
    let mut case = String::new();
    let mut allocator = Allocator::new();
    let mut stored: BTreeMap<(Kind, String, String), Value> = BTreeMap::new();
    for (name, object) in recorded() {
        if case != name {
            case.clone_from(&name);
            allocator = Allocator::new();
            stored.clear();
        }
        let kind = Kind::of(text(&object, &["apiVersion"]), text(&object, &["kind"])).unwrap();
        let shown = format!("{name}: {object}");
        assert_eq!(decode::unknown_fields(kind, &object), Vec::<String>::new(), "{shown}");
        let given = decode::decode(kind, object).unwrap();
        let meta = |key: &str| text(&given, &["metadata", key]).to_owned();
        let key = (kind, meta("namespace"), meta("name"));
        let mut new = given.clone();
        let old = stored.get(&key);
        if let (Some(old), Kind::Pod) = (old, kind) {
            // A pod that is there only gets labels and a status.
            new["spec"] = old["spec"].clone();
        }
        defaults::defaults(kind, &mut new);
        match old {
            Some(old) => strategy::prepare_update(kind, &mut new, old),
            None => strategy::prepare_create(kind, &mut new),
        }
        if kind == Kind::Service {
            let allocated = allocator.allocate(&mut new, old);
            assert_eq!(allocated.map_err(|errors| texts(&errors)), Ok(()), "{shown}");
        }
        let wrong = match old {
            Some(old) => validate::update(kind, &new, old),
            None => validate::create(kind, &new),
        };
        assert_eq!(texts(&wrong), Vec::<String>::new(), "{shown}");
        if let Some(status) = at(&given, &["status"]).filter(|_| kind.info().status) {
            let mut written = new.clone();
            written["status"] = status.clone();
            defaults::defaults(kind, &mut written);
            strategy::prepare_status_update(kind, &mut written, &new);
            let wrong = validate::status_update(kind, &written, &new);
            assert_eq!(texts(&wrong), Vec::<String>::new(), "{shown}");
        }
        stored.insert(key, new);
    }
}
