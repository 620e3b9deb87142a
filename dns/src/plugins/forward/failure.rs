//! Why an upstream gave no answer, in the words that CoreDNS's logs have for it (those of Go's `net`).

use std::{fmt, io, net::SocketAddr};

/// What failed: an operation on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    text: String,
    /// The other side ended the connection in an orderly way.
    pub(super) closed: bool,
}

impl Failure {
    /// The connection could not be made.
    pub(super) fn dial(network: &str, to: SocketAddr, error: &io::Error) -> Self {
        // Timeouts are the dialer's, everything else is the system call's.
        let text = match error.kind() {
            io::ErrorKind::TimedOut => format!("dial {network} {to}: i/o timeout"),
            _ => format!("dial {network} {to}: connect: {}", reason(error)),
        };
        Self { text, closed: false }
    }

    /// Reading or writing failed.
    pub(super) fn of(
        operation: &str,
        network: &str,
        from: Option<SocketAddr>,
        to: SocketAddr,
        error: &io::Error,
    ) -> Self {
        let closed = matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
        );
        let path = match from {
            Some(from) => format!("{from}->{to}"),
            None => to.to_string(),
        };
        let text = match error.kind() {
            io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
            io::ErrorKind::TimedOut => format!("{operation} {network} {path}: i/o timeout"),
            _ => format!("{operation} {network} {path}: {operation}: {}", reason(error)),
        };
        Self { text, closed }
    }

    /// Anything else.
    pub(super) fn other(text: impl Into<String>) -> Self {
        Self { text: text.into(), closed: false }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset by peer".to_owned(),
        io::ErrorKind::BrokenPipe => "broken pipe".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network is unreachable".to_owned(),
        io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => {
            let text = error.to_string();
            text.split(" (os error").next().unwrap_or_default().to_lowercase()
        }
    }
}
