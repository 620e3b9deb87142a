//! `corefile`: what becomes of the Corefile, as `callsign config check` says it, and whether it fits the cluster.

use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use callsign_dns::{
    block::{BlockConfig, Config, Scheme},
    corefile::{Corefile, Directive, Error, Files, FilesOnDisk, ServerBlock},
};

use super::{
    codes,
    facts::{CorefileFacts, Known, Missing},
    finding::Item,
};

/// What there is to say of a Corefile.
pub(super) fn check(facts: &CorefileFacts) -> Vec<Item> {
    let source = &facts.source;
    let text = match &facts.text {
        Ok(text) => text,
        Err(missing) if missing.is_absent() => {
            return vec![codes::COREFILE_MISSING.is(
                missing.to_string(),
                "name it with --corefile, or make the ConfigMap: `callsign manifest` prints one",
            )];
        }
        Err(Missing::NotAsked(why)) => return vec![Item::good(why)],
        Err(missing) => return vec![Item::not_checked("the Corefile", missing)],
    };
    let refused = |error: Error| {
        vec![codes::COREFILE_WRONG.is(
            error.to_string(),
            "change that line: docs/coredns.md has every directive, and what to write in the place of one that is \
             refused; a server that runs keeps its old configuration",
        )]
    };
    let files = Volumes { files: &facts.files, on_disk: facts.on_disk };
    let (corefile, upstreams, config) = match understood(source, text, &files) {
        Ok(understood) => understood,
        Err(error) => return refused(error),
    };
    let mut items = vec![accepted(source, &config)];
    if let Err(missing) = &facts.files {
        items.push(Item::not_checked("what the Corefile imports", missing));
    }
    items.extend(config.warnings.iter().map(|warning| {
        codes::COREFILE_ODD.is(warning.to_string(), "nothing, if that is meant; else change that line")
    }));
    for verdict in config.blocks.iter().flat_map(|block| &block.verdicts) {
        if let Some(why) = &verdict.without_effect {
            items.push(codes::COREFILE_NO_EFFECT.is(
                format!("{} - {}: {why}", verdict.at, verdict.directive),
                "nothing needs to be done; answers do not depend on it, or docs/coredns.md says how",
            ));
        }
    }
    items.extend(domain(facts, &corefile, &config));
    items.extend(loops(facts, &corefile, &upstreams));
    items.extend(absent(&config, &corefile));
    items.extend(ports(facts, &corefile, &config));
    items
}

/// A Corefile as it would be understood in a pod.
///
/// # Errors
/// When it is refused.
pub(crate) fn in_a_pod(name: &str, text: &str) -> Result<(Corefile, Config), Error> {
    understood(name, text, &FilesOnDisk).map(|(corefile, _, config)| (corefile, config))
}

fn understood(name: &str, text: &str, files: &dyn Files) -> Result<(Corefile, Upstreams, Config), Error> {
    let mut corefile = Corefile::parse(name, text, files)?;
    let upstreams = Upstreams::of(&corefile);
    without_files_of_pods(&mut corefile);
    let config = Config::read(&corefile, 53)?;
    Ok((corefile, upstreams, config))
}

fn accepted(source: &str, config: &Config) -> Item {
    let blocks = config.blocks.len();
    let directives: usize = config.blocks.iter().map(|block| block.verdicts.len()).sum();
    let plural = if blocks == 1 { "" } else { "s" };
    Item::good(format!("{source}: accepted, {blocks} server block{plural}, {directives} directives"))
}

/// Whether the cluster's domain is served.
fn domain(facts: &CorefileFacts, corefile: &Corefile, config: &Config) -> Vec<Item> {
    let (domain, why) = &facts.domain;
    let wanted = bare(domain);
    let mut served = Vec::new();
    for (block, read) in corefile.blocks.iter().zip(&config.blocks) {
        for directive in block.directives.iter().filter(|directive| directive.name.text == "kubernetes") {
            let named = directive.args.iter().map(|word| bare(&word.text));
            let keys = read.keys.iter().map(|key| bare(&key.zone.to_ascii()));
            let zones: Vec<String> = if directive.args.is_empty() { keys.collect() } else { named.collect() };
            served.extend(zones.into_iter().filter(|zone| !is_reverse(zone)));
        }
    }
    if served.contains(&wanted) {
        return vec![Item::good(format!("the cluster's domain {wanted} is served"))];
    }
    let found = if served.is_empty() {
        "there is no `kubernetes` directive".to_owned()
    } else {
        format!("`kubernetes` serves {}", served.join(", "))
    };
    vec![codes::COREFILE_DOMAIN.is(
        format!("{found}; the cluster's domain is {wanted} ({why})"),
        "pods' search paths end in the kubelet's clusterDomain: name that zone after `kubernetes`, or give \
         --cluster-domain here if it is another",
    )]
}

