//! What objects tell of other writers: which Services somebody else works on. Plain decisions; time is passed in.
//!
//! | seen | means |
//! |---|---|
//! | kube-controller-manager wrote endpoints of ours after we began | its controller is on |
//! | somebody changes what we put right, right after, fifteen times in a minute | another controller that we do not know |
//! | a person edits an object | nothing: it is put right |
//!
//! Either is about one Service first: it is left alone. When it happens to three Services, all are.
//!
//! Times of others' writes are the API server's, with a resolution of a second. They are only compared with each other:
//! what counts is a write later than every write that was there when we began.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
    time::Duration,
};

use callsign_shared::{Key, Name, object::ForeignWrites};
use jiff::Timestamp;
use tokio::time::Instant;

/// At so many Services that somebody else writes, nothing is written any more.
const SERVICES: usize = 3;

/// A fight is so many rounds within this time.
const ROUNDS: usize = 15;
const ROUNDS_WITHIN: Duration = Duration::from_secs(60);

/// A change this soon after ours is an answer to it.
const RIGHT_AFTER: Duration = Duration::from_secs(5);

/// How long a Service that was fought over is left alone at least.
const TRUCE: Duration = Duration::from_secs(300);

/// Of more repairs than this, old ones are forgotten.
const MOST_REPAIRS: usize = 1024;

/// A write of somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    /// The kind of the object.
    pub(crate) kind: &'static str,
    /// The object.
    pub(crate) object: Key,
    /// Who wrote it.
    pub(crate) manager: Name,
    /// When, by the API server's clock.
    pub(crate) at: Timestamp,
    /// Whether it was changed again and again.
    pub(crate) fight: bool,
}

/// What follows from a look at an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Nothing new.
    Nothing,
    /// The Service is to be left alone from now on.
    Service(Hit),
    /// All are.
    All(Hit),
}

/// What has been seen since a run began, or since the last time that nobody else was found.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    /// Writes up to here were there before.
    baseline: Timestamp,
    /// The latest write of a controller that was seen.
    latest: Timestamp,
    /// Services that are left alone, and until when at least.
    alone: BTreeMap<Key, Option<Instant>>,
    /// Services that were found since the last time that nobody was found.
    fresh: usize,
    /// Counts what others do, so that whoever looked for a while knows whether it went on.
    activity: u64,
    repairs: HashMap<Key, Repairs>,
}

/// How an object of a Service was put right.
#[derive(Debug)]
struct Repairs {
    last: Instant,
    /// The write of somebody else that was last put right.
    foreign: Timestamp,
    rounds: VecDeque<Instant>,
}

impl Evidence {
    /// Begins anew: `baseline` is the latest write of a controller that is there already.
    pub(crate) fn begin(&mut self, baseline: Timestamp) {
        *self = Self { baseline, latest: baseline, ..Self::default() };
    }

    /// Whether a Service is left alone.
    pub(crate) fn leaves_alone(&self, service: &Key) -> bool {
        self.alone.contains_key(service)
    }

    /// How many Services are left alone.
    pub(crate) fn left_alone(&self) -> usize {
        self.alone.len()
    }

    /// Whether anybody was found since the last time that nobody was.
    pub(crate) fn is_fresh(&self) -> bool {
        self.fresh > 0
    }

    /// A number that grows with everything others do.
    pub(crate) fn activity(&self) -> u64 {
        self.activity
    }

    /// Looks at an object that only controllers write.
    pub(crate) fn look(
        &mut self,
        service: &Key,
        kind: &'static str,
        object: &Key,
        foreign: &ForeignWrites,
    ) -> Finding {
        let Some(at) = foreign.controller.filter(|at| *at > self.baseline) else { return Finding::Nothing };
        if at > self.latest {
            self.latest = at;
            self.activity += 1;
        }
        let manager = Name::from(callsign_shared::object::well_known::KUBE_CONTROLLER_MANAGER);
        self.found(service, Hit { kind, object: object.clone(), manager, at, fight: false }, None)
    }

    /// An object as somebody else left it is about to be put right.
    pub(crate) fn repair(
        &mut self,
        service: &Key,
        kind: &'static str,
        object: &Key,
        foreign: &ForeignWrites,
        now: Instant,
    ) -> Finding {
        // People, and what they run by hand.
        if foreign.manager.starts_with("kubectl") {
            return Finding::Nothing;
        }
        if self.repairs.len() >= MOST_REPAIRS {
            self.repairs.retain(|_, repairs| now.duration_since(repairs.last) < ROUNDS_WITHIN);
        }
        let Some(repairs) = self.repairs.get_mut(object) else {
            let first = Repairs { last: now, foreign: foreign.at, rounds: VecDeque::new() };
            self.repairs.insert(object.clone(), first);
            return Finding::Nothing;
        };
        if foreign.at <= repairs.foreign {
            return Finding::Nothing;
        }
        let answered = now.duration_since(repairs.last) < RIGHT_AFTER;
        (repairs.last, repairs.foreign) = (now, foreign.at);
        if answered {
            repairs.rounds.push_back(now);
        }
        while repairs.rounds.front().is_some_and(|round| now.duration_since(*round) >= ROUNDS_WITHIN) {
            repairs.rounds.pop_front();
        }
        if repairs.rounds.len() < ROUNDS {
            return Finding::Nothing;
        }
        self.repairs.remove(object);
        let manager = foreign.manager.clone();
        let hit = Hit { kind, object: object.clone(), manager, at: foreign.at, fight: true };
        self.found(service, hit, Some(now + TRUCE))
    }

