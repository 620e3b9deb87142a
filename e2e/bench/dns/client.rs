//! The load: questions from sixteen ports, of one thread.
//!
//! *Closed*, as many questions as there is room for are under way, and each answer makes room for the next: the server has
//! always something to do. *Open*, a question is sent when it is due, whatever has come back by then, and its latency counts
//! from when it was due: a server that stalls is not asked less for it. Each answer is looked at.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use callsign_e2e::load::{outcome::Outcome, question::Question};
use callsign_mmsg::{Batch, Exchange, Wait};
use nix::{
    errno::Errno,
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
};

use crate::{
    cores,
    port::{Port, WIDTH},
    run::{Look, Run, Turn, Until},
};

/// Ports that ask, so that a server with several sockets has something to do on each.
const PORTS: usize = 16;
/// Questions under way on each when the loop is closed: 128 in all, which fits the buffer of a socket nobody has enlarged.
const DEPTH: usize = 8;
/// Larger than any answer to [`Question`]'s size.
const ANSWER: usize = 4096;
/// How long a server is asked before a round counts.
pub(crate) const WARM: Duration = Duration::from_millis(300);
/// How often is looked for what has taken too long.
const LOOK: Duration = Duration::from_millis(100);
/// How often what nobody has answered is asked again, where each question is asked once.
const AGAIN: usize = 3;

/// How is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// The next question when an answer has come.
    Closed,
    /// So many questions a second.
    Open(u32),
}

/// Asks one server.
pub(crate) struct Client {
    ports: Vec<Port>,
    epoll: Epoll,
    batch: Batch,
    buffer: Box<[u8]>,
    /// The next question.
    next: usize,
}

impl Client {
    /// A client of the server at this address.
    ///
    /// # Errors
    /// When there are no ports.
    pub(crate) fn new(server: SocketAddr) -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::empty())?;
        let mut ports = Vec::new();
        for number in 0..PORTS {
            let port = Port::new(server)?;
            epoll.add(port.fd(), EpollEvent::new(EpollFlags::EPOLLIN, number as u64))?;
            ports.push(port);
        }
        Ok(Self { ports, epoll, batch: Batch::new(DEPTH, ANSWER), buffer: Box::new([0; ANSWER]), next: 0 })
    }

    /// Asks every question once, and again if nothing came, and says what came of each. The default is nothing.
    ///
    /// # Errors
    /// When the sockets fail.
    pub(crate) fn learn(&mut self, questions: &[Question]) -> Result<Vec<Outcome>> {
        let mut outcomes = vec![Outcome::default(); questions.len()];
        let mut missing: Vec<usize> = (0..questions.len()).collect();
        for _ in 0..AGAIN {
            let asked: Vec<Question> = missing.iter().filter_map(|at| questions.get(*at).cloned()).collect();
            let mut found = vec![Outcome::default(); asked.len()];
            let until = Until { count: Some(asked.len()), ..Until::default() };
            self.next = 0;
            self.run(&asked, Look::Learn(&mut found), Pace::Closed, until)?;
            for (at, outcome) in missing.iter().zip(found) {
                if let Some(slot) = outcomes.get_mut(*at) {
                    *slot = outcome;
                }
            }
            missing.retain(|at| outcomes.get(*at) == Some(&Outcome::default()));
            if missing.is_empty() {
                break;
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
        let mut turn = Turn::new(questions, look, until)?;
        match pace {
            Pace::Closed => self.closed(&mut turn)?,
            Pace::Open(rate) => self.open(&mut turn, rate)?,
        }
        turn.run.client = cores::own()?.saturating_sub(client);
        Ok(turn.run)
    }

    fn closed(&mut self, turn: &mut Turn<'_>) -> Result<()> {
        let mut looked = turn.started;
        for port in &mut self.ports {
            for _ in 0..DEPTH {
                port.fill(turn, &mut self.next, looked, DEPTH)?;
            }
        }
        loop {
            let now = self.exchange(turn)?;
            if now.duration_since(looked) >= LOOK {
                looked = now;
                for port in &mut self.ports {
                    for _ in 0..port.forget(turn, now, DEPTH) {
                        port.fill(turn, &mut self.next, now, DEPTH)?;
                    }
                }
            }
            if !turn.goes_on(now) && self.ports.iter().all(|port| port.is_idle(DEPTH)) {
                return Ok(());
            }
        }
    }

    /// Waits for answers, and sends a question for each; when they came.
    fn exchange(&mut self, turn: &mut Turn<'_>) -> Result<Instant> {
        let mut now = Instant::now();
        for number in self.ready(LOOK)? {
            let Some(port) = self.ports.get_mut(number) else { continue };
            let received = match self.batch.receive(port.fd(), Wait::No) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error).context("the server is gone"),
            };
            now = Instant::now();
            for at in 0..received {
                let Some(Exchange { request: answer, reply: next, .. }) = self.batch.exchange(at) else {
                    continue;
                };
                let id = port.answered(turn, answer, now, DEPTH, None);
                if let Some(id) = id.filter(|_| turn.goes_on(now)) {
                    // The place that the answer has left.
                    port.put(turn, &mut self.next, id.wrapping_add(DEPTH as u16), now, DEPTH, next);
                }
            }
            self.batch.send(port.fd());
        }
        Ok(now)
    }

    fn open(&mut self, turn: &mut Turn<'_>, rate: u32) -> Result<()> {
        self.ports.iter().try_for_each(Port::stamp)?;
        let every = Duration::from_secs(1) / rate.max(1);
        let (mut due, mut looked) = (turn.started, turn.started);
        let mut number = 0;
        loop {
            let now = Instant::now();
            let mut sent = 0;
            // What is due is sent, but answers are not left for long.
            while due <= now && turn.goes_on(due) && sent < PORTS {
                if let Some(port) = self.ports.get_mut(number % PORTS) {
                    port.ask(turn, &mut self.next, due)?;
                }
                number += 1;
                sent += 1;
                due = turn.started + every * u32::try_from(number)?;
            }
            self.take(turn)?;
            if now.duration_since(looked) >= LOOK {
                looked = now;
                for port in &mut self.ports {
                    port.forget(turn, now, WIDTH);
                }
                if !turn.goes_on(due) && self.ports.iter().all(|port| port.is_idle(WIDTH)) {
                    return Ok(());
                }
            }
        }
    }

    /// Takes the answers that are there.
    fn take(&mut self, turn: &mut Turn<'_>) -> Result<()> {
        for number in self.ready(Duration::ZERO)? {
            let Some(port) = self.ports.get_mut(number) else { continue };
            for _ in 0..DEPTH {
                let Some(stamped) = port.receive(&mut self.buffer)? else { break };
                let answer = self.buffer.get(..stamped.length).unwrap_or_default();
                port.answered(turn, answer, Instant::now(), WIDTH, Some(&stamped));
            }
        }
        Ok(())
    }

    /// The ports that have something, after waiting for one.
    fn ready(&self, wait: Duration) -> Result<impl Iterator<Item = usize> + use<>> {
        let mut ready = [EpollEvent::empty(); PORTS];
        let count = match self.epoll.wait(&mut ready, EpollTimeout::try_from(wait)?) {
            Err(Errno::EINTR) => 0,
            count => count?,
        };
        Ok(ready.into_iter().take(count).map(|event| event.data() as usize))
    }
}
