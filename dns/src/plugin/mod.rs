//! What a plugin is: a step of a server block's chain.
//!
//! ```text
//!                    Router ── the block of the longest zone
//!                      │
//!   Query ──▶ plugin ──▶ plugin ──▶ … ──▶ plugin        each answers, or asks `next` and may change what comes back
//!   Reply ◀──    ◀──         ◀──            ◀──
//! ```
//!
//! There are two ways through a block. The slow one is [`Plugin::serve`]: a future, records as values, every plugin has its
//! say. The quick one is [`Plugin::quick`]: no waiting, no records, the bytes of the answer at once. A plugin says of each
//! question whether it certainly neither answers nor alters it ([`Quickly::Pass`]), has written the answer
//! ([`Quickly::Answered`]), or must be asked the slow way ([`Quickly::Slow`]); the first that does not pass decides. So a
//! question for a cluster name pays for a plugin only when that plugin could affect it. Both ways give the same answer.
//!
//! Order is CoreDNS's `plugin.cfg`, never the file's ([`crate::plugins::TABLE`]).

mod changes;
mod prepared;
mod query;
mod quick;
mod reply;
mod setup;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use futures::future::BoxFuture;
use hickory_proto::rr::{Name, Record, RecordType};

pub use changes::Changes;
pub use prepared::{Prepared, lines};
pub use query::{Internal, Query};
pub use quick::{Quick, Quickly, TtlBounds};
pub use reply::Reply;
pub use setup::{Clusters, Meter, Meters, Note, Setup, StartError, World};

use crate::zone::Zone;

/// The name of a piece of metadata: `plugin/label`.
pub type Label = std::borrow::Cow<'static, str>;

/// A started plugin.
pub trait Plugin: Send + Sync + 'static {
    /// Its directive.
    fn name(&self) -> &'static str;

    /// Answers, or passes the query on.
    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> BoxFuture<'a, Reply>;

    /// Answers at once, if it can. Must not block.
    fn quick(&self, _question: &Quick<'_>, _out: &mut Vec<u8>) -> Quickly {
        Quickly::Slow
    }

    /// Whether it must see answers that others gave the quick way, after it passed: [`Self::touch`].
    fn touches(&self) -> bool {
        false
    }

    /// What it does with such an answer: it may log it, or change it where that is cheap.
    fn touch(&self, _question: &Quick<'_>, _out: &mut Vec<u8>) {}

    /// Bounds that it puts on the TTLs of whatever passes through it, and the zones of the names that it does so for:
    /// `None` for all of the block.
    fn ttl_bounds(&self) -> Option<(TtlBounds, Option<Vec<Name>>)> {
        None
    }

    /// Whether it can do its work yet: `/ready` waits for it.
    fn ready(&self) -> bool {
        true
    }

    /// The cluster's zone that it answers from.
    fn cluster(&self) -> Option<&Arc<Zone>> {
        None
    }

    /// Whether it answers this question from its cluster now.
    fn owns(&self, _name: &Name, _qtype: RecordType) -> bool {
        false
    }

    /// The servers that it asks.
    fn upstreams(&self) -> Vec<SocketAddr> {
        Vec::new()
    }

    /// What it knows about a query, as `plugin/label` and value, for logs and expressions.
    fn metadata(&self, _query: &Query, _add: &mut dyn FnMut(Label, String)) {}

    /// Called once, when all plugins of the block have been started: it may look for those it works with.
    ///
    /// # Errors
    /// When one is not what it needs: the configuration is refused.
    fn started(&self, _block: &[Arc<dyn Plugin>]) -> Result<(), StartError> {
        Ok(())
    }

    /// The search path of a client that asks for a name, if it knows it: the domains in their order, without the root.
    fn search_path(&self, _name: &Name, _client: IpAddr) -> Option<Vec<Name>> {
        None
    }

    /// Whether it knows search paths: `None` of a plugin that never does, `Some(false)` where its options keep it from it.
    fn walks_paths(&self) -> Option<bool> {
        None
    }

    /// All records of one of its zones, the SOA first and not again at the end; only the SOA where it is not newer than
    /// `unless`, the client's serial; none where it cannot be told yet. `None`: the zone is not one of its own. May take
    /// its time.
    fn transfer(&self, _zone: &Name, _unless: Option<u32>) -> Option<Vec<Record>> {
        None
    }

    /// The zones it can transfer. It tells of their changes with [`World::changes`].
    fn transferable(&self) -> Vec<Name> {
        Vec::new()
    }
}

/// The rest of a chain.
#[derive(Clone, Copy)]
pub struct Next<'a> {
    rest: &'a [Arc<dyn Plugin>],
}

impl<'a> Next<'a> {
    /// A chain from its beginning.
    pub fn new(rest: &'a [Arc<dyn Plugin>]) -> Self {
        Self { rest }
    }

    /// Asks the rest of the chain. At its end there is nobody: SERVFAIL.
    pub fn serve(self, query: &'a mut Query) -> BoxFuture<'a, Reply> {
        match self.rest.split_first() {
            Some((plugin, rest)) => plugin.serve(query, Next { rest }),
            None => Box::pin(std::future::ready(Reply::nobody())),
        }
    }
}
