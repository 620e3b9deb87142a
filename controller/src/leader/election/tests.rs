//! Candidates before one Lease, without a clock or an API server.

use super::*;

const TIMING: Timing =
    Timing { lease: Duration::from_secs(15), renew: Duration::from_secs(10), retry: Duration::from_secs(2) };

/// An API server that holds one Lease, and the time.
struct Stage {
    stored: Option<Lease>,
    version: u64,
    begin: Instant,
    now: Instant,
    dead: Vec<&'static str>,
    listening: bool,
}

impl Stage {
    fn new() -> Self {
        let now = Instant::now();
        Self { stored: None, version: 0, begin: now, now, dead: Vec::new(), listening: false }
    }

    fn pass(&mut self, seconds: f64) {
        self.now += Duration::from_secs_f64(seconds);
    }

    fn wall(&self) -> Timestamp {
        let passed = self.now.duration_since(self.begin);
        Timestamp::from_second(1_800_000_000).unwrap() + passed
    }

    fn next(&self, candidate: &mut Election) -> Action {
        let is_dead = |holder: &str| self.dead.contains(&holder);
        candidate.next(self.now, self.wall(), self.listening, is_dead)
    }

    /// Seconds until it wants to do something.
    fn waits(&self, candidate: &mut Election) -> f64 {
        match self.next(candidate) {
            Action::Wait(until) => until.duration_since(self.now).as_secs_f64(),
            other => panic!("{other:?}"),
        }
    }

    fn writes(&self, candidate: &mut Election) -> Lease {
        match self.next(candidate) {
            Action::Write(lease) => *lease,
            other => panic!("{other:?}"),
        }
    }

    /// What an API server does with it.
    fn put(&mut self, mut lease: Lease) -> Result<Lease, ()> {
        let stored = self.stored.as_ref().map(|lease| lease.metadata.resource_version.clone());
        if stored.unwrap_or_default() != lease.metadata.resource_version {
            return Err(());
        }
        self.version += 1;
        lease.metadata.resource_version = Some(self.version.to_string());
        self.stored = Some(lease.clone());
        Ok(lease)
    }

    /// Does what it wants until it wants to wait.
    fn play(&mut self, candidate: &mut Election) {
        for _ in 0..10 {
            match self.next(candidate) {
                Action::Wait(_) => return,
                Action::Look => candidate.saw(self.stored.clone(), self.now),
                Action::Write(lease) => match self.put(*lease) {
                    Ok(lease) => candidate.wrote(lease, self.now, self.now),
                    Err(()) => candidate.conflicted(self.now),
                },
            }
        }
        panic!("it never waits");
    }

    fn leads(&self, candidate: &Election) -> bool {
        candidate.leading_since(self.now).is_some()
    }

    fn spec(&self) -> LeaseSpec {
        self.stored.clone().unwrap().spec.unwrap()
    }

    fn edit(&mut self, edit: impl FnOnce(&mut Lease)) {
        let mut lease = self.stored.clone().unwrap();
        edit(&mut lease);
        self.put(lease).unwrap();
    }
}

fn candidate(name: &str) -> Election {
    let mut blank = Lease::default();
    blank.metadata.name = Some("callsign-controller".to_owned());
    blank.metadata.namespace = Some("kube-system".to_owned());
    Election::new(name, TIMING, blank)
}

/// One that leads and one that follows.
fn two() -> (Stage, Election, Election) {
    let (mut stage, mut a, mut b) = (Stage::new(), candidate("a"), candidate("b"));
    stage.play(&mut a);
    stage.play(&mut b);
    assert!(stage.leads(&a) && !stage.leads(&b));
    (stage, a, b)
}

#[test]
fn from_nothing_it_looks_creates_and_leads() {
    let (mut stage, mut a) = (Stage::new(), candidate("a"));
    assert_eq!(stage.next(&mut a), Action::Look);
    assert_eq!(a.holder(), None);
    a.saw(None, stage.now);
    let lease = stage.writes(&mut a);
    assert_eq!(lease.metadata.resource_version, None);
    assert_eq!(lease.metadata.namespace.as_deref(), Some("kube-system"));
    let started = stage.now;
    stage.pass(0.5);
    let lease = stage.put(lease).unwrap();
    a.wrote(lease, started, stage.now);
    assert_eq!(a.leading_since(stage.now), Some(stage.now));
    assert_eq!(a.until(), Some(started + TIMING.renew), "from the start of the request");
    let spec = stage.spec();
    assert_eq!(spec.holder_identity.as_deref(), Some("a"));
    assert_eq!((spec.lease_duration_seconds, spec.lease_transitions), (Some(15), Some(0)));
    assert_eq!((spec.acquire_time.clone(), spec.acquire_time), (spec.renew_time.clone(), spec.renew_time));
    assert_eq!(stage.waits(&mut a), 1.5, "to the next renewal");
}

