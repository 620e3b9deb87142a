//! Configurations in the place of one another: what goes on, what goes, and what is refused as a whole.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;

fn free_port() -> u16 {
    loop {
        // Below the ports that the system gives out by itself.
        let port = fastrand::u16(20_000..32_000);
        if std::net::TcpListener::bind(("0.0.0.0", port)).is_ok()
            && std::net::UdpSocket::bind(("0.0.0.0", port)).is_ok()
        {
            return port;
        }
    }
}

fn text(port: u16, more: &str) -> String {
    format!("cluster.local:{port} {{\n bind 127.0.0.1\n {more}\n kubernetes\n}}\n")
}

fn vip(id: u16) -> Vec<u8> {
    query(id, "vip.ns.svc.cluster.local.", RecordType::A)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_question_is_lost_while_listeners_change() {
    let port = free_port();
    let (service, _) = service(&text(port, "multisocket 1")).await;
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let client = tokio::spawn({
        let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
        async move {
            let mut lost = 0;
            while !stop.load(Ordering::Relaxed) {
                // A socket of its own each time: the kernel sends it wherever it likes.
                let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                socket.connect(to).await.unwrap();
                socket.send(&vip(1)).await.unwrap();
                let answer = timeout(PATIENCE, socket.recv(&mut [0; 512])).await;
                lost += usize::from(!matches!(answer, Ok(Ok(_))));
                asked.fetch_add(1, Ordering::Relaxed);
            }
            lost
        }
    });
    let mut stream = TcpStream::connect(to).await.unwrap();
    for round in 0..30 {
        // The same sockets twice, then others, then other limits.
        let more =
            ["multisocket 1", "loadbalance\nmultisocket 1", "multisocket 3", "timeouts {\n idle 60s\n }"];
        service.load(testing::config(&text(port, more[round % more.len()])).unwrap()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.store(true, Ordering::Relaxed);
    assert_eq!(client.await.unwrap(), 0, "of {}", asked.load(Ordering::Relaxed));
    assert!(asked.load(Ordering::Relaxed) > 20);
    // The connection of the first listener was told to end; another is taken.
    assert!(is_closed(&mut stream).await);
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(&framed(&vip(2))).await.unwrap();
    assert!(read_tcp(&mut stream).await.is_some());
}

#[tokio::test]
async fn a_port_of_somebody_else_changes_nothing() {
    let port = free_port();
    let (service, meters) = service(&text(port, "prometheus")).await;
    let before = service.addresses().await;
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let other = taken.local_addr().unwrap().port();
    let both = format!("{}{}", text(free_port(), "prometheus"), text(other, ""));
    let error = service.load(testing::config(&both).unwrap()).await.unwrap_err().to_string();
    assert_eq!(error, format!("cannot listen on 127.0.0.1:{other} (UDP): the port is in use"));
    assert_eq!(service.addresses().await, before);
    assert!(ask_udp(before[0].1, &vip(1)).await.is_some());
    let enabled = format!("coredns_plugin_enabled{{server=\"dns://127.0.0.1:{port}\"");
    assert!(meters.encode().unwrap().contains(&enabled));
    // What is wanted no more is left, and may be had by others.
    let next = free_port();
    service.load(testing::config(&text(next, "prometheus")).unwrap()).await.unwrap();
    assert!(!meters.encode().unwrap().contains(&enabled));
    let left = async {
        while std::net::UdpSocket::bind(("127.0.0.1", port)).is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, left).await.expect("the port is still taken");
}

#[tokio::test]
async fn connections_have_the_limits_of_their_block() {
    let port = free_port();
    let more = "timeouts {\n read 1s\n idle 60s\n max_queries 3\n }";
    let (_service, _) = service(&text(port, more)).await;
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect(to).await.unwrap();
    for id in 0..5 {
        let _ = stream.write_all(&framed(&vip(id))).await;
    }
    for id in 0..3 {
        assert_eq!(read_tcp(&mut stream).await.unwrap().metadata.id, id);
    }
    assert!(is_closed(&mut stream).await, "a fourth answer");
    // Idle for longer than a request may take, then half of one.
    let mut stream = TcpStream::connect(to).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1300)).await;
    let started = Instant::now();
    stream.write_all(&framed(&vip(1))[..7]).await.unwrap();
    assert!(is_closed(&mut stream).await);
    assert!((900..4000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
}
