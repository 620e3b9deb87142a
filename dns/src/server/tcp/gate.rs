//! Who may have a connection, and who goes when there are too many.
//!
//! A listener has a number of places, and each client has a number of them. While there are free ones a connection takes
//! one. Where there is none, the connection that has been idle for longest goes in favour of the new one: of the client
//! whose places are all taken, else of all. Idle is a connection that is owed no answer; half a request does not count as
//! work (RFC 7766 6.2.2 and 6.2.3, RFC 9210 4.2 and 5). Where nobody is idle the new one is refused. So a client that opens connections
//! without end ends its own ones, and whoever holds places without using them loses them when others need them.
//!
//! The order is that of a clock with a second chance: a connection that did something since it was looked at last is put
//! behind the others when its turn comes. A request so costs a connection nothing but a bit, and finding who goes is a
//! bounded number of steps.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use futures::task::AtomicWaker;
use parking_lot::Mutex;

use super::super::{Limits, metrics::TcpMetrics};

/// How many connections are looked at to find an idle one.
const LOOKS: usize = 64;
/// How many may have been told to go and not be gone yet.
const LEAVING: usize = 256;

/// Did something since the gate last looked.
const TOUCHED: u8 = 1;
/// Is owed an answer.
const BUSY: u8 = 2;
/// Is to end at once.
const EVICTED: u8 = 4;
/// Is to end when its answers are out.
const STOPPED: u8 = 8;

/// Counts connections, in total and by client.
#[derive(Debug, Default)]
pub(in super::super) struct Gate {
    open: Mutex<Open>,
    metrics: Arc<TcpMetrics>,
}

#[derive(Debug, Default)]
struct Open {
    /// Connections by their turn to be looked at.
    turns: BTreeMap<u64, Arc<Slot>>,
    /// The turns of each client.
    clients: HashMap<IpAddr, BTreeSet<u64>>,
    next: u64,
    /// Connections that have been told to go.
    leaving: usize,
    stopped: bool,
}

/// What the gate and a connection know of each other.
#[derive(Debug)]
pub(in super::super) struct Slot {
    client: IpAddr,
    /// Its turn. Written under the gate's lock only.
    turn: AtomicU64,
    state: AtomicU8,
    waker: AtomicWaker,
}

/// A place for one connection, given back when dropped.
#[derive(Debug)]
pub(in super::super) struct Place {
    gate: Arc<Gate>,
    slot: Arc<Slot>,
}

/// What a connection has been told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Nothing,
    /// To end when its answers are out.
    Stop,
    /// To end at once: another one needs the place.
    Leave,
}

impl Gate {
    pub(in super::super) fn new(metrics: Arc<TcpMetrics>) -> Self {
        Self { open: Mutex::default(), metrics }
    }

    /// A place, if there is one to be had.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr, limits: &Limits) -> Option<Place> {
        let client = network(address);
        let mut open = self.open.lock();
        if open.stopped {
            return None;
        }
        let ours = open.clients.get(&client).map_or(0, BTreeSet::len);
        let full = open.turns.len() >= limits.tcp_connections;
        let greedy = ours >= limits.tcp_connections_per_client;
        let room = !full && !greedy || open.leaving < LEAVING && open.evict(greedy.then_some(client));
        if !room {
            self.metrics.refused();
            return None;
        }
        if full || greedy {
            self.metrics.evicted();
        }
        let slot = Arc::new(Slot {
            client,
            turn: AtomicU64::new(0),
            state: AtomicU8::new(0),
            waker: AtomicWaker::new(),
        });
        open.add(Arc::clone(&slot));
        self.metrics.opened();
        Some(Place { gate: Arc::clone(self), slot })
    }

    /// Ends the connection that has been idle for longest, for want of something else than a place.
    pub(super) fn make_room(&self) {
        let mut open = self.open.lock();
        if open.leaving < LEAVING && open.evict(None) {
            self.metrics.evicted();
        }
    }

    /// Ends every connection when its answers are out. There are no places any more.
    pub(in super::super) fn stop(&self) {
        let mut open = self.open.lock();
        open.stopped = true;
        open.turns.values().for_each(|slot| slot.tell(STOPPED));
    }
}

impl Open {
    fn add(&mut self, slot: Arc<Slot>) {
        let turn = self.next;
        self.next += 1;
        slot.turn.store(turn, Ordering::Relaxed);
        self.clients.entry(slot.client).or_default().insert(turn);
        self.turns.insert(turn, slot);
    }

    fn remove(&mut self, turn: u64) -> Option<Arc<Slot>> {
        let slot = self.turns.remove(&turn)?;
        if let Some(turns) = self.clients.get_mut(&slot.client) {
            turns.remove(&turn);
            if turns.is_empty() {
                self.clients.remove(&slot.client);
            }
        }
        Some(slot)
    }

    /// Tells an idle connection, of this client or of any, to go. Its place is free then.
    fn evict(&mut self, client: Option<IpAddr>) -> bool {
        let mut idle = None;
        for _ in 0..LOOKS {
            let first = match &client {
                Some(client) => self.clients.get(client).and_then(|turns| turns.first()),
                None => self.turns.first_key_value().map(|(turn, _)| turn),
            };
            let Some(slot) = first.copied().and_then(|turn| self.remove(turn)) else { break };
            let state = slot.state.fetch_and(!TOUCHED, Ordering::AcqRel);
            if state & (TOUCHED | BUSY) == 0 {
                self.leave(&slot);
                return true;
            }
            if state & BUSY == 0 && idle.is_none() {
                idle = Some(Arc::clone(&slot));
            }
            self.add(slot);
        }
        // All of them did something of late: the one that was first in turn goes.
        let Some(slot) = idle else { return false };
        self.remove(slot.turn.load(Ordering::Relaxed));
        self.leave(&slot);
        true
    }

