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

#[tokio::test]
async fn lives_have_bounds() {
    // Directive, TTL of the record, lifetime.
    for (directive, ttl, wanted) in [
        ("cache", 7200, 3600),
        ("cache", 1, 5),
        ("cache", 0, 5),
        ("cache 30", 7200, 30),
        ("cache 30", 10, 10),
        ("cache 3", 60, 3),
        ("cache {\n success 5000 100\n}", 7200, 100),
        ("cache {\n success 5000 100 20\n}", 1, 20),
        ("cache {\n success 5000 100 0\n}", 1, 1),
        ("cache 30 {\n success 5000\n}", 7200, 30),
    ] {
        let bench = Bench::new(directive);
        bench.says(answer(&[&format!("a.example. {ttl} A 192.0.2.1")]));
        assert_eq!(bench.ttl("a.example.").await, wanted, "{directive} {ttl}");
        bench.wait(f64::from(wanted) - 0.5);
        assert_eq!((bench.ttl("a.example.").await, bench.asked()), (1, 1), "{directive} {ttl}");
        bench.wait(1.0);
        assert_eq!((bench.ttl("a.example.").await, bench.asked()), (wanted, 2), "{directive} {ttl}");
    }
    // Of denials the TTL of the SOA and its minimum count, whichever is less.
    for (directive, ttl, minimum, wanted) in [
        ("cache", 7200, 7200, 1800),
        ("cache", 300, 60, 60),
        ("cache", 60, 300, 60),
        ("cache", 1, 1, 5),
        ("cache 30", 300, 300, 30),
        ("cache {\n denial 5000 100 20\n}", 7200, 7200, 100),
        ("cache {\n denial 5000 100 20\n}", 3, 3, 20),
    ] {
        for rcode in [ResponseCode::NXDomain, ResponseCode::NoError] {
            let bench = Bench::new(directive);
            bench.says(denial(rcode, ttl, minimum));
            assert_eq!(bench.ttl("a.example.").await, wanted, "{directive} {ttl} {minimum}");
            bench.wait(f64::from(wanted) - 0.5);
            let reply = bench.ask("a.example.", RecordType::A).await;
            assert_eq!((reply.rcode, reply.plugin, bench.asked()), (rcode, "cache", 1));
            bench.wait(1.0);
            bench.ask("a.example.", RecordType::A).await;
            assert_eq!(bench.asked(), 2);
        }
    }
}

#[tokio::test]
async fn signatures_do_not_shorten_a_life() {
    let bench = Bench::new("cache");
    let mut signed = answer(&["a.example. 300 A 192.0.2.1"]);
    let signature = hickory_proto::rr::rdata::NULL::with(vec![0; 24]);
    let data = hickory_proto::rr::RData::Unknown { code: RecordType::RRSIG, rdata: signature };
    let name = Name::from_ascii("a.example.").unwrap();
    signed.answers.push(hickory_proto::rr::Record::from_rdata(name, 20, data));
    bench.says(signed);
    assert_eq!(bench.ttl("a.example.").await, 300);
}

#[tokio::test]
async fn failures_are_kept_shortly_or_not_at_all() {
    for (directive, seconds) in
        [("cache", 5.0), ("cache {\n servfail 30s\n}", 30.0), ("cache {\n servfail 0\n}", 0.0)]
    {
        for rcode in [ResponseCode::ServFail, ResponseCode::NotImp] {
            let bench = Bench::new(directive);
            bench.says(Reply::new("behind", rcode));
            for at in [0.0_f64, seconds - 0.5, 1.0] {
                bench.wait(at.max(0.0));
                assert_eq!(bench.ask("a.example.", RecordType::A).await.rcode, rcode);
            }
            assert_eq!(bench.asked(), if seconds > 0.0 { 2 } else { 3 }, "{directive}");
        }
    }
}

#[tokio::test]
async fn some_replies_are_never_kept() {
    let cut = Reply { truncated: true, ..answer(&["a.example. 60 A 192.0.2.1"]) };
    let cluster = Reply { from_cluster: true, ..answer(&["a.example. 60 A 192.0.2.1"]) };
    let unproved = Reply::new("behind", ResponseCode::NXDomain);
    let refused = Reply::new("behind", ResponseCode::Refused);
    let wide = Reply::new("behind", ResponseCode::BADCOOKIE);
    for reply in [cut, cluster, unproved, refused, wide, Reply::silence("behind")] {
        let bench = Bench::new("cache");
        bench.says(reply.clone());
        for _ in 0..2 {
            let got = bench.ask("a.example.", RecordType::A).await;
            assert_eq!((got.rcode, got.truncated, got.silent), (reply.rcode, reply.truncated, reply.silent));
        }
        assert_eq!(bench.asked(), 2, "{reply:?}");
    }
    let bench = Bench::new("cache");
    bench.says(answer(&["a.example. 60 A 192.0.2.1"]));
    for _ in 0..2 {
        bench.ask("a.example.", RecordType::AXFR).await;
    }
    assert_eq!(bench.asked(), 2);
    // A referral, for a moment.
    bench.says(Reply {
        answers: Vec::new(),
        authorities: vec![record("example. 3600 NS ns.example.")],
        ..answer(&[])
    });
    assert_eq!(bench.ttl("b.example.").await, 5);
    bench.ask("b.example.", RecordType::A).await;
    assert_eq!(bench.asked(), 3);
}

