//! From a question to the block that answers it.
//!
//! The block with the longest zone that the name is in, or under, takes it (`coredns` `core/dnsserver/server.go`). A block
//! with a `view` only takes what its view selects; then the next block of the zone, then a shorter zone is tried. A
//! question for a DS goes to the parent's block where we serve the parent too: the DS is the parent's (RFC 4035 3.1.4.1).

use std::{collections::HashMap, sync::Arc};

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RecordType},
};
use smallvec::SmallVec;

use super::Block;
use crate::{
    plugin::{Query, Reply},
    server::Metrics,
};

type Wire = SmallVec<[u8; 64]>;

/// The blocks of one listener.
pub struct Router {
    /// Its name in metrics and logs: `dns://:53`.
    pub server: Arc<str>,
    /// By zone, on the wire in lower case without the root's byte.
    routes: HashMap<Wire, Vec<Route>, foldhash::fast::RandomState>,
    /// Whether a block takes classes other than IN.
    pub(crate) all_classes: bool,
    /// What is counted of questions that no block takes.
    pub(crate) dropped: Option<Arc<Metrics>>,
}

/// A block under one of its zones.
#[derive(Clone)]
pub struct Route {
    /// The zone as it stands in metrics: `.`, `example.org.`.
    pub zone: Arc<str>,
    /// The block.
    pub block: Arc<Block>,
    /// What is counted of it.
    pub metrics: Option<Arc<Metrics>>,
}

impl Router {
    /// A router of nothing.
    pub fn new(server: Arc<str>) -> Self {
        Self { server, routes: HashMap::default(), all_classes: false, dropped: None }
    }

    /// Adds a block under a zone, behind those that are there.
    pub fn add(&mut self, zone: &Name, route: Route) {
        self.all_classes |= ["chaos", "forward"].iter().any(|name| route.block.plugin(name).is_some());
        self.routes.entry(wire(zone).0).or_default().push(route);
    }

    /// Every route.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.values().flatten()
    }

    /// The route of a name, where no view has to be asked; `Err` where one has.
    pub(crate) fn plain(&self, name: &Name, qtype: RecordType) -> Result<Option<&Route>, NeedsQuery> {
        let mut needs = false;
        let found = self.find(name, qtype, |route| {
            needs |= route.block.view.is_some();
            !needs
        });
        if needs { Err(NeedsQuery) } else { Ok(found) }
    }

    /// The route of a query.
    pub(crate) fn route(&self, query: &Query) -> Option<&Route> {
        self.find(&query.question.name, query.question.qtype, |route| {
            route.block.view.as_ref().is_none_or(|view| view.selects(query, &route.block))
        })
    }

    /// Answers a query with the block that it belongs to. Where there is none: REFUSED.
    pub async fn serve(&self, query: &mut Query) -> Reply {
        let Some(route) = self.route(query) else { return Reply::new("", ResponseCode::Refused) };
        query.zone = Arc::clone(&route.zone);
        query.block = Arc::clone(&route.block);
        query.metrics.clone_from(&route.metrics);
        route.block.serve(query).await
    }

    fn find(&self, name: &Name, qtype: RecordType, mut takes: impl FnMut(&Route) -> bool) -> Option<&Route> {
        let (wire, starts) = wire(name);
        let mut parent = None;
        for start in starts {
            let routes = self.routes.get(wire.get(start..).unwrap_or_default());
            let Some(route) = routes.and_then(|routes| routes.iter().find(|route| takes(route))) else {
                continue;
            };
            if qtype != RecordType::DS {
                return Some(route);
            }
            parent = Some(route);
        }
        parent.or_else(|| self.routes.get(&[][..])?.iter().find(|route| takes(route)))
    }
}

/// A block can only be chosen by the whole query.
pub(crate) struct NeedsQuery;

/// A name in lower case on the wire, and where its labels begin.
fn wire(name: &Name) -> (Wire, SmallVec<[usize; 16]>) {
    let (mut wire, mut starts) = (Wire::new(), SmallVec::new());
    for label in name {
        starts.push(wire.len());
        wire.push(label.len() as u8);
        wire.extend(label.iter().map(u8::to_ascii_lowercase));
    }
    (wire, starts)
}
