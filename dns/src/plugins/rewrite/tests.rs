use std::sync::Arc;

use hickory_proto::{
    op::ResponseCode,
    rr::{Record, RecordType},
};
use proptest::prelude::*;

use crate::{
    plugin::{Plugin, Query, Reply},
    testing::{self, record},
};

fn plugin(rules: &str) -> Arc<dyn Plugin> {
    let config = testing::config(&format!(".:53 {{\n {rules}\n}}")).unwrap_or_else(|error| panic!("{error}"));
    config.blocks[0].chain[0].start(&testing::world()).unwrap()
}

/// What is asked behind the rules for a name, and the answer's records that come through.
async fn through(
    rules: &str,
    name: &str,
    answer: impl Fn(&Query) -> Vec<Record> + Send + Sync + 'static,
) -> (String, Vec<String>) {
    let asked = Arc::new(std::sync::Mutex::new(String::new()));
    let seen = Arc::clone(&asked);
    let mut query = testing::query(name, RecordType::A);
    let before = format!("{:?}{:?}", query.question, query.options);
    let reply = testing::ask_one(plugin(rules), &mut query, move |query| {
        *seen.lock().unwrap() = format!("{} {} {}", query.name(), query.qtype(), query.question.qclass);
        Reply { answers: answer(query), ..Reply::new("tail", ResponseCode::NoError) }
    })
    .await;
    assert_eq!(format!("{:?}{:?}", query.question, query.options), before, "the question is as it was");
    let asked = asked.lock().unwrap().clone();
    (asked, reply.answers.iter().map(ToString::to_string).collect())
}

fn own_address(query: &Query) -> Vec<Record> {
    vec![record(&format!("{} 30 A 192.0.2.1", query.name()))]
}

#[tokio::test]
async fn names_are_rewritten_and_come_back() {
    for (rules, name, asked) in [
        ("rewrite name from.org to.net", "From.org.", "to.net. A 1"),
        ("rewrite name exact from.org. TO.net.", "from.org.", "to.net. A 1"),
        ("rewrite name from.org to.net", "a.from.org.", "a.from.org. A 1"),
        ("rewrite name prefix test. not-a-test.", "test.example.org.", "not-a-test.example.org. A 1"),
        ("rewrite name suffix .schmoogle.com. .google.com.", "Foo.Schmoogle.com.", "foo.google.com. A 1"),
        ("rewrite name suffix schmoogle.com google.com", "fooschmoogle.com.", "foogoogle.com. A 1"),
        ("rewrite name substring b.example.org b.net", "a.b.example.org.", "a.b.net. A 1"),
        (
            r"rewrite name regex (.*)-(us-west-1)\.example\.org {1}.service.{2}.consul",
            "ftp-us-west-1.example.org.",
            "ftp.service.us-west-1.consul. A 1",
        ),
        ("rewrite name a.org b.org\n rewrite name b.org c.org", "a.org.", "b.org. A 1"),
        ("rewrite continue name a.org b.org\n rewrite stop name b.org c.org", "A.org.", "c.org. A 1"),
        ("rewrite stop {\n name suffix .a.org .b.org\n }", "X.a.org.", "x.b.org. A 1"),
        ("rewrite type A AAAA\n rewrite name a.org b.org", "a.org.", "a.org. AAAA 1"),
        ("rewrite class IN CH", "a.org.", "a.org. A 3"),
        ("rewrite edns0 nsid set\n rewrite name a.org b.org", "a.org.", "a.org. A 1"),
        ("rewrite continue edns0 nsid set\n rewrite name a.org b.org", "a.org.", "b.org. A 1"),
    ] {
        let (found, answers) = through(rules, name, own_address).await;
        assert_eq!(found, asked, "{rules}");
        // The owner is the name in the case it was asked in.
        assert_eq!(answers, [format!("{name} 30 IN A 192.0.2.1")], "{rules}");
    }
}