#[tokio::test]
async fn questions_that_differ_are_answered_apart() {
    let bench = Bench::new("cache");
    bench.says(answer(&["a.example. 60 A 192.0.2.1"]));
    let questions = [
        query("a.example.", |_| {}),
        query("b.example.", |_| {}),
        query("a.example.", dnssec_ok),
        query("a.example.", |request| request.checking_disabled = true),
        query("a.example.", |request| request.recursion_desired = !request.recursion_desired),
        testing::query("a.example.", RecordType::AAAA),
        {
            let mut other = query("a.example.", |_| {});
            other.question.qclass = 3;
            other
        },
        query("aexample.", |_| {}),
        Query { options: vec![(8, vec![0, 1, 24, 0, 192, 0, 2])], ..query("a.example.", |_| {}) },
        Query { options: vec![(8, vec![0, 1, 24, 0, 192, 0, 3])], ..query("a.example.", |_| {}) },
    ];
    for _ in 0..2 {
        for question in &questions {
            bench.ask_as(question.clone()).await;
        }
    }
    assert_eq!(bench.asked(), 10);
    // Neither the case of letters, nor AD, nor the transport makes a difference.
    for question in [
        query("A.EXAMPLE.", |_| {}),
        query("a.example.", |request| request.authentic_data = true),
        query("a.example.", |request| request.edns = None),
        Query { options: vec![(10, vec![1; 8])], ..query("a.example.", |_| {}) },
    ] {
        bench.ask_as(question).await;
    }
    assert_eq!(bench.asked(), 10);
}

#[tokio::test]
async fn authentic_data_is_said_to_those_who_know_what_it_is() {
    for kept in [false, true] {
        let bench = Bench::new("cache");
        bench.says(Reply { authentic_data: true, ..answer(&["a.example. 60 A 192.0.2.1"]) });
        for (change, said) in [
            ((|_| {}) as fn(&mut Request), false),
            (|request| request.authentic_data = true, true),
            (dnssec_ok, true),
        ] {
            if kept {
                bench.ask_as(query("a.example.", change)).await;
            }
            let reply = bench.ask_as(query("a.example.", change)).await;
            assert_eq!(reply.authentic_data, said, "kept: {kept}");
        }
    }
}

#[tokio::test]
async fn a_kept_answer_is_as_it_came() {
    let bench = Bench::new("cache");
    let first = Reply {
        authoritative: true,
        recursion_available: true,
        authorities: vec![record("example. 60 NS ns.example.")],
        additionals: vec![record("ns.example. 60 A 192.0.2.53")],
        ..answer(&["www.example. 60 CNAME a.Example.", "a.Example. 60 A 192.0.2.1"])
    };
    bench.says(first.clone());
    let got = bench.ask("www.example.", RecordType::A).await;
    let kept = bench.ask("WWW.example.", RecordType::A).await;
    assert_eq!((got.plugin, kept.plugin, bench.asked()), ("behind", "cache", 1));
    assert_eq!(got.answers, kept.answers);
    assert_eq!((got.authorities, got.additionals), (kept.authorities.clone(), kept.additionals.clone()));
    assert_eq!(kept.answers[0].name.to_ascii(), "WWW.example.");
    assert!(kept.authoritative && kept.recursion_available);
}

