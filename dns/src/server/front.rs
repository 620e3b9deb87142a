//! A listener's handler: from packets to blocks, by the quick way or the slow one.
//!
//! ```text
//!   packet ─▶ Asked ─▶ block of the longest zone ─▶ quick: plugin by plugin, at once
//!       └ Request ────────────────┴ slow: a future through the whole chain
//! ```
//!
//! What stub resolvers send is read in place and mostly answered at once; every other packet, and every question that some
//! plugin has to wait or to think for, takes the slow way, of which there are so many places.
//!
//! Replacing the configuration swaps the router under the listener; questions that are being answered keep the old one.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use futures::FutureExt;
use hickory_proto::op::ResponseCode;

use super::{Handled, Handler, Peer, Replies, Tallies, metrics::Seen, places::Places};
use crate::{
    answer::{self, Answered, Asked, CLASS_IN, Request, Transport, Unread},
    block::{Block, Route, Router},
    plugin::{Internal, Query, Quick, Reply},
};

/// Records of a transfer in one message: well below 64 KiB of ordinary records.
const TRANSFER_BYTES: usize = 16 << 10;

/// A listener's handler.
pub struct Front {
    router: ArcSwap<Router>,
    shared: Arc<Shared>,
}

/// What all listeners of a process share.
#[derive(Default)]
pub struct Shared {
    pub(super) places: Arc<Places>,
    /// The counters.
    pub tallies: Arc<Tallies>,
}

impl Front {
    /// A handler that asks this router.
    pub fn new(router: Arc<Router>, shared: Arc<Shared>) -> Self {
        Self { router: ArcSwap::new(router), shared }
    }

    /// Replaces the configuration.
    pub fn replace(&self, router: Arc<Router>) {
        self.router.store(router);
    }

    /// What is said to a request that no block takes. It is counted under the zone `dropped`.
    fn refuse(
        &self,
        router: &Router,
        request: &Request,
        rcode: ResponseCode,
        seen: &Seen,
        out: &mut Vec<u8>,
    ) -> Handled {
        let answered = answer::refuse(request, rcode, seen.from.transport, out);
        if let Some(dropped) = &router.dropped {
            dropped.answered(seen, "", answered.rcode, out.len());
        }
        Handled::Reply
    }

    fn quick(
        &self,
        router: &Router,
        route: &Route,
        asked: &Asked<'_>,
        seen: &Seen,
        out: &mut Vec<u8>,
    ) -> Option<Answered> {
        let block = &route.block;
        let question = Quick {
            asked,
            peer: &seen.from,
            server: &router.server,
            started: seen.started,
            rotation: if block.rotates { fastrand::u32(..) } else { 0 },
            bounds: block.bounds(&asked.name),
            payload: block.payload,
        };
        block.quick(&question, out)
    }

    /// A packet that is not of the usual kind.
    fn unusual(
        &self,
        router: &Arc<Router>,
        bytes: &[u8],
        from: Peer,
        started: Instant,
        out: &mut Vec<u8>,
    ) -> Handled {
        let seen = |request: &Request| Seen::of_request(request, from, started, bytes.len());
        match Request::read(bytes) {
            Ok(request) => {
                let seen = seen(&request);
                if request.question.qclass != CLASS_IN && !router.all_classes {
                    return self.refuse(router, &request, ResponseCode::Refused, &seen, out);
                }
                self.slow(router, request, bytes, seen)
            }
            Err(Unread::Ignore) => Handled::Silent,
            Err(Unread::Refuse(request, rcode)) => self.refuse(router, &request, rcode, &seen(&request), out),
        }
    }