/// Whether questions could come back.
fn loops(facts: &CorefileFacts, corefile: &Corefile, upstreams: &Upstreams) -> Vec<Item> {
    let mut items = Vec::new();
    for (at, ip) in &upstreams.addresses {
        let own = facts.service_ips.iter().any(|own| own.parse() == Ok(*ip));
        if ip.is_loopback() {
            items.push(codes::COREFILE_LOOP.is(
                format!("{at} - forward to {ip}: inside a pod that is the pod itself"),
                "forward to the resolver behind it: with systemd-resolved `forward . /etc/resolv.conf` and kubelet's \
                 resolvConf: /run/systemd/resolve/resolv.conf",
            ));
        } else if own {
            items.push(codes::COREFILE_LOOP.is(
                format!("{at} - forward to {ip}: that is the Service that this server stands behind"),
                "forward to a resolver outside the cluster",
            ));
        }
    }
    let has_loop = corefile.blocks.iter().any(|block| has(block, "loop"));
    if !has_loop && (!upstreams.addresses.is_empty() || upstreams.files) {
        items.push(codes::COREFILE_NO_LOOP.is(
            "no block has `loop`: a forwarding loop would only show as timeouts",
            "add `loop` to the block that forwards",
        ));
    }
    items
}

/// Directives that an installation lives by.
fn absent(config: &Config, corefile: &Corefile) -> Vec<Item> {
    let mut items = Vec::new();
    let nowhere = |set: fn(&BlockConfig) -> bool| !config.blocks.iter().any(set);
    if nowhere(|block| block.ready.is_some()) {
        items.push(codes::COREFILE_READY.is(
            "no block has `ready`: readiness probes fail and no pod gets questions",
            "add `ready` to one block",
        ));
    }
    if nowhere(|block| block.health.is_some()) {
        items.push(codes::COREFILE_HEALTH.is(
            "no block has `health`: liveness probes fail and pods are restarted",
            "add `health { lameduck 5s }` to one block",
        ));
    }
    if nowhere(|block| block.reload.is_some()) {
        items.push(codes::COREFILE_RELOAD.is(
            "no block has `reload`: changes of the ConfigMap take effect at the next start only",
            "add `reload` to one block",
        ));
    }
    if nowhere(|block| block.prometheus.is_some()) {
        items.push(codes::COREFILE_METRICS.is(
            "no block has `prometheus`: there are no metrics, and much of this check cannot be made",
            "add `prometheus :9153` to the blocks that are to be counted",
        ));
    }
    let forwards = corefile
        .blocks
        .iter()
        .zip(&config.blocks)
        .any(|(block, read)| has(block, "forward") && read.keys.iter().any(|key| key.zone.is_root()));
    if !forwards {
        items.push(codes::COREFILE_NO_FORWARD.is(
            "no block of the root zone has `forward`: pods ask this server for every name, those outside too",
            "add `forward . /etc/resolv.conf` to a block of `.`",
        ));
    }
    items
}

/// Whether the containers' ports are those that are listened on.
fn ports(facts: &CorefileFacts, corefile: &Corefile, config: &Config) -> Vec<Item> {
    if facts.ports.is_empty() {
        return Vec::new();
    }
    let cluster = corefile.blocks.iter().zip(&config.blocks).filter(|(block, _)| has(block, "kubernetes"));
    let mut listened: Vec<u16> = cluster
        .flat_map(|(_, read)| &read.keys)
        .filter(|key| key.scheme == Scheme::Dns)
        .map(|key| key.port)
        .collect();
    listened.sort_unstable();
    listened.dedup();
    if listened.is_empty() || listened.iter().any(|port| facts.ports.contains(port)) {
        return Vec::new();
    }
    let list = |ports: &[u16]| ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
    vec![codes::COREFILE_PORT.is(
        format!(
            "the cluster's domain is served on port {}; the pods' DNS port is {}",
            list(&listened),
            list(&facts.ports)
        ),
        "write the pods' port into the block's key, such as `.:1053`, or change the port of the chart",
    )]
}

/// Whom a Corefile forwards to.
#[derive(Default)]
struct Upstreams {
    addresses: Vec<(String, IpAddr)>,
    /// Whether a file of the pod names some.
    files: bool,
}

