//! Datagrams in batches: many with one call of the system, each answered from the address that it was sent to.
//!
//! ```text
//!   socket ──recvmmsg──▶ slots: request, sender, address asked ──▶ (replies are written) ──sendmmsg──▶ socket
//! ```
//!
//! The kernel's side of a name server is most of its cost, and half of that is calls. This crate holds the unsafe code of the
//! threads that answer datagrams, and nothing else: buffers are made once, pointers to them are given to the kernel
//! for the time of one call, and what it wrote is read back as plain values. Where the calls are forbidden (a seccomp
//! profile), one datagram is received and sent at a time.
//!
//! Threads that do so are few and quick; [`take_short_turns`] lets them go first when they wake.
//!
//! The address that was asked comes and goes as packet info (`IP_PKTINFO`, RFC 3542), where the socket asks for it.

mod address;
mod control;
mod turns;

use std::{
    io, mem,
    net::{IpAddr, SocketAddr},
    os::fd::{AsRawFd, BorrowedFd, RawFd},
    ptr,
};

use control::Control;
pub use turns::take_short_turns;

/// Room for so many datagrams, and for what is said to each.
pub struct Batch {
    slots: Box<[Slot]>,
    /// How many of the slots hold a datagram.
    filled: usize,
    headers: Box<[libc::mmsghdr]>,
    /// How many slots are offered to the kernel at once: about as many as were wanted lately, for each costs a little.
    offered: usize,
    batched: bool,
}

/// What to do where there is no datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Wait for one, and take what is there with it. The socket must be a blocking one.
    ForOne,
    /// Say so.
    No,
}

/// One datagram and the reply to it.
struct Slot {
    request: Box<[u8]>,
    length: usize,
    /// The sender, as the kernel has it.
    name: libc::sockaddr_storage,
    name_length: libc::socklen_t,
    from: Option<SocketAddr>,
    asked: Option<Asked>,
    control: Control,
    reply: Vec<u8>,
    vector: libc::iovec,
}

/// The address a datagram was sent to, where the socket's own does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The address.
    pub address: IpAddr,
    /// Of a link-local address the interface, else 0.
    pub interface: u32,
}

/// A datagram, and where the reply to it is written.
#[derive(Debug)]
pub struct Exchange<'a> {
    /// What came.
    pub request: &'a [u8],
    /// Who sent it.
    pub from: SocketAddr,
    /// The address it was sent to.
    pub asked: Option<Asked>,
    /// What is sent back. An empty reply is not.
    pub reply: &'a mut Vec<u8>,
}

// SAFETY: the pointers in `headers` and `vector` are only used within a call that has the batch for itself, and are set
// anew before each.
unsafe impl Send for Batch {}

/// The fewest slots that are offered.
const FEW: usize = 4;

/// How long a full socket may keep a batch from being sent, milliseconds.
const PATIENCE: libc::c_int = 20;

impl Batch {
    /// Room for `slots` datagrams of at most `request` bytes; of longer ones the rest is cut off.
    pub fn new(slots: usize, request: usize) -> Self {
        let slots = slots.max(1);
        Self {
            slots: (0..slots).map(|_| Slot::new(request.max(1))).collect(),
            filled: 0,
            headers: (0..slots).map(|_| header()).collect(),
            offered: slots.min(FEW),
            batched: true,
        }
    }

    /// Whether datagrams come in batches: the system has not forbidden it so far.
    pub fn is_batched(&self) -> bool {
        self.batched
    }

    /// Receives what is there, and forgets what was there before; how many datagrams.
    ///
    /// A socket that is shut down while somebody waits for it ends the wait with what is no datagram: there is no
    /// [`Self::exchange`] for it.
    ///
    /// # Errors
    /// `WouldBlock` when there is none and none is waited for; else what the system says.
    pub fn receive(&mut self, socket: BorrowedFd<'_>, wait: Wait) -> io::Result<usize> {
        self.filled = 0;
        let fd = socket.as_raw_fd();
        let received = loop {
            let wanted = if self.batched { self.offered } else { 1 };
            for (slot, header) in self.slots.iter_mut().zip(self.headers.iter_mut()).take(wanted) {
                slot.offer(header);
            }
            match self.call(fd, wanted, wait) {
                Err(error) if self.batched && is_forbidden(&error) => self.batched = false,
                received => break received?,
            }
        };
        for (slot, header) in self.slots.iter_mut().zip(self.headers.iter()).take(received) {
            slot.take(header);
        }
        self.filled = received;
        self.offered = match received {
            all if all >= self.offered => (self.offered * 2).min(self.slots.len()),
            some => some.max(FEW).min(self.slots.len()),
        };
        Ok(received)
    }