    fn slow(&self, router: &Arc<Router>, request: Request, bytes: &[u8], seen: Seen) -> Handled {
        // It is given back when the future ends, however it does. Without one there is an answer if there is nothing to wait
        // for.
        let place = self.shared.places.take(seen.from.address.ip());
        let tallies = Arc::clone(&self.shared.tallies);
        let options = if request.edns.is_some_and(|edns| edns.has_options) {
            Request::options(bytes)
        } else {
            Vec::new()
        };
        let request = Arc::new(request);
        let mut query = Query {
            question: request.question.clone(),
            request: Arc::clone(&request),
            options,
            peer: seen.from,
            started: seen.started,
            size: bytes.len(),
            server: Arc::clone(&router.server),
            zone: "".into(),
            block: Arc::new(Block::nothing()),
            router: Arc::clone(router),
            metadata: Vec::new(),
            internal: Internal::default(),
            hurried: place.is_none(),
            metrics: router.dropped.clone(),
        };
        let router = Arc::clone(router);
        Handled::Later(Box::pin(async move {
            let serving = AssertUnwindSafe(router.serve(&mut query)).catch_unwind();
            let served = match place {
                Some(_) => Some(serving.await),
                None => serving.now_or_never(),
            };
            let reply = match served {
                None => {
                    tallies.dropped();
                    return Replies::default();
                }
                Some(Ok(reply)) => reply,
                Some(Err(panic)) => {
                    tallies.panicked();
                    recovered(&query.server, &*panic, query.block.debug);
                    Reply::new("", ResponseCode::ServFail)
                }
            };
            if reply.silent {
                if query.hurried {
                    tallies.dropped();
                }
                return Replies::default();
            }
            let messages = write(&request, &reply, seen.from.transport, query.block.payload);
            if let Some(metrics) = &query.metrics {
                let length = messages.iter().map(Vec::len).sum();
                metrics.answered(&seen, reply.plugin, reply.rcode, length);
            }
            Replies::new(messages, reply.turn)
        }))
    }
}

impl Handler for Front {
    fn handle(&self, bytes: &[u8], from: Peer, started: Instant, out: &mut Vec<u8>) -> Handled {
        let router = self.router.load();
        let Some(asked) = Asked::read(bytes) else {
            return self.unusual(&router, bytes, from, started, out);
        };
        let seen = Seen::of_asked(&asked, from, started);
        match router.plain(&asked.name, asked.qtype) {
            Ok(None) => {
                return self.refuse(&router, &asked.into_request(), ResponseCode::Refused, &seen, out);
            }
            Ok(Some(route)) => {
                if let Some(answered) = self.quick(&router, route, &asked, &seen, out) {
                    // A plugin took the answer away (`rrl`).
                    if out.is_empty() {
                        return Handled::Silent;
                    }
                    if let Some(metrics) = &route.metrics {
                        metrics.answered(&seen, answered.plugin, answered.rcode, out.len());
                    }
                    return Handled::Reply;
                }
            }
            Err(_) => {}
        }
        self.slow(&router, asked.into_request(), bytes, seen)
    }

    fn panicked(&self, bytes: &[u8], from: Peer, panic: &(dyn Any + Send), out: &mut Vec<u8>) -> Handled {
        self.shared.tallies.panicked();
        let router = self.router.load();
        recovered(&router.server, panic, router.routes().any(|route| route.block.debug));
        // The chain panicked, not the reading: that has been done before.
        match Request::read(bytes) {
            Ok(request) => {
                let seen = Seen::of_request(&request, from, Instant::now(), bytes.len());
                self.refuse(&router, &request, ResponseCode::ServFail, &seen, out)
            }
            Err(_) => Handled::Silent,
        }
    }
}

/// Says that a plugin panicked. With `debug` that is the end of the process.
fn recovered(server: &str, panic: &(dyn Any + Send), debug: bool) {
    let what = panic.downcast_ref::<&str>().copied();
    let what = what.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("panic");
    tracing::error!("Recovered from panic in server: {server:?} {what}");
    if debug {
        // As a panic that nobody recovers from ends a process of Go's.
        std::process::exit(2);
    }
}

/// The messages of a reply: one, or as many as a transfer needs (RFC 5936 2.2).
fn write(request: &Request, reply: &Reply, transport: Transport, payload: u16) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    let mut message = Vec::new();
    let Some(records) = &reply.transfer else {
        answer::write_reply(request, reply, transport, payload, &mut message);
        return vec![message];
    };
    let mut rest = records.as_slice();
    let mut part = Reply { transfer: None, ..Reply::new(reply.plugin, reply.rcode) };
    part.authoritative = true;
    while !rest.is_empty() {
        // Their usual size is enough to begin with; records that are larger than usual go in fewer at once.
        let mut bytes = 0;
        let count = rest.iter().take_while(|record| {
            bytes += record.name.len() + 32;
            bytes < TRANSFER_BYTES
        });
        let mut count = count.count().max(1).min(rest.len());
        let later = loop {
            let (now, later) = rest.split_at(count);
            part.answers = now.to_vec();
            answer::write_reply(request, &part, transport, payload, &mut message);
            if count == 1 || !answer::is_truncated(&message) {
                break later;
            }
            count = count.div_ceil(2);
        };
        messages.push(std::mem::take(&mut message));
        rest = later;
    }
    messages
}
