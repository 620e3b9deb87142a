//! The cache as a step of a chain.

use std::{sync::Arc, time::Instant};

use futures::future::BoxFuture;
use hickory_proto::{op::ResponseCode, rr::Name};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{
    CacheConfig, Clock, NAME,
    entry::{Entry, Sending},
    key::{Flags, Key, key},
    kind::{Kind, lifetime},
    metrics::{HalfTally, Metrics, Tallies, Tally},
    store::{Found, Store},
};
use crate::{
    answer::{Answered, CLASS_IN},
    folded::{Folded, Suffix},
    plugin::{Next, Plugin, Query, Quick, Quickly, Reply, TtlBounds, World},
    plugins::reading::name_text,
};

/// Answers that are being got again at once, at most. More have to wait until they are asked for again.
const REFRESHES: usize = 256;

/// A cache.
pub(super) struct Cache {
    core: Arc<Core>,
    /// Not every name of the block is in one of the zones.
    partly: bool,
    zones: Vec<Suffix>,
}

/// What getting an answer again needs: it goes on when the question has been answered.
struct Core {
    config: CacheConfig,
    bounds: TtlBounds,
    failures: u32,
    store: Store,
    clock: Clock,
    tallies: Tallies,
    refreshes: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Cache {
    /// An empty cache.
    pub(super) fn start(config: &CacheConfig, world: &World) -> Arc<dyn Plugin> {
        Arc::new(Self::new(config, world, Clock::default()))
    }

    pub(super) fn new(config: &CacheConfig, world: &World, clock: Clock) -> Self {
        let zones: Vec<String> = config.zones.0.iter().map(name_text).collect();
        let core = Core {
            bounds: config.bounds(),
            failures: u32::try_from(config.failures.as_secs()).unwrap_or(u32::MAX),
            store: Store::new(config.success.capacity, config.denial.capacity),
            clock,
            tallies: Tallies::new(world.meters.of::<Metrics>(), zones.join(",")),
            refreshes: Arc::new(Semaphore::new(REFRESHES)),
            stop: world.stop.clone(),
            config: config.clone(),
        };
        let partly = !world.zones.iter().all(|zone| config.zones.have(zone));
        Self { core: Arc::new(core), partly, zones: config.zones.folded() }
    }

    fn takes(&self, name: &Name) -> bool {
        !self.partly || self.core.config.zones.have(name)
    }
}

impl Plugin for Cache {
    fn name(&self) -> &'static str {
        NAME
    }

    fn ttl_bounds(&self) -> Option<(TtlBounds, Option<Vec<Name>>)> {
        let zones = self.partly.then(|| self.core.config.zones.0.clone());
        Some((self.core.bounds, zones))
    }

