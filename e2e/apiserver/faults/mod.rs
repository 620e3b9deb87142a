//! Fault switches: what a test can make go wrong, in the process or over HTTP (`POST /_faults`), and counts of the
//! requests that came.
//!
//! A fault of a request is armed for a number of matching requests and gone afterwards. A fault of a watch stands
//! until it is lifted. Nothing here touches the objects: the store is always right, only what clients are told is not.

mod armed;
mod counts;
mod gate;

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub use armed::{Requests, Verdict};
pub use counts::RequestCount;
pub(super) use counts::Seen;
pub(super) use gate::Gate;

use super::kind::Kind;
use armed::Armed;
use counts::Counts;

/// Something that is to go wrong. As JSON, `fault` names it:
/// `{"fault": "answer", "requests": {"verb": "update", "kind": "endpointslices"}, "times": 2, "status": 409}`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "fault", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Fault {
    /// The next requests that match are answered with this status, and nothing is done.
    Answer {
        /// Which requests.
        #[serde(default)]
        requests: Requests,
        /// How many.
        #[serde(default = "once")]
        times: u32,
        /// The HTTP status: 409, 410, 429, 500, 503, 504 or any other from 400 up.
        status: u16,
        /// Seconds for `Retry-After`.
        #[serde(default)]
        retry_after: Option<u32>,
    },
    /// The next requests that match are held back before they are looked at.
    Delay {
        /// Which requests.
        #[serde(default)]
        requests: Requests,
        /// How many.
        #[serde(default = "once")]
        times: u32,
        /// For how long.
        milliseconds: u64,
    },
    /// The next requests that match are carried out, and answered this much later: watches tell first.
    DelayResponse {
        /// Which requests.
        #[serde(default)]
        requests: Requests,
        /// How many.
        #[serde(default = "once")]
        times: u32,
        /// For how long.
        milliseconds: u64,
    },
    /// The next requests that match are carried out, and the connection is cut in place of an answer.
    LoseResponse {
        /// Which requests.
        #[serde(default)]
        requests: Requests,
        /// How many.
        #[serde(default = "once")]
        times: u32,
    },
    /// Every watch that runs ends now.
    DropWatches {
        /// In the middle of the stream, rather than at its orderly end.
        #[serde(default)]
        abrupt: bool,
    },
    /// Every version up to now is too old to watch or to page from.
    ExpireVersions,
    /// Watches of this kind (of all, without one) deliver nothing until released.
    Hold {
        /// Plural, such as `pods`.
        #[serde(default)]
        kind: Option<String>,
    },
    /// Lifts `hold`.
    Release {
        /// Plural, such as `pods`.
        #[serde(default)]
        kind: Option<String>,
    },
    /// Watches of this kind (of all, without one) deliver each event this late; 0 lifts it.
    DelayWatch {
        /// Plural, such as `pods`.
        #[serde(default)]
        kind: Option<String>,
        /// How late.
        milliseconds: u64,
    },
    /// The next events of this kind reach no watch.
    SkipEvents {
        /// Plural, such as `pods`.
        kind: String,
        /// How many.
        #[serde(default = "once")]
        times: u32,
    },
    /// The next lists that match, streamed or not, hold no more than the first `keep` objects, as if there were no
    /// others.
    ShortLists {
        /// Which requests. A streamed list is a `watch`.
        #[serde(default)]
        requests: Requests,
        /// How many.
        #[serde(default = "once")]
        times: u32,
        /// What is left of each.
        keep: usize,
    },
    /// Whether watches with `sendInitialEvents` are refused as by a server without streaming lists.
    RefuseStreamingLists {
        /// Refused, or not any more.
        refuse: bool,
    },
}

/// All switches, and what they have seen.
#[derive(Debug)]
pub struct Faults {
    state: Mutex<State>,
    counts: Mutex<Counts>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    armed: Vec<Armed>,
    gates: BTreeMap<Kind, Gate>,
    skips: BTreeMap<Kind, u32>,
    short: Vec<ShortList>,
    refuse_streaming_lists: bool,
    /// The newest version the store has committed.
    head: u64,
    /// Versions below are expired.
    floor: u64,
}

#[derive(Debug)]
struct ShortList {
    requests: Requests,
    times: u32,
    keep: usize,
}

impl Default for Faults {
    fn default() -> Self {
        Self { state: Mutex::default(), counts: Mutex::default(), changed: watch::Sender::new(0) }
    }
}

