//! One connection: requests in, answers out.
//!
//! ```text
//!   stream ─▶ the thread's buffer ─▶ request ─▶ Handler ─▶ the thread's buffer ─▶ stream
//!               └ the rest: `rest`               └ Later: `waiting`   └ what does not fit: `unsent`
//! ```
//!
//! A client may send the next request before it has the answer to the last. Answers that are there at once go out in
//! order, as many as there are in one piece; those that are waited for go out when they come (RFC 7766 6.2.1.1).
//!
//! Bytes are read into a buffer that all connections of a thread share, and requests are answered from there: a
//! connection that waits for its client owns no buffer at all. What it may own otherwise is bounded:
//! * the beginning of a request, or requests that cannot be taken up yet: [`READ`] and one request;
//! * answers that the client has not taken: [`GATHER`] and one answer. While there are any, nothing is read;
//! * answers that are waited for: `Limits::tcp_waiting`. While there are as many, nothing is read.
//!
//! A client that sends slowly, reads slowly or does nothing has a deadline for each, counted from the first byte of a
//! request, from the first answer that it did not take, and from its last whole request: a byte a minute buys no time.

use std::{
    cell::RefCell,
    io,
    num::NonZeroUsize,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use futures::stream::{FuturesUnordered, Stream};
use tokio::{
    io::ReadBuf,
    time::{Instant, Sleep, sleep_until},
};

use super::{
    super::{Handled, Handler, Later, Limits, Peer, Replies, handle},
    gate::{Place, Told},
    wire::Wire,
};

/// What is read at once, bytes: some hundred questions.
const READ: usize = 16 << 10;
/// Answers that are gathered before they are written, bytes.
const GATHER: usize = 64 << 10;
/// How often a connection reads before others have their turn.
const ROUNDS: usize = 4;

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

/// What the connections of a thread use in turn. None of them keeps it beyond one call of `poll`.
struct Buffers {
    read: Vec<u8>,
    /// The answer that is being made.
    answer: Vec<u8>,
    /// Answers behind their lengths.
    out: Vec<u8>,
}

impl Default for Buffers {
    fn default() -> Self {
        Self { read: vec![0; READ], answer: Vec::new(), out: Vec::new() }
    }
}

/// One connection.
pub(super) struct Connection<H, S> {
    stream: S,
    handler: Arc<H>,
    limits: Arc<Limits>,
    from: Peer,
    place: Place,
    /// What has been read and is not answered yet.
    rest: Vec<u8>,
    /// Answers that are waited for.
    waiting: Option<Box<FuturesUnordered<Later>>>,
    /// The messages of an answer that has come: a transfer has many.
    coming: Option<Replies>,
    /// Answers that the client has not taken, from `sent` on.
    unsent: Vec<u8>,
    sent: usize,
    /// Whether a layer below holds bytes that are not sent.
    flushing: bool,
    /// How many requests are still answered.
    left: Option<usize>,
    /// No request is taken any more.
    stopping: bool,
    /// Whether the place was told that an answer is owed.
    busy: bool,
    /// Whether a request was taken up, or an answer came, since the place was told.
    worked: bool,
    /// When the last whole request came, or the last answer was ready.
    active: Instant,
    /// Since when the request that is arriving is.
    begun: Option<Instant>,
    /// Since when the client has not taken an answer.
    stuck: Option<Instant>,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Everything is answered that is to be.
    Answered,
    /// Nothing happened for too long, or the place was needed.
    Idle,
    /// The client is gone, or does not take its answers.
    Broken,
}

/// What a step did.
enum Step {
    /// Something.
    Done,
    /// Nothing: there is something to wait for.
    Pending,
}

impl<H: Handler, S: Wire> Connection<H, S> {
    pub(super) fn new(stream: S, handler: Arc<H>, limits: Arc<Limits>, from: Peer, place: Place) -> Self {
        Self {
            left: limits.tcp_queries.map(NonZeroUsize::get),
            stream,
            handler,
            limits,
            from,
            place,
            rest: Vec::new(),
            waiting: None,
            coming: None,
            unsent: Vec::new(),
            sent: 0,
            flushing: false,
            stopping: false,
            busy: false,
            worked: false,
            active: Instant::now(),
            begun: None,
            stuck: None,
        }
    }

    /// Answers until there is nothing more to answer.
    pub(super) async fn serve(&mut self) -> End {
        let mut timer = pin!(sleep_until(self.active + self.limits.tcp_idle));
        std::future::poll_fn(|context| self.poll(context, timer.as_mut())).await
    }

    /// The stream, and the place that it has until it is closed.
    pub(super) fn into_parts(self) -> (S, Place) {
        (self.stream, self.place)
    }

    fn poll(&mut self, context: &mut Context<'_>, timer: Pin<&mut Sleep>) -> Poll<End> {
        self.place.listen(context);
        for _ in 0..ROUNDS {
            match self.place.told() {
                Told::Nothing => {}
                Told::Stop => self.stopping = true,
                Told::Leave => return Poll::Ready(End::Idle),
            }
            let step = match self.flush(context) {
                Poll::Ready(Ok(())) => {
                    if self.stopping && self.waiting.is_none() && self.coming.is_none() {
                        return Poll::Ready(End::Answered);
                    }
                    BUFFERS.with_borrow_mut(|buffers| self.step(context, buffers))
                }
                Poll::Ready(Err(error)) => Err(error),
                Poll::Pending => Ok(Step::Pending),
            };
            match step {
                Ok(Step::Done) => {}
                Ok(Step::Pending) => {
                    self.tell();
                    return self.wait(context, timer);
                }
                Err(_) => return Poll::Ready(End::Broken),
            }
        }
        // Others have waited for this thread for long enough.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Makes answers of what there is, and writes them as far as the client takes them.
    fn step(&mut self, context: &mut Context<'_>, buffers: &mut Buffers) -> io::Result<Step> {
        let Buffers { read, answer, out } = buffers;
        out.clear();
        self.collect(context, out);
        let mut done = !out.is_empty();
        if !self.rest.is_empty() && self.may_take(out) {
            let rest = std::mem::take(&mut self.rest);
            let taken = self.take(&rest, answer, out);
            // What is waited for from now on has not been looked at yet.
            done |= taken > 0;
            self.keep(rest, taken);
        }
        if self.may_take(out) {
            let mut buffer = ReadBuf::new(read);
            if let Poll::Ready(received) = Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                received?;
                done = true;
                let received = buffer.filled();
                if received.is_empty() {
                    // The client has said all it has to say, and may still be owed answers.
                    self.stopping = true;
                } else if self.rest.is_empty() {
                    let taken = self.take(received, answer, out);
                    self.rest.extend_from_slice(received.get(taken..).unwrap_or_default());
                } else {
                    let mut rest = std::mem::take(&mut self.rest);
                    rest.extend_from_slice(received);
                    let taken = self.take(&rest, answer, out);
                    self.keep(rest, taken);
                }
            }
        }
        self.time_request(out);
        if !out.is_empty() {
            self.write(context, out)?;
        }
        Ok(if done { Step::Done } else { Step::Pending })
    }

    /// Whether requests may be taken up.
    fn may_take(&self, out: &[u8]) -> bool {
        let waiting = self.waiting.as_ref().map_or(0, |waiting| waiting.len());
        !self.stopping
            && self.coming.is_none()
            && waiting < self.limits.tcp_waiting
            && self.left != Some(0)
            && out.len() < GATHER
    }

    /// Answers the whole requests at the beginning of `bytes`, as far as may be. How many bytes they are.
    fn take(&mut self, bytes: &[u8], answer: &mut Vec<u8>, out: &mut Vec<u8>) -> usize {
        let mut at = 0;
        while self.may_take(out) {
            let Some([high, low, rest @ ..]) = bytes.get(at..) else { break };
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            if length > self.limits.tcp_request {
                // More than any request is: what follows cannot be told from rubbish.
                self.stopping = true;
                return bytes.len();
            }
            let Some(request) = rest.get(..length) else { break };
            at += 2 + length;
            self.begun = None;
            self.left = self.left.map(|left| left.saturating_sub(1));
            match handle(&*self.handler, request, self.from, answer) {
                Handled::Reply => frame(answer, out),
                Handled::Silent => {}
                Handled::Later(later) => self.waiting.get_or_insert_default().push(later),
            }
        }
        if at > 0 {
            self.active = Instant::now();
            self.worked = true;
            self.stopping |= self.left == Some(0);
        }
        at
    }

    /// Keeps what is left of bytes of which so many have been taken. An empty buffer is not kept.
    fn keep(&mut self, mut bytes: Vec<u8>, taken: usize) {
        if taken < bytes.len() {
            bytes.drain(..taken);
            self.rest = bytes;
        }
    }

    /// Gathers answers that have come.
    fn collect(&mut self, context: &mut Context<'_>, out: &mut Vec<u8>) {
        while out.len() < GATHER {
            if let Some(coming) = &mut self.coming {
                match coming.next() {
                    Some(reply) => frame(&reply, out),
                    None => self.coming = None,
                }
                continue;
            }
            let Some(waiting) = &mut self.waiting else { return };
            match Pin::new(&mut **waiting).poll_next(context) {
                Poll::Ready(Some(replies)) => {
                    self.coming = Some(replies);
                    self.active = Instant::now();
                    self.worked = true;
                }
                Poll::Ready(None) => self.waiting = None,
                Poll::Pending => return,
            }
        }
    }

    /// Writes as much as the client takes, and keeps the rest.
    fn write(&mut self, context: &mut Context<'_>, out: &[u8]) -> io::Result<()> {
        let mut sent = 0;
        while let Some(unsent) = out.get(sent..).filter(|unsent| !unsent.is_empty()) {
            match Pin::new(&mut self.stream).poll_write(context, unsent) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(length)) => sent += length,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {
                    self.unsent = unsent.to_vec();
                    self.sent = 0;
                    break;
                }
            }
        }
        self.flushing = true;
        match self.flush(context) {
            Poll::Ready(done) => done,
            Poll::Pending => Ok(()),
        }
    }

    /// Writes what the client did not take before. Ready when there is no such thing any more.
    fn flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(unsent) = self.unsent.get(self.sent..).filter(|unsent| !unsent.is_empty()) {
            match Pin::new(&mut self.stream).poll_write(context, unsent) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(length)) => self.sent += length,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.stuck.get_or_insert_with(Instant::now);
                    return Poll::Pending;
                }
            }
        }
        self.unsent = Vec::new();
        self.sent = 0;
        if self.flushing {
            match Pin::new(&mut self.stream).poll_flush(context) {
                Poll::Ready(done) => done?,
                Poll::Pending => {
                    self.stuck.get_or_insert_with(Instant::now);
                    return Poll::Pending;
                }
            }
            self.flushing = false;
        }
        if self.stuck.take().is_some() {
            self.active = Instant::now();
        }
        Poll::Ready(Ok(()))
    }

    /// Starts the clock of a request that is not all here. While nothing may be taken up it stands: that is not the
    /// client's fault.
    fn time_request(&mut self, out: &[u8]) {
        if self.rest.is_empty() || !self.may_take(out) {
            self.begun = None;
        } else {
            self.begun.get_or_insert_with(Instant::now);
        }
    }

    /// Tells the gate what the connection is about.
    fn tell(&mut self) {
        let busy = self.flushing || self.waiting.is_some() || self.coming.is_some();
        if self.worked || busy != self.busy {
            self.place.slot().touch(busy);
            (self.worked, self.busy) = (false, busy);
        }
    }

    /// Until when what is waited for has to happen, and how the connection ends otherwise.
    fn due(&self) -> Option<(Instant, End)> {
        let idle = self.active + self.limits.tcp_idle;
        match (self.stuck, &self.waiting, self.begun) {
            (Some(stuck), _, _) => Some((stuck + self.limits.tcp_write, End::Broken)),
            // Answers have their own time.
            (None, Some(_), _) => None,
            (None, None, Some(begun)) => Some(((begun + self.limits.tcp_read).min(idle), End::Idle)),
            (None, None, None) => Some((idle, End::Idle)),
        }
    }

    /// Waits for the next deadline. The timer is only set anew where it would ring too late, or has rung too early: requests
    /// put it off without touching it.
    fn wait(&mut self, context: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<End> {
        let Some((due, end)) = self.due() else { return Poll::Pending };
        if due < timer.deadline() || timer.is_elapsed() {
            if Instant::now() >= due {
                return Poll::Ready(end);
            }
            timer.as_mut().reset(due);
        }
        if timer.as_mut().poll(context).is_ready() {
            // It rang in between, or was set for an earlier time: the next call sees which.
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// Puts an answer behind its length. One that is too long for that is none; there is no such.
fn frame(answer: &[u8], out: &mut Vec<u8>) {
    let Ok(length) = u16::try_from(answer.len()) else { return };
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(answer);
}