    fn quick(&self, question: &Quick<'_>, out: &mut Vec<u8>) -> Quickly {
        let asked = question.asked;
        if self.partly && !self.zones.iter().any(|zone| zone.holds(&asked.name)) {
            return Quickly::Pass;
        }
        let core = &self.core;
        let now = core.clock.at(question.started);
        if asked.edns.is_some_and(|edns| edns.has_options) {
            return Quickly::Slow;
        }
        let key = key(&asked.name, asked.qtype, CLASS_IN, Flags::of_asked(asked), &[]);
        let (entry, seconds) = match core.store.get(&key, now) {
            Found::Fresh(entry, seconds) => (entry, Some(seconds)),
            // Being got again, or not to be had just now: there is nothing to begin.
            Found::Stale(entry) if core.may_serve(&entry, now) && !entry.may_refresh(now) => (entry, None),
            Found::Stale(_) | Found::Nothing => return Quickly::Slow,
        };
        let Some(tally) = core.tallies.known(question.server) else { return Quickly::Slow };
        let sending = Sending {
            ttl: seconds.map_or(0, |seconds| core.ttl(&entry, seconds)),
            limit: asked.limit(question.peer.transport, question.payload),
            payload: question.payload,
            rotation: question.rotation,
        };
        if seconds.is_some_and(|seconds| core.is_due(&entry, seconds, now))
            || !entry.write(asked, sending, out)
        {
            return Quickly::Slow;
        }
        tally.requests.inc();
        match seconds {
            Some(_) => core.count_popularity(&entry, now),
            None => drop(tally.stale.inc()),
        }
        tally.half(entry.kind).hits.inc();
        Quickly::Answered(Answered {
            rcode: entry.rcode,
            qtype: Some(asked.qtype),
            from_zone: false,
            plugin: NAME,
        })
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> BoxFuture<'a, Reply> {
        if !self.takes(&query.question.name) {
            return next.serve(query);
        }
        let core = &self.core;
        if is_clusters(query) {
            return Box::pin(async move {
                let mut reply = next.serve(query).await;
                if reply.from_cluster {
                    bound(&mut reply, core.bounds);
                }
                reply
            });
        }
        let view = query.block.view.as_ref().map_or("", |view| view.name());
        let tally = core.tallies.of(&query.server, view);
        // As on the quick way: it is answered with what was true when it came.
        let now = core.clock.at(query.started);
        let key = key_of(query);
        tally.requests.inc();
        let stale = match core.store.get(&key, now) {
            Found::Fresh(entry, seconds) => {
                let ttl = core.ttl(&entry, seconds);
                if let Some(reply) = entry.reply(query.name(), ttl, is_dnssec_aware(query)) {
                    tally.half(entry.kind).hits.inc();
                    core.count_popularity(&entry, now);
                    if core.is_due(&entry, seconds, now) {
                        core.refresh(query, &entry, now, &tally);
                    }
                    return Box::pin(std::future::ready(reply));
                }
                None
            }
            Found::Stale(entry) if core.may_serve(&entry, now) => Some(entry),
            Found::Stale(_) | Found::Nothing => None,
        };
        let verify = core.config.stale.is_some_and(|stale| stale.verify);
        if let Some(entry) = &stale
            && (!verify || !entry.may_refresh(now))
            && let Some(reply) = entry.reply(query.name(), 0, is_dnssec_aware(query))
        {
            tally.half(entry.kind).hits.inc();
            tally.stale.inc();
            if !verify {
                core.refresh(query, entry, now, &tally);
            }
            return Box::pin(std::future::ready(reply));
        }
        if stale.is_none() {
            tally.misses.inc();
        }
        Box::pin(async move {
            let mut reply = next.serve(query).await;
            let now = core.clock.at(Instant::now());
            if let Some(entry) = stale
                && !is_better(&reply)
            {
                // It could not be found out what is true now (RFC 8767 4).
                entry.refresh_failed(now, core.config.failures);
                if let Some(old) = entry.reply(query.name(), 0, is_dnssec_aware(query)) {
                    tally.half(entry.kind).hits.inc();
                    tally.stale.inc();
                    return old;
                }
            }
            core.pass(query, key, &mut reply, now, &tally);
            reply
        })
    }
}

impl Core {
    /// Keeps a reply, if it is one to keep, and makes it what its client is to see.
    fn pass(&self, query: &Query, key: Key, reply: &mut Reply, now: Instant, tally: &Tally) {
        self.keep_and_bound(query, key, reply, now, tally);
        // What is kept has the bit: the next client may know what it means.
        if !is_dnssec_aware(query) {
            reply.authentic_data = false;
        }
    }

    /// Keeps a reply, if it is one to keep, and bounds its TTLs.
    fn keep_and_bound(&self, query: &Query, key: Key, reply: &mut Reply, now: Instant, tally: &Tally) {
        if reply.silent || reply.transfer.is_some() {
            return;
        }
        if reply.from_cluster {
            bound(reply, self.bounds);
            return;
        }
        let Some(kind) = Kind::of(reply, query.qtype()) else { return };
        let seconds = lifetime(kind, reply, self.bounds, self.failures);
        if self.keeps(kind, query.name()) && seconds > 0 {
            self.keep(query, key, reply, kind, seconds, now, tally);
        }
        if kind != Kind::Failure {
            let sections = [&mut reply.answers, &mut reply.authorities, &mut reply.additionals];
            sections.into_iter().flatten().for_each(|record| record.ttl = seconds);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "all that is known of the reply, once")]
    fn keep(
        &self,
        query: &Query,
        key: Key,
        reply: &Reply,
        kind: Kind,
        seconds: u32,
        now: Instant,
        tally: &Tally,
    ) {
        let Some(entry) = Entry::new(&query.question, reply, kind, seconds, now) else { return };
        let evicted = self.store.put(key, Arc::new(entry));
        tally.half(kind).evictions.inc_by(evicted);
        let (success, denial) = self.store.len();
        tally.success.entries.set(i64::try_from(success).unwrap_or(i64::MAX));
        tally.denial.entries.set(i64::try_from(denial).unwrap_or(i64::MAX));
    }

