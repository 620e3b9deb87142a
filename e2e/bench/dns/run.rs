//! One run of a load: what is asked and until when, and what has come back.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use callsign_e2e::load::{outcome::Outcome, question::Question};
use hdrhistogram::Histogram;

/// What one run of a load has seen.
pub(crate) struct Run {
    pub(crate) asked: u64,
    pub(crate) answered: u64,
    pub(crate) lost: u64,
    /// Bytes of all answers.
    pub(crate) bytes: u64,
    /// Answers that were not as expected, and the first.
    wrong: u64,
    first_wrong: Option<String>,
    /// Until the last answer.
    pub(crate) took: Duration,
    /// From when a question was due until the load had its answer, nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// From when it was sent until the kernel had the answer: without what keeps the load from its work. Only at a rate.
    pub(crate) served: Histogram<u64>,
    /// The CPU time of the load.
    pub(crate) client: Duration,
}

/// When to end: the first of these.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Until {
    pub(crate) time: Option<Duration>,
    pub(crate) count: Option<usize>,
}

/// What is done with answers.
pub(crate) enum Look<'a> {
    /// They must be these.
    Check(&'a [Outcome]),
    /// They are written down.
    Learn(&'a mut [Outcome]),
}

/// What a run works with.
pub(crate) struct Turn<'a> {
    pub(crate) questions: &'a [Question],
    pub(crate) look: Look<'a>,
    pub(crate) run: Run,
    pub(crate) until: Until,
    pub(crate) started: Instant,
}

impl Run {
    pub(crate) fn new() -> Result<Self> {
        let latency = Histogram::new_with_bounds(1, 60_000_000_000, 3)?;
        Ok(Self {
            asked: 0,
            answered: 0,
            lost: 0,
            bytes: 0,
            wrong: 0,
            first_wrong: None,
            took: Duration::ZERO,
            served: latency.clone(),
            latency,
            client: Duration::ZERO,
        })
    }

    /// # Errors
    /// When an answer was not as expected.
    pub(crate) fn is_right(&self) -> Result<()> {
        match &self.first_wrong {
            None => Ok(()),
            Some(first) => bail!("{} of {} answers are wrong, first {first}", self.wrong, self.answered),
        }
    }

    /// Adds a run that was at the same time.
    ///
    /// # Errors
    /// When one histogram does not fit the other.
    pub(crate) fn add(&mut self, other: &Self) -> Result<()> {
        self.asked += other.asked;
        self.answered += other.answered;
        self.lost += other.lost;
        self.bytes += other.bytes;
        self.wrong += other.wrong;
        self.first_wrong = self.first_wrong.take().or_else(|| other.first_wrong.clone());
        self.took = self.took.max(other.took);
        self.client += other.client;
        self.latency.add(&other.latency)?;
        Ok(self.served.add(&other.served)?)
    }
}

impl<'a> Turn<'a> {
    pub(crate) fn new(questions: &'a [Question], look: Look<'a>, until: Until) -> Result<Self> {
        Ok(Self { questions, look, run: Run::new()?, until, started: Instant::now() })
    }

    /// Whether a question that is due now is asked.
    pub(crate) fn goes_on(&self, due: Instant) -> bool {
        self.until.time.is_none_or(|time| due.saturating_duration_since(self.started) < time)
            && self.until.count.is_none_or(|count| self.run.asked < count as u64)
    }

    /// Looks at the answer to the question of this number, which was asked with this id.
    pub(crate) fn look(&mut self, number: usize, id: u16, answer: &[u8], now: Instant) {
        self.run.answered += 1;
        self.run.bytes += answer.len() as u64;
        self.run.took = now.saturating_duration_since(self.started);
        let Some(question) = self.questions.get(number) else { return };
        let outcome = Outcome::of(answer).filter(|_| question.is_answered_by(id, answer));
        match &mut self.look {
            Look::Learn(outcomes) => {
                if let Some((slot, outcome)) = outcomes.get_mut(number).zip(outcome) {
                    *slot = outcome;
                }
            }
            Look::Check(expected) => {
                let expected = expected.get(number);
                if outcome.as_ref() != expected {
                    self.run.wrong += 1;
                    let say = || format!("{}: {outcome:?} instead of {expected:?}", question.text());
                    self.run.first_wrong.get_or_insert_with(say);
                }
            }
        }
    }
}
