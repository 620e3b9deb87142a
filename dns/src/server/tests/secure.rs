//! DNS over TLS and over HTTPS, with certificates of the test's own.

use std::{path::Path, pin::Pin};

use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;

/// An authority, and the files of certificates it signed.
struct Authority {
    folder: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { folder, issuer }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Writes `<name>.pem` and `<name>.key`.
    fn sign(&self, name: &str, host: &str) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    fn client(&self, own: Option<&str>, protocols: &[&[u8]]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let read = |path: String| CertificateDer::from_pem_file(Path::new(&path)).unwrap();
        roots.add(read(self.path("ca.pem"))).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let chain = vec![read(self.path(&format!("{name}.pem")))];
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config)
    }

    async fn connect(
        &self,
        to: SocketAddr,
        own: Option<&str>,
        protocols: &[&[u8]],
    ) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(to).await?;
        let name = ServerName::try_from("dns.test").unwrap();
        let stream = TlsConnector::from(self.client(own, protocols)).connect(name, stream).await?;
        Ok(stream)
    }
}

/// The first address of a service over IPv4.
async fn address(service: &Service) -> SocketAddr {
    let all = service.addresses().await;
    let (_, at) = all.iter().find(|(_, at)| at.is_ipv4()).unwrap();
    SocketAddr::from((Ipv4Addr::LOCALHOST, at.port()))
}

async fn ask_over<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, question: &[u8]) -> Option<Message> {
    stream.write_all(&framed(question)).await.ok()?;
    let length = timeout(PATIENCE, stream.read_u16()).await.expect("no answer in time").ok()?;
    let mut reply = vec![0; usize::from(length)];
    stream.read_exact(&mut reply).await.ok()?;
    Some(Message::from_vec(&reply).unwrap())
}

fn blocks(scheme: &str, authority: &Authority, more: &str) -> String {
    let (certificate, key) = (authority.path("server.pem"), authority.path("server.key"));
    format!(
        "{scheme}://cluster.local:0 {{\n tls {certificate} {key} {more}\n prometheus\n kubernetes {{\n ttl 7\n }}\n}}"
    )
}

fn vip() -> Vec<u8> {
    query(9, "vip.ns.svc.cluster.local.", RecordType::A)
}

