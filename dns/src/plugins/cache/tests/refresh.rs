use std::time::Duration;

use super::*;

/// Lets what was begun in the background end.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn popular_answers_are_got_again_before_they_are_over() {
    let bench = Bench::new("cache {\n prefetch 3 1m 20%\n}");
    bench.says(answer(&["a.example. 100 A 192.0.2.1"]));
    bench.ttl("a.example.").await;
    for _ in 0..3 {
        bench.wait(10.0);
        bench.ttl("a.example.").await;
    }
    settle().await;
    assert_eq!(bench.asked(), 1, "it is true for long yet");
    bench.wait(45.0);
    assert_eq!(bench.ttl("a.example.").await, 25);
    bench.wait(6.0);
    // Whoever asks does not wait for it, and it is asked for once.
    let asking = (0..10).map(|_| bench.ttl("a.example."));
    assert!(futures::future::join_all(asking).await.iter().all(|ttl| *ttl == 19));
    settle().await;
    assert_eq!(bench.asked(), 2);
    assert_eq!(bench.ttl("a.example.").await, 100);
    assert!(bench.metric(r#"coredns_cache_prefetch_total{server="dns://:53",zones=".",view=""} 1"#));
    // It stays popular.
    bench.wait(40.0);
    bench.ttl("a.example.").await;
    bench.wait(41.0);
    bench.ttl("a.example.").await;
    settle().await;
    assert_eq!(bench.asked(), 3);
}

#[tokio::test]
async fn others_are_not() {
    for (directive, gap) in
        [("cache {\n prefetch 5\n}", 1.0), ("cache {\n prefetch 3 10s\n}", 11.0), ("cache", 1.0)]
    {
        let bench = Bench::new(directive);
        bench.says(answer(&["a.example. 100 A 192.0.2.1"]));
        bench.ttl("a.example.").await;
        bench.wait(100.0 - gap * 4.0);
        for _ in 0..4 {
            bench.wait(gap - 0.01);
            bench.ttl("a.example.").await;
        }
        settle().await;
        assert_eq!(bench.asked(), 1, "{directive}");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_got_again_stays_to_its_end() {
    let bench = Bench::new("cache {\n prefetch 1\n}");
    bench.says(answer(&["a.example. 100 A 192.0.2.1"]));
    bench.ttl("a.example.").await;
    bench.ttl("a.example.").await;
    bench.wait(91.0);
    bench.says(Reply::new("behind", ResponseCode::ServFail));
    for _ in 0..3 {
        assert_eq!(bench.ttl("a.example.").await, 9);
        settle().await;
    }
    assert_eq!(bench.asked(), 2, "a failure is not repeated at once");
    bench.wait(5.5);
    bench.ttl("a.example.").await;
    settle().await;
    assert_eq!(bench.asked(), 3);
}

#[tokio::test]
async fn what_was_true_is_served_and_got_again() {
    let bench = Bench::new("cache {\n serve_stale 1m\n}");
    bench.says(answer(&["a.example. 30 A 192.0.2.1"]));
    bench.ttl("a.example.").await;
    bench.wait(31.0);
    bench.says(answer(&["a.example. 30 A 192.0.2.2"]));
    let reply = bench.ask("a.example.", RecordType::A).await;
    assert_eq!((reply.answers[0].ttl, reply.answers[0].data.to_string().as_str()), (0, "192.0.2.1"));
    settle().await;
    let reply = bench.ask("a.example.", RecordType::A).await;
    assert_eq!((reply.answers[0].ttl, reply.answers[0].data.to_string().as_str()), (30, "192.0.2.2"));
    assert_eq!(bench.asked(), 2);
    assert!(bench.metric(r#"coredns_cache_served_stale_total{server="dns://:53",zones=".",view=""} 1"#));
    // Not for ever.
    bench.wait(91.0);
    assert_eq!((bench.ttl("a.example.").await, bench.asked()), (30, 3));
}

#[tokio::test]
async fn while_the_source_is_down_what_was_true_stays() {
    for directive in ["cache {\n serve_stale\n}", "cache {\n serve_stale 1h verify\n}"] {
        let bench = Bench::new(directive);
        bench.says(answer(&["a.example. 30 A 192.0.2.1"]));
        bench.ttl("a.example.").await;
        bench.wait(31.0);
        bench.says(Reply::new("behind", ResponseCode::ServFail));
        for _ in 0..4 {
            assert_eq!(bench.ttl("a.example.").await, 0, "{directive}");
            settle().await;
        }
        assert_eq!(bench.asked(), 2, "{directive}: a failure is not repeated at once");
        bench.wait(6.0);
        assert_eq!(bench.ttl("a.example.").await, 0);
        settle().await;
        assert_eq!(bench.asked(), 3, "{directive}");
        // NXDOMAIN is a true answer.
        bench.wait(6.0);
        bench.says(denial(ResponseCode::NXDomain, 30, 30));
        bench.ask("a.example.", RecordType::A).await;
        settle().await;
        assert_eq!(bench.ask("a.example.", RecordType::A).await.rcode, ResponseCode::NXDomain, "{directive}");
    }
}

#[tokio::test]
async fn a_true_answer_may_be_looked_for_first() {
    let bench = Bench::new("cache {\n serve_stale 1h verify\n}");
    bench.says(answer(&["a.example. 30 A 192.0.2.1"]));
    bench.ttl("a.example.").await;
    bench.wait(31.0);
    assert_eq!((bench.ttl("a.example.").await, bench.asked()), (30, 2));
    // A failure itself is never served for longer than it is kept.
    bench.says(Reply::new("behind", ResponseCode::ServFail));
    bench.ask("b.example.", RecordType::A).await;
    bench.wait(6.0);
    bench.says(answer(&["b.example. 30 A 192.0.2.1"]));
    assert_eq!(bench.ttl("b.example.").await, 30);
}

#[tokio::test]
async fn refreshes_end_with_the_configuration() {
    let bench = Bench::new("cache {\n serve_stale\n}");
    bench.says(answer(&["a.example. 30 A 192.0.2.1"]));
    bench.ttl("a.example.").await;
    bench.wait(31.0);
    bench.world.stop.cancel();
    bench.says(answer(&["a.example. 30 A 192.0.2.2"]));
    bench.ttl("a.example.").await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let reply = bench.ask("a.example.", RecordType::A).await;
    assert_eq!(reply.answers[0].data.to_string(), "192.0.2.1");
}
