//! Where the Corefile is: a file, the ConfigMap of Callsign's pods, or CoreDNS's.

use std::{collections::BTreeMap, path::Path};

use callsign_dns::corefile::{Files as _, FilesOnDisk, read_error};

use super::{
    super::{
        facts::{Cluster, CorefileFacts, Known, Missing},
        objects::{ConfigMap, Container, Pod, Service},
        rights::Duty,
        service, software,
    },
    asker::Asker,
};
use crate::{args::HealthArgs, exit::Exit};

/// CoreDNS's, where it is in every cluster.
const FOLDER: &str = "/etc/coredns";
const KEY: &str = "Corefile";
/// What k3s and AKS import from.
const CUSTOM: &str = "coredns-custom";

/// The Corefile, with what it may import.
///
/// # Errors
/// When a file that was named cannot be read.
pub(super) async fn gather(
    asker: &Asker,
    args: &HealthArgs,
    cluster: &Cluster,
) -> Result<CorefileFacts, Exit> {
    let server = cluster.own.iter().flatten().find(|pod| !pod.is_leaving() && answers(pod));
    let mut facts = CorefileFacts {
        source: String::new(),
        text: Err(Missing::NotAsked("not looked for".to_owned())),
        files: Ok(BTreeMap::new()),
        on_disk: false,
        domain: domain(asker, args).await,
        ports: server.map(ports).unwrap_or_default(),
        service_ips: fronts(cluster).flat_map(service::addresses).collect(),
    };
    if let Some(file) = &args.corefile {
        let text = FilesOnDisk.read(file);
        let text = text.map_err(|error| Exit::configuration(anyhow::anyhow!(read_error(file, &error))))?;
        facts.source = file.display().to_string();
        (facts.text, facts.on_disk) = (Ok(text), true);
        return Ok(facts);
    }
    let place = match server.filter(|_| !args.pre) {
        Some(pod) => match named(pod) {
            Some((folder, map)) => (pod.metadata.namespace.clone(), map, folder),
            None => {
                let why = "Callsign's pods are configured by flags: there is no Corefile";
                facts.text = Err(Missing::NotAsked(why.to_owned()));
                return Ok(facts);
            }
        },
        None => (args.service.0.clone(), "coredns".to_owned(), FOLDER.to_owned()),
    };
    let (namespace, map, folder) = place;
    let (main, custom) =
        futures::join!(config_map(asker, &namespace, &map), config_map(asker, &namespace, CUSTOM));
    facts.source = format!("{folder}/{KEY}");
    facts.files = files(&folder, main.as_ref().ok(), custom);
    facts.text = main.map_err(|missing| missing_before(args, missing)).and_then(|found| {
        let absent = || Missing::Absent(format!("key {KEY} in ConfigMap {namespace}/{map}"));
        found.data.get(KEY).cloned().ok_or_else(absent)
    });
    Ok(facts)
}

/// The Services that lead to the server, or are to.
fn fronts(cluster: &Cluster) -> impl Iterator<Item = &Service> {
    let own = cluster.own_front.iter().filter_map(|front| front.service.as_ref().ok());
    cluster.front.service.iter().chain(own)
}

async fn config_map(asker: &Asker, namespace: &str, name: &str) -> Known<ConfigMap> {
    let path = format!("/api/v1/namespaces/{namespace}/configmaps/{name}");
    asker.object(&path, &format!("get configmaps {name} in {namespace}")).await
}

/// Before an installation that brings a Corefile of its own there need not be one.
fn missing_before(args: &HealthArgs, missing: Missing) -> Missing {
    match missing {
        Missing::Absent(what) if args.pre => {
            Missing::NotAsked(format!("there is no {what}: the chart brings a Corefile of its own"))
        }
        missing => missing,
    }
}

/// What stands beside the Corefile in a pod.
fn files(
    folder: &str,
    main: Option<&ConfigMap>,
    custom: Known<ConfigMap>,
) -> Known<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for (key, text) in main.iter().flat_map(|map| &map.data) {
        files.insert(format!("{folder}/{key}"), text.clone());
    }
    match custom {
        Ok(custom) => {
            for (key, text) in custom.data {
                files.insert(format!("{FOLDER}/custom/{key}"), text.clone());
                files.insert(format!("{folder}/custom/{key}"), text);
            }
        }
        Err(Missing::Absent(_)) => {}
        Err(missing) => return Err(missing),
    }
    Ok(files)
}

/// Whether a pod answers DNS.
fn answers(pod: &Pod) -> bool {
    let words = |container: &Container| {
        container.command.iter().chain(&container.args).any(|word| word == "controller")
    };
    Duty::of(pod).is_some() && !software::container(pod).is_some_and(words)
}

