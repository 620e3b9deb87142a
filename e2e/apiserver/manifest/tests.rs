use proptest::prelude::*;
use serde_json::json;

use super::*;

fn names(manifests: &Manifests) -> Vec<&str> {
    manifests.objects.iter().map(|manifest| text(&manifest.value, &["metadata", "name"])).collect()
}

#[test]
fn several_documents() {
    let yaml = "# a file\n---\napiVersion: v1\nkind: Service\nmetadata: {name: a}\n---\n# nothing here\n--- # a comment\n\
                apiVersion: batch/v1\nkind: Job\nmetadata: {name: b}\n---\nkind: Pod\napiVersion: v1\nmetadata:\n  name: c\n";
    let found = parse(Path::new("x.yaml"), yaml).unwrap();
    assert_eq!(names(&found), ["a", "c"]);
    assert_eq!(found.objects[1].kind, Kind::Pod);
    assert_eq!(found.objects[1].source.to_string(), "x.yaml:12: document 3");
    let unknown = &found.unknown[0];
    assert_eq!(
        (unknown.api_version.as_str(), unknown.kind.as_str(), unknown.name.as_str()),
        ("batch/v1", "Job", "b")
    );
    assert_eq!(unknown.source.document, 2);
}

#[test]
fn lists_are_opened() {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "v1", "kind": "Service", "metadata": { "name": "a" } },
        { "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "b" } } ] });
    let found = parse(Path::new("x.json"), &list.to_string()).unwrap();
    assert_eq!((names(&found), found.unknown.len()), (vec!["a"], 1));
    let pods = "apiVersion: v1\nkind: PodList\nitems:\n- metadata: {name: p}\n";
    let found = parse(Path::new("x.yaml"), pods).unwrap();
    assert_eq!((found.objects[0].kind, text(&found.objects[0].value, &["kind"])), (Kind::Pod, "Pod"));
}

#[test]
fn numbers_and_words_are_read_as_kubectl_reads_them() {
    let yaml = "apiVersion: v1\nkind: Pod\nspec:\n  mode: 0644\n  port: 80\n  text: '80'\n  on: true\n  multi: |\n    a\n    b\n";
    let found = parse(Path::new("x"), yaml).unwrap();
    let spec = &found.objects[0].value["spec"];
    assert_eq!((&spec["mode"], &spec["port"], &spec["text"]), (&json!(420), &json!(80), &json!("80")));
    assert_eq!(spec["multi"], "a\nb\n");
}

#[test]
fn errors_say_where() {
    let error = |name: &str, text: &str| parse(Path::new(name), text).unwrap_err().to_string();
    let broken = "apiVersion: v1\nkind: Pod\n---\nkind: Service\n  apiVersion: [\n";
    let said = error("dir/x.yaml", broken);
    assert!(said.starts_with("dir/x.yaml:5:"), "{said}");
    assert!(said.contains("document 2"), "{said}");
    let broken = "{\"apiVersion\": \"v1\", \"kind\": \"Pod\"}\n{\"a\": }";
    assert!(error("x.json", broken).starts_with("x.json:2:7: document 2: "));
    assert_eq!(error("x.yaml", "kind: Pod"), "x.yaml:1: document 1: no `apiVersion`");
    assert_eq!(error("x.yaml", "- a\n"), "x.yaml:1: document 1: not an object");
    let list = "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Pod}, {}]";
    assert_eq!(error("x.yaml", list), "x.yaml:1: document 1: item 2 of the List: no `kind`");
    assert!(error("x.yaml", "apiVersion: v1\nkind: Pod\nkind: Pod\n").contains("duplicate"));
}

#[test]
fn folders_are_read_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, object: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: {object}}}\n")).unwrap();
    };
    write("b.yaml", "second");
    write("a.yml", "first");
    write("c/d.YAML", "third");
    write("notes.txt", "never");
    write(".hidden.yaml", "never");
    let found = load(&[folder.path().to_path_buf()]).unwrap();
    assert_eq!(names(&found), ["first", "second", "third"]);
    let named = load(&[folder.path().join("notes.txt")]).unwrap();
    assert_eq!(names(&named), ["never"]);

    let missing = folder.path().join("missing.yaml");
    let error = load(std::slice::from_ref(&missing)).unwrap_err().to_string();
    assert!(error.starts_with(&missing.display().to_string()), "{error}");
    let empty = tempfile::tempdir().unwrap();
    let error = load(&[empty.path().to_path_buf()]).unwrap_err().to_string();
    assert!(error.ends_with("no manifest here (*.yaml, *.yml, *.json)"), "{error}");
}

proptest! {
    #[test]
    fn no_text_is_too_strange(text in "[-a-z:{}\\[\\]\"' \n#]{0,60}") {
        let _ = parse(Path::new("x.yaml"), &text);
        let _ = parse(Path::new("x.json"), &text);
    }
}
