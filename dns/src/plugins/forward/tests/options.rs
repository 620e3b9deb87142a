use super::*;
use crate::answer::Transport;

fn over_tcp(name: &str) -> Query {
    let mut query = testing::query(name, RecordType::A);
    query.peer.transport = Transport::Tcp;
    query
}

#[tokio::test]
async fn a_zone_and_its_exceptions_say_which_names_are_forwarded() {
    let fake = Fake::new(Manner::Good).await;
    let text = format!(
        ".:53 {{\n forward example.org {} {{\n except internal.example.org example.org\n }}\n whoami\n}}",
        fake.address
    );
    let router = testing::router(&text);
    for (name, forwarded) in [
        ("example.org.", true),
        ("a.example.org.", false),
        ("a.internal.example.org.", false),
        ("example.net.", false),
        ("notexample.org.", false),
    ] {
        assert_eq!(ask(&router, name).await.plugin == "forward", forwarded, "{name}");
    }
    let text = format!(".:53 {{\n forward 10.9.0.0/17 {}\n whoami\n}}", fake.address);
    let router = testing::router(&text);
    // Only the first of the zones that the range stands for.
    assert_eq!(ask(&router, "1.0.9.10.in-addr.arpa.").await.plugin, "forward");
    assert_eq!(ask(&router, "1.1.9.10.in-addr.arpa.").await.plugin, "whoami");
}

#[tokio::test]
async fn the_clients_transport_is_kept_unless_an_option_says_otherwise() {
    for (options, udp_client, tcp_client) in [
        ("", (1, 0), (0, 1)),
        ("force_tcp", (0, 1), (0, 1)),
        ("prefer_udp", (1, 0), (1, 0)),
        ("force_tcp\n prefer_udp", (0, 1), (0, 1)),
    ] {
        for (query, asked) in
            [(testing::query("a.example.", RecordType::A), udp_client), (over_tcp("a.example."), tcp_client)]
        {
            let fake = Fake::new(Manner::Good).await;
            let (reply, _) = ask_query(&forwarding(&[fake.address], options), query).await;
            assert!(is_good(&reply), "{options}");
            assert_eq!(fake.asked(), asked, "{options}");
        }
    }
    let only = Fake::new(Manner::OnlyTcp).await;
    assert!(is_good(&ask(&forwarding(&[only.address], "force_tcp"), "a.example.").await));
}

#[tokio::test]
async fn questions_beyond_the_bound_are_refused_at_once() {
    let fake = Fake::new(Manner::Slow(500)).await;
    let world = testing::world();
    let router = forwarding_in(&[fake.address], "max_concurrent 2", &world);
    let started = Instant::now();
    let asking = ["a.example.", "b.example.", "c.example."].map(|name| ask(&router, name));
    let [first, second, third] = futures::future::join_all(asking).await.try_into().unwrap();
    assert!(is_good(&first) && is_good(&second));
    assert_eq!(third.rcode, ResponseCode::Refused);
    assert_eq!(third.error.as_deref(), Some("concurrent queries exceeded maximum 2"));
    assert!(started.elapsed() < Duration::from_secs(1));
    let page = world.meters.encode().unwrap();
    assert!(page.contains("\ncoredns_forward_max_concurrent_rejects_total 1\n"), "{page}");
    assert!(is_good(&ask(&router, "d.example.").await));
}

#[tokio::test]
async fn policies_choose_who_is_asked_first() {
    let fakes = [Fake::new(Manner::Good).await, Fake::new(Manner::Good).await, Fake::new(Manner::Good).await];
    let addresses = fakes.each_ref().map(|fake| fake.address);
    let mut before = [0; 3];
    for (policy, wanted) in [
        ("policy sequential", [300..=300, 0..=0, 0..=0]),
        ("policy round_robin", [100..=100, 100..=100, 100..=100]),
        ("policy random", [60..=140, 60..=140, 60..=140]),
        ("", [60..=140, 60..=140, 60..=140]),
    ] {
        let router = forwarding(&addresses, policy);
        for at in 0..300 {
            ask(&router, &format!("name-{at}.example.")).await;
        }
        for ((fake, wanted), before) in fakes.iter().zip(wanted).zip(&mut before) {
            let asked = fake.asked().0 - *before;
            assert!(wanted.contains(&asked), "{policy}: {asked}");
            *before += asked;
        }
    }
}

