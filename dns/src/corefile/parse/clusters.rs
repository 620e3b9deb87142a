//! The files that clusters come with, as they are in those clusters.

use std::path::{Path, PathBuf};

use crate::{
    block::Config,
    corefile::{Corefile, Directive, Files, FilesOnDisk, ServerBlock},
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corefiles")
}

fn parse(cluster: &str) -> Corefile {
    let path = folder().join(cluster).join("Corefile");
    let text = FilesOnDisk.read(&path).unwrap();
    Corefile::parse(path.to_str().unwrap(), &text, &FilesOnDisk).unwrap_or_else(|error| panic!("{error}"))
}

/// A block's keys and its directives with their arguments; bodies as `name args { … }`.
fn lines(block: &ServerBlock) -> Vec<String> {
    let keys: Vec<&str> = block.keys.iter().map(|key| key.text.as_str()).collect();
    [keys.join(" ")].into_iter().chain(block.directives.iter().map(line)).collect()
}

fn line(directive: &Directive) -> String {
    let words: Vec<&str> =
        [&directive.name].into_iter().chain(&directive.args).map(|token| token.text.as_str()).collect();
    match directive.body.as_slice() {
        [] => words.join(" "),
        body => format!("{} {{ {} }}", words.join(" "), body.iter().map(line).collect::<Vec<_>>().join("; ")),
    }
}

fn one(cluster: &str) -> Vec<String> {
    let file = parse(cluster);
    assert_eq!(file.blocks.len(), 1, "{cluster}");
    assert!(file.warnings.is_empty(), "{cluster}: {:?}", file.warnings);
    lines(&file.blocks[0])
}

const KUBERNETES: &str = "kubernetes cluster.local in-addr.arpa ip6.arpa { pods insecure; fallthrough in-addr.arpa ip6.arpa; ttl 30 }";
const CONCURRENT: &str = "forward . /etc/resolv.conf { max_concurrent 1000 }";

#[test]
fn kubeadm() {
    let old = one("kubeadm-1.32");
    let want = [
        ".:53",
        "errors",
        "health { lameduck 5s }",
        "ready",
        KUBERNETES,
        "prometheus :9153",
        CONCURRENT,
        "cache 30",
        "loop",
        "reload",
        "loadbalance",
    ];
    assert_eq!(old, want);
    let mut new = one("kubeadm-1.33");
    assert_eq!(new[7], "cache 30 { disable success cluster.local; disable denial cluster.local }");
    new[7] = "cache 30".to_owned();
    assert_eq!(new, old);
    let mut minikube = one("minikube");
    assert_eq!(minikube.remove(1), "log");
    assert_eq!(minikube.remove(6), "hosts { 192.168.49.1 host.minikube.internal; fallthrough }");
    minikube[7] = "cache 30".to_owned();
    assert_eq!(minikube, old);
    let mut plain = one("deployment");
    assert_eq!(
        plain[4],
        "kubernetes cluster.local in-addr.arpa ip6.arpa { fallthrough in-addr.arpa ip6.arpa }"
    );
    plain[4] = KUBERNETES.to_owned();
    assert_eq!(plain, old);
}

#[test]
fn kops() {
    let mut want = one("kubeadm-1.32");
    want[4] = KUBERNETES.replace("cluster.local", "cluster.local.");
    assert_eq!(one("kops"), want);
    let mut gossip = one("kops-gossip");
    assert_eq!(
        gossip.remove(5),
        "hosts /rootfs/etc/hosts api.minimal.k8s.local api.internal.minimal.k8s.local \
         kops-controller.internal.minimal.k8s.local { ttl 30; fallthrough }"
    );
    assert_eq!(gossip, want);
    want.push("dns64".to_owned());
    assert_eq!(one("kops-ipv6"), want);
}

#[test]
fn k3s() {
    let file = parse("k3s");
    assert_eq!(file.blocks.len(), 1);
    assert_eq!(
        lines(&file.blocks[0]),
        [
            ".:53",
            "errors",
            "health",
            "ready",
            "kubernetes cluster.local in-addr.arpa ip6.arpa { pods insecure; fallthrough in-addr.arpa ip6.arpa }",
            "hosts /etc/coredns/NodeHosts { ttl 60; reload 15s; fallthrough }",
            "prometheus :9153",
            "forward . /etc/resolv.conf",
            "cache 30",
            "loop",
            "reload",
            "loadbalance",
        ]
    );
    let warnings: Vec<&str> = file.warnings.iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(
        warnings,
        [
            "No files matching import glob pattern: /etc/coredns/custom/*.override",
            "No files matching import glob pattern: /etc/coredns/custom/*.server",
        ]
    );
    assert_eq!(file.sources.folders, [Path::new("/etc/coredns/custom")]);
}

