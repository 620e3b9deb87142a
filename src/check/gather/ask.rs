//! Questions to a DNS server. Each has a socket of its own: behind a Service every one may reach another replica.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Edns, Message, MessageType, Query, ResponseCode},
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::opt::{EdnsCode, EdnsOption},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use super::super::facts::Reply;

/// How long an answer may take, and how often is asked.
const PATIENCE: Duration = Duration::from_secs(2);
const TRIES: usize = 2;
/// A name of others may take an upstream's time.
const LONGER: Duration = Duration::from_secs(5);
/// The UDP size that is offered: what crosses every link unfragmented.
const PAYLOAD: u16 = 1232;

/// A question.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) name: Name,
    pub(super) kind: RecordType,
    pub(super) class: DNSClass,
    pub(super) tcp: bool,
    /// Whether the answer may come from afar.
    pub(super) far: bool,
}

/// Asks a server, and how long the answer took.
pub(super) async fn ask(server: SocketAddr, question: &Question) -> (Result<Reply, String>, Duration) {
    let patience = if question.far { LONGER } else { PATIENCE };
    let mut last = (Err("not asked".to_owned()), Duration::ZERO);
    for _ in 0..TRIES {
        let id = fastrand::u16(..);
        let packet = match question.packet(id) {
            Ok(packet) => packet,
            Err(error) => return (Err(error), Duration::ZERO),
        };
        let started = Instant::now();
        let exchange =
            async { if question.tcp { tcp(server, &packet).await } else { udp(server, &packet).await } };
        let reply = match timeout(patience, exchange).await {
            Ok(Ok(reply)) => question.read(id, &reply),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {} s", patience.as_secs())),
        };
        last = (reply, started.elapsed());
        if last.0.is_ok() {
            break;
        }
    }
    last
}

impl Question {
    fn packet(&self, id: u16) -> Result<Vec<u8>, String> {
        let mut message = Message::query();
        message.metadata.id = id;
        message.metadata.recursion_desired = true;
        let mut query = Query::query(self.name.clone(), self.kind);
        query.set_query_class(self.class);
        message.add_query(query);
        let mut edns = Edns::new();
        edns.set_max_payload(PAYLOAD);
        edns.options_mut().insert(EdnsOption::Unknown(EdnsCode::NSID.into(), Vec::new()));
        message.set_edns(edns);
        message.to_vec().map_err(|error| error.to_string())
    }

    fn read(&self, id: u16, packet: &[u8]) -> Result<Reply, String> {
        let message =
            Message::from_vec(packet).map_err(|error| format!("an answer that cannot be read: {error}"))?;
        let ours = message.queries.first().is_none_or(|query| *query.name() == self.name);
        if message.metadata.id != id || message.metadata.message_type != MessageType::Response || !ours {
            return Err("an answer to another question".to_owned());
        }
        let data = message.answers.iter().filter(|record| record.record_type() == self.kind).map(data);
        let nsid = message.edns.as_ref().and_then(|edns| match edns.option(EdnsCode::NSID) {
            Some(EdnsOption::NSID(payload)) => Some(String::from_utf8_lossy(payload.as_ref()).into_owned()),
            _ => None,
        });
        Ok(Reply {
            rcode: rcode(message.metadata.response_code),
            authoritative: message.metadata.authoritative,
            truncated: message.metadata.truncation,
            data: data.collect(),
            soa: message.authorities.iter().any(|record| record.record_type() == RecordType::SOA),
            edns: message.edns.as_ref().map(Edns::max_payload),
            nsid: nsid.filter(|nsid| !nsid.is_empty()),
        })
    }
}

async fn udp(server: SocketAddr, packet: &[u8]) -> io::Result<Vec<u8>> {
    let local: SocketAddr =
        if server.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(server).await?;
    socket.send(packet).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    let length = socket.recv(&mut buffer).await?;
    buffer.truncate(length);
    Ok(buffer)
}

async fn tcp(server: SocketAddr, packet: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(packet.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), packet].concat()).await?;
    let length = stream.read_u16().await?;
    let mut reply = vec![0; usize::from(length)];
    stream.read_exact(&mut reply).await?;
    Ok(reply)
}

fn data(record: &Record) -> String {
    match &record.data {
        RData::TXT(text) => text
            .txt_data
            .iter()
            .map(|part| String::from_utf8_lossy(part).into_owned())
            .collect::<Vec<_>>()
            .join(" "),
        data => data.to_string(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_is_read_and_silence_is_told() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let server = socket.local_addr().unwrap();
        let answering = tokio::spawn(async move {
            let mut buffer = [0; 512];
            // The first question is lost.
            let _ = socket.recv_from(&mut buffer).await.unwrap();
            let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
            let asked = Message::from_vec(&buffer[..length]).unwrap();
            assert_eq!(asked.edns.as_ref().unwrap().max_payload(), PAYLOAD);
            assert!(asked.edns.as_ref().unwrap().option(EdnsCode::NSID).is_some());
            let mut reply = Message::response(asked.metadata.id, asked.metadata.op_code);
            reply.metadata.response_code = ResponseCode::NXDomain;
            reply.metadata.authoritative = true;
            reply.add_query(asked.queries[0].clone());
            let mut edns = Edns::new();
            edns.set_max_payload(1232);
            edns.options_mut().insert(EdnsOption::Unknown(3, b"pod-1".to_vec()));
            reply.set_edns(edns);
            socket.send_to(&reply.to_vec().unwrap(), peer).await.unwrap();
        });
        let question = Question {
            name: Name::from_ascii("a.b.").unwrap(),
            kind: RecordType::A,
            class: DNSClass::IN,
            tcp: false,
            far: false,
        };
        let (reply, took) = ask(server, &question).await;
        answering.await.unwrap();
        let wanted = Reply {
            rcode: "NXDOMAIN".to_owned(),
            authoritative: true,
            edns: Some(1232),
            nsid: Some("pod-1".to_owned()),
            ..Reply::default()
        };
        assert_eq!(reply, Ok(wanted));
        assert!(took < PATIENCE);
        // Nobody listens any more.
        let (reply, _) = ask(server, &Question { tcp: true, ..question }).await;
        assert!(reply.unwrap_err().contains("refused"));
    }
}