    /// A datagram that was received; `None` where there is none, or its sender is of no family we know.
    pub fn exchange(&mut self, at: usize) -> Option<Exchange<'_>> {
        let slot = self.slots.get_mut(at).filter(|_| at < self.filled)?;
        let request = slot.request.get(..slot.length)?;
        Some(Exchange { request, from: slot.from?, asked: slot.asked, reply: &mut slot.reply })
    }

    /// Sends every reply, each from the address that was asked, and clears them. What a full socket does not take in a
    /// moment is lost, as is what cannot be sent: the client asks again.
    pub fn send(&mut self, socket: BorrowedFd<'_>) {
        let fd = socket.as_raw_fd();
        let mut count = 0;
        let mut headers = self.headers.iter_mut();
        for slot in self.slots.iter_mut().take(self.filled).filter(|slot| !slot.reply.is_empty()) {
            let Some(header) = headers.next() else { break };
            slot.answer(header);
            count += 1;
        }
        let mut done = 0;
        // Each round sends or gives up at least one.
        while done < count {
            let pending = count - done;
            let Some(headers) = self.headers.get_mut(done..count) else { break };
            let sent = match self.batched {
                true => send_many(fd, headers),
                false => headers.first_mut().map_or(Ok(pending), |header| send_one(fd, header)),
            };
            match sent {
                Ok(sent) => done += sent.max(1),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !becomes_writable(fd) {
                        break;
                    }
                }
                // The call, or what a firewall says of this datagram: by itself it tells.
                Err(error) if self.batched && is_forbidden(&error) => {
                    if headers.first_mut().is_some_and(|header| send_one(fd, header).is_ok()) {
                        self.batched = false;
                    }
                    done += 1;
                }
                // This one cannot be sent; the next may.
                Err(_) => done += 1,
            }
        }
        self.slots.iter_mut().take(self.filled).for_each(|slot| slot.reply.clear());
    }

    fn call(&mut self, fd: RawFd, wanted: usize, wait: Wait) -> io::Result<usize> {
        loop {
            let headers = self.headers.get_mut(..wanted).unwrap_or_default();
            let called = match (self.batched, headers) {
                (false, [header, ..]) => receive_one(fd, header, wait),
                (_, headers) => receive_many(fd, headers, wait),
            };
            match called {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                called => return called,
            }
        }
    }
}

/// Sends one datagram at once, from the address that was asked.
///
/// # Errors
/// `WouldBlock` when the socket is full; else what the system says.
pub fn send(socket: BorrowedFd<'_>, reply: &[u8], to: SocketAddr, asked: Option<Asked>) -> io::Result<()> {
    let (mut name, name_length) = address::to_raw(to);
    let mut control = Control::default();
    let control_length = asked.map_or(0, |asked| control.write(asked));
    let mut vector = libc::iovec { iov_base: reply.as_ptr().cast_mut().cast(), iov_len: reply.len() };
    let mut header = header();
    header.msg_hdr.msg_name = (&raw mut name).cast();
    header.msg_hdr.msg_namelen = name_length;
    header.msg_hdr.msg_iov = &raw mut vector;
    header.msg_hdr.msg_iovlen = 1;
    header.msg_hdr.msg_control = control.pointer();
    header.msg_hdr.msg_controllen = control_length as _;
    send_one(socket.as_raw_fd(), &mut header).map(drop)
}

