use super::*;

#[tokio::test]
async fn connections_are_used_again() {
    let fake = Fake::new(Manner::Good).await;
    let router = forwarding(&[fake.address], "force_tcp");
    for at in 0..10 {
        assert!(is_good(&ask(&router, &format!("name-{at}.example.")).await));
    }
    assert_eq!(fake.connections.load(Ordering::Relaxed), 1);
    // As many as there are questions at once.
    fake.set(Manner::Slow(100));
    let names: Vec<String> = (0..5).map(|at| format!("slow-{at}.example.")).collect();
    futures::future::join_all(names.iter().map(|name| ask(&router, name))).await;
    assert_eq!(fake.connections.load(Ordering::Relaxed), 5);
}

#[tokio::test]
async fn connections_are_not_kept_for_ever() {
    for (options, wanted) in
        [("expire 100ms", 3), ("max_age 100ms", 3), ("expire 0", 3), ("expire 10s\n max_idle_conns 1", 1)]
    {
        let fake = Fake::new(Manner::Good).await;
        let router = forwarding(&[fake.address], &format!("force_tcp\n {options}"));
        for at in 0..3 {
            ask(&router, &format!("name-{at}.example.")).await;
            sleep(Duration::from_millis(150)).await;
        }
        assert_eq!(fake.connections.load(Ordering::Relaxed), wanted, "{options}");
    }
}

#[tokio::test]
async fn connections_that_the_other_side_closed_are_no_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&served);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            // One answer on each connection.
            let length = stream.read_u16().await.unwrap();
            let mut bytes = vec![0; usize::from(length)];
            stream.read_exact(&mut bytes).await.unwrap();
            let reply = records(&Message::from_vec(&bytes).unwrap()).to_vec().unwrap();
            stream.write_u16(u16::try_from(reply.len()).unwrap()).await.unwrap();
            stream.write_all(&reply).await.unwrap();
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let router = forwarding(&[address], "force_tcp\n max_connect_attempts 1");
    for at in 0..5 {
        assert!(is_good(&ask(&router, &format!("name-{at}.example.")).await));
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(served.load(Ordering::Relaxed), 5);
}

#[tokio::test]
async fn a_late_reply_on_a_connection_is_not_the_next_ones() {
    // An upstream whose first reply on a connection is one to nobody.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let length = stream.read_u16().await.unwrap();
            let mut bytes = vec![0; usize::from(length)];
            stream.read_exact(&mut bytes).await.unwrap();
            let question = Message::from_vec(&bytes).unwrap();
            let mut late = records(&question);
            late.metadata.id = !question.metadata.id;
            late.answers[0].data = RData::A(rdata::A([6, 6, 6, 6].into()));
            for reply in [late, records(&question)] {
                let reply = reply.to_vec().unwrap();
                stream.write_u16(u16::try_from(reply.len()).unwrap()).await.unwrap();
                stream.write_all(&reply).await.unwrap();
            }
        }
    });
    assert!(is_good(&ask(&forwarding(&[address], "force_tcp"), "a.example.").await));
}
