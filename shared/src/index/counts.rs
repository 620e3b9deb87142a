//! How much there is in the index, counted as it changes: whoever asks need not walk over it.
//!
//! Only the writer counts, under its lock; anybody may read. What goes is subtracted as what it was when it came, so that the
//! numbers never drift: a property test counts everything anew and compares.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::ServiceView;
use crate::membership::Standing;

/// The numbers.
#[derive(Debug, Default)]
pub(super) struct Counts {
    objects: [AtomicUsize; 6],
    standings: [AtomicUsize; Standing::ALL.len()],
}

/// How many members of a view there are of each standing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standings([usize; Standing::ALL.len()]);

impl Standings {
    /// Those of a view's members.
    pub(super) fn of(view: &ServiceView) -> Self {
        let mut standings = Self::default();
        let Some(service) = &view.service else { return standings };
        let families = service.slice_families();
        for member in view.members.iter() {
            standings.add(member.standing(&families));
        }
        standings
    }

    /// One more.
    pub(super) fn add(&mut self, standing: Standing) {
        if let Some(count) = self.0.get_mut(standing as usize) {
            *count += 1;
        }
    }
}

impl Counts {
    /// An object of the kind came.
    pub(super) fn came(&self, slot: usize) {
        if let Some(count) = self.objects.get(slot) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// An object of the kind went.
    pub(super) fn went(&self, slot: usize) {
        if let Some(count) = self.objects.get(slot) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Members of a view stand otherwise than before.
    pub(super) fn moved(&self, old: Standings, new: Standings) {
        for ((count, old), new) in self.standings.iter().zip(old.0).zip(new.0) {
            match new.checked_sub(old) {
                Some(more) => count.fetch_add(more, Ordering::Relaxed),
                None => count.fetch_sub(old - new, Ordering::Relaxed),
            };
        }
    }

    pub(super) fn objects(&self, slot: usize) -> usize {
        self.objects.get(slot).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    pub(super) fn standings(&self) -> [(Standing, usize); Standing::ALL.len()] {
        Standing::ALL.map(|standing| {
            let count = self.standings.get(standing as usize);
            (standing, count.map_or(0, |count| count.load(Ordering::Relaxed)))
        })
    }
}
