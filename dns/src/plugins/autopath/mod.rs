//! `autopath`: walks a client's search path for it (`coredns` `plugin/autopath`).
//!
//! ```text
//!   autopath [ZONE…] RESOLV-CONF      the search path of a file
//!   autopath [ZONE…] @kubernetes      that of the pod that asks; needs `pods verified`
//! ```
//!
//! A client that looks for `www.example.com` asks for `www.example.com.<namespace>.svc.<zone>` first. Where that does not
//! exist, the rest of its path is tried here, and the first name that does is answered, behind a CNAME that leads to it.
//! Where none does, the answer is that of the first: the client goes on by itself.
//!
//! Who asks is told by its address, so that a pod of its node's network gets no path, and neither does an address that
//! could be two pods' ([`crate::zone::Zone::client`]).

mod directive;

use std::sync::{Arc, OnceLock};

use futures::future::BoxFuture;
use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RData, Record, rdata::CNAME},
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

pub(crate) use directive::search_path;
pub use directive::setup;

use super::reading::Zones;
use crate::{
    plugin::{Meter, Next, Plugin, Query, Quick, Quickly, Reply, StartError},
    zone::{Found, Place},
};

const NAME: &str = "autopath";

/// Where search paths come from.
#[derive(Clone, Debug)]
enum Source {
    /// A file: everybody's is the same.
    List(Arc<[Name]>),
    /// Another plugin of the block.
    Plugin(String),
}

/// The plugin.
struct Autopath {
    zones: Zones,
    source: Source,
    provider: OnceLock<Arc<dyn Plugin>>,
    meter: Arc<AutopathMeter>,
}

/// What is counted.
struct AutopathMeter {
    successes: Family<OfServer, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfServer {
    server: String,
}

impl Meter for AutopathMeter {
    fn register(registry: &mut Registry) -> Self {
        let successes = Family::default();
        let help = "Counter of requests that did autopath";
        registry.register("coredns_autopath_success", help, successes.clone());
        Self { successes }
    }
}

impl Autopath {
    /// The names to try for a name, itself first; `None` where it is not one of the first domain of the client's path.
    fn path(&self, name: &Name, client: std::net::IpAddr) -> Option<Vec<Name>> {
        if !self.zones.have(name) {
            return None;
        }
        let search = match &self.source {
            Source::List(search) => search.to_vec(),
            Source::Plugin(_) => self.provider.get()?.search_path(name, client)?,
        };
        let first = search.first()?;
        let kept = name.iter().len().checked_sub(first.iter().len()).filter(|kept| *kept > 0)?;
        if !first.zone_of(name) {
            return None;
        }
        let base = Name::from_labels(name.iter().take(kept)).ok()?;
        let root = Name::root();
        let others = search.iter().skip(1).chain([&root]);
        let others = others.filter_map(|domain| base.clone().append_domain(domain).ok());
        Some(std::iter::once(name.clone()).chain(others).collect())
    }
}

impl Plugin for Autopath {
    fn name(&self) -> &'static str {
        NAME
    }

    fn started(&self, block: &[Arc<dyn Plugin>]) -> Result<(), StartError> {
        let Source::Plugin(wanted) = &self.source else { return Ok(()) };
        // CoreDNS starts without it, and walks no path then.
        let Some(plugin) = block.iter().find(|plugin| plugin.name() == wanted) else {
            tracing::warn!(target: "plugin/autopath", "there is no plugin {wanted} in the block: no search path is walked");
            return Ok(());
        };
        match plugin.walks_paths() {
            Some(true) => {}
            Some(false) => tracing::warn!(
                target: "plugin/autopath",
                "{wanted} does not know who asks (it needs pods verified): no search path is walked"
            ),
            None => {
                let why = format!("plugin/autopath: {wanted} does not implement the AutoPather interface");
                return Err(StartError(why));
            }
        }
        // A block is started once.
        let _ = self.provider.set(Arc::clone(plugin));
        Ok(())
    }

    fn quick(&self, question: &Quick<'_>, _: &mut Vec<u8>) -> Quickly {
        let name = question.name();
        if self.path(name, question.peer.address.ip()).is_none() {
            return Quickly::Pass;
        }
        // A name that is there is its own answer.
        let zone = self.provider.get().and_then(|plugin| plugin.cluster()).filter(|zone| zone.is_synced());
        let is_there =
            |found: Found<'_>| matches!(found, Found::In { place, .. } if !matches!(place, Place::Nothing));
        if zone.is_some_and(|zone| zone.look(name, is_there)) { Quickly::Pass } else { Quickly::Slow }
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> BoxFuture<'a, Reply> {
        let Some(path) = self.path(query.name(), query.peer.address.ip()) else { return next.serve(query) };
        Box::pin(async move {
            let asked = query.question.name.clone();
            let mut first = None;
            for name in path {
                let is_first = first.is_none();
                query.question.name = name.clone();
                let reply = next.serve(query).await;
                query.question.name = asked.clone();
                if matches!(reply.rcode, ResponseCode::NoError) && !reply.silent {
                    if is_first {
                        return reply;
                    }
                    let server = query.server.to_string();
                    self.meter.successes.get_or_create(&OfServer { server }).inc();
                    return as_alias(reply, &asked);
                }
                first.get_or_insert(reply);
            }
            first.unwrap_or_else(Reply::nobody)
        })
    }
}

/// The answer to a name further on the path, as one to the name that was asked for.
fn as_alias(mut reply: Reply, asked: &Name) -> Reply {
    if let Some(record) = reply.answers.first()
        && record.name != *asked
    {
        let alias = RData::CNAME(CNAME(record.name.clone()));
        reply.answers.insert(0, Record::from_rdata(asked.clone(), record.ttl, alias));
    }
    reply
}

#[cfg(test)]
mod tests;