    /// Nobody else is there: the Services that may be written again.
    pub(crate) fn nobody(&mut self, now: Instant) -> Vec<Key> {
        self.baseline = self.latest;
        self.fresh = 0;
        let (free, alone): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.alone)
            .into_iter()
            .partition(|(_, until)| until.is_none_or(|until| now >= until));
        self.alone = alone;
        free.into_keys().collect()
    }

    fn found(&mut self, service: &Key, hit: Hit, until: Option<Instant>) -> Finding {
        if let Some(known) = self.alone.get_mut(service) {
            *known = (*known).max(until);
            return Finding::Nothing;
        }
        self.alone.insert(service.clone(), until);
        self.fresh += 1;
        self.activity += 1;
        if self.fresh >= SERVICES { Finding::All(hit) } else { Finding::Service(hit) }
    }
}

impl fmt::Display for Hit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, object, manager, at, fight } = self;
        if *fight {
            write!(f, "{manager} changes {kind} {object} again and again, the last time at {at}")
        } else {
            write!(f, "{manager} wrote {kind} {object} at {at}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn key(name: &str) -> Key {
        Key::new("n", name)
    }

    fn by(manager: &str, second: i64) -> ForeignWrites {
        let controller = (manager == "kube-controller-manager").then(|| at(second));
        ForeignWrites { manager: manager.into(), at: at(second), controller }
    }

    fn look(evidence: &mut Evidence, service: &str, foreign: &ForeignWrites) -> Finding {
        evidence.look(&key(service), "EndpointSlice", &key("x"), foreign)
    }

    #[test]
    fn a_later_write_of_a_controller_is_one_services_then_everybodys() {
        let mut evidence = Evidence::default();
        evidence.begin(at(100));
        for old in [by("kube-controller-manager", 100), by("kubectl-edit", 200), by("who", 200)] {
            assert_eq!(look(&mut evidence, "a", &old), Finding::Nothing);
        }
        let new = by("kube-controller-manager", 101);
        let Finding::Service(hit) = look(&mut evidence, "a", &new) else { panic!("not found") };
        assert_eq!(
            hit.to_string(),
            "kube-controller-manager wrote EndpointSlice n/x at 1970-01-01T00:01:41Z"
        );
        assert_eq!(look(&mut evidence, "a", &new), Finding::Nothing, "known");
        assert!(evidence.leaves_alone(&key("a")) && !evidence.leaves_alone(&key("b")));
        assert!(matches!(look(&mut evidence, "b", &new), Finding::Service(_)));
        assert!(matches!(look(&mut evidence, "c", &new), Finding::All(_)));
        assert_eq!(evidence.nobody(Instant::now()), [key("a"), key("b"), key("c")]);
        assert_eq!(look(&mut evidence, "a", &new), Finding::Nothing, "it is an old write now");
        assert!(!evidence.is_fresh() && evidence.left_alone() == 0);
    }

    fn rounds(evidence: &mut Evidence, manager: &str, count: u64, apart: Duration) -> Vec<Finding> {
        let start = Instant::now();
        let round = |round: u64| {
            let foreign = by(manager, 1000 + i64::try_from(round).unwrap());
            let now = start + apart * u32::try_from(round).unwrap();
            evidence.repair(&key("a"), "EndpointSlice", &key("x"), &foreign, now)
        };
        (0..count).map(round).filter(|finding| *finding != Finding::Nothing).collect()
    }

    #[test]
    fn a_fight_is_many_quick_rounds() {
        let second = Duration::from_secs(1);
        let mut evidence = Evidence::default();
        assert_eq!(rounds(&mut evidence, "other", 15, second), [], "the first is no answer");
        let mut evidence = Evidence::default();
        let found = rounds(&mut evidence, "other", 16, second);
        assert!(matches!(found.as_slice(), [Finding::Service(Hit { fight: true, .. })]), "{found:?}");
        assert_eq!(evidence.nobody(Instant::now()), [] as [Key; 0], "a truce");
        assert_eq!(look(&mut evidence, "a", &by("kube-controller-manager", 9000)), Finding::Nothing, "known");
        assert_eq!(evidence.nobody(Instant::now()), [] as [Key; 0], "still a truce");
        assert_eq!(evidence.nobody(Instant::now() + 2 * TRUCE), [key("a")]);
        for (manager, apart) in [("kubectl-edit", second), ("other", 6 * second)] {
            assert_eq!(rounds(&mut Evidence::default(), manager, 40, apart), [], "{manager}");
        }
        // Our own updates of what somebody once wrote are no answers.
        let mut evidence = Evidence::default();
        for _ in 0..20 {
            let found = evidence.repair(&key("a"), "Endpoints", &key("x"), &by("other", 5), Instant::now());
            assert_eq!(found, Finding::Nothing);
        }
    }
}