#[tokio::test]
async fn zones_and_exceptions_say_which_names_are_kept() {
    let bench = Bench::new("cache 30 example.org in-addr.arpa");
    bench.says(answer(&["a.example. 60 A 192.0.2.1"]));
    for (name, kept) in [("a.example.org.", true), ("example.net.", false), ("1.in-addr.arpa.", true)] {
        let before = bench.asked();
        let ttls = [bench.ttl(name).await, bench.ttl(name).await];
        assert_eq!(bench.asked() - before, if kept { 1 } else { 2 }, "{name}");
        assert_eq!(ttls, if kept { [30, 30] } else { [60, 60] }, "{name}");
    }
    let bench = Bench::new("cache 30 {\n disable success example.org\n disable denial example.net\n}");
    for (name, reply, kept) in [
        ("a.example.org.", answer(&["a.example. 60 A 192.0.2.1"]), false),
        ("b.example.org.", denial(ResponseCode::NXDomain, 60, 60), true),
        ("a.example.net.", answer(&["a.example. 60 A 192.0.2.1"]), true),
        ("b.example.net.", denial(ResponseCode::NXDomain, 60, 60), false),
        ("c.example.net.", Reply::new("behind", ResponseCode::ServFail), false),
    ] {
        bench.says(reply);
        let before = bench.asked();
        for _ in 0..2 {
            let reply = bench.ask(name, RecordType::A).await;
            // The bounds on TTLs are for all.
            let records = reply.answers.iter().chain(&reply.authorities);
            assert!(records.into_iter().all(|record| record.ttl == 30), "{name}");
        }
        assert_eq!(bench.asked() - before, if kept { 1 } else { 2 }, "{name}");
    }
    let bench = Bench::new("cache {\n disable success\n}");
    bench.says(answer(&["a.example. 60 A 192.0.2.1"]));
    bench.ttl("a.example.").await;
    bench.ttl("a.example.").await;
    assert_eq!(bench.asked(), 2);
}

#[tokio::test]
async fn ttls_may_stay_as_they_were() {
    let bench = Bench::new("cache {\n keepttl\n}");
    bench.says(answer(&["a.example. 60 A 192.0.2.1"]));
    bench.ttl("a.example.").await;
    bench.wait(59.0);
    assert_eq!((bench.ttl("a.example.").await, bench.asked()), (60, 1));
    bench.wait(2.0);
    assert_eq!((bench.ttl("a.example.").await, bench.asked()), (60, 2));
}

#[tokio::test]
async fn what_there_is_replaces_what_there_was_not_and_the_other_way_round() {
    let bench = Bench::new("cache 10");
    for _ in 0..2 {
        bench.says(answer(&["a.example. 60 A 192.0.2.1"]));
        for _ in 0..2 {
            assert_eq!(bench.ask("a.example.", RecordType::A).await.answers.len(), 1);
        }
        bench.wait(11.0);
        bench.says(denial(ResponseCode::NXDomain, 60, 60));
        for _ in 0..2 {
            assert_eq!(bench.ask("a.example.", RecordType::A).await.rcode, ResponseCode::NXDomain);
        }
        bench.wait(11.0);
    }
    assert_eq!(bench.asked(), 4);
    assert!(bench.metric(r#"coredns_cache_entries{server="dns://:53",type="success",zones=".",view=""} 0"#));
    assert!(bench.metric(r#"coredns_cache_entries{server="dns://:53",type="denial",zones=".",view=""} 1"#));
}

#[tokio::test]
async fn room_is_bounded_and_what_is_asked_for_stays() {
    let bench = Bench::new("cache {\n success 1024\n}");
    bench.says(answer(&["a.example. 60 A 192.0.2.1"]));
    for at in 0..5000 {
        bench.ttl(&format!("name-{at}.example.")).await;
        if at % 10 == 0 {
            bench.ttl("popular.example.").await;
        }
    }
    let asked = bench.asked();
    bench.ttl("popular.example.").await;
    assert_eq!(asked, bench.asked(), "the popular one is there");
    let page = bench.world.meters.encode().unwrap();
    let value = |name: &str| {
        let line = format!("{name}{{server=\"dns://:53\",type=\"success\",zones=\".\",view=\"\"}} ");
        page.lines().find_map(|known| known.strip_prefix(&line)?.parse::<u32>().ok()).unwrap()
    };
    let entries = value("coredns_cache_entries");
    assert!((700..=1100).contains(&entries), "{entries}");
    assert!((3900..=4400).contains(&value("coredns_cache_evictions_total")), "{page}");
    // Large ones count as several.
    let bench = Bench::new("cache {\n success 1024\n}");
    let large: Vec<String> =
        (0..200).map(|at| format!("a.example. 60 TXT {at}{}", "x".repeat(200))).collect();
    bench.says(answer(&large.iter().map(String::as_str).collect::<Vec<_>>()));
    for at in 0..200 {
        bench.ask(&format!("name-{at}.example."), RecordType::TXT).await;
    }
    let page = bench.world.meters.encode().unwrap();
    let line = r#"coredns_cache_entries{server="dns://:53",type="success",zones=".",view=""} "#;
    let entries: u32 = page.lines().find_map(|known| known.strip_prefix(line)?.parse().ok()).unwrap();
    assert!((5..40).contains(&entries), "{entries}");
}
