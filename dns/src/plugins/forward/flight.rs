//! Questions under way: equal ones share one exchange, so that a forger gets one chance at a time (RFC 5452 5).

use std::{collections::HashMap, sync::Arc};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use parking_lot::Mutex;

use super::{question::Question, upstream::Way};
use crate::plugin::Reply;

/// What an exchange ended with.
#[derive(Clone, Debug)]
pub(super) struct Landed {
    /// The reply, or why there is none.
    pub(super) reply: Result<Arc<Reply>, Arc<str>>,
    /// The upstream that was asked last.
    pub(super) upstream: Option<Arc<str>>,
}

pub(super) type Exchange = Shared<BoxFuture<'static, Landed>>;

type Key = (Question, Way);

/// The exchanges that are under way.
#[derive(Default)]
pub(super) struct Flights {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// With a number of its own each: a question may be asked again while an older exchange of it is being dropped.
    exchanges: HashMap<Key, (u64, WeakShared<BoxFuture<'static, Landed>>)>,
    next: u64,
}

impl Flights {
    /// The exchange of this question: the one under way, or the one that `begin` makes. It ends when nobody waits for it
    /// any more.
    pub(super) fn join(
        self: &Arc<Self>,
        key: Key,
        begin: impl FnOnce() -> BoxFuture<'static, Landed>,
    ) -> Exchange {
        let mut table = self.table.lock();
        if let Some(exchange) = table.exchanges.get(&key).and_then(|(_, exchange)| exchange.upgrade()) {
            return exchange;
        }
        let number = table.next;
        table.next = number.wrapping_add(1);
        let flight = Flight { flights: Arc::clone(self), key: key.clone(), number };
        let work = begin();
        let exchange = async move {
            let landed = work.await;
            drop(flight);
            landed
        };
        let exchange = exchange.boxed().shared();
        if let Some(weak) = exchange.downgrade() {
            table.exchanges.insert(key, (number, weak));
        }
        exchange
    }
}

/// Takes the exchange from the table when it ends, or nobody waits for it.
struct Flight {
    flights: Arc<Flights>,
    key: Key,
    number: u64,
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut table = self.flights.table.lock();
        if table.exchanges.get(&self.key).is_some_and(|(number, _)| *number == self.number) {
            table.exchanges.remove(&self.key);
        }
    }
}
