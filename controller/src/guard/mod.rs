//! The guard: no writing beside another endpoint controller.
//!
//! Two controllers that write the same objects undo each other's work for ever. Callsign's objects carry upstream's
//! labels, so that they change hands without a write; that is also why kube-controller-manager would take them for its
//! own. So before the first write of a run, and every few minutes after, the guard makes sure that nobody else is there,
//! and while somebody is, the [gate](crate::gate) stays closed.
//!
//! ```text
//!   a run begins ──▶ unknown ──nobody──▶ on duty ──▶ a canary now and then
//!                       │                 ▲   │
//!                       └──somebody──▶ standing down: a canary more often
//! ```
//!
//! There are two kinds of signs:
//!
//! * A `canary`: whoever makes endpoints for it is alive, though it may have had nothing to write for hours.
//! * `evidence` in the objects: a controller wrote what is ours since we began, or somebody fights us for it.
//!   One Service is left alone first; three are enough to stand down.
//!
//! Where canaries may not be made, the evidence has to do. A replica that takes over need not wait if the one before has
//! left a `proof`.

mod canary;
mod evidence;
mod proof;

use std::{sync::Arc, time::Duration};

use callsign_shared::{
    Index, Key, Name, ServiceView,
    object::{Decode, EndpointSlice, Endpoints, ForeignWrites},
};
use jiff::Timestamp;
use kube::Client;
use parking_lot::Mutex;
use prometheus_client::{metrics::gauge::Gauge as Value, registry::Registry};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

pub(crate) use canary::is_canary;
use canary::{Canary, Caught, NoCanary};
use evidence::{Evidence, Finding, Hit};
use proof::Manager;

use crate::{
    ask::{Asker, NoAnswer},
    events::Events,
    gate::{Gate, Holder},
    plan::{Plan, Write},
};

/// How long a canary is out where kube-controller-manager is not there.
const SHORT_WAIT: Duration = Duration::from_secs(2);

/// A leader that cannot renew its Lease for so long ends (kube-controller-manager's `--leader-elect-renew-deadline`).
const SILENT: Duration = Duration::from_secs(10);

/// How often the index is looked at while a canary is out.
const LOOK: Duration = Duration::from_millis(50);

/// After an error.
const RETRY: Duration = Duration::from_secs(2);

/// Why nothing is written at first.
const UNKNOWN: &str = "whether another controller writes is not known yet";

/// While standing down, canaries are out so much more often.
const MORE_OFTEN: u32 = 10;

/// How the guard works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The namespace of canaries.
    pub namespace: Name,
    /// How long a canary is out before nobody is believed to be there.
    pub wait: Duration,
    /// The time between canaries.
    pub every: Duration,
    /// The Lease of the leader election, which keeps the proof for the next leader.
    pub lease: Option<Key>,
}

/// Keeps the gate closed while somebody else writes.
#[derive(Debug)]
pub(crate) struct Guard {
    config: Config,
    index: Arc<Index>,
    gate: Arc<Gate>,
    asker: Asker,
    events: Option<Arc<Events>>,
    state: Mutex<State>,
    /// Something was found that a canary should look into.
    alarm: Notify,
    /// Services may be written again.
    freed: Notify,
    active: Value,
    left_alone: Value,
}

#[derive(Debug, Default)]
struct State {
    duty: Duty,
    evidence: Evidence,
    freed: Vec<Key>,
    said_forbidden: bool,
    said_unknown: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Duty {
    #[default]
    Unknown,
    On,
    StandingDown,
}

/// kube-controller-manager's, whose Lease says that it runs. One that was stopped does not renew it.
struct Silence {
    manager: Manager,
    since: Instant,
    looked: Instant,
}

impl Silence {
    /// Whether it has lasted long enough to be its end.
    async fn is_over(&mut self, asker: &Asker) -> bool {
        if self.looked.elapsed() >= Duration::from_secs(1) {
            self.looked = Instant::now();
            let now = proof::manager(asker).await;
            if now != self.manager {
                (self.manager, self.since) = (now, Instant::now());
            }
        }
        match self.manager {
            Manager::Gone => true,
            Manager::Renewed(_) => self.since.elapsed() >= SILENT,
            Manager::Unknown(_) => false,
        }
    }
}

/// What a canary came to.
#[derive(Debug)]
enum Outcome {
    /// Nobody is there.
    Nobody,
    /// Somebody is.
    Somebody(Caught),
    /// Nobody made anything for it, but somebody wrote meanwhile.
    Unclear,
    /// It could not be seen.
    Failed(NoAnswer),
    /// The run ended.
    Stopped,
}

/// What only controllers write of a Service's objects, as far as others wrote it.
pub(crate) trait Guarded {
    /// The kind's name.
    const NAME: &'static str;

