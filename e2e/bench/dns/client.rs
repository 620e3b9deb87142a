//! The load: questions from sixteen ports, of one thread.
//!
//! *Closed*, as many questions as there is room for are under way, and each answer makes room for the next: the server has
//! always something to do. *Open*, a question is sent when it is due, whatever has come back by then, and its latency counts
//! from when it was due: a server that stalls is not asked less for it. Each answer is looked at.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    os::fd::AsFd,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use callsign_e2e::load::{outcome::Outcome, question::Question};
use callsign_mmsg::{Batch, Exchange};
use hdrhistogram::Histogram;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::cores;

/// Ports that ask, so that a server with several sockets has something to do on each.
const SOCKETS: usize = 16;
/// Questions under way on each when the loop is closed: 128 in all, which fits the buffer of a socket nobody has enlarged.
const DEPTH: usize = 8;
/// Questions that can be under way on each when it is open; a power of two, as ids go round.
const WIDTH: usize = 4096;
/// Larger than any answer to [`Question`]'s size.
const ANSWER: usize = 4096;
/// How long a server is asked before a round counts.
pub(crate) const WARM: Duration = Duration::from_millis(300);
/// A question without an answer for so long is lost.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often is looked for these.
const LOOK: Duration = Duration::from_millis(100);

/// What one run of a load has seen.
pub(crate) struct Run {
    pub(crate) asked: u64,
    pub(crate) answered: u64,
    pub(crate) lost: u64,
    /// Answers that were not as expected, and the first.
    pub(crate) wrong: u64,
    pub(crate) first_wrong: Option<String>,
    /// Until the last answer.
    pub(crate) took: Duration,
    /// Nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// The CPU time of the load.
    pub(crate) client: Duration,
}

/// How is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// The next question when an answer has come.
    Closed,
    /// So many questions a second.
    Open(u32),
}

