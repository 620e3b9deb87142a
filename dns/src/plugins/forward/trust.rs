//! TLS to upstreams: whom to trust, and who we are (RFC 7858, RFC 8310).

use std::{net::IpAddr, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

use crate::corefile::{Directive, Error, Token};

/// The files of `tls`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TlsWords {
    /// Our certificate and its key.
    pub(super) own: Option<(Token, Token)>,
    /// The authorities to trust instead of the system's.
    pub(super) authorities: Option<Token>,
}

impl TlsWords {
    /// `tls [CA]`, `tls CERT KEY [CA]`
    ///
    /// # Errors
    /// When there are more files.
    pub(super) fn read(option: &Directive) -> Result<Self, Error> {
        Ok(match option.args.as_slice() {
            [] => Self::default(),
            [ca] => Self { own: None, authorities: Some(ca.clone()) },
            [cert, key] => Self { own: Some((cert.clone(), key.clone())), authorities: None },
            [cert, key, ca] => Self { own: Some((cert.clone(), key.clone())), authorities: Some(ca.clone()) },
            _ => return Err(option.wrong_count()),
        })
    }

    /// What connections are made with.
    ///
    /// # Errors
    /// When a file cannot be read or does not hold what it should.
    pub(super) fn config(&self, root: &Path) -> Result<Arc<ClientConfig>, Error> {
        let mut trusted = RootCertStore::empty();
        match &self.authorities {
            Some(file) => {
                for certificate in certificates(file, root)? {
                    trusted.add(certificate).map_err(|error| file.error(error.to_string()))?;
                }
            }
            None => {
                // Without any, no upstream is trusted, and each failure says so.
                trusted.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::whole(error.to_string()))?
            .with_root_certificates(trusted);
        let mut config = match &self.own {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let chain = certificates(cert, root)?;
                let path = root.join(&key.text);
                let read = PrivateKeyDer::from_pem_file(&path);
                let secret = read.map_err(|error| key.error(format!("{}: {error}", path.display())))?;
                let built = builder.with_client_auth_cert(chain, secret);
                built.map_err(|error| cert.error(format!("could not load TLS cert: {error}")))?
            }
        };
        config.alpn_protocols = vec![b"dot".to_vec()];
        Ok(Arc::new(config))
    }
}

fn certificates(file: &Token, root: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let path = root.join(&file.text);
    let failed = |error: String| file.error(format!("{}: {error}", path.display()));
    let read = CertificateDer::pem_file_iter(&path).map_err(|error| failed(error.to_string()))?;
    let all = read.collect::<Result<Vec<_>, _>>().map_err(|error| failed(error.to_string()))?;
    if all.is_empty() { Err(failed("no certificate in it".to_owned())) } else { Ok(all) }
}

/// The name that an upstream's certificate has to be for: the one written, or else its address.
pub(super) fn server_name(written: Option<&str>, address: IpAddr) -> Result<ServerName<'static>, String> {
    match written {
        None => Ok(ServerName::IpAddress(address.into())),
        Some(name) => ServerName::try_from(name.trim_end_matches('.').to_owned())
            .map_err(|_| format!("'{name}' is not a server name")),
    }
}