#[test]
fn a_leader_renews_and_keeps_what_others_put_into_the_lease() {
    let (mut stage, mut a, _) = two();
    let acquired = stage.spec().acquire_time;
    for round in 1..100 {
        stage.pass(2.0);
        if round == 50 {
            // A conflict once, and nothing more of it.
            stage.edit(|lease| {
                lease.metadata.annotations = Some([("note".to_owned(), "hands off".to_owned())].into());
            });
            assert_eq!(stage.next(&mut a), Action::Write(Box::new(stage.writes(&mut a))));
            stage.play(&mut a);
            stage.pass(0.2);
        }
        stage.play(&mut a);
        assert!(stage.leads(&a));
        let spec = stage.spec();
        assert_eq!(spec.renew_time, Some(MicroTime(stage.wall())), "round {round}");
        assert_eq!((spec.acquire_time, spec.lease_transitions), (acquired.clone(), Some(0)));
    }
    assert_eq!(stage.stored.unwrap().metadata.annotations.unwrap()["note"], "hands off");
}

#[test]
fn a_leader_that_cannot_renew_is_none_when_its_time_is_up() {
    let (mut stage, mut a, _) = two();
    stage.pass(2.0);
    for _ in 0..4 {
        let started = stage.now;
        assert!(matches!(stage.next(&mut a), Action::Write(_) | Action::Look));
        assert!(a.patience(stage.now) <= Duration::from_secs(5));
        a.failed(started);
        assert!(stage.leads(&a));
        stage.pass(stage.waits(&mut a));
    }
    assert_eq!(stage.now.duration_since(stage.begin), TIMING.renew);
    assert!(!stage.leads(&a), "10 s after the start of its last renewal");
    // It is a candidate again, and takes up what nobody else took.
    stage.play(&mut a);
    assert!(stage.leads(&a));
    assert_eq!(stage.spec().lease_transitions, Some(0));
}

#[test]
fn a_request_may_not_outlast_the_term() {
    let (mut stage, mut a, _) = two();
    assert_eq!(a.patience(stage.now), Duration::from_secs(5));
    stage.pass(7.0);
    assert_eq!(a.patience(stage.now), Duration::from_secs(3));
    // An answer that comes after all is as good as its request is young.
    let lease = stage.writes(&mut a);
    let lease = stage.put(lease).unwrap();
    let started = stage.now;
    stage.pass(11.0);
    a.wrote(lease, started, stage.now);
    assert!(!stage.leads(&a));
}

#[test]
fn a_follower_waits_out_the_lease_from_when_it_saw_it_change() {
    let (mut stage, _, mut b) = two();
    stage.listening = true;
    // The leader is dead. Its times are nonsense, and nobody looks at them.
    stage.pass(1.0);
    stage.edit(|lease| {
        let spec = lease.spec.as_mut().unwrap();
        spec.renew_time = Some(MicroTime(Timestamp::from_second(1).unwrap()));
    });
    b.saw(stage.stored.clone(), stage.now);
    let seen = stage.now;
    while !stage.leads(&b) {
        stage.play(&mut b);
        if !stage.leads(&b) {
            stage.pass(stage.waits(&mut b));
        }
        assert!(stage.now.duration_since(seen) <= TIMING.lease);
    }
    assert_eq!(stage.now.duration_since(seen), TIMING.lease);
    let spec = stage.spec();
    assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("b"), Some(1)));
}

#[test]
fn only_what_the_lease_says_counts_as_a_change() {
    let (mut stage, _, mut b) = two();
    for _ in 0..7 {
        stage.pass(2.0);
        stage.edit(|lease| {
            let labels = lease.metadata.labels.get_or_insert_default();
            labels.insert(format!("edit-{}", labels.len()), String::new());
        });
        stage.play(&mut b);
        assert!(!stage.leads(&b));
    }
    stage.pass(1.0);
    stage.play(&mut b);
    assert!(stage.leads(&b), "15 s without a renewal");
}

#[test]
fn the_holder_says_how_long_it_is_waited_for() {
    for (says, waits) in [(Some(3), 3.0), (Some(60), 60.0), (Some(0), 15.0), (Some(-1), 15.0), (None, 15.0)] {
        let (mut stage, _, mut b) = two();
        stage.edit(|lease| lease.spec.as_mut().unwrap().lease_duration_seconds = says);
        b.saw(stage.stored.clone(), stage.now);
        let mut waited = 0.0;
        while !stage.leads(&b) {
            stage.play(&mut b);
            if !stage.leads(&b) {
                let wait = stage.waits(&mut b);
                waited += wait;
                stage.pass(wait);
            }
        }
        assert_eq!(waited, waits, "{says:?}");
    }
}

