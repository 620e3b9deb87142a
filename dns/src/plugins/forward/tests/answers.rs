use super::*;
use crate::answer::{Edns, Request, Transport};

#[tokio::test]
async fn names_of_others_are_asked_upstream() {
    for manner in [Manner::Good, Manner::Truncates, Manner::Noisy, Manner::Shouts, Manner::Old, Manner::Older]
    {
        let fake = Fake::new(manner).await;
        let router = forwarding(&[fake.address], "");
        let reply = ask(&router, "Other.Example.").await;
        assert_eq!(text(&reply.answers), ["Other.Example. 192.0.2.9"], "{manner:?}");
        assert!(reply.recursion_available && !reply.truncated);
        assert_eq!((reply.plugin, reply.from_cluster, reply.error), ("forward", false, None));
        assert_eq!(ask(&router, "many.example.com.").await.answers.len(), 60, "{manner:?}");
    }
}

#[tokio::test]
async fn an_alias_brings_what_it_leads_to_and_nothing_else() {
    let router = forwarding(&[Fake::new(Manner::Good).await.address], "");
    let reply = ask(&router, "www.example.com.").await;
    assert_eq!(text(&reply.answers), ["www.example.com. host.example.com.", "host.example.com. 192.0.2.9"]);
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_has_a_neighbour() {
    let good = Fake::new(Manner::Good).await;
    let silent = Fake::new(Manner::Silent).await.address;
    let other = Fake::new(Manner::OtherQuestion).await.address;
    let garbage = Fake::new(Manner::Garbage).await.address;
    for first in [nobody().await, silent, other, garbage] {
        let router = forwarding(&[first, good.address], "policy sequential");
        assert!(is_good(&ask(&router, "a.example.").await), "{first}");
    }
}

#[tokio::test]
async fn what_an_upstream_says_is_passed_on() {
    let fake = Fake::new(Manner::Good).await;
    let good = Fake::new(Manner::Good).await;
    let router = forwarding(&[fake.address, good.address], "policy sequential");
    for rcode in [ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::NXDomain, ResponseCode::NotImp]
    {
        fake.set(Manner::Says(rcode));
        let reply = ask(&router, "a.example.").await;
        assert_eq!((reply.rcode, reply.answers.len(), reply.error), (rcode, 0, None));
    }
    assert_eq!(good.asked(), (0, 0));
}

#[tokio::test]
async fn failures_are_told_as_coredns_tells_them() {
    let dead = nobody().await;
    let reply = ask(&forwarding(&[dead], ""), "a.example.").await;
    assert_eq!(reply.rcode, ResponseCode::ServFail);
    let error = reply.error.unwrap();
    let rest = error.strip_prefix("read udp 127.0.0.1:").unwrap_or_else(|| panic!("{error}"));
    let port: u16 = rest.split("->").next().unwrap().parse().unwrap();
    assert!(port >= 32_768, "{error}");
    assert!(rest.ends_with(&format!("->{dead}: read: connection refused")), "{error}");
    let reply = ask(&forwarding(&[dead], "force_tcp"), "a.example.").await;
    assert_eq!(reply.error.unwrap(), format!("dial tcp {dead}: connect: connection refused"));
    let silent = Fake::new(Manner::Silent).await.address;
    let started = Instant::now();
    let error = ask(&forwarding(&[silent], ""), "a.example.").await.error.unwrap();
    assert!(error.ends_with(&format!("->{silent}: i/o timeout")), "{error}");
    assert!((4..6).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
}

#[tokio::test]
async fn what_the_client_asked_for_goes_along() {
    let fake = Fake::new(Manner::Good).await;
    let router = forwarding(&[fake.address], "");
    let plain = testing::query("a.Example.", RecordType::TXT);
    let request = Request {
        authentic_data: true,
        checking_disabled: true,
        recursion_desired: false,
        edns: Some(Edns { payload: 4096, version: 0, dnssec_ok: true, has_options: true }),
        ..(*plain.request).clone()
    };
    // A client's network goes on (RFC 7871), its cookie, keepalive and padding do not.
    let network = (8, vec![0, 1, 24, 0, 192, 0, 2]);
    let options = vec![(10, vec![1; 8]), network.clone(), (11, vec![]), (12, vec![0; 20])];
    ask_query(&router, Query { request: Arc::new(request), options, ..plain }).await;
    ask_query(&router, testing::query("b.example.", RecordType::A)).await;
    let seen = fake.seen.lock();
    let (first, second) = (&seen[0].0, &seen[1].0);
    assert_eq!(first.queries[0].name().to_ascii(), "a.Example.");
    assert_eq!(first.queries[0].query_type(), RecordType::TXT);
    let flags = |message: &Message| {
        let metadata = message.metadata;
        (metadata.recursion_desired, metadata.authentic_data, metadata.checking_disabled)
    };
    assert_eq!(flags(first), (false, true, true));
    assert_eq!(flags(second), (true, false, false));
    let edns = first.edns.as_ref().unwrap();
    assert_eq!((edns.max_payload(), edns.flags().dnssec_ok), (1232, true));
    let bytes = first.to_vec().unwrap();
    assert_eq!(Request::options(&bytes), [network]);
    let edns = second.edns.as_ref().unwrap();
    assert_eq!((edns.max_payload(), edns.flags().dnssec_ok), (1232, false));
}

#[tokio::test]
async fn the_upstream_is_known_afterwards() {
    let fake = Fake::new(Manner::Good).await;
    let router = forwarding(&[fake.address], "");
    let (_, query) = ask_query(&router, testing::query("a.example.", RecordType::A)).await;
    assert_eq!(query.metadatum("forward/upstream"), Some(fake.address.to_string().as_str()));
}

#[tokio::test]
async fn a_transfer_is_not_forwarded() {
    let fake = Fake::new(Manner::Good).await;
    let router = forwarding(&[fake.address], "");
    let mut query = testing::query("example.", RecordType::AXFR);
    query.peer.transport = Transport::Tcp;
    assert_eq!(ask_query(&router, query).await.0.rcode, ResponseCode::Refused);
    assert_eq!(fake.asked(), (0, 0));
}

#[tokio::test]
async fn what_came_before_the_end_is_asked_once() {
    let world = testing::world();
    let good = forwarding_in(&[Fake::new(Manner::Good).await.address], "", &world);
    let dead = forwarding_in(&[nobody().await], "", &world);
    world.stop.cancel();
    assert!(is_good(&ask(&good, "other.example.").await));
    let failed = ask(&dead, "other.example.").await.error;
    assert!(failed.as_ref().is_some_and(|error| error.contains("connection refused")), "{failed:?}");
}
