//! A candidate: carries out what the election says, and tells the gate, the log and whoever wants to know.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client,
    api::{PostParams, WatchEvent},
};
use prometheus_client::registry::Registry;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Identity, Timing,
    ear::{Ear, is_refusal},
    election::{Action, Election},
    metrics::Metrics,
    terms::Terms,
};
use crate::{
    gate::{Gate, Holder},
    write::FIELD_MANAGER,
};

/// How long giving the Lease back may take, with what is still under way then.
const PARTING: Duration = Duration::from_secs(2);

/// What is stood for, and how.
#[derive(Clone, Debug)]
pub struct Config {
    /// The Lease's namespace.
    pub namespace: String,
    /// The Lease's name.
    pub name: String,
    /// The three times.
    pub timing: Timing,
    /// Who this candidate is.
    pub identity: Identity,
}

/// Where a candidate stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Since when it leads, if it does.
    pub leading: Option<Instant>,
    /// Who was last seen to hold the Lease.
    pub holder: Option<String>,
    /// Why the API server does not let it take part: no permission, no such namespace. Failures that pass by themselves are
    /// none.
    pub refused: Option<String>,
    /// Whether it has ever taken part.
    pub admitted: bool,
}

/// A candidate for one Lease.
pub struct Candidate {
    api: Api<Lease>,
    lease: String,
    election: Election,
    identity: Identity,
    gate: Arc<Gate>,
    standing: watch::Sender<Standing>,
    metrics: Metrics,
    ear: Ear,
    /// Failures since something last went well.
    failures: u32,
    /// What the gate was told last.
    told: Option<Instant>,
}

/// What came of a request.
enum Outcome<T> {
    Done(T),
    Conflict,
    Failed,
    /// The end came first.
    Ending,
}

impl std::fmt::Debug for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Candidate").field("election", &self.election).finish_non_exhaustive()
    }
}

impl Candidate {
    /// A candidate that asks through `client`. It keeps `gate` closed from now on, except while it leads.
    pub fn new(client: Client, config: Config, gate: Arc<Gate>, registry: &mut Registry) -> Self {
        let Config { namespace, name, timing, identity } = config;
        gate.close(Holder::Lease, "nobody is known to lead yet");
        let mut blank = Lease::default();
        blank.metadata.namespace = Some(namespace.clone());
        blank.metadata.name = Some(name.clone());
        Self {
            api: Api::namespaced(client, &namespace),
            election: Election::new(identity.name(), timing, blank),
            identity,
            gate,
            standing: watch::Sender::default(),
            metrics: Metrics::register(registry, &name),
            lease: format!("{namespace}/{name}"),
            ear: Ear::default(),
            failures: 0,
            told: None,
        }
    }

    /// Where it stands, as it changes.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// The terms of this candidate, to run a controller in.
    pub fn terms(&self) -> Terms {
        Terms::new(self.standing(), self.metrics.clone())
    }

    /// Stands for election until `stop`. From then on nothing new is written; when `drained` says that what was being
    /// written is, the Lease is given back.
    pub async fn run(mut self, stop: CancellationToken, drained: CancellationToken) {
        tracing::info!(lease = %self.lease, identity = %self.identity, "standing for election");
        while !stop.is_cancelled() {
            let (identity, election) = (&self.identity, &mut self.election);
            let listening = self.ear.listens();
            let action = election.next(Instant::now(), Timestamp::now(), listening, |holder| {
                let dead = identity.sees_dead(holder);
                if dead {
                    tracing::info!(holder, "the holder's process is gone");
                }
                dead
            });
            // Its time may have run out.
            self.tell();
            match action {
                Action::Look => self.look(&stop).await,
                Action::Write(lease) => self.write(&lease, &stop).await,
                Action::Wait(until) => self.wait(until, &stop).await,
            }
            self.tell();
        }
        let led = self.standing.borrow().leading.is_some();
        self.gate.close(Holder::Lease, "ending");
        self.standing.send_modify(|standing| standing.leading = None);
        // In this order: whoever has the Lease next must find everything written that will be.
        let _ = tokio::time::timeout(PARTING, drained.cancelled()).await;
        self.gate.lose("ending");
        if tokio::time::timeout(PARTING, self.release()).await.is_err() {
            tracing::warn!(lease = %self.lease, "cannot release the lease: no answer");
        }
        if led {
            self.metrics.became(false);
        }
    }

