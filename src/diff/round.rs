//! One round: every question once, and what differs again after a moment.
//!
//! ```text
//!   questions ─▶ both servers ─▶ verdict ─┬─ equal, wanted, of others ─▶ counted
//!                     ▲                   └─ differs, silent ─▶ a moment ─┐
//!                     └────────────── again, in whole ────────────────────┘   at most LOOKS times
//! ```
//!
//! The cluster changes while it is asked, and both servers follow at their own pace. What the objects themselves say is looked
//! at before and after: where that has changed, a difference is looked at once more.

use std::{collections::BTreeMap, sync::atomic::AtomicU64, sync::atomic::Ordering, time::Duration};

use futures::{StreamExt, future::Either, stream};
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    ask::{Server, Silence},
    cluster::Cluster,
    compare::{Difference, compare},
    questions::Question,
    seen::Seen,
    standing::{Standing, Zones},
    verdict::{Verdict, judge, steady},
};

/// How often a name is asked again whose objects change meanwhile.
const LOOKS: u32 = 4;
/// The least time after which a TTL that a cache counts down is another.
const TICK: Duration = Duration::from_millis(1100);

/// Whom to ask, and what is known.
pub(crate) struct Pair {
    /// The one that is to take over.
    pub(crate) server: Server,
    /// The other one.
    pub(crate) against: Server,
    /// The cluster, where it is looked at.
    pub(crate) cluster: Option<Cluster>,
    /// The zones whose names are the cluster's.
    pub(crate) zones: Zones,
    /// Questions at the same time.
    pub(crate) concurrency: usize,
    /// The moment after which what differs is asked again.
    pub(crate) settle: Duration,
    /// How many questions have been asked, for who watches.
    pub(crate) asked: AtomicU64,
}

/// What a round found.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Questions that were asked.
    pub(crate) asked: u64,
    /// Answered alike.
    pub(crate) equal: u64,
    /// Of these, only at a second look.
    pub(crate) settled: u64,
    /// Names of others, answered by both with other records.
    pub(crate) varying: u64,
    /// Wanted differences by their code.
    pub(crate) wanted: BTreeMap<&'static str, WantedTally>,
    /// Everything else.
    pub(crate) findings: Vec<Finding>,
    /// Whether it ended before all was asked.
    pub(crate) interrupted: bool,
    /// How long it took.
    pub(crate) took: Duration,
}

/// A kind of wanted difference.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WantedTally {
    /// At how many questions it was seen.
    pub(crate) count: u64,
    /// What it is.
    pub(crate) what: &'static str,
    /// Why.
    pub(crate) reference: &'static str,
    /// One of the questions.
    pub(crate) example: String,
}

/// A question whose answers are not alike.
#[derive(Debug)]
pub(crate) struct Finding {
    /// The question.
    pub(crate) question: Question,
    /// What it is.
    pub(crate) class: Class,
    /// How the answers differ, where there are two.
    pub(crate) differences: Vec<Difference>,
    /// What the server said, or why it said nothing.
    pub(crate) server: Result<Seen, Silence>,
    /// What the other one said.
    pub(crate) against: Result<Seen, Silence>,
    /// Who says what the objects of the cluster say, where they alone decide.
    pub(crate) right: Option<Right>,
}

/// What is found at a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Class {
    /// The answers differ.
    Different,
    /// One of the servers does not answer, or both.
    Unreachable,
    /// The answers differ, and the objects behind them changed at every look.
    Changing,
    /// Only TTLs differ, and no cache counts them down.
    Ttl,
}

/// Who is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Right {
    /// The server.
    Server,
    /// The other one.
    Against,
    /// Neither.
    Neither,
}

/// Two answers, or the lack of them.
struct Both {
    server: Result<Seen, Silence>,
    against: Result<Seen, Silence>,
}

/// A question that must be looked at again.
struct Suspect {
    question: Question,
    standing: Standing,
    both: Both,
    differences: Vec<Difference>,
    /// What the objects said when it was asked.
    derived: Option<Seen>,
}

impl Pair {
    /// Asks everything. `stop` ends it early.
    pub(crate) async fn round(&self, questions: Vec<Question>, stop: &CancellationToken) -> Tally {
        let (started, mut tally) = (Instant::now(), Tally::default());
        let total = questions.len() as u64;
        let mut suspects = Vec::new();
        {
            let looks = stream::iter(questions).map(|question| self.look(question, false));
            let looks = looks.buffer_unordered(self.concurrency).take_until(stop.cancelled());
            let mut looks = std::pin::pin!(looks);
            while let Some(looked) = looks.next().await {
                tally.asked += 1;
                self.asked.fetch_add(1, Ordering::Relaxed);
                if self.gone().is_some() {
                    break;
                }
                match looked {
                    Either::Left((question, verdict)) => tally.count(&question, &verdict),
                    Either::Right(suspect) => suspects.push(suspect),
                }
            }
        }
        for look in 1..=LOOKS {
            if suspects.is_empty() || self.settle.is_zero() || stop.is_cancelled() || self.gone().is_some() {
                break;
            }
            // Clocks of TTLs have whole seconds.
            tokio::select! {
                () = tokio::time::sleep(self.settle.max(TICK)) => {}
                () = stop.cancelled() => break,
            }
            suspects = self.look_again(suspects, look == LOOKS, &mut tally).await;
        }
        for suspect in suspects {
            match self.believe(suspect) {
                Some(finding) => tally.findings.push(finding),
                None => tally.equal += 1,
            }
        }
        tally.findings.sort_by(|a, b| {
            (a.class, &a.question.name, a.question.kind).cmp(&(b.class, &b.question.name, b.question.kind))
        });
        (tally.interrupted, tally.took) = (tally.asked < total, started.elapsed());
        tally
    }

