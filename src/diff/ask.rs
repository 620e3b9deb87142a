//! Asking one server: UDP with EDNS, TCP where an answer has no room or where that is wanted, again when nothing comes.
//!
//! Each UDP question has a socket of its own: behind a Service every one of them may reach another replica. TCP connections
//! are used again, one question at a time: a port-forward makes each of them slowly.

use std::{
    fmt, io,
    net::SocketAddr,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use hickory_proto::{
    op::{Edns, Message, MessageType, Query},
    rr::Name,
};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use super::{pace::Pace, questions::Question, seen::Seen};

/// The UDP size that is offered: what crosses every link unfragmented.
const PAYLOAD: u16 = 1232;

/// Questions in a row without an answer after which a server is gone.
const GONE: u32 = 100;

/// Idle connections that are kept.
const KEPT: usize = 64;

/// One of the two servers.
#[derive(Debug)]
pub(crate) struct Server {
    /// Where it is.
    pub(crate) address: SocketAddr,
    tcp: bool,
    patience: Duration,
    tries: u32,
    pace: Pace,
    idle: Mutex<Vec<TcpStream>>,
    /// Questions without an answer since the last one with.
    unanswered: AtomicU32,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Nothing came.
    Timeout,
    /// The network said no.
    Network(String),
    /// What came is no answer to the question.
    Unreadable(String),
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => write!(f, "no answer in time"),
            Self::Network(error) => write!(f, "{error}"),
            Self::Unreadable(error) => write!(f, "an answer that cannot be read: {error}"),
        }
    }
}

impl From<io::Error> for Silence {
    fn from(error: io::Error) -> Self {
        Self::Network(error.to_string())
    }
}

impl Server {
    /// The server at an address, asked over TCP only where `tcp` is set; each question is tried so many times, and waited
    /// for so long each time.
    pub(crate) fn new(address: SocketAddr, tcp: bool, patience: Duration, tries: u32, pace: Pace) -> Self {
        Self { address, tcp, patience, tries, pace, idle: Mutex::default(), unanswered: AtomicU32::new(0) }
    }

    /// The answer, over TCP where `whole` asks for all that there is.
    ///
    /// # Errors
    /// Why there is none, at the last try.
    pub(crate) async fn ask(&self, question: &Question, whole: bool) -> Result<Seen, Silence> {
        let mut last = Silence::Timeout;
        for _ in 0..self.tries.max(1) {
            self.pace.turn().await;
            match self.once(question, whole || self.tcp).await {
                Ok(seen) => {
                    self.unanswered.store(0, Ordering::Relaxed);
                    return Ok(seen);
                }
                Err(silence) => last = silence,
            }
        }
        self.unanswered.fetch_add(1, Ordering::Relaxed);
        Err(last)
    }

    /// Whether it has answered nothing for so long that it is of no use to go on.
    pub(crate) fn is_gone(&self) -> bool {
        self.unanswered.load(Ordering::Relaxed) >= GONE
    }

    async fn once(&self, question: &Question, tcp: bool) -> Result<Seen, Silence> {
        let request = Request::new(question)?;
        if !tcp {
            let message = within(self.patience, self.udp(&request)).await?;
            if !message.metadata.truncation {
                return Ok(Seen::of(&message));
            }
        }
        Ok(Seen::of(&within(self.patience, self.tcp(&request)).await?))
    }

    async fn udp(&self, request: &Request) -> Result<Message, Silence> {
        let local: SocketAddr =
            if self.address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
        let socket = UdpSocket::bind(local).await?;
        socket.connect(self.address).await?;
        socket.send(&request.bytes).await?;
        let mut buffer = vec![0; usize::from(u16::MAX)];
        loop {
            let length = socket.recv(&mut buffer).await?;
            let datagram = buffer.get(..length).unwrap_or_default();
            // What has another id is somebody else's, and must not end the wait.
            if datagram.get(..2) == request.bytes.get(..2) {
                return request.read(datagram);
            }
        }
    }

    async fn tcp(&self, request: &Request) -> Result<Message, Silence> {
        // A connection that was used before may have been closed meanwhile.
        let kept = self.idle.lock().pop();
        if let Some(stream) = kept {
            match self.exchange(stream, request).await {
                Err(Silence::Network(_)) => {}
                done => return done,
            }
        }
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        self.exchange(stream, request).await
    }

    async fn exchange(&self, mut stream: TcpStream, request: &Request) -> Result<Message, Silence> {
        let length = u16::try_from(request.bytes.len()).unwrap_or(u16::MAX);
        stream.write_all(&[&length.to_be_bytes(), request.bytes.as_slice()].concat()).await?;
        let mut reply = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut reply).await?;
        let message = request.read(&reply)?;
        let mut idle = self.idle.lock();
        if idle.len() < KEPT {
            idle.push(stream);
        }
        Ok(message)
    }
}

