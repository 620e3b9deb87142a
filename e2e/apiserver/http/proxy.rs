//! `…/pods/NAME:PORT/proxy/PATH`: what a pod itself answers. Only pods at loopback addresses are asked: what runs here
//! runs on this machine, and a test double must not be a way to anywhere else.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::body::Body;
use http::header::{CONNECTION, HOST, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Http;
use super::route::ProxyTarget;
use crate::apiserver::kind::Kind;
use crate::apiserver::object::Object;
use crate::apiserver::rules::ApiError;
use crate::apiserver::rules::value::{items, number, text};

/// How long a pod has to accept a connection, and to begin to answer.
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(60);

/// What is between two ends of a connection only.
const OF_THE_HOP: [HeaderName; 4] = [CONNECTION, HOST, TRANSFER_ENCODING, UPGRADE];

impl Http {
    pub(super) async fn proxy(
        &self,
        target: &ProxyTarget,
        mut request: Request<Incoming>,
    ) -> Result<Response<Body>, ApiError> {
        let (name, port) = split(&target.pod)?;
        let Some(pod) = self.store.get(Kind::Pod, &target.namespace, name) else {
            return Err(ApiError::not_found(Kind::Pod, name));
        };
        let addr = address(&pod, port)?;
        let query = request.uri().query().map_or_else(String::new, |query| format!("?{query}"));
        let uri = format!("{}{query}", target.path);
        *request.uri_mut() = uri.parse().map_err(|_| ApiError::bad_request(format!("no path: {uri:?}")))?;
        let headers = request.headers_mut();
        for name in OF_THE_HOP {
            headers.remove(name);
        }
        // A pod has no business with the token of whoever asks.
        headers.remove(http::header::AUTHORIZATION);
        headers.insert(HOST, addr.to_string().parse().map_err(|_| ApiError::internal("no host"))?);
        let answer = self.ask(addr, request).await;
        answer.map_err(|why| ApiError::unavailable(format!("error trying to reach service: {why}")))
    }

    async fn ask(&self, addr: SocketAddr, request: Request<Incoming>) -> Result<Response<Body>, String> {
        let slow = |_| format!("dial tcp {addr}: i/o timeout");
        let stream = tokio::time::timeout(CONNECT, TcpStream::connect(addr)).await.map_err(slow)?;
        let stream = stream.map_err(|error| format!("dial tcp {addr}: {error}"))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        let stop = self.stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = connection => {}
                () = stop.cancelled() => {}
            }
        });
        let answer = tokio::time::timeout(ANSWER, sender.send_request(request)).await.map_err(slow)?;
        let (mut head, body) = answer.map_err(|error| error.to_string())?.into_parts();
        for name in OF_THE_HOP {
            head.headers.remove(name);
        }
        Ok(Response::from_parts(head, Body::new(body)))
    }
}

/// `NAME`, `NAME:PORT`, `http:NAME:PORT`: the name, and the port if one is named.
fn split(pod: &str) -> Result<(&str, &str), ApiError> {
    match pod.split(':').collect::<Vec<_>>().as_slice() {
        [name] => Ok((name, "")),
        [name, port] | ["http" | "", name, port] => Ok((name, port)),
        ["https", ..] => Err(ApiError::bad_request("the embedded API server asks pods over http alone")),
        _ => Err(ApiError::bad_request(format!("invalid pod request {pod:?}"))),
    }
}

/// Where a pod listens: at its first address, on a port by number or name, or on the first port it declares.
fn address(pod: &Object, port: &str) -> Result<SocketAddr, ApiError> {
    let ip = text(&pod.value, &["status", "podIP"]);
    let ip: IpAddr = ip
        .parse()
        .map_err(|_| ApiError::bad_request(format!("address not allowed: pod {} has no address", pod.key)))?;
    if !ip.is_loopback() {
        let why =
            format!("address not allowed: the embedded API server reaches loopback addresses, not {ip}");
        return Err(ApiError::forbidden(Kind::Pod, &pod.key.name, &why));
    }
    let containers = items(&pod.value, &["spec", "containers"]);
    let mut ports = containers.iter().flat_map(|container| items(container, &["ports"]));
    let number_of = |port: &serde_json::Value| number(port, &["containerPort"]);
    let found = match (port, port.parse::<u16>()) {
        (_, Ok(number)) => Some(i64::from(number)),
        ("", _) => Some(ports.next().and_then(number_of).unwrap_or(80)),
        (name, _) => ports.find(|port| text(port, &["name"]) == name).and_then(number_of),
    };
    let number = found.and_then(|number| u16::try_from(number).ok());
    number
        .map(|number| SocketAddr::new(ip, number))
        .ok_or_else(|| ApiError::bad_request(format!("pod {} has no port {port:?}", pod.key)))
}
