//! Questions over real sockets, and answers in the form in which the cases record them.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail};
use hickory_proto::{
    op::{Edns, Message, Metadata, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata::TXT},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use super::answers::Exchange;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The largest UDP answer the questions offer to take, as the recording did.
const PAYLOAD: u16 = 4096;

/// Asks one server.
#[derive(Debug)]
pub struct Resolver {
    server: SocketAddr,
    socket: UdpSocket,
}

impl Resolver {
    /// A resolver with a socket of its own.
    ///
    /// # Errors
    /// When no socket can be had.
    pub async fn new(server: SocketAddr) -> Result<Self> {
        let local: SocketAddr =
            if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
        let socket = UdpSocket::bind(local).await?;
        socket.connect(server).await?;
        Ok(Self { server, socket })
    }

    /// Asks over UDP with EDNS, and again over TCP when the answer is truncated.
    ///
    /// # Errors
    /// When there is no answer in time or it cannot be read.
    pub async fn ask(&self, name: &str, kind: &str) -> Result<Exchange> {
        let request = question(name, kind, Some(PAYLOAD))?;
        let mut reply = self.udp(&request).await.with_context(|| format!("{name} {kind} over UDP"))?;
        if reply.metadata.truncation {
            reply = self.tcp(&request).await.with_context(|| format!("{name} {kind} over TCP"))?;
        }
        Ok(render(name, kind, &reply))
    }

    /// Asks over TCP.
    ///
    /// # Errors
    /// When there is no answer in time or it cannot be read.
    pub async fn ask_over_tcp(&self, name: &str, kind: &str) -> Result<Exchange> {
        let reply = self.tcp(&question(name, kind, Some(PAYLOAD))?).await;
        Ok(render(name, kind, &reply.with_context(|| format!("{name} {kind} over TCP"))?))
    }

    /// Sends one packet over UDP and waits for the answer with its id.
    ///
    /// # Errors
    /// When there is none in time or it cannot be read.
    pub async fn udp(&self, request: &[u8]) -> Result<Message> {
        self.socket.send(request).await?;
        let mut buffer = vec![0; usize::from(u16::MAX)];
        timeout(PATIENCE, async {
            loop {
                let length = self.socket.recv(&mut buffer).await?;
                let reply = buffer.get(..length).unwrap_or_default();
                // An answer to an earlier question that came late is not this one's.
                if reply.get(..2) == request.get(..2) {
                    return Ok(Message::from_vec(reply)?);
                }
            }
        })
        .await?
    }

    /// Sends one message over a TCP connection of its own.
    ///
    /// # Errors
    /// When there is no answer in time or it cannot be read.
    pub async fn tcp(&self, request: &[u8]) -> Result<Message> {
        timeout(PATIENCE, async {
            let mut stream = TcpStream::connect(self.server).await?;
            stream.write_all(&u16::try_from(request.len())?.to_be_bytes()).await?;
            stream.write_all(request).await?;
            let length = stream.read_u16().await?;
            let mut reply = vec![0; usize::from(length)];
            stream.read_exact(&mut reply).await?;
            Ok(Message::from_vec(&reply)?)
        })
        .await?
    }
}

/// A question in wire form, with EDNS if a payload size is given.
///
/// # Errors
/// When the name or the type cannot be read.
pub fn question(name: &str, kind: &str, payload: Option<u16>) -> Result<Vec<u8>> {
    let mut message = Message::query();
    message.metadata.id = fastrand::u16(..);
    message.metadata.recursion_desired = true;
    let kind: RecordType = kind.parse().map_err(|_| anyhow::anyhow!("unknown type {kind}"))?;
    // Labels as they are: recorded names have characters that the text form would escape.
    let labels = name.trim_end_matches('.').split('.').map(str::as_bytes);
    message.add_query(Query::query(Name::from_labels(labels)?, kind));
    if let Some(payload) = payload {
        let mut edns = Edns::new();
        edns.set_max_payload(payload);
        message.set_edns(edns);
    }
    Ok(message.to_vec()?)
}

fn render(name: &str, kind: &str, reply: &Message) -> Exchange {
    let lines = |records: &[Record]| records.iter().map(line).collect();
    Exchange {
        name: name.to_owned(),
        kind: kind.to_owned(),
        rcode: rcode(reply.metadata.response_code),
        flags: flags(&reply.metadata),
        answer: lines(&reply.answers),
        authority: lines(&reply.authorities),
        additional: lines(&reply.additionals),
    }
}

fn rcode(code: ResponseCode) -> String {
    match code {
        ResponseCode::NoError => "NOERROR".to_owned(),
        ResponseCode::NXDomain => "NXDOMAIN".to_owned(),
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        other => format!("{other:?}"),
    }
}

fn flags(metadata: &Metadata) -> String {
    let mut flags = vec!["QR"];
    let set = [
        (metadata.authoritative, "AA"),
        (metadata.truncation, "TC"),
        (metadata.recursion_desired, "RD"),
        (metadata.recursion_available, "RA"),
    ];
    flags.extend(set.into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag));
    flags.join(" ")
}

/// `owner ttl TYPE rdata`; a SOA's serial differs from run to run and is written SERIAL.
fn line(record: &Record) -> String {
    let data = match &record.data {
        RData::SOA(soa) => format!(
            "{} {} SERIAL {} {} {} {}",
            soa.mname, soa.rname, soa.refresh, soa.retry, soa.expire, soa.minimum
        ),
        RData::TXT(text) => quoted(text),
        data => data.to_string(),
    };
    format!("{} {} {} {data}", record.name.to_ascii(), record.ttl, record.record_type())
}

fn quoted(text: &TXT) -> String {
    let parts = text.txt_data.iter().map(|part| format!("\"{}\"", String::from_utf8_lossy(part)));
    parts.collect::<Vec<_>>().join(" ")
}

/// Checks that two addresses answer, for callers that wait for a server to come up.
///
/// # Errors
/// When `server` does not answer within `patience`.
pub async fn wait_for(server: SocketAddr, patience: Duration) -> Result<()> {
    let resolver = Resolver::new(server).await?;
    let asking = async {
        while resolver.ask("dns-version.cluster.local.", "TXT").await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if timeout(patience, asking).await.is_err() {
        bail!("{server} does not answer within {patience:?}");
    }
    Ok(())
}
