use super::*;

/// Waits until something is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(5), "{what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// The health checks that were seen.
fn checks(fake: &Fake) -> Vec<Message> {
    let seen = fake.seen.lock();
    let checks = seen.iter().filter(|(message, _)| message.queries[0].query_type() == RecordType::NS);
    checks.map(|(message, _)| message.clone()).collect()
}

#[tokio::test]
async fn health_is_checked_after_a_failure_until_it_is_good() {
    let (sick, well) = (Fake::new(Manner::Silent).await, Fake::new(Manner::Good).await);
    let world = testing::world();
    let options = "policy sequential\n health_check 50ms";
    let router = forwarding_in(&[sick.address, well.address], options, &world);
    ask(&forwarding(&[well.address], options), "a.example.").await;
    assert_eq!(checks(&well).len(), 0, "nothing failed");
    assert!(is_good(&ask(&router, "a.example.").await));
    let failures = || {
        let line = format!(
            "coredns_proxy_healthcheck_failures_total{{proxy_name=\"forward\",to=\"{}\"}} ",
            sick.address
        );
        let page = world.meters.encode().unwrap();
        page.lines().find_map(|known| known.strip_prefix(&line)?.parse::<u32>().ok()).unwrap_or_default()
    };
    until("three checks fail", || failures() > 2).await;
    // Down: it is not asked, and nobody waits for it.
    let started = Instant::now();
    assert!(is_good(&ask(&router, "b.example.").await));
    assert!(started.elapsed() < Duration::from_secs(1));
    let check = checks(&sick)[0].clone();
    assert_eq!(check.queries[0].name().to_ascii(), ".");
    assert!(check.metadata.recursion_desired && check.edns.is_none());
    // Whatever it says, it is well again.
    sick.set(Manner::Says(ResponseCode::Refused));
    let reply = async {
        loop {
            let reply = ask(&router, "c.example.").await;
            if reply.rcode == ResponseCode::Refused {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(5), reply).await.expect("it is asked again");
    sleep(Duration::from_millis(150)).await;
    let count = checks(&sick).len();
    sleep(Duration::from_millis(200)).await;
    assert_eq!(checks(&sick).len(), count, "no more checks");
}

#[tokio::test]
async fn checks_have_options() {
    let sick = Fake::new(Manner::Silent).await;
    let router =
        forwarding(&[sick.address], "health_check 50ms no_rec domain Example.ORG\n max_connect_attempts 1");
    ask(&router, "a.example.").await;
    until("a check", || !checks(&sick).is_empty()).await;
    let check = checks(&sick)[0].clone();
    assert_eq!(check.queries[0].name().to_ascii(), "example.org.");
    assert!(!check.metadata.recursion_desired);
    // Over TCP where that is how it is asked.
    let sick = Fake::new(Manner::Silent).await;
    let router = forwarding(&[sick.address], "force_tcp\n max_connect_attempts 1");
    ask(&router, "a.example.").await;
    until("a check", || !checks(&sick).is_empty()).await;
    assert_eq!(sick.asked().0, 0);
    // Not at all.
    let sick = Fake::new(Manner::Silent).await;
    let router = forwarding(&[sick.address], "max_fails 0\n max_connect_attempts 1");
    ask(&router, "a.example.").await;
    sleep(Duration::from_millis(200)).await;
    assert!(checks(&sick).is_empty());
}

#[tokio::test]
async fn where_all_are_down_any_is_tried_or_none() {
    let dead = nobody().await;
    for (options, wanted) in
        [("", "connection refused"), ("failfast_all_unhealthy_upstreams", "no healthy proxies")]
    {
        let world = testing::world();
        let router = forwarding_in(&[dead, dead], &format!("health_check 50ms\n {options}"), &world);
        let broken =
            || !world.meters.encode().unwrap().contains("\ncoredns_forward_healthcheck_broken_total 0\n");
        let started = Instant::now();
        while !broken() {
            let started_asking = Instant::now();
            let reply = ask(&router, "a.example.").await;
            assert_eq!(reply.rcode, ResponseCode::ServFail);
            assert!(started_asking.elapsed() < Duration::from_secs(1), "fails fast");
            assert!(started.elapsed() < Duration::from_secs(5), "they go down");
            sleep(Duration::from_millis(20)).await;
        }
        let error = ask(&router, "a.example.").await.error.unwrap();
        assert!(error.ends_with(wanted), "{error}");
    }
}

#[tokio::test]
async fn checks_end_with_the_configuration() {
    let sick = Fake::new(Manner::Silent).await;
    let world = testing::world();
    let router =
        forwarding_in(&[sick.address], "health_check 50ms\n force_tcp\n max_connect_attempts 1", &world);
    ask(&router, "a.example.").await;
    until("a check", || !checks(&sick).is_empty()).await;
    world.stop.cancel();
    sleep(Duration::from_millis(100)).await;
    let count = checks(&sick).len();
    sleep(Duration::from_millis(1500)).await;
    assert_eq!(checks(&sick).len(), count);
}
