//! Objects from YAML and to YAML.

use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::Value;

/// Keys that come first, in this order; the others follow by the alphabet.
const FIRST: [&str; 9] =
    ["apiVersion", "kind", "metadata", "name", "namespace", "labels", "image", "apiGroups", "resources"];

/// The documents of a file.
///
/// # Errors
/// When it is no YAML.
pub(super) fn read(text: &str) -> anyhow::Result<Vec<Value>> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// Documents, below a comment.
///
/// # Errors
/// When one cannot be written.
pub(super) fn write(title: &str, objects: &[Value]) -> anyhow::Result<String> {
    let mut text = format!("{title}\n");
    for object in objects {
        text.push_str("---\n");
        text.push_str(serde_saphyr::to_string(&Ordered(object))?.trim_end());
        text.push('\n');
    }
    Ok(text)
}

/// A value whose keys come in the order in which people write them.
struct Ordered<'a>(&'a Value);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(fields) => {
                let place = |key: &str| FIRST.iter().position(|first| *first == key).unwrap_or(FIRST.len());
                let mut keys: Vec<(&String, &Value)> = fields.iter().collect();
                keys.sort_by(|(a, _), (b, _)| place(a).cmp(&place(b)).then_with(|| a.cmp(b)));
                let mut map = serializer.serialize_map(Some(keys.len()))?;
                for (key, value) in keys {
                    map.serialize_entry(key, &Ordered(value))?;
                }
                map.end()
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(Ordered)),
            other => other.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let objects = [
            json!({"kind": "ConfigMap", "data": {"Corefile": ".:53 {\n    errors\n}\n", "odd": "a: b # c\n\n  d"},
                "metadata": {"labels": {"v": "0.1.0", "w": "1.0", "t": "true", "n": "null", "on": "on", "off": "off", "y": "y", "o": "0644", "e": "1e3", "x": ""},
                    "name": "a"}, "apiVersion": "v1"}),
            json!({"list": [], "map": {}, "number": 1, "flag": false, "nested": [[1], {"a": [{"b": "-x"}]}], "s": "- a", "t": "*", "u": "'"}),
        ];
        let text = write("# title", &objects).unwrap();
        assert_eq!(read(&text).unwrap(), objects, "{text}");
        assert!(
            text.starts_with("# title\n---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n"),
            "{text}"
        );
        // kubectl reads YAML 1.1, where these are booleans.
        for word in ["on", "off", "y", "true"] {
            assert!(!text.contains(&format!(": {word}\n")), "{word} is not quoted:\n{text}");
        }
    }
}
