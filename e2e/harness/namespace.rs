//! One namespace of the embedded API server: objects in, and out what was made of them, a line for each endpoint.
//!
//! Writes go straight into the store, through the same rules as over HTTP. They are fast, so that a test can hold
//! hundreds of cases against one process, and they are no requests, so that every write that is counted is Callsign's.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};

use super::{
    build,
    cluster::text,
    world::{World, eventually},
};
use crate::apiserver::{
    ApiServer, DeleteOptions, Key, Options, Part, Patch, Running, Scope, Store, WriteOptions, kind::Kind,
};

/// A namespace with the objects of one case.
#[derive(Clone, Debug)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    store: Arc<Store>,
}

/// What a case wants of one Service: `None` for no Endpoints object.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Where.
    pub namespace: Namespace,
    /// Which Service.
    pub service: String,
    /// [`Namespace::endpoints`]
    pub endpoints: Option<Vec<String>>,
    /// [`Namespace::endpoints_in_slices`]
    pub slices: Vec<String>,
}

/// Starts an embedded API server with these Nodes, each in its zone.
///
/// # Errors
/// When it does not come up.
pub async fn server(options: Options, nodes: &[(&str, &str)]) -> Result<Running> {
    let server = ApiServer::start(options).await?;
    for (name, zone) in nodes {
        load(server.store(), build::node(name, zone))?;
    }
    Ok(server)
}

impl Namespace {
    /// Makes the namespace.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn new(server: &Running, name: &str) -> Result<Self> {
        let namespace = Self { name: name.to_owned(), store: Arc::clone(server.store()) };
        load(&namespace.store, build::namespace(name))?;
        Ok(namespace)
    }

    /// The store of its API server.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Makes an object in it, or makes it the same as `object`, and gives it as it is then. Nodes and
    /// Namespaces are in none.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn put(&self, mut object: Value) -> Result<Value> {
        if !matches!(text(&object, "/kind"), Some("Node" | "Namespace")) {
            let metadata = object.get_mut("metadata").and_then(Value::as_object_mut).context("metadata")?;
            metadata.insert("namespace".to_owned(), json!(self.name));
        }
        load(&self.store, object)
    }

    /// Merges a patch (RFC 7396) into an object, or into its status if that is all the patch has.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn merge(&self, kind: Kind, name: &str, patch: Value) -> Result<Value> {
        let status = patch.as_object().is_some_and(|fields| fields.keys().eq(["status"]));
        let part = if status { Part::Status } else { Part::Main };
        let options = WriteOptions::by("test");
        let key = Key::new(&self.name, name);
        let written = self.store.patch(kind, &key, part, &Patch::Merge(patch), &options);
        Ok(written.map_err(|error| anyhow!("{error:?}"))?.object.value.clone())
    }

    /// Deletes an object of it, or of a kind that is in no namespace, with the kind's own grace period unless one is given.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn delete(&self, kind: Kind, name: &str, grace: Option<i64>) -> Result<()> {
        let options = DeleteOptions { grace_period_seconds: grace, ..DeleteOptions::default() };
        let key = Key::new(if kind.info().namespaced { &self.name } else { "" }, name);
        self.store.delete(kind, &key, &options).map_err(|error| anyhow!("{error:?}"))?;
        Ok(())
    }

    /// An object of it.
    pub fn get(&self, kind: Kind, name: &str) -> Option<Value> {
        Some(self.store.get(kind, &self.name, name)?.value.clone())
    }

    /// The Endpoints of a Service, a line for each address: `10.1.0.1 http:8080/TCP`, with `!` before it when it is not
    /// ready, and `-` for no ports. Sorted.
    pub fn endpoints(&self, service: &str) -> Option<Vec<String>> {
        let object = self.get(Kind::Endpoints, service)?;
        let mut lines = Vec::new();
        for subset in list(&object, "subsets") {
            let ports = ports(subset);
            for (field, mark) in [("addresses", ""), ("notReadyAddresses", "!")] {
                let addresses = list(subset, field).filter_map(|address| text(address, "/ip"));
                lines.extend(addresses.map(|ip| format!("{mark}{ip} {ports}")));
            }
        }
        lines.sort();
        Some(lines)
    }

    /// All slices of a Service, in the order of their names.
    pub fn slices(&self, service: &str) -> Vec<Value> {
        let (objects, _) = self.store.list(Kind::EndpointSlice, Scope::Namespace(&self.name));
        let of_service = |slice: &Value| {
            text(slice, "/metadata/labels/kubernetes.io~1service-name").is_some_and(|name| name == service)
        };
        objects.iter().map(|object| object.value.clone()).filter(of_service).collect()
    }

    /// What the slices of a Service list, a line for each endpoint: `10.1.0.1 rst http:8080/TCP`. The letters stand for
    /// ready, serving and terminating, `-` for one that is false and `?` for one that is unknown. A slice without
    /// endpoints is a line too: `IPv4 empty`. Sorted.
    pub fn endpoints_in_slices(&self, service: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for slice in self.slices(service) {
            let ports = ports(&slice);
            let endpoints = list(&slice, "endpoints").map(|endpoint| {
                let address = text(endpoint, "/addresses/0").unwrap_or("?");
                format!("{address} {} {ports}", conditions(endpoint))
            });
            lines.extend(endpoints);
            if list(&slice, "endpoints").next().is_none() {
                lines.push(format!("{} empty", text(&slice, "/addressType").unwrap_or("?")));
            }
        }
        lines.sort();
        lines
    }

    /// How many endpoints each slice of a Service has, sorted.
    pub fn sizes(&self, service: &str) -> Vec<usize> {
        let mut sizes: Vec<_> =
            self.slices(service).iter().map(|slice| list(slice, "endpoints").count()).collect();
        sizes.sort_unstable();
        sizes
    }

    /// Makes a Service of this name and waits until its objects are there: whoever writes them has begun to.
    ///
    /// # Errors
    /// When they are not in time.
    pub async fn mark(&self, service: &str) -> Result<()> {
        self.put(build::service("", service))?;
        let there = || self.endpoints(service).is_some() && !self.slices(service).is_empty();
        until(&format!("objects of {service}"), there).await
    }

    /// What is wanted of a Service of it.
    pub fn wants(&self, service: &str, endpoints: Option<&[&str]>, slices: &[&str]) -> Wanted {
        let lines = |lines: &[&str]| {
            let mut lines: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
            lines.sort();
            lines
        };
        Wanted {
            namespace: self.clone(),
            service: service.to_owned(),
            endpoints: endpoints.map(lines),
            slices: lines(slices),
        }
    }
}

