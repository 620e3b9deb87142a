//! The fuse: nothing empties a cluster before somebody has looked again.
//!
//! A controller that believes something wrong of most pods takes them out of service in seconds, carefully and in the
//! right order. So when plans of the last ten seconds would together take away more than a share of all ready endpoints,
//! the fuse blows: the [gate](crate::gate) closes, and all pods are listed anew and compared with what the index holds. What
//! is added meanwhile counts against what is taken away: a rolling update and pods that flap take nothing away.
//!
//! ```text
//!   plans ──take away little──▶ written
//!     │ take away much
//!     ▼
//!   blown ──list──▶ the index is right ──▶ written: something did happen
//!     ▲               │ it is not
//!     └──list anew────┘
//! ```
//!
//! A mass change that is real is written later by one list, and no other list follows for half a minute.
//!
//! What is decided here is plain; `inspect` does the listing.

mod inspect;

use std::{collections::VecDeque, time::Duration};

use callsign_shared::{
    ServiceView,
    object::{EndpointSlice, Endpoints},
};
use tokio::time::Instant;

pub(crate) use inspect::Inspector;

use crate::{
    endpoints::is_managed,
    plan::{Part, Write},
};

/// Plans of this time are taken together.
const WINDOW: Duration = Duration::from_secs(10);

/// What is taken away within this time is one entry.
const GRAIN: Duration = Duration::from_millis(100);

/// Fewer endpoints than this are never many.
const MANY: usize = 100;

/// After the index was found right, how long plans are not counted.
const EXCUSED: Duration = Duration::from_secs(30);

/// How long the count of all ready endpoints is used.
const COUNT_LASTS: Duration = Duration::from_secs(1);

/// Counts what plans take away.
#[derive(Debug)]
pub struct Fuse {
    percent: usize,
    slices: Window,
    endpoints: Window,
    excused: Option<Instant>,
}

/// What plans of one kind took away and nobody gave back.
#[derive(Debug, Default)]
struct Window {
    lost: VecDeque<(Instant, usize)>,
    counted: Option<(Instant, usize)>,
}

/// What a plan does to the number of ready endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swing {
    /// It takes so many away.
    Down(usize),
    /// It adds so many, or none.
    Up(usize),
}

/// A kind of object that lists ready endpoints.
pub(crate) trait Ready {
    /// How many it lists.
    fn ready(&self) -> usize;

    /// How many those of a view list that are ours to write.
    fn ready_in(view: &ServiceView) -> usize;
}

impl Ready for EndpointSlice {
    fn ready(&self) -> usize {
        self.endpoints.iter().filter(|endpoint| endpoint.is_ready()).count()
    }

    fn ready_in(view: &ServiceView) -> usize {
        view.slices.iter().filter(|slice| slice.is_controllers()).map(|slice| slice.ready()).sum()
    }
}

impl Ready for Endpoints {
    fn ready(&self) -> usize {
        self.subsets.iter().map(|subset| subset.addresses.len()).sum()
    }

    fn ready_in(view: &ServiceView) -> usize {
        // Of a Service that is gone, what was made from its selector is still there, and to be deleted.
        let ours = |endpoints: &Self| match &view.service {
            Some(service) => service.selects(),
            None => is_managed(endpoints),
        };
        view.endpoints.iter().filter(|endpoints| ours(endpoints)).map(|endpoints| endpoints.ready()).sum()
    }
}

/// What writes do, what they move from one object to another not counted.
pub(crate) fn swing<T: Ready>(writes: &[Write<T>]) -> Swing {
    let (mut before, mut after) = (0, 0);
    for write in writes {
        match write {
            Write::Create(new) => after += new.ready(),
            Write::Update { current, new } => {
                before += current.ready();
                after += new.ready();
            }
            Write::Delete { current } => before += current.ready(),
        }
    }
    if before > after { Swing::Down(before - after) } else { Swing::Up(after - before) }
}

impl Window {
    /// What was taken away within the time, after what is older is forgotten.
    fn sum(&mut self, now: Instant) -> usize {
        while self.lost.front().is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
            self.lost.pop_front();
        }
        self.lost.iter().map(|(_, lost)| lost).sum()
    }

    fn take_away(&mut self, lost: usize, now: Instant) {
        match self.lost.back_mut() {
            Some((at, known)) if now.duration_since(*at) < GRAIN => *known += lost,
            _ => self.lost.push_back((now, lost)),
        }
    }

    /// Gives back, of the latest first. What is given beyond that is no credit.
    fn give_back(&mut self, mut gained: usize) {
        while let Some((_, lost)) = self.lost.back_mut().filter(|_| gained > 0) {
            let given = gained.min(*lost);
            *lost -= given;
            gained -= given;
            if *lost == 0 {
                self.lost.pop_back();
            }
        }
    }
}

impl Fuse {
    /// A fuse that blows when more than `percent` of all ready endpoints would go.
    pub fn new(percent: u8) -> Self {
        Self {
            percent: percent.into(),
            slices: Window::default(),
            endpoints: Window::default(),
            excused: None,
        }
    }

    /// Begins anew, as a run does.
    pub fn begin(&mut self) {
        (self.slices, self.endpoints, self.excused) = (Window::default(), Window::default(), None);
    }

