//! A cluster to write to: an API server and the few verbs the cases need.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use kube::{
    Api, Client,
    api::{
        ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
        PostParams,
    },
};
use serde_json::{Value, json};

use super::case::{Case, Step};
use crate::apiserver::kind::Kind;

/// How long nothing may change before a cluster counts as settled.
const QUIET: Duration = Duration::from_millis(400);
/// How long settling may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a cluster may take to empty namespaces.
const CLEARING: Duration = Duration::from_secs(120);

/// A cluster, through its API.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
}

impl Cluster {
    /// The cluster behind `client`.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The client itself.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Runs steps in order.
    ///
    /// # Errors
    /// At the first step the API server refuses; the error names the object.
    pub async fn play(&self, steps: &[Step]) -> Result<()> {
        for step in steps {
            match step {
                Step::Apply(object) => self.apply(object).await?,
                Step::Delete(object) => self.delete(object).await?,
                Step::Settle => self.settle().await?,
            }
        }
        Ok(())
    }

    /// Creates the object, or updates it, and writes its status to the status subresource.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn apply(&self, object: &Value) -> Result<()> {
        let (api, name) = self.api(object)?;
        let what = describe(object);
        let mut body = object.clone();
        let status = body.as_object_mut().and_then(|fields| fields.remove("status"));
        match api.get_opt(&name).await.with_context(|| what.clone())? {
            None => {
                keep_from_scheduler(&mut body);
                let body: DynamicObject = serde_json::from_value(body)?;
                create(&api, &body).await.with_context(|| what.clone())?;
            }
            Some(_) if text(object, "/kind") == Some("Pod") => {
                let labels = json!({"metadata": {"labels": object.pointer("/metadata/labels")}});
                let patch = Patch::Merge(&labels);
                api.patch(&name, &PatchParams::default(), &patch).await.with_context(|| what.clone())?;
            }
            Some(live) => {
                let mut body: DynamicObject = serde_json::from_value(body)?;
                body.metadata.resource_version = live.metadata.resource_version;
                api.replace(&name, &PostParams::default(), &body).await.with_context(|| what.clone())?;
            }
        }
        if let Some(status) = status {
            let patch = json!({"status": status});
            let patch = Patch::Merge(&patch);
            api.patch_status(&name, &PatchParams::default(), &patch).await.with_context(|| what)?;
        }
        Ok(())
    }

    /// Deletes what `object` names, with the kind's own defaults.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn delete(&self, object: &Value) -> Result<()> {
        let (api, name) = self.api(object)?;
        api.delete(&name, &DeleteParams::default()).await.with_context(|| describe(object))?;
        Ok(())
    }

    /// Refuses a cluster that has something of what these cases make.
    ///
    /// # Errors
    /// When it has, with the names; when the API server refuses.
    pub async fn is_free_of(&self, cases: &[Case]) -> Result<()> {
        for (kind, names) in made(cases) {
            let there = self.list(kind).await?;
            let there: BTreeSet<_> = there.iter().filter_map(|it| text(it, "/metadata/name")).collect();
            let both: Vec<_> = names.iter().filter(|name| there.contains(name.as_str())).collect();
            ensure!(
                both.is_empty(),
                "the cluster has {} {both:?}, which the suite makes and takes away: delete them, or use a cluster of its own",
                kind.info().plural
            );
        }
        Ok(())
    }

    /// Takes away the namespaces and Nodes that these cases made, and waits until they are gone.
    ///
    /// # Errors
    /// When the API server refuses, or they do not go.
    pub async fn clear(&self, cases: &[Case]) -> Result<()> {
        let made = made(cases);
        // No kubelet says that these pods have ended.
        let at_once = DeleteParams::default().grace_period(0);
        for namespace in made.get(&Kind::Namespace).into_iter().flatten() {
            let pods = Api::<DynamicObject>::namespaced_with(self.client(), namespace, &resource(Kind::Pod));
            for pod in pods.list_metadata(&ListParams::default()).await?.items {
                unless_gone(pods.delete(pod.metadata.name.as_deref().unwrap_or_default(), &at_once).await)?;
            }
        }
        for (kind, names) in &made {
            let api = Api::<DynamicObject>::all_with(self.client(), &resource(*kind));
            for name in names {
                unless_gone(api.delete(name, &DeleteParams::default()).await)
                    .with_context(|| name.clone())?;
            }
        }
        let started = Instant::now();
        while let Err(left) = self.is_free_of(cases).await {
            ensure!(
                started.elapsed() < CLEARING,
                "what the suite made did not go within {CLEARING:?}: {left}"
            );
            tokio::time::sleep(QUIET).await;
        }
        Ok(())
    }

    /// All objects of a kind, in all namespaces.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn list(&self, kind: Kind) -> Result<Vec<Value>> {
        let api = Api::<DynamicObject>::all_with(self.client(), &resource(kind));
        let list = api.list(&ListParams::default()).await.with_context(|| kind.info().plural)?;
        list.items.into_iter().map(|object| Ok(serde_json::to_value(object)?)).collect()
    }

    /// Waits until no Endpoints and no slice has changed for a while.
    ///
    /// # Errors
    /// When that does not happen.
    pub async fn settle(&self) -> Result<()> {
        let started = Instant::now();
        let mut last = (self.versions().await?, Instant::now());
        while last.1.elapsed() < QUIET {
            if started.elapsed() > PATIENCE {
                bail!("the cluster did not settle within {PATIENCE:?}");
            }
            tokio::time::sleep(QUIET / 8).await;
            let now = self.versions().await?;
            if now != last.0 {
                last = (now, Instant::now());
            }
        }
        Ok(())
    }

    async fn versions(&self) -> Result<Vec<String>> {
        let mut versions = Vec::new();
        for kind in [Kind::Endpoints, Kind::EndpointSlice] {
            let objects = self.list(kind).await?;
            versions.extend(
                objects.iter().filter_map(|o| text(o, "/metadata/resourceVersion").map(str::to_owned)),
            );
        }
        versions.sort();
        Ok(versions)
    }

    /// The API for an object's kind and namespace, and its name.
    ///
    /// # Errors
    /// When the object lacks a kind, a name, or is of an unknown kind.
    pub fn api(&self, object: &Value) -> Result<(Api<DynamicObject>, String)> {
        let (version, kind) = (text(object, "/apiVersion"), text(object, "/kind"));
        let known = version.zip(kind).and_then(|(version, kind)| Kind::of(version, kind));
        let kind = known.with_context(|| format!("unknown kind: {}", describe(object)))?;
        let name =
            text(object, "/metadata/name").with_context(|| format!("no name: {}", describe(object)))?;
        let resource = resource(kind);
        let api = match text(object, "/metadata/namespace") {
            Some(namespace) => Api::namespaced_with(self.client(), namespace, &resource),
            None if kind.info().namespaced => Api::namespaced_with(self.client(), "default", &resource),
            None => Api::all_with(self.client(), &resource),
        };
        Ok((api, name.to_owned()))
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("namespace", &self.client.default_namespace()).finish_non_exhaustive()
    }
}

