//! The canary: a Service that every endpoint controller but ours makes objects for.
//!
//! It is headless, so that it takes no address, and has a selector that no pod can match. Whoever runs upstream's
//! controllers makes an Endpoints object and a slice for it, without endpoints, within moments. Callsign makes none, in
//! no replica, so anything that appears is somebody else's. For as long as it lives, DNS answers its name without
//! records.
//!
//! It is found again by its label, should a process end before it has deleted its canary.

use callsign_shared::{
    Index, Key, Name,
    object::{ForeignWrites, Service, well_known},
};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::ask::{Asker, NoAnswer};

/// What the names of canaries begin with.
const PREFIX: &str = "callsign-canary-";

/// How long the random part of a name is.
const RANDOM: usize = 8;

/// A canary that is there.
#[derive(Clone, Debug)]
pub(crate) struct Canary {
    pub(crate) key: Key,
    uid: Name,
}

/// What somebody made for a canary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caught {
    /// The kind.
    pub(crate) kind: &'static str,
    /// The object.
    pub(crate) object: Key,
    /// Who made it, where the object tells.
    pub(crate) manager: Option<Name>,
}

/// Why there is no canary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoCanary {
    /// It may not be made.
    Forbidden(NoAnswer),
    /// Something went wrong.
    Failed(NoAnswer),
}

/// Whether a Service is a canary: nothing is made for it.
pub(crate) fn is_canary(service: &Service) -> bool {
    service.meta.labels.contains_key(well_known::CANARY) && service.meta.key.name.starts_with(PREFIX)
}

impl Canary {
    /// Sets one out.
    pub(crate) async fn set_out(asker: &Asker, namespace: &str) -> Result<Self, NoCanary> {
        let random: String = std::iter::repeat_with(fastrand::alphanumeric).take(RANDOM).collect();
        let body = body(&random.to_lowercase());
        let path =
            format!("/api/v1/namespaces/{namespace}/services?fieldManager={}", crate::write::FIELD_MANAGER);
        let answer = asker.ask(Method::POST, &path, Some(&body)).await.map_err(NoCanary::Failed)?;
        if answer.status == StatusCode::FORBIDDEN {
            return Err(NoCanary::Forbidden(answer.refusal()));
        }
        let made = answer.success().map_err(NoCanary::Failed)?.json();
        let text =
            |pointer: &str| made.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(Self { key: Key::new(namespace, text("/metadata/name")), uid: text("/metadata/uid").into() })
    }

    /// What the index has of other people's objects for it.
    pub(crate) fn seen(&self, index: &Index) -> Option<Caught> {
        let view = index.view(&self.key)?;
        let caught = |kind, object: &Key, foreign: Option<&ForeignWrites>| {
            let manager = foreign.map(|foreign| foreign.manager.clone());
            Caught { kind, object: object.clone(), manager }
        };
        let slice = view
            .slices
            .first()
            .map(|slice| caught("EndpointSlice", &slice.meta.key, slice.foreign.as_deref()));
        let endpoints = || {
            let endpoints = view.endpoints.as_ref()?;
            Some(caught("Endpoints", &endpoints.meta.key, endpoints.foreign.as_deref()))
        };
        slice.or_else(endpoints)
    }

    /// What the API server has of them. The watches may be late or silent.
    ///
    /// # Errors
    /// When that is not known, also because the canary itself is gone.
    pub(crate) async fn asked(&self, asker: &Asker) -> Result<Option<Caught>, NoAnswer> {
        let Key { namespace, name } = &self.key;
        let slices = format!(
            "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?labelSelector={}%3D{name}",
            well_known::SERVICE_NAME.replace('/', "%2F")
        );
        let slices = asker.get(&slices).await?.success()?.json();
        if let Some(slice) = slices.pointer("/items/0") {
            return Ok(Some(caught("EndpointSlice", namespace, slice)));
        }
        let endpoints = asker.get(&format!("/api/v1/namespaces/{namespace}/endpoints/{name}")).await?;
        if endpoints.status != StatusCode::NOT_FOUND {
            return Ok(Some(caught("Endpoints", namespace, &endpoints.success()?.json())));
        }
        // Somebody who deletes our canary proves nothing.
        let service = asker.get(&path(&self.key)).await?.success()?.json();
        if service.pointer("/metadata/uid").and_then(Value::as_str) != Some(&self.uid) {
            return Err(NoAnswer::of("the canary is gone"));
        }
        Ok(None)
    }

