//! Forwarding as a step of a chain.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Name, RecordType},
};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    ForwardConfig, Policy,
    flight::{Flights, Landed},
    metrics::Metrics,
    question::{Case, Question},
    relevant::keep_relevant,
    upstream::{Checks, Upstream, Way},
};
use crate::{
    answer::Transport,
    plugin::{Next, Plugin, Query, Quick, Quickly, Reply, World},
};

const NAME: &str = "forward";

/// How long all upstreams together have for one question.
const DEADLINE: Duration = Duration::from_secs(5);
/// How often each upstream is tried for one question, on average.
const ROUNDS: usize = 2;
/// Exchanges under way at most, each with a socket. More wait for a place until their deadline.
const EXCHANGES: usize = 4096;

/// Forwards the names of a zone.
pub(super) struct Forward {
    core: Arc<Core>,
    flights: Arc<Flights>,
    from: Name,
    except: Vec<Name>,
    most_concurrent: usize,
    concurrent: Arc<AtomicUsize>,
    next: HashSet<ResponseCode>,
    next_on_nodata: bool,
    before_another: bool,
}

/// What an exchange needs: it may outlive the question that began it.
struct Core {
    upstreams: Vec<Arc<Upstream>>,
    force_tcp: bool,
    prefer_udp: bool,
    checks: Arc<Checks>,
    most_attempts: usize,
    policy: Policy,
    turn: AtomicUsize,
    failover: HashSet<ResponseCode>,
    failfast: bool,
    random_case: bool,
    places: Semaphore,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
}

impl Forward {
    /// Starts forwarding. Within a runtime.
    pub(super) fn start(config: &ForwardConfig, world: &World) -> Self {
        let metrics = world.meters.of::<Metrics>();
        let upstreams: Vec<Arc<Upstream>> = (config.upstreams.iter())
            .map(|(address, security)| {
                Arc::new(Upstream::new(*address, security.clone(), config.keeping, Arc::clone(&metrics)))
            })
            .collect();
        let rounds = ROUNDS * upstreams.len() + 1;
        let core = Arc::new(Core {
            force_tcp: config.force_tcp,
            prefer_udp: config.prefer_udp,
            checks: Arc::new(config.checks.clone()),
            most_attempts: match config.most_attempts {
                0 => rounds,
                most => rounds.min(usize::try_from(most).unwrap_or(rounds)),
            },
            policy: config.policy,
            turn: AtomicUsize::new(0),
            failover: config.failover.clone(),
            failfast: config.failfast,
            random_case: config.random_case,
            places: Semaphore::new(EXCHANGES),
            metrics,
            stop: world.stop.clone(),
            upstreams,
        });
        core.expire_connections(config.keeping.idle);
        Self {
            core,
            flights: Arc::default(),
            from: config.from.clone(),
            except: config.except.clone(),
            most_concurrent: config.most_concurrent,
            concurrent: Arc::default(),
            next: config.next.clone(),
            next_on_nodata: config.next_on_nodata,
            before_another: config.before_another,
        }
    }

    /// Whether a name is one to forward.
    fn takes(&self, name: &Name) -> bool {
        self.from.zone_of(name) && (*name == self.from || !self.except.iter().any(|zone| zone.zone_of(name)))
    }

    /// Whether the next `forward` is to be asked instead.
    fn passes_on(&self, reply: &Reply) -> bool {
        self.before_another
            && (self.next.contains(&reply.rcode)
                || (self.next_on_nodata && reply.rcode == ResponseCode::NoError && reply.answers.is_empty()))
    }

    fn place(&self) -> Option<Place> {
        let before = self.concurrent.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(&self.concurrent));
        (self.most_concurrent == 0 || before < self.most_concurrent).then_some(place)
    }
}

impl Plugin for Forward {
    fn name(&self) -> &'static str {
        NAME
    }

    fn upstreams(&self) -> Vec<std::net::SocketAddr> {
        self.core.upstreams.iter().map(|upstream| upstream.address).collect()
    }

    fn quick(&self, question: &Quick<'_>, _: &mut Vec<u8>) -> Quickly {
        if self.takes(question.name()) { Quickly::Slow } else { Quickly::Pass }
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> BoxFuture<'a, Reply> {
        if !self.takes(&query.question.name) {
            return next.serve(query);
        }
        if matches!(query.question.qtype, RecordType::AXFR | RecordType::IXFR) {
            // Of a transfer's many messages only the first would come through.
            return Box::pin(std::future::ready(Reply::new(NAME, ResponseCode::Refused)));
        }
        if query.hurried {
            // Not to be asked for what nobody waits for.
            return Box::pin(std::future::ready(Reply::silence(NAME)));
        }
        let Some(place) = self.place() else {
            self.core.metrics.rejected.inc();
            let error = format!("concurrent queries exceeded maximum {}", self.most_concurrent);
            let reply = Reply { error: Some(error), ..Reply::new(NAME, ResponseCode::Refused) };
            return Box::pin(std::future::ready(reply));
        };
        let question = Question::of(query);
        let way = self.core.way(query.peer.transport);
        let exchange = self.flights.join((question.clone(), way), || {
            let core = Arc::clone(&self.core);
            Box::pin(async move { core.answer(question, way).await })
        });
        Box::pin(async move {
            let landed = exchange.await;
            drop(place);
            if let Some(upstream) = &landed.upstream {
                query.metadata.retain(|(label, _)| *label != "forward/upstream");
                query.metadata.push(("forward/upstream".into(), upstream.to_string()));
            }
            match landed.reply {
                Ok(reply) if self.passes_on(&reply) => next.serve(query).await,
                Ok(reply) => Arc::unwrap_or_clone(reply).for_name(&query.question.name),
                Err(error) => Reply::failed(NAME, error.as_ref()),
            }
        })
    }
}