#[test]
fn a_follower_that_is_told_of_changes_looks_less_often() {
    let (mut stage, _, mut b) = two();
    assert_eq!(stage.waits(&mut b), 2.0);
    stage.pass(2.0);
    assert_eq!(stage.next(&mut b), Action::Look);
    stage.listening = true;
    assert_eq!(stage.waits(&mut b), 2.0, "whether the holder is dead is asked each retry period");
    stage.pass(2.0);
    assert_eq!(stage.next(&mut b), Action::Look, "two renewals are missing");
}

#[test]
fn a_released_lease_is_taken_at_once() {
    let (mut stage, mut a, mut b) = two();
    stage.pass(1.0);
    let released = a.release(stage.wall()).unwrap();
    assert!(!stage.leads(&a));
    let spec = released.spec.clone().unwrap();
    assert_eq!(spec.holder_identity.as_deref(), Some(""));
    assert_eq!(spec.lease_duration_seconds, Some(1));
    let released = stage.put(released).unwrap();
    a.saw(Some(released.clone()), stage.now);
    assert_eq!(a.release(stage.wall()), None);
    b.saw(Some(released), stage.now);
    stage.play(&mut b);
    assert!(stage.leads(&b));
    assert_eq!(stage.spec().lease_transitions, Some(1));
    assert_eq!(candidate("c").release(stage.wall()), None);
}

#[test]
fn a_dead_holder_is_not_waited_for() {
    let (mut stage, _, mut b) = two();
    stage.pass(0.5);
    assert_eq!(stage.waits(&mut b), 1.5);
    stage.dead.push("a");
    stage.play(&mut b);
    assert!(stage.leads(&b));
    assert_eq!(stage.spec().lease_transitions, Some(1));
}

#[test]
fn of_two_that_race_one_leads() {
    let (mut stage, mut a, mut b) = (Stage::new(), candidate("a"), candidate("b"));
    for candidate in [&mut a, &mut b] {
        candidate.saw(None, stage.now);
    }
    let (by_a, by_b) = (stage.writes(&mut a), stage.writes(&mut b));
    let lease = stage.put(by_b).unwrap();
    b.wrote(lease, stage.now, stage.now);
    stage.put(by_a).unwrap_err();
    a.conflicted(stage.now);
    assert!(stage.waits(&mut a) > 0.0, "a server that always refuses is not asked without end");
    stage.pass(1.0);
    stage.play(&mut a);
    assert!(stage.leads(&b) && !stage.leads(&a));
    assert_eq!(a.holder(), Some("b"));
}

#[test]
fn a_leader_that_is_overthrown_stops_when_it_sees_it() {
    let (mut stage, mut a, _) = two();
    stage.edit(|lease| lease.spec.as_mut().unwrap().holder_identity = Some("b".to_owned()));
    stage.pass(2.0);
    stage.play(&mut a);
    assert!(stage.leads(&a), "refused, and not seen why");
    stage.pass(0.2);
    stage.play(&mut a);
    assert!(!stage.leads(&a));
    assert_eq!(a.holder(), Some("b"));
}

#[test]
fn a_write_whose_answer_was_lost_is_found_to_be_ours() {
    // Taking it.
    let (mut stage, mut a) = (Stage::new(), candidate("a"));
    a.saw(None, stage.now);
    let lease = stage.writes(&mut a);
    stage.put(lease).unwrap();
    a.failed(stage.now);
    assert!(!stage.leads(&a));
    stage.pass(2.0);
    a.saw(stage.stored.clone(), stage.now);
    assert!(!stage.leads(&a), "when that write began is not known for certain");
    stage.play(&mut a);
    assert!(stage.leads(&a));
    assert_eq!(a.until(), Some(stage.now + TIMING.renew));
    assert_eq!(stage.spec().lease_transitions, Some(0));
    // Renewing it.
    stage.pass(2.0);
    let until = a.until();
    let lease = stage.writes(&mut a);
    stage.put(lease).unwrap();
    a.failed(stage.now);
    stage.pass(2.0);
    a.saw(stage.stored.clone(), stage.now);
    assert_eq!(a.until(), until);
    stage.play(&mut a);
    assert_eq!(a.until(), Some(stage.now + TIMING.renew));
}

#[test]
fn an_earlier_try_that_arrives_late_is_ours_too() {
    let (mut stage, mut a) = (Stage::new(), candidate("a"));
    a.saw(None, stage.now);
    let first = stage.writes(&mut a);
    a.failed(stage.now);
    stage.pass(2.0);
    a.saw(None, stage.now);
    let second = stage.writes(&mut a);
    stage.put(first).unwrap();
    stage.put(second).unwrap_err();
    a.conflicted(stage.now);
    stage.pass(0.2);
    stage.play(&mut a);
    assert!(stage.leads(&a));
    // There may be many of them, not any number.
    let mut b = candidate("b");
    for _ in 0..100 {
        b.saw(None, stage.now);
        stage.writes(&mut b);
        b.failed(stage.now);
        stage.pass(2.0);
    }
    assert_eq!(b.tries.len(), TRIES);
}

