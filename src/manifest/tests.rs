use std::{collections::BTreeMap, path::Path};

use serde_json::{Value, json};

use super::{changes::NewCorefile, *};

const MODES: [InstallMode; 3] = [InstallMode::Dns, InstallMode::AllInOne, InstallMode::Split];
const SERVICES: [Strategy; 3] = [Strategy::Own, Strategy::Join, Strategy::Adopt];

fn unchanged(strategy: Strategy) -> Changes {
    Changes {
        strategy,
        namespace: None,
        image: None,
        replicas: None,
        cluster_ip: None,
        config_map: None,
        corefile: None,
    }
}

/// Every mode with every Service.
fn all() -> impl Iterator<Item = (InstallMode, Strategy)> {
    MODES.into_iter().flat_map(|mode| SERVICES.into_iter().map(move |service| (mode, service)))
}

fn golden(mode: InstallMode, service: Strategy) -> Vec<Value> {
    let name = format!("charts/golden/{}-{}.yaml", mode.name(), service.name());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    yaml::read(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// `Kind namespace/name` → the object.
fn by_name(objects: &[Value]) -> BTreeMap<String, Value> {
    let text =
        |object: &Value, pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or("").to_owned();
    let key = |object: &Value| {
        format!(
            "{} {}/{}",
            text(object, "/kind"),
            text(object, "/metadata/namespace"),
            text(object, "/metadata/name")
        )
    };
    objects.iter().map(|object| (key(object), object.clone())).collect()
}

fn changed(mode: InstallMode, changes: &Changes) -> Vec<Value> {
    yaml::read(&manifest(embedded(mode, changes.strategy), changes).unwrap()).unwrap()
}

fn refused(mode: InstallMode, changes: &Changes) -> String {
    manifest(embedded(mode, changes.strategy), changes).unwrap_err().to_string()
}

fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let fits = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
    objects.iter().find(fits).unwrap_or_else(|| panic!("no {kind} {name}"))
}

const CONTAINER: &str = "/spec/template/spec/containers/0";

fn corefile(text: &str) -> NewCorefile {
    let (corefile, config) = in_a_pod("Corefile", text).unwrap();
    NewCorefile::new("Corefile", text.to_owned(), &corefile, &config).unwrap()
}

const COREFILE: &str = ".:5353 {\n    errors\n    health\n    ready\n    prometheus :9153\n    kubernetes cluster.local {\n        \
    pods verified\n    }\n    forward . /etc/resolv.conf\n}\n";

#[test]
fn without_changes_it_is_what_the_chart_renders() {
    for (mode, service) in all() {
        let file = embedded(mode, service);
        assert_eq!(manifest(file, &unchanged(service)).unwrap(), file);
        let mut wanted = golden(mode, service);
        // Tests are Helm's, and so are these labels.
        wanted.retain(|object| object.pointer("/metadata/annotations/helm.sh~1hook").is_none());
        for object in &mut wanted {
            let labels = object["metadata"]["labels"].as_object_mut().unwrap();
            labels.remove("app.kubernetes.io/managed-by");
            labels.remove("helm.sh/chart");
            let metadata = object["metadata"].as_object_mut().unwrap();
            if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
                annotations.retain(|name, _| !name.starts_with("helm.sh/"));
                if annotations.is_empty() {
                    metadata.remove("annotations");
                }
            }
        }
        let found = by_name(&yaml::read(file).unwrap());
        let wanted = by_name(&wanted);
        assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
        for (key, object) in &wanted {
            assert_eq!(&found[key], object, "{key} of {}-{}", mode.name(), service.name());
        }
    }
}

#[test]
fn every_file_survives_being_written() {
    for (mode, service) in all() {
        let objects = yaml::read(embedded(mode, service)).unwrap();
        let text = yaml::write(title(embedded(mode, service)), &objects).unwrap();
        assert_eq!(yaml::read(&text).unwrap(), objects, "{text}");
        assert!(text.starts_with("# "), "{text}");
    }
}

