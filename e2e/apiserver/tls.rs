//! HTTPS: a certificate for every name and address this server is called by, from an authority of its own that lives as
//! long as the process.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose, SanType};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

/// What the API server is called in a cluster.
const NAMES: [&str; 5] = [
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];
/// The address of the Service `kubernetes`.
const SERVICE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 96, 0, 1));
/// How long a client has for its part of the handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What turns connections into TLS connections.
#[derive(Clone)]
pub(super) struct Tls {
    acceptor: TlsAcceptor,
    authority: Arc<str>,
}

impl Tls {
    /// Makes an authority and a certificate for a server at an address.
    pub(super) fn new(addr: SocketAddr) -> io::Result<Self> {
        make(addr).map_err(io::Error::other)
    }

    /// The authority's certificate in PEM.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    pub(super) async fn accept(
        &self,
        stream: TcpStream,
        stop: &CancellationToken,
    ) -> io::Result<TlsStream<TcpStream>> {
        tokio::select! {
            accepted = tokio::time::timeout(HANDSHAKE, self.acceptor.accept(stream)) => accepted?,
            () = stop.cancelled() => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

fn make(addr: SocketAddr) -> Result<Tls, Box<dyn std::error::Error + Send + Sync>> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(rcgen::DnType::CommonName, "callsign-sandbox");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(NAMES.map(str::to_owned))?;
    params.distinguished_name.push(rcgen::DnType::CommonName, "kube-apiserver");
    let own = [SERVICE, addr.ip(), IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    params.subject_alt_names.extend(own.map(SanType::IpAddress));
    let certificate = params.signed_by(&key, &authority)?;
    let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(Tls { acceptor: TlsAcceptor::from(Arc::new(config)), authority: authority.pem().into() })
}