#[test]
fn another_process_of_the_same_name_is_another() {
    let (mut stage, _, _) = two();
    let mut namesake = candidate("a");
    stage.play(&mut namesake);
    assert!(!stage.leads(&namesake));
    assert_eq!(namesake.release(stage.wall()), None);
    for _ in 0..7 {
        stage.pass(2.0);
        stage.play(&mut namesake);
        assert!(!stage.leads(&namesake));
    }
    stage.pass(1.0);
    stage.play(&mut namesake);
    assert!(stage.leads(&namesake), "15 s without a renewal");
}

#[test]
fn a_deleted_lease_is_its_holders_for_the_time_it_had() {
    let (mut stage, mut a, mut b) = two();
    stage.pass(1.0);
    stage.stored = None;
    b.saw(None, stage.now);
    stage.play(&mut b);
    assert!(!stage.leads(&b), "the holder does not know yet, and writes");
    stage.pass(1.0);
    // It makes it anew, and goes on.
    stage.play(&mut a);
    stage.pass(0.2);
    stage.play(&mut a);
    assert!(stage.leads(&a));
    assert_eq!(stage.spec().holder_identity.as_deref(), Some("a"));
    stage.stored = None;
    stage.pass(0.1);
    b.saw(None, stage.now);
    let deleted = stage.now;
    while !stage.leads(&b) {
        stage.play(&mut b);
        if !stage.leads(&b) {
            stage.pass(stage.waits(&mut b));
        }
    }
    let waited = stage.now.duration_since(deleted).as_secs_f64();
    assert!((12.0..=15.0).contains(&waited), "{waited}");
}

#[test]
fn a_lease_made_by_hand_is_free() {
    let (mut stage, mut a) = (Stage::new(), candidate("a"));
    let mut lease = a.blank.clone();
    lease.metadata.labels = Some([("made".to_owned(), "by-hand".to_owned())].into());
    stage.put(lease).unwrap();
    stage.play(&mut a);
    assert!(stage.leads(&a));
    assert_eq!(stage.spec().lease_transitions, Some(1));
    assert_eq!(stage.stored.unwrap().metadata.labels.unwrap()["made"], "by-hand");
}

#[test]
fn the_lease_holds_whole_seconds() {
    for (duration, whole) in [(3000, 3), (2500, 3), (1, 1), (1000, 1)] {
        assert_eq!(seconds(Duration::from_millis(duration)), whole);
    }
    assert_eq!(seconds(Duration::from_secs(u64::MAX)), i32::MAX);
}

/// Whatever happens and however slow answers are: never two at a time.
#[test]
fn there_is_never_more_than_one_leader() {
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut stage = Stage::new();
        let mut all = ["a", "b", "c"].map(candidate);
        let mut led = 0;
        let mut under_way = Vec::new();
        for _ in 0..2000 {
            if random.f64() < 0.1
                && let Some(lease) = under_way.pop()
            {
                let _ = stage.put(lease);
            }
            stage.pass(random.f64() * 2.0);
            stage.listening = random.bool();
            let who = random.usize(..all.len());
            let one = &mut all[who];
            let started = stage.now;
            let action = stage.next(one);
            // A request takes its time, at most what the candidate has patience for.
            let slow = one.patience(started).as_secs_f64() * random.f64();
            let lost = random.f64() < 0.2;
            let late = random.f64() < 0.1;
            match action {
                Action::Wait(_) => {}
                Action::Look => {
                    let stored = stage.stored.clone();
                    stage.pass(slow);
                    if lost { one.failed(started) } else { one.saw(stored, stage.now) }
                }
                Action::Write(lease) if late => {
                    under_way.push(*lease);
                    stage.pass(slow);
                    one.failed(started);
                }
                Action::Write(lease) => {
                    stage.pass(slow / 2.0);
                    let answer = stage.put(*lease);
                    stage.pass(slow / 2.0);
                    match answer {
                        _ if lost => one.failed(started),
                        Ok(lease) => one.wrote(lease, started, stage.now),
                        Err(()) => one.conflicted(stage.now),
                    }
                }
            }
            if random.f64() < 0.01
                && let Some(released) = all[who].release(stage.wall())
            {
                let _ = stage.put(released);
            }
            let leaders = all.iter().filter(|one| stage.leads(one)).count();
            assert!(leaders <= 1, "seed {seed}: {all:#?}");
            led += leaders;
        }
        assert!(led > 200, "seed {seed}: they lead {led} times");
    }
}
