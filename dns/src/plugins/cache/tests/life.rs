use super::*;

#[tokio::test]
async fn an_answer_is_got_once_and_counts_down() {
    let bench = Bench::new("cache");
    bench.says(answer(&["a.example. 300 A 192.0.2.1", "a.example. 60 A 192.0.2.2"]));
    assert_eq!(bench.ttl("a.example.").await, 60);
    bench.wait(20.9);
    assert_eq!(bench.ttl("A.Example.").await, 40);
    bench.wait(39.0);
    assert_eq!((bench.ttl("a.example.").await, bench.asked()), (1, 1));
    bench.wait(0.2);
    assert_eq!((bench.ttl("a.example.").await, bench.asked()), (60, 2));
    assert!(
        bench.metric(r#"coredns_cache_hits_total{server="dns://:53",type="success",zones=".",view=""} 2"#)
    );
    assert!(bench.metric(r#"coredns_cache_requests_total{server="dns://:53",zones=".",view=""} 4"#));
    assert!(bench.metric(r#"coredns_cache_misses_total{server="dns://:53",zones=".",view=""} 2"#));
    assert!(bench.metric(r#"coredns_cache_entries{server="dns://:53",type="success",zones=".",view=""} 1"#));
}