async fn within<T>(
    patience: Duration,
    answer: impl Future<Output = Result<T, Silence>>,
) -> Result<T, Silence> {
    timeout(patience, answer).await.unwrap_or(Err(Silence::Timeout))
}

/// A question on the wire, with an id of its own.
pub(crate) struct Request {
    /// The message.
    pub(crate) bytes: Vec<u8>,
    query: Query,
}

impl Request {
    /// A request for recursion, with EDNS, as stub resolvers send it.
    ///
    /// # Errors
    /// When the name cannot be written.
    pub(crate) fn new(question: &Question) -> Result<Self, Silence> {
        let mut message = Message::query();
        message.metadata.id = fastrand::u16(..);
        message.metadata.recursion_desired = true;
        let query = Query::query(question.name.clone(), question.kind);
        message.add_query(query.clone());
        let mut edns = Edns::new();
        edns.set_max_payload(PAYLOAD);
        message.set_edns(edns);
        let bytes = message.to_vec().map_err(|error| Silence::Unreadable(error.to_string()))?;
        Ok(Self { bytes, query })
    }

    /// The answer to it.
    fn read(&self, bytes: &[u8]) -> Result<Message, Silence> {
        let message = Message::from_vec(bytes).map_err(|error| Silence::Unreadable(error.to_string()))?;
        let wrong = |what: &str| Err(Silence::Unreadable(what.to_owned()));
        if bytes.get(..2) != self.bytes.get(..2) {
            return wrong("another id");
        }
        if message.metadata.message_type != MessageType::Response {
            return wrong("no response");
        }
        match message.queries.as_slice() {
            // Some say no more than that they do not understand.
            [] if message.answers.is_empty() => Ok(message),
            [query]
                if same(query.name(), self.query.name()) && query.query_type() == self.query.query_type() =>
            {
                Ok(message)
            }
            _ => wrong("another question"),
        }
    }
}

/// Names are equal without regard to case.
fn same(one: &Name, other: &Name) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::RecordType;

    use super::*;

    fn question() -> Question {
        Question { name: "web.n.svc.cluster.local.".parse().unwrap(), kind: RecordType::A }
    }

    fn reply(edit: impl FnOnce(&mut Message)) -> Result<Message, Silence> {
        let request = Request::new(&question()).unwrap();
        let mut message = Message::from_vec(&request.bytes).unwrap();
        message.metadata.message_type = MessageType::Response;
        edit(&mut message);
        request.read(&message.to_vec().unwrap())
    }

    #[test]
    fn only_an_answer_to_the_question_is_one() {
        assert!(reply(|_| {}).is_ok());
        assert!(reply(|message| message.queries.clear()).is_ok());
        let upper = "WEB.n.svc.cluster.local.".parse::<Name>().unwrap();
        let upper = Query::query(upper, RecordType::A);
        assert!(reply(|message| message.queries = vec![upper]).is_ok());
        let wrong = |edit: fn(&mut Message)| reply(edit).unwrap_err().to_string();
        assert!(wrong(|message| message.metadata.id ^= 1).contains("another id"));
        assert!(wrong(|message| message.metadata.message_type = MessageType::Query).contains("no response"));
        let other = |message: &mut Message| {
            message.queries[0].set_query_type(RecordType::AAAA);
        };
        assert!(wrong(other).contains("another question"));
    }

    #[tokio::test]
    async fn a_connection_that_was_closed_is_made_anew() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server =
            Server::new(listener.local_addr().unwrap(), true, Duration::from_secs(5), 1, Pace::new(0));
        let serving = tokio::spawn(async move {
            // One question a connection.
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; usize::from(stream.read_u16().await.unwrap())];
                stream.read_exact(&mut request).await.unwrap();
                request[2] |= 0x80;
                stream.write_u16(request.len() as u16).await.unwrap();
                stream.write_all(&request).await.unwrap();
            }
        });
        assert_eq!(server.ask(&question(), false).await.unwrap().rcode, "NOERROR");
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(server.ask(&question(), false).await.unwrap().rcode, "NOERROR");
        serving.await.unwrap();
    }

    #[tokio::test]
    async fn silence_is_tried_again_and_told() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let server = Server::new(address, false, Duration::from_millis(30), 3, Pace::new(0));
        assert_eq!(server.ask(&question(), false).await, Err(Silence::Timeout));
        let mut buffer = [0; 512];
        for _ in 0..3 {
            timeout(Duration::from_secs(5), socket.recv(&mut buffer)).await.unwrap().unwrap();
        }
        drop(socket);
        let refused = server.ask(&question(), false).await.unwrap_err();
        assert!(matches!(&refused, Silence::Network(error) if error.contains("refused")), "{refused}");
    }
}