/// One of the places of `max_concurrent`.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Core {
    /// How a client's question is asked upstream: as it came, unless the configuration says otherwise.
    fn way(&self, transport: Transport) -> Way {
        match transport {
            _ if self.force_tcp => Way::Tcp,
            Transport::Tcp if !self.prefer_udp => Way::Tcp,
            Transport::Tcp | Transport::Udp => Way::Udp,
        }
    }

    async fn answer(self: Arc<Self>, question: Question, way: Way) -> Landed {
        let mut upstream = None;
        let reply = match self.ask(&question, way, &mut upstream).await {
            Ok(mut message) => {
                keep_relevant(&question, &mut message);
                Ok(Arc::new(to_reply(message)))
            }
            Err(error) => Err(error.into()),
        };
        Landed { reply, upstream }
    }

    /// Asks upstreams until one answers.
    async fn ask(
        &self,
        question: &Question,
        way: Way,
        asked: &mut Option<Arc<str>>,
    ) -> Result<Message, String> {
        let end = Instant::now() + DEADLINE;
        let _place = timeout_at(end, self.places.acquire()).await;
        let (question, case) = match self.random_case {
            true => (&with_random_case(question), Case::Same),
            false => (question, Case::Any),
        };
        let order = self.order();
        let mut failed = None;
        let mut last = None;
        let mut turn = 0;
        for _ in 0..self.most_attempts {
            // A question that came before the end is asked, though not again and again.
            let tried = failed.is_some() || last.is_some();
            if Instant::now() >= end || (tried && self.stop.is_cancelled()) {
                break;
            }
            let Some(upstream) = self.choose(&order, &mut turn) else { break };
            *asked = Some(upstream.label.as_str().into());
            match upstream.ask(question, way, case, end).await {
                Ok(message) if self.failover.contains(&message.metadata.response_code) => {
                    // Each upstream is given one chance to do better.
                    last = Some(message);
                    if turn >= order.len() {
                        break;
                    }
                }
                Ok(message) => return Ok(message),
                Err(error) => {
                    tracing::debug!(upstream = %upstream.label, %error, "an upstream did not answer");
                    failed = Some(error.to_string());
                    let way = if self.force_tcp { Way::Tcp } else { Way::Udp };
                    upstream.check(&self.checks, way, &self.stop);
                }
            }
        }
        match last {
            Some(message) => Ok(message),
            None => Err(failed.unwrap_or_else(|| "no healthy proxies".to_owned())),
        }
    }

    /// The upstreams in the order to ask them.
    fn order(&self) -> Vec<&Arc<Upstream>> {
        let mut order: Vec<&Arc<Upstream>> = self.upstreams.iter().collect();
        match self.policy {
            Policy::Sequential => {}
            Policy::Random => fastrand::shuffle(&mut order),
            Policy::RoundRobin => {
                let first = self.turn.fetch_add(1, Ordering::Relaxed);
                let count = order.len().max(1);
                order.rotate_left(first % count);
            }
        }
        order
    }

    /// The next upstream that is up. Where all are down any one, as if checking were what is broken, unless that is not
    /// wanted.
    fn choose<'a>(&'a self, order: &[&'a Arc<Upstream>], turn: &mut usize) -> Option<&'a Arc<Upstream>> {
        for _ in 0..order.len() {
            let upstream = order.get(*turn % order.len())?;
            *turn += 1;
            if !upstream.is_down(&self.checks) {
                return Some(upstream);
            }
        }
        self.metrics.broken.inc();
        if self.failfast { None } else { fastrand::choice(&self.upstreams) }
    }

    /// Closes kept connections that nobody has used, now and then, until the end.
    fn expire_connections(self: &Arc<Self>, idle: Duration) {
        let (core, stop) = (Arc::downgrade(self), self.stop.clone());
        let every = idle.clamp(Duration::from_secs(1), Duration::from_secs(60));
        tokio::spawn(async move {
            loop {
                let slept = stop.run_until_cancelled(tokio::time::sleep(every)).await;
                let (Some(()), Some(core)) = (slept, core.upgrade()) else { return };
                core.upstreams.iter().for_each(|upstream| upstream.expire());
            }
        });
    }
}

/// The question with its letters in random case.
fn with_random_case(question: &Question) -> Question {
    let flip = |byte: &u8| {
        if byte.is_ascii_alphabetic() && rand::random() { byte ^ 0x20 } else { *byte }
    };
    let labels: Vec<Vec<u8>> = question.name.iter().map(|label| label.iter().map(flip).collect()).collect();
    let name = Name::from_labels(labels).unwrap_or_else(|_| question.name.clone());
    Question { name, ..question.clone() }
}

pub(super) fn to_reply(message: Message) -> Reply {
    let metadata = message.metadata;
    Reply {
        authoritative: metadata.authoritative,
        recursion_available: metadata.recursion_available,
        authentic_data: metadata.authentic_data,
        truncated: metadata.truncation,
        answers: message.answers,
        authorities: message.authorities,
        additionals: message.additionals,
        ..Reply::new(NAME, metadata.response_code)
    }
}
