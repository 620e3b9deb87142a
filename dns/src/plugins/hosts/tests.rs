use hickory_proto::rr::Name;
use std::time::Duration;

use hickory_proto::{op::ResponseCode, rr::RecordType};
use proptest::prelude::*;

use super::*;
use crate::testing::{self, Lines};

const NODES: &str = "# nodes
192.0.2.1 node-1 Node-1.Example.org
192.0.2.2 node-2.example.org node-1.example.org # twice
2001:db8::1%eth0 node-1.example.org
::ffff:192.0.2.7 mapped.example.org
nonsense node-3.example.org
192.0.2.9
192.0.2.1 node-1.example.org
";

/// A chain with this file, inline lines and options, before a cluster.
fn corefile(file: &std::path::Path, zones: &str, options: &str) -> String {
    format!(".:53 {{\n hosts {} {zones} {{\n {options}\n }}\n kubernetes cluster.local\n}}", file.display())
}

async fn ask(corefile: &str, name: &str, qtype: RecordType) -> (ResponseCode, &'static str, Vec<String>) {
    let reply = testing::ask(&testing::router(corefile), name, qtype).await;
    (reply.rcode, reply.plugin, reply.answers.iter().map(ToString::to_string).collect())
}

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hosts");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

#[tokio::test]
async fn names_and_addresses_are_found() {
    use RecordType::{A, AAAA, MX, PTR};
    let (_folder, path) = file(NODES);
    let corefile = corefile(
        &path,
        "",
        "10.1.1.1 inline.example.org\n node-2.example.org\n 192.0.2.2 extra.example.org\n ttl 60\n fallthrough",
    );
    let ok = ResponseCode::NoError;
    for (name, qtype, answers) in [
        (
            "NODE-1.example.org.",
            A,
            vec!["NODE-1.example.org. 60 IN A 192.0.2.1", "NODE-1.example.org. 60 IN A 192.0.2.2"],
        ),
        ("node-1.", A, vec!["node-1. 60 IN A 192.0.2.1"]),
        ("node-1.example.org.", AAAA, vec!["node-1.example.org. 60 IN AAAA 2001:db8::1"]),
        ("node-2.example.org.", AAAA, vec![]),
        ("node-2.example.org.", MX, vec![]),
        ("mapped.example.org.", A, vec!["mapped.example.org. 60 IN A 192.0.2.7"]),
        ("inline.example.org.", A, vec!["inline.example.org. 60 IN A 10.1.1.1"]),
        (
            "2.2.0.192.in-addr.arpa.",
            PTR,
            vec![
                "2.2.0.192.in-addr.arpa. 60 IN PTR node-2.example.org.",
                "2.2.0.192.in-addr.arpa. 60 IN PTR node-1.example.org.",
                "2.2.0.192.in-addr.arpa. 60 IN PTR extra.example.org.",
            ],
        ),
        (
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.",
            PTR,
            vec![
                "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. 60 IN PTR node-1.example.org.",
            ],
        ),
    ] {
        let (rcode, plugin, found) = ask(&corefile, name, qtype).await;
        assert_eq!(
            (rcode, plugin, found),
            (ok, NAME, answers.into_iter().map(str::to_owned).collect()),
            "{name} {qtype}"
        );
    }
    for (name, qtype) in
        [("node-3.example.org.", A), ("9.2.0.192.in-addr.arpa.", PTR), ("2.0.192.in-addr.arpa.", PTR)]
    {
        assert_eq!(ask(&corefile, name, qtype).await.1, "", "{name}");
    }
}

#[tokio::test]
async fn without_fallthrough_there_is_nobody_else() {
    let (_folder, path) = file(NODES);
    let inside = corefile(&path, "example.org", "no_reverse");
    let (rcode, plugin, _) = ask(&inside, "nosuch.example.org.", RecordType::A).await;
    assert_eq!((rcode, plugin), (ResponseCode::ServFail, NAME));
    // Outside of its zones nothing is its business, in the file or not.
    assert_eq!(ask(&inside, "node-1.", RecordType::A).await.1, "");
    assert_eq!(ask(&inside, "vip.ns.svc.cluster.local.", RecordType::A).await.1, "kubernetes");
    assert_eq!(ask(&inside, "1.2.0.192.in-addr.arpa.", RecordType::PTR).await.1, "", "no_reverse");
    let some = corefile(&path, "", "fallthrough cluster.local");
    assert_eq!(ask(&some, "vip.ns.svc.cluster.local.", RecordType::A).await.1, "kubernetes");
    assert_eq!(ask(&some, "nosuch.example.org.", RecordType::A).await.1, NAME);
}

