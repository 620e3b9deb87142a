//! The cluster's handler: the zone first, everything else upstream.

use std::{sync::Arc, time::Instant};

use hickory_proto::op::ResponseCode;

use super::{Forward, Handled, Handler, Metrics, Peer, metrics::Seen};
use crate::{
    answer::{self, Outcome},
    zone::Zone,
};

/// Answers the cluster's names from its zone, and hands other names to a forwarder if there is one.
#[derive(Debug)]
pub struct ClusterHandler {
    zone: Arc<Zone>,
    forward: Option<Arc<Forward>>,
    metrics: Arc<Metrics>,
}

impl ClusterHandler {
    /// A handler of this zone. Without a forwarder names of others are refused.
    pub fn new(zone: Arc<Zone>, forward: Option<Forward>, metrics: Arc<Metrics>) -> Self {
        Self { zone, forward: forward.map(Arc::new), metrics }
    }

    /// The forwarder and the right to ask it one question.
    fn upstream(&self) -> Option<(Arc<Forward>, super::forward::Permit)> {
        let forward = self.forward.as_ref()?;
        Some((Arc::clone(forward), forward.permit()?))
    }
}

impl Handler for ClusterHandler {
    fn handle(&self, request: &[u8], from: Peer, out: &mut Vec<u8>) -> Handled {
        let started = Instant::now();
        let transport = from.transport;
        let seen = Seen { from, started, request: request.len() };
        match answer::answer(&self.zone, request, transport, fastrand::u32(..), out) {
            Outcome::Silent => Handled::Silent,
            Outcome::Answered(answered) => {
                self.metrics.answered(&seen, answered.qtype, out);
                Handled::Reply
            }
            Outcome::Elsewhere(request) => {
                let Some((forward, permit)) = self.upstream() else {
                    let answered = answer::refuse(&request, ResponseCode::Refused, transport, out);
                    self.metrics.answered(&seen, answered.qtype, out);
                    return Handled::Reply;
                };
                let metrics = Arc::clone(&self.metrics);
                Handled::Later(Box::pin(async move {
                    let reply = forward.answer(&request, transport, permit).await;
                    metrics.answered(&seen, Some(request.question.qtype), &reply);
                    Some(reply)
                }))
            }
            Outcome::Alias { request, target, answered } => {
                // Stub resolvers do not follow a CNAME by themselves. Where nobody can, they get what we know.
                let Some((forward, permit)) = self.upstream() else {
                    self.metrics.answered(&seen, answered.qtype, out);
                    return Handled::Reply;
                };
                let (metrics, zone) = (Arc::clone(&self.metrics), Arc::clone(&self.zone));
                Handled::Later(Box::pin(async move {
                    let more = forward.records(&target, request.question.qtype, permit).await;
                    let mut reply = Vec::new();
                    let answered = answer::extend(&zone, &request, &target, more, transport, &mut reply);
                    metrics.answered(&seen, answered.qtype, &reply);
                    Some(reply)
                }))
            }
        }
    }

    fn panicked(&self) {
        self.metrics.panicked();
    }
}
