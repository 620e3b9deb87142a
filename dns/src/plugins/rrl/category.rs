//! What kind of answer an answer is, and on whose account it goes.
//!
//! Answers that cannot be told apart by who wants many of them share an account: positive ones by name and type, NODATA by
//! name, NXDOMAIN and referrals by the zone that says so (an attacker has any number of names that do not exist), all
//! others by client alone. This is so for what is on the wire and for records in the same way.

use std::net::IpAddr;

use hickory_proto::rr::{Name, RecordType};

use crate::plugin::{Query, Reply};

/// A kind of answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// There are records.
    Response,
    /// The name has none of this type.
    NoData,
    /// There is no such name.
    NxDomain,
    /// Others are asked for that.
    Referral,
    /// Something went wrong.
    Error,
}

/// What an account is known by: the kind, the client's network, and for some kinds a type and a name.
pub(super) struct Account {
    bytes: [u8; Self::MOST],
    length: usize,
}

/// The longest name (RFC 1035 2.3.4).
const NAME: usize = 255;
const HEADER: usize = 12;
const TYPE_NS: u16 = 2;
const NXDOMAIN: u8 = 3;

impl Account {
    const MOST: usize = 1 + 16 + 2 + NAME;

    fn new(kind: u8, client: IpAddr, prefixes: (u8, u8)) -> Self {
        let mut account = Self { bytes: [0; Self::MOST], length: 0 };
        account.push(&[kind]);
        match client.to_canonical() {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(prefixes.0.min(32))).unwrap_or_default();
                account.push(&(u32::from(v4) & mask).to_be_bytes());
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefixes.1.min(128))).unwrap_or_default();
                account.push(&(u128::from(v6) & mask).to_be_bytes());
            }
        }
        account
    }

    /// The account of a client's requests.
    pub(super) fn of_requests(client: IpAddr, prefixes: (u8, u8)) -> Self {
        Self::new(u8::MAX, client, prefixes)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    fn push(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        if let Some(place) = self.bytes.get_mut(self.length..end) {
            place.copy_from_slice(bytes);
            self.length = end;
        }
    }

    fn label(&mut self, label: &[u8]) {
        self.push(&[label.len() as u8]);
        let from = self.length;
        self.push(label);
        if let Some(label) = self.bytes.get_mut(from..self.length) {
            label.make_ascii_lowercase();
        }
    }

    fn name(&mut self, name: &Name) {
        name.iter().for_each(|label| self.label(label));
        self.push(&[0]);
    }
}

/// An answer on the wire.
#[derive(Clone, Copy)]
pub(super) struct Message<'a> {
    bytes: &'a [u8],
    /// Where the answer section begins.
    answers: usize,
}

impl<'a> Message<'a> {
    /// An answer of ours: one question, whose name is not compressed.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut message = Self { bytes, answers: HEADER };
        message.answers = message.after_name(HEADER)? + 4;
        (message.word(4)? == 1 && message.answers <= bytes.len()).then_some(message)
    }

    /// The labels of the question's name.
    pub(super) fn labels(self) -> Labels<'a> {
        Labels { message: self.bytes, at: HEADER, hops: 0 }
    }

    /// What kind it is.
    pub(super) fn kind(self) -> Option<Kind> {
        let (answers, authorities) = (self.word(6)?, self.word(8)?);
        let (truncated, rcode) = (self.bytes.get(2)? & 2 != 0, self.bytes.get(3)? & 0xf);
        Some(match (answers > 0 || truncated, rcode) {
            // What was left out for want of room is there.
            (true, _) => Kind::Response,
            (false, NXDOMAIN) => Kind::NxDomain,
            (false, 0) if authorities > 0 && self.authority_type()? == TYPE_NS => Kind::Referral,
            (false, 0) => Kind::NoData,
            (false, _) => Kind::Error,
        })
    }

    /// Whose account it goes on. It has no answer section where the kind is one that looks at the authority.
    pub(super) fn account(self, kind: Kind, client: IpAddr, prefixes: (u8, u8)) -> Option<Account> {
        let mut account = Account::new(kind as u8, client, prefixes);
        let (typed, name) = match kind {
            Kind::Response => (true, Some(HEADER)),
            Kind::NoData => (false, Some(HEADER)),
            Kind::NxDomain => (false, (self.word(8)? > 0).then_some(self.answers)),
            Kind::Referral => (true, Some(self.answers)),
            Kind::Error => (false, None),
        };
        if typed {
            account.push(&self.word(self.answers - 4)?.to_be_bytes());
        }
        if let Some(at) = name {
            Labels { message: self.bytes, at, hops: 0 }.for_each(|label| account.label(label));
            account.push(&[0]);
        }
        Some(account)
    }

    fn authority_type(self) -> Option<u16> {
        self.word(self.after_name(self.answers)?)
    }

    fn word(self, at: usize) -> Option<u16> {
        Some(u16::from_be_bytes([*self.bytes.get(at)?, *self.bytes.get(at + 1)?]))
    }

    /// Where a name ends.
    fn after_name(self, mut at: usize) -> Option<usize> {
        loop {
            match *self.bytes.get(at)? {
                0 => return Some(at + 1),
                length if length & 0xc0 == 0xc0 => return Some(at + 2),
                length => at += usize::from(length) + 1,
            }
        }
    }
}