/// The folder and the ConfigMap of a pod's Corefile.
fn named(pod: &Pod) -> Option<(String, String)> {
    let container = software::container(pod)?;
    let words: Vec<&str> = container.command.iter().chain(&container.args).map(String::as_str).collect();
    let assigned = words.iter().find_map(|word| word.strip_prefix("--corefile="));
    let next = words.iter().position(|word| ["--corefile", "-conf", "--conf"].contains(word));
    let path = assigned.or_else(|| words.get(next? + 1).copied())?;
    let folder = Path::new(path).parent()?.to_str()?.to_owned();
    let maps = pod.spec.volumes.iter().filter_map(|volume| volume.config_map.as_ref());
    // The one that says it has a Corefile, else the first.
    let has = |map: &&super::super::objects::ConfigMapSource| map.items.iter().any(|item| item.key == KEY);
    let map = maps.clone().find(has).or_else(|| maps.clone().find(|map| map.name != CUSTOM))?;
    Some((folder, map.name.clone()))
}

/// The ports that a pod's container declares for DNS.
fn ports(pod: &Pod) -> Vec<u16> {
    let container = software::container(pod);
    let declared =
        container.iter().flat_map(|container| &container.ports).filter(|port| port.name.starts_with("dns"));
    let mut ports: Vec<u16> = declared.map(|port| port.container_port).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// The cluster's domain, and how it is known: what was said, what kubeadm wrote, what is usual.
async fn domain(asker: &Asker, args: &HealthArgs) -> (String, String) {
    if let Some(domain) = &args.cluster_domain {
        return (domain.clone(), "--cluster-domain".to_owned());
    }
    let kubeadm = config_map(asker, "kube-system", "kubeadm-config").await.ok();
    let said = kubeadm.and_then(|map| of_kubeadm(map.data.get("ClusterConfiguration")?));
    said.map_or_else(
        || ("cluster.local".to_owned(), "the default".to_owned()),
        |domain| (domain, "kubeadm-config".to_owned()),
    )
}

/// `networking.dnsDomain` of a ClusterConfiguration.
fn of_kubeadm(text: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.trim().strip_prefix("dnsDomain:"))?;
    let value = value.trim().trim_matches(['"', '\'']);
    (!value.is_empty()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_name_their_corefile() {
        let pod = |args: &[&str], volumes: serde_json::Value| -> Pod {
            serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {
                "containers": [{"name": "callsign", "args": args, "ports": [{"name": "dns", "containerPort": 1053},
                    {"name": "dns-tcp", "containerPort": 1053}, {"name": "metrics", "containerPort": 9153}]}],
                "volumes": volumes}}))
            .unwrap()
        };
        let chart = pod(
            &["dns", "--corefile", "/etc/callsign/Corefile"],
            json!([{"configMap": {"name": "callsign"}}]),
        );
        assert_eq!(named(&chart), Some(("/etc/callsign".to_owned(), "callsign".to_owned())));
        assert_eq!(ports(&chart), [1053]);
        assert!(answers(&chart) && !answers(&pod(&["controller"], json!([]))));
        let k3s = json!([{"configMap": {"name": "coredns-custom"}}, {"configMap": {"name": "coredns", "items": [{"key": "Corefile"}]}}]);
        let swapped = pod(&["-conf", "/etc/coredns/Corefile"], k3s);
        assert_eq!(named(&swapped), Some(("/etc/coredns".to_owned(), "coredns".to_owned())));
        assert_eq!(named(&pod(&["dns"], json!([]))), None);
    }

    #[test]
    fn keys_are_files() {
        let map =
            |key: &str| ConfigMap { data: [(key.to_owned(), "x".to_owned())].into(), ..ConfigMap::default() };
        let found = files("/etc/coredns", Some(&map("NodeHosts")), Ok(map("a.server"))).unwrap();
        let names: Vec<&String> = found.keys().collect();
        assert_eq!(names, ["/etc/coredns/NodeHosts", "/etc/coredns/custom/a.server"]);
        assert!(files("/x", None, Err(Missing::Absent("x".to_owned()))).unwrap().is_empty());
        assert!(files("/x", None, Err(Missing::Forbidden("x".to_owned()))).is_err());
    }

    #[test]
    fn kubeadm_tells_the_domain() {
        let text = "apiVersion: kubeadm.k8s.io/v1beta4\nnetworking:\n  dnsDomain: k8s.example\n  podSubnet: 10.0.0.0/8\n";
        assert_eq!(of_kubeadm(text).as_deref(), Some("k8s.example"));
        assert_eq!(of_kubeadm("networking: {}\n"), None);
    }
}
