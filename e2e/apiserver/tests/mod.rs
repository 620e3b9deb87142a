//! The server over real sockets, with kube-rs and with requests written by hand.

mod access;
mod deletion;
mod faults;
mod kinds;
mod lists;
mod recorded;
mod running;
mod sandbox;
mod watches;
mod writes;

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::kind::Kind;
use super::{ApiServer, Options, Running};

/// A server with nothing behind it, and a client.
async fn bare() -> (Running, Client) {
    start(Options::default()).await
}

async fn start(options: Options) -> (Running, Client) {
    let server = ApiServer::start(options).await.unwrap();
    let client = client(&server);
    (server, client)
}

fn client(server: &Running) -> Client {
    Client::try_from(Config::new(server.url().parse().unwrap())).unwrap()
}

fn services(client: &Client) -> Api<Service> {
    Api::namespaced(client.clone(), "default")
}

fn pods(client: &Client) -> Api<Pod> {
    Api::namespaced(client.clone(), "default")
}

/// An object from JSON, as clients have them.
fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": name, "namespace": "default", "labels": { "app": name } },
        "spec": { "selector": { "app": name }, "ports": [{ "name": "http", "port": 80 }] },
    })
}

fn pod(name: &str, node: Option<&str>) -> Value {
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "namespace": "default", "labels": { "app": name } },
        "spec": { "containers": [{ "name": "c", "image": "registry.invalid/app:1" }] },
    });
    if let Some(node) = node {
        pod["spec"]["nodeName"] = json!(node);
    }
    pod
}

/// An answer to a request written by hand.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The events of a watch that has ended.
    fn events(&self) -> Vec<Value> {
        self.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Sends a request and reads the answer to its end. `None` when the connection ends without one.
async fn try_send(server: &Running, head: &str, body: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
    let headers: String = headers.lines().map(|header| format!("{}\r\n", header.trim())).collect();
    let request = format!(
        "{line} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    // A connection that is cut has no orderly end.
    drop(stream.read_to_end(&mut bytes).await);
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { dechunked(body) } else { body.to_owned() };
    Some(Answer { status, head: head.to_owned(), body })
}

async fn send(server: &Running, head: &str, body: &str) -> Answer {
    try_send(server, head, body).await.expect("an answer")
}

async fn get(server: &Running, path: &str) -> Answer {
    send(server, &format!("GET {path}"), "").await
}

fn dechunked(mut body: &str) -> String {
    let mut text = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        let (chunk, rest) = rest.split_at(length.min(rest.len()));
        text.push_str(chunk);
        body = rest.trim_start_matches("\r\n");
        if length == 0 {
            break;
        }
    }
    text
}

/// Waits until something is so.
async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(10), "it did not come to be that {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