/// Labels of a name on the wire. A message that leads in circles ends.
pub(super) struct Labels<'a> {
    message: &'a [u8],
    at: usize,
    hops: usize,
}

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let length = *self.message.get(self.at)?;
            // As many steps as the longest name has labels, or pointers.
            self.hops += 1;
            if length == 0 || self.hops > NAME {
                return None;
            }
            if length & 0xc0 != 0xc0 {
                let from = self.at + 1;
                self.at = from + usize::from(length);
                return self.message.get(from..self.at);
            }
            let low = *self.message.get(self.at + 1)?;
            self.at = usize::from(u16::from_be_bytes([length & 0x3f, low]));
        }
    }
}

/// What kind a reply is, and whose account it goes on.
pub(super) fn of_reply(query: &Query, reply: &Reply, prefixes: (u8, u8)) -> (Kind, Account) {
    let first = reply.authorities.first();
    let kind = match (reply.answers.is_empty() && !reply.truncated, u16::from(reply.rcode)) {
        (false, _) => Kind::Response,
        (true, 3) => Kind::NxDomain,
        (true, 0) if first.is_some_and(|record| record.record_type() == RecordType::NS) => Kind::Referral,
        (true, 0) => Kind::NoData,
        (true, _) => Kind::Error,
    };
    let mut account = Account::new(kind as u8, query.peer.address.ip(), prefixes);
    if matches!(kind, Kind::Response | Kind::Referral) {
        account.push(&u16::from(query.qtype()).to_be_bytes());
    }
    match kind {
        Kind::Response | Kind::NoData => account.name(query.name()),
        Kind::NxDomain | Kind::Referral => {
            if let Some(record) = first {
                account.name(&record.name);
            }
        }
        Kind::Error => {}
    }
    (kind, account)
}

/// Makes an answer on the wire one without records, but for its OPT, that says that something is missing.
pub(super) fn truncate(out: &mut Vec<u8>) {
    let Some(message) = Message::read(out) else { return out.clear() };
    let (end, opt) = (message.answers, out.len().checked_sub(OPT));
    let opt = opt.filter(|at| *at >= end && message.word(10).is_some_and(|count| count > 0));
    let opt = opt.filter(|at| out.get(*at..*at + 3) == Some(&[0, 0, TYPE_OPT]));
    match opt {
        Some(at) => drop(out.drain(end..at)),
        None => out.truncate(end),
    }
    for (place, byte) in out.iter_mut().skip(6).zip([0, 0, 0, 0, 0, u8::from(opt.is_some())]) {
        *place = byte;
    }
    if let Some(flags) = out.get_mut(2) {
        *flags |= 2;
    }
}

/// The length of an OPT without options, which is the last record of what is answered at once.
const OPT: usize = 11;
const TYPE_OPT: u8 = 41;