    /// The objects in a view that are ours to write.
    fn ours(view: &ServiceView) -> Vec<(&Key, &ForeignWrites)>;

    /// Who else wrote it.
    fn foreign(&self) -> Option<&ForeignWrites>;
}

impl Guarded for EndpointSlice {
    const NAME: &'static str = "EndpointSlice";

    fn ours(view: &ServiceView) -> Vec<(&Key, &ForeignWrites)> {
        let ours = view.slices.iter().filter(|slice| slice.is_controllers());
        ours.filter_map(|slice| Some((&slice.meta.key, slice.foreign.as_deref()?))).collect()
    }

    fn foreign(&self) -> Option<&ForeignWrites> {
        self.foreign.as_deref()
    }
}

impl Guarded for Endpoints {
    const NAME: &'static str = "Endpoints";

    fn ours(view: &ServiceView) -> Vec<(&Key, &ForeignWrites)> {
        let selects = view.service.as_ref().is_some_and(|service| service.selects());
        let ours = view.endpoints.iter().filter(|_| selects);
        ours.filter_map(|endpoints| Some((&endpoints.meta.key, endpoints.foreign.as_deref()?))).collect()
    }

    fn foreign(&self) -> Option<&ForeignWrites> {
        self.foreign.as_deref()
    }
}

// === What the workers ask ===

impl Guard {
    /// A guard that keeps `gate` closed until a [run](Self::run) has found nobody.
    pub(crate) fn new(
        config: Config,
        index: Arc<Index>,
        gate: Arc<Gate>,
        client: Client,
        events: Option<Arc<Events>>,
        registry: &mut Registry,
    ) -> Self {
        let (active, left_alone) = (Value::default(), Value::default());
        registry.register(
            "callsign_controller_foreign_manager_active",
            "1 while another controller writes Endpoints or EndpointSlices, and this one does not",
            active.clone(),
        );
        registry.register(
            "callsign_controller_services_left_alone",
            "Services that are not written because somebody else writes them",
            left_alone.clone(),
        );
        gate.close(Holder::Guard, UNKNOWN);
        Self {
            config,
            index,
            gate,
            asker: Asker::new(client),
            events,
            state: Mutex::default(),
            alarm: Notify::new(),
            freed: Notify::new(),
            active,
            left_alone,
        }
    }

    /// Looks at what others wrote of a Service's objects of a kind, and says whether the Service is to be left alone.
    pub(crate) fn leaves_alone<T: Guarded>(&self, view: &ServiceView) -> bool {
        let ours = T::ours(view);
        let mut state = self.state.lock();
        for (object, foreign) in ours {
            let finding = state.evidence.look(&view.key, T::NAME, object, foreign);
            self.act(&mut state, &view.key, finding);
        }
        state.evidence.leaves_alone(&view.key)
    }

    /// Looks at what a plan puts right, and says whether the Service is to be left alone.
    pub(crate) fn is_fought<T: Guarded + Decode>(&self, service: &Key, plan: &Plan<T>) -> bool {
        let mut state = self.state.lock();
        for write in &plan.writes {
            if let Write::Update { current, .. } = write
                && let Some(foreign) = current.foreign()
            {
                let object = &current.meta().key;
                let finding = state.evidence.repair(service, T::NAME, object, foreign, Instant::now());
                self.act(&mut state, service, finding);
            }
        }
        state.evidence.leaves_alone(service)
    }

