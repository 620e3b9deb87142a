use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query as HickoryQuery, ResponseCode},
    rr::{Name, Record, RecordType},
};

use crate::{
    answer::Transport,
    block::Router,
    plugin::Reply,
    server::{Front, Handled, Handler, Shared},
    testing,
};

const ZONE: &str = r#"
$TTL 3600
@       SOA ns1 admin ( 7 2h 15m 2w 5m )
        NS  ns1
        NS  ns.elsewhere.net.
        MX  10 mail
ns1     A   192.0.2.1
mail    A   192.0.2.2
        AAAA 2001:db8::2
www     CNAME web
web     A   192.0.2.3
loop    CNAME pool
pool    CNAME loop
gone    CNAME nosuch
out     CNAME heads.ns.svc.cluster.local.
deep.ent A  192.0.2.4
*.wild  A   192.0.2.5
        MX  5 mail
*.alias CNAME web
x.y.wild TXT "below"
sub     NS  ns.sub
        NS  ns1
        DS  1 13 2 00000000000000000000000000000000000000000000000000000000000000ff
ns.sub  A   192.0.2.6
old     DNAME new
a.new   A   192.0.2.7
_sip._tcp SRV 0 5 5060 web
"#;

fn corefile(path: &Path, options: &str) -> String {
    format!(
        ".:53 {{
            transfer example.org {{
                to *
            }}
            kubernetes cluster.local
            file {} example.org {{
                {options}
            }}
        }}",
        path.display()
    )
}

fn served(text: &str, options: &str) -> (tempfile::TempDir, Arc<Router>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    std::fs::write(&path, text).unwrap();
    let router = testing::router(&corefile(&path, options));
    (folder, router)
}

fn lines(records: &[Record]) -> Vec<String> {
    let line = |r: &Record| format!("{} {} {} {}", r.name, r.ttl, r.record_type(), r.data);
    records.iter().map(|r| line(r).replace("example.org.", "@")).collect()
}

async fn ask(router: &Arc<Router>, name: &str, qtype: RecordType) -> Reply {
    testing::ask(router, &format!("{name}example.org."), qtype).await
}

#[tokio::test]
async fn names_answer_what_they_have() {
    let (_folder, router) = served(ZONE, "");
    let servers = ["@ 3600 NS ns1.@", "@ 3600 NS ns.elsewhere.net."];
    for (name, qtype, answers, additionals) in [
        ("web.", RecordType::A, vec!["web.@ 3600 A 192.0.2.3"], vec![]),
        ("www.", RecordType::A, vec!["www.@ 3600 CNAME web.@", "web.@ 3600 A 192.0.2.3"], vec![]),
        ("www.", RecordType::CNAME, vec!["www.@ 3600 CNAME web.@"], vec![]),
        (
            "",
            RecordType::MX,
            vec!["@ 3600 MX 10 mail.@"],
            vec!["mail.@ 3600 A 192.0.2.2", "mail.@ 3600 AAAA 2001:db8::2"],
        ),
        (
            "_sip._tcp.",
            RecordType::SRV,
            vec!["_sip._tcp.@ 3600 SRV 0 5 5060 web.@"],
            vec!["web.@ 3600 A 192.0.2.3"],
        ),
        ("any.wild.", RecordType::A, vec!["any.wild.@ 3600 A 192.0.2.5"], vec![]),
        ("a.b.wild.", RecordType::A, vec!["a.b.wild.@ 3600 A 192.0.2.5"], vec![]),
        (
            "some.alias.",
            RecordType::A,
            vec!["some.alias.@ 3600 CNAME web.@", "web.@ 3600 A 192.0.2.3"],
            vec![],
        ),
        ("loop.", RecordType::A, vec!["loop.@ 3600 CNAME pool.@", "pool.@ 3600 CNAME loop.@"], vec![]),
        (
            "sub.",
            RecordType::DS,
            vec!["sub.@ 3600 DS 1 13 2 00000000000000000000000000000000000000000000000000000000000000FF"],
            vec![],
        ),
    ] {
        let reply = ask(&router, name, qtype).await;
        assert_eq!((reply.rcode, reply.authoritative), (ResponseCode::NoError, true), "{name} {qtype}");
        if qtype == RecordType::DS {
            assert_eq!(reply.answers.len(), 1);
        } else {
            assert_eq!(lines(&reply.answers), answers, "{name} {qtype}");
        }
        assert_eq!(lines(&reply.authorities), servers, "{name} {qtype}");
        assert_eq!(lines(&reply.additionals), additionals, "{name} {qtype}");
    }
    // The case of the question is kept.
    assert_eq!(lines(&ask(&router, "WeB.", RecordType::A).await.answers), ["WeB.@ 3600 A 192.0.2.3"]);
}