/// The Namespaces and Nodes of cases, which hold everything else that these make.
fn made(cases: &[Case]) -> BTreeMap<Kind, BTreeSet<String>> {
    let mut made = BTreeMap::<Kind, BTreeSet<String>>::new();
    let preludes = cases.iter().flat_map(|case| &case.prelude).filter_map(|step| match step {
        Step::Apply(object) => Some(object),
        Step::Delete(_) | Step::Settle => None,
    });
    for object in cases.iter().flat_map(Case::applied).chain(preludes) {
        let kind = text(object, "/apiVersion").zip(text(object, "/kind"));
        let kind = kind.and_then(|(version, kind)| Kind::of(version, kind));
        if let (Some(kind @ (Kind::Namespace | Kind::Node)), Some(name)) =
            (kind, text(object, "/metadata/name"))
        {
            made.entry(kind).or_default().insert(name.to_owned());
        }
    }
    made
}

/// A pod without a Node stays without one: a real scheduler would find it one, where a kubelet rewrites its status.
fn keep_from_scheduler(object: &mut Value) {
    if text(object, "/kind") != Some("Pod") || text(object, "/spec/nodeName").is_some() {
        return;
    }
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("schedulerName".to_owned(), json!("nobody"));
    }
}

/// Creates an object; a pod again, while its namespace has no ServiceAccount yet: kube-controller-manager makes that.
async fn create(api: &Api<DynamicObject>, object: &DynamicObject) -> Result<()> {
    let started = Instant::now();
    loop {
        match api.create(&PostParams::default(), object).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status))
                if status.is_forbidden()
                    && status.message.contains("service account")
                    && started.elapsed() < PATIENCE =>
            {
                tokio::time::sleep(QUIET / 8).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// What is not there is gone already.
fn unless_gone<T>(deleted: kube::Result<T>) -> kube::Result<()> {
    match deleted {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        other => other.map(drop),
    }
}

fn resource(kind: Kind) -> ApiResource {
    let info = kind.info();
    let gvk = GroupVersionKind::gvk(info.group, info.version, info.name);
    ApiResource::from_gvk_with_plural(&gvk, info.plural)
}

fn describe(object: &Value) -> String {
    let part = |pointer| text(object, pointer).unwrap_or("?");
    format!("{} {}/{}", part("/kind"), part("/metadata/namespace"), part("/metadata/name"))
}

/// The text at a JSON pointer.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}