impl Slot {
    fn new(request: usize) -> Self {
        Self {
            request: vec![0; request].into(),
            length: 0,
            name: address::nothing(),
            name_length: 0,
            from: None,
            asked: None,
            control: Control::default(),
            reply: Vec::new(),
            vector: libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 },
        }
    }

    /// Gives the kernel the room of this slot.
    fn offer(&mut self, header: &mut libc::mmsghdr) {
        self.vector = libc::iovec { iov_base: self.request.as_mut_ptr().cast(), iov_len: self.request.len() };
        header.msg_len = 0;
        header.msg_hdr.msg_name = (&raw mut self.name).cast();
        header.msg_hdr.msg_namelen = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        header.msg_hdr.msg_iov = &raw mut self.vector;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_control = self.control.pointer();
        header.msg_hdr.msg_controllen = Control::SIZE as _;
        header.msg_hdr.msg_flags = 0;
    }

    /// Reads what the kernel has put there.
    fn take(&mut self, header: &libc::mmsghdr) {
        self.length = (header.msg_len as usize).min(self.request.len());
        self.name_length = header.msg_hdr.msg_namelen;
        self.from = address::from_raw(&self.name, self.name_length);
        self.asked = self.control.read(header.msg_hdr.msg_controllen as usize);
        self.reply.clear();
    }

    /// Gives the kernel the reply of this slot.
    fn answer(&mut self, header: &mut libc::mmsghdr) {
        let control_length = self.asked.map_or(0, |asked| self.control.write(asked));
        self.vector = libc::iovec { iov_base: self.reply.as_mut_ptr().cast(), iov_len: self.reply.len() };
        header.msg_len = 0;
        header.msg_hdr.msg_name = (&raw mut self.name).cast();
        header.msg_hdr.msg_namelen = self.name_length;
        header.msg_hdr.msg_iov = &raw mut self.vector;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_control =
            if control_length == 0 { ptr::null_mut() } else { self.control.pointer() };
        header.msg_hdr.msg_controllen = control_length as _;
        header.msg_hdr.msg_flags = 0;
    }
}

fn header() -> libc::mmsghdr {
    // SAFETY: a header is numbers and pointers, for all of which zero is a value.
    unsafe { mem::zeroed() }
}

fn receive_many(fd: RawFd, headers: &mut [libc::mmsghdr], wait: Wait) -> io::Result<usize> {
    let count = headers.len() as libc::c_uint;
    let flags = if wait == Wait::No { libc::MSG_DONTWAIT } else { libc::MSG_WAITFORONE };
    // SAFETY: each header was filled by `Slot::offer` of a slot that outlives the call and that nobody else has.
    let received = unsafe { libc::recvmmsg(fd, headers.as_mut_ptr(), count, flags as _, ptr::null_mut()) };
    counted(received as isize)
}

fn receive_one(fd: RawFd, header: &mut libc::mmsghdr, wait: Wait) -> io::Result<usize> {
    let flags = if wait == Wait::No { libc::MSG_DONTWAIT } else { 0 };
    // SAFETY: as in `receive_many`.
    let length = unsafe { libc::recvmsg(fd, &raw mut header.msg_hdr, flags) };
    header.msg_len = counted(length)? as libc::c_uint;
    Ok(1)
}

fn send_many(fd: RawFd, headers: &mut [libc::mmsghdr]) -> io::Result<usize> {
    let count = headers.len() as libc::c_uint;
    // SAFETY: each header was filled by `Slot::answer` of a slot that outlives the call and that nobody else has.
    let sent = unsafe { libc::sendmmsg(fd, headers.as_mut_ptr(), count, libc::MSG_DONTWAIT as _) };
    counted(sent as isize)
}

fn send_one(fd: RawFd, header: &mut libc::mmsghdr) -> io::Result<usize> {
    // SAFETY: the header points to a name, a vector and a control message that outlive the call.
    let sent = unsafe { libc::sendmsg(fd, &raw const header.msg_hdr, libc::MSG_DONTWAIT) };
    counted(sent).map(|_| 1)
}

fn becomes_writable(fd: RawFd) -> bool {
    let mut poll = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one entry, which outlives the call.
    let ready = unsafe { libc::poll(&raw mut poll, 1, PATIENCE) };
    ready > 0
}

fn counted(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// The system does not know the call, or a filter does not let it through.
fn is_forbidden(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM | libc::EACCES))
}

#[cfg(test)]
mod tests;
