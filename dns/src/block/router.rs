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

use super::Block;
use crate::{
    folded::Folded,
    plugin::{Query, Reply},
    server::Metrics,
};

/// The blocks of one listener.
pub struct Router {
    /// Its name in metrics and logs: `dns://:53`.
    pub server: Arc<str>,
    /// By zone, as names are compared.
    routes: HashMap<Box<[u8]>, Vec<Route>, foldhash::fast::RandomState>,
    /// How many labels its zones have: the most first, each once.
    depths: Vec<usize>,
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
        Self { server, routes: HashMap::default(), depths: Vec::new(), all_classes: false, dropped: None }
    }

    /// Adds a block under a zone, behind those that are there.
    pub fn add(&mut self, zone: &Name, route: Route) {
        self.all_classes |= ["chaos", "forward"].iter().any(|name| route.block.plugin(name).is_some());
        let zone = Folded::of(zone);
        if let Err(at) = self.depths.binary_search_by(|depth| zone.labels().cmp(depth)) {
            self.depths.insert(at, zone.labels());
        }
        self.routes.entry(zone.wire().into()).or_default().push(route);
    }

    /// Every route.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.values().flatten()
    }

    /// The route of a name, where no view has to be asked; `Err` where one has.
    pub(crate) fn plain(&self, name: &Folded, qtype: RecordType) -> Result<Option<&Route>, NeedsQuery> {
        let mut needs = false;
        let found = self.find(name, qtype, |route| {
            needs |= route.block.view.is_some();
            !needs
        });
        if needs { Err(NeedsQuery) } else { Ok(found) }
    }

    /// The route of a query.
    pub(crate) fn route(&self, query: &Query) -> Option<&Route> {
        self.find(&Folded::of(&query.question.name), query.question.qtype, |route| {
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

    fn find(
        &self,
        name: &Folded,
        qtype: RecordType,
        mut takes: impl FnMut(&Route) -> bool,
    ) -> Option<&Route> {
        let mut parent = None;
        for depth in &self.depths {
            let routes = name.last(*depth).and_then(|zone| self.routes.get(zone));
            let Some(route) = routes.and_then(|routes| routes.iter().find(|route| takes(route))) else {
                continue;
            };
            if qtype != RecordType::DS {
                return Some(route);
            }
            // The root has no parent.
            if *depth > 0 || parent.is_none() {
                parent = Some(route);
            }
        }
        parent
    }
}

/// A block can only be chosen by the whole query.
pub(crate) struct NeedsQuery;
