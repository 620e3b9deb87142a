//! One sync: plan the objects of one Service, write what differs, until nothing does.
//!
//! A write that is refused because the object has changed is not waited for: the object is read as it is, laid over the
//! index's view ([`overlay`](crate::overlay)), and the plan is made again at once.

use std::{
    collections::BTreeSet,
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use callsign_shared::{
    Index, Journal, Key, Name, ServiceView,
    object::{EndpointSlice, Endpoints, Service},
};
use dashmap::DashMap;
use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    controller::{Config, EndpointsMode, Mode, Task},
    events::Events,
    fuse::Inspector,
    guard::{Guard, is_canary},
    metrics::{KindLabel, Metrics, signed},
    overlay::LIFETIME,
    pace::{Churn, Minor, Pace},
    plan::{Inputs, Part, Plan, Write},
    queue::{Class, Lease, Rest},
    slices::Zones,
    synced::{PartState, ServiceState, Shadow, Synced},
    write::{Failure, Outcome, Writer},
};

/// How often a plan is made again at once before the key has to wait.
const ROUNDS: usize = 5;

/// What is to happen to the key now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing differs, or nothing that has to be written now.
    Done(Rest),
    /// Try again.
    Retry {
        /// The pause that the API server asked for.
        pause: Option<Duration>,
    },
}

/// Everything a sync needs.
#[derive(Debug)]
pub(crate) struct Syncer {
    pub(crate) index: Arc<Index>,
    pub(crate) writer: Writer,
    pub(crate) config: Config,
    pub(crate) metrics: Metrics,
    pub(crate) journal: Arc<Journal>,
    pub(crate) events: Option<Arc<Events>>,
    pub(crate) zones: RwLock<Option<Arc<Zones>>>,
    pub(crate) states: DashMap<Key, ServiceState>,
    pub(crate) guard: Option<Arc<Guard>>,
    pub(crate) fuse: Option<Arc<Inspector>>,
    /// Namespaces in which nothing was made because they were being deleted.
    pub(crate) ending: Mutex<BTreeSet<Name>>,
    pub(crate) churn: Churn,
}

/// A plan without what may wait.
struct Planned<T> {
    plan: Plan<T>,
    /// When what was put off is due; `None` when nothing was.
    later: Option<Duration>,
}

/// Why carrying out a plan ended early.
enum Halt {
    /// What the plan rests on has changed: make another.
    PlanAgain,
    /// Nothing can or need be written.
    Dropped,
    Failed(Failure),
    Stopped,
}

impl Syncer {
    /// How long a change is to wait for one that may come and be written together with it.
    pub(crate) fn gather(&self, work: &Lease<Task>) -> Option<Duration> {
        let gaps = match work.key.part {
            Part::Slices => <EndpointSlice as Synced>::GAPS,
            Part::Endpoints => <Endpoints as Synced>::GAPS,
        };
        let waits = matches!(work.class, Class::Addition | Class::Endpoints) && work.failures == 0;
        let now = Instant::now();
        let left = waits.then(|| self.churn.gather(now, gaps).checked_sub(now - work.since)).flatten();
        left.filter(|left| !left.is_zero())
    }

    /// Brings one part of one Service to what it should be.
    pub(crate) async fn sync<T: Synced>(&self, work: &Lease<Task>, stop: &CancellationToken) -> Verdict {
        let begun = Instant::now();
        let key = &work.key.key;
        for _ in 0..ROUNDS {
            if self.is_others::<T>(key) {
                return Verdict::Done(Rest::default());
            }
            let Planned { mut plan, later } = self.plan::<T>(key);
            if T::PART == Part::Endpoints && self.config.endpoints == EndpointsMode::Existing {
                plan.writes.retain(|write| !matches!(write, Write::Create(_)));
            }
            if self.config.mode == Mode::Shadow {
                self.tell_difference::<T>(key, &plan);
                return Verdict::Done(Rest::default());
            }
            let (tally, writes) = (plan.now(later.is_some()), plan.writes.len());
            if plan.writes.is_empty() {
                self.metrics.carried_out::<T>(work, &tally, 0, begun);
                return self.finish::<T>(key, false, later);
            }
            if self.guard.as_ref().is_some_and(|guard| guard.is_fought(key, &plan)) {
                return Verdict::Done(Rest::default());
            }
            if self.fuse.as_ref().is_some_and(|fuse| !fuse.admits(T::PART, &plan)) {
                // The gate is closed now: whoever takes the key next plans anew.
                return Verdict::Retry { pause: None };
            }
            let mut done = 0;
            let result = self.carry_out::<T>(work, &plan, &mut done, stop).await;
            if let Some(fuse) = &self.fuse {
                fuse.carried_out(T::PART, &plan.writes, done);
            }
            match result {
                Ok(()) => {
                    self.metrics.carried_out::<T>(work, &tally, writes, begun);
                    return self.finish::<T>(key, true, later);
                }
                Err(Halt::PlanAgain) => {}
                Err(Halt::Dropped) => return Verdict::Done(Rest::default()),
                Err(Halt::Stopped) => break,
                Err(Halt::Failed(Failure::Overloaded { pause, .. } | Failure::Paused { pause })) => {
                    return Verdict::Retry { pause: Some(pause) };
                }
                Err(Halt::Failed(failure)) => {
                    self.tell_failure(work, &failure);
                    return Verdict::Retry { pause: None };
                }
            }
        }
        Verdict::Retry { pause: None }
    }

