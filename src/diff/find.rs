//! What need not be said: where Callsign's Service is, and what the cluster's domain is.

use std::{io, net::SocketAddr, path::Path};

use callsign_dns::{
    ZoneConfig,
    corefile::{Corefile, Files, FilesOnDisk},
    plugins::kubernetes,
};
use hickory_proto::rr::Name;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
};
use serde_json::Value;

use super::standing::Zones;
use crate::exit::Exit;

/// How the chart labels its objects.
const LABEL: &str = "app.kubernetes.io/name=callsign";
/// Where CoreDNS's Corefile is on kubeadm, k3s, EKS and kops.
const COREFILE: (&str, &str) = ("kube-system", "coredns");
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// What names there are, and how that is known.
pub(crate) struct Domain {
    /// The zones.
    pub(crate) config: ZoneConfig,
    /// Zones whose names are asked of others where they are not there.
    pub(crate) passed_on: Zones,
    /// Whether they are written with capital letters, which CoreDNS does not read as others do.
    pub(crate) mixed_case: bool,
    /// Who says so.
    pub(crate) source: String,
}

impl Domain {
    /// The usual zones of a domain.
    ///
    /// # Errors
    /// When it is no domain.
    pub(crate) fn named(domain: &str, source: impl Into<String>) -> Result<Self, Exit> {
        let mut config = ZoneConfig::cluster(domain).map_err(Exit::configuration)?;
        config.source = callsign_shared::index::Source::Slices;
        let mixed_case = has_capitals(domain);
        Ok(Self { config, passed_on: Zones::new([], false), mixed_case, source: source.into() })
    }

    /// The zones of the first `kubernetes` directive of a Corefile; `None` where there is none.
    ///
    /// # Errors
    /// When it cannot be read; with file and line.
    fn of_corefile(name: &str, text: &str, files: &dyn Files) -> Result<Option<Self>, Exit> {
        let corefile = Corefile::parse(name, text, files).map_err(Exit::configuration)?;
        let directive = kubernetes::first(&corefile).map_err(Exit::configuration)?;
        let with_cluster = corefile.blocks.iter().filter_map(|block| {
            let directive = block.directives.iter().find(|directive| directive.name.text == "kubernetes")?;
            Some(if directive.args.is_empty() { &block.keys } else { &directive.args })
        });
        let mixed_case = with_cluster.take(1).flatten().any(|zone| has_capitals(&zone.text));
        Ok(directive.map(|directive| {
            let mut config = directive.zone;
            config.source = callsign_shared::index::Source::Slices;
            Self {
                config,
                passed_on: Zones::new(&directive.fallthrough, false),
                mixed_case,
                source: name.to_owned(),
            }
        }))
    }

    /// The zones of a Corefile on this machine.
    ///
    /// # Errors
    /// When it cannot be read, or has no cluster in it.
    pub(crate) fn of_file(path: &Path) -> Result<Self, Exit> {
        let name = path.display().to_string();
        let text = FilesOnDisk.read(path);
        let text =
            text.map_err(|error| Exit::configuration(anyhow::anyhow!("--corefile {name}: {error}")))?;
        let found = Self::of_corefile(&name, &text, &FilesOnDisk)?;
        found
            .ok_or_else(|| Exit::configuration(anyhow::anyhow!("--corefile {name}: no kubernetes directive")))
    }

    /// The zones of the Corefile that CoreDNS has, else what the search path of this pod says, else `cluster.local`.
    ///
    /// # Errors
    /// When the Corefile that is there cannot be read.
    pub(crate) async fn of_cluster(client: &Client) -> Result<Self, Exit> {
        let (namespace, name) = COREFILE;
        let api = Api::<DynamicObject>::namespaced_with(
            client.clone(),
            namespace,
            &resource("ConfigMap", "configmaps"),
        );
        let map = match api.get_opt(name).await {
            Ok(map) => map,
            // An account that may not read it, as DNS servers' may not, has other ways.
            Err(kube::Error::Api(_)) => None,
            Err(error) => {
                let error = anyhow::Error::new(error).context("the API server cannot be reached");
                return Err(Exit::unreachable(error));
            }
        };
        if let Some(text) = map.as_ref().and_then(|map| map.data.pointer("/data/Corefile")?.as_str()) {
            let source = format!("ConfigMap {namespace}/{name}");
            if let Some(domain) = Self::of_corefile(&source, text, &NoFiles)? {
                return Ok(domain);
            }
        }
        let resolv = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
        match domain_of(&resolv) {
            Some(domain) => Self::named(&domain, RESOLV_CONF),
            None => Self::named("cluster.local", "the default"),
        }
    }

    /// The same with another name in the place of its zones that are no reverse zones.
    ///
    /// # Errors
    /// When it is no domain.
    pub(crate) fn renamed(mut self, domain: &str) -> Result<Self, Exit> {
        let named = Self::named(domain, "--zone")?;
        let reverse = |zone: &Name| zone.to_string().to_lowercase().ends_with(".arpa.");
        let own = self.config.zones.into_iter().filter(reverse);
        let forward = named.config.zones.into_iter().filter(|zone| !reverse(zone));
        self.config.zones = forward.chain(own).collect();
        self.mixed_case = named.mixed_case;
        self.source = format!("--zone, and {}", self.source);
        Ok(self)
    }
}

