//! The bill of materials as CycloneDX 1.6 JSON. The same parts make the same bytes: it has no serial number, and a time only
//! where one is given (`SOURCE_DATE_EPOCH`).

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::parts::Part;

/// How the image was built.
#[derive(Clone, Debug)]
pub(crate) struct Build {
    /// The target triple.
    pub target: String,
    /// Features of the root package; "none" where there are none.
    pub features: String,
    /// When, where that is to be told.
    pub time: Option<Timestamp>,
}

/// The document: the first part is what it is about, the others are what that contains.
pub(crate) fn document(parts: &[Part], build: &Build) -> Value {
    let (root, rest) = match parts {
        [] => (Value::Null, parts),
        [root, rest @ ..] => (component(root, "application"), rest),
    };
    let mut metadata = Map::new();
    if let Some(time) = build.time {
        metadata.insert("timestamp".to_owned(), json!(time.to_string()));
    }
    metadata.insert("component".to_owned(), root);
    let property = |name: &str, value: &str| json!({"name": name, "value": value});
    metadata.insert(
        "properties".to_owned(),
        json!([property("callsign:target", &build.target), property("callsign:features", &build.features)]),
    );
    let mut components: Vec<&Part> = rest.iter().collect();
    components.sort_by_key(|part| part.reference());
    let mut all: Vec<&Part> = parts.iter().collect();
    all.sort_by_key(|part| part.reference());
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": metadata,
        "components": components.into_iter().map(|part| component(part, "library")).collect::<Vec<_>>(),
        "dependencies": all
            .into_iter()
            .map(|part| json!({"ref": part.reference(), "dependsOn": part.needs}))
            .collect::<Vec<_>>(),
    })
}

fn component(part: &Part, kind: &str) -> Value {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    put("type", json!(kind));
    put("bom-ref", json!(part.reference()));
    put("name", json!(part.name));
    put("version", json!(part.version));
    if let Some(description) = &part.description {
        put("description", json!(description));
    }
    if let Some(checksum) = &part.checksum {
        put("hashes", json!([{"alg": "SHA-256", "content": checksum}]));
    }
    if let Some(licence) = &part.licence {
        put("licenses", json!([{"expression": licence}]));
    }
    if let Some(purl) = &part.purl {
        put("purl", json!(purl));
    }
    if let Some(repository) = &part.repository {
        put("externalReferences", json!([{"type": "vcs", "url": repository}]));
    }
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, needs: &[&str]) -> Part {
        Part {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            needs: needs.iter().map(|&need| format!("{need}@1.0.0")).collect(),
            ..Part::default()
        }
    }

    fn build(time: Option<Timestamp>) -> Build {
        Build { target: "x86_64-unknown-linux-gnu".to_owned(), features: "none".to_owned(), time }
    }

    #[test]
    fn the_first_part_is_what_it_is_about_and_every_reference_leads_somewhere() {
        let parts = [part("app", &["b", "a"]), part("b", &["a"]), part("a", &[])];
        let bom = document(&parts, &build(None));
        assert_eq!(bom["metadata"]["component"]["name"], "app");
        assert_eq!(bom["metadata"].get("timestamp"), None);
        let names = bom["components"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap());
        assert_eq!(names.collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(bom["dependencies"][1], json!({"ref": "app@1.0.0", "dependsOn": ["a@1.0.0", "b@1.0.0"]}));
    }

    #[test]
    fn the_same_parts_in_another_order_make_the_same_bytes() {
        let (a, b) = (part("a", &[]), part("b", &["a"]));
        let root = part("app", &["a", "b"]);
        let one = document(&[root.clone(), a.clone(), b.clone()], &build(None));
        assert_eq!(one.to_string(), document(&[root, b, a], &build(None)).to_string());
    }

    #[test]
    fn a_time_is_told_where_one_is_given() {
        let time = Timestamp::from_second(1_700_000_000).unwrap();
        let bom = document(&[part("app", &[])], &build(Some(time)));
        assert_eq!(bom["metadata"]["timestamp"], "2023-11-14T22:13:20Z");
    }
}
