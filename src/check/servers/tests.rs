//! What each check of a running server says of built facts.

use serde_json::json;

use super::{
    super::{facts::Missing, finding::ids, testing},
    *,
};

const IMAGE: &str = "ghcr.io/callsign-dns/callsign:0.1.0";

fn budget_of_all() -> super::super::objects::Budget {
    let selector = json!({"matchLabels": {"app.kubernetes.io/name": "callsign"}});
    serde_json::from_value(
        json!({"metadata": {"namespace": "kube-system", "name": "callsign"}, "spec": {"selector": selector}}),
    )
    .unwrap()
}

fn with_pods(pods: Vec<Pod>, pages: &[Pages]) -> Cluster {
    let pages = pods.iter().map(|pod| pod.metadata.path()).zip(pages.iter().cloned()).collect();
    Cluster {
        own: Ok(pods),
        pages,
        deployments: Ok(Vec::new()),
        budgets: Ok(vec![budget_of_all()]),
        ..testing::cluster()
    }
}

fn pod(name: &str, change: impl Fn(&mut Pod)) -> Pod {
    let mut pod = testing::pod("kube-system", name, IMAGE, true);
    change(&mut pod);
    pod
}

fn two(change: impl Fn(&mut Pod), metrics: &str) -> Vec<Item> {
    let pods = vec![pod("a", change), pod("b", |_| {})];
    check("kube-system", &with_pods(pods, &[testing::pages(metrics), testing::pages("")]))
}

fn status(value: Value) -> impl Fn(&mut Pod) {
    move |pod| pod.status.container_statuses = serde_json::from_value(json!([value])).unwrap()
}

#[test]
fn well_pods_are_good() {
    let items = two(|_| {}, "");
    assert_eq!(items, [Item::good("2 pods ready and well: a 0.1.0, b 0.1.0")]);
    assert_eq!(ids(&check("kube-system", &with_pods(Vec::new(), &[]))), ["CHK501"]);
    let blind = Cluster { own: Err(Missing::Forbidden("list pods".to_owned())), ..testing::cluster() };
    assert_eq!(check("n", &blind), [Item::not_checked("Callsign's pods", "may not list pods")]);
}

#[test]
fn each_metric_has_its_code() {
    let cases = [
        ("coredns_reload_failed_total 2\n", "CHK509"),
        ("callsign_dns_loop_detected{zone=\".\"} 1\n", "CHK304"),
        ("callsign_dns_questions_dropped_total 5\n", "CHK510"),
        ("coredns_panics_total 1\n", "CHK511"),
        (
            "coredns_dns_responses_total{rcode=\"SERVFAIL\"} 30\ncoredns_dns_responses_total{rcode=\"NOERROR\"} 200\n",
            "CHK512",
        ),
        ("process_resident_memory_bytes 130000000\n", "CHK513"),
        ("callsign_controller_fuse_blown 1\n", "CHK520"),
    ];
    for (metrics, code) in cases {
        assert_eq!(ids(&two(|_| {}, metrics)), [code], "{metrics}");
    }
    let quiet = "coredns_panics_total 0\nprocess_resident_memory_bytes 60000000\n\
        coredns_dns_responses_total{rcode=\"SERVFAIL\"} 3\ncoredns_dns_responses_total{rcode=\"NOERROR\"} 9\n";
    assert_eq!(ids(&two(|_| {}, quiet)), [""; 0]);
}