#[tokio::test]
async fn what_is_not_there_is_denied_with_the_soa() {
    let (_folder, router) = served(ZONE, "");
    for (name, qtype, rcode) in [
        ("nosuch.", RecordType::A, ResponseCode::NXDomain),
        ("web.", RecordType::TXT, ResponseCode::NoError),
        // Names with names below them exist (RFC 8020), and keep the wildcard away (RFC 4592 2.2.2).
        ("ent.", RecordType::A, ResponseCode::NoError),
        ("_tcp.", RecordType::A, ResponseCode::NoError),
        ("wild.", RecordType::A, ResponseCode::NoError),
        ("y.wild.", RecordType::A, ResponseCode::NoError),
        ("z.y.wild.", RecordType::A, ResponseCode::NXDomain),
        ("x.wild.", RecordType::TXT, ResponseCode::NoError),
        ("", RecordType::DS, ResponseCode::NoError),
    ] {
        let reply = ask(&router, name, qtype).await;
        assert_eq!((reply.rcode, reply.authoritative), (rcode, true), "{name} {qtype}");
        assert!(reply.answers.is_empty(), "{name} {qtype}");
        assert_eq!(lines(&reply.authorities), ["@ 300 SOA ns1.@ admin.@ 7 7200 900 1209600 300"], "{name}");
    }
    // The response code is that of the end of the chain (RFC 6604).
    let gone = ask(&router, "gone.", RecordType::A).await;
    assert_eq!((gone.rcode, gone.answers.len(), gone.authorities.len()), (ResponseCode::NXDomain, 1, 1));
}

#[tokio::test]
async fn delegations_lead_away() {
    let (_folder, router) = served(ZONE, "");
    for (name, qtype) in [
        ("sub.", RecordType::A),
        ("sub.", RecordType::NS),
        ("www.sub.", RecordType::A),
        ("ns.sub.", RecordType::A),
        ("a.b.sub.", RecordType::DS),
    ] {
        let reply = ask(&router, name, qtype).await;
        assert_eq!((reply.rcode, reply.authoritative), (ResponseCode::NoError, false), "{name} {qtype}");
        assert!(reply.answers.is_empty());
        assert_eq!(lines(&reply.authorities)[..2], ["sub.@ 3600 NS ns.sub.@", "sub.@ 3600 NS ns1.@"]);
        assert_eq!(lines(&reply.additionals), ["ns.sub.@ 3600 A 192.0.2.6", "ns1.@ 3600 A 192.0.2.1"]);
    }
}

/// Of two zones that are both here the upper one has the DS of the lower one (RFC 4035 3.1.4.1).
#[tokio::test]
async fn the_ds_is_the_parents() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(at("up"), ZONE).unwrap();
    std::fs::write(at("low"), "$TTL 1\n@ SOA a b 1 1 1 1 1\nw A 192.0.2.99\n").unwrap();
    let text = format!(".:53 {{\n file {} example.org\n file {} sub.example.org\n}}", at("up"), at("low"));
    let router = testing::router(&text);
    assert_eq!(ask(&router, "sub.", RecordType::DS).await.answers.len(), 1);
    assert_eq!(lines(&ask(&router, "w.sub.", RecordType::A).await.answers), ["w.sub.@ 1 A 192.0.2.99"]);
    assert!(ask(&router, "sub.", RecordType::SOA).await.authoritative);
    assert_eq!(
        lines(&ask(&router, "w.sub.", RecordType::DS).await.authorities)[0].split(' ').next(),
        Some("sub.@")
    );
}