    /// Whether a Service is not to be written: a canary, or one that somebody else writes.
    fn is_others<T: Synced>(&self, key: &Key) -> bool {
        let Some(view) = self.index.view(key) else { return false };
        view.service.as_deref().is_some_and(is_canary)
            || self.guard.as_ref().is_some_and(|guard| guard.leaves_alone::<T>(&view))
    }

    /// Plans from what the index has seen and what was acknowledged since.
    fn plan<T: Synced>(&self, key: &Key) -> Planned<T> {
        let namespace_ending = self.namespace_ending(&key.namespace);
        // In this order: what is as new as this is in the view.
        let newest = self.index.newest::<T>();
        let seen = self.index.view(key);
        let mut state = self.states.entry(key.clone()).or_default();
        let (trigger, part) = T::state(&mut state);
        let mut view =
            seen.unwrap_or_else(|| Arc::new(ServiceView { key: key.clone(), ..ServiceView::default() }));
        if !part.overlay.is_empty() {
            let merged = part.overlay.over(&T::in_view(&view), newest, Instant::now());
            T::put_into(Arc::make_mut(&mut view), merged);
        }
        let zones = view
            .service
            .as_ref()
            .filter(|service| service.topology_auto)
            .and_then(|_| self.zones.read().clone());
        let inputs = Inputs {
            limits: self.config.limits,
            trigger: trigger.look(&view, T::PART),
            zones: zones.as_deref(),
            taken: &part.taken,
            namespace_ending,
        };
        let mut plan = T::plan(&view, &inputs);
        if T::PART == Part::Slices {
            self.metrics.recount(std::mem::replace(&mut part.tally, plan.tally), plan.tally);
        }
        let later =
            if self.config.mode == Mode::On { self.put_off(&mut part.pace, &view, &mut plan) } else { None };
        Planned { plan, later }
    }

    /// Takes out of a plan what may wait, and says how long.
    fn put_off<T: Synced>(
        &self,
        pace: &mut Pace,
        view: &ServiceView,
        plan: &mut Plan<T>,
    ) -> Option<Duration> {
        let may_wait: Vec<bool> = plan.writes.iter().map(|write| T::is_minor(write, view)).collect();
        if !may_wait.contains(&true) {
            pace.nothing_minor();
            return None;
        }
        let now = Instant::now();
        match pace.minor(now, self.churn.patience(now, self.config.patience)) {
            Minor::Due => None,
            Minor::After(later) => {
                let mut may_wait = may_wait.into_iter();
                plan.writes.retain(|_| may_wait.next() != Some(true));
                Some(later)
            }
        }
    }

    /// Whether the namespace is being deleted. If so it is remembered: should another of its name come, what was not
    /// made in this one has to be looked at again.
    fn namespace_ending(&self, name: &Name) -> bool {
        let ending = || self.index.namespace(name).is_some_and(|namespace| namespace.meta.deleting);
        if !ending() {
            return false;
        }
        self.ending.lock().insert(name.clone());
        // Once more: the other one may have come before this was remembered.
        ending()
    }

    /// Makes the writes of a plan, and counts those that are `done`, or may be.
    async fn carry_out<T: Synced>(
        &self,
        work: &Lease<Task>,
        plan: &Plan<T>,
        done: &mut usize,
        stop: &CancellationToken,
    ) -> Result<(), Halt> {
        let key = &work.key.key;
        if plan.if_service_is_gone {
            match self.writer.service_is_gone(key).await {
                Ok(true) => {}
                // The watch of Services is behind that of the other kind; it will tell.
                Ok(false) => return Err(Halt::Dropped),
                Err(failure) => return Err(tell(work, "Service", "read", &key.name, failure)),
            }
        }
        if plan.if_service_selects {
            match self.writer.read::<Service>(key).await {
                Ok(service) if service.as_ref().is_some_and(|service| service.selects()) => {}
                // The watch of Services is behind; it will tell.
                Ok(_) => return Err(Halt::Dropped),
                Err(failure) => return Err(tell(work, "Service", "read", &key.name, failure)),
            }
        }
        for write in &plan.writes {
            if stop.is_cancelled() {
                return Err(Halt::Stopped);
            }
            let begun = Instant::now();
            let outcome = self.writer.write(write).await;
            self.metrics.wrote(write, &outcome, begun);
            self.record(key, write, &outcome);
            if matches!(outcome, Ok(_) | Err(Failure::Silent { .. })) {
                *done += 1;
            }
            match (outcome, write) {
                (Ok(Outcome::Written(object)), _) => {
                    if T::PART == Part::Slices {
                        self.churn.wrote(Instant::now());
                    }
                    self.edit::<T>(key, |part| part.overlay.written(object, Instant::now()));
                }
                (Ok(Outcome::Deleted), write) => {
                    if let Write::Delete { current } = write {
                        self.edit::<T>(key, |part| part.overlay.deleted(current, Instant::now()));
                    }
                }
                (Ok(Outcome::Dropped), _) => return Err(Halt::Dropped),
                (Err(Failure::Conflict | Failure::AlreadyExists), _)
                | (Err(Failure::NotFound), Write::Update { .. }) => {
                    return Err(self.read_again::<T>(work, write).await);
                }
                (Err(failure), write) => {
                    return Err(tell(work, T::KIND, write.verb(), &write.meta().key.name, failure));
                }
            }
        }
        Ok(())
    }