/// What is done with answers.
enum Look<'a> {
    /// They must be these.
    Check(&'a [Outcome]),
    /// They are written down.
    Learn(&'a mut [Outcome]),
}

/// Asks one server.
pub(crate) struct Client {
    sockets: Vec<Port>,
    epoll: Epoll,
    batch: Batch,
    /// The next question.
    next: usize,
}

/// A socket with what is under way on it.
struct Port {
    socket: UdpSocket,
    /// A question is at the place of its id, modulo their number.
    pending: Vec<Pending>,
    last: u16,
}

#[derive(Clone, Copy)]
struct Pending {
    id: u16,
    /// Which question, if one is under way.
    question: Option<u32>,
    since: Instant,
}

impl Run {
    /// # Errors
    /// When an answer was not as expected.
    pub(crate) fn is_right(&self) -> Result<()> {
        match &self.first_wrong {
            None => Ok(()),
            Some(first) => bail!("{} of {} answers are wrong, first {first}", self.wrong, self.answered),
        }
    }
}

impl Client {
    /// A client of the server at this address.
    ///
    /// # Errors
    /// When there are no sockets.
    pub(crate) fn new(server: SocketAddr) -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::empty())?;
        let since = Instant::now();
        // Each at the place of its id.
        let pending: Vec<Pending> =
            (0..WIDTH).map(|place| Pending { id: place as u16, question: None, since }).collect();
        let mut sockets = Vec::new();
        for number in 0..SOCKETS {
            let socket = UdpSocket::bind(("127.0.0.1", 0))?;
            socket.connect(server)?;
            socket.set_nonblocking(true)?;
            epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, number as u64))?;
            sockets.push(Port { socket, pending: pending.clone(), last: fastrand::u16(..) });
        }
        Ok(Self { sockets, epoll, batch: Batch::new(DEPTH, ANSWER), next: 0 })
    }

    /// Asks every question once, and again if nothing came, and says what came of each. The default is nothing.
    ///
    /// # Errors
    /// When the sockets fail.
    pub(crate) fn learn(&mut self, questions: &[Question]) -> Result<Vec<Outcome>> {
        let mut outcomes = vec![Outcome::default(); questions.len()];
        self.next = 0;
        let until = Until { count: Some(questions.len()), ..Until::default() };
        self.run(questions, Look::Learn(&mut outcomes), Pace::Closed, until)?;
        for _ in 0..3 {
            let missing: Vec<usize> =
                (0..questions.len()).filter(|at| outcomes.get(*at) == Some(&Outcome::default())).collect();
            let again: Vec<Question> = missing.iter().filter_map(|at| questions.get(*at).cloned()).collect();
            if again.is_empty() {
                break;
            }
            let mut found = vec![Outcome::default(); again.len()];
            let until = Until { count: Some(again.len()), ..Until::default() };
            self.next = 0;
            self.run(&again, Look::Learn(&mut found), Pace::Closed, until)?;
            for (at, outcome) in missing.into_iter().zip(found) {
                if let Some(slot) = outcomes.get_mut(at) {
                    *slot = outcome;
                }
            }
        }
        Ok(outcomes)
    }

    /// Asks for some time.
    ///
    /// # Errors
    /// When the sockets fail.
    pub(crate) fn load(
        &mut self,
        questions: &[Question],
        expected: &[Outcome],
        pace: Pace,
        time: Duration,
    ) -> Result<Run> {
        self.run(questions, Look::Check(expected), pace, Until { time: Some(time), ..Until::default() })
    }

    fn run(&mut self, questions: &[Question], look: Look<'_>, pace: Pace, until: Until) -> Result<Run> {
        let client = cores::own()?;
        let latency = Histogram::new_with_bounds(1, 60_000_000_000, 3)?;
        let run = Run {
            asked: 0,
            answered: 0,
            lost: 0,
            wrong: 0,
            first_wrong: None,
            took: Duration::ZERO,
            latency,
            client: Duration::ZERO,
        };
        let started = Instant::now();
        let mut turn = Turn { questions, look, run, until, started, message: Vec::with_capacity(512) };
        match pace {
            Pace::Closed => self.closed(&mut turn)?,
            Pace::Open(rate) => self.open(&mut turn, rate)?,
        }
        turn.run.client = cores::own()? - client;
        Ok(turn.run)
    }

    fn closed(&mut self, turn: &mut Turn<'_>) -> Result<()> {
        let now = Instant::now();
        for port in &mut self.sockets {
            for _ in 0..DEPTH {
                port.ask(turn, &mut self.next, now, DEPTH)?;
            }
        }
        let mut looked = now;
        loop {
            let now = self.receive(turn, DEPTH, LOOK)?;
            if now.duration_since(looked) >= LOOK {
                looked = now;
                for port in &mut self.sockets {
                    for _ in 0..port.forget(turn, now, DEPTH) {
                        port.ask(turn, &mut self.next, now, DEPTH)?;
                    }
                }
            }
            if !turn.goes_on(now) && self.sockets.iter().all(|port| port.is_idle(DEPTH)) {
                return Ok(());
            }
        }
    }

    fn open(&mut self, turn: &mut Turn<'_>, rate: u32) -> Result<()> {
        let every = Duration::from_secs(1) / rate.max(1);
        let (mut due, mut looked) = (turn.started, turn.started);
        let mut number = 0_usize;
        loop {
            let now = self.receive(turn, WIDTH, Duration::ZERO)?;
            let mut sent = 0;
            // What is due is sent, but answers are not left for long.
            while due <= now && turn.goes_on(due) && sent < SOCKETS {
                if let Some(port) = self.sockets.get_mut(number % SOCKETS) {
                    port.ask(turn, &mut self.next, due, WIDTH)?;
                }
                number += 1;
                sent += 1;
                due = turn.started + every * u32::try_from(number)?;
            }
            if now.duration_since(looked) >= LOOK {
                looked = now;
                for port in &mut self.sockets {
                    port.forget(turn, now, WIDTH);
                }
                if !turn.goes_on(due) && self.sockets.iter().all(|port| port.is_idle(WIDTH)) {
                    return Ok(());
                }
            }
        }
    }

    /// Takes what has come, waiting for it if need be; when it came.
    fn receive(&mut self, turn: &mut Turn<'_>, width: usize, wait: Duration) -> Result<Instant> {
        let mut ready = [EpollEvent::empty(); SOCKETS];
        let wait = EpollTimeout::try_from(wait)?;
        let count = match self.epoll.wait(&mut ready, wait) {
            Err(nix::errno::Errno::EINTR) => 0,
            count => count?,
        };
        let mut now = Instant::now();
        for event in ready.iter().take(count) {
            let Some(port) = self.sockets.get_mut(event.data() as usize) else { continue };
            let received = match self.batch.receive(port.socket.as_fd()) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error).context("the server is gone"),
            };
            now = Instant::now();
            for at in 0..received {
                let Some(Exchange { request: answer, reply: next, .. }) = self.batch.exchange(at) else {
                    continue;
                };
                if port.answered(turn, answer, now, width) && width == DEPTH && turn.goes_on(now) {
                    // The place that the answer has left.
                    let id = answer_id(answer).wrapping_add(DEPTH as u16);
                    port.put(turn, &mut self.next, id, now, width, next);
                }
            }
            self.batch.send(port.socket.as_fd());
        }
        Ok(now)
    }
}

