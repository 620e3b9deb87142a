use std::net::SocketAddr;

use hickory_proto::{
    op::{Message, OpCode, ResponseCode},
    rr::{Record, RecordType},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
};

use crate::testing::{self, record};

mod answers;

/// What an upstream does with a question.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    Good,
    Silent,
    Fails,
    /// Over UDP says that the answer is too large.
    Truncates,
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
            }
            socket.send_to(&reply.to_vec().unwrap(), from).await.unwrap();
        }
    });
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                while let Some(question) = read_tcp(&mut stream).await {
                    let reply = records(&question).to_vec().unwrap();
                    let mut framed = u16::try_from(reply.len()).unwrap().to_be_bytes().to_vec();
                    framed.extend(reply);
                    stream.write_all(&framed).await.unwrap();
                }
            });
        }
    });
    address
}

async fn read_tcp(stream: &mut TcpStream) -> Option<Message> {
    let length = stream.read_u16().await.ok()?;
    let mut bytes = vec![0; usize::from(length)];
    stream.read_exact(&mut bytes).await.ok()?;
    Message::from_vec(&bytes).ok()
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
        other => vec![format!("{other} 60 A 192.0.2.9")],
    };
    reply.answers = text.iter().map(|text| record(text)).collect();
    reply
}

fn text(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| format!("{} {}", record.name, record.data)).collect()
}
