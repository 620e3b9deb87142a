mod places;
mod reload;
mod secure;
mod tcp;

use std::net::Ipv4Addr;

use futures::future::BoxFuture;
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RecordType},
};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinHandle,
    time::timeout,
};

use super::*;
use crate::{
    plugin::{self, Meters, Next, Plugin, Quick, Quickly, Reply},
    testing,
};

const PATIENCE: Duration = Duration::from_secs(5);

/// A server that runs until the test ends.
struct Running {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
    metrics: Arc<Tallies>,
}

const COREFILE: &str = "cluster.local in-addr.arpa ip6.arpa {
    kubernetes {
        pods insecure
        ttl 30
    }
}";

fn front(shared: &Arc<Shared>) -> Front {
    Front::new(testing::router(COREFILE), Arc::clone(shared))
}

fn start(listen: &str, limits: Limits) -> Running {
    let shared = Arc::new(Shared::default());
    start_with(listen, front(&shared), limits, Arc::clone(&shared.tallies))
}

fn start_with<H: Handler>(listen: &str, handler: H, limits: Limits, metrics: Arc<Tallies>) -> Running {
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
    let server = start("127.0.0.1:0", Limits::default());
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
    let server = start("0.0.0.0:0", Limits::default());
    let question = query(9, "vip.ns.svc.cluster.local.", RecordType::A);
    for address in [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 53), Ipv4Addr::new(127, 1, 2, 3)] {
        let to = SocketAddr::from((address, server.address.port()));
        assert!(ask_udp(to, &question).await.is_some(), "{address} does not answer");
    }
    if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).await.is_ok() {
        let server = start("[::]:0", Limits::default());
        let to = SocketAddr::from((Ipv6Addr::LOCALHOST, server.address.port()));
        assert!(ask_udp(to, &question).await.is_some());
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let bind = |address: SocketAddr| {
        let handler = front(&Arc::default());
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
    let server = start(&address.to_string(), Limits::default());
    assert_eq!(bind(address).kind(), io::ErrorKind::AddrInUse, "a second server of ours");
    server.stop.cancel();
}

#[tokio::test]
async fn requests_on_one_connection_may_come_in_any_pieces() {
    let server = start("127.0.0.1:0", Limits::default());
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
async fn a_stopped_server_leaves_its_port() {
    let server = start("127.0.0.1:0", Limits::default());
    let question = query(1, "vip.ns.svc.cluster.local.", RecordType::A);
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&framed(&question)).await.unwrap();
    assert!(read_tcp(&mut stream).await.is_some());
    server.stop.cancel();
    timeout(PATIENCE, server.task).await.unwrap().unwrap();
    assert!(is_closed(&mut stream).await);
    let again = start(&server.address.to_string(), Limits::default());
    assert!(ask_udp(again.address, &question).await.is_some());
}

struct Panics(Arc<Tallies>);

impl Handler for Panics {
    fn handle(&self, request: &[u8], _: Peer, _: Instant, out: &mut Vec<u8>) -> Handled {
        assert!(request.len() > 1, "on purpose");
        out.clear();
        out.extend_from_slice(request);
        Handled::Reply
    }

    fn panicked(&self, _: &[u8], _: Peer, panic: &(dyn Any + Send), _: &mut Vec<u8>) -> Handled {
        assert!(panic.downcast_ref::<&str>().is_some_and(|what| what.contains("on purpose")));
        self.0.panicked();
        Handled::Silent
    }
}

#[tokio::test]
async fn a_panic_costs_one_request() {
    let metrics = Arc::new(Tallies::default());
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

fn scrape(metrics: &Arc<Tallies>) -> String {
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    text
}

/// A service of this file, on ports of the system's choice.
async fn service(text: &str) -> (Service, Arc<Meters>) {
    let world = testing::world();
    let settings = Settings {
        limits: Limits { udp_sockets: 2, ..Limits::default() },
        meters: Arc::clone(&world.meters),
        clusters: Arc::clone(&world.clusters),
        runtime: tokio::runtime::Handle::current(),
        loop_is_fatal: false,
    };
    let service = Service::new(settings, world.stop.clone());
    service.load(testing::config(text).unwrap()).await.unwrap();
    (service, world.meters)
}

#[tokio::test]
async fn questions_and_answers_are_counted() {
    let text = "cluster.local:0 {
        prometheus
        kubernetes
    }
    uncounted.org:0 {
        whoami
    }";
    let (service, meters) = service(text).await;
    let address = (service.addresses().await.iter()).find(|(_, at)| at.is_ipv4()).unwrap().1;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()));
    let ask = async |name: &str, qtype| ask_udp(address, &query(1, name, qtype)).await.unwrap();
    for (name, qtype) in [("vip", RecordType::A), ("vip", RecordType::A), ("nosuch", RecordType::SRV)] {
        ask(&format!("{name}.ns.svc.cluster.local."), qtype).await;
    }
    // An alias out of the zone takes the slow way.
    ask("out.ns.svc.cluster.local.", RecordType::AAAA).await;
    ask("uncounted.org.", RecordType::A).await;
    ask("www.example.com.", RecordType::A).await;
    let text = meters.encode().unwrap();
    let block = r#"server="dns://:0",zone="cluster.local.",view="""#;
    let dropped = r#"server="dns://:0",zone="dropped",view="""#;
    for line in [
        format!(r#"coredns_dns_requests_total{{{block},proto="udp",family="1",type="A"}} 2"#),
        format!(r#"coredns_dns_requests_total{{{block},proto="udp",family="1",type="AAAA"}} 1"#),
        format!(r#"coredns_dns_responses_total{{{block},rcode="NOERROR",plugin="kubernetes"}} 3"#),
        format!(r#"coredns_dns_responses_total{{{block},rcode="NXDOMAIN",plugin="kubernetes"}} 1"#),
        format!(r#"coredns_dns_responses_total{{{dropped},rcode="REFUSED",plugin=""}} 1"#),
        format!(r#"coredns_dns_request_duration_seconds_count{{{block}}} 4"#),
        format!(r#"coredns_plugin_enabled{{{block},name="kubernetes"}} 1"#),
        format!(r#"coredns_plugin_enabled{{{block},name="prometheus"}} 1"#),
    ] {
        assert!(text.lines().any(|known| known == line), "{line}\nis not in\n{text}");
    }
    assert!(!text.contains("uncounted.org"), "{text}");
}

/// Panics the quick way or the slow one.
struct Breaks {
    quick: bool,
}

impl Plugin for Breaks {
    fn name(&self) -> &'static str {
        "breaks"
    }

    fn serve<'a>(&'a self, _: &'a mut plugin::Query, _: Next<'a>) -> BoxFuture<'a, Reply> {
        Box::pin(async { panic!("on purpose, slowly") })
    }

    fn quick(&self, _: &Quick<'_>, _: &mut Vec<u8>) -> Quickly {
        assert!(!self.quick, "on purpose, quickly");
        Quickly::Slow
    }
}

#[tokio::test]
async fn a_plugin_that_panics_either_way_is_counted_and_answered_for() {
    for quick in [true, false] {
        let shared = Arc::new(Shared::default());
        let router = testing::router_of(vec![Arc::new(Breaks { quick })]);
        let handler = Front::new(router, Arc::clone(&shared));
        let server = start_with("127.0.0.1:0", handler, Limits::default(), Arc::clone(&shared.tallies));
        for id in 0..3 {
            let answer =
                ask_udp(server.address, &query(id, "www.example.com.", RecordType::A)).await.unwrap();
            assert_eq!((answer.metadata.id, answer.metadata.response_code), (id, ResponseCode::ServFail));
        }
        assert!(scrape(&server.metrics).contains("coredns_panics_total 3"), "quick: {quick}");
    }
}

/// Echoes; an answer to a request that begins with `!` panics outside of every plugin.
struct Careless;

impl Handler for Careless {
    fn handle(&self, request: &[u8], _: Peer, _: Instant, _: &mut Vec<u8>) -> Handled {
        let reply = request.to_vec();
        Handled::Later(Box::pin(async move {
            assert!(!reply.starts_with(b"!"), "on purpose, at the end");
            Replies::new(vec![reply], None)
        }))
    }

    fn panicked(&self, _: &[u8], _: Peer, _: &(dyn Any + Send), _: &mut Vec<u8>) -> Handled {
        Handled::Silent
    }
}

#[tokio::test]
async fn a_socket_outlives_an_answer_that_panics() {
    let limits = Limits { udp_sockets: 1, ..Limits::default() };
    let server = start_with("127.0.0.1:0", Careless, limits, Arc::default());
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server.address).await.unwrap();
    for request in [b"!".as_slice(), b"!!", b"here"] {
        socket.send(request).await.unwrap();
    }
    let mut buffer = [0; 16];
    let length = timeout(PATIENCE, socket.recv(&mut buffer)).await.expect("nobody answers").unwrap();
    assert_eq!(&buffer[..length], b"here");
}
