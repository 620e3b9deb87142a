//! What the chart renders (`charts/golden`), run as far as one machine can: its objects in the embedded API server, its
//! containers as processes with the tokens of their ServiceAccounts.
//!
//! What a node would give a container is given here: ports that are free, and the files of its volumes.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;

use super::{
    cluster::text,
    in_place::{Place, free_port},
    process::Callsign,
    scrape::get,
    world::eventually,
};
use crate::apiserver::{
    Running,
    access::{Asked, Rule, What},
    kind::Kind,
    manifest,
};

/// Where the chart puts the Corefile.
const COREFILE: &str = "/etc/callsign/Corefile";
/// The kinds that a server needs before a container starts.
const LOADED: [Kind; 6] = [
    Kind::ServiceAccount,
    Kind::ConfigMap,
    Kind::ClusterRole,
    Kind::ClusterRoleBinding,
    Kind::Role,
    Kind::RoleBinding,
];

/// The objects that the chart renders for some values.
#[derive(Clone, Debug)]
pub struct Chart {
    objects: Vec<(Kind, Value)>,
}

/// A verb on a resource that a role gives an account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Granted {
    /// The verb.
    pub verb: String,
    /// The API group.
    pub group: String,
    /// `pods`, `pods/status`
    pub resource: String,
    /// The namespace of the binding, empty for the whole cluster.
    pub namespace: String,
    /// The names it is for, none for all.
    pub names: Vec<String>,
}

/// A container of the chart, as a process.
#[derive(Debug)]
pub struct Container {
    /// The process.
    pub callsign: Callsign,
    /// Where it answers DNS, if it does.
    pub dns: SocketAddr,
    ready: Option<SocketAddr>,
    place: Place,
}

impl Chart {
    /// `charts/golden/NAME.yaml`
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(name: &str) -> Result<Self> {
        let file: PathBuf =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/golden").join(format!("{name}.yaml"));
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let found = manifest::parse(&file, &text)?;
        let objects = found.objects.into_iter().map(|manifest| (manifest.kind, manifest.value)).collect();
        Ok(Self { objects })
    }

    /// The objects of a kind.
    pub fn all(&self, kind: Kind) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(move |(it, _)| *it == kind).map(|(_, object)| object)
    }

    /// One object.
    ///
    /// # Errors
    /// When it is not rendered.
    pub fn one(&self, kind: Kind, name: &str) -> Result<&Value> {
        let found = self.all(kind).find(|object| text(object, "/metadata/name") == Some(name));
        found.with_context(|| format!("no {kind:?} {name} is rendered"))
    }

    /// Loads accounts, roles, bindings and configuration into a server.
    ///
    /// # Errors
    /// When it refuses one.
    pub fn load(&self, server: &Running) -> Result<()> {
        for (_, object) in self.objects.iter().filter(|(kind, _)| LOADED.contains(kind)) {
            server.store().load(object.clone()).map_err(|error| anyhow!("{error}\n{object}"))?;
        }
        Ok(())
    }

    /// The arguments of a Deployment's container.
    ///
    /// # Errors
    /// When there is none.
    pub fn arguments(&self, deployment: &str) -> Result<Vec<String>> {
        let object = self.one(Kind::Deployment, deployment)?;
        let arguments = object.pointer("/spec/template/spec/containers/0/args").and_then(Value::as_array);
        let arguments = arguments.context("a container without arguments")?;
        Ok(arguments.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// Namespace and name of the account a Deployment's pods run as.
    ///
    /// # Errors
    /// When there is none.
    pub fn account(&self, deployment: &str) -> Result<(String, String)> {
        let object = self.one(Kind::Deployment, deployment)?;
        let namespace = text(object, "/metadata/namespace").context("a Deployment without a namespace")?;
        let name = text(object, "/spec/template/spec/serviceAccountName").context("no account")?;
        Ok((namespace.to_owned(), name.to_owned()))
    }

    /// Every verb on every resource that the rendered roles give an account.
    ///
    /// # Errors
    /// When a binding names a role that is not rendered.
    pub fn granted(&self, account: &(String, String)) -> Result<Vec<Granted>> {
        let mut granted = Vec::new();
        let bindings = self.all(Kind::ClusterRoleBinding).chain(self.all(Kind::RoleBinding));
        for binding in bindings.filter(|binding| binds(binding, account)) {
            let namespace = text(binding, "/metadata/namespace").unwrap_or_default();
            let kind = text(binding, "/roleRef/kind").unwrap_or_default();
            let kind = if kind == "ClusterRole" { Kind::ClusterRole } else { Kind::Role };
            let role = self.one(kind, text(binding, "/roleRef/name").unwrap_or_default())?;
            for rule in rules(role) {
                ensure!(rule.paths.is_empty(), "a rule about paths: {rule:?}");
                for (verb, group, resource) in each(&rule) {
                    granted.push(Granted {
                        verb,
                        group,
                        resource,
                        namespace: namespace.to_owned(),
                        names: rule.names.clone(),
                    });
                }
            }
        }
        granted.sort();
        Ok(granted)
    }

    /// Starts the container of a Deployment, with its account's token in a file, and `variables` of the environment.
    /// What it forwards goes to `upstream`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(
        &self,
        binary: &Path,
        server: &Running,
        deployment: &str,
        upstream: SocketAddr,
        variables: &[(&str, &str)],
    ) -> Result<Container> {
        let place = Place::new(server)?;
        let (namespace, account) = self.account(deployment)?;
        place.write("token", &token(server, &namespace, &account)?)?;
        place.write("kubeconfig", &server.kubeconfig_of_file(&place.path("token")))?;
        let mut arguments = self.arguments(deployment)?;
        let mut ready = None;
        let kubeconfig = place.path("kubeconfig").display().to_string();
        let mut environment = vec![("CALLSIGN_LOG_FORMAT", "json"), ("CALLSIGN_KUBECONFIG", &kubeconfig)];
        environment.extend(variables);
        if let Some(file) = arguments.iter_mut().find(|argument| *argument == COREFILE) {
            let pages = [free_port()?, free_port()?, free_port()?];
            let corefile = self.one(Kind::ConfigMap, "callsign")?;
            let corefile = text(corefile, "/data/Corefile").context("a ConfigMap without a Corefile")?;
            place.write("Corefile", &at_home(corefile, place.port, pages, upstream))?;
            *file = place.path("Corefile").display().to_string();
            ready = Some(SocketAddr::from(([127, 0, 0, 1], pages[1])));
        } else {
            let anywhere = ["CALLSIGN_HEALTH_LISTEN", "CALLSIGN_READY_LISTEN", "CALLSIGN_METRICS_LISTEN"];
            environment.extend(anywhere.map(|name| (name, "127.0.0.1:0")));
            environment.push(("CALLSIGN_LAMEDUCK", "100ms"));
        }
        let callsign = Callsign::start_with(binary, arguments, environment)?;
        Ok(Container { callsign, dns: place.dns(), ready, place })
    }
}

