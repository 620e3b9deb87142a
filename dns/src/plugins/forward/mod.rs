//! `forward`: names of others, asked of upstream servers.
//!
//! ```text
//!   query ─▶ zone, except ─▶ max_concurrent ─▶ the exchange of this question, or the one that is under way
//!                                                └ upstreams by policy: UDP, TCP or TLS, one after another, 5 s in all
//!                                                    └ reply ─▶ what belongs to the question ─▶ Reply
//! ```
//!
//! A reply counts only if it comes from the server that was asked, to the port that asked, and repeats id and question
//! (RFC 5452 9.1); anything else is ignored while waiting. Ids and ports come from a cryptographic generator, and each
//! question over UDP has a socket of its own. Records that were not asked for are dropped ([`relevant`]). Health is
//! checked only after a failure.
//!
//! # Where this differs from CoreDNS
//! * Upstreams are told that we take 1232 bytes whatever our client takes (RFC 6891 6.2.5), and an answer that was cut is
//!   asked for again over TCP at once, `prefer_udp` or not: the client gets as much of it as it takes.
//! * Equal questions under way are asked once (RFC 5452 5), and no UDP socket is used twice.
//! * Records outside the answer's chain of names and of zones are dropped, and those of another class.
//! * Replies in which more compression pointers follow one another than a name has labels are refused ([`message`]).
//! * A server that refuses the connection is tried twice, not until five seconds are over.

mod datagram;
mod directive;
#[cfg(feature = "testing")]
pub mod exposed;
mod failure;
mod flight;
mod message;
mod metrics;
mod question;
mod relevant;
mod serve;
mod stream;
mod target;
mod trust;
mod upstream;

use std::{collections::HashSet, fmt, net::SocketAddr, sync::Arc};

use hickory_proto::{op::ResponseCode, rr::Name};

pub(super) use directive::setup;
use serve::Forward;

use self::{
    stream::{Keeping, Security},
    upstream::Checks,
};
use crate::plugin::{Note, Plugin, Setup, StartError, World};

/// The directive.
struct ForwardConfig {
    /// The zone whose names are forwarded.
    from: Name,
    /// Whom to ask, in the order of the file.
    upstreams: Vec<(SocketAddr, Security)>,
    /// Zones within the zone whose names are the next plugin's.
    except: Vec<Name>,
    force_tcp: bool,
    prefer_udp: bool,
    keeping: Keeping,
    checks: Checks,
    /// Upstreams asked for one question at most; zero for no bound of the configuration's.
    most_attempts: u32,
    policy: Policy,
    /// Questions under way at most; zero for no bound of the configuration's.
    most_concurrent: usize,
    /// What the next `forward` is asked after.
    next: HashSet<ResponseCode>,
    next_on_nodata: bool,
    /// What the next upstream is asked after.
    failover: HashSet<ResponseCode>,
    failfast: bool,
    /// Questions are written in letters of random case, which replies have to repeat.
    random_case: bool,
    /// Another `forward` follows in the chain.
    before_another: bool,
    lines: Vec<String>,
    notes: Vec<Note>,
}

/// Which upstream is asked first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    Random,
    RoundRobin,
    Sequential,
}

impl Setup for ForwardConfig {
    fn describe(&self) -> Vec<String> {
        self.lines.clone()
    }

    fn notes(&self) -> Vec<Note> {
        self.notes.clone()
    }

    fn start(&self, world: &World) -> Result<Arc<dyn Plugin>, StartError> {
        Ok(Arc::new(Forward::start(self, world)))
    }
}

impl fmt::Debug for ForwardConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardConfig").field("lines", &self.lines).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
