use std::{net::IpAddr, sync::Arc};

use hickory_proto::{
    op::ResponseCode,
    rr::{Record, RecordType},
};

use crate::{
    block::Router,
    plugin::{Query, Reply},
    testing,
};

fn corefile(autopath: &str, pods: &str, zone_file: &str) -> String {
    format!(
        ".:53 {{
            {autopath}
            kubernetes cluster.local {{
                pods {pods}
            }}
            file {zone_file} example.com
        }}"
    )
}

/// A chain whose clients may look for `www.example.com`.
fn served(autopath: &str, pods: &str) -> Result<Arc<Router>, String> {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let zone = "$TTL 60\n@ SOA a b 1 1 1 1 1\nwww A 192.0.2.1\n";
    std::fs::write(at("db"), zone).unwrap();
    std::fs::write(
        at("resolv.conf"),
        "domain nothing\nsearch ns.svc.cluster.local example.com # first\noptions ndots:5\n",
    )
    .unwrap();
    let text = corefile(&autopath.replace("FILE", &at("resolv.conf")), pods, &at("db"));
    let config = testing::config(&text).map_err(|error| error.to_string().replace(&at(""), ""))?;
    let world = testing::world();
    crate::block::Block::start(&config.blocks[0], &world).map_err(|error| error.to_string())?;
    Ok(testing::router_in(&text, &world))
}

fn query(router: &Arc<Router>, name: &str, qtype: RecordType, client: &str) -> Query {
    let mut query = testing::query(name, qtype);
    query.peer.address.set_ip(client.parse::<IpAddr>().unwrap());
    query.router = Arc::clone(router);
    query
}

async fn ask(router: &Arc<Router>, name: &str, qtype: RecordType, client: &str) -> Reply {
    router.serve(&mut query(router, name, qtype, client)).await
}

fn lines(records: &[Record]) -> Vec<String> {
    records.iter().map(|r| format!("{} {} {} {}", r.name, r.ttl, r.record_type(), r.data)).collect()
}

/// One of the pods of the small cluster, in `ns`.
const POD: &str = "10.0.0.1";

#[tokio::test]
async fn the_first_name_that_exists_is_answered() {
    let router = served("autopath @kubernetes", "verified").unwrap();
    let long = "www.example.com.ns.svc.cluster.local.";
    let reply = ask(&router, long, RecordType::A, POD).await;
    assert_eq!(reply.rcode, ResponseCode::NoError);
    assert_eq!(
        lines(&reply.answers),
        [format!("{long} 60 CNAME www.example.com."), "www.example.com. 60 A 192.0.2.1".to_owned()]
    );
    // Nothing of this type, but the name is there: the client need not go on.
    let reply = ask(&router, long, RecordType::AAAA, POD).await;
    assert_eq!((reply.rcode, reply.answers.len(), reply.authorities.len()), (ResponseCode::NoError, 0, 1));
    // A Service of another namespace, by the second domain of the path.
    let reply = ask(&router, "vip.ns.ns.svc.cluster.local.", RecordType::A, POD).await;
    assert_eq!(
        lines(&reply.answers),
        [
            "vip.ns.ns.svc.cluster.local. 5 CNAME vip.ns.svc.cluster.local.",
            "vip.ns.svc.cluster.local. 5 A 10.96.0.1"
        ]
    );
    // What is there is answered as it is, and what is nowhere is the client's to go on with.
    let reply = ask(&router, "vip.ns.svc.cluster.local.", RecordType::A, POD).await;
    assert_eq!(lines(&reply.answers), ["vip.ns.svc.cluster.local. 5 A 10.96.0.1"]);
    let reply = ask(&router, "nosuch.example.com.ns.svc.cluster.local.", RecordType::A, POD).await;
    assert_eq!((reply.rcode, reply.authorities.len()), (ResponseCode::NXDomain, 1));
    assert_eq!(lines(&reply.authorities)[0].split(' ').next(), Some("cluster.local."));
}

#[tokio::test]
async fn only_a_known_pods_own_path_is_walked() {
    let router = served("autopath @kubernetes", "verified").unwrap();
    let rcode = async |name: &str, client: &str| ask(&router, name, RecordType::A, client).await.rcode;
    let nx = ResponseCode::NXDomain;
    assert_eq!(rcode("www.example.com.ns.svc.cluster.local.", "10.240.0.1").await, nx, "not a pod");
    assert_eq!(rcode("www.example.com.empty.svc.cluster.local.", POD).await, nx, "not its namespace");
    assert_eq!(rcode("www.example.com.svc.cluster.local.", POD).await, nx, "not the first domain");
    assert_eq!(rcode("ns.svc.cluster.local.", POD).await, ResponseCode::NoError, "the domain itself");
    for pods in ["insecure", "disabled"] {
        let router = served("autopath @kubernetes", pods).unwrap();
        let reply = ask(&router, "www.example.com.ns.svc.cluster.local.", RecordType::A, POD).await;
        assert_eq!(reply.rcode, nx, "{pods}");
    }
    let router = served("autopath example.org @kubernetes", "verified").unwrap();
    let reply = ask(&router, "www.example.com.ns.svc.cluster.local.", RecordType::A, POD).await;
    assert_eq!(reply.rcode, nx, "not a zone of the directive");
}

#[tokio::test]
async fn names_that_exist_stay_on_the_quick_way() {
    let router = served("autopath @kubernetes", "verified").unwrap();
    let quick =
        |name: &str, client: &str| testing::quickly(&router, &query(&router, name, RecordType::A, client));
    assert!(quick("vip.ns.svc.cluster.local.", POD).is_some());
    assert!(quick("www.example.com.ns.svc.cluster.local.", "10.240.0.1").is_some());
    assert!(quick("www.example.com.ns.svc.cluster.local.", POD).is_none());
}

#[tokio::test]
async fn a_file_has_everybodys_path() {
    let router = served("autopath FILE", "insecure").unwrap();
    let reply = ask(&router, "www.ns.svc.cluster.local.", RecordType::A, "10.240.0.1").await;
    assert_eq!(
        lines(&reply.answers),
        ["www.ns.svc.cluster.local. 60 CNAME www.example.com.", "www.example.com. 60 A 192.0.2.1"]
    );
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    for (directive, message) in [
        ("autopath", "plugin/autopath: Corefile:2 - Error during parsing: no resolv-conf specified"),
        (
            "autopath /nowhere/at/all",
            "plugin/autopath: Corefile:2 - Error during parsing: failed to parse \"/nowhere/at/all\": No such file or \
             directory (os error 2)",
        ),
        ("autopath @file", "plugin/autopath: file does not implement the AutoPather interface"),
    ] {
        assert_eq!(served(directive, "verified").err().as_deref(), Some(message));
    }
    assert!(served("autopath @erratic", "verified").is_ok());
}

#[tokio::test]
async fn walked_paths_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    std::fs::write(&path, "$TTL 60\n@ SOA a b 1 1 1 1 1\nwww A 192.0.2.1\n").unwrap();
    let text = corefile("autopath @kubernetes", "verified", &path.display().to_string());
    let world = testing::world();
    let router = testing::router_in(&text, &world);
    for name in ["www.example.com", "nosuch.example.com", "vip"] {
        ask(&router, &format!("{name}.ns.svc.cluster.local."), RecordType::A, POD).await;
    }
    let page = world.meters.encode().unwrap();
    assert!(page.contains("coredns_autopath_success_total{server=\"dns://:53\"} 1\n"), "{page}");
}