/// When to end: the first of these.
#[derive(Clone, Copy, Default)]
struct Until {
    time: Option<Duration>,
    count: Option<usize>,
}

/// What one run works with.
struct Turn<'a> {
    questions: &'a [Question],
    look: Look<'a>,
    run: Run,
    until: Until,
    started: Instant,
    message: Vec<u8>,
}

impl Turn<'_> {
    /// Whether a question that is due now is asked.
    fn goes_on(&self, due: Instant) -> bool {
        self.until.time.is_none_or(|time| due.saturating_duration_since(self.started) < time)
            && self.until.count.is_none_or(|count| self.run.asked < count as u64)
    }
}

impl Port {
    /// Sends the next question by itself, if there is a place for it and more is to be asked.
    fn ask(&mut self, turn: &mut Turn<'_>, next: &mut usize, due: Instant, width: usize) -> Result<()> {
        if !turn.goes_on(due) {
            return Ok(());
        }
        let id = if width == DEPTH {
            // Any place that is free; its next id, so that what comes late is not taken for the answer.
            let free = self.pending.iter().take(width).find(|pending| pending.question.is_none());
            let Some(free) = free else { return Ok(()) };
            free.id.wrapping_add(DEPTH as u16)
        } else {
            self.last = self.last.wrapping_add(1);
            self.last
        };
        let mut message = std::mem::take(&mut turn.message);
        self.put(turn, next, id, due, width, &mut message);
        let sent = self.socket.send(&message);
        message.clear();
        turn.message = message;
        match sent {
            // It is lost, which is seen in time.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            sent => sent.map(drop).context("the server is gone"),
        }
    }

    /// Writes the next question, and remembers it.
    fn put(
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
        *pending = Pending { id, question: u32::try_from(number).ok(), since: due };
        question.write(id, to);
        turn.run.asked += 1;
    }

    /// Looks at an answer. Whether it is one to what is under way.
    fn answered(&mut self, turn: &mut Turn<'_>, answer: &[u8], now: Instant, width: usize) -> bool {
        let id = answer_id(answer);
        let Some(pending) = self.pending.get_mut(usize::from(id) % width) else { return false };
        let Some(number) = pending.question.filter(|_| pending.id == id).map(|number| number as usize) else {
            // It was given up before.
            return false;
        };
        pending.question = None;
        turn.run.answered += 1;
        turn.run.took = now.saturating_duration_since(turn.started);
        let latency = now.saturating_duration_since(pending.since).as_nanos();
        turn.run.latency.saturating_record(u64::try_from(latency).unwrap_or(u64::MAX));
        let Some(question) = turn.questions.get(number) else { return true };
        let outcome = Outcome::of(answer).filter(|_| question.is_answered_by(id, answer));
        match &mut turn.look {
            Look::Learn(outcomes) => {
                if let Some((slot, outcome)) = outcomes.get_mut(number).zip(outcome) {
                    *slot = outcome;
                }
            }
            Look::Check(expected) => {
                if outcome.as_ref() != expected.get(number) {
                    turn.run.wrong += 1;
                    let expected = expected.get(number);
                    let say = || format!("{}: {outcome:?} instead of {expected:?}", question.text());
                    turn.run.first_wrong.get_or_insert_with(say);
                }
            }
        }
        true
    }

    /// Gives up what has taken too long; how many.
    fn forget(&mut self, turn: &mut Turn<'_>, now: Instant, width: usize) -> usize {
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

    fn is_idle(&self, width: usize) -> bool {
        self.pending.iter().take(width).all(|pending| pending.question.is_none())
    }
}

fn answer_id(answer: &[u8]) -> u16 {
    answer.first_chunk().map_or(0, |id| u16::from_be_bytes(*id))
}