    /// The server that has stopped answering.
    pub(crate) fn gone(&self) -> Option<&Server> {
        [&self.server, &self.against].into_iter().find(|server| server.is_gone())
    }

    /// Asks both, and says what it is where that is certain.
    async fn look(&self, question: Question, whole: bool) -> Either<(Question, Verdict), Suspect> {
        let both = self.ask(&question, whole).await;
        let standing = match &self.cluster {
            Some(cluster) => cluster.standing(&question),
            None => Standing::without_cluster(&self.zones, &question.name),
        };
        let differences = match (&both.server, &both.against) {
            (Ok(server), Ok(against)) => match judge(question.kind, standing, &self.zones, server, against) {
                Verdict::Different(differences) | Verdict::Ttl(differences) => differences,
                verdict => return Either::Left((question, verdict)),
            },
            _ => Vec::new(),
        };
        let derived = self.derived(&question);
        Either::Right(Suspect { question, standing, both, differences, derived })
    }

    async fn ask(&self, question: &Question, whole: bool) -> Both {
        let (server, against) =
            tokio::join!(ask(&self.server, question, whole), ask(&self.against, question, whole));
        Both { server, against }
    }

    fn derived(&self, question: &Question) -> Option<Seen> {
        self.cluster.as_ref()?.derived(question)
    }

    /// Asks suspects again, in whole. What is certain now is in the tally; what is not, comes back.
    async fn look_again(&self, suspects: Vec<Suspect>, last: bool, tally: &mut Tally) -> Vec<Suspect> {
        let looks = stream::iter(suspects).map(|suspect| async move {
            let looked = self.look(suspect.question.clone(), true).await;
            (suspect, looked)
        });
        let mut looks = std::pin::pin!(looks.buffer_unordered(self.concurrency));
        let mut left = Vec::new();
        while let Some((before, looked)) = looks.next().await {
            let now = match looked {
                Either::Left((question, verdict)) => {
                    tally.settled += 1;
                    tally.count(&question, &verdict);
                    continue;
                }
                Either::Right(now) => now,
            };
            let changed = now.derived != before.derived;
            match now.decide(&before, changed) {
                Decision::Equal => {
                    tally.settled += 1;
                    tally.equal += 1;
                }
                Decision::Again(suspect) if !last => left.push(suspect),
                Decision::Again(suspect) => tally.findings.push(self.finding(suspect, Class::Changing)),
                Decision::Found(suspect, class) => tally.findings.push(self.finding(suspect, class)),
            }
        }
        left
    }

    /// What a suspect is that was not looked at again: a TTL that is lower there may be a cache's.
    fn believe(&self, mut suspect: Suspect) -> Option<Finding> {
        let is_cached = |difference: &Difference| matches!(difference, Difference::Ttl { server, against, .. } if against < server);
        if suspect.both.server.is_ok() && suspect.both.against.is_ok() {
            suspect.differences.retain(|difference| !is_cached(difference));
            if suspect.differences.is_empty() {
                return None;
            }
        }
        let class = suspect.class();
        Some(self.finding(suspect, class))
    }

    fn finding(&self, suspect: Suspect, class: Class) -> Finding {
        let right = suspect.right(&self.zones);
        let Both { server, against } = suspect.both;
        Finding {
            question: suspect.question,
            class,
            differences: suspect.differences,
            server,
            against,
            right,
        }
    }
}

/// What is to be done with a suspect after another look.
enum Decision {
    /// Nothing is left of it.
    Equal,
    /// Its objects changed meanwhile.
    Again(Suspect),
    /// It is so.
    Found(Suspect, Class),
}

impl Suspect {
    fn class(&self) -> Class {
        match (&self.both.server, &self.both.against) {
            (Ok(_), Ok(_)) if self.differences.iter().all(Difference::is_ttl) => Class::Ttl,
            (Ok(_), Ok(_)) => Class::Different,
            _ => Class::Unreachable,
        }
    }

    fn decide(mut self, before: &Self, changed: bool) -> Decision {
        match self.class() {
            Class::Ttl if before.class() != Class::Ttl => Decision::Again(self),
            Class::Ttl => {
                self.differences = steady(&before.differences, &self.differences);
                match self.differences.is_empty() {
                    true => Decision::Equal,
                    false => Decision::Found(self, Class::Ttl),
                }
            }
            Class::Different if changed => Decision::Again(self),
            class => {
                // Beside what is certain, TTLs that count down say nothing.
                let steady = steady(&before.differences, &self.differences);
                self.differences.retain(|difference| !difference.is_ttl() || steady.contains(difference));
                Decision::Found(self, class)
            }
        }
    }