#[test]
fn pods_that_do_not_run_are_told_with_the_cure() {
    let waiting = |reason: &str, message: &str| json!({"name": "server", "state": {"waiting": {"reason": reason, "message": message}}});
    let crashed = |code: i32, reason: &str, message: &str| {
        json!({"name": "server", "restartCount": 7, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": code, "reason": reason, "message": message}}})
    };
    let cases = [
        (waiting("ImagePullBackOff", "no such image"), "CHK505", "no such image"),
        (waiting("CreateContainerConfigError", "configmap \"callsign\" not found"), "CHK503", "configmap"),
        (
            waiting("RunContainerError", "exec /callsign: operation not permitted"),
            "CHK506",
            "operation not permitted",
        ),
        (crashed(2, "Error", "callsign: Corefile:3 - Unknown directive"), "CHK503", "Corefile:3"),
        (
            crashed(2, "Error", "callsign: 0.0.0.0:53: Permission denied (os error 13)"),
            "CHK506",
            "0.0.0.0:53",
        ),
        (crashed(5, "Error", ""), "CHK503", "code 5"),
        (crashed(137, "OOMKilled", ""), "CHK504", "limit 128 MiB"),
    ];
    for (value, code, text) in cases {
        let items = two(status(value), "");
        let finding = items.iter().find_map(Item::finding).unwrap();
        assert_eq!(finding.code.id, code, "{finding:?}");
        assert!(finding.message.contains(text), "{finding:?}");
    }
    let log =
        Pages { last_words: Ok("a\nError: Permission denied on :53\n".to_owned()), ..testing::pages("") };
    let pods = vec![pod("a", status(crashed(2, "Error", "")))];
    assert_eq!(ids(&check("n", &with_pods(pods, &[log]))), ["CHK506"]);
    let pending = |pod: &mut Pod| {
        pod.status.conditions = serde_json::from_value(
            json!([{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}]),
        )
        .unwrap();
    };
    assert_eq!(ids(&two(pending, "")), ["CHK507"]);
}

#[test]
fn restarts_are_told() {
    let oom = json!({"name": "server", "ready": true, "restartCount": 1, "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}});
    assert_eq!(ids(&two(status(oom), "")), ["CHK504"]);
    let often = json!({"name": "server", "ready": true, "restartCount": 3, "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}});
    assert_eq!(ids(&two(status(often), "")), ["CHK514"]);
    let once = json!({"name": "server", "ready": true, "restartCount": 1});
    assert_eq!(ids(&two(status(once), "")), [""; 0]);
}

#[test]
fn readiness_names_what_lacks() {
    let unready = |pod: &mut Pod| pod.status.conditions.clear();
    let says = |ready: Result<(u16, String), Missing>| {
        let pages = Pages { ready, ..testing::pages("") };
        let pods = vec![pod("a", unready), pod("b", |_| {})];
        check("n", &with_pods(pods, &[pages, testing::pages("")]))
    };
    let items = says(Ok((503, "endpointslices: 403 forbidden\n".to_owned())));
    assert_eq!(ids(&items), ["CHK502"]);
    let message = &items.iter().find_map(Item::finding).unwrap().message;
    assert!(message.ends_with("endpointslices: 403 forbidden"), "{message}");
    assert_eq!(ids(&says(Ok((200, "OK".to_owned())))), ["CHK502"]);
    let items = says(Err(Missing::Forbidden("get pods/proxy in kube-system".to_owned())));
    assert_eq!(ids(&items), ["CHK502"]);
    let wanted = Item::not_checked("what pods say at /ready", "may not get pods/proxy in kube-system");
    assert!(items.contains(&wanted), "{items:?}");
}

#[test]
fn what_concerns_all_of_them() {
    let same_node = |name| pod(name, |pod| "n1".clone_into(&mut pod.spec.node_name));
    let pages = || testing::pages("");
    assert_eq!(
        ids(&check("n", &with_pods(vec![same_node("a"), same_node("b")], &[pages(), pages()]))),
        ["CHK515"]
    );
    let mut other = pages();
    other.metrics =
        Ok(super::super::metrics::Samples::read("coredns_build_info{version=\"1.13.1+callsign-0.2.0\"} 1\n"));
    let pods = || vec![pod("a", |_| {}), pod("b", |_| {})];
    assert_eq!(ids(&check("n", &with_pods(pods(), &[pages(), other]))), ["CHK508"]);
    let no_budget = Cluster { budgets: Ok(Vec::new()), ..with_pods(pods(), &[pages(), pages()]) };
    assert_eq!(ids(&check("n", &no_budget)), ["CHK516"]);
    let deployment = |wanted: u32, ready: u32| {
        let value = json!({"metadata": {"namespace": "n", "name": "callsign"}, "spec": {"replicas": wanted}, "status": {"readyReplicas": ready}});
        let deployments = Ok(vec![serde_json::from_value(value).unwrap()]);
        ids(&check("n", &Cluster { deployments, ..with_pods(pods(), &[pages(), pages()]) }))
    };
    assert_eq!(
        (deployment(2, 2), deployment(2, 1), deployment(0, 0)),
        (vec![], vec!["CHK517"], vec!["CHK517"])
    );
}

#[test]
fn exactly_one_leads() {
    let writer = |name| pod(name, |pod| pod.spec.containers[0].args = vec!["serve".to_owned()]);
    let leads = |status: &[Option<u8>]| {
        let pages: Vec<Pages> = status
            .iter()
            .map(|status| {
                testing::pages(
                    &status
                        .map(|status| format!("leader_election_master_status{{name=\"x\"}} {status}\n"))
                        .unwrap_or_default(),
                )
            })
            .collect();
        let names = ["a", "b"];
        check("n", &with_pods(names.map(writer).into(), &pages))
    };
    let items = leads(&[Some(1), Some(0)]);
    assert!(
        ids(&items).is_empty()
            && items.iter().any(|item| matches!(item, Item::Good(text) if text.starts_with("one of the 2"))),
        "{items:?}"
    );
    assert_eq!(ids(&leads(&[Some(0), Some(0)])), ["CHK518"]);
    assert_eq!(ids(&leads(&[Some(1), Some(1)])), ["CHK519"]);
    assert_eq!(ids(&leads(&[Some(0), None])), [""; 0], "the other may be the one");
}

#[test]
fn quantities() {
    assert_eq!(quantity("128Mi"), Some(134_217_728.0));
    assert_eq!(quantity("1G"), Some(1e9));
    assert_eq!(quantity("1000"), Some(1000.0));
    assert_eq!((quantity("x"), quantity("1Zi")), (None, None));
    assert_eq!(clip(&"é".repeat(400)).chars().count(), 301);
}