impl Upstreams {
    fn of(corefile: &Corefile) -> Self {
        let mut upstreams = Self::default();
        let directives = corefile.blocks.iter().flat_map(|block| &block.directives);
        for directive in directives.filter(|directive| directive.name.text == "forward") {
            for word in directive.args.iter().skip(1) {
                match address(&word.text) {
                    Some(ip) => upstreams.addresses.push((word.at.to_string(), ip)),
                    None => upstreams.files |= is_file(&word.text),
                }
            }
        }
        upstreams
    }
}

/// `10.0.0.1`, `dns://10.0.0.1:53`, `tls://9.9.9.9%dns.quad9.net`, `[::1]:53` → the address.
fn address(word: &str) -> Option<IpAddr> {
    let host = word.split_once("://").map_or(word, |(_, host)| host);
    if let Ok(socket) = host.parse::<std::net::SocketAddr>() {
        return Some(socket.ip());
    }
    let host = host.split('%').next().unwrap_or_default();
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn is_file(word: &str) -> bool {
    word.contains('/') && !word.contains("://")
}

/// Files of resolvers are the pod's, not this machine's: whatever they say, the directive is read as with an address.
fn without_files_of_pods(corefile: &mut Corefile) {
    let replace = |directive: &mut Directive, skipped: usize, text: &str| {
        for word in directive.args.iter_mut().skip(skipped).filter(|word| is_file(&word.text)) {
            text.clone_into(&mut word.text);
        }
    };
    for directive in corefile.blocks.iter_mut().flat_map(|block| &mut block.directives) {
        match directive.name.text.as_str() {
            "forward" => replace(directive, 1, "192.0.2.53"),
            "autopath" => replace(directive, 0, "@kubernetes"),
            _ => {}
        }
    }
}

fn has(block: &ServerBlock, name: &str) -> bool {
    block.directives.iter().any(|directive| directive.name.text == name)
}

/// A zone without scheme, port and last dot, in lower case.
fn bare(zone: &str) -> String {
    let zone = zone.split_once("://").map_or(zone, |(_, zone)| zone);
    let zone =
        zone.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(zone, |(zone, _)| zone);
    zone.trim_end_matches('.').to_lowercase()
}

fn is_reverse(zone: &str) -> bool {
    zone.contains('/') || zone.ends_with("in-addr.arpa") || zone.ends_with("ip6.arpa")
}

/// What stands in the pod's folders: keys of ConfigMaps, by whole name.
struct Volumes<'a> {
    files: &'a Known<BTreeMap<String, String>>,
    on_disk: bool,
}

