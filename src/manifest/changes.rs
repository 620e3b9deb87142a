//! What flags change about the objects.

use std::net::IpAddr;

use anyhow::{Context as _, Result, bail, ensure};
use callsign_dns::{
    block::{Config, Scheme},
    corefile::Corefile,
};
use serde_json::{Map, Value, json};

use crate::args::Strategy;

/// Where the chart installs.
const SYSTEM: &str = "kube-system";
/// The Role that is in kube-system wherever the installation is: it is about an object there.
const SYSTEM_ROLE: &str = "-kcm-lease";
/// Ports of the pages, which probes and monitors ask.
const HEALTH: u16 = 8080;
const READY: u16 = 8181;
const METRICS: u16 = 9153;

/// What is different from the files.
#[derive(Debug)]
pub(super) struct Changes {
    pub(super) strategy: Strategy,
    pub(super) namespace: Option<String>,
    pub(super) image: Option<String>,
    pub(super) replicas: Option<u16>,
    pub(super) cluster_ip: Option<IpAddr>,
    pub(super) config_map: Option<String>,
    pub(super) corefile: Option<NewCorefile>,
}

/// A Corefile that is right, and what of it the objects must know.
#[derive(Debug)]
pub(super) struct NewCorefile {
    text: String,
    /// Ports of plain DNS, that of the cluster's domain first.
    ports: Vec<u16>,
    /// `pods verified`: pods are watched.
    watches_pods: bool,
}

impl NewCorefile {
    /// A Corefile for the ConfigMap.
    ///
    /// # Errors
    /// When it could not be served in a pod of the chart's form.
    pub(super) fn new(name: &str, text: String, corefile: &Corefile, config: &Config) -> Result<Self> {
        if let Some(file) = corefile.sources.files.first() {
            bail!(
                "{name}: it imports {}, which the ConfigMap would not have: write its lines in the import's place",
                file.display()
            );
        }
        let page = |what: &str, port: u16, address: Option<&str>| -> Result<()> {
            let Some(address) = address else {
                bail!("{name}: no block has `{what}`, which the pods' probes and monitors ask: add `{what}`");
            };
            let found = address.rsplit(':').next().unwrap_or_default();
            ensure!(
                found == port.to_string(),
                "{name}: `{what}` is at {address}, and the pods' probes and monitors ask port {port}: write `{what} :{port}`, or use the Helm chart, which has `ports`"
            );
            Ok(())
        };
        let blocks = || config.blocks.iter();
        page("health", HEALTH, blocks().find_map(|block| Some(block.health.as_ref()?.address.as_str())))?;
        page("ready", READY, blocks().find_map(|block| Some(block.ready.as_ref()?.address.as_str())))?;
        page("prometheus", METRICS, blocks().find_map(|block| block.prometheus.as_deref()))?;
        let mut ports = Vec::new();
        let cluster = |has: bool| {
            let blocks = corefile.blocks.iter().zip(&config.blocks);
            blocks.filter(move |(block, _)| {
                block.directives.iter().any(|directive| directive.name.text == "kubernetes") == has
            })
        };
        for (_, block) in cluster(true).chain(cluster(false)) {
            for key in block.keys.iter().filter(|key| key.scheme == Scheme::Dns) {
                if !ports.contains(&key.port) {
                    ports.push(key.port);
                }
            }
        }
        ensure!(!ports.is_empty(), "{name}: no block serves plain DNS");
        let directives = corefile.blocks.iter().flat_map(|block| &block.directives);
        let watches_pods =
            directives.filter(|directive| directive.name.text == "kubernetes").any(|directive| {
                directive.body.iter().any(|option| {
                    option.name.text == "pods" && option.args.iter().any(|word| word.text == "verified")
                })
            });
        Ok(Self { text, ports, watches_pods })
    }
}

impl Changes {
    /// Makes them.
    ///
    /// # Errors
    /// When they contradict each other, or there is nothing to change.
    pub(super) fn apply(&self, objects: &mut Vec<Value>) -> Result<()> {
        if let Some(corefile) = &self.corefile {
            self.serve(corefile, objects)?;
        }
        if let Some(name) = &self.config_map {
            self.share(name, objects)?;
        }
        if let Some(image) = &self.image {
            for container in containers(objects) {
                container.insert("image".to_owned(), json!(image));
            }
        }
        if let Some(replicas) = self.replicas {
            put(spec(dns(objects)?)?, "replicas", json!(replicas));
        }
        if let Some(ip) = self.cluster_ip {
            let service = objects.iter_mut().find(|object| is(object, "Service"));
            let Some(service) = service else {
                bail!(
                    "--cluster-ip {ip}: with --strategy join the Service is there already and keeps its address"
                );
            };
            put(spec(service)?, "clusterIP", json!(ip.to_string()));
        }
        if let Some(namespace) = self.namespace.as_deref().filter(|namespace| *namespace != SYSTEM) {
            self.settle(namespace, objects)?;
        }
        Ok(())
    }

    /// Another Corefile in the ConfigMap, and the ports that it serves.
    fn serve(&self, corefile: &NewCorefile, objects: &mut [Value]) -> Result<()> {
        let map =
            objects.iter_mut().find(|object| is(object, "ConfigMap")).context("there is no ConfigMap")?;
        put(fields(map, "data")?, "Corefile", json!(corefile.text));
        let port = match self.strategy {
            // The Service that is there sends questions to a number.
            Strategy::Join | Strategy::Adopt if !corefile.ports.contains(&53) => bail!(
                "the Corefile serves port {}, and with --strategy {} questions come to port 53: write `.:53`, or use --strategy own",
                corefile.ports.first().copied().unwrap_or_default(),
                self.strategy.name()
            ),
            Strategy::Join | Strategy::Adopt => 53,
            Strategy::Own => corefile.ports.first().copied().unwrap_or(53),
        };
        listen(dns(objects)?, port)?;
        if corefile.watches_pods {
            watch_pods(objects)?;
        }
        Ok(())
    }

