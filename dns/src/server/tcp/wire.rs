//! What connections are made of: bytes in order, plain or encrypted, that can be thrown away.

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

/// A stream of bytes over TCP.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Has it end with a reset once it is dropped: neither side's kernel keeps anything of it.
    fn abort(&self);
}

impl Wire for TcpStream {
    fn abort(&self) {
        // It can only fail when the connection is gone.
        let _ = self.set_zero_linger();
    }
}

impl Wire for TlsStream<TcpStream> {
    fn abort(&self) {
        self.get_ref().0.abort();
    }
}