#[tokio::test]
async fn dns_is_answered_over_tls_and_renewed_certificates_are_shown_after_a_reload() {
    let authority = Authority::new();
    authority.sign("server", "dns.test");
    let text = blocks("tls", &authority, "");
    let (service, _) = service(&text).await;
    let at = address(&service).await;
    let mut first = authority.connect(at, None, &[b"dot"]).await.unwrap();
    assert_eq!(first.get_ref().1.alpn_protocol(), Some(&b"dot"[..]));
    let shown = first.get_ref().1.peer_certificates().unwrap()[0].clone();
    for id in 0..3 {
        let answer =
            ask_over(&mut first, &query(id, "vip.ns.svc.cluster.local.", RecordType::A)).await.unwrap();
        assert_eq!((answer.metadata.id, answer.answers.len()), (id, 1));
    }
    // Plain bytes are an alert (RFC 8446 6) at most, and the end.
    let mut plain = TcpStream::connect(at).await.unwrap();
    plain.write_all(&framed(&vip())).await.unwrap();
    let mut told = Vec::new();
    let _ = timeout(PATIENCE * 2, plain.read_to_end(&mut told)).await.expect("a plain connection lives");
    assert!(told.is_empty() || told[0] == 21, "{told:?}");
    authority.sign("server", "dns.test");
    service.load(testing::config(&text).unwrap()).await.unwrap();
    assert_eq!(address(&service).await, at);
    let mut second = authority.connect(at, None, &[b"dot"]).await.unwrap();
    assert_ne!(second.get_ref().1.peer_certificates().unwrap()[0], shown);
    assert!(ask_over(&mut second, &vip()).await.is_some());
    assert!(ask_over(&mut first, &vip()).await.is_some(), "a connection from before the reload");
    // A key that does not fit changes nothing.
    std::fs::write(authority.path("server.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let error = service.load(testing::config(&text).unwrap()).await.unwrap_err().to_string();
    assert!(error.starts_with("plugin/tls: ") && error.contains("server.key"), "{error}");
    assert!(authority.connect(at, None, &[]).await.is_ok());
    // A handshake that never comes costs a connection for a while, and no answer to others.
    let _silent = TcpStream::connect(at).await.unwrap();
    assert!(ask_over(&mut second, &vip()).await.is_some());
}

#[tokio::test]
async fn clients_show_certificates_where_they_have_to() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.sign("server", "dns.test");
    authority.sign("client", "client.test");
    stranger.sign("client", "client.test");
    for name in ["client.pem", "client.key"] {
        std::fs::copy(stranger.path(name), authority.path(&format!("stranger{}", &name[6..]))).unwrap();
    }
    // Who is let in: nobody in particular, a stranger, and a client of ours.
    for (how, wanted) in [
        ("nocert", [true, true, true]),
        ("request", [true, true, true]),
        ("require", [false, true, true]),
        ("verify_if_given", [true, false, true]),
        ("require_and_verify", [false, false, true]),
    ] {
        let more = format!("{} {{\n client_auth {how}\n }}", authority.path("ca.pem"));
        let (service, _) = service(&blocks("tls", &authority, &more)).await;
        let at = address(&service).await;
        for (own, wanted) in [None, Some("stranger"), Some("client")].into_iter().zip(wanted) {
            let answered = match authority.connect(at, own, &[]).await {
                Ok(mut stream) => ask_over(&mut stream, &vip()).await.is_some(),
                Err(_) => false,
            };
            assert_eq!(answered, wanted, "{how} {own:?}");
        }
    }
}

type Sender = Pin<Box<dyn Future<Output = Result<http::Response<hyper::body::Incoming>, hyper::Error>>>>;

/// A function that sends requests over one connection.
async fn http_client(
    authority: &Authority,
    at: SocketAddr,
    h2: bool,
) -> Box<dyn FnMut(http::Request<Full<bytes::Bytes>>) -> Sender> {
    let protocol: &[u8] = if h2 { b"h2" } else { b"http/1.1" };
    let stream = authority.connect(at, None, &[protocol]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol));
    let io = TokioIo::new(stream);
    if h2 {
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        return Box::new(move |request| Box::pin(sender.send_request(request)));
    }
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    Box::new(move |request| Box::pin(sender.send_request(request)))
}

fn get(path: &str) -> http::Request<Full<bytes::Bytes>> {
    let uri = format!("https://dns.test{path}");
    http::Request::get(uri).header("host", "dns.test").body(Full::default()).unwrap()
}

fn post(kind: &str, body: Vec<u8>) -> http::Request<Full<bytes::Bytes>> {
    let request = http::Request::post("https://dns.test/dns-query").header("host", "dns.test");
    request.header("content-type", kind).body(Full::new(body.into())).unwrap()
}

fn encoded(message: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(message)
}

