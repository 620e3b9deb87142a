//! A port that questions are asked from, and what is under way on it.

use std::{
    io::{self, IoSliceMut},
    net::{SocketAddr, UdpSocket},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    sys::{
        socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt},
        time::TimeSpec,
    },
};

use crate::run::Turn;

/// Questions that can be under way; a power of two, as ids go round.
pub(crate) const WIDTH: usize = 4096;
/// A question without an answer for so long is lost.
const PATIENCE: Duration = Duration::from_secs(1);

/// A socket, and the questions that are under way on it, each at the place of its id.
pub(crate) struct Port {
    socket: UdpSocket,
    pending: Vec<Pending>,
    /// The last id, where ids follow one another.
    last: u16,
    /// Where a question is written that is sent by itself.
    message: Vec<u8>,
    /// For what the kernel says of a datagram.
    control: Vec<u8>,
}

/// A place for a question.
#[derive(Clone, Copy)]
struct Pending {
    /// The id of the last one here.
    id: u16,
    /// The number of the question, while it is under way.
    question: Option<u32>,
    /// When it was due.
    since: Instant,
    /// When it was sent, by the clock of the kernel's stamps. Only at a rate.
    sent: Duration,
}

/// An answer that is taken by itself.
pub(crate) struct Stamped {
    pub(crate) length: usize,
    /// When the kernel had it, from the start of 1970.
    at: Duration,
}

impl Port {
    /// A port for the server at this address.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn new(server: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind(("127.0.0.1", 0))?;
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        let since = Instant::now();
        let place = |place| Pending { id: place, question: None, since, sent: Duration::ZERO };
        Ok(Self {
            socket,
            pending: (0..WIDTH as u16).map(place).collect(),
            last: 0,
            message: Vec::with_capacity(512),
            control: nix::cmsg_space!(TimeSpec),
        })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Has the kernel stamp what comes.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) fn stamp(&self) -> Result<()> {
        Ok(setsockopt(&self.socket, sockopt::ReceiveTimestampns, &true)?)
    }

    /// Sends the next question by itself to the first of `width` places that is free, if there is one and more is to be
    /// asked.
    ///
    /// # Errors
    /// When the server is gone.
    pub(crate) fn fill(
        &mut self,
        turn: &mut Turn<'_>,
        next: &mut usize,
        now: Instant,
        width: usize,
    ) -> Result<()> {
        let free = self.pending.iter().take(width).find(|pending| pending.question.is_none());
        let Some(free) = free.filter(|_| turn.goes_on(now)) else { return Ok(()) };
        // The next id of the place, so that what comes late is not taken for the answer.
        let id = free.id.wrapping_add(width as u16);
        let mut message = std::mem::take(&mut self.message);
        self.put(turn, next, id, now, width, &mut message);
        self.send(message)
    }

    /// Sends the next question, which was due then, with the next id.
    ///
    /// # Errors
    /// When the server is gone.
    pub(crate) fn ask(&mut self, turn: &mut Turn<'_>, next: &mut usize, due: Instant) -> Result<()> {
        self.last = self.last.wrapping_add(1);
        let id = self.last;
        let mut message = std::mem::take(&mut self.message);
        self.put(turn, next, id, due, WIDTH, &mut message);
        if let Some(pending) = self.pending.get_mut(usize::from(id) % WIDTH) {
            pending.sent = clock();
        }
        self.send(message)
    }

    fn send(&mut self, mut message: Vec<u8>) -> Result<()> {
        let sent = self.socket.send(&message);
        message.clear();
        self.message = message;
        match sent {
            // It is lost, which is seen in time.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            sent => sent.map(drop).context("the server is gone"),
        }
    }

    /// Writes the next question, and remembers it.
    pub(crate) fn put(
        &mut self,
        turn: &mut Turn<'_>,
        next: &mut usize,
        id: u16,
        due: Instant,
        width: usize,
        to: &mut Vec<u8>,
    ) {
        let number = *next % turn.questions.len().max(1);
        *next = number + 1;
        let (Some(question), Some(pending)) =
            (turn.questions.get(number), self.pending.get_mut(usize::from(id) % width))
        else {
            return;
        };
        if pending.question.is_some() {
            turn.run.lost += 1;
        }
        *pending = Pending { id, question: u32::try_from(number).ok(), since: due, sent: Duration::ZERO };
        question.write(id, to);
        turn.run.asked += 1;
    }

    /// Takes one answer with its stamp, if there is one.
    ///
    /// # Errors
    /// When the server is gone.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> Result<Option<Stamped>> {
        let mut vectors = [IoSliceMut::new(buffer)];
        let (fd, control) = (self.socket.as_raw_fd(), Some(&mut self.control[..]));
        let received = match recvmsg::<()>(fd, &mut vectors, control, MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
            received => received.context("the server is gone")?,
        };
        let at = received.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::ScmTimestampns(at) => Some(Duration::from(at)),
            _ => None,
        });
        Ok(Some(Stamped { length: received.bytes, at: at.context("the kernel has not stamped an answer")? }))
    }

    /// Looks at an answer that came now. Its id, if it is the answer to what is under way.
    pub(crate) fn answered(
        &mut self,
        turn: &mut Turn<'_>,
        answer: &[u8],
        now: Instant,
        width: usize,
        stamp: Option<&Stamped>,
    ) -> Option<u16> {
        let id = u16::from_be_bytes(*answer.first_chunk()?);
        let pending = self.pending.get_mut(usize::from(id) % width).filter(|pending| pending.id == id)?;
        // It may have been given up before.
        let number = pending.question.take()?;
        record(&mut turn.run.latency, now.saturating_duration_since(pending.since));
        if let Some(stamp) = stamp {
            record(&mut turn.run.served, stamp.at.saturating_sub(pending.sent));
        }
        turn.look(number as usize, id, answer, now);
        Some(id)
    }

    /// Gives up what has taken too long; how many.
    pub(crate) fn forget(&mut self, turn: &mut Turn<'_>, now: Instant, width: usize) -> usize {
        let mut lost = 0;
        for pending in self.pending.iter_mut().take(width) {
            if pending.question.is_some() && now.saturating_duration_since(pending.since) > PATIENCE {
                pending.question = None;
                lost += 1;
            }
        }
        turn.run.lost += lost as u64;
        lost
    }

    /// Whether nothing is under way.
    pub(crate) fn is_idle(&self, width: usize) -> bool {
        self.pending.iter().take(width).all(|pending| pending.question.is_none())
    }
}

fn record(histogram: &mut hdrhistogram::Histogram<u64>, time: Duration) {
    histogram.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1));
}

/// The clock of the kernel's stamps.
fn clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
