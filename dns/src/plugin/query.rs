//! A question on its way through a chain.

use std::{sync::Arc, time::Instant};

use futures::future::BoxFuture;
use hickory_proto::rr::{Name, RecordType};

use super::{Label, Reply};
use crate::{
    answer::{Question, Request},
    block::{Block, Router},
    server::{Metrics, Peer},
};

/// A question, who asks it, and where it is being answered.
#[derive(Clone)]
pub struct Query {
    /// What is asked. A plugin that changes it changes it back before it returns, in the reply too.
    pub question: Question,
    /// The request as it came.
    pub request: Arc<Request>,
    /// The options of the request's OPT: code and data. What is in here goes to upstreams; none is echoed.
    pub options: Vec<(u16, Vec<u8>)>,
    /// Who asks.
    pub peer: Peer,
    /// When it came.
    pub started: Instant,
    /// The length of the request, bytes.
    pub size: usize,
    /// The server's name in metrics and logs: `dns://:53`.
    pub server: Arc<str>,
    /// The zone of the block's keys that the name was found in, `.` or `example.org.`.
    pub zone: Arc<str>,
    /// The block whose chain this is.
    pub block: Arc<Block>,
    /// All blocks.
    pub router: Arc<Router>,
    /// What plugins know about it, filled in by `metadata`.
    pub metadata: Vec<(Label, String)>,
    /// Whether it is ours, asked on the way of answering another, and how deep.
    pub internal: Internal,
    /// There is no place to wait in: what is not there at once is not waited for, and nobody need be asked for it.
    pub hurried: bool,
    /// Where it is counted.
    pub(crate) metrics: Option<Arc<Metrics>>,
}

/// How many lookups within lookups there are above a query. A client's own is at 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Internal(pub u8);

impl Internal {
    /// The deepest: further ones are not asked.
    pub const DEEPEST: Self = Self(8);
}

impl Query {
    /// The name asked for.
    pub fn name(&self) -> &Name {
        &self.question.name
    }

    /// The type asked for.
    pub fn qtype(&self) -> RecordType {
        self.question.qtype
    }

    /// The value of a piece of metadata.
    pub fn metadatum(&self, label: &str) -> Option<&str> {
        self.metadata.iter().find(|(name, _)| *name == label).map(|(_, value)| value.as_str())
    }

    /// Whether DNSSEC records are wanted.
    pub fn dnssec_ok(&self) -> bool {
        self.request.edns.is_some_and(|edns| edns.dnssec_ok)
    }

    /// Asks this server itself, all blocks of the same listener, for another name: the targets of aliases.
    pub fn lookup(&self, name: Name, qtype: RecordType) -> BoxFuture<'static, Reply> {
        let mut query = self.clone();
        query.question = Question { name, qtype, qclass: self.question.qclass };
        query.internal = Internal(self.internal.0.saturating_add(1));
        query.metadata.clear();
        if query.internal > Internal::DEEPEST {
            return Box::pin(std::future::ready(Reply::failed("", "too many lookups within lookups")));
        }
        Box::pin(async move {
            let router = Arc::clone(&query.router);
            router.serve(&mut query).await
        })
    }
}
