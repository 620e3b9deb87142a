//! Connections to an upstream, over TCP or TLS: kept for a while and used again (RFC 7766 6.2.1, RFC 7858 3.4).
//!
//! A connection carries one question at a time and goes back to the pool after its answer. One that failed is dropped.

use std::{collections::VecDeque, io, net::SocketAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;

use super::{
    failure::Failure,
    question::{Case, Question},
};

/// How long connecting may take, the TLS handshake included.
const DIAL: Duration = Duration::from_secs(2);
/// The most connections that are kept for an upstream where the configuration sets no bound.
const IDLE: usize = 256;
/// Replies that answer another question, on one connection and in one exchange: late ones of questions that were given up.
const IGNORED: usize = 16;

/// What is spoken on connections.
#[derive(Clone)]
pub(super) enum Security {
    Plain,
    Tls(Arc<ClientConfig>, ServerName<'static>),
}

/// How long connections are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Keeping {
    /// Without being used.
    pub(super) idle: Duration,
    /// At all; zero for no bound.
    pub(super) age: Duration,
    /// At most so many; zero for [`IDLE`].
    pub(super) count: usize,
}

/// The connections of one upstream.
pub(super) struct Pool {
    address: SocketAddr,
    security: Security,
    keeping: Keeping,
    idle: Mutex<VecDeque<Connection>>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An open connection.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    local: Option<SocketAddr>,
    since: Instant,
    used: Instant,
}

impl Pool {
    pub(super) fn new(address: SocketAddr, security: Security, keeping: Keeping) -> Self {
        Self { address, security, keeping, idle: Mutex::default() }
    }

    /// As metrics name it.
    pub(super) fn network(&self) -> &'static str {
        match self.security {
            Security::Plain => "tcp",
            Security::Tls(..) => "tcp-tls",
        }
    }

    /// A connection that was kept.
    pub(super) fn kept(&self) -> Option<Connection> {
        let now = Instant::now();
        let mut idle = self.idle.lock();
        // The oldest first: questions are spread over ports.
        while let Some(connection) = idle.pop_front() {
            if self.keeps(&connection, now) {
                return Some(connection);
            }
        }
        None
    }

    /// A new connection.
    pub(super) async fn dial(&self, end: Instant) -> Result<Connection, Failure> {
        let end = end.min(Instant::now() + DIAL);
        let failed = |error: &io::Error| Failure::dial("tcp", self.address, error);
        let stream = within(end, TcpStream::connect(self.address)).await.map_err(|error| failed(&error))?;
        // What cannot be set is only slower.
        let _ = stream.set_nodelay(true);
        let local = stream.local_addr().ok();
        let stream: Box<dyn Stream> = match &self.security {
            Security::Plain => Box::new(stream),
            Security::Tls(config, name) => {
                let connector = TlsConnector::from(Arc::clone(config));
                let shaken = within(end, connector.connect(name.clone(), stream)).await;
                Box::new(shaken.map_err(|error| match error.kind() {
                    io::ErrorKind::InvalidData => Failure::other(format!("tls: {error}")),
                    _ => failed(&error),
                })?)
            }
        };
        let now = Instant::now();
        Ok(Connection { stream, local, since: now, used: now })
    }

    /// Keeps a connection for the next question.
    pub(super) fn keep(&self, mut connection: Connection) {
        connection.used = Instant::now();
        let most = if self.keeping.count == 0 { IDLE } else { self.keeping.count };
        let mut idle = self.idle.lock();
        if idle.len() < most && !self.keeping.idle.is_zero() {
            idle.push_back(connection);
        }
    }

    /// Closes what has been kept for too long.
    pub(super) fn expire(&self) {
        let now = Instant::now();
        self.idle.lock().retain(|connection| self.keeps(connection, now));
    }

    /// Asks over a connection; a reply that answers the question.
    pub(super) async fn exchange(
        &self,
        connection: &mut Connection,
        question: &Question,
        edns: bool,
        case: Case,
        end: Instant,
    ) -> Result<Vec<u8>, Failure> {
        let id = rand::random();
        let local = connection.local;
        let failed = |operation, error: &io::Error| Failure::of(operation, "tcp", local, self.address, error);
        let stream = &mut connection.stream;
        let message = question.write(id, edns);
        let written = within(end, async {
            stream.write_all(&message).await?;
            stream.flush().await
        });
        written.await.map_err(|error| failed("write", &error))?;
        for _ in 0..IGNORED {
            let read = within(end, async {
                let length = stream.read_u16().await?;
                let mut reply = vec![0; usize::from(length)];
                stream.read_exact(&mut reply).await?;
                Ok(reply)
            });
            let reply = read.await.map_err(|error| failed("read", &error))?;
            let misread = edns && question.is_misread_by(id, &reply);
            if misread || question.is_answered_by(id, &reply, case) {
                return Ok(reply);
            }
        }
        Err(Failure::other(format!("read tcp {}: replies to other questions", self.address)))
    }

    fn keeps(&self, connection: &Connection, now: Instant) -> bool {
        let age = self.keeping.age;
        now.duration_since(connection.used) < self.keeping.idle
            && (age.is_zero() || now.duration_since(connection.since) < age)
    }
}

/// Runs until `end`.
async fn within<T>(end: Instant, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout_at(end, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