impl Faults {
    /// Arms or sets a fault.
    ///
    /// # Errors
    /// A kind that does not exist, or a status that is no error.
    pub fn set(&self, fault: Fault) -> Result<(), String> {
        let mut state = self.state.lock();
        match fault {
            Fault::Answer { requests, times, status, retry_after } => {
                if !(400..600).contains(&status) {
                    return Err(format!("status {status} is no error"));
                }
                state.armed.push(Armed::new(
                    requests.checked()?,
                    times,
                    Verdict::answer(status, retry_after),
                ));
            }
            Fault::Delay { requests, times, milliseconds } => {
                let delay = Duration::from_millis(milliseconds);
                state.armed.push(Armed::new(
                    requests.checked()?,
                    times,
                    Verdict { delay, ..Verdict::default() },
                ));
            }
            Fault::DelayResponse { requests, times, milliseconds } => {
                let verdict = Verdict { late: Duration::from_millis(milliseconds), ..Verdict::default() };
                state.armed.push(Armed::new(requests.checked()?, times, verdict));
            }
            Fault::LoseResponse { requests, times } => {
                let verdict = Verdict { lose_response: true, ..Verdict::default() };
                state.armed.push(Armed::new(requests.checked()?, times, verdict));
            }
            Fault::DropWatches { abrupt } => state.each_gate(None, |gate| gate.drop_watches(abrupt))?,
            Fault::ExpireVersions => state.floor = state.head + 1,
            Fault::Hold { kind } => {
                let head = state.head;
                state.each_gate(kind.as_deref(), |gate| gate.held_at = gate.held_at.or(Some(head)))?;
            }
            Fault::Release { kind } => state.each_gate(kind.as_deref(), |gate| gate.held_at = None)?,
            Fault::DelayWatch { kind, milliseconds } => {
                state.each_gate(kind.as_deref(), |gate| gate.delay = Duration::from_millis(milliseconds))?;
            }
            Fault::SkipEvents { kind, times } => {
                for kind in kinds(Some(&kind))? {
                    *state.skips.entry(kind).or_default() += times;
                }
            }
            Fault::ShortLists { requests, times, keep } => {
                state.short.push(ShortList { requests: requests.checked()?, times, keep });
            }
            Fault::RefuseStreamingLists { refuse } => state.refuse_streaming_lists = refuse,
        }
        drop(state);
        self.changed.send_modify(|change| *change += 1);
        Ok(())
    }

    /// Lifts everything that is armed or set. Versions that have expired stay expired.
    pub fn clear(&self) {
        let mut state = self.state.lock();
        state.armed.clear();
        state.skips.clear();
        state.short.clear();
        state.refuse_streaming_lists = false;
        for gate in state.gates.values_mut() {
            gate.held_at = None;
            gate.delay = Duration::ZERO;
        }
        drop(state);
        self.changed.send_modify(|change| *change += 1);
    }

    /// How many requests are armed to go wrong still.
    pub fn armed(&self) -> u32 {
        self.state.lock().armed.iter().map(|armed| armed.times).sum()
    }

    /// The requests that came since the start or the last [`reset_requests`](Self::reset_requests).
    pub fn requests(&self) -> Vec<RequestCount> {
        self.counts.lock().list()
    }

    /// How many requests of this verb came for this plural (`pods`, `pods/status`), from anybody.
    pub fn requests_of(&self, verb: &str, resource: &str) -> u64 {
        self.counts.lock().of(verb, resource)
    }

    /// Starts counting from nothing.
    pub fn reset_requests(&self) {
        self.counts.lock().clear();
    }

    /// Counts a request and says what is to go wrong with it.
    pub(super) fn on_request(&self, seen: &Seen<'_>) -> Verdict {
        self.counts.lock().add(seen);
        let mut state = self.state.lock();
        let mut verdict = Verdict::default();
        for armed in &mut state.armed {
            armed.meet(seen, &mut verdict);
        }
        state.armed.retain(|armed| armed.times > 0);
        verdict
    }

    /// How many objects a list may hold that begins now; `None` for all.
    pub(super) fn keep_of_list(&self, seen: &Seen<'_>) -> Option<usize> {
        let mut state = self.state.lock();
        let at = state.short.iter().position(|short| short.requests.matches(seen))?;
        let short = state.short.get_mut(at)?;
        short.times = short.times.saturating_sub(1);
        let keep = short.keep;
        if short.times == 0 {
            state.short.remove(at);
        }
        Some(keep)
    }

    /// Told by the store of every commit. True when no watch may see the event.
    pub(super) fn on_commit(&self, kind: Kind, version: u64) -> bool {
        let mut state = self.state.lock();
        state.head = version;
        match state.skips.get_mut(&kind) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }

    /// What a watch of this kind has to respect.
    pub(super) fn gate(&self, kind: Kind) -> Gate {
        self.state.lock().gates.get(&kind).cloned().unwrap_or_default()
    }

    /// The oldest version that may be watched or paged from.
    pub(super) fn floor(&self) -> u64 {
        self.state.lock().floor
    }

    /// Whether streaming lists are refused.
    pub(super) fn refuses_streaming_lists(&self) -> bool {
        self.state.lock().refuse_streaming_lists
    }

    /// Wakes whenever a switch moves.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

impl State {
    fn each_gate(&mut self, kind: Option<&str>, mut change: impl FnMut(&mut Gate)) -> Result<(), String> {
        for kind in kinds(kind)? {
            change(self.gates.entry(kind).or_default());
        }
        Ok(())
    }
}

/// The kind of a plural, or all.
fn kinds(plural: Option<&str>) -> Result<Vec<Kind>, String> {
    let all = super::kind::KINDS.iter();
    let Some(plural) = plural else {
        return Ok(all.map(|info| info.kind).collect());
    };
    let found: Vec<Kind> = all.filter(|info| info.plural == plural).map(|info| info.kind).collect();
    if found.is_empty() { Err(format!("no kind has the plural {plural:?}")) } else { Ok(found) }
}

fn once() -> u32 {
    1
}

#[cfg(test)]
mod tests;
