//! What happens to others while questions wait that nobody answers.

use super::{super::places::Places, *};

/// A server whose upstream says nothing, with so many places to wait in.
async fn waiting(places: usize) -> (Running, UdpSocket) {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let upstream = silent.local_addr().unwrap();
    // With `log` names of the cluster take the slow way too.
    let text = format!(".:53 {{\n log\n kubernetes cluster.local\n forward . {upstream}\n}}");
    let shared = Arc::new(Shared { places: Arc::new(Places::of(places, places)), ..Shared::default() });
    let handler = Front::new(testing::router(&text), Arc::clone(&shared));
    let limits = Limits { udp_sockets: 1, ..Limits::default() };
    (start_with("127.0.0.1:0", handler, limits, Arc::clone(&shared.tallies)), silent)
}

async fn is_answered(to: SocketAddr, name: &str) -> bool {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&query(1, name, RecordType::A), to).await.unwrap();
    let mut buffer = [0; 512];
    timeout(Duration::from_millis(300), socket.recv(&mut buffer)).await.is_ok()
}

/// How many questions the upstream was asked.
fn asked(silent: &UdpSocket) -> usize {
    let mut buffer = [0; 512];
    std::iter::from_fn(|| silent.try_recv(&mut buffer).ok()).count()
}

#[tokio::test]
async fn names_that_need_nobody_are_answered_while_every_place_is_taken() {
    let (server, silent) = waiting(2).await;
    for number in 0..6 {
        assert!(!is_answered(server.address, &format!("host-{number}.example.com.")).await);
    }
    assert!(scrape(&server.metrics).contains("callsign_dns_questions_dropped_total 4\n"));
    assert_eq!(asked(&silent), 2, "nobody waits for the others");
    assert!(is_answered(server.address, "vip.ns.svc.cluster.local.").await);
    assert!(is_answered(server.address, "nosuch.ns.svc.cluster.local.").await);
    // Over TCP too.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    for name in ["www.example.com.", "heads.ns.svc.cluster.local."] {
        stream.write_all(&framed(&query(7, name, RecordType::A))).await.unwrap();
    }
    assert_eq!(read_tcp(&mut stream).await.unwrap().answers.len(), 3);
}
