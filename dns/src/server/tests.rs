use std::net::Ipv4Addr;

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata},
};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinHandle,
    time::timeout,
};

use super::*;
use crate::testing;

const PATIENCE: Duration = Duration::from_secs(5);

/// A server that runs until the test ends.
struct Running {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
    metrics: Arc<Metrics>,
}

fn start(listen: &str, forward: Option<Forward>, limits: Limits) -> Running {
    let metrics = Arc::new(Metrics::new("dns://:53"));
    let handler = ClusterHandler::new(Arc::new(testing::zone()), forward, Arc::clone(&metrics));
    start_with(listen, handler, limits, metrics)
}

fn start_with<H: Handler>(listen: &str, handler: H, limits: Limits, metrics: Arc<Metrics>) -> Running {
    let server = Server::bind(&[listen.parse().unwrap()], Arc::new(handler), limits).unwrap();
    let address = server.local_addrs()[0];
    assert_ne!(address.port(), 0);
    let stop = CancellationToken::new();
    let task = tokio::spawn(server.run(stop.clone()));
    Running { address, stop, task, metrics }
}

fn query(id: u16, name: &str, qtype: RecordType) -> Vec<u8> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), qtype));
    message.to_vec().unwrap()
}

async fn ask_udp(to: SocketAddr, question: &[u8]) -> Option<Message> {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await.unwrap();
    // Connected: an answer from another address than the asked one is not taken.
    socket.connect(to).await.unwrap();
    socket.send(question).await.unwrap();
    let mut buffer = [0; 2048];
    let length = timeout(PATIENCE, socket.recv(&mut buffer)).await.ok()?.unwrap();
    Some(Message::from_vec(&buffer[..length]).unwrap())
}

fn framed(message: &[u8]) -> Vec<u8> {
    let mut framed = u16::try_from(message.len()).unwrap().to_be_bytes().to_vec();
    framed.extend_from_slice(message);
    framed
}

async fn read_tcp(stream: &mut TcpStream) -> Option<Message> {
    let length = timeout(PATIENCE, stream.read_u16()).await.expect("no answer in time").ok()?;
    let mut reply = vec![0; usize::from(length)];
    stream.read_exact(&mut reply).await.unwrap();
    Some(Message::from_vec(&reply).unwrap())
}

/// Whether the server ends the connection.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut byte = [0; 1];
    matches!(timeout(PATIENCE, stream.read(&mut byte)).await, Ok(Ok(0) | Err(_)))
}

#[tokio::test]
async fn both_protocols_answer_on_one_port() {
    let server = start("127.0.0.1:0", None, Limits::default());
    let question = query(9, "vip.ns.svc.cluster.local.", RecordType::A);
    let udp = ask_udp(server.address, &question).await.unwrap();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&framed(&question)).await.unwrap();
    let tcp = read_tcp(&mut stream).await.unwrap();
    assert_eq!(udp, tcp);
    assert_eq!(udp.answers[0].data.to_string(), "10.96.0.1");
    let other = ask_udp(server.address, &query(1, "www.example.com.", RecordType::A)).await.unwrap();
    assert_eq!(other.metadata.response_code, ResponseCode::Refused);
    // A truncated answer is whole over TCP.
    let big = query(2, "big.ns.svc.cluster.local.", RecordType::A);
    assert!(ask_udp(server.address, &big).await.unwrap().metadata.truncation);
    stream.write_all(&framed(&big)).await.unwrap();
    assert_eq!(read_tcp(&mut stream).await.unwrap().answers.len(), 150);
}

#[tokio::test]
async fn a_wildcard_socket_answers_from_the_address_that_was_asked() {
    let server = start("0.0.0.0:0", None, Limits::default());
    let question = query(9, "vip.ns.svc.cluster.local.", RecordType::A);
    for address in [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 53), Ipv4Addr::new(127, 1, 2, 3)] {
        let to = SocketAddr::from((address, server.address.port()));
        assert!(ask_udp(to, &question).await.is_some(), "{address} does not answer");
    }
    if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).await.is_ok() {
        let server = start("[::]:0", None, Limits::default());
        let to = SocketAddr::from((Ipv6Addr::LOCALHOST, server.address.port()));
        assert!(ask_udp(to, &question).await.is_some());
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let bind = |address: SocketAddr| {
        let handler = ClusterHandler::new(Arc::new(testing::zone()), None, Arc::new(Metrics::new("")));
        Server::bind(&[address], Arc::new(handler), Limits::default()).map(|_| ()).unwrap_err()
    };
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let error = bind(address);
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert_eq!(error.to_string(), format!("cannot listen on {address} (TCP): the port is in use"));
    drop(tcp);
    let udp = UdpSocket::bind(address).await.unwrap();
    assert_eq!(bind(address).to_string(), format!("cannot listen on {address} (UDP): the port is in use"));
    drop(udp);
    let server = start(&address.to_string(), None, Limits::default());
    assert_eq!(bind(address).kind(), io::ErrorKind::AddrInUse, "a second server of ours");
    server.stop.cancel();
}

