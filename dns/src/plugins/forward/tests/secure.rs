//! Upstreams over TLS.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{RootCertStore, ServerConfig, pki_types::PrivateKeyDer, server::WebPkiClientVerifier};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

use super::*;

/// An authority, and certificates of it in files.
struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self { folder: tempfile::tempdir().unwrap(), issuer };
        authority.write("ca.pem", &authority.issuer.pem());
        authority
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.folder.path().join(name), text).unwrap();
        self.path(name)
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// An upstream whose certificate is for this name or address; how it knows its clients.
    async fn upstream(&self, name: &str, knows_clients: bool) -> (Arc<Fake>, SocketAddr) {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let mut trusted = RootCertStore::empty();
        trusted.add(self.issuer.der().clone()).unwrap();
        let builder = match knows_clients {
            false => builder.with_no_client_auth(),
            true => {
                let verifier = WebPkiClientVerifier::builder_with_provider(trusted.into(), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let mut config = builder.with_single_cert(vec![certificate.unwrap().der().clone()], key).unwrap();
        config.alpn_protocols = vec![b"dot".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let fake = Fake::new(Manner::Good).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = Arc::clone(&fake);
        tokio::spawn(async move {
            loop {
                let (stream, from) = listener.accept().await.unwrap();
                serving.connections.fetch_add(1, Ordering::Relaxed);
                let (acceptor, fake) = (acceptor.clone(), Arc::clone(&serving));
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        fake.serve_stream(stream, from).await;
                    }
                });
            }
        });
        (fake, address)
    }
}

fn router(to: &str, options: &str) -> Arc<Router> {
    testing::router(&format!(".:53 {{\n forward . {to} {{\n {options}\n }}\n}}"))
}

#[tokio::test]
async fn upstreams_are_asked_over_tls() {
    let authority = Authority::new();
    let (fake, address) = authority.upstream("dns.example", false).await;
    let ca = authority.path("ca.pem");
    for (to, options) in [
        (format!("tls://{address}"), format!("tls {ca}\n tls_servername dns.example")),
        (format!("tls://127.0.0.1%dns.example:{}", address.port()), format!("tls {ca}")),
    ] {
        let router = router(&to, &options);
        let before = fake.connections.load(Ordering::Relaxed);
        for at in 0..3 {
            let reply = ask(&router, &format!("name-{at}.example.")).await;
            assert!(is_good(&reply), "{:?}", reply.error);
        }
        assert_eq!(fake.connections.load(Ordering::Relaxed), before + 1, "the connection is kept");
    }
    assert_eq!(fake.asked().0, 0);
    // Without a name the certificate is to be the address's.
    let (_, address) = authority.upstream("127.0.0.1", false).await;
    assert!(is_good(&ask(&router(&format!("tls://{address}"), &format!("tls {ca}")), "a.example.").await));
}

#[tokio::test]
async fn an_upstream_that_cannot_prove_who_it_is_is_told_nothing() {
    let authority = Authority::new();
    let (fake, address) = authority.upstream("dns.example", false).await;
    let ca = authority.path("ca.pem");
    for (options, wanted) in [
        // Another name, no name, the system's authorities.
        (format!("tls {ca}\n tls_servername other.example"), "not valid for"),
        (format!("tls {ca}"), "not valid for"),
        ("tls\n tls_servername dns.example".to_owned(), "UnknownIssuer"),
        ("tls_servername dns.example".to_owned(), "UnknownIssuer"),
    ] {
        let reply = ask(&router(&format!("tls://{address}"), &options), "a.example.").await;
        assert_eq!(reply.rcode, ResponseCode::ServFail);
        let error = reply.error.unwrap();
        assert!(error.starts_with("tls: ") && error.contains(wanted), "{error}");
    }
    assert!(fake.seen.lock().is_empty());
}

#[tokio::test]
async fn an_upstream_may_want_to_know_who_asks() {
    let authority = Authority::new();
    let (_, address) = authority.upstream("dns.example", true).await;
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["client.example".to_owned()]).unwrap();
    let own = own.signed_by(&key, &authority.issuer).unwrap();
    let cert = authority.write("cert.pem", &own.pem());
    let key = authority.write("key.pem", &key.serialize_pem());
    let ca = authority.path("ca.pem");
    let to = format!("tls://{address}");
    let known = router(&to, &format!("tls {cert} {key} {ca}\n tls_servername dns.example"));
    assert!(is_good(&ask(&known, "a.example.").await));
    let unknown = router(&to, &format!("tls {ca}\n tls_servername dns.example"));
    assert_eq!(ask(&unknown, "a.example.").await.rcode, ResponseCode::ServFail);
    // Files that do not hold what they should.
    for (files, file) in [(format!("{key} {key}"), &key), (format!("{cert} {cert}"), &cert)] {
        let text = format!(".:53 {{\n forward . tls://127.0.0.1 {{\n tls {files}\n }}\n}}");
        let error = testing::config(&text).unwrap_err().to_string();
        let wanted = format!("plugin/forward: Corefile:3 - Error during parsing: {file}: ");
        assert!(error.starts_with(&wanted), "{error}");
    }
}