    /// The Corefile of a ConfigMap that is there: CoreDNS's is for port 53 and is at /etc/coredns.
    fn share(&self, name: &str, objects: &mut Vec<Value>) -> Result<()> {
        objects.retain(|object| !is(object, "ConfigMap"));
        let deployment = dns(objects)?;
        listen(deployment, 53)?;
        let folder = "/etc/coredns";
        for container in containers(std::slice::from_mut(deployment)) {
            for word in container.get_mut("args").and_then(Value::as_array_mut).into_iter().flatten() {
                if word.as_str() == Some("/etc/callsign/Corefile") {
                    *word = json!(format!("{folder}/Corefile"));
                }
            }
            let mounts = json!([
                {"name": "config", "mountPath": folder, "readOnly": true},
                {"name": "custom", "mountPath": format!("{folder}/custom"), "readOnly": true},
            ]);
            container.insert("volumeMounts".to_owned(), mounts);
        }
        let volumes = json!([
            {"name": "config", "configMap": {"name": name}},
            {"name": "custom", "configMap": {"name": "coredns-custom", "optional": true}},
        ]);
        put(pod(deployment)?, "volumes", volumes);
        Ok(())
    }

    /// Another namespace, in every place that names it.
    fn settle(&self, namespace: &str, objects: &mut [Value]) -> Result<()> {
        ensure!(
            self.strategy == Strategy::Own,
            "--namespace {namespace}: with --strategy {} the pods stand behind kube-system/kube-dns, which selects pods of its own namespace only: leave it at kube-system, or use --strategy own",
            self.strategy.name()
        );
        for object in objects {
            for subject in object.get_mut("subjects").and_then(Value::as_array_mut).into_iter().flatten() {
                move_to(subject.as_object_mut(), namespace);
            }
            let stays = name(object).ends_with(SYSTEM_ROLE);
            if !stays {
                move_to(object.get_mut("metadata").and_then(Value::as_object_mut), namespace);
            }
            // Many clusters keep this class to kube-system.
            if is(object, "Deployment") {
                pod(object)?.remove("priorityClassName");
            }
        }
        Ok(())
    }
}

fn move_to(fields: Option<&mut Map<String, Value>>, namespace: &str) {
    if let Some(value) = fields.and_then(|fields| fields.get_mut("namespace"))
        && value.as_str() == Some(SYSTEM)
    {
        *value = json!(namespace);
    }
}

/// Has the pods listen for DNS on a port, with the one capability that a low one needs.
fn listen(deployment: &mut Value, port: u16) -> Result<()> {
    for container in containers(std::slice::from_mut(deployment)) {
        for declared in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
            if declared
                .get("name")
                .and_then(Value::as_str)
                .is_some_and(|name| name == "dns" || name == "dns-tcp")
                && let Some(declared) = declared.as_object_mut()
            {
                put(declared, "containerPort", json!(port));
            }
        }
        let capabilities =
            container.get_mut("securityContext").and_then(|context| context.get_mut("capabilities"));
        let capabilities =
            capabilities.and_then(Value::as_object_mut).context("the container has no capabilities")?;
        if port < 1024 {
            put(capabilities, "add", json!(["NET_BIND_SERVICE"]));
        } else {
            capabilities.remove("add");
        }
    }
    Ok(())
}

/// Lets DNS watch pods, where it may not.
fn watch_pods(objects: &mut [Value]) -> Result<()> {
    let role = objects.iter_mut().find(|object| is(object, "ClusterRole") && name(object) == "callsign");
    let rules = role
        .and_then(|role| role.get_mut("rules")?.as_array_mut())
        .context("there is no ClusterRole callsign")?;
    let covers = |rule: &Value| {
        let has = |field: &str, word: &str| {
            rule.get(field)
                .and_then(Value::as_array)
                .is_some_and(|words| words.iter().any(|known| known == word))
        };
        has("resources", "pods") && has("verbs", "watch")
    };
    if !rules.iter().any(covers) {
        rules.push(json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}));
    }
    Ok(())
}

/// The Deployment that answers DNS.
fn dns(objects: &mut [Value]) -> Result<&mut Value> {
    let found = objects.iter_mut().find(|object| is(object, "Deployment") && name(object) == "callsign");
    found.context("there is no Deployment callsign")
}

/// The containers of every Deployment.
fn containers(objects: &mut [Value]) -> impl Iterator<Item = &mut Map<String, Value>> {
    let deployments = objects.iter_mut().filter(|object| is(object, "Deployment"));
    let lists =
        deployments.filter_map(|object| object.pointer_mut("/spec/template/spec/containers")?.as_array_mut());
    lists.flatten().filter_map(Value::as_object_mut)
}

fn pod(deployment: &mut Value) -> Result<&mut Map<String, Value>> {
    let pod = deployment.pointer_mut("/spec/template/spec").and_then(Value::as_object_mut);
    pod.context("a Deployment without a pod")
}

fn spec(object: &mut Value) -> Result<&mut Map<String, Value>> {
    fields(object, "spec")
}

fn fields<'a>(object: &'a mut Value, name: &str) -> Result<&'a mut Map<String, Value>> {
    object.get_mut(name).and_then(Value::as_object_mut).with_context(|| format!("an object without {name}"))
}

fn put(fields: &mut Map<String, Value>, name: &str, value: Value) {
    fields.insert(name.to_owned(), value);
}

fn is(object: &Value, kind: &str) -> bool {
    object.get("kind").and_then(Value::as_str) == Some(kind)
}

fn name(object: &Value) -> &str {
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}
