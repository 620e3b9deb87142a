//! Telling secondaries that a zone has changed (RFC 1996).

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures::{
    future::join_all,
    stream::{FuturesUnordered, StreamExt},
};
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RecordType},
};
use tokio::{net::UdpSocket, sync::broadcast::error::RecvError, time::timeout};

use super::directive::{Stanza, To, longest};
use crate::{plugin::World, plugins::reading::name_text};

/// Zones that are being told of at once: one whose secondaries do not answer keeps no other waiting.
const AT_ONCE: usize = 64;
/// How often a secondary is told that does not say that it heard.
const TRIES: usize = 3;
/// How long it may take to say so.
const PATIENCE: Duration = Duration::from_secs(2);

/// Tells of every change from now on, until the configuration ends.
pub(super) fn follow(world: &World, stanzas: Arc<[Stanza]>) {
    let mut changes = world.changes.listen();
    let stop = world.stop.clone();
    tokio::spawn(async move {
        let mut telling = FuturesUnordered::new();
        loop {
            let heard = tokio::select! {
                () = stop.cancelled() => return,
                Some(()) = telling.next(), if !telling.is_empty() => continue,
                heard = changes.recv(), if telling.len() < AT_ONCE => heard,
            };
            match heard {
                Ok(zone) => telling.push(tell_all(&stanzas, zone)),
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!(target: "plugin/transfer", "{missed} changes of zones were not told of");
                }
                Err(RecvError::Closed) => return,
            }
        }
    });
}

async fn tell_all(stanzas: &[Stanza], zone: Name) {
    let Some(stanza) = longest(stanzas, &zone) else { return };
    let hosts = stanza.to.iter().filter_map(|to| if let To::Host(host) = to { Some(*host) } else { None });
    join_all(hosts.map(|host| tell(&zone, host))).await;
}

async fn tell(zone: &Name, host: SocketAddr) {
    let text = name_text(zone);
    let mut failure = String::new();
    for _ in 0..TRIES {
        match timeout(PATIENCE, exchange(zone, host)).await {
            Ok(Ok(ResponseCode::NoError)) => {
                tracing::debug!(target: "plugin/transfer", "Sent notify for zone {text:?} to {host}");
                return;
            }
            Ok(Ok(rcode)) => failure = format!("response code {rcode}"),
            Ok(Err(error)) => failure = error.to_string(),
            Err(_) => failure = "no answer".to_owned(),
        }
    }
    tracing::warn!(target: "plugin/transfer", "Failed to send notify for zone {text:?} to {host}: {failure}");
}

/// Sends one NOTIFY; the response code of its answer.
async fn exchange(zone: &Name, host: SocketAddr) -> std::io::Result<ResponseCode> {
    let mut message = Message::new(fastrand::u16(..), MessageType::Query, OpCode::Notify);
    message.metadata.authoritative = true;
    message.add_query(Query::query(zone.clone(), RecordType::SOA));
    let local: SocketAddr = if host.is_ipv4() {
        (std::net::Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (std::net::Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(host).await?;
    socket.send(&message.to_vec().map_err(std::io::Error::other)?).await?;
    let mut bytes = [0; 512];
    loop {
        let length = socket.recv(&mut bytes).await?;
        let answer = Message::from_vec(bytes.get(..length).unwrap_or_default());
        // Whatever is not the answer is not heard; the caller's patience ends this.
        if let Ok(answer) = answer
            && answer.metadata.id == message.metadata.id
            && answer.metadata.message_type == MessageType::Response
        {
            return Ok(answer.metadata.response_code);
        }
    }
}
