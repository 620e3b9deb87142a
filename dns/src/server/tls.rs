//! TLS of listeners: what a configuration names, read from its files.
//!
//! Versions are 1.2 and 1.3, as CoreDNS's. Files are read again with every configuration: certificates that were renewed
//! are served from then on, to connections that begin from then on.

use std::{
    fs::File,
    io::{self, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{
        CertificateDer, PrivateKeyDer, UnixTime,
        pem::{self, PemObject},
    },
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use crate::block::Scheme;

/// The files of a listener's TLS, and whether clients have to show a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// The authorities that clients' certificates are checked against, PEM; `None` for those of the system.
    pub authorities: Option<PathBuf>,
    /// Whether and how clients are asked for a certificate.
    pub client_auth: ClientAuth,
}

/// Whether clients are asked for a certificate (Go's `tls.ClientAuthType`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not.
    #[default]
    None,
    /// They are, and may show none or any.
    Request,
    /// They must show one, whoever signed it.
    RequireAny,
    /// They are checked if they show one.
    VerifyIfGiven,
    /// They must show one that is good.
    RequireAndVerify,
}

/// Protocols that are agreed on within TLS (RFC 7301): `dot` of RFC 7858, and HTTP's.
const DOT: &[&[u8]] = &[b"dot"];
const DOH: &[&[u8]] = &[b"h2", b"http/1.1"];

/// What a listener of this scheme does with these files.
///
/// # Errors
/// When a file cannot be read, holds nothing of its kind, or does not fit the others; the error names it.
pub(super) fn config(files: &TlsFiles, scheme: Scheme) -> io::Result<Arc<ServerConfig>> {
    let provider = Arc::new(ring::default_provider());
    let chain = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_reader(open(&files.key)?);
    let key = key.map_err(|error| unreadable(&files.key, "a private key", &error))?;
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.map_err(io::Error::other)?;
    let builder = match files.client_auth {
        ClientAuth::None => builder.with_no_client_auth(),
        ClientAuth::Request | ClientAuth::RequireAny => {
            let mandatory = files.client_auth == ClientAuth::RequireAny;
            builder.with_client_cert_verifier(Arc::new(AnyCertificate { provider, mandatory }))
        }
        ClientAuth::VerifyIfGiven | ClientAuth::RequireAndVerify => {
            let roots = Arc::new(authorities(files.authorities.as_deref())?);
            let mut verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            if files.client_auth == ClientAuth::VerifyIfGiven {
                verifier = verifier.allow_unauthenticated();
            }
            builder.with_client_cert_verifier(verifier.build().map_err(io::Error::other)?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| {
        let (certificate, key) = (files.certificate.display(), files.key.display());
        io::Error::other(format!("{certificate} and {key}: {error}"))
    })?;
    let protocols = if scheme == Scheme::Https { DOH } else { DOT };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

fn open(path: &Path) -> io::Result<BufReader<File>> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    File::open(path).map(BufReader::new).map_err(named)
}

fn unreadable(path: &Path, what: &str, error: &pem::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: not {what}: {error}", path.display()))
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_reader_iter(open(path)?).collect();
    let all = all.map_err(|error| unreadable(path, "a certificate", &error))?;
    if all.is_empty() {
        return Err(unreadable(path, "a certificate", &pem::Error::NoItemsFound));
    }
    Ok(all)
}

fn authorities(path: Option<&Path>) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match path {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| {
                    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))
                })?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}

/// Takes whatever certificate a client shows, which must still have its key.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
    mandatory: bool,
}

impl ClientCertVerifier for AnyCertificate {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }
}