    async fn look(&mut self, stop: &CancellationToken) {
        self.ear.close();
        let started = Instant::now();
        let (api, name) = (self.api.clone(), self.name());
        match self.ask(started, stop, "read", async move { api.get_opt(&name).await }).await {
            Outcome::Done(lease) => {
                self.election.saw(lease, Instant::now());
                // Where we are to write next, only that shows whether we may.
                if self.election.is_anothers(Instant::now()) {
                    self.went_well();
                }
            }
            // An API server does not answer so to a read. Whatever did, it is a failure.
            Outcome::Conflict | Outcome::Failed => self.election.failed(started),
            Outcome::Ending => {}
        }
    }

    async fn write(&mut self, lease: &Lease, stop: &CancellationToken) {
        self.ear.close();
        let (started, wall) = (Instant::now(), std::time::SystemTime::now());
        let (api, name) = (self.api.clone(), self.name());
        let post = PostParams { dry_run: false, field_manager: Some(FIELD_MANAGER.into()) };
        let verb = if lease.metadata.resource_version.is_some() { "update" } else { "create" };
        let request = async move {
            match lease.metadata.resource_version {
                Some(_) => api.replace(&name, &post, lease).await,
                None => api.create(&post, lease).await,
            }
        };
        match self.ask(started, stop, verb, request).await {
            Outcome::Done(lease) => {
                // On a machine that slept meanwhile the steady clock stood still.
                let asleep = wall.elapsed().unwrap_or_default().saturating_sub(started.elapsed());
                let began = started.checked_sub(asleep).unwrap_or(started);
                self.election.wrote(lease, began, Instant::now());
                self.went_well();
            }
            Outcome::Conflict => self.election.conflicted(Instant::now()),
            Outcome::Failed => self.election.failed(started),
            Outcome::Ending => {}
        }
    }