#[tokio::test]
async fn dns_is_answered_over_https() {
    let authority = Authority::new();
    authority.sign("server", "dns.test");
    let (service, meters) = service(&blocks("https", &authority, "")).await;
    let at = address(&service).await;
    let message = "application/dns-message";
    for h2 in [false, true] {
        let mut send = http_client(&authority, at, h2).await;
        for request in [get(&format!("/dns-query?dns={}", encoded(&vip()))), post(message, vip())] {
            let response = timeout(PATIENCE, send(request)).await.unwrap().unwrap();
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers()["content-type"], message);
            assert_eq!(response.headers()["cache-control"], "max-age=7");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let answer = Message::from_vec(&body).unwrap();
            assert_eq!((answer.metadata.id, answer.answers.len()), (9, 1));
        }
        // More than a datagram holds.
        let big = query(3, "big.ns.svc.cluster.local.", RecordType::A);
        let response = send(post(message, big)).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(Message::from_vec(&body).unwrap().answers.len(), 150);
        let mut reply = vip();
        reply[2] |= 0x80;
        let delete = http::Request::delete("https://dns.test/dns-query").header("host", "dns.test");
        for (request, status) in [
            (get(&format!("/other?dns={}", encoded(&vip()))), 404),
            (get("/dns-query"), 400),
            (get("/dns-query?dns=!!"), 400),
            (get(&format!("/dns-query?dns={}", encoded(&vip()[..11]))), 400),
            (get(&format!("/dns-query?dns={}", encoded(&reply))), 400),
            (get(&format!("/dns-query?dns={}", encoded(&vec![0; 17_000]))), 413),
            (post("text/plain", vip()), 415),
            (post(message, vec![0; 17_000]), 413),
            (delete.body(Full::default()).unwrap(), 405),
        ] {
            // A connection may be ended with a body that was not read.
            let what = format!("{} {}", request.method(), request.uri().path());
            let mut send = http_client(&authority, at, h2).await;
            let response = timeout(PATIENCE, send(request)).await.unwrap().unwrap();
            assert_eq!(response.status(), status, "{what}, HTTP/2: {h2}");
        }
    }
    let text = meters.encode().unwrap();
    let counted = |status, count| {
        let line =
            format!("coredns_dns_https_responses_total{{server=\"https://:0\",status=\"{status}\"}} {count}");
        assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
    };
    counted(200, 6);
    counted(404, 2);
    counted(413, 4);
    let requests = r#"proto="tcp",family="1",type="A"} 6"#;
    assert!(text.contains(requests), "{text}");
}

#[tokio::test]
async fn https_connections_are_counted_and_end_when_idle() {
    let authority = Authority::new();
    authority.sign("server", "dns.test");
    let text = blocks("https", &authority, "").replacen(
        "prometheus",
        "https {\n max_connections 2\n }\n timeouts {\n idle 1s\n }",
        1,
    );
    let (service, _) = service(&text).await;
    let at = address(&service).await;
    let mut one = authority.connect(at, None, &[b"h2"]).await.unwrap();
    let mut two = authority.connect(at, None, &[b"http/1.1"]).await.unwrap();
    let mut three = authority.connect(at, None, &[b"http/1.1"]).await.unwrap();
    // The third one has the place of the one that was idle for longest.
    let mut rest = Vec::new();
    let ended = timeout(Duration::from_millis(500), one.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "more connections than there may be");
    for stream in [&mut two, &mut three] {
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("an idle connection lives");
    }
    let mut send = http_client(&authority, at, true).await;
    assert_eq!(send(post("application/dns-message", vip())).await.unwrap().status(), 200);
}

#[tokio::test]
async fn without_a_certificate_streams_are_plain() {
    let (service, _) = service("tls://cluster.local:0 {\n kubernetes\n}").await;
    let mut stream = TcpStream::connect(address(&service).await).await.unwrap();
    assert_eq!(ask_over(&mut stream, &vip()).await.unwrap().answers.len(), 1);
}

#[tokio::test]
async fn questions_over_tls_may_come_in_heaps() {
    let authority = Authority::new();
    authority.sign("server", "dns.test");
    let (service, _) = service(&blocks("tls", &authority, "")).await;
    let stream = authority.connect(address(&service).await, None, &[]).await.unwrap();
    let (mut read, mut write) = tokio::io::split(stream);
    // Far more than the kernel, TLS and we hold of answers that are not taken.
    let writing = tokio::spawn(async move {
        for id in 0..1500 {
            write.write_all(&framed(&query(id, "big.ns.svc.cluster.local.", RecordType::A))).await.unwrap();
        }
        write.flush().await.unwrap();
        write
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    for id in 0..1500 {
        let length = timeout(PATIENCE, read.read_u16()).await.expect("no answer in time").unwrap();
        let mut reply = vec![0; usize::from(length)];
        read.read_exact(&mut reply).await.unwrap();
        let message = Message::from_vec(&reply).unwrap();
        assert_eq!((message.metadata.id, message.answers.len()), (id, 150));
    }
    drop(writing.await.unwrap());
}