#[test]
fn charts() {
    let want = |lameduck: &str| {
        let lameduck = format!("health {{ lameduck {lameduck} }}");
        let (head, tail) = (
            ".:53 errors",
            "prometheus 0.0.0.0:9153|forward . /etc/resolv.conf|cache 30|loop|reload|loadbalance",
        );
        let head = head.split(' ').map(str::to_owned);
        let middle = [lameduck, "ready".to_owned(), KUBERNETES.to_owned()];
        head.chain(middle).chain(tail.split('|').map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!(one("helm"), want("10s"));
    let mut rke2 = want("5s");
    rke2[4] = rke2[4].replace("kubernetes cluster.local", "kubernetes cluster.local cluster.local");
    assert_eq!(one("rke2"), rke2);
}

#[test]
fn aks() {
    let file = parse("aks");
    let blocks: Vec<_> = file.blocks.iter().map(lines).collect();
    assert!(file.warnings.is_empty(), "{:?}", file.warnings);
    let want = [
        ".:53",
        "errors",
        "ready",
        "health { lameduck 5s }",
        KUBERNETES,
        "prometheus :9153",
        "forward . /etc/resolv.conf",
        "cache 30",
        "loop",
        "reload",
        "loadbalance",
        "log",
        "hosts { 10.0.0.1 example1.org; 10.0.0.2 example2.org; 10.0.0.3 example3.org; fallthrough }",
    ];
    assert_eq!(blocks[0], want);
    assert_eq!(blocks[1], ["corp.example.com:53", "errors", "cache 30", "forward . 192.0.2.53 192.0.2.54"]);
    assert_eq!(
        blocks[2],
        [
            "rewritten.example:53",
            "log",
            "errors",
            r"rewrite stop { name regex (.*)\.rewritten\.example {1}.default.svc.cluster.local; answer name (.*)\.default\.svc\.cluster\.local {1}.rewritten.example }",
            "forward . /etc/resolv.conf",
        ]
    );
    assert_eq!(blocks.len(), 3);
    let custom = folder().join("aks/custom");
    let log = &file.blocks[0].directives[10].name;
    assert_eq!(*log.at.file, *custom.join("log.override").to_string_lossy());
    assert_eq!(file.sources.files.len(), 4);
    assert_eq!(file.sources.folders, [custom]);
}

#[test]
fn openshift() {
    let file = parse("openshift");
    let blocks: Vec<_> = file.blocks.iter().map(lines).collect();
    assert_eq!(
        blocks[0],
        [
            "corp.example.com:5353 example.net:5353",
            "prometheus 127.0.0.1:9153",
            "forward . 192.0.2.53 192.0.2.54:5300 { policy round_robin }",
            "errors",
            "log . { class error }",
            "bufsize 1232",
            "cache 900 { denial 9984 30 }",
        ]
    );
    assert_eq!(blocks[1][0], "secure.example:5353");
    assert_eq!(
        blocks[1][2],
        "forward . tls://192.0.2.55 { tls_servername dns.secure.example; tls; policy random }"
    );
    assert_eq!(
        blocks[2],
        [
            ".:5353",
            "bufsize 1232",
            "errors",
            "log . { class error }",
            "health { lameduck 20s }",
            "ready",
            "kubernetes cluster.local in-addr.arpa ip6.arpa { pods insecure; fallthrough in-addr.arpa ip6.arpa }",
            "prometheus 127.0.0.1:9153",
            "forward . /etc/resolv.conf { policy sequential }",
            "cache 900 { denial 9984 30 }",
            "reload",
        ]
    );
    assert_eq!(blocks[3], ["hostname.bind:5353", "chaos"]);
}

#[test]
fn nodelocaldns() {
    let file = parse("nodelocaldns");
    let blocks: Vec<_> = file.blocks.iter().map(lines).collect();
    let bind = "bind 169.254.20.10 169.254.20.11";
    let tcp = "forward . 169.254.20.20 { force_tcp }";
    assert_eq!(
        blocks[0],
        [
            "cluster.local:53",
            "errors",
            "cache { success 9984 30; denial 9984 5 }",
            "reload",
            "loop",
            bind,
            tcp,
            "prometheus :9253",
            "health 169.254.20.10:8080",
        ]
    );
    for (block, zone, forward) in
        [(1, "in-addr.arpa:53", tcp), (2, "ip6.arpa:53", tcp), (3, ".:53", "forward . /etc/resolv.conf")]
    {
        assert_eq!(
            blocks[block],
            [zone, "errors", "cache 30", "reload", "loop", bind, forward, "prometheus :9253"]
        );
    }
    assert_eq!(blocks.len(), 4);
}

/// Every directive of every file does what it says, and what is understood of it means the same.
#[test]
fn all_are_served() {
    let described = |config: &Config| {
        config.blocks.iter().flat_map(|block| block.describe()).map(|line| line + "\n").collect::<String>()
    };
    let mut seen = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let cluster = entry.unwrap().file_name().into_string().unwrap();
        let file = parse(&cluster);
        let config = Config::read(&file, 53).unwrap_or_else(|error| panic!("{error}"));
        for (block, read) in config.blocks.iter().zip(&file.blocks) {
            assert_eq!(block.keys.len(), read.keys.len(), "{cluster}");
            assert_eq!(block.verdicts.len(), read.directives.len(), "{cluster}: {:?}", block.verdicts);
            assert!(
                block.verdicts.iter().all(|verdict| verdict.without_effect.is_none()),
                "{:?}",
                block.verdicts
            );
        }
        let shown = described(&config);
        let again = Corefile::parse("shown", &shown, &FilesOnDisk).unwrap();
        let again = Config::read(&again, 53).unwrap_or_else(|error| panic!("{error}\n{shown}"));
        assert_eq!(described(&again), shown);
        seen += 1;
    }
    assert!(seen >= 13, "{seen}");
}
