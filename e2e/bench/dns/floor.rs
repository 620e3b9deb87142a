//! The floor: every datagram comes back as a response, and nothing is looked at. What a server costs above it is DNS.

use std::{
    net::{SocketAddr, UdpSocket},
    os::fd::AsFd,
};

use anyhow::Result;
use callsign_mmsg::{Batch, Exchange, Wait};
use socket2::SockRef;

/// As many as Callsign takes at once.
const BATCH: usize = 32;
const REQUEST: usize = 4096;
/// As large as Callsign's.
const KERNEL_BUFFER: usize = 1 << 20;

/// Reflects until the process is killed.
///
/// # Errors
/// When the socket is not to be had, or fails.
pub(crate) fn run(address: SocketAddr) -> Result<()> {
    let socket = UdpSocket::bind(address)?;
    // What the system does not give is not worth failing for.
    let _ = SockRef::from(&socket).set_recv_buffer_size(KERNEL_BUFFER);
    let mut batch = Batch::new(BATCH, REQUEST);
    loop {
        let count = batch.receive(socket.as_fd(), Wait::ForOne)?;
        for at in 0..count {
            let Some(Exchange { request, reply, .. }) = batch.exchange(at) else { continue };
            reply.extend_from_slice(request);
            if let Some(flags) = reply.get_mut(2) {
                *flags |= 0x80;
            }
        }
        batch.send(socket.as_fd());
    }
}