#[tokio::test]
async fn a_dname_stands_for_all_below_it() {
    let (_folder, router) = served(ZONE, "");
    let reply = ask(&router, "a.old.", RecordType::A).await;
    let shown = lines(&reply.answers);
    assert!(shown[0].starts_with("old.@ 3600 DNAME"), "{shown:?}");
    assert_eq!(shown[1..], ["a.old.@ 3600 CNAME a.new.@", "a.new.@ 3600 A 192.0.2.7"]);
    assert_eq!(ask(&router, "b.old.", RecordType::A).await.rcode, ResponseCode::NXDomain);
    let star = ask(&router, "*.old.", RecordType::A).await;
    assert_eq!(lines(&star.answers)[1..], ["*.old.@ 3600 CNAME *.new.@"]);
    // The name itself has what it has.
    assert_eq!(ask(&router, "old.", RecordType::A).await.answers.len(), 0);
    let long = "a.".repeat(120);
    let zone = "$TTL 1\n@ SOA a b 1 1 1 1 1\nd DNAME this-is-a-rather-long-target-name.example.org.\n";
    let (_folder, router) = served(zone, "");
    assert_eq!(
        ask(&router, &format!("{}d.", &long[..232]), RecordType::A).await.rcode,
        ResponseCode::YXDomain
    );
}

#[tokio::test]
async fn aliases_that_leave_are_looked_up_here() {
    let (_folder, router) = served(ZONE, "");
    let reply = ask(&router, "out.", RecordType::A).await;
    assert_eq!(reply.rcode, ResponseCode::NoError);
    assert_eq!(reply.answers.len(), 1 + 3, "{:?}", lines(&reply.answers));
}

#[tokio::test]
async fn names_that_are_not_there_may_fall_through() {
    let (_folder, router) = served(ZONE, "fallthrough example.org");
    // Nobody is behind it: SERVFAIL says that it was asked.
    assert_eq!(ask(&router, "nosuch.", RecordType::A).await.rcode, ResponseCode::ServFail);
    assert_eq!(ask(&router, "web.", RecordType::TXT).await.rcode, ResponseCode::NoError);
    let quick = |name: &str| testing::quickly(&router, &testing::query(name, RecordType::A));
    assert!(quick("web.example.org.").is_none() && quick("vip.ns.svc.cluster.local.").is_some());
}

#[tokio::test]
async fn a_signed_zone_proves_what_it_says() {
    let zone = r"
$TTL 300
@     SOA a b 1 1 1 1 60
@     NSEC b SOA NSEC
@     RRSIG SOA 13 2 300 20300101000000 20200101000000 1 example.org. AAAA
@     RRSIG NSEC 13 2 300 20300101000000 20200101000000 1 example.org. AAAA
b     A 192.0.2.1
b     RRSIG A 13 3 300 20300101000000 20200101000000 1 example.org. AAAA
b     NSEC d A NSEC
d     A 192.0.2.2
d     NSEC @ A NSEC
";
    let (_folder, router) = served(zone, "");
    let kinds = async |name: &str, qtype, dnssec: bool| {
        let mut query = testing::query(&format!("{name}example.org."), qtype);
        query.router = Arc::clone(&router);
        let mut request = (*query.request).clone();
        request.edns = request.edns.map(|edns| crate::answer::Edns { dnssec_ok: dnssec, ..edns });
        query.request = Arc::new(request);
        let reply = router.serve(&mut query).await;
        let kinds =
            |records: &[Record]| records.iter().map(|r| u16::from(r.record_type())).collect::<Vec<_>>();
        (kinds(&reply.answers), kinds(&reply.authorities))
    };
    assert_eq!(kinds("b.", RecordType::A, true).await, (vec![1, 46], vec![]));
    assert_eq!(kinds("b.", RecordType::A, false).await, (vec![1], vec![]));
    // SOA and signature, the NSEC that covers the name, and with it or besides the one that covers the wildcard.
    assert_eq!(kinds("c.", RecordType::A, true).await, (vec![], vec![6, 46, 47, 47, 46]));
    assert_eq!(kinds("c.", RecordType::A, false).await, (vec![], vec![6]));
    assert_eq!(kinds("d.", RecordType::TXT, true).await, (vec![], vec![6, 46, 47]));
}

#[tokio::test]
async fn a_zone_is_transferred_whole() {
    let (_folder, router) = served(ZONE, "");
    let mut query = testing::query("example.org.", RecordType::AXFR);
    query.router = Arc::clone(&router);
    query.peer.transport = Transport::Tcp;
    let records = router.serve(&mut query).await.transfer.unwrap();
    assert_eq!((records[0].record_type(), &records[0]), (RecordType::SOA, &records[records.len() - 1]));
    assert_eq!(records.len(), 26);
}