impl Wanted {
    fn check(&self) -> Result<()> {
        let Self { namespace, service, .. } = self;
        let (endpoints, slices) = (namespace.endpoints(service), namespace.endpoints_in_slices(service));
        ensure!(
            endpoints == self.endpoints && slices == self.slices,
            "{}/{service}\n wanted {:?}\n        {:?}\n found  {endpoints:?}\n        {slices:?}",
            namespace.name,
            self.endpoints,
            self.slices
        );
        Ok(())
    }
}

fn load(store: &Store, object: Value) -> Result<Value> {
    let loaded = store.load(object.clone()).map_err(|error| anyhow!("{error:?}\n{object}"))?;
    Ok(loaded.object().value.clone())
}

/// Waits until everything is as wanted, and sees that it stays so.
///
/// # Errors
/// When it is not in time or does not stay; with all that differs.
pub async fn hold(world: &World, wanted: &[Wanted]) -> Result<()> {
    let all = || {
        let wrong: Vec<String> =
            wanted.iter().filter_map(|case| Some(case.check().err()?.to_string())).collect();
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    };
    eventually("objects", async || all()).await?;
    world.cluster.settle().await?;
    all()
}

/// Waits until a condition holds.
///
/// # Errors
/// When it does not in time.
pub async fn until(what: &str, holds: impl Fn() -> bool) -> Result<()> {
    eventually(what, async || {
        ensure!(holds(), "not yet");
        Ok(())
    })
    .await
}

/// How many creates, updates and deletes of a resource were asked for over HTTP.
pub fn writes(server: &Running, resource: &str) -> [u64; 3] {
    ["create", "update", "delete"].map(|verb| server.faults().requests_of(verb, resource))
}

/// The entries of a list, none where it is null or absent.
pub fn list<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    object.get(field).and_then(Value::as_array).into_iter().flatten()
}

fn ports(object: &Value) -> String {
    let port = |port: &Value| {
        let field = |name: &str| port.get(name).and_then(Value::as_str).unwrap_or_default();
        let number = port.get("port").map(Value::to_string).unwrap_or_default();
        let app = match field("appProtocol") {
            "" => String::new(),
            app => format!("={app}"),
        };
        format!("{}:{number}/{}{app}", field("name"), field("protocol"))
    };
    let mut ports: Vec<_> = list(object, "ports").map(port).collect();
    ports.sort();
    if ports.is_empty() { "-".to_owned() } else { ports.join(",") }
}

fn conditions(endpoint: &Value) -> String {
    let letter = |(name, letter): (&str, char)| match endpoint.pointer(&format!("/conditions/{name}")) {
        Some(Value::Bool(true)) => letter,
        Some(Value::Bool(false)) => '-',
        _ => '?',
    };
    [("ready", 'r'), ("serving", 's'), ("terminating", 't')].into_iter().map(letter).collect()
}