    /// Waits until Services may be written again that were left alone, and gives them.
    pub(crate) async fn freed(&self) -> Vec<Key> {
        loop {
            let freed = std::mem::take(&mut self.state.lock().freed);
            if !freed.is_empty() {
                return freed;
            }
            self.freed.notified().await;
        }
    }

    fn act(&self, state: &mut State, service: &Key, finding: Finding) {
        match finding {
            Finding::Nothing => return,
            Finding::Service(hit) => {
                tracing::warn!(%service, %hit, "somebody else writes this Service's endpoints; leaving it alone");
                if let Some(events) = &self.events {
                    events.left_alone(
                        service,
                        format!("{hit}. Callsign leaves the endpoints of this Service alone"),
                    );
                }
            }
            Finding::All(hit) => self.stand_down(state, &describe(&hit)),
        }
        self.left_alone.set(crate::metrics::signed(state.evidence.left_alone()));
        self.alarm.notify_one();
    }
}

fn describe(hit: &Hit) -> String {
    format!("{hit}, and others before")
}

// === A run ===

impl Guard {
    /// A run is about to begin: nothing may be written before more is known.
    pub(crate) fn begin(&self) {
        let mut latest = Timestamp::default();
        for view in self.index.views() {
            let others = [EndpointSlice::ours(&view), Endpoints::ours(&view)].into_iter().flatten();
            latest = others.filter_map(|(_, foreign)| foreign.controller).fold(latest, Timestamp::max);
        }
        let mut state = self.state.lock();
        state.evidence.begin(latest);
        state.duty = Duty::Unknown;
        self.left_alone.set(0);
        self.active.set(0);
        self.gate.close(Holder::Guard, UNKNOWN);
    }

    /// Keeps the gate until `stop`. After [`begin`](Self::begin).
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        if let Some(lease) = &self.config.lease
            && let Some(true) = stop.run_until_cancelled(proof::is_known(&self.asker, lease)).await
        {
            tracing::info!("another replica found no other controller a short while ago");
            self.take_up(Instant::now());
        }
        let mut last_error = None;
        loop {
            let before = self.state.lock().evidence.activity();
            let outcome = match self.probe(&stop).await {
                Outcome::Nobody if self.state.lock().evidence.activity() != before => Outcome::Unclear,
                outcome => outcome,
            };
            let pause = match outcome {
                Outcome::Stopped => break,
                Outcome::Nobody => {
                    last_error = None;
                    self.take_up(Instant::now());
                    self.keep_proof(true, &stop).await;
                    self.config.every
                }
                Outcome::Somebody(caught) => {
                    last_error = None;
                    self.stand_down(&mut self.state.lock(), &caught.to_string());
                    self.keep_proof(false, &stop).await;
                    self.config.every / MORE_OFTEN
                }
                Outcome::Unclear => LOOK,
                Outcome::Failed(error) => {
                    if self.state.lock().duty == Duty::Unknown {
                        self.gate.close(Holder::Guard, format!("{UNKNOWN}: {error}"));
                    }
                    if last_error.as_ref() != Some(&error) {
                        tracing::warn!(%error, "cannot find out whether another controller writes; trying again");
                        last_error = Some(error);
                    }
                    RETRY
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
                () = self.alarm.notified() => {}
            }
        }
        self.gate.close(Holder::Guard, UNKNOWN);
        self.active.set(0);
    }

