//! A DNS server that stands in for another implementation: it answers as was recorded, or passes questions on to a server and
//! changes what that says.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use futures::future::BoxFuture;
use hickory_proto::{
    op::{Edns, Message, MessageType, ResponseCode},
    rr::{Name, RData, Record, rdata},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
};

use super::{answers::Exchange, upstream::reply_to};

/// How long the server behind may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a client takes over UDP that says nothing of it.
const LEAST: u16 = 512;

/// How a question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// In a datagram.
    Udp,
    /// Over a connection.
    Tcp,
}

/// What it says to a question; `None` is silence.
type Answer = dyn Fn(Message, Way) -> BoxFuture<'static, Option<Message>> + Send + Sync;

/// The server, over UDP and TCP, until it is dropped.
#[derive(Debug)]
pub struct StandIn {
    /// Where it listens.
    pub address: SocketAddr,
    #[expect(dead_code, reason = "serving ends with it")]
    tasks: JoinSet<()>,
}

impl StandIn {
    /// A server on loopback that answers what was recorded, and refuses everything else.
    ///
    /// # Errors
    /// When it cannot listen, or a record cannot be read.
    pub async fn of_recording<'a>(exchanges: impl IntoIterator<Item = &'a Exchange>) -> Result<Self> {
        let mut known = BTreeMap::new();
        for exchange in exchanges {
            known.insert((exchange.name.to_lowercase(), exchange.kind.clone()), recorded(exchange)?);
        }
        let known = Arc::new(known);
        Self::start("127.0.0.1:0".parse()?, move |question, _| {
            let asked = question.queries.first();
            let key = asked.map(|query| (text(query.name()).to_lowercase(), query.query_type().to_string()));
            let reply = match key.and_then(|key| known.get(&key)) {
                Some(recorded) => {
                    let mut reply = recorded.clone();
                    reply.metadata.id = question.metadata.id;
                    reply.queries.clone_from(&question.queries);
                    reply
                }
                None => reply_to(&question, ResponseCode::Refused),
            };
            Box::pin(std::future::ready(Some(reply)))
        })
        .await
    }

    /// A server on loopback that asks the one at `behind`, over the same transport, and says what `alter` makes of its answer.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn before(
        behind: SocketAddr,
        alter: impl Fn(&Message, &mut Message, Way) -> Said + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::before_at("127.0.0.1:0".parse()?, behind, alter).await
    }

    /// The same at an address.
    ///
    /// # Errors
    /// When it cannot listen there.
    pub async fn before_at(
        address: SocketAddr,
        behind: SocketAddr,
        alter: impl Fn(&Message, &mut Message, Way) -> Said + Send + Sync + 'static,
    ) -> Result<Self> {
        let alter = Arc::new(alter);
        Self::start(address, move |question, way| {
            let alter = Arc::clone(&alter);
            Box::pin(async move {
                let mut reply = ask(behind, &question, way).await.ok()?;
                match alter(&question, &mut reply, way) {
                    Said::Now => Some(reply),
                    Said::After(time) => {
                        tokio::time::sleep(time).await;
                        Some(reply)
                    }
                    Said::Never => None,
                }
            })
        })
        .await
    }

    async fn start(
        address: SocketAddr,
        answer: impl Fn(Message, Way) -> BoxFuture<'static, Option<Message>> + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let socket = Arc::new(UdpSocket::bind(address).await?);
        let answer: Arc<Answer> = Arc::new(answer);
        let mut tasks = JoinSet::new();
        let over_udp = Arc::clone(&answer);
        tasks.spawn(async move {
            let mut buffer = vec![0; usize::from(u16::MAX)];
            let mut asked = JoinSet::new();
            loop {
                // A client that went away is told to the next call.
                let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
                let Ok(question) = Message::from_vec(buffer.get(..length).unwrap_or_default()) else {
                    continue;
                };
                let (socket, answer) = (Arc::clone(&socket), Arc::clone(&over_udp));
                asked.spawn(async move {
                    let room = question.edns.as_ref().map_or(LEAST, Edns::max_payload).max(LEAST);
                    if let Some(reply) = answer(question, Way::Udp).await.and_then(|reply| fit(reply, room)) {
                        let _ = socket.send_to(&reply, client).await;
                    }
                });
                while asked.try_join_next().is_some() {}
            }
        });
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(over_tcp(stream, Arc::clone(&answer)));
            }
        });
        Ok(Self { address, tasks })
    }
}

/// When an answer is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// At once.
    Now,
    /// So much later.
    After(Duration),
    /// Not at all.
    Never,
}

/// The bytes of a reply, without records and with TC where it has no room.
fn fit(reply: Message, room: u16) -> Option<Vec<u8>> {
    let whole = reply.to_vec().ok()?;
    if whole.len() <= usize::from(room) {
        return Some(whole);
    }
    let mut short = reply;
    short.metadata.truncation = true;
    for section in [&mut short.answers, &mut short.authorities, &mut short.additionals] {
        section.clear();
    }
    short.to_vec().ok()
}