    fn leave(&mut self, slot: &Slot) {
        self.leaving += 1;
        slot.tell(EVICTED);
    }
}

impl Slot {
    /// Says that the connection did something, and whether it is owed an answer.
    pub(in super::super) fn touch(&self, busy: bool) {
        if busy {
            self.state.fetch_or(TOUCHED | BUSY, Ordering::AcqRel);
        } else {
            self.state.fetch_or(TOUCHED, Ordering::AcqRel);
            self.state.fetch_and(!BUSY, Ordering::AcqRel);
        }
    }

    fn tell(&self, what: u8) {
        self.state.fetch_or(what, Ordering::AcqRel);
        self.waker.wake();
    }
}

impl Place {
    /// Wakes this task when there is something to be told, from now on.
    pub(super) fn listen(&self, context: &Context<'_>) {
        self.slot.waker.register(context.waker());
    }

    /// What the connection has been told.
    pub(super) fn told(&self) -> Told {
        let state = self.slot.state.load(Ordering::Acquire);
        match (state & EVICTED != 0, state & STOPPED != 0) {
            (true, _) => Told::Leave,
            (_, true) => Told::Stop,
            _ => Told::Nothing,
        }
    }

    /// Waits until the connection is told something: for those whose work is done by others.
    pub(super) async fn end(&self) {
        std::future::poll_fn(|context| {
            self.listen(context);
            if self.told() == Told::Nothing { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    /// Waits until the connection is told to end at once.
    pub(super) async fn leave(&self) {
        std::future::poll_fn(|context| {
            self.listen(context);
            if self.told() == Told::Leave { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// What is told of the connection by those who do its work.
    pub(super) fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.gate.open.lock();
        if self.told() == Told::Leave {
            open.leaving = open.leaving.saturating_sub(1);
        } else {
            open.remove(self.slot.turn.load(Ordering::Relaxed));
        }
        self.gate.metrics.closed();
    }
}

/// What counts as one client: of IPv6 a network of 64 bits, whose addresses are one host's to choose.
pub(in super::super) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.into(),
            None => Ipv6Addr::from(u128::from(v6) >> 64 << 64).into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(all: usize, each: usize) -> Limits {
        Limits { tcp_connections: all, tcp_connections_per_client: each, ..Limits::default() }
    }

    fn client(number: u8) -> IpAddr {
        [10, 0, 0, number].into()
    }

    #[test]
    fn what_is_used_stays_and_what_is_owed_an_answer_too() {
        let gate = Arc::new(Gate::default());
        let limits = limits(4, 4);
        let places: Vec<Place> = (0..4).map(|number| gate.enter(client(number), &limits).unwrap()).collect();
        places[0].slot().touch(true);
        places[1].slot().touch(false);
        let told = |places: &[Place]| places.iter().map(Place::told).collect::<Vec<_>>();
        let _fifth = gate.enter(client(5), &limits).unwrap();
        use Told::{Leave, Nothing};
        assert_eq!(told(&places), [Nothing, Nothing, Leave, Nothing]);
        let _sixth = gate.enter(client(6), &limits).unwrap();
        assert_eq!(told(&places), [Nothing, Nothing, Leave, Leave]);
        // Its second chance is over.
        let _seventh = gate.enter(client(7), &limits).unwrap();
        assert_eq!(told(&places), [Nothing, Leave, Leave, Leave]);
        // That whose answer was given is one like others, in its turn.
        places[0].slot().touch(false);
        let more: Vec<Option<Place>> = (8..18).map(|number| gate.enter(client(number), &limits)).collect();
        assert!(more.iter().all(Option::is_some));
        assert_eq!(told(&places), [Leave; 4]);
    }

    #[test]
    fn places_come_back_however_connections_end() {
        let gate = Arc::new(Gate::default());
        let limits = limits(10, 3);
        for round in 0..100_u8 {
            let places: Vec<Place> = (0..5).filter_map(|_| gate.enter(client(round % 4), &limits)).collect();
            // Each beyond the third has the place of one before.
            assert_eq!(places.len(), 5);
            assert_eq!(places.iter().filter(|place| place.told() == Told::Leave).count(), 2);
        }
        let open = gate.open.lock();
        assert!(open.turns.is_empty() && open.clients.is_empty() && open.leaving == 0);
    }

    #[test]
    fn where_all_are_busy_nobody_comes_in() {
        let gate = Arc::new(Gate::default());
        let busy: Vec<Place> = (0..100)
            .map(|number| {
                let place = gate.enter(client(number), &limits(100, 1)).unwrap();
                place.slot().touch(true);
                place
            })
            .collect();
        assert!(gate.enter(client(200), &limits(100, 1)).is_none());
        gate.make_room();
        assert!(busy.iter().all(|place| place.told() == Told::Nothing));
        busy[50].slot().touch(false);
        // It is found in as many steps as it takes, some at a time.
        gate.make_room();
        gate.make_room();
        assert_eq!(busy[50].told(), Told::Leave);
        gate.stop();
        assert!(gate.enter(client(201), &limits(1000, 10)).is_none());
        assert!(busy.iter().all(|place| place.told() != Told::Nothing));
    }

    #[test]
    fn no_more_leave_at_once_than_may() {
        let gate = Arc::new(Gate::default());
        let limits = limits(1000, 1000);
        let places: Vec<Place> = (0..1000).map(|_| gate.enter(client(1), &limits).unwrap()).collect();
        let more: Vec<Option<Place>> = (0..1000).map(|_| gate.enter(client(2), &limits)).collect();
        assert_eq!(more.iter().flatten().count(), LEAVING);
        drop(places);
        assert!(gate.enter(client(2), &limits).is_some());
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}
