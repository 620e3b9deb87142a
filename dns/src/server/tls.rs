//! TLS of listeners: what a configuration names.

use std::path::PathBuf;

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
