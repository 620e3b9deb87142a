//! Names that are not the cluster's: asked of upstream servers.
//!
//! Each question goes out anew, with an id and a source port that nobody can guess, to one upstream after another until
//! one answers. A reply counts only if it comes from the server that was asked and repeats id and question; anything else
//! is ignored while waiting (RFC 5452). Truncated replies are asked for again over TCP. How many questions are under way
//! at once is bounded: what comes on top is refused at once rather than kept waiting.
//!
//! There is no cache here. The upstream that answered last is asked first.

use std::{
    io, iter,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType},
    serialize::binary::{BinEncodable, BinEncoder, NameEncoding},
};
use smallvec::SmallVec;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use crate::answer::{self, Request, RrSet, Set, Transport, UDP_PAYLOAD};

/// Bounds on forwarding.
#[derive(Clone, Debug)]
pub struct ForwardLimits {
    /// Questions under way at once.
    pub concurrent: usize,
    /// How long one upstream may take.
    pub attempt: Duration,
    /// How long all of them together may take.
    pub total: Duration,
}

impl Default for ForwardLimits {
    fn default() -> Self {
        Self { concurrent: 1000, attempt: Duration::from_secs(2), total: Duration::from_secs(5) }
    }
}

/// The upstream servers.
#[derive(Debug)]
pub struct Forward {
    upstreams: Vec<SocketAddr>,
    limits: ForwardLimits,
    under_way: Arc<Semaphore>,
    /// The upstream to ask first.
    preferred: AtomicUsize,
}

/// The right to ask one question.
#[derive(Debug)]
pub struct Permit {
    _held: OwnedSemaphorePermit,
}

impl Forward {
    /// Forwards to these servers, in this order. Without any, nothing can be asked.
    pub fn new(upstreams: Vec<SocketAddr>, limits: ForwardLimits) -> Self {
        let under_way = Arc::new(Semaphore::new(limits.concurrent));
        Self { upstreams, limits, under_way, preferred: AtomicUsize::new(0) }
    }

    /// The right to ask one question, unless too many are under way.
    pub fn permit(&self) -> Option<Permit> {
        Arc::clone(&self.under_way).try_acquire_owned().ok().map(|held| Permit { _held: held })
    }

    /// Answers a request from upstream: the upstream's reply with the client's id, SERVFAIL when there is none.
    pub async fn answer(&self, request: &Request, transport: Transport, _permit: Permit) -> Vec<u8> {
        let question = Question {
            name: request.question.name.clone(),
            qtype: request.question.qtype,
            recursion_desired: request.recursion_desired,
            checking_disabled: request.checking_disabled,
            edns: request.edns.map(|edns| edns.dnssec_ok),
        };
        let mut out = Vec::new();
        match self.ask(&question).await {
            Some(mut reply) if reply.len() <= request.limit(transport) => {
                patch(&mut reply, request);
                return reply;
            }
            Some(reply) => answer::truncate(request, &reply, &mut out),
            None => {
                answer::refuse(request, ResponseCode::ServFail, transport, &mut out);
            }
        }
        out
    }

    /// The records of a name that an alias of ours leads to: its own aliases and the records of the type.
    pub async fn records(&self, name: &Name, qtype: RecordType, _permit: Permit) -> Vec<RrSet> {
        let question = Question {
            name: name.clone(),
            qtype,
            recursion_desired: true,
            checking_disabled: false,
            edns: Some(false),
        };
        let Some(reply) = self.ask(&question).await else { return Vec::new() };
        let Ok(message) = Message::from_vec(&reply) else { return Vec::new() };
        chain(name, qtype, &message.answers)
    }

    /// Asks the upstreams until one answers.
    async fn ask(&self, question: &Question) -> Option<Vec<u8>> {
        let end = Instant::now() + self.limits.total;
        let first = self.preferred.load(Ordering::Relaxed);
        let mut failed = None;
        for turn in 0..self.upstreams.len() {
            let at = first.wrapping_add(turn) % self.upstreams.len();
            let upstream = *self.upstreams.get(at)?;
            let attempt_end = end.min(Instant::now() + self.limits.attempt);
            match exchange(upstream, question, attempt_end).await {
                // A server that fails may have a neighbour that does not.
                Ok(reply) if is_failure(&reply) => failed = Some(reply),
                Ok(reply) => {
                    self.preferred.store(at, Ordering::Relaxed);
                    return Some(reply);
                }
                Err(error) => tracing::debug!(%upstream, %error, "an upstream cannot be asked"),
            }
            if Instant::now() >= end {
                break;
            }
        }
        failed
    }
}

/// What is asked of an upstream.
#[derive(Clone, Debug)]
struct Question {
    name: Name,
    qtype: RecordType,
    recursion_desired: bool,
    checking_disabled: bool,
    /// Whether there is an OPT, and if so its DO bit.
    edns: Option<bool>,
}

impl Question {
    fn write(&self, id: u16) -> io::Result<Vec<u8>> {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = self.recursion_desired;
        message.metadata.checking_disabled = self.checking_disabled;
        message.add_query(Query::query(self.name.clone(), self.qtype));
        if let Some(dnssec_ok) = self.edns {
            let mut edns = Edns::new();
            edns.set_max_payload(UDP_PAYLOAD).set_dnssec_ok(dnssec_ok);
            message.set_edns(edns);
        }
        message.to_vec().map_err(io::Error::other)
    }

