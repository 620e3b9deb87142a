//! Every object of the recorded cases is one this server takes.

use super::*;
use crate::apiserver::DeleteOptions;
use crate::apiserver::Key;
use crate::apiserver::Loaded;
use crate::apiserver::kind::Kind;

#[tokio::test]
async fn the_recorded_cases_can_be_loaded_and_loading_again_changes_nothing() {
    let (server, _) = bare().await;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut applied = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|it| it != "json") {
            continue;
        }
        let case: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        // Packets, not objects.
        let Some(case) = case.as_object() else { continue };
        let steps = ["prelude", "steps"].into_iter().filter_map(|part| case.get(part)?.as_array()).flatten();
        for step in steps {
            let (verb, object) = (step[0].as_str().unwrap(), &step[1]);
            if verb == "delete" {
                let kind = Kind::of(object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap())
                    .unwrap();
                server.store().delete(kind, &Key::of(object), &DeleteOptions::default()).unwrap();
            }
            if verb != "apply" {
                continue;
            }
            let load =
                || server.store().load(object.clone()).unwrap_or_else(|error| panic!("{path:?}: {error}"));
            load();
            // An object nobody owns a field of, such as a bare Namespace, gets its first owner now.
            let second = load();
            let third = load();
            let same = matches!(third, Loaded::Unchanged(_));
            assert!(same, "{path:?}: {}\nthen\n{}", second.object().value, third.object().value);
            applied += 1;
        }
    }
    assert!(applied > 300, "{applied}");
    let web = server.store().get(Kind::Service, "readiness", "web").unwrap();
    assert_eq!(web.value["spec"]["clusterIP"], "10.96.2.1");
}