    /// Whether answers of this kind are kept of a name.
    fn keeps(&self, kind: Kind, name: &Name) -> bool {
        let part = if kind.is_denial() { &self.config.denial } else { &self.config.success };
        !part.disabled.have(name)
    }

    /// The TTL to state.
    fn ttl(&self, entry: &Entry, seconds: u32) -> u32 {
        if self.config.keep_ttl { entry.lifetime() } else { seconds }
    }

    /// Whether an entry that is not true any more may be answered with.
    fn may_serve(&self, entry: &Entry, now: Instant) -> bool {
        let Some(stale) = self.config.stale else { return false };
        let within = i64::try_from(stale.within.as_secs()).unwrap_or(i64::MAX);
        entry.kind != Kind::Failure && -entry.remaining(now) < within
    }

    fn count_popularity(&self, entry: &Entry, now: Instant) {
        if let Some(prefetch) = self.config.prefetch {
            entry.asked(now, prefetch.gap);
        }
    }

    /// Whether an entry is to be got again though it is true yet.
    fn is_due(&self, entry: &Entry, seconds: u32, now: Instant) -> bool {
        let Some(prefetch) = self.config.prefetch else { return false };
        let share = (u64::from(entry.lifetime()) * u64::from(prefetch.percentage)).div_ceil(100).max(1);
        u64::from(seconds) <= share && entry.hits() >= prefetch.amount && entry.may_refresh(now)
    }

    /// Gets an answer again, in the background.
    fn refresh(self: &Arc<Self>, query: &Query, entry: &Arc<Entry>, now: Instant, tally: &Arc<Tally>) {
        // The rest of the chain: what is behind this plugin.
        let Some(at) = query.block.plugins.iter().position(|plugin| plugin.name() == NAME) else { return };
        let Ok(place) = Arc::clone(&self.refreshes).try_acquire_owned() else { return };
        if !entry.begin_refresh(now) {
            return;
        }
        tally.prefetches.inc();
        let refreshing = Refreshing(Arc::clone(entry));
        let (core, tally, mut query) = (Arc::clone(self), Arc::clone(tally), query.clone());
        tokio::spawn(async move {
            let _place = place;
            let block = Arc::clone(&query.block);
            let rest = block.plugins.get(at + 1..).unwrap_or_default();
            let asked = core.stop.run_until_cancelled(Next::new(rest).serve(&mut query)).await;
            let Some(mut reply) = asked else { return };
            let now = core.clock.at(Instant::now());
            if is_better(&reply) && !reply.from_cluster {
                let key = key_of(&query);
                core.pass(&query, key.clone(), &mut reply, now, &tally);
                if let Found::Fresh(new, _) = core.store.get(&key, now) {
                    new.follow(&refreshing.0);
                }
            } else {
                refreshing.0.refresh_failed(now, core.config.failures);
            }
        });
    }
}

impl Tally {
    fn half(&self, kind: Kind) -> &HalfTally {
        if kind.is_denial() { &self.denial } else { &self.success }
    }
}

/// An entry that is being got again, however that ends.
struct Refreshing(Arc<Entry>);

impl Drop for Refreshing {
    fn drop(&mut self) {
        self.0.end_refresh();
    }
}

fn key_of(query: &Query) -> Key {
    let question = &query.question;
    let flags = Flags { dnssec_ok: query.dnssec_ok(), ..Flags::of(&query.request) };
    key(&Folded::of(&question.name), question.qtype, question.qclass, flags, &query.options)
}

/// Whether the client knows what the AD bit means (RFC 6840 5.7).
fn is_dnssec_aware(query: &Query) -> bool {
    query.request.authentic_data || query.dnssec_ok()
}

/// Whether a reply says what is true now, rather than that it could not be found out.
fn is_better(reply: &Reply) -> bool {
    matches!(reply.rcode, ResponseCode::NoError | ResponseCode::NXDomain) && !reply.truncated
}

/// Whether a cluster answers a question now. Something else may have answered it before, and been kept.
fn is_clusters(query: &Query) -> bool {
    query.block.plugins.iter().any(|plugin| plugin.owns(query.name(), query.qtype()))
}

/// Bounds the TTLs of a cluster's answer, each by itself.
fn bound(reply: &mut Reply, bounds: TtlBounds) {
    let (least, most) = if reply.answers.is_empty() { bounds.negative } else { bounds.positive };
    let sections = [&mut reply.answers, &mut reply.authorities, &mut reply.additionals];
    for record in sections.into_iter().flatten() {
        record.ttl = record.ttl.max(least).min(most);
    }
}
