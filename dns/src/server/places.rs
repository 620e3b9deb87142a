//! Places to wait in: how many questions of a process are waited for at once, and how many of one client.
//!
//! A question that has to wait for others (an upstream, mostly) holds its place until it is answered or given up, some
//! seconds where upstreams are dead. While half of the places are free everybody gets one. Beyond that a client gets no
//! more than its share: one that asks without end cannot have them all. Clients are told apart by a seeded hash; two that
//! share a count are one.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::tcp::network;

/// All places. A question that is forwarded holds about 5 KiB, and a socket.
const PLACES: usize = 1536;
/// What one client may have once half of the places are taken.
const SHARE: usize = 128;
/// Counts of clients; a power of two.
const CLIENTS: usize = 1024;

/// The places of a process.
#[derive(Debug)]
pub(super) struct Places {
    all: usize,
    share: usize,
    taken: AtomicUsize,
    clients: Box<[AtomicUsize]>,
    hasher: RandomState,
}

/// One place, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    client: usize,
}

impl Default for Places {
    fn default() -> Self {
        Self::of(PLACES, SHARE)
    }
}

impl Places {
    /// So many in all, and so many for one client once half of them are taken.
    pub(super) fn of(all: usize, share: usize) -> Self {
        Self {
            all,
            share,
            taken: AtomicUsize::new(0),
            clients: (0..CLIENTS).map(|_| AtomicUsize::new(0)).collect(),
            hasher: RandomState::new(),
        }
    }

    /// A place for a question of this client, if there is one to be had.
    pub(super) fn take(self: &Arc<Self>, client: IpAddr) -> Option<Place> {
        let client = self.hasher.hash_one(network(client)) as usize % CLIENTS;
        let count = self.clients.get(client)?;
        // Both are given back by the place, also where it is refused.
        let place = Place { places: Arc::clone(self), client };
        let taken = self.taken.fetch_add(1, Ordering::Relaxed);
        let ours = count.fetch_add(1, Ordering::Relaxed);
        let fair = taken < self.all / 2 || ours < self.share;
        (taken < self.all && fair).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken.fetch_sub(1, Ordering::Relaxed);
        if let Some(count) = self.places.clients.get(self.client) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u8) -> IpAddr {
        [10, 0, 0, number].into()
    }

    /// Two clients that do not share a count.
    fn apart(places: &Places) -> (IpAddr, IpAddr) {
        let count = |ip: IpAddr| places.hasher.hash_one(ip) as usize % CLIENTS;
        let other = (2..).map(client).find(|other| count(*other) != count(client(1))).unwrap();
        (client(1), other)
    }

    #[test]
    fn one_client_does_not_get_all_of_them() {
        let places = Arc::new(Places::of(100, 10));
        let (one, other) = apart(&places);
        let greedy: Vec<Place> = std::iter::from_fn(|| places.take(one)).collect();
        assert_eq!(greedy.len(), 50);
        assert!(places.take(one).is_none());
        let modest: Vec<Place> = std::iter::from_fn(|| places.take(other)).collect();
        assert_eq!(modest.len(), 10);
        drop(greedy);
        assert_eq!(std::iter::from_fn(|| places.take(one)).take(40).count(), 40);
        drop(modest);
        let one: Vec<Place> = std::iter::from_fn(|| places.take(one)).collect();
        assert_eq!((one.len(), places.taken.load(Ordering::Relaxed)), (50, 50));
    }

    #[test]
    fn there_are_no_more_than_there_are() {
        let places = Arc::new(Places::of(20, 100));
        let taken: Vec<Place> = (0..200).filter_map(|number| places.take(client(number))).collect();
        assert_eq!(taken.len(), 20);
        drop(taken);
        assert_eq!(places.taken.load(Ordering::Relaxed), 0);
        assert!(places.clients.iter().all(|count| count.load(Ordering::Relaxed) == 0));
    }
}