    /// Whether `reply` answers this question with this id.
    fn is_answered_by(&self, id: u16, reply: &[u8]) -> bool {
        let Some(header) = Header::read(reply) else { return false };
        if header.id != id
            || header.flags & RESPONSE == 0
            || header.flags & OPCODE != 0
            || header.questions != 1
        {
            return false;
        }
        // Names compare without regard to case.
        let read = answer::Question::read(reply);
        read.is_some_and(|read| read.name == self.name && read.qtype == self.qtype && read.qclass == CLASS_IN)
    }
}

const HEADER: usize = 12;
const CLASS_IN: u16 = 1;
const RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const TRUNCATED: u16 = 0x0200;
const RCODE: u16 = 0x000f;

struct Header {
    id: u16,
    flags: u16,
    questions: u16,
}

impl Header {
    fn read(message: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
        word(10)?;
        Some(Self { id: word(0)?, flags: word(2)?, questions: word(4)? })
    }
}

fn is_failure(reply: &[u8]) -> bool {
    let servfail = u16::from(ResponseCode::ServFail);
    Header::read(reply).is_some_and(|header| header.flags & RCODE == servfail)
}

/// Puts the client's id, and the case in which it wrote the name, in the place of ours and the upstream's: a client that
/// compares them takes no other answer.
fn patch(reply: &mut [u8], request: &Request) {
    if let Some(place) = reply.get_mut(..2) {
        place.copy_from_slice(&request.id.to_be_bytes());
    }
    let labels = request.question.name.iter();
    let name: Vec<u8> =
        labels.flat_map(|label| iter::once(label.len() as u8).chain(label.iter().copied())).collect();
    // Length bytes are below those of letters.
    let asked = reply.get_mut(HEADER..HEADER + name.len());
    if let Some(place) = asked.filter(|place| place.eq_ignore_ascii_case(&name)) {
        place.copy_from_slice(&name);
    }
}

/// Asks one upstream over UDP, and over TCP where the reply was cut, until `end`.
async fn exchange(upstream: SocketAddr, question: &Question, end: Instant) -> io::Result<Vec<u8>> {
    let reply = timeout_at(end, over_udp(upstream, question)).await??;
    let truncated = Header::read(&reply).is_some_and(|header| header.flags & TRUNCATED != 0);
    if !truncated {
        return Ok(reply);
    }
    // A cut reply is better than none.
    Ok(timeout_at(end, over_tcp(upstream, question)).await.ok().and_then(Result::ok).unwrap_or(reply))
}

async fn over_udp(upstream: SocketAddr, question: &Question) -> io::Result<Vec<u8>> {
    let any: IpAddr =
        if upstream.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // A port of the system's choosing, for this question alone; only the upstream can send to it.
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(upstream).await?;
    let id = random_id();
    socket.send(&question.write(id)?).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some(reply) = buffer.get(..length).filter(|reply| question.is_answered_by(id, reply)) {
            return Ok(reply.to_vec());
        }
    }
}

async fn over_tcp(upstream: SocketAddr, question: &Question) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(upstream).await?;
    let id = random_id();
    let query = question.write(id)?;
    let mut framed = u16::try_from(query.len()).unwrap_or_default().to_be_bytes().to_vec();
    framed.extend_from_slice(&query);
    stream.write_all(&framed).await?;
    let length = stream.read_u16().await?;
    let mut reply = vec![0; usize::from(length)];
    stream.read_exact(&mut reply).await?;
    if question.is_answered_by(id, &reply) {
        Ok(reply)
    } else {
        Err(io::Error::other("not the answer to the question"))
    }
}

/// From a cryptographic generator, which hickory has for its own queries: an id that can be guessed is as good as none.
fn random_id() -> u16 {
    Message::query().metadata.id
}

/// The records of `answers` that follow from `name`: aliases one after another, then those of the type. What does not
/// follow was not asked for.
fn chain(name: &Name, qtype: RecordType, answers: &[Record]) -> Vec<RrSet> {
    let mut sets: Vec<RrSet> = Vec::new();
    let mut current = name.clone();
    // Each round takes at least one record.
    for _ in 0..answers.len() {
        let here = answers.iter().filter(|record| record.name == current);
        let alias = here.clone().find_map(|record| match &record.data {
            RData::CNAME(target) => Some((record.ttl, target.0.clone())),
            _ => None,
        });
        match alias {
            Some((ttl, target)) if qtype != RecordType::CNAME => {
                if sets.iter().any(|set| set.owner == current) {
                    break;
                }
                let owner = std::mem::replace(&mut current, target.clone());
                sets.push(RrSet { owner, ttl, data: answer::RData::Cname(target) });
            }
            _ => {
                let records: Vec<&Record> = here.filter(|record| record.record_type() == qtype).collect();
                let ttl = records.iter().map(|record| record.ttl).min().unwrap_or_default();
                sets.extend(data(qtype, &records).map(|data| RrSet { owner: current.clone(), ttl, data }));
                break;
            }
        }
    }
    sets
}

fn data(qtype: RecordType, records: &[&Record]) -> Option<answer::RData> {
    if records.is_empty() {
        return None;
    }
    let data = records.iter().map(|record| &record.data);
    Some(match qtype {
        RecordType::A => {
            let ips = data.filter_map(|data| if let RData::A(ip) = data { Some(ip.0) } else { None });
            answer::RData::A(Set::Own(ips.collect()))
        }
        RecordType::AAAA => {
            let ips = data.filter_map(|data| if let RData::AAAA(ip) = data { Some(ip.0) } else { None });
            answer::RData::Aaaa(Set::Own(ips.collect::<SmallVec<_>>()))
        }
        other => answer::RData::Other(other, data.filter_map(uncompressed).collect()),
    })
}

fn uncompressed(data: &RData) -> Option<Box<[u8]>> {
    let mut bytes = Vec::new();
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    data.emit(&mut encoder).ok()?;
    Some(bytes.into())
}
