//! What a forger can do, and what many clients at once can.

use std::collections::HashSet;

use super::*;

/// Forged replies at each question, and questions: a million together.
const FORGED: usize = 50_000;
const QUESTIONS: usize = 20;

/// A reply to this question that says 6.6.6.6.
fn forged(question: &Message) -> Vec<u8> {
    let mut reply = records(question);
    for record in &mut reply.answers {
        record.data = RData::A(rdata::A([6, 6, 6, 6].into()));
    }
    reply.to_vec().unwrap()
}

/// Sends, and lets the other side read now and then: a full buffer would hide what it does with what it gets.
async fn spray(socket: &UdpSocket, to: SocketAddr, count: usize, mut message: impl FnMut(usize) -> Vec<u8>) {
    for at in 0..count {
        // The port may have closed by now.
        let _ = socket.try_send_to(&message(at), to);
        if at % 64 == 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_forged_replies_are_not_believed() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let elsewhere = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let neighbour = UdpSocket::bind("127.0.0.2:0").await.unwrap();
    let router = forwarding(&[server.local_addr().unwrap()], "");
    for at in 0..QUESTIONS {
        let asking = tokio::spawn({
            let router = Arc::clone(&router);
            async move { ask(&router, &format!("name-{at}.example.")).await }
        });
        let mut buffer = [0; 2048];
        let (length, port) = server.recv_from(&mut buffer).await.unwrap();
        let question = Message::from_vec(&buffer[..length]).unwrap();
        let exact = forged(&question);
        // The right id and question, from another port and from another address.
        spray(&elsewhere, port, FORGED / 4, |_| exact.clone()).await;
        spray(&neighbour, port, FORGED / 4, |_| exact.clone()).await;
        // From the right address, with every id but the right one.
        let own = question.metadata.id;
        spray(&server, port, FORGED / 4, |at| {
            let mut message = exact.clone();
            message[..2].copy_from_slice(&own.wrapping_add(1 + (at % 65_535) as u16).to_be_bytes());
            message
        })
        .await;
        // With the right id, to another question: a name, a type, a class.
        spray(&server, port, FORGED / 4, |at| {
            let mut message = exact.clone();
            let name_length = question.queries[0].name().len();
            match at % 3 {
                0 => message[13] ^= 1,
                1 => message[12 + name_length + 1] = 28,
                _ => message[12 + name_length + 3] = 3,
            }
            message
        })
        .await;
        sleep(Duration::from_millis(5)).await;
        server.send_to(&records(&question).to_vec().unwrap(), port).await.unwrap();
        let reply = timeout(Duration::from_secs(5), async {
            tokio::pin!(asking);
            loop {
                tokio::select! {
                    reply = &mut asking => break reply.unwrap(),
                    // The real reply may have met a full buffer; then it is asked for again, as with real networks.
                    received = server.recv_from(&mut buffer) => {
                        let (length, port) = received.unwrap();
                        let question = Message::from_vec(&buffer[..length]).unwrap();
                        server.send_to(&records(&question).to_vec().unwrap(), port).await.unwrap();
                    }
                }
            }
        });
        assert!(is_good(&reply.await.unwrap()), "question {at}");
    }
}

#[tokio::test]
async fn ids_and_ports_cannot_be_foreseen() {
    let fake = Fake::new(Manner::Good).await;
    let router = forwarding(&[fake.address], "");
    for at in 0..500 {
        ask(&router, &format!("name-{at}.example.")).await;
    }
    let seen = fake.seen.lock();
    let ports: Vec<u16> = seen.iter().map(|(_, from)| from.port()).collect();
    let ids: Vec<u16> = seen.iter().map(|(message, _)| message.metadata.id).collect();
    // Of 500 out of 32,768 and 65,536 about four and two meet one that was there.
    let distinct = |values: &[u16]| values.iter().collect::<HashSet<_>>().len();
    assert!(distinct(&ports) > 470, "{} ports", distinct(&ports));
    assert!(distinct(&ids) > 480, "{} ids", distinct(&ids));
    assert!(ports.iter().all(|port| *port >= 32_768));
    // Each bit of an id, and each but the first of a port, is set about half of the time.
    for (values, bits) in [(&ports, 15), (&ids, 16)] {
        for bit in 0..bits {
            let set = values.iter().filter(|value| **value >> bit & 1 == 1).count();
            assert!((170..330).contains(&set), "bit {bit} is set in {set} of 500");
        }
        let rising = values.windows(2).filter(|pair| pair[0] < pair[1]).count();
        assert!((170..330).contains(&rising), "{rising} of 499 are above the one before");
    }
}

#[tokio::test]
async fn equal_questions_under_way_are_asked_once() {
    let fake = Fake::new(Manner::Slow(200)).await;
    let router = forwarding(&[fake.address], "");
    let names = ["same.example.", "SAME.example.", "Same.Example."];
    let asking = (0..300).map(|at| ask(&router, names[at % 3]));
    let replies = futures::future::join_all(asking).await;
    assert!(replies.iter().all(is_good));
    assert_eq!(replies[1].answers[0].name.to_ascii(), "SAME.example.");
    assert_eq!(fake.asked().0, 1);
    // Another type, another flag is another question; afterwards it is asked anew.
    let mut signed = (*testing::query("same.example.", RecordType::A).request).clone();
    signed.edns.as_mut().unwrap().dnssec_ok = true;
    let signed = Query { request: Arc::new(signed), ..testing::query("same.example.", RecordType::A) };
    let other = testing::ask(&router, "same.example.", RecordType::AAAA);
    let _ = tokio::join!(ask(&router, "same.example."), other, ask_query(&router, signed));
    assert_eq!(fake.asked().0, 4);
}

#[tokio::test]
async fn an_exchange_goes_on_without_the_one_that_began_it_and_ends_with_the_last() {
    let fake = Fake::new(Manner::Slow(300)).await;
    let router = forwarding(&[fake.address], "max_concurrent 2");
    let spawn = |name: &'static str| {
        let router = Arc::clone(&router);
        tokio::spawn(async move { ask(&router, name).await })
    };
    let (first, second) = (spawn("a.example."), spawn("a.example."));
    sleep(Duration::from_millis(100)).await;
    first.abort();
    assert!(is_good(&second.await.unwrap()));
    assert_eq!(fake.asked().0, 1);
    // All gone: places and exchange are given back at once.
    let (first, second) = (spawn("b.example."), spawn("b.example."));
    sleep(Duration::from_millis(100)).await;
    first.abort();
    second.abort();
    let _ = tokio::join!(first, second);
    let (third, fourth) = tokio::join!(ask(&router, "b.example."), ask(&router, "b.example."));
    assert!(is_good(&third) && is_good(&fourth));
    assert_eq!(fake.asked().0, 3);
}

#[tokio::test]
async fn letters_of_random_case_are_to_be_repeated() {
    let fake = Fake::new(Manner::Good).await;
    let router = forwarding(&[fake.address], "randomize_case");
    for _ in 0..8 {
        let reply = ask(&router, "a-name-with-many-letters.example.").await;
        assert_eq!(text(&reply.answers), ["a-name-with-many-letters.example. 192.0.2.9"]);
    }
    let seen: HashSet<String> =
        fake.seen.lock().iter().map(|(message, _)| message.queries[0].name().to_ascii()).collect();
    assert!(seen.len() > 6, "{seen:?}");
    // Whoever does not repeat them is no upstream of ours.
    fake.set(Manner::Shouts);
    assert_eq!(ask(&router, "a-name-with-many-letters.example.").await.rcode, ResponseCode::ServFail);
}
