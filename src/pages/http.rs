//! HTTP for pages: bounded, because whoever reaches the port may open connections and say nothing.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::warn;

/// Connections of one listener. Probes and scrapes are a handful.
const CONNECTIONS: usize = 128;
/// How long a request may take to arrive, and a connection may wait for the next one.
const REQUEST: Duration = Duration::from_secs(10);
/// How long a connection may last: scrapers begin another.
const CONNECTION: Duration = Duration::from_secs(600);
/// A page is asked for with a line and a few fields, bytes.
const HEADERS: usize = 16 << 10;
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until it is dropped, its connections with it.
pub(super) async fn serve(listener: TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Mostly: no more file descriptors. Connections that end will free some.
                warn!(%error, "accepting for a page failed");
                sleep(PAUSE).await;
                continue;
            }
        };
        // One more than there is room for is closed at once.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let service = TowerToHyperService::new(router.clone());
        connections.spawn(async move {
            let _place = place;
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(REQUEST).max_buf_size(HEADERS);
            let _ = timeout(CONNECTION, builder.serve_connection(TokioIo::new(stream), service)).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;

    #[tokio::test]
    async fn connections_that_say_nothing_leave_room_for_those_that_ask() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener, Router::new().route("/", get(async || "OK"))));
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let ask = async || {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer).await;
            answer
        };
        assert_eq!(ask().await, "", "one more than there is room for");
        silent.pop();
        let answered = async {
            while !ask().await.ends_with("OK") {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(5), answered).await.expect("no answer");
        serving.abort();
    }
}