    /// Who answers as the objects of the cluster say.
    fn right(&self, zones: &Zones) -> Option<Right> {
        let derived = self.derived.as_ref()?;
        let says = |seen: &Result<Seen, Silence>| {
            let Ok(seen) = seen else { return false };
            let mut derived = derived.clone();
            // What a server says of its transport is no matter of the cluster's.
            (derived.edns, derived.truncated) = (seen.edns, seen.truncated);
            compare(&derived, seen).iter().all(Difference::is_ttl)
                || matches!(
                    judge(self.question.kind, self.standing, zones, &derived, seen),
                    Verdict::Wanted(_)
                )
        };
        match (says(&self.both.server), says(&self.both.against)) {
            (true, false) => Some(Right::Server),
            (false, true) => Some(Right::Against),
            (false, false) => Some(Right::Neither),
            (true, true) => None,
        }
    }
}

/// Asks a server; where all is wanted that there is and it has no TCP, what it says over UDP.
async fn ask(server: &Server, question: &Question, whole: bool) -> Result<Seen, Silence> {
    match server.ask(question, whole).await {
        Err(_) if whole => server.ask(question, false).await,
        answer => answer,
    }
}

impl Tally {
    /// Counts what is certain.
    fn count(&mut self, question: &Question, verdict: &Verdict) {
        match verdict {
            Verdict::Varies(_) => self.varying += 1,
            Verdict::Wanted(wanted) => {
                let tally = self.wanted.entry(wanted.code).or_insert_with(|| WantedTally {
                    count: 0,
                    what: wanted.what,
                    reference: wanted.reference,
                    example: question.to_string(),
                });
                tally.count += 1;
            }
            Verdict::Equal | Verdict::Ttl(_) | Verdict::Different(_) => self.equal += 1,
        }
    }

    /// How many findings are of a class.
    pub(crate) fn of(&self, class: Class) -> u64 {
        self.findings.iter().filter(|finding| finding.class == class).count() as u64
    }

    /// How many wanted differences there are.
    pub(crate) fn all_wanted(&self) -> u64 {
        self.wanted.values().map(|wanted| wanted.count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{seen::tests::seen, standing::tests::zones},
        *,
    };

    fn suspect(
        server: Result<Seen, Silence>,
        against: Result<Seen, Silence>,
        derived: Option<Seen>,
    ) -> Suspect {
        let differences = match (&server, &against) {
            (Ok(server), Ok(against)) => compare(server, against),
            _ => Vec::new(),
        };
        let question = Question { name: "a.".parse().unwrap(), kind: hickory_proto::rr::RecordType::A };
        Suspect { question, standing: Standing::There, both: Both { server, against }, differences, derived }
    }

    fn address(ttl: u32, last: u8) -> Seen {
        seen("NOERROR", &[&format!("a. {ttl} A 10.0.0.{last}")])
    }

    fn decided(before: &Suspect, now: Suspect, changed: bool) -> &'static str {
        match now.decide(before, changed) {
            Decision::Equal => "equal",
            Decision::Again(_) => "again",
            Decision::Found(_, Class::Different) => "different",
            Decision::Found(_, Class::Ttl) => "ttl",
            Decision::Found(_, Class::Unreachable) => "unreachable",
            Decision::Found(_, Class::Changing) => "changing",
        }
    }

    #[test]
    fn what_a_second_look_decides() {
        let pair = |a, b| suspect(Ok(a), Ok(b), None);
        let (old, same) = (pair(address(30, 1), address(30, 2)), pair(address(30, 1), address(30, 2)));
        assert_eq!(decided(&old, same, false), "different");
        assert_eq!(decided(&old, pair(address(30, 1), address(30, 2)), true), "again");
        let cached = pair(address(30, 1), address(20, 1));
        assert_eq!(decided(&cached, pair(address(30, 1), address(18, 1)), false), "equal");
        assert_eq!(decided(&cached, pair(address(30, 1), address(20, 1)), false), "ttl");
        // The records have become equal; their TTLs need another look.
        assert_eq!(decided(&old, pair(address(30, 1), address(20, 1)), false), "again");
        let silent = || suspect(Ok(address(30, 1)), Err(Silence::Timeout), None);
        assert_eq!(decided(&silent(), silent(), false), "unreachable");
    }

    #[test]
    fn who_is_right() {
        let right = |a: u8, b: u8| {
            suspect(Ok(address(30, a)), Ok(address(5, b)), Some(address(30, 1))).right(&zones())
        };
        assert_eq!(right(1, 2), Some(Right::Server));
        assert_eq!(right(2, 1), Some(Right::Against));
        assert_eq!(right(2, 3), Some(Right::Neither));
        assert_eq!(right(1, 1), None);
        assert_eq!(suspect(Ok(address(30, 1)), Err(Silence::Timeout), None).right(&zones()), None);
    }
}