    /// Sets out a canary and looks what becomes of it.
    async fn probe(&self, stop: &CancellationToken) -> Outcome {
        canary::sweep(&self.asker, &self.index, &self.config.namespace).await;
        let suspicious = {
            let state = self.state.lock();
            state.duty == Duty::StandingDown || state.evidence.is_fresh()
        };
        let manager = proof::manager(&self.asker).await;
        if let Manager::Unknown(error) = &manager
            && !std::mem::replace(&mut self.state.lock().said_unknown, true)
        {
            let wait = self.config.wait.as_secs_f64();
            tracing::info!(%error, wait, "cannot tell whether kube-controller-manager runs by its lease; giving it its time");
        }
        let alone = !suspicious && manager == Manager::Gone;
        let wait = if alone { SHORT_WAIT.min(self.config.wait) } else { self.config.wait };
        let silence =
            (!suspicious).then(|| Silence { manager, since: Instant::now(), looked: Instant::now() });
        match Canary::set_out(&self.asker, &self.config.namespace).await {
            Ok(canary) => {
                let outcome = self.watch(&canary, wait, silence, stop).await;
                if let Err(error) = canary.take_back(&self.asker).await {
                    tracing::warn!(canary = %canary.key, %error, "cannot take back the canary; the next one will");
                }
                outcome
            }
            Err(NoCanary::Failed(error)) => Outcome::Failed(error),
            Err(NoCanary::Forbidden(error)) => {
                if !std::mem::replace(&mut self.state.lock().said_forbidden, true) {
                    let namespace = &self.config.namespace;
                    tracing::warn!(%namespace, %error, "cannot make a canary; going by what objects tell of others");
                }
                match stop.run_until_cancelled(tokio::time::sleep(wait)).await {
                    Some(()) => Outcome::Nobody,
                    None => Outcome::Stopped,
                }
            }
        }
    }

    /// Looks for what others make for a canary. After `wait` without anything writing may begin, but the canary stays out
    /// for the whole time: a controller that is behind with its work is late.
    async fn watch(
        &self,
        canary: &Canary,
        wait: Duration,
        mut silence: Option<Silence>,
        stop: &CancellationToken,
    ) -> Outcome {
        let begun = Instant::now();
        for part in [wait, self.config.wait] {
            while begun.elapsed() < part {
                if let Some(caught) = canary.seen(&self.index) {
                    return Outcome::Somebody(caught);
                }
                let long_enough = begun.elapsed() >= SHORT_WAIT;
                if let Some(silent) = &mut silence
                    && silent.is_over(&self.asker).await
                    && long_enough
                {
                    silence = None;
                    break;
                }
                if stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_none() {
                    return Outcome::Stopped;
                }
            }
            match canary.asked(&self.asker).await {
                Ok(Some(caught)) => return Outcome::Somebody(caught),
                Err(error) => return Outcome::Failed(error),
                Ok(None) if part == self.config.wait => break,
                Ok(None) => self.take_up(Instant::now()),
            }
        }
        Outcome::Nobody
    }

    fn take_up(&self, now: Instant) {
        let mut state = self.state.lock();
        let free = state.evidence.nobody(now);
        self.left_alone.set(crate::metrics::signed(state.evidence.left_alone()));
        self.active.set(0);
        match std::mem::replace(&mut state.duty, Duty::On) {
            Duty::On if free.is_empty() => {}
            Duty::On => {
                tracing::warn!(services = free.len(), "no other controller was found; writing them again");
            }
            Duty::Unknown => tracing::info!("no other controller writes; on duty"),
            Duty::StandingDown => tracing::warn!("no other controller writes any more; back on duty"),
        }
        if !free.is_empty() {
            state.freed.extend(free);
            self.freed.notify_one();
        }
        self.gate.open(Holder::Guard);
    }

    fn stand_down(&self, state: &mut State, who: &str) {
        let reason = format!("another controller is active: {who}");
        if std::mem::replace(&mut state.duty, Duty::StandingDown) != Duty::StandingDown {
            tracing::warn!(%reason, "standing down: nothing is written until it is gone");
        }
        self.active.set(1);
        self.gate.close(Holder::Guard, reason);
    }

    /// Leaves word for the next leader that nobody else is there, or that somebody is.
    async fn keep_proof(&self, alone: bool, stop: &CancellationToken) {
        let Some(lease) = &self.config.lease else { return };
        if let Some(Err(error)) = stop.run_until_cancelled(proof::keep(&self.asker, lease, alone)).await {
            tracing::debug!(%lease, %error, "cannot leave word for the next leader");
        }
    }
}