#[tokio::test]
async fn requests_on_one_connection_may_come_in_any_pieces() {
    let server = start("127.0.0.1:0", None, Limits::default());
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let mut bytes = Vec::new();
    for id in 0..20 {
        bytes.extend(framed(&query(id, "heads.ns.svc.cluster.local.", RecordType::A)));
    }
    let (first, rest) = bytes.split_at(31);
    for byte in first {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    stream.write_all(rest).await.unwrap();
    // The client has nothing more to say, and is owed every answer.
    stream.shutdown().await.unwrap();
    for id in 0..20 {
        assert_eq!(read_tcp(&mut stream).await.unwrap().metadata.id, id);
    }
    assert!(is_closed(&mut stream).await);
}

#[tokio::test]
async fn slow_and_greedy_clients_are_let_go() {
    let limits = Limits {
        tcp_idle: Duration::from_millis(300),
        tcp_connections: 3,
        tcp_connections_per_client: 2,
        tcp_request: 100,
        ..Limits::default()
    };
    let server = start("127.0.0.1:0", None, limits);
    let question = framed(&query(1, "vip.ns.svc.cluster.local.", RecordType::A));
    let mut one = TcpStream::connect(server.address).await.unwrap();
    one.write_all(&question).await.unwrap();
    assert!(read_tcp(&mut one).await.is_some());
    let started = std::time::Instant::now();
    let mut two = TcpStream::connect(server.address).await.unwrap();
    two.write_all(&question).await.unwrap();
    assert!(read_tcp(&mut two).await.is_some());
    let mut three = TcpStream::connect(server.address).await.unwrap();
    assert!(is_closed(&mut three).await, "a third connection of one client");
    // A byte now and then buys no time.
    let trickle = async {
        for byte in question.iter().cycle() {
            if two.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    };
    // Fewer bytes than a request within the time: the connection ends in the middle of one.
    timeout(PATIENCE, trickle).await.expect("the slow connection was not ended");
    assert!(started.elapsed() >= Duration::from_millis(300));
    assert!(is_closed(&mut one).await);
    // The places are free again.
    let mut four = TcpStream::connect(server.address).await.unwrap();
    four.write_all(&question).await.unwrap();
    assert!(read_tcp(&mut four).await.is_some());
    // More than a request is.
    four.write_all(&[0x10, 0]).await.unwrap();
    assert!(is_closed(&mut four).await);
}

#[tokio::test]
async fn a_stopped_server_leaves_its_port() {
    let server = start("127.0.0.1:0", None, Limits::default());
    let question = query(1, "vip.ns.svc.cluster.local.", RecordType::A);
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&framed(&question)).await.unwrap();
    assert!(read_tcp(&mut stream).await.is_some());
    server.stop.cancel();
    timeout(PATIENCE, server.task).await.unwrap().unwrap();
    assert!(is_closed(&mut stream).await);
    let again = start(&server.address.to_string(), None, Limits::default());
    assert!(ask_udp(again.address, &question).await.is_some());
}

struct Panics(Arc<Metrics>);

impl Handler for Panics {
    fn handle(&self, request: &[u8], _: Peer, out: &mut Vec<u8>) -> Handled {
        assert!(request.len() > 1, "on purpose");
        out.clear();
        out.extend_from_slice(request);
        Handled::Reply
    }

    fn panicked(&self) {
        self.0.panicked();
    }
}

#[tokio::test]
async fn a_panic_costs_one_request() {
    let metrics = Arc::new(Metrics::new("dns://:53"));
    let server = start_with("127.0.0.1:0", Panics(Arc::clone(&metrics)), Limits::default(), metrics);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server.address).await.unwrap();
    for _ in 0..4 {
        socket.send(&[1]).await.unwrap();
    }
    socket.send(b"alive").await.unwrap();
    let mut buffer = [0; 16];
    let length = timeout(PATIENCE, socket.recv(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(&buffer[..length], b"alive");
    assert!(scrape(&server.metrics).contains("coredns_panics_total 4"));
}

fn scrape(metrics: &Arc<Metrics>) -> String {
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    text
}

#[tokio::test]
async fn questions_and_answers_are_counted() {
    let server = start("127.0.0.1:0", None, Limits { udp_sockets: 3, ..Limits::default() });
    for (name, qtype) in [("vip", RecordType::A), ("vip", RecordType::A), ("nosuch", RecordType::SRV)] {
        ask_udp(server.address, &query(1, &format!("{name}.ns.svc.cluster.local."), qtype)).await.unwrap();
    }
    let text = scrape(&server.metrics);
    let block = r#"server="dns://:53",zone=".",view="""#;
    for line in [
        format!(r#"coredns_dns_requests_total{{{block},proto="udp",family="1",type="A"}} 2"#),
        format!(r#"coredns_dns_requests_total{{{block},proto="udp",family="1",type="SRV"}} 1"#),
        format!(r#"coredns_dns_responses_total{{{block},rcode="NOERROR",plugin=""}} 2"#),
        format!(r#"coredns_dns_responses_total{{{block},rcode="NXDOMAIN",plugin=""}} 1"#),
        format!(r#"coredns_dns_request_duration_seconds_bucket{{le="8.192",{block}}} 3"#),
        format!(r#"coredns_dns_request_duration_seconds_count{{{block}}} 3"#),
        format!(r#"coredns_dns_request_size_bytes_bucket{{le="100.0",{block},proto="udp"}} 3"#),
        format!(r#"coredns_dns_response_size_bytes_bucket{{le="+Inf",{block},proto="udp"}} 3"#),
    ] {
        assert!(text.lines().any(|known| known == line), "{line}\nis not in\n{text}");
    }
}

// === Forwarding ===

/// What an upstream does with a question.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    Good,
    Silent,
    Fails,
    /// Over UDP says that the answer is too large.
    Truncates,
    /// Sends replies that answer something else before the right one.
    Noisy,
}

/// An upstream server on a loopback address, on both protocols.
async fn upstream(manner: Manner) -> SocketAddr {
    let (socket, listener) = loop {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(listener) = TcpListener::bind(socket.local_addr().unwrap()).await {
            break (socket, listener);
        }
    };
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            let question = Message::from_vec(&buffer[..length]).unwrap();
            let mut reply = records(&question);
            match manner {
                Manner::Silent => continue,
                Manner::Good => {}
                Manner::Fails => {
                    reply.answers.clear();
                    reply.metadata.response_code = ResponseCode::ServFail;
                }
                Manner::Truncates => {
                    reply.answers.clear();
                    reply.metadata.truncation = true;
                }
                Manner::Noisy => {
                    let mut other_id = reply.clone();
                    other_id.metadata.id = !reply.metadata.id;
                    let mut other_name = reply.clone();
                    other_name.queries =
                        vec![Query::query(Name::from_ascii("forged.example.").unwrap(), RecordType::A)];
                    let mut no_reply = reply.clone();
                    no_reply.metadata.message_type = MessageType::Query;
                    for mut noise in [other_id, other_name, no_reply] {
                        noise.answers[0].data = RData::A(rdata::A(Ipv4Addr::new(6, 6, 6, 6)));
                        socket.send_to(&noise.to_vec().unwrap(), from).await.unwrap();
                    }
                    socket.send_to(&[0; 5], from).await.unwrap();
                }
            }
            socket.send_to(&reply.to_vec().unwrap(), from).await.unwrap();
        }
    });
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let question = read_tcp(&mut stream).await.unwrap();
            stream.write_all(&framed(&records(&question).to_vec().unwrap())).await.unwrap();
        }
    });
    address
}

/// `www.example.com` is an alias of `host.example.com`, 192.0.2.9; sixty addresses at `many.example.com`.
fn records(question: &Message) -> Message {
    let name = |text: &str| Name::from_ascii(text).unwrap();
    let mut reply = Message::response(question.metadata.id, OpCode::Query);
    reply.metadata.recursion_available = true;
    reply.queries = question.queries.clone();
    reply.edns = question.edns.clone();
    let asked = question.queries[0].name().clone();
    let address = |owner: Name, last: u8| {
        Record::from_rdata(owner, 60, RData::A(rdata::A(Ipv4Addr::new(192, 0, 2, last))))
    };
    if asked == name("www.example.com.") {
        reply.answers.push(Record::from_rdata(
            asked,
            60,
            RData::CNAME(rdata::CNAME(name("host.example.com."))),
        ));
        reply.answers.push(address(name("host.example.com."), 9));
        reply.answers.push(address(name("unasked.example.com."), 66));
    } else if asked == name("many.example.com.") {
        reply.answers.extend((0..60).map(|last| address(asked.clone(), last)));
    } else {
        reply.answers.push(address(asked, 9));
    }
    reply
}

fn forward(upstreams: &[SocketAddr]) -> Option<Forward> {
    let limits =
        ForwardLimits { concurrent: 2, attempt: Duration::from_millis(500), total: Duration::from_secs(2) };
    Some(Forward::new(upstreams.to_vec(), limits))
}

#[tokio::test]
async fn names_of_others_are_asked_upstream() {
    for manner in [Manner::Good, Manner::Noisy, Manner::Truncates] {
        let server = start("127.0.0.1:0", forward(&[upstream(manner).await]), Limits::default());
        let question = query(77, "Other.Example.", RecordType::A);
        let reply = ask_udp(server.address, &question).await.unwrap();
        assert_eq!((reply.metadata.id, reply.metadata.recursion_available), (77, true), "{manner:?}");
        assert_eq!(reply.answers[0].data.to_string(), "192.0.2.9", "{manner:?}");
        assert_eq!(reply.queries[0].name().to_ascii(), "Other.Example.");
        assert!(reply.edns.is_none());
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(&framed(&question)).await.unwrap();
        assert_eq!(read_tcp(&mut stream).await.unwrap().answers.len(), 1);
    }
}

#[tokio::test]
async fn an_upstream_that_fails_has_a_neighbour() {
    let dead = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let good = upstream(Manner::Good).await;
    for first in [dead, upstream(Manner::Silent).await, upstream(Manner::Fails).await] {
        let server = start("127.0.0.1:0", forward(&[first, good]), Limits::default());
        for _ in 0..2 {
            let reply = ask_udp(server.address, &query(1, "a.example.", RecordType::A)).await.unwrap();
            assert_eq!(reply.answers.len(), 1);
        }
    }
    let server = start("127.0.0.1:0", forward(&[dead]), Limits::default());
    let reply = ask_udp(server.address, &query(1, "a.example.", RecordType::A)).await.unwrap();
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    // Names of the cluster do not notice.
    let ours = ask_udp(server.address, &query(1, "vip.ns.svc.cluster.local.", RecordType::A)).await.unwrap();
    assert_eq!(ours.answers.len(), 1);
}

#[tokio::test]
async fn an_alias_out_of_the_cluster_is_followed_upstream() {
    let server = start("127.0.0.1:0", forward(&[upstream(Manner::Good).await]), Limits::default());
    let reply = ask_udp(server.address, &query(1, "out.ns.svc.cluster.local.", RecordType::A)).await.unwrap();
    let answers: Vec<String> = reply.answers.iter().map(|r| format!("{} {}", r.name, r.data)).collect();
    assert_eq!(
        answers,
        [
            "out.ns.svc.cluster.local. www.example.com.",
            "www.example.com. host.example.com.",
            "host.example.com. 192.0.2.9",
        ]
    );
    let dead = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let server = start("127.0.0.1:0", forward(&[dead]), Limits::default());
    let reply = ask_udp(server.address, &query(1, "out.ns.svc.cluster.local.", RecordType::A)).await.unwrap();
    assert_eq!((reply.metadata.response_code, reply.answers.len()), (ResponseCode::NoError, 1));
}

#[tokio::test]
async fn a_large_reply_is_cut_for_a_small_client() {
    let server = start("127.0.0.1:0", forward(&[upstream(Manner::Good).await]), Limits::default());
    let question = query(5, "many.example.com.", RecordType::A);
    let reply = ask_udp(server.address, &question).await.unwrap();
    assert!(reply.metadata.truncation && reply.answers.is_empty());
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&framed(&question)).await.unwrap();
    assert_eq!(read_tcp(&mut stream).await.unwrap().answers.len(), 60);
}

#[tokio::test]
async fn questions_beyond_the_bound_are_refused_and_answers_go_out_as_they_come() {
    let server = start("127.0.0.1:0", forward(&[upstream(Manner::Silent).await]), Limits::default());
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    for id in 0..3 {
        stream.write_all(&framed(&query(id, "a.example.", RecordType::A))).await.unwrap();
    }
    stream.write_all(&framed(&query(9, "vip.ns.svc.cluster.local.", RecordType::A))).await.unwrap();
    let mut replies = Vec::new();
    for _ in 0..4 {
        let reply = read_tcp(&mut stream).await.unwrap();
        replies.push((reply.metadata.id, reply.metadata.response_code));
    }
    // The third is refused, and that and ours do not wait for the first two.
    assert_eq!(replies[..2], [(2, ResponseCode::Refused), (9, ResponseCode::NoError)]);
    replies.sort_by_key(|(id, _)| *id);
    assert_eq!(replies[..2], [(0, ResponseCode::ServFail), (1, ResponseCode::ServFail)]);
}
