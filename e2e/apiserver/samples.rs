//! What the sandbox shows when nobody brings manifests: a small shop with one Service of every type, and one that is
//! broken on purpose.
//!
//! The manifests are ordinary ones, with comments: they are read by people too.

use std::path::Path;

use super::manifest::{self, ManifestError, Manifests};

/// The files, in the order in which they are loaded.
pub const FILES: &[(&str, &str)] = &[
    ("namespace.yaml", include_str!("samples/namespace.yaml")),
    ("web.yaml", include_str!("samples/web.yaml")),
    ("db.yaml", include_str!("samples/db.yaml")),
    ("frontend.yaml", include_str!("samples/frontend.yaml")),
    ("catalog.yaml", include_str!("samples/catalog.yaml")),
    ("office.yaml", include_str!("samples/office.yaml")),
    ("outside.yaml", include_str!("samples/outside.yaml")),
    ("payments.yaml", include_str!("samples/payments.yaml")),
];

/// The objects of the samples.
///
/// # Errors
/// None but a mistake in the files, which tests rule out.
pub fn load() -> Result<Manifests, ManifestError> {
    let mut manifests = Manifests::default();
    for (name, text) in FILES {
        let found = manifest::parse(&Path::new("samples").join(name), text)?;
        manifests.objects.extend(found.objects);
        manifests.unknown.extend(found.unknown);
    }
    Ok(manifests)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::apiserver::kind::Kind;
    use crate::apiserver::rules::value::{at, items, text};
    use crate::apiserver::rules::{Allocator, decode, defaults, strategy, validate};

    /// The samples as the server would store them.
    fn stored() -> Vec<(Kind, Value)> {
        let manifests = load().unwrap();
        assert!(manifests.unknown.is_empty());
        let mut allocator = Allocator::new();
        manifests
            .objects
            .into_iter()
            .map(|manifest| {
                let (kind, source) = (manifest.kind, manifest.source);
                assert_eq!(decode::unknown_fields(kind, &manifest.value), Vec::<String>::new(), "{source}");
                let mut object = decode::decode(kind, manifest.value).unwrap();
                defaults::defaults(kind, &mut object);
                strategy::prepare_create(kind, &mut object);
                if kind == Kind::Service {
                    allocator.allocate(&mut object, None).unwrap();
                }
                let wrong: Vec<String> =
                    validate::create(kind, &object).iter().map(ToString::to_string).collect();
                assert_eq!(wrong, Vec::<String>::new(), "{source}");
                (kind, object)
            })
            .collect()
    }

    #[test]
    fn every_sample_is_good() {
        let objects = stored();
        let namespaces: BTreeSet<&str> =
            objects.iter().map(|(_, object)| text(object, &["metadata", "namespace"])).collect();
        assert_eq!(namespaces, BTreeSet::from(["", "default", "shop"]));
    }

    #[test]
    fn every_type_of_service_is_there() {
        let objects = stored();
        let services: Vec<&Value> =
            objects.iter().filter(|(kind, _)| *kind == Kind::Service).map(|(_, object)| object).collect();
        let types: BTreeSet<&str> = services.iter().map(|service| text(service, &["spec", "type"])).collect();
        assert_eq!(types, BTreeSet::from(["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]));
        assert!(services.iter().any(|service| text(service, &["spec", "clusterIP"]) == "None"));
        assert!(services.iter().any(|service| items(service, &["spec", "ipFamilies"]).len() == 2));
        assert!(services.iter().any(|service| {
            at(service, &["spec", "selector"]).is_none() && text(service, &["spec", "type"]) == "ClusterIP"
        }));
    }

    #[test]
    fn payments_is_broken_and_nothing_else_is() {
        let objects = stored();
        let mut broken = Vec::new();
        for (_, service) in objects.iter().filter(|(kind, _)| *kind == Kind::Service) {
            let Some(selector) = at(service, &["spec", "selector"]) else {
                continue;
            };
            let namespace = text(service, &["metadata", "namespace"]);
            let selected = objects
                .iter()
                .filter(|(_, object)| text(object, &["metadata", "namespace"]) == namespace)
                .filter_map(|(kind, object)| match kind {
                    Kind::Pod => Some(object),
                    Kind::Deployment | Kind::StatefulSet => at(object, &["spec", "template"]),
                    _ => None,
                })
                .filter(|pod| {
                    let labels = &pod["metadata"]["labels"];
                    selector.as_object().unwrap().iter().all(|(key, value)| labels.get(key) == Some(value))
                });
            let ports: Vec<&Value> = selected
                .flat_map(|pod| items(pod, &["spec", "containers"]))
                .flat_map(|container| items(container, &["ports"]))
                .flat_map(|port| [&port["name"], &port["containerPort"]])
                .collect();
            assert!(!ports.is_empty(), "{service} selects something");
            if items(service, &["spec", "ports"]).iter().any(|port| !ports.contains(&&port["targetPort"])) {
                broken.push(text(service, &["metadata", "name"]));
            }
        }
        assert_eq!(broken, ["payments"]);
    }
}