    /// Waits, and hears of changes meanwhile while another leads.
    async fn wait(&mut self, until: Instant, stop: &CancellationToken) {
        if self.election.leading_since(Instant::now()).is_some() {
            self.ear.close();
        } else {
            self.ear.listen(&self.api, &self.name(), self.election.version());
        }
        let heard = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            heard = self.ear.next() => heard,
            () = tokio::time::sleep_until(until) => return,
        };
        match heard {
            Some(Ok(WatchEvent::Added(lease) | WatchEvent::Modified(lease))) => {
                self.election.saw(Some(lease), Instant::now());
            }
            Some(Ok(WatchEvent::Deleted(_))) => self.election.saw(None, Instant::now()),
            Some(Ok(WatchEvent::Bookmark(_))) => {}
            Some(Ok(WatchEvent::Error(status))) => self.ear.fail(&kube::Error::Api(status)),
            Some(Err(error)) => self.ear.fail(&error),
            // Its orderly end. The next wait begins another from the version that is known.
            None => self.ear.close(),
        }
    }

    /// Gives the Lease back, if it is ours.
    async fn release(&mut self) {
        let post = PostParams { dry_run: false, field_manager: Some(FIELD_MANAGER.into()) };
        // A renewal whose answer was not waited for may have given the Lease another version.
        for _ in 0..3 {
            if self.election.version().is_none() {
                match self.api.get_opt(&self.name()).await {
                    Ok(lease) => self.election.saw(lease, Instant::now()),
                    Err(error) => {
                        tracing::warn!(lease = %self.lease, %error, "cannot release the lease");
                        return;
                    }
                }
            }
            let Some(lease) = self.election.release(Timestamp::now()) else { return };
            match self.api.replace(&self.name(), &post, &lease).await {
                Ok(lease) => {
                    self.election.saw(Some(lease), Instant::now());
                    tracing::info!(lease = %self.lease, "released the lease");
                    return;
                }
                Err(kube::Error::Api(status)) if status.code == 409 => {
                    self.election.conflicted(Instant::now());
                }
                Err(error) => {
                    tracing::warn!(lease = %self.lease, %error, "cannot release the lease");
                    return;
                }
            }
        }
    }

    /// Makes a request, which may not take longer than there is patience.
    async fn ask<T>(
        &mut self,
        started: Instant,
        stop: &CancellationToken,
        verb: &'static str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Outcome<T> {
        let patience = self.election.patience(started);
        let answer = tokio::select! {
            biased;
            () = stop.cancelled() => {
                // It may be done all the same: the version is not known any more.
                self.election.failed(started);
                return Outcome::Ending;
            }
            answer = tokio::time::timeout_at(started + patience, request) => answer,
        };
        let (result, outcome) = match answer {
            Ok(Ok(answer)) => ("ok", Outcome::Done(answer)),
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => ("conflict", Outcome::Conflict),
            // The namespace is there, the Lease is not any more.
            Ok(Err(kube::Error::Api(status))) if status.code == 404 && verb == "update" => {
                ("conflict", Outcome::Conflict)
            }
            Ok(Err(kube::Error::Api(status))) if is_refusal(status.code) => {
                self.refused(verb, &status.message);
                ("refused", Outcome::Failed)
            }
            Ok(Err(error)) => {
                self.complain(verb, &error);
                ("error", Outcome::Failed)
            }
            Err(_) => {
                self.complain(verb, &"no answer in time");
                ("error", Outcome::Failed)
            }
        };
        self.metrics.asked(result);
        outcome
    }

    fn name(&self) -> String {
        self.lease.rsplit_once('/').map(|(_, name)| name.to_owned()).unwrap_or_default()
    }

    /// What the API server allows.
    fn went_well(&mut self) {
        self.failures = 0;
        self.standing.send_if_modified(|standing| {
            let changed = standing.refused.take().is_some() || !standing.admitted;
            standing.admitted = true;
            changed
        });
    }

    /// Said once until it takes part again; `/ready` tells the newest reason.
    fn refused(&mut self, verb: &'static str, message: &str) {
        self.failures = self.failures.saturating_add(1);
        if self.standing.borrow().refused.is_none() {
            tracing::warn!(lease = %self.lease, verb, error = message, "the API server does not let us take part in leader election; nothing is written until it does");
        }
        let reason = Some(format!("cannot {verb} lease {}: {message}", self.lease));
        self.standing.send_if_modified(|standing| {
            let changed = standing.refused != reason;
            standing.refused = reason;
            changed
        });
    }

    fn complain(&mut self, verb: &'static str, error: &dyn std::fmt::Display) {
        self.failures = self.failures.saturating_add(1);
        if self.failures.is_power_of_two() {
            let failures = self.failures;
            tracing::warn!(lease = %self.lease, verb, failures, %error, "leader election: the lease cannot be asked for; trying again");
        }
    }

    /// Tells the gate, the log and the standing what has changed.
    fn tell(&mut self) {
        let leading = self.election.leading_since(Instant::now());
        let holder = self.election.holder().map(str::to_owned);
        let before = self.standing.borrow().clone();
        let until = self.election.until().filter(|_| leading.is_some());
        if let Some(until) = until
            && self.told != Some(until)
        {
            self.gate.open_until(until);
        }
        self.told = until;
        if before.holder != holder {
            self.metrics.saw(holder.as_deref());
        }
        let lease = &self.lease;
        let by_another = || holder.as_deref().filter(|holder| *holder != self.identity.name());
        if before.leading.is_some() && before.leading != leading {
            let reason = match by_another() {
                Some(holder) => format!("another leads: {holder}"),
                None => "it was not renewed in time".to_owned(),
            };
            // A term that follows at once has opened the gate already.
            if leading.is_none() {
                self.gate.lose(format!("lost the lease: {reason}"));
            }
            tracing::warn!(%lease, %reason, "lost the lease");
            self.metrics.became(false);
        }
        if leading.is_some() && before.leading != leading {
            tracing::info!(%lease, identity = %self.identity, "became leader");
            self.metrics.became(true);
        }
        if leading.is_none()
            && before.holder != holder
            && let Some(holder) = by_another()
        {
            tracing::info!(%lease, holder, "another leads");
            self.gate.close(Holder::Lease, format!("another leads: {holder}"));
        }
        if before.leading != leading || before.holder != holder {
            self.standing.send_modify(|standing| {
                standing.leading = leading;
                standing.holder = holder;
            });
        }
    }
}