    /// Takes it back.
    pub(crate) async fn take_back(&self, asker: &Asker) -> Result<(), NoAnswer> {
        delete(asker, &self.key, &self.uid).await
    }
}

/// Takes back canaries that an earlier process left in a namespace; what was made for them goes with them.
pub(crate) async fn sweep(asker: &Asker, index: &Index, namespace: &str) {
    let left = index.views().into_iter().filter_map(|view| view.service.clone());
    for service in left.filter(|service| service.meta.key.namespace == namespace && is_canary(service)) {
        if let Err(error) = delete(asker, &service.meta.key, &service.meta.uid.to_string()).await {
            tracing::debug!(canary = %service.meta.key, %error, "cannot take back an old canary");
        }
    }
}

async fn delete(asker: &Asker, key: &Key, uid: &str) -> Result<(), NoAnswer> {
    let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}});
    let answer = asker.ask(Method::DELETE, &path(key), Some(&options)).await?;
    match answer.status {
        // Gone, or another of the same name.
        StatusCode::NOT_FOUND | StatusCode::CONFLICT => Ok(()),
        _ => answer.success().map(drop),
    }
}

fn path(key: &Key) -> String {
    format!("/api/v1/namespaces/{}/services/{}", key.namespace, key.name)
}

fn caught(kind: &'static str, namespace: &str, object: &Value) -> Caught {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    Caught {
        kind,
        object: Key::new(namespace, text("/metadata/name").unwrap_or_default()),
        manager: text("/metadata/managedFields/0/manager").map(Name::new),
    }
}

fn body(random: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": format!("{PREFIX}{random}"),
            "labels": {well_known::CANARY: "guard", "app.kubernetes.io/managed-by": "callsign"},
            "annotations": {
                "callsign.dev/about": "Shows whether another controller makes endpoints. Callsign deletes it again.",
            },
        },
        "spec": {
            "clusterIP": "None",
            // No pod has this label: it is never set, and its value is new each time.
            "selector": {well_known::CANARY: format!("no-pod-{random}")},
        },
    })
}

impl std::fmt::Display for Caught {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, object, manager } = self;
        write!(f, "{} made {kind} {object}", manager.as_deref().unwrap_or("another controller"))
    }
}

#[cfg(test)]
mod tests {
    use callsign_shared::object::Decode;

    use super::*;

    #[test]
    fn a_canary_is_known_by_name_and_label() {
        let service = |json: &Value| Service::decode(&json.to_string()).unwrap();
        let canary = body("x1");
        assert!(is_canary(&service(&canary)) && service(&canary).selects());
        let mut other = canary.clone();
        other["metadata"]["name"] = json!("web");
        assert!(!is_canary(&service(&other)), "a label alone turns nothing off");
        other = canary;
        other["metadata"]["labels"] = json!({});
        assert!(!is_canary(&service(&other)));
    }

    #[test]
    fn what_is_there_for_it_is_somebody_elses() {
        let canary = Canary { key: Key::new("kube-system", "callsign-canary-x"), uid: Name::default() };
        let index = Index::new();
        assert_eq!(canary.seen(&index), None);
        let endpoints = callsign_shared::object::Endpoints::decode(
            r#"{"metadata":{"namespace":"kube-system","name":"callsign-canary-x","managedFields":[
                {"manager":"kube-controller-manager","time":"2026-01-01T00:00:00Z"}]}}"#,
        );
        index.apply(endpoints.unwrap());
        assert_eq!(
            canary.seen(&index).unwrap().to_string(),
            "kube-controller-manager made Endpoints kube-system/callsign-canary-x"
        );
    }
}