async fn over_tcp(mut stream: TcpStream, answer: Arc<Answer>) {
    while let Ok(length) = stream.read_u16().await {
        let mut bytes = vec![0; usize::from(length)];
        if stream.read_exact(&mut bytes).await.is_err() {
            return;
        }
        let Ok(question) = Message::from_vec(&bytes) else { return };
        let Some(reply) = answer(question, Way::Tcp).await else { continue };
        let Ok(reply) = reply.to_vec() else { return };
        let Ok(length) = u16::try_from(reply.len()) else { return };
        if stream.write_all(&[&length.to_be_bytes(), reply.as_slice()].concat()).await.is_err() {
            return;
        }
    }
}

async fn ask(server: SocketAddr, question: &Message, way: Way) -> Result<Message> {
    let request = question.to_vec()?;
    let asking = async {
        match way {
            Way::Udp => {
                let socket = UdpSocket::bind("127.0.0.1:0").await?;
                socket.connect(server).await?;
                socket.send(&request).await?;
                let mut buffer = vec![0; usize::from(u16::MAX)];
                let length = socket.recv(&mut buffer).await?;
                Ok(Message::from_vec(buffer.get(..length).unwrap_or_default())?)
            }
            Way::Tcp => {
                let mut stream = TcpStream::connect(server).await?;
                stream
                    .write_all(&[&u16::try_from(request.len())?.to_be_bytes(), request.as_slice()].concat())
                    .await?;
                let mut reply = vec![0; usize::from(stream.read_u16().await?)];
                stream.read_exact(&mut reply).await?;
                Ok(Message::from_vec(&reply)?)
            }
        }
    };
    tokio::time::timeout(PATIENCE, asking).await?
}

/// A recorded answer as a message.
fn recorded(exchange: &Exchange) -> Result<Message> {
    let mut message = Message::new(0, MessageType::Response, hickory_proto::op::OpCode::Query);
    message.metadata.response_code = match exchange.rcode.as_str() {
        "NOERROR" => ResponseCode::NoError,
        "NXDOMAIN" => ResponseCode::NXDomain,
        "SERVFAIL" => ResponseCode::ServFail,
        "REFUSED" => ResponseCode::Refused,
        other => bail!("{}: {other}", exchange.name),
    };
    let has = |flag: &str| exchange.flags.split(' ').any(|set| set == flag);
    message.metadata.authoritative = has("AA");
    message.metadata.recursion_desired = has("RD");
    message.metadata.recursion_available = has("RA");
    for (section, lines) in [
        (&mut message.answers, &exchange.answer),
        (&mut message.authorities, &exchange.authority),
        (&mut message.additionals, &exchange.additional),
    ] {
        for line in lines {
            section.push(record(line).with_context(|| line.clone())?);
        }
    }
    // An alias comes before what it leads to; the recording has no order.
    message.answers.sort_by_key(|record| !matches!(record.data, RData::CNAME(_)));
    message.set_edns(Edns::new());
    Ok(message)
}

/// `owner ttl TYPE data`, with SERIAL for a SOA's serial: any will do.
fn record(line: &str) -> Result<Record> {
    let mut words = line.split(' ');
    let mut word = || words.next().context("a word is missing");
    let (owner, ttl, kind) = (name(word()?)?, word()?.parse()?, word()?);
    let data = match kind {
        "A" => RData::A(rdata::A(word()?.parse()?)),
        "AAAA" => RData::AAAA(rdata::AAAA(word()?.parse()?)),
        "CNAME" => RData::CNAME(rdata::CNAME(name(word()?)?)),
        "NS" => RData::NS(rdata::NS(name(word()?)?)),
        "PTR" => RData::PTR(rdata::PTR(name(word()?)?)),
        "TXT" => RData::TXT(rdata::TXT::new(vec![word()?.trim_matches('"').to_owned()])),
        "SRV" => {
            let (priority, weight, port) = (word()?.parse()?, word()?.parse()?, word()?.parse()?);
            RData::SRV(rdata::SRV::new(priority, weight, port, name(word()?)?))
        }
        "SOA" => {
            let (server, mail, _) = (name(word()?)?, name(word()?)?, word()?);
            let (refresh, retry, expire) = (word()?.parse()?, word()?.parse()?, word()?.parse()?);
            RData::SOA(rdata::SOA::new(
                server,
                mail,
                fastrand::u32(..),
                refresh,
                retry,
                expire,
                word()?.parse()?,
            ))
        }
        other => bail!("{other}: not a type that was recorded"),
    };
    Ok(Record::from_rdata(owner, ttl, data))
}

/// Labels as they are: recorded names have characters that the text form would escape.
fn name(text: &str) -> Result<Name> {
    let mut name = Name::from_labels(text.trim_end_matches('.').split('.').map(str::as_bytes))?;
    name.set_fqdn(true);
    Ok(name)
}

fn text(name: &Name) -> String {
    let mut text = String::new();
    for label in name {
        text.push_str(&String::from_utf8_lossy(label));
        text.push('.');
    }
    text
}