#[tokio::test]
async fn answers_follow_their_rules() {
    let chain = |_: &Query| {
        vec![
            record("ftp.service.us-west-1.consul. 30 CNAME a.service.us-west-1.consul."),
            record("a.service.us-west-1.consul. 30 A 192.0.2.1"),
        ]
    };
    let name = r"name regex (.*)-(us-west-1)\.coredns\.rocks {1}.service.{2}.consul";
    let owner = r"answer name (.*)\.service\.(us-west-1)\.consul {1}-{2}.coredns.rocks";
    let value = r"answer value (.*)\.service\.(us-west-1)\.consul {1}-{2}.coredns.rocks";
    for (rules, wanted) in [
        (
            format!("rewrite stop {{\n {name}\n {owner}\n }}"),
            [
                "ftp-us-west-1.coredns.rocks. 30 IN CNAME a.service.us-west-1.consul.",
                "a-us-west-1.coredns.rocks. 30 IN A 192.0.2.1",
            ],
        ),
        (
            format!("rewrite {name} {owner} {value}"),
            [
                "ftp-us-west-1.coredns.rocks. 30 IN CNAME a-us-west-1.coredns.rocks.",
                "a-us-west-1.coredns.rocks. 30 IN A 192.0.2.1",
            ],
        ),
        (
            format!("rewrite {name} answer auto"),
            [
                "Ftp-us-west-1.coredns.rocks. 30 IN CNAME a.service.us-west-1.consul.",
                "a.service.us-west-1.consul. 30 IN A 192.0.2.1",
            ],
        ),
    ] {
        let (_, answers) = through(&rules, "Ftp-us-west-1.coredns.rocks.", chain).await;
        assert_eq!(answers, wanted, "{rules}");
    }
}

#[tokio::test]
async fn automatic_answers_reach_data_and_names_below() {
    let answer = |_: &Query| {
        vec![
            record("b.net. 30 MX 10 mail.b.net."),
            record("_sip._tcp.b.net. 30 SRV 0 0 5060 b.net."),
            record("other.net. 30 NS ns.b.net."),
            record("cb.net. 30 PTR xb.net."),
        ]
    };
    let (_, answers) = through("rewrite name a.org b.net", "A.org.", answer).await;
    assert_eq!(
        answers,
        [
            "A.org. 30 IN MX 10 mail.A.org.",
            "_sip._tcp.A.org. 30 IN SRV 0 0 5060 A.org.",
            "other.net. 30 IN NS ns.A.org.",
            "cb.net. 30 IN PTR xb.net.",
        ]
    );
    let suffixed = |_: &Query| vec![record("x.b.net. 30 CNAME y.b.net."), record("y.b.net. 30 A 192.0.2.1")];
    let (_, answers) = through("rewrite name suffix .a.org .b.net answer auto", "X.a.org.", suffixed).await;
    assert_eq!(answers, ["X.a.org. 30 IN CNAME y.a.org.", "y.a.org. 30 IN A 192.0.2.1"]);
}

#[tokio::test]
async fn ttls_and_response_codes_are_rewritten() {
    for (rules, ttl) in [
        ("rewrite ttl example.org 5", 5),
        ("rewrite ttl exact other.org 5", 30),
        ("rewrite ttl suffix .org 60-", 60),
        ("rewrite ttl prefix example. -20", 20),
        ("rewrite ttl substring ample.org 10-40", 30),
        ("rewrite continue ttl regex ^ex.* 5\n rewrite ttl example.org 7", 7),
    ] {
        let (_, answers) = through(rules, "example.org.", own_address).await;
        assert_eq!(answers, [format!("example.org. {ttl} IN A 192.0.2.1")], "{rules}");
    }
    for (rules, rcode) in [
        ("rewrite rcode example.org NXDOMAIN NOERROR", ResponseCode::NoError),
        ("rewrite rcode regex ^ex 3 SERVFAIL", ResponseCode::ServFail),
        ("rewrite rcode suffix .org REFUSED NOERROR", ResponseCode::NXDomain),
        ("rewrite rcode suffix .net NXDOMAIN NOERROR", ResponseCode::NXDomain),
    ] {
        let mut query = testing::query("example.org.", RecordType::A);
        let answer = |_: &Query| Reply::new("tail", ResponseCode::NXDomain);
        assert_eq!(testing::ask_one(plugin(rules), &mut query, answer).await.rcode, rcode, "{rules}");
    }
}

#[tokio::test]
async fn aliases_get_other_targets() {
    let corefile = ".:53 {
        rewrite cname exact www.example.com. heads.ns.svc.cluster.local.
        kubernetes cluster.local
    }";
    let router = testing::router(corefile);
    let reply = testing::ask(&router, "out.ns.svc.cluster.local.", RecordType::A).await;
    let answers: Vec<String> = reply.answers.iter().map(ToString::to_string).collect();
    assert_eq!(answers[0], "out.ns.svc.cluster.local. 5 IN CNAME heads.ns.svc.cluster.local.");
    assert_eq!(answers.len(), 4, "{answers:?}");
    assert!(answers[1..].iter().all(|line| line.starts_with("heads.ns.svc.cluster.local. 5 IN A 10.0.0.")));
}

