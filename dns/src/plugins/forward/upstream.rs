//! One upstream: how it is asked, and whether it is well.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use hickory_proto::{op::Message, rr::Name};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    datagram,
    failure::Failure,
    message,
    metrics::{Answered, Metrics, Over, To},
    question::{Case, Header, Question},
    stream::{Keeping, Pool, Security},
};
use crate::plugins::reading::rcode_text;

/// How long an upstream may take to answer.
const READ: Duration = Duration::from_secs(2);
/// How long it may take to answer a health check.
const PROBE: Duration = Duration::from_secs(1);
/// Between two health checks at least, whatever the configuration says.
const LEAST_INTERVAL: Duration = Duration::from_millis(50);
/// How many kept connections may turn out to be closed before the question is given up. There are no more than this.
const CLOSED: usize = 256;

const PROXY: &str = "forward";

/// How an upstream is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Way {
    Udp,
    Tcp,
}

/// How an upstream's health is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checks {
    /// Between two checks.
    pub(super) interval: Duration,
    pub(super) recursion_desired: bool,
    /// The name whose NS records are asked for.
    pub(super) domain: Name,
    /// The upstream is down after more failures than this; zero for no checks.
    pub(super) most_failures: u32,
}

/// An upstream.
pub(super) struct Upstream {
    /// As metrics, logs and metadata name it.
    pub(super) label: String,
    pub(super) address: SocketAddr,
    secure: bool,
    pool: Pool,
    failures: AtomicU32,
    checked: AtomicBool,
    metrics: Arc<Metrics>,
}

impl Upstream {
    pub(super) fn new(
        address: SocketAddr,
        security: Security,
        keeping: Keeping,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            label: address.to_string(),
            address,
            secure: matches!(security, Security::Tls(..)),
            pool: Pool::new(address, security, keeping),
            failures: AtomicU32::new(0),
            checked: AtomicBool::new(false),
            metrics,
        }
    }

    /// Whether it failed too many checks.
    pub(super) fn is_down(&self, checks: &Checks) -> bool {
        checks.most_failures > 0 && self.failures.load(Ordering::Relaxed) > checks.most_failures
    }

    /// Asks it, over TCP too where the answer does not fit a datagram.
    pub(super) async fn ask(
        &self,
        question: &Question,
        way: Way,
        case: Case,
        end: Instant,
    ) -> Result<Message, Failure> {
        let started = Instant::now();
        let mut edns = true;
        let mut reply = self.exchange(question, way, edns, case, end).await?;
        if Header::read(&reply).is_some_and(Header::knows_no_edns) {
            // An old server. Without the OPT it may know more (RFC 6891 6.2.2).
            edns = false;
            reply = self.exchange(question, way, edns, case, end).await?;
        }
        let mut message = message::read(&reply);
        if way == Way::Udp && !self.secure && (message.is_err() || datagram::is_cut(&reply)) {
            // A cut answer is better than none.
            if let Ok(whole) = self.exchange(question, Way::Tcp, edns, case, end).await {
                message = message::read(&whole);
            }
        }
        let message = message?;
        let answered = Answered {
            proxy_name: PROXY,
            to: self.label.clone(),
            rcode: rcode_text(message.metadata.response_code),
        };
        self.metrics.durations.get_or_create(&answered).observe(started.elapsed().as_secs_f64());
        Ok(message)
    }

    /// Closes connections that have been kept for too long.
    pub(super) fn expire(&self) {
        self.pool.expire();
    }

    /// Checks its health until it is well again, unless that is being done already.
    pub(super) fn check(self: &Arc<Self>, checks: &Arc<Checks>, way: Way, stop: &CancellationToken) {
        if checks.most_failures == 0 || self.checked.swap(true, Ordering::Relaxed) {
            return;
        }
        let (upstream, checks, stop) = (Arc::clone(self), Arc::clone(checks), stop.clone());
        tokio::spawn(async move {
            // Also when the task is dropped half-way.
            let checking = Checking(upstream);
            let _ = stop.run_until_cancelled(checking.0.probe(&checks, way)).await;
        });
    }

    async fn probe(&self, checks: &Checks, way: Way) {
        let question = Question::probe(checks.domain.clone(), checks.recursion_desired);
        loop {
            let end = Instant::now() + PROBE;
            match self.exchange(&question, way, false, Case::Any, end).await {
                // Whatever it answers, it is there.
                Ok(_) => {
                    self.failures.store(0, Ordering::Relaxed);
                    return;
                }
                Err(error) => {
                    tracing::debug!(upstream = %self.label, %error, "a health check failed");
                    self.failures.fetch_add(1, Ordering::Relaxed);
                    let to = To { proxy_name: PROXY, to: self.label.clone() };
                    self.metrics.unhealthy.get_or_create(&to).inc();
                }
            }
            tokio::time::sleep(checks.interval.max(LEAST_INTERVAL)).await;
        }
    }

    async fn exchange(
        &self,
        question: &Question,
        way: Way,
        edns: bool,
        case: Case,
        end: Instant,
    ) -> Result<Vec<u8>, Failure> {
        let end = end.min(Instant::now() + READ);
        if way == Way::Udp && !self.secure {
            self.metrics.dialled.get_or_create(&self.over("udp")).inc();
            return datagram::exchange(self.address, question, edns, case, end).await;
        }
        // Apart: a handshake has many times the state of a datagram, and most questions are one.
        Box::pin(self.exchange_over_stream(question, edns, case, end)).await
    }

    async fn exchange_over_stream(
        &self,
        question: &Question,
        edns: bool,
        case: Case,
        end: Instant,
    ) -> Result<Vec<u8>, Failure> {
        let over = self.over(self.pool.network());
        for _ in 0..CLOSED {
            let Some(mut connection) = self.pool.kept() else { break };
            self.metrics.kept.get_or_create(&over).inc();
            match self.pool.exchange(&mut connection, question, edns, case, end).await {
                Ok(reply) => {
                    self.pool.keep(connection);
                    return Ok(reply);
                }
                // The other side had closed it before the question came.
                Err(error) if error.closed => {}
                Err(error) => return Err(error),
            }
        }
        self.metrics.dialled.get_or_create(&over).inc();
        let mut connection = self.pool.dial(end).await?;
        let reply = self.pool.exchange(&mut connection, question, edns, case, end).await?;
        self.pool.keep(connection);
        Ok(reply)
    }

    fn over(&self, proto: &'static str) -> Over {
        Over { proxy_name: PROXY, to: self.label.clone(), proto }
    }
}

struct Checking(Arc<Upstream>);

impl Drop for Checking {
    fn drop(&mut self) {
        self.0.checked.store(false, Ordering::Relaxed);
    }
}
