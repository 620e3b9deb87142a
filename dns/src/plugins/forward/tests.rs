use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query as Asked, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata},
};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
    time::{sleep, timeout},
};

use crate::{
    block::Router,
    plugin::{Query, Reply},
    testing::{self, record},
};

mod answers;
mod attacks;
mod garbled;
mod health;
mod options;
mod reading;
mod secure;
mod streams;

/// What an upstream does with a question.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    Good,
    Silent,
    /// Answers after so many milliseconds.
    Slow(u64),
    Says(ResponseCode),
    /// Over UDP says that the answer is too large.
    Truncates,
    /// Over UDP says nothing.
    OnlyTcp,
    /// Sends replies that answer something else before the right one.
    Noisy,
    /// Sends nothing but bytes that are no message, with the right id and question.
    Garbage,
    /// Answers another question.
    OtherQuestion,
    /// Writes all names in capitals.
    Shouts,
    /// Knows no OPT.
    Old,
    /// So old that it repeats no question either.
    Older,
}

/// An upstream server on a loopback address, on UDP and TCP.
struct Fake {
    address: SocketAddr,
    manner: Mutex<Manner>,
    udp: AtomicUsize,
    tcp: AtomicUsize,
    connections: AtomicUsize,
    /// The questions, and where they came from.
    seen: Mutex<Vec<(Message, SocketAddr)>>,
}

impl Fake {
    async fn new(manner: Manner) -> Arc<Self> {
        let (socket, listener) = loop {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(listener) = TcpListener::bind(socket.local_addr().unwrap()).await {
                break (socket, listener);
            }
        };
        let fake = Arc::new(Self {
            address: socket.local_addr().unwrap(),
            manner: Mutex::new(manner),
            udp: AtomicUsize::new(0),
            tcp: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            seen: Mutex::default(),
        });
        tokio::spawn(Arc::clone(&fake).serve_udp(Arc::new(socket)));
        tokio::spawn(Arc::clone(&fake).serve_tcp(listener));
        fake
    }

    async fn serve_udp(self: Arc<Self>, socket: Arc<UdpSocket>) {
        let mut buffer = [0; 4096];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            let question = Message::from_vec(&buffer[..length]).unwrap();
            self.udp.fetch_add(1, Ordering::Relaxed);
            self.seen.lock().push((question.clone(), from));
            let (fake, socket) = (Arc::clone(&self), Arc::clone(&socket));
            tokio::spawn(async move {
                for reply in fake.replies(&question, true).await {
                    socket.send_to(&reply, from).await.unwrap();
                }
            });
        }
    }

    async fn serve_tcp(self: Arc<Self>, listener: TcpListener) {
        loop {
            let (stream, from) = listener.accept().await.unwrap();
            self.connections.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(Arc::clone(&self).serve_stream(stream, from));
        }
    }

    async fn serve_stream(
        self: Arc<Self>,
        mut stream: impl AsyncRead + AsyncWrite + Unpin + Send,
        from: SocketAddr,
    ) {
        while let Ok(length) = stream.read_u16().await {
            let mut bytes = vec![0; usize::from(length)];
            stream.read_exact(&mut bytes).await.unwrap();
            let question = Message::from_vec(&bytes).unwrap();
            self.tcp.fetch_add(1, Ordering::Relaxed);
            self.seen.lock().push((question.clone(), from));
            for reply in self.replies(&question, false).await {
                let mut framed = u16::try_from(reply.len()).unwrap().to_be_bytes().to_vec();
                framed.extend(reply);
                if stream.write_all(&framed).await.is_err() {
                    return;
                }
                stream.flush().await.unwrap();
            }
        }
    }

    async fn replies(&self, question: &Message, udp: bool) -> Vec<Vec<u8>> {
        let mut reply = records(question);
        let manner = *self.manner.lock();
        let mut before = Vec::new();
        match manner {
            Manner::Good => {}
            Manner::OnlyTcp if !udp => {}
            Manner::Silent | Manner::OnlyTcp => return Vec::new(),
            Manner::Slow(millis) => sleep(Duration::from_millis(millis)).await,
            Manner::Says(rcode) => {
                reply.answers.clear();
                reply.metadata.response_code = rcode;
            }
            Manner::Truncates => {
                if udp {
                    reply.answers.clear();
                    reply.metadata.truncation = true;
                }
            }
            Manner::Noisy => {
                let mut other_id = reply.clone();
                other_id.metadata.id = !reply.metadata.id;
                let mut other_name = reply.clone();
                other_name.queries = vec![Asked::query(name("forged.example."), RecordType::A)];
                let mut other_type = reply.clone();
                other_type.queries[0].set_query_type(RecordType::AAAA);
                let mut no_reply = reply.clone();
                no_reply.metadata.message_type = MessageType::Query;
                let mut other_opcode = reply.clone();
                other_opcode.metadata.op_code = OpCode::Status;
                let mut two_questions = reply.clone();
                two_questions.queries.push(two_questions.queries[0].clone());
                for mut noise in [other_id, other_name, other_type, no_reply, other_opcode, two_questions] {
                    for record in &mut noise.answers {
                        record.data = RData::A(rdata::A([6, 6, 6, 6].into()));
                    }
                    before.push(noise.to_vec().unwrap());
                }
                before.push(vec![0; 5]);
                before.push(Vec::new());
            }
            Manner::Garbage => {
                let mut bytes = reply.to_vec().unwrap();
                let end = bytes.len();
                bytes[end - 6..].fill(0xff);
                return vec![bytes];
            }
            Manner::OtherQuestion => {
                reply.queries = vec![Asked::query(name("other.example."), RecordType::A)];
            }
            Manner::Shouts => {
                let shout = |name: &Name| Name::from_ascii(name.to_ascii().to_uppercase()).unwrap();
                reply.queries[0].set_name(shout(question.queries[0].name()));
                for record in &mut reply.answers {
                    record.name = shout(&record.name);
                }
            }
            Manner::Old | Manner::Older => {
                if question.edns.is_some() {
                    reply.answers.clear();
                    if matches!(manner, Manner::Older) {
                        reply.queries.clear();
                    }
                    reply.metadata.response_code = ResponseCode::FormErr;
                }
            }
        }
        before.push(reply.to_vec().unwrap());
        before
    }

    fn asked(&self) -> (usize, usize) {
        (self.udp.load(Ordering::Relaxed), self.tcp.load(Ordering::Relaxed))
    }

    fn set(&self, manner: Manner) {
        *self.manner.lock() = manner;
    }
}