#[tokio::test]
async fn cluster_names_stay_quick_and_hosts_do_not() {
    let (_folder, path) = file(NODES);
    let router = testing::router(&corefile(&path, "", "fallthrough"));
    let quick = |name| testing::quickly(&router, &testing::query(name, RecordType::A)).is_some();
    assert!(quick("vip.ns.svc.cluster.local."));
    assert!(!quick("node-1.example.org."));
}

#[tokio::test]
async fn files_are_followed() {
    let (_folder, path) = file("192.0.2.1 a.example.org\n");
    let world = testing::world();
    let router = testing::router_in(&corefile(&path, "", "reload 5ms\n fallthrough"), &world);
    let known = async |name| testing::ask(&router, name, RecordType::A).await.plugin == NAME;
    assert!(known("a.example.org.").await);
    let until = async |name, wanted| {
        for _ in 0..400 {
            if known(name).await == wanted {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        false
    };
    // By another file in its place, as ConfigMaps do.
    std::fs::write(path.with_extension("new"), "192.0.2.2 b.example.org longer.example.org\n").unwrap();
    std::fs::rename(path.with_extension("new"), &path).unwrap();
    assert!(until("b.example.org.", true).await && until("a.example.org.", false).await);
    std::fs::remove_file(&path).unwrap();
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(known("b.example.org.").await, "a file that is gone leaves what was read");
    std::fs::write(&path, "192.0.2.1 c.example.org\n").unwrap();
    assert!(until("c.example.org.", true).await);
    let page = world.meters.encode().unwrap();
    let entries = format!("coredns_hosts_entries{{hostsfile=\"{}\"}} 2\n", path.display());
    assert!(page.contains(&entries), "{page}");
    assert!(page.contains("coredns_hosts_reload_timestamp_seconds 1"), "{page}");
}

#[tokio::test]
async fn files_may_come_later_and_folders_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let lines = Lines::default();
    let _guard = lines.listen();
    let path = folder.path().join("hosts");
    testing::router(&corefile(&path, "", "fallthrough"));
    testing::router(&corefile(folder.path(), "", "fallthrough"));
    assert_eq!(
        lines.take(),
        [
            format!("WARN plugin/hosts: File does not exist: {}", path.display()),
            format!("WARN plugin/hosts: Hosts file \"{}\" is a directory", folder.path().display()),
        ]
    );
}

#[test]
fn options_are_checked() {
    for (options, line, message) in [
        ("ttl 0", 3, "ttl provided is invalid"),
        ("ttl 65536", 3, "ttl provided is invalid"),
        ("ttl x", 3, "'x' is not a number of seconds"),
        ("reload 5", 3, "invalid duration '5': want for example 30s, 500ms, 1h"),
        ("fallthrough\n 192.0.2.1 a", 4, "unknown property '192.0.2.1'"),
    ] {
        let error = testing::config(&format!(".:53 {{\n hosts {{\n {options}\n }}\n}}")).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("plugin/hosts: Corefile:{line} - Error during parsing: {message}")
        );
    }
    assert!(testing::config(".:53 {\n hosts\n hosts\n}").is_err());
}

proptest! {
    /// Any bytes make a table, in which every name is in the zones.
    #[test]
    fn any_file_is_a_table(text in "([0-9a-f:.%# \tA-Za-z\\\\-]{0,40}\n){0,6}") {
        let zones = Zones(vec![Name::from_ascii("a.").unwrap()]);
        let table = Table::read(&text, &zones, true);
        prop_assert!(table.len() <= 2 * text.split_whitespace().count());
    }
}