fn has_capitals(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// The domain of a pod's search path: `search ns.svc.cluster.local svc.cluster.local cluster.local`.
fn domain_of(resolv: &str) -> Option<String> {
    let search = resolv.lines().rfind(|line| line.starts_with("search"))?;
    let domain = search.split_whitespace().find_map(|word| word.strip_prefix("svc."))?;
    Some(domain.trim_end_matches('.').to_owned())
}

/// A ConfigMap has no files beside it: what is imported is not looked at.
struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _: &Path) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn glob(&self, _: &Path) -> io::Result<Vec<std::path::PathBuf>> {
        Ok(Vec::new())
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }
}

/// Where Callsign is: the address of the one Service of its own.
///
/// # Errors
/// When there is none or more than one, or it has no address; with what to say instead.
pub(crate) async fn server(client: &Client) -> Result<(SocketAddr, String), Exit> {
    let api = Api::<DynamicObject>::all_with(client.clone(), &resource("Service", "services"));
    let list = api.list(&ListParams::default().labels(LABEL)).await;
    let list = list.map_err(|error| {
        Exit::unreachable(
            anyhow::Error::new(error)
                .context("Services cannot be listed; say where Callsign is: --server ADDR"),
        )
    })?;
    choose(list.items.iter().filter_map(|service| serde_json::to_value(service).ok()))
        .map_err(|error| Exit::configuration(anyhow::anyhow!(error)))
}

/// The one Service with a port for DNS.
fn choose(services: impl Iterator<Item = Value>) -> Result<(SocketAddr, String), String> {
    let found: Vec<(SocketAddr, String)> = services.filter_map(|service| of_service(&service)).collect();
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(format!(
            "no Service labelled {LABEL} has an address and a port for DNS. Say where Callsign is: --server ADDR[:PORT], \
             that of a pod (kubectl -n kube-system get pods -l {LABEL} -o wide) or of a port-forward (with --tcp)"
        )),
        several => {
            let names: Vec<String> =
                several.iter().map(|(address, name)| format!("{name} ({address})")).collect();
            Err(format!("several Services labelled {LABEL}: {}. Say which: --server ADDR", names.join(", ")))
        }
    }
}

fn of_service(service: &Value) -> Option<(SocketAddr, String)> {
    let text = |pointer: &str| service.pointer(pointer).and_then(Value::as_str);
    let ip = text("/spec/clusterIP")?.parse().ok()?;
    let ports = service.pointer("/spec/ports")?.as_array()?;
    let is_dns = |port: &&Value| {
        port.get("name").and_then(Value::as_str).is_some_and(|name| matches!(name, "dns" | "dns-tcp"))
            || port.get("port").and_then(Value::as_u64) == Some(53)
    };
    let port = ports.iter().find(is_dns)?.get("port")?.as_u64()?;
    let name = format!("{}/{}", text("/metadata/namespace")?, text("/metadata/name")?);
    Some((SocketAddr::new(ip, u16::try_from(port).ok()?), name))
}

fn resource(kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", kind), plural)
}

#[cfg(test)]
mod tests {
    use callsign_dns::Pods;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_corefile_says_what_the_zones_are() {
        let text = ".:53 {\n import custom/*.override\n unknown\n kubernetes corp.internal in-addr.arpa ip6.arpa {\n  \
                    pods verified\n  fallthrough in-addr.arpa ip6.arpa\n }\n}";
        let domain = Domain::of_corefile("x", text, &NoFiles).ok().flatten().unwrap();
        assert_eq!(domain.config.zones[0].to_string(), "corp.internal.");
        assert_eq!(domain.config.pods, Pods::Verified);
        assert!(domain.passed_on.hold("1.in-addr.arpa.") && !domain.passed_on.hold("a.corp.internal."));
        assert!(!domain.mixed_case);
        let renamed = domain.renamed("Other.test").ok().unwrap();
        let zones: Vec<String> = renamed.config.zones.iter().map(ToString::to_string).collect();
        assert_eq!(zones, ["other.test.", "in-addr.arpa.", "ip6.arpa."]);
        assert!(renamed.mixed_case);
        let mixed = "Cluster.local:53 {\n kubernetes {\n }\n}";
        assert!(Domain::of_corefile("x", mixed, &NoFiles).ok().flatten().unwrap().mixed_case);
        assert!(Domain::of_corefile("x", ".:53 {\n whoami\n}", &NoFiles).ok().flatten().is_none());
    }

    #[test]
    fn a_search_path_says_the_domain() {
        let resolv =
            "nameserver 10.96.0.10\nsearch n.svc.corp.internal svc.corp.internal corp.internal example.com\n";
        assert_eq!(domain_of(resolv).as_deref(), Some("corp.internal"));
        assert_eq!(domain_of("search example.com\n"), None);
        assert_eq!(domain_of(""), None);
    }

    #[test]
    fn one_service_is_found_and_several_are_named() {
        let service = |name: &str, ip: &str, ports: Value| json!({"metadata": {"namespace": "kube-system", "name": name}, "spec": {"clusterIP": ip, "ports": ports}});
        let dns = json!([{"name": "metrics", "port": 9153}, {"name": "dns", "port": 53}]);
        let metrics = json!([{"name": "metrics", "port": 9153}]);
        let one = service("callsign", "10.96.0.20", dns.clone());
        let others =
            [service("callsign-metrics", "10.96.0.21", metrics), service("headless", "None", dns.clone())];
        let found = choose(std::iter::once(one.clone()).chain(others.clone()));
        assert_eq!(found, Ok(("10.96.0.20:53".parse().unwrap(), "kube-system/callsign".to_owned())));
        assert!(choose(others.into_iter()).unwrap_err().contains("--server"));
        let second = service("callsign-2", "fd00::1", dns);
        let error = choose([one, second].into_iter()).unwrap_err();
        assert!(error.contains("kube-system/callsign-2 ([fd00::1]:53)"), "{error}");
    }
}