impl Container {
    /// What `/ready` says: status and text.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn readiness(&mut self) -> Result<(u16, String)> {
        let address = match self.ready {
            Some(address) => address,
            None => self.callsign.address("ready").await?,
        };
        get(address, "/ready").await
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// When it is not in time; with what it said.
    pub async fn is_ready(&mut self) -> Result<()> {
        let address = match self.ready {
            Some(address) => address,
            None => self.callsign.address("ready").await?,
        };
        let waited = eventually("ready", async || {
            let (code, body) = get(address, "/ready").await?;
            ensure!(code == 200, "{code}: {body}");
            Ok(())
        })
        .await;
        waited.with_context(|| self.callsign.said())
    }

    /// The file with its token.
    pub fn token_file(&self) -> PathBuf {
        self.place.path("token")
    }
}

impl Granted {
    /// Whether something that was asked for needed this.
    pub fn is_used_by(&self, asked: &Asked) -> bool {
        let What::Object(object) = &asked.what else { return false };
        asked.verb == self.verb
            && object.group == self.group
            && object.resource() == self.resource
            && (self.namespace.is_empty() || object.namespace == self.namespace)
            && (self.names.is_empty() || self.names.contains(&object.name))
    }
}

impl std::fmt::Display for Granted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let dot = if self.group.is_empty() { "" } else { "." };
        write!(f, "{} {}{dot}{}", self.verb, self.resource, self.group)?;
        if !self.names.is_empty() {
            write!(f, " {}", self.names.join(","))?;
        }
        if self.namespace.is_empty() { Ok(()) } else { write!(f, " in {}", self.namespace) }
    }
}

/// A token for an account of a server.
///
/// # Errors
/// When there is no such account.
pub fn token(server: &Running, namespace: &str, account: &str) -> Result<String> {
    let issued = server.access().issue(namespace, account, 3600, None, &[]);
    Ok(issued.map_err(|error| anyhow!("{error}"))?.token)
}

/// The rules of a role.
pub fn rules(role: &Value) -> Vec<Rule> {
    let rules = role.get("rules").and_then(Value::as_array).into_iter().flatten();
    rules.filter_map(|rule| serde_json::from_value(rule.clone()).ok()).map(|rule| Rule::from(&rule)).collect()
}

fn binds(binding: &Value, (namespace, name): &(String, String)) -> bool {
    let subjects = binding.get("subjects").and_then(Value::as_array).into_iter().flatten();
    subjects.into_iter().any(|subject| {
        text(subject, "/kind") == Some("ServiceAccount")
            && text(subject, "/namespace") == Some(namespace)
            && text(subject, "/name") == Some(name)
    })
}

fn each(rule: &Rule) -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    for verb in &rule.verbs {
        for group in &rule.groups {
            for resource in &rule.resources {
                all.push((verb.clone(), group.clone(), resource.clone()));
            }
        }
    }
    all
}

/// A Corefile with ports that are free in the place of a pod's.
fn at_home(corefile: &str, port: u16, [health, ready, metrics]: [u16; 3], upstream: SocketAddr) -> String {
    let mut home = String::new();
    for line in corefile.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [".:53" | ".:1053", "{"] => home.push_str(&format!(".:{port} {{")),
            ["health", "{"] => home.push_str(&format!("    health 127.0.0.1:{health} {{")),
            ["ready"] => home.push_str(&format!("    ready 127.0.0.1:{ready}")),
            ["prometheus", _] => home.push_str(&format!("    prometheus 127.0.0.1:{metrics}")),
            ["lameduck", _] => home.push_str("        lameduck 100ms"),
            _ => home.push_str(&line.replace("/etc/resolv.conf", &upstream.to_string())),
        }
        home.push('\n');
    }
    home
}
