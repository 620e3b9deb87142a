use std::net::SocketAddr;

use hickory_proto::rr::RecordType;
use prometheus_client::encoding::text::encode;

use super::*;
use crate::testing;

fn scrape(tallies: &Arc<Tallies>) -> String {
    let mut registry = Registry::default();
    tallies.register(&mut registry);
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    text
}

fn seen(from: &str, transport: Transport, qtype: RecordType) -> Seen {
    let address: SocketAddr = from.parse().unwrap();
    let from = Peer { address, local: "10.0.0.53:53".parse().unwrap(), transport };
    let query = testing::query("vip.ns.svc.cluster.local.", qtype);
    Seen::of_request(&query.request, from, Instant::now(), 40)
}

#[test]
fn each_label_is_counted_on_its_own() {
    let tallies = Arc::new(Tallies::default());
    let metrics = tallies.of(&"dns://:53".into(), &".".into(), &"".into());
    let ask = |from, transport, qtype, plugin, rcode, length| {
        metrics.answered(&seen(from, transport, qtype), plugin, rcode, length);
    };
    let (udp, tcp) = (Transport::Udp, Transport::Tcp);
    let ok = ResponseCode::NoError;
    ask("10.0.0.1:1", udp, RecordType::A, "kubernetes", ok, 512);
    ask("10.0.0.1:1", udp, RecordType::A, "kubernetes", ok, 512);
    ask("[::ffff:10.0.0.1]:1", tcp, RecordType::A, "kubernetes", ResponseCode::NXDomain, 90);
    ask("[fd00::1]:1", udp, RecordType::AAAA, "forward", ResponseCode::ServFail, 0);
    ask("[fd00::1]:1", udp, RecordType::CAA, "", ResponseCode::BADVERS, 66_000);
    // The same name, elsewhere in memory.
    let elsewhere: &'static str = Box::leak("kubernetes".to_owned().into_boxed_str());
    ask("10.0.0.1:1", udp, RecordType::A, elsewhere, ok, 1);
    let text = scrape(&tallies);
    let block = r#"server="dns://:53",zone=".",view="""#;
    for line in [
        format!(r#"coredns_dns_requests_total{{{block},proto="udp",family="1",type="A"}} 3"#),
        format!(r#"coredns_dns_requests_total{{{block},proto="tcp",family="1",type="A"}} 1"#),
        format!(r#"coredns_dns_requests_total{{{block},proto="udp",family="2",type="AAAA"}} 1"#),
        format!(r#"coredns_dns_requests_total{{{block},proto="udp",family="2",type="other"}} 1"#),
        format!(r#"coredns_dns_responses_total{{{block},rcode="NOERROR",plugin="kubernetes"}} 3"#),
        format!(r#"coredns_dns_responses_total{{{block},rcode="NXDOMAIN",plugin="kubernetes"}} 1"#),
        format!(r#"coredns_dns_responses_total{{{block},rcode="SERVFAIL",plugin="forward"}} 1"#),
        format!(r#"coredns_dns_responses_total{{{block},rcode="BADVERS",plugin=""}} 1"#),
        format!(r#"coredns_dns_request_duration_seconds_bucket{{le="8.192",{block}}} 6"#),
        format!(r#"coredns_dns_request_duration_seconds_count{{{block}}} 6"#),
        format!(r#"coredns_dns_request_size_bytes_bucket{{le="100.0",{block},proto="udp"}} 5"#),
        format!(r#"coredns_dns_response_size_bytes_bucket{{le="511.0",{block},proto="udp"}} 2"#),
        format!(r#"coredns_dns_response_size_bytes_bucket{{le="1023.0",{block},proto="udp"}} 4"#),
        format!(r#"coredns_dns_response_size_bytes_bucket{{le="+Inf",{block},proto="udp"}} 5"#),
        "coredns_panics_total 0".to_owned(),
        "callsign_dns_questions_dropped_total 0".to_owned(),
    ] {
        assert!(text.lines().any(|known| known == line), "{line}\nis not in\n{text}");
    }
    assert!(!text.contains("coredns_dns_do_requests_total{"), "{text}");
}

#[test]
fn hundreds_of_zones_cost_little_until_they_are_asked_for() {
    assert!(size_of::<Metrics>() <= 512, "{}", size_of::<Metrics>());
    let tallies = Arc::new(Tallies::default());
    let zones: Vec<_> = (0..256).map(|at| format!("{at}.0.10.in-addr.arpa.")).collect();
    let all: Vec<_> =
        zones.iter().map(|zone| tallies.of(&"dns://:53".into(), &zone.as_str().into(), &"".into())).collect();
    assert!(all.iter().all(|metrics| metrics.shards.iter().all(|shard| shard.get().is_none())));
    assert!(!scrape(&tallies).contains("in-addr"));
    let seen = seen("10.0.0.1:1", Transport::Udp, RecordType::PTR);
    all[7].answered(&seen, "kubernetes", ResponseCode::NoError, 100);
    assert_eq!(all[7].shards.iter().filter(|shard| shard.get().is_some()).count(), 1);
    assert!(scrape(&tallies).contains(r#"zone="7.0.10.in-addr.arpa.""#));
    // Found again, not made again.
    assert!(Arc::ptr_eq(&all[7], &tallies.of(&"dns://:53".into(), &zones[7].as_str().into(), &"".into())));
}

#[test]
fn statuses_of_https_are_counted() {
    let tallies = Arc::new(Tallies::default());
    let https = tallies.https(&"https://:443".into());
    [200, 200, 404, 999].iter().for_each(|status| https.responded(*status));
    let text = scrape(&tallies);
    assert!(
        text.contains("coredns_dns_https_responses_total{server=\"https://:443\",status=\"200\"} 2"),
        "{text}"
    );
    assert!(text.contains("status=\"404\"} 1") && !text.contains("999"), "{text}");
}