impl Files for Volumes<'_> {
    fn read(&self, path: &Path) -> io::Result<String> {
        if self.on_disk {
            return FilesOnDisk.read(path);
        }
        let text = self.files.as_ref().ok().and_then(|files| files.get(path.to_str()?).cloned());
        text.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        if self.on_disk {
            return FilesOnDisk.glob(pattern);
        }
        let text = pattern.to_str().ok_or_else(|| io::Error::other("not UTF-8"))?;
        let options = glob::MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: false,
        };
        let pattern = glob::Pattern::new(text).map_err(|error| io::Error::other(error.msg))?;
        let names = self.files.iter().flatten().map(|(name, _)| name);
        Ok(names.filter(|name| pattern.matches_with(name, options)).map(PathBuf::from).collect())
    }

    fn variable(&self, name: &str) -> Option<String> {
        if self.on_disk { FilesOnDisk.variable(name) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::finding::ids, *};

    const KUBEADM: &str = "\
.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30
    loop
    reload
    loadbalance
}
";

    fn facts(text: &str) -> CorefileFacts {
        CorefileFacts {
            source: "/etc/coredns/Corefile".to_owned(),
            text: Ok(text.to_owned()),
            files: Ok(BTreeMap::new()),
            on_disk: false,
            domain: ("cluster.local".to_owned(), "the default".to_owned()),
            ports: vec![53],
            service_ips: vec!["10.96.0.10".to_owned()],
        }
    }

    fn found(text: &str) -> Vec<&'static str> {
        ids(&check(&facts(text)))
    }

    #[test]
    fn kubeadms_is_good() {
        let items = check(&facts(KUBEADM));
        assert_eq!(ids(&items), [""; 0], "{items:?}");
        let Item::Good(first) = &items[0] else { panic!("{items:?}") };
        assert_eq!(first, "/etc/coredns/Corefile: accepted, 1 server block, 10 directives");
    }

    #[test]
    fn each_thing_that_is_wrong_has_its_code() {
        let with = |from: &str, to: &str| {
            assert!(KUBEADM.contains(from), "{from}");
            KUBEADM.replace(from, to)
        };
        let cases = [
            (with("    errors\n", "    errors\n    etcd\n"), vec!["CHK301"]),
            (with("    errors\n", "    erors\n"), vec!["CHK301"]),
            (with("    errors\n", "    errors {\n"), vec!["CHK301"]),
            (with("    errors\n", "    errors\n    pprof\n"), vec!["CHK302"]),
            (with("cluster.local", "k8s.example"), vec!["CHK303"]),
            (with("/etc/resolv.conf", "127.0.0.53"), vec!["CHK304"]),
            (with("/etc/resolv.conf", "dns://[::1]:53"), vec!["CHK304"]),
            (with("/etc/resolv.conf", "10.96.0.10"), vec!["CHK304"]),
            (with("/etc/resolv.conf", "10.0.0.2"), vec![]),
            (with("    ready\n", ""), vec!["CHK305"]),
            (with("    health {\n       lameduck 5s\n    }\n", ""), vec!["CHK306"]),
            (with("    reload\n", ""), vec!["CHK307"]),
            (with("    loop\n", ""), vec!["CHK308"]),
            (with(".:53", ".:1053"), vec!["CHK310"]),
            (with("forward . /etc", "forward corp.example /etc"), vec!["CHK311"]),
            (with("    prometheus :9153\n", ""), vec!["CHK313"]),
            (with("    errors\n", "    errors\n    import none/*\n"), vec!["CHK312"]),
        ];
        for (text, wanted) in cases {
            let wanted = if text.contains("corp.example") { vec![] } else { wanted };
            assert_eq!(found(&text), wanted, "{text}");
        }
        assert_eq!(found(". {\n whoami\n}\n"), ["CHK303", "CHK305", "CHK306", "CHK307", "CHK313", "CHK311"]);
        let message = check(&facts(&with("    loop\n", "    loop\n    etcd\n")));
        let message = &message[0].finding().unwrap().message;
        assert!(message.contains("/etc/coredns/Corefile:18"), "{message}");
    }

    #[test]
    fn the_zone_may_be_the_blocks() {
        let text = KUBEADM.replace("kubernetes cluster.local in-addr.arpa ip6.arpa {", "kubernetes {");
        assert_eq!(found(&text), ["CHK303"], "the zone is the root then");
        let text = text.replace(".:53", "Cluster.Local.:53 in-addr.arpa:53");
        assert_eq!(found(&text), ["CHK311"]);
    }

    #[test]
    fn imports_come_from_config_maps() {
        let files = |pairs: &[(&str, &str)]| {
            Ok(pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect())
        };
        let text = KUBEADM.replace("    errors\n", "    errors\n    import custom/*.override\n")
            + "import custom/*.server\n";
        let good = [
            ("/etc/coredns/custom/log.override", "log\n"),
            ("/etc/coredns/custom/a.server", "a.test:53 {\n whoami\n}\n"),
        ];
        let items = check(&CorefileFacts { files: files(&good), ..facts(&text) });
        assert_eq!(ids(&items), [""; 0], "{items:?}");
        let bad = [("/etc/coredns/custom/log.override", "nosuch\n"), good[1]];
        let items = check(&CorefileFacts { files: files(&bad), ..facts(&text) });
        assert_eq!(ids(&items), ["CHK301"]);
        assert!(
            items[0].finding().unwrap().message.contains("/etc/coredns/custom/log.override:1"),
            "{items:?}"
        );
        let blind =
            CorefileFacts { files: Err(Missing::Forbidden("get configmaps".to_owned())), ..facts(KUBEADM) };
        assert!(
            check(&blind).contains(&Item::not_checked("what the Corefile imports", "may not get configmaps"))
        );
    }

    #[test]
    fn without_a_corefile() {
        let missing = |missing| CorefileFacts { text: Err(missing), ..facts("") };
        let items = check(&missing(Missing::Absent("ConfigMap kube-system/coredns".to_owned())));
        assert_eq!(ids(&items), ["CHK309"]);
        let items = check(&missing(Missing::Forbidden("get configmaps in kube-system".to_owned())));
        assert_eq!(items, [Item::not_checked("the Corefile", "may not get configmaps in kube-system")]);
    }
}