    /// After a refusal: learns how the object is now, so that the next plan starts from there.
    async fn read_again<T: Synced>(&self, work: &Lease<Task>, write: &Write<T>) -> Halt {
        let key = &work.key.key;
        let object = match self.writer.read::<T>(&write.meta().key).await {
            Ok(object) => object,
            Err(failure) => return tell(work, T::KIND, "read", &write.meta().key.name, failure),
        };
        self.edit::<T>(key, |part| match (object, write) {
            (Some(object), _) if object.is_about(key) => part.overlay.written(object, Instant::now()),
            (Some(_), Write::Create(new)) => {
                part.taken.insert(new.meta().key.name.clone());
            }
            (_, Write::Update { current, .. } | Write::Delete { current }) => {
                part.overlay.deleted(current, Instant::now());
            }
            (None, Write::Create(_)) => {}
        });
        Halt::PlanAgain
    }

    fn edit<T: Synced>(&self, key: &Key, edit: impl FnOnce(&mut PartState<T>)) {
        edit(T::state(&mut self.states.entry(key.clone()).or_default()).1);
    }

    /// Everything that had to be written is. `later` is when to look at what was put off.
    fn finish<T: Synced>(&self, key: &Key, wrote: bool, later: Option<Duration>) -> Verdict {
        let mut rest = Rest { work_after: later, ..Rest::default() };
        let view = self.index.view(key);
        if let Some(mut state) = self.states.get_mut(key) {
            let (trigger, part) = T::state(&mut state);
            if wrote || later.is_none() {
                trigger.written(T::PART);
            } else {
                trigger.put_off(T::PART);
            }
            if wrote {
                if later.is_none() {
                    part.pace.nothing_minor();
                }
                let period = self.config.batch_period(T::PART, view.as_deref());
                rest.quiet = period.max(part.pace.wrote(Instant::now(), T::GAPS));
            }
            rest.look_again = (!part.overlay.is_empty()).then_some(LIFETIME);
        }
        self.look::<T>(key);
        if view.is_none() {
            self.states.remove_if(key, |_, state| {
                state.slices.overlay.is_empty() && state.endpoints.overlay.is_empty()
            });
        }
        Verdict::Done(rest)
    }

    fn tell_difference<T: Synced>(&self, key: &Key, plan: &Plan<T>) {
        let mut hasher = fnv::FnvHasher::default();
        for write in &plan.writes {
            (write.verb(), &write.meta().key.name).hash(&mut hasher);
            if let Write::Create(new) | Write::Update { new, .. } = write {
                new.body().unwrap_or_default().hash(&mut hasher);
            }
        }
        let shadow = Shadow { writes: plan.writes.len(), digest: hasher.finish() };
        let mut before = Shadow::default();
        self.edit::<T>(key, |part| before = std::mem::replace(&mut part.shadow, shadow));
        let gauge = self.metrics.shadow.get_or_create(&KindLabel { kind: T::KIND });
        gauge.inc_by(signed(shadow.writes) - signed(before.writes));
        if shadow != before {
            for write in &plan.writes {
                let name = &write.meta().key.name;
                tracing::info!(service = %key, kind = T::KIND, verb = write.verb(), %name, "shadow: would write");
                self.record_shadow(key, write);
            }
        }
        // Leaves no state of a Service that is gone.
        let _ = self.finish::<T>(key, false, None);
    }
}

/// Says in a log line what went wrong: the first time, and then ever more rarely.
fn tell(work: &Lease<Task>, kind: &'static str, verb: &'static str, name: &str, failure: Failure) -> Halt {
    let (service, failures) = (&work.key.key, work.failures);
    if matches!(failure, Failure::Closed(_) | Failure::Paused { .. } | Failure::Overloaded { .. }) {
        tracing::debug!(%service, kind, verb, name, error = %failure, "waiting");
    } else if failures == 0 || failures.is_power_of_two() {
        tracing::warn!(%service, kind, verb, name, failures, error = %failure, "cannot bring endpoints up to date; trying again");
    }
    Halt::Failed(failure)
}