#[tokio::test]
async fn names_of_the_cluster_have_others_and_stay_quick() {
    let corefile = ".:53 {
        rewrite name suffix .svc.example.org .svc.cluster.local answer auto
        rewrite edns0 local set 0xffee {client_ip}
        kubernetes cluster.local
    }";
    let router = testing::router(corefile);
    let reply = testing::ask(&router, "vip.ns.svc.example.org.", RecordType::SRV).await;
    let text: Vec<String> = reply.answers.iter().chain(&reply.additionals).map(ToString::to_string).collect();
    assert!(!text.is_empty() && text.iter().all(|line| !line.contains("cluster.local")), "{text:?}");
    let direct = testing::query("vip.ns.svc.cluster.local.", RecordType::A);
    let quick = testing::quickly(&router, &direct).unwrap();
    assert_eq!(quick, testing::slowly(&router, &direct).await);
    assert!(testing::quickly(&router, &testing::query("vip.ns.svc.example.org.", RecordType::A)).is_none());
}

#[tokio::test]
async fn names_that_come_out_wrong_are_failures() {
    let long = "l".repeat(64);
    let mut query = testing::query("a.org.", RecordType::A);
    let rules = format!("rewrite name a.org {long}.org");
    let reply = testing::ask_one(plugin(&rules), &mut query, |_| panic!("nobody is asked")).await;
    assert_eq!(reply.rcode, ResponseCode::ServFail);
    assert_eq!(reply.error.unwrap(), format!("invalid name after rewrite: {long}.org."));
    assert_eq!(query.name().to_string(), "a.org.");
}

#[test]
fn rules_are_checked() {
    for (rule, message) in [
        ("", "no rule type specified for rewrite"),
        ("name", "too few arguments for a name rule"),
        ("name a", "too few arguments for a name rule"),
        ("answer name a b", "response rewrites must begin with a name rule"),
        ("foo a b", "invalid rule type \"foo\""),
        ("type A", "type rules must have exactly two arguments"),
        ("type A XY", "invalid type \"XY\""),
        ("class IN XY", "invalid class \"XY\""),
        (
            "name glob a b",
            "name rule supports only exact, prefix, suffix, substring, and regex name matching, received: glob",
        ),
        ("name regex ( b", "invalid regex pattern '(': unclosed group"),
        (
            "name regex (a) {1}{2}",
            "the rewrite regex pattern ({1}{2}) uses more subexpressions than its corresponding matching regex pattern ((a))",
        ),
        ("name regex a b c", "invalid arguments for regex rule"),
        (
            "name regex a b c d",
            "exceeded the number of arguments for a non-answer rule argument for regex rule",
        ),
        ("name regex a b answer name", "name answer rule for regex rule: 2 arguments required"),
        ("name regex a b answer owner c d", "invalid type \"owner\" for answer rule for regex rule"),
        (
            "name regex a b answer auto answer name c d",
            "auto name answer rule cannot be combined with explicit name anwer rules",
        ),
        ("ttl a", "too few (1) arguments for a ttl rule"),
        ("ttl a x", "invalid TTL 'x' for a ttl rule"),
        ("ttl glob a 5", "ttl rule supports only exact, prefix, suffix, substring, and regex name matching"),
        ("rcode a NXDOMAIN", "too few (2) arguments for a rcode rule"),
        ("rcode a NXDOMAIN 24", "invalid replacement RCODE '24' for a rcode rule"),
        ("cname a", "too few (1) arguments for a cname rule"),
        ("cname glob a b", "unknown cname rewrite type: glob"),
        ("edns0 local", "too few arguments for an EDNS0 rule"),
    ] {
        let error = testing::config(&format!(".:53 {{\n rewrite {rule}\n}}")).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("plugin/rewrite: Corefile:2 - Error during parsing: {message}"),
            "{rule}"
        );
    }
}

proptest! {
    /// Where the quick way passes, no rule changes anything.
    #[test]
    fn what_passes_is_not_changed(labels in prop::collection::vec("[abAB]{1,3}", 1..4), qtype in 0..2_usize) {
        let rules = "rewrite name a.b b.a\n rewrite name suffix .ab .ba\n rewrite name regex ^ba+\\. x\n rewrite type AAAA A";
        let plugin = plugin(rules);
        let name = format!("{}.", labels.join("."));
        let qtype = [RecordType::A, RecordType::AAAA][qtype];
        let mut query = testing::query(&name, qtype);
        let passes = testing::passes(&plugin, &query);
        let seen = Arc::new(std::sync::Mutex::new(None));
        let into = Arc::clone(&seen);
        futures::executor::block_on(testing::ask_one(plugin, &mut query, move |query| {
            *into.lock().unwrap() = Some((query.name().clone(), query.qtype()));
            Reply::new("tail", ResponseCode::NoError)
        }));
        let same = *seen.lock().unwrap() == Some((query.name().clone(), qtype));
        prop_assert_eq!(passes, same);
    }
}