/// Records that are larger than usual go in more messages, and none is lost.
#[tokio::test]
async fn large_records_are_transferred_too() {
    let mut zone = "$TTL 1\n@ SOA a b 1 1 1 1 1\n".to_owned();
    for at in 0..600 {
        zone += &format!("big TXT \"{at:0>250}\"\n");
    }
    let (_folder, router) = served(&zone, "");
    let front = Front::new(router, Arc::new(Shared::default()));
    let mut peer = testing::query(".", RecordType::A).peer;
    peer.transport = Transport::Tcp;
    let mut question = Message::new(7, MessageType::Query, OpCode::Query);
    question.add_query(HickoryQuery::query(Name::from_ascii("example.org.").unwrap(), RecordType::AXFR));
    let Handled::Later(later) =
        front.handle(&question.to_vec().unwrap(), peer, Instant::now(), &mut Vec::new())
    else {
        panic!("not waited for");
    };
    let mut records = Vec::new();
    for message in later.await {
        let message = Message::from_vec(&message).unwrap();
        assert!(!message.metadata.truncation);
        records.extend(message.answers);
    }
    assert_eq!(records.len(), 602);
    let texts: std::collections::BTreeSet<_> = records.iter().map(|record| record.data.to_string()).collect();
    assert_eq!(texts.len(), 601);
}

#[tokio::test(start_paused = true)]
async fn another_serial_is_another_zone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let world = testing::world();
    let mut changes = world.changes.listen();
    let zone = |serial: u32, ip: &str| format!("$TTL 1\n@ SOA a b {serial} 1 1 1 1\nw A {ip}\n");
    // Not there yet.
    let router = testing::router_in(&corefile(&path, "reload 30s"), &world);
    let answer = async || {
        let reply = ask(&router, "w.", RecordType::A).await;
        (reply.rcode, lines(&reply.answers).first().cloned())
    };
    let later = async |text: &str| {
        std::fs::write(&path, text).unwrap();
        tokio::time::sleep(Duration::from_secs(61)).await;
        // Reading goes on in another thread, which knows nothing of paused time.
        for _ in 0..200 {
            std::thread::sleep(Duration::from_millis(1));
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(answer().await, (ResponseCode::ServFail, None));
    let good = |ip: &str| (ResponseCode::NoError, Some(format!("w.@ 1 A {ip}")));
    later(&zone(1, "192.0.2.1")).await;
    assert_eq!(answer().await, good("192.0.2.1"));
    later(&zone(1, "192.0.2.22")).await;
    assert_eq!(answer().await, good("192.0.2.1"), "the same serial");
    later("$TTL 1\n@ SOA a b 2 1 1 1 1\nw A nonsense\n").await;
    assert_eq!(answer().await, good("192.0.2.1"), "a bad file");
    later(&zone(3, "192.0.2.3")).await;
    assert_eq!(answer().await, good("192.0.2.3"));
    let mut told = 0;
    while changes.try_recv().is_ok() {
        told += 1;
    }
    assert_eq!(told, 2);
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("bad", "$TTL 1\n@ SOA a b 1 1 1 1 1\n@ A nonsense\n");
    write("none", "$TTL 1\n@ A 192.0.2.1\n");
    write("two", "$TTL 1\n@ SOA a b 1 1 1 1 1\n@ SOA a b 2 1 1 1 1\n");
    write("good", "$TTL 1\n@ SOA a b 1 1 1 1 1\n");
    let at = folder.path().display().to_string();
    for (directive, message) in [
        ("file", "Wrong argument count or unexpected line ending after 'file'".to_owned()),
        (&format!("file {at}/bad example.org"), format!("{at}/bad:3: A: ")),
        (
            &format!("file {at}/none example.org"),
            format!("file \"{at}/none\" has no SOA record for origin example.org."),
        ),
        (&format!("file {at}/two example.org"), format!("file \"{at}/two\" has more than one SOA record")),
        (&format!("file {at}/gone example.org {{\n reload 0\n}}"), format!("cannot read {at}/gone: ")),
        (&format!("file {at}/good {{\n reload\n}}"), "reload duration value is expected".to_owned()),
        (&format!("file {at}/good {{\n bogus\n}}"), "unknown property 'bogus'".to_owned()),
    ] {
        let error = testing::config(&format!(".:53 {{\n {directive}\n}}")).unwrap_err().to_string();
        let (place, text) = error.split_once(" - Error during parsing: ").unwrap();
        assert!(
            place.starts_with("plugin/file: Corefile:") && text.starts_with(&message),
            "{directive}: {error}"
        );
    }
    let with_root = format!(".:53 {{\n root {at}\n file good example.org\n file gone example.net\n}}");
    assert!(testing::config(&with_root).is_ok());
}
