//! A DNS server of a test's making, for names that are not the cluster's.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::Result;
use hickory_proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{RData, Record, RecordType, rdata},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
};

/// What it says to a question; `None` is silence.
type Answer = dyn Fn(&Message) -> Option<Message> + Send + Sync;

/// A server on loopback, over UDP and TCP, until it is dropped.
#[derive(Debug)]
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
    asked: Arc<AtomicUsize>,
    #[expect(dead_code, reason = "serving ends with it")]
    tasks: JoinSet<()>,
}

impl Upstream {
    /// A server that answers as `answer` says.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(answer: impl Fn(&Message) -> Option<Message> + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let socket = UdpSocket::bind(address).await?;
        let (answer, asked): (Arc<Answer>, _) = (Arc::new(answer), Arc::<AtomicUsize>::default());
        let mut tasks = JoinSet::new();
        let (over_udp, counted) = (Arc::clone(&answer), Arc::clone(&asked));
        tasks.spawn(async move {
            let mut buffer = vec![0; 4096];
            while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
                let reply = reply(&*over_udp, &counted, buffer.get(..length).unwrap_or_default());
                if let Some(reply) = reply {
                    let _ = socket.send_to(&reply, client).await;
                }
            }
        });
        let counted = Arc::clone(&asked);
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(over_tcp(stream, Arc::clone(&answer), Arc::clone(&counted)));
            }
        });
        Ok(Self { address, asked, tasks })
    }

    /// A server of `www.example.org` (A 203.0.113.7, AAAA 2001:db8::7) and `7.113.0.203.in-addr.arpa`; whatever else is
    /// asked for does not exist.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn of_example() -> Result<Self> {
        Self::start(|question| {
            let mut reply = reply_to(question, ResponseCode::NoError);
            let query = question.queries.first()?.clone();
            let name = query.name().to_ascii().to_lowercase();
            let data = match (name.as_str(), query.query_type()) {
                ("www.example.org.", RecordType::A) => Some(RData::A(rdata::A::new(203, 0, 113, 7))),
                ("www.example.org.", RecordType::AAAA) => {
                    Some(RData::AAAA(rdata::AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7)))
                }
                ("7.113.0.203.in-addr.arpa.", RecordType::PTR) => {
                    "www.example.org.".parse().ok().map(|name| RData::PTR(rdata::PTR(name)))
                }
                _ => None,
            };
            match data {
                Some(data) => reply.answers.push(Record::from_rdata(query.name().clone(), 300, data)),
                None if name == "www.example.org." => {}
                None => reply.metadata.response_code = ResponseCode::NXDomain,
            }
            Some(reply)
        })
        .await
    }

    /// How many questions it was asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// An empty answer to a question.
pub fn reply_to(question: &Message, rcode: ResponseCode) -> Message {
    let mut reply = Message::new(question.metadata.id, MessageType::Response, question.metadata.op_code);
    reply.metadata.recursion_desired = question.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.metadata.response_code = rcode;
    reply.queries.clone_from(&question.queries);
    reply
}

fn reply(answer: &Answer, asked: &AtomicUsize, bytes: &[u8]) -> Option<Vec<u8>> {
    let question = Message::from_vec(bytes).ok()?;
    asked.fetch_add(1, Ordering::Relaxed);
    answer(&question)?.to_vec().ok()
}

async fn over_tcp(mut stream: TcpStream, answer: Arc<Answer>, asked: Arc<AtomicUsize>) {
    while let Ok(length) = stream.read_u16().await {
        let mut bytes = vec![0; usize::from(length)];
        if stream.read_exact(&mut bytes).await.is_err() {
            return;
        }
        let Some(reply) = reply(&*answer, &asked, &bytes) else { continue };
        let Ok(length) = u16::try_from(reply.len()) else { return };
        if stream.write_all(&[&length.to_be_bytes(), reply.as_slice()].concat()).await.is_err() {
            return;
        }
    }
}