    /// Whether a plan may be carried out that does this. `all` counts the ready endpoints there are in the cluster before
    /// that. False when the fuse blows.
    pub fn admits(&mut self, part: Part, swing: Swing, now: Instant, all: impl FnOnce() -> usize) -> bool {
        let Swing::Down(lost) = swing else { return true };
        let window = match part {
            Part::Slices => &mut self.slices,
            Part::Endpoints => &mut self.endpoints,
        };
        if self.excused.is_some_and(|until| now < until) {
            return true;
        }
        let earlier = window.sum(now);
        let sum = earlier + lost;
        if sum >= MANY {
            let all = match window.counted {
                Some((at, all)) if now.duration_since(at) < COUNT_LASTS => all,
                // What was taken away before is gone from the count.
                _ => {
                    let all = all() + earlier;
                    window.counted = Some((now, all));
                    all
                }
            };
            if sum * 100 > all * self.percent {
                return false;
            }
        }
        window.take_away(lost, now);
        true
    }

    /// So many were added, or not taken away though that was admitted.
    pub fn give_back(&mut self, part: Part, gained: usize) {
        match part {
            Part::Slices => self.slices.give_back(gained),
            Part::Endpoints => self.endpoints.give_back(gained),
        }
    }

    /// The index was compared with the cluster and is right: what it says may be done.
    pub fn excuse(&mut self, now: Instant) {
        self.begin();
        self.excused = Some(now + EXCUSED);
    }
}

/// Whether the index is right enough about `listed` ready pods when it does not know so about `wrong` of them: some pods
/// always change while they are listed.
pub(crate) fn agrees(listed: usize, wrong: usize) -> bool {
    wrong * 100 <= listed || wrong < MANY / 10
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use callsign_shared::object::{EndpointsAddress, Service, Subset, well_known};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// How many plans that take `each` away, one each `pace`, it admits of at most a thousand.
    fn admitted(fuse: &mut Fuse, all: usize, each: usize, pace: Duration) -> usize {
        let start = Instant::now();
        let step = |n: &usize| {
            let done = n * each;
            let now = start + pace * u32::try_from(*n).unwrap();
            fuse.admits(Part::Slices, Swing::Down(each), now, || all - done.min(all))
        };
        (0..1000).take_while(step).count()
    }

    #[test]
    fn it_blows_above_its_share_within_its_time() {
        let down = Swing::Down;
        let mut fuse = Fuse::new(30);
        assert_eq!(admitted(&mut fuse, 1000, 1, SECOND / 100), 300);
        fuse.begin();
        assert_eq!(admitted(&mut fuse, 10_000, 1, SECOND / 10), 1000, "no more than 100 in ten seconds");
        fuse.begin();
        let now = Instant::now();
        assert!(!fuse.admits(Part::Slices, down(200), now, || 300), "one plan can be too much");
        assert!(fuse.admits(Part::Slices, down(99), now, || 99), "few are never many");
        fuse.begin();
        assert!(fuse.admits(Part::Slices, down(99), now, || 300));
        assert!(fuse.admits(Part::Endpoints, down(99), now, || 300), "kinds are counted apart");
        assert!(!fuse.admits(Part::Slices, down(1), now, || 201), "the hundredth");
    }

    #[test]
    fn what_comes_back_was_not_taken_away() {
        let mut fuse = Fuse::new(30);
        let now = Instant::now();
        for _ in 0..1000 {
            assert!(fuse.admits(Part::Slices, Swing::Down(50), now, || 100));
            assert!(fuse.admits(Part::Slices, Swing::Up(50), now, || 100));
            fuse.give_back(Part::Slices, 50);
        }
        fuse.give_back(Part::Slices, 5000);
        assert!(!fuse.admits(Part::Slices, Swing::Down(100), now, || 300), "there is no credit");
    }

    #[test]
    fn what_was_looked_into_is_excused_for_a_while() {
        let mut fuse = Fuse::new(30);
        let now = Instant::now();
        assert!(!fuse.admits(Part::Slices, Swing::Down(200), now, || 300));
        fuse.excuse(now);
        assert!(fuse.admits(Part::Slices, Swing::Down(200), now, || 300));
        assert!(!fuse.admits(Part::Slices, Swing::Down(200), now + EXCUSED, || 300));
    }

    #[test]
    fn a_few_pods_always_change() {
        for (listed, wrong, right) in
            [(0, 0, true), (300, 9, true), (300, 10, false), (150_000, 1500, true), (150_000, 1501, false)]
        {
            assert_eq!(agrees(listed, wrong), right, "{wrong} of {listed}");
        }
    }

    /// What a Service that is gone leaves behind is to be deleted, and so is a part of all there is.
    #[test]
    fn endpoints_of_services_that_are_gone_are_there() {
        let mut endpoints = Endpoints { subsets: vec![Subset::default()], ..Endpoints::default() };
        endpoints.subsets[0].addresses = vec![EndpointsAddress::default(); 3];
        let view = |endpoints: &Endpoints, service| ServiceView {
            endpoints: Some(Arc::new(endpoints.clone())),
            service,
            ..ServiceView::default()
        };
        assert_eq!(Endpoints::ready_in(&view(&endpoints, None)), 0, "somebody else's");
        let label = (well_known::ENDPOINTS_MANAGED_BY, well_known::ENDPOINTS_CONTROLLER);
        endpoints.meta.labels = [label].into_iter().collect();
        assert_eq!(Endpoints::ready_in(&view(&endpoints, None)), 3);
        let manual = Some(Arc::new(Service::default()));
        assert_eq!(Endpoints::ready_in(&view(&endpoints, manual)), 0);
    }
}