#[test]
fn a_namespace_reaches_every_place() {
    for mode in MODES {
        let changes = Changes { namespace: Some("dns".to_owned()), ..unchanged(Strategy::Own) };
        let objects = changed(mode, &changes);
        for object in &objects {
            let (kind, name) =
                (object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
            let wanted = match kind {
                "ClusterRole" | "ClusterRoleBinding" => Value::Null,
                // About the Lease of kube-controller-manager, which is there.
                _ if name.ends_with("-kcm-lease") => json!("kube-system"),
                _ => json!("dns"),
            };
            assert_eq!(object["metadata"]["namespace"], wanted, "{kind} {name}");
            for subject in object["subjects"].as_array().into_iter().flatten() {
                assert_eq!(subject["namespace"], "dns", "{kind} {name}");
            }
            assert!(object.pointer("/spec/template/spec/priorityClassName").is_none());
        }
        let bindings = objects.iter().filter(|object| object["kind"] == "RoleBinding").count();
        assert_eq!(bindings, if mode == InstallMode::Dns { 0 } else { 2 });
        let same = Changes { namespace: Some("kube-system".to_owned()), ..unchanged(Strategy::Own) };
        assert_eq!(manifest(embedded(mode, Strategy::Own), &same).unwrap(), embedded(mode, Strategy::Own));
    }
}

#[test]
fn images_replicas_and_addresses() {
    for (mode, service) in all() {
        let image =
            Changes { image: Some("r.example/c:2".to_owned()), replicas: Some(5), ..unchanged(service) };
        let objects = changed(mode, &image);
        let deployments = objects.iter().filter(|object| object["kind"] == "Deployment");
        for deployment in deployments {
            assert_eq!(deployment.pointer(CONTAINER).unwrap()["image"], "r.example/c:2");
            let wanted = if deployment["metadata"]["name"] == "callsign" { 5 } else { 2 };
            assert_eq!(deployment["spec"]["replicas"], wanted);
        }
        let address = Changes { cluster_ip: Some("10.96.0.77".parse().unwrap()), ..unchanged(service) };
        if service == Strategy::Join {
            assert!(refused(mode, &address).contains("--strategy join"));
            continue;
        }
        let objects = changed(mode, &address);
        let service = objects.iter().find(|object| object["kind"] == "Service").unwrap();
        assert_eq!(service["spec"]["clusterIP"], "10.96.0.77");
    }
}

#[test]
fn a_corefile_brings_its_port_and_its_rights() {
    let changes = Changes { corefile: Some(corefile(COREFILE)), ..unchanged(Strategy::Own) };
    for mode in MODES {
        let objects = changed(mode, &changes);
        assert_eq!(find(&objects, "ConfigMap", "callsign")["data"]["Corefile"], COREFILE);
        let container = find(&objects, "Deployment", "callsign").pointer(CONTAINER).unwrap();
        let port = |name: &str| {
            let ports = container["ports"].as_array().unwrap();
            ports.iter().find(|port| port["name"] == name).unwrap()["containerPort"].clone()
        };
        assert_eq!((port("dns"), port("dns-tcp"), port("metrics")), (json!(5353), json!(5353), json!(9153)));
        assert_eq!(container["securityContext"]["capabilities"], json!({"drop": ["ALL"]}));
        let rules = find(&objects, "ClusterRole", "callsign")["rules"].as_array().unwrap();
        let pods = rules
            .iter()
            .filter(|rule| rule["resources"].as_array().unwrap().contains(&json!("pods")))
            .count();
        assert_eq!(pods, 1, "{}", mode.name());
    }
    let low =
        Changes { corefile: Some(corefile(&COREFILE.replace("5353", "53"))), ..unchanged(Strategy::Own) };
    let objects = changed(InstallMode::Dns, &low);
    let container = find(&objects, "Deployment", "callsign").pointer(CONTAINER).unwrap();
    assert_eq!(container["securityContext"]["capabilities"]["add"], json!(["NET_BIND_SERVICE"]));
    for service in [Strategy::Join, Strategy::Adopt] {
        let changes = Changes { corefile: Some(corefile(COREFILE)), ..unchanged(service) };
        let why = refused(InstallMode::Dns, &changes);
        assert!(why.contains("serves port 5353") && why.contains("`.:53`"), "{why}");
    }
}

#[test]
fn corefiles_that_the_pods_could_not_serve_are_refused() {
    let refused = |text: &str| {
        let (corefile, config) = in_a_pod("Corefile", text).unwrap();
        NewCorefile::new("Corefile", text.to_owned(), &corefile, &config).unwrap_err().to_string()
    };
    let cases = [
        (COREFILE.replace("    ready\n", ""), "no block has `ready`"),
        (COREFILE.replace("    health\n", ""), "no block has `health`"),
        (COREFILE.replace("    prometheus :9153\n", ""), "no block has `prometheus`"),
        (COREFILE.replace("    ready\n", "    ready :8282\n"), "`ready` is at :8282"),
        (COREFILE.replace(".:5353", "tls://.:853"), "no block serves plain DNS"),
    ];
    for (text, wanted) in cases {
        let why = refused(&text);
        assert!(why.contains(wanted), "{why}");
    }
    let folder = tempfile::tempdir().unwrap();
    let more = folder.path().join("more");
    std::fs::write(&more, "log\n").unwrap();
    let why = refused(&COREFILE.replace("    errors\n", &format!("    import {}\n", more.display())));
    assert!(why.contains("it imports"), "{why}");
}

#[test]
fn a_config_map_that_is_there_is_shared() {
    for (mode, service) in all() {
        let changes = Changes { config_map: Some("coredns".to_owned()), ..unchanged(service) };
        let objects = changed(mode, &changes);
        assert!(!objects.iter().any(|object| object["kind"] == "ConfigMap"));
        let deployment = find(&objects, "Deployment", "callsign");
        let container = deployment.pointer(CONTAINER).unwrap();
        assert!(container["args"].as_array().unwrap().contains(&json!("/etc/coredns/Corefile")));
        assert_eq!(container["ports"][0]["containerPort"], 53);
        let volumes = deployment.pointer("/spec/template/spec/volumes").unwrap();
        assert_eq!(volumes[0]["configMap"]["name"], "coredns");
        assert_eq!(container["volumeMounts"].as_array().unwrap().len(), volumes.as_array().unwrap().len());
    }
}

#[test]
fn pods_behind_kube_dns_are_in_its_namespace() {
    for service in [Strategy::Join, Strategy::Adopt] {
        let changes = Changes { namespace: Some("dns".to_owned()), ..unchanged(service) };
        let why = refused(InstallMode::Dns, &changes);
        assert!(why.contains("kube-system/kube-dns") && why.contains("--strategy own"), "{why}");
    }
}