/// `www.example.com` is an alias of `host.example.com`, 192.0.2.9; sixty addresses at `many.example.com`.
fn records(question: &Message) -> Message {
    let mut reply = Message::response(question.metadata.id, OpCode::Query);
    reply.metadata.recursion_available = true;
    reply.queries = question.queries.clone();
    let asked = question.queries[0].name();
    let text = match asked.to_lowercase().to_ascii().as_str() {
        "www.example.com." => vec![
            "www.example.com. 60 CNAME host.example.com.".to_owned(),
            "host.example.com. 60 A 192.0.2.9".to_owned(),
            "unasked.example.com. 60 A 192.0.2.66".to_owned(),
        ],
        "many.example.com." => (0..60).map(|at| format!("many.example.com. 60 A 192.0.2.{at}")).collect(),
        "." | "nothing.example." => Vec::new(),
        other => vec![format!("{other} 60 A 192.0.2.9")],
    };
    reply.answers = text.iter().map(|text| record(text)).collect();
    reply
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn text(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| format!("{} {}", record.name, record.data)).collect()
}

/// An address that nobody listens on.
async fn nobody() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// A block that forwards everything to these, with these options.
fn forwarding(to: &[SocketAddr], options: &str) -> Arc<Router> {
    forwarding_in(to, options, &testing::world())
}

fn forwarding_in(to: &[SocketAddr], options: &str, world: &crate::plugin::World) -> Arc<Router> {
    let to: Vec<String> = to.iter().map(ToString::to_string).collect();
    testing::router_in(&format!(".:53 {{\n forward . {} {{\n {options}\n }}\n}}", to.join(" ")), world)
}

async fn ask(router: &Arc<Router>, name: &str) -> Reply {
    testing::ask(router, name, RecordType::A).await
}

async fn ask_query(router: &Arc<Router>, query: Query) -> (Reply, Query) {
    let mut query = Query { router: Arc::clone(router), ..query };
    let reply = router.serve(&mut query).await;
    (reply, query)
}

fn is_good(reply: &Reply) -> bool {
    reply.answers.len() == 1 && reply.answers[0].data.to_string() == "192.0.2.9"
}