#[tokio::test]
async fn some_answers_send_on_to_the_next_forward() {
    let (first, second) = (Fake::new(Manner::Good).await, Fake::new(Manner::Good).await);
    let chain = |options: &str| {
        testing::router(&format!(
            ".:53 {{\n forward . {} {{\n {options}\n }}\n forward . {} {{\n next NXDOMAIN\n }}\n whoami\n}}",
            first.address, second.address
        ))
    };
    let router = chain("next nxdomain REFUSED");
    for rcode in [ResponseCode::NXDomain, ResponseCode::Refused] {
        first.set(Manner::Says(rcode));
        assert!(is_good(&ask(&router, "a.example.").await), "{rcode}");
    }
    first.set(Manner::Says(ResponseCode::ServFail));
    assert_eq!(ask(&router, "a.example.").await.rcode, ResponseCode::ServFail);
    // After the last there is no other forward: its answer counts.
    first.set(Manner::Says(ResponseCode::NXDomain));
    second.set(Manner::Says(ResponseCode::NXDomain));
    let reply = ask(&router, "a.example.").await;
    assert_eq!((reply.rcode, reply.plugin), (ResponseCode::NXDomain, "forward"));
    // An empty answer is another matter.
    first.set(Manner::Good);
    second.set(Manner::Says(ResponseCode::NotImp));
    assert_eq!(ask(&router, "nothing.example.").await.rcode, ResponseCode::NoError);
    let router = chain("next_on_nodata");
    assert_eq!(ask(&router, "nothing.example.").await.rcode, ResponseCode::NotImp);
    assert!(is_good(&ask(&router, "a.example.").await));
}

#[tokio::test]
async fn some_answers_send_on_to_the_next_upstream() {
    let (first, second) = (Fake::new(Manner::Good).await, Fake::new(Manner::Good).await);
    let options = "policy sequential\n failover SERVFAIL REFUSED";
    let router = forwarding(&[first.address, second.address], options);
    for rcode in [ResponseCode::ServFail, ResponseCode::Refused] {
        first.set(Manner::Says(rcode));
        assert!(is_good(&ask(&router, "a.example.").await));
    }
    first.set(Manner::Says(ResponseCode::NXDomain));
    assert_eq!(ask(&router, "a.example.").await.rcode, ResponseCode::NXDomain);
    // All have been tried: the last answer.
    first.set(Manner::Says(ResponseCode::ServFail));
    second.set(Manner::Says(ResponseCode::Refused));
    let before = (first.asked().0, second.asked().0);
    assert_eq!(ask(&router, "a.example.").await.rcode, ResponseCode::Refused);
    assert_eq!((first.asked().0, second.asked().0), (before.0 + 1, before.1 + 1));
}

#[tokio::test]
async fn attempts_are_counted() {
    let good = Fake::new(Manner::Good).await;
    let dead = nobody().await;
    let options = |most: usize| format!("policy sequential\n max_fails 0\n max_connect_attempts {most}");
    let reply = ask(&forwarding(&[dead, good.address], &options(1)), "a.example.").await;
    assert_eq!((reply.rcode, good.asked()), (ResponseCode::ServFail, (0, 0)));
    assert!(is_good(&ask(&forwarding(&[dead, good.address], &options(2)), "a.example.").await));
}

#[tokio::test]
async fn upstreams_are_counted() {
    let fake = Fake::new(Manner::Good).await;
    let world = testing::world();
    let router = forwarding_in(&[fake.address], "", &world);
    ask(&router, "a.example.").await;
    fake.set(Manner::Says(ResponseCode::NXDomain));
    ask_query(&router, over_tcp("b.example.")).await;
    ask_query(&router, over_tcp("c.example.")).await;
    let to = format!(r#"proxy_name="forward",to="{}""#, fake.address);
    let page = world.meters.encode().unwrap();
    for line in [
        format!(r#"coredns_proxy_request_duration_seconds_count{{{to},rcode="NOERROR"}} 1"#),
        format!(r#"coredns_proxy_request_duration_seconds_count{{{to},rcode="NXDOMAIN"}} 2"#),
        format!(r#"coredns_proxy_conn_cache_misses_total{{{to},proto="udp"}} 1"#),
        format!(r#"coredns_proxy_conn_cache_misses_total{{{to},proto="tcp"}} 1"#),
        format!(r#"coredns_proxy_conn_cache_hits_total{{{to},proto="tcp"}} 1"#),
    ] {
        assert!(page.lines().any(|known| known == line), "{line}\nis not in\n{page}");
    }
    assert!(page.contains(r#"_bucket{le="8.192","#), "{page}");
}
