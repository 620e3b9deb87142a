//! A kept answer: the message as it will be sent, and where in it lies what changes from one sending to the next.
//!
//! What is sent is a function of the entry, the request and the time: id, flags and the letters of the question are the
//! request's, TTLs have counted down, addresses may have turned, and our OPT follows where the client has one.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Name, RecordType},
};
use smallvec::SmallVec;

use super::{NAME, kind::Kind};
use crate::{
    answer::{self, Asked, Question, Request, Transport},
    plugin::Reply,
};

/// A kept answer.
#[derive(Debug)]
pub(super) struct Entry {
    /// The message without OPT, its question in the case of whoever asked first.
    wire: Box<[u8]>,
    /// Where its TTLs are.
    ttls: Box<[u16]>,
    /// Addresses of one name, that may take each other's places.
    runs: SmallVec<[Run; 1]>,
    /// It has records whose order matters to some, and is not one of [`Self::runs`].
    turns_slowly: bool,
    /// RD, where it is not the request's.
    recursion_desired: Option<bool>,
    pub(super) rcode: ResponseCode,
    pub(super) kind: Kind,
    /// When it was got.
    stored: Instant,
    /// For how long it is true, seconds.
    lifetime: u32,
    popularity: Popularity,
    /// Whether it is being got again.
    refreshing: AtomicBool,
    /// Milliseconds after `stored` before which it is not to be got again.
    patience: AtomicU64,
}

/// Records of addresses that follow one another, of one name and type.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// Where the first address is.
    first: u16,
    /// From one address to the next.
    stride: u16,
    count: u16,
    /// Of an address: 4 or 16.
    width: u16,
}

/// How often it was asked for without a gap.
#[derive(Debug, Default)]
struct Popularity {
    hits: AtomicU32,
    /// Milliseconds after `stored`.
    last: AtomicU64,
}

/// How an entry is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sending {
    /// The TTL of its records.
    pub(super) ttl: u32,
    /// The most bytes.
    pub(super) limit: usize,
    /// The block's bound on datagrams.
    pub(super) payload: u16,
    /// By how many places addresses turn.
    pub(super) rotation: u32,
}

const HEADER: usize = 12;
const RECURSION_DESIRED: u16 = 0x0100;
const AUTHENTIC_DATA: u16 = 0x0020;
const CHECKING_DISABLED: u16 = 0x0010;
/// Behind a record's name: type, class, TTL, length.
const FIXED: usize = 10;

impl Entry {
    /// What is to be kept of a reply, if it can be.
    pub(super) fn new(
        question: &Question,
        reply: &Reply,
        kind: Kind,
        lifetime: u32,
        now: Instant,
    ) -> Option<Self> {
        // Codes of more than four bits need an OPT, which is not kept.
        if reply.truncated || reply.silent || u16::from(reply.rcode) > 0xf {
            return None;
        }
        let request = Request {
            id: 0,
            opcode: 0,
            recursion_desired: false,
            authentic_data: false,
            checking_disabled: false,
            question: question.clone(),
            has_question: true,
            edns: None,
            serial: None,
        };
        let kept = Reply { options: Vec::new(), recursion_desired: None, ..reply.clone() };
        let kept = kept.for_name(&question.name);
        let mut wire = Vec::new();
        answer::write_reply(&request, &kept, Transport::Tcp, u16::MAX, &mut wire);
        let mut entry = Self {
            wire: wire.into(),
            ttls: Box::default(),
            runs: SmallVec::new(),
            turns_slowly: false,
            recursion_desired: reply.recursion_desired,
            rcode: reply.rcode,
            kind,
            stored: now,
            lifetime,
            popularity: Popularity::default(),
            refreshing: AtomicBool::new(false),
            patience: AtomicU64::new(0),
        };
        entry.find_places()?;
        (!entry.is_cut()).then_some(entry)
    }

    /// Bytes that it takes, about.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.wire.len() + 2 * self.ttls.len()
    }

    /// Seconds for which it is true yet; below 1 it has been stale for that many.
    pub(super) fn remaining(&self, now: Instant) -> i64 {
        let age = now.saturating_duration_since(self.stored).as_secs();
        i64::from(self.lifetime) - i64::try_from(age).unwrap_or(i64::MAX)
    }

    /// The TTL of all its records when it was stored.
    pub(super) fn lifetime(&self) -> u32 {
        self.lifetime
    }

    /// Writes the message into `out`, unless it is too long or cannot be turned.
    pub(super) fn write(&self, asked: &Asked<'_>, sending: Sending, out: &mut Vec<u8>) -> bool {
        let edns = asked.edns;
        let opt = if edns.is_some() { answer::OPT_LENGTH } else { 0 };
        if self.wire.len() + opt > sending.limit || (sending.rotation != 0 && self.turns_slowly) {
            return false;
        }
        out.clear();
        out.extend_from_slice(&self.wire);
        let dnssec_aware = asked.authentic_data || edns.is_some_and(|edns| edns.dnssec_ok);
        self.patch_flags(asked, dnssec_aware, out);
        put(out, HEADER, asked.question());
        for at in &self.ttls {
            put(out, usize::from(*at), &sending.ttl.to_be_bytes());
        }
        for run in self.runs.iter().filter(|run| sending.rotation != 0 && run.count > 1) {
            self.turn(*run, sending.rotation, out);
        }
        if let Some(edns) = edns {
            answer::write_opt(edns, u16::from(self.rcode), sending.payload, out);
            let count = word(out, 10).unwrap_or_default().saturating_add(1);
            put(out, 10, &count.to_be_bytes());
        }
        true
    }

    /// The answer as records, to a name that differs in the case of letters at most.
    pub(super) fn reply(&self, name: &Name, ttl: u32, dnssec_aware: bool) -> Option<Reply> {
        let mut wire = self.wire.to_vec();
        patch_name(name, &mut wire);
        for at in &self.ttls {
            put(&mut wire, usize::from(*at), &ttl.to_be_bytes());
        }
        let message = Message::from_vec(&wire).ok()?;
        Some(Reply {
            authoritative: message.metadata.authoritative,
            recursion_available: message.metadata.recursion_available,
            recursion_desired: self.recursion_desired,
            authentic_data: message.metadata.authentic_data && dnssec_aware,
            answers: message.answers,
            authorities: message.authorities,
            additionals: message.additionals,
            ..Reply::new(NAME, self.rcode)
        })
    }

    /// Counts a question for it; how many there were without a gap of `gap`.
    pub(super) fn asked(&self, now: Instant, gap: Duration) -> u32 {
        let now = self.millis(now);
        let last = self.popularity.last.swap(now, Ordering::Relaxed);
        if now.saturating_sub(last) > millis(gap) {
            self.popularity.hits.store(1, Ordering::Relaxed);
            return 1;
        }
        self.popularity.hits.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// How often it was asked for without a gap.
    pub(super) fn hits(&self) -> u32 {
        self.popularity.hits.load(Ordering::Relaxed)
    }

    /// Takes over how often the entry before it was asked for.
    pub(super) fn follow(&self, before: &Self) {
        self.popularity.hits.store(before.popularity.hits.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Whether it may be got again now, by one.
    pub(super) fn begin_refresh(&self, now: Instant) -> bool {
        self.may_refresh(now) && !self.refreshing.swap(true, Ordering::AcqRel)
    }

    /// Whether nobody is getting it again and nobody failed to just now.
    pub(super) fn may_refresh(&self, now: Instant) -> bool {
        !self.refreshing.load(Ordering::Acquire) && self.patience.load(Ordering::Relaxed) <= self.millis(now)
    }

    /// It could not be got; not to be tried for a while.
    pub(super) fn refresh_failed(&self, now: Instant, pause: Duration) {
        self.patience.store(self.millis(now).saturating_add(millis(pause)), Ordering::Relaxed);
    }

    pub(super) fn end_refresh(&self) {
        self.refreshing.store(false, Ordering::Release);
    }

    fn millis(&self, now: Instant) -> u64 {
        millis(now.saturating_duration_since(self.stored))
    }

    fn is_cut(&self) -> bool {
        self.wire.get(2).is_some_and(|byte| byte & 0x02 != 0)
    }

    fn patch_flags(&self, asked: &Asked<'_>, dnssec_aware: bool, out: &mut [u8]) {
        let mut flags = word(out, 2).unwrap_or_default() & !(RECURSION_DESIRED | CHECKING_DISABLED);
        if self.recursion_desired.unwrap_or(asked.recursion_desired) {
            flags |= RECURSION_DESIRED;
        }
        if asked.checking_disabled {
            flags |= CHECKING_DISABLED;
        }
        // Only for those who know what it means (RFC 6840 5.8).
        if !dnssec_aware {
            flags &= !AUTHENTIC_DATA;
        }
        put(out, 0, &asked.id.to_be_bytes());
        put(out, 2, &flags.to_be_bytes());
    }

    fn turn(&self, run: Run, by: u32, out: &mut [u8]) {
        let count = usize::from(run.count);
        let place = |at: usize| usize::from(run.first) + at * usize::from(run.stride);
        let first = by as usize % count;
        for at in 0..count {
            let from = place((first + at) % count);
            if let Some(address) = self.wire.get(from..from + usize::from(run.width)) {
                put(out, place(at), address);
            }
        }
    }

    /// Finds TTLs and runs of addresses.
    fn find_places(&mut self) -> Option<()> {
        let wire = &self.wire;
        let records =
            usize::from(word(wire, 6)?) + usize::from(word(wire, 8)?) + usize::from(word(wire, 10)?);
        let answers = usize::from(word(wire, 6)?);
        let mut at = skip_name(wire, HEADER)? + 4;
        let mut ttls = Vec::with_capacity(records);
        let mut last: Option<(RecordType, usize, usize)> = None;
        for number in 0..records {
            let name_at = at;
            at = skip_name(wire, at)?;
            let kind = RecordType::from(word(wire, at)?);
            let length = usize::from(word(wire, at + 8)?);
            ttls.push(u16::try_from(at + 4).ok()?);
            let data = at + FIXED;
            let width = match kind {
                RecordType::A => 4,
                RecordType::AAAA => 16,
                _ => 0,
            };
            if number < answers && width == length && width > 0 {
                // All but the first of a set point to the name of the first, or of the question.
                let follows = last.is_some_and(|(before, start, owner)| {
                    before == kind
                        && points_to_same(wire, owner, name_at)
                        && data - start == FIXED + 2 + width
                });
                match self.runs.last_mut() {
                    Some(run) if follows => {
                        run.stride = u16::try_from(FIXED + 2 + width).ok()?;
                        run.count += 1;
                    }
                    _ => self.runs.push(Run {
                        first: u16::try_from(data).ok()?,
                        stride: 0,
                        count: 1,
                        width: u16::try_from(width).ok()?,
                    }),
                }
                last = Some((kind, data, name_at));
            } else {
                last = None;
            }
            self.turns_slowly |= kind == RecordType::MX || (number >= answers && width > 0);
            at = data + length;
        }
        self.ttls = ttls.into();
        (at == wire.len()).then_some(())
    }
}

/// Whether the name at `later` is the one at `earlier`: a pointer to it, or both the same pointer.
fn points_to_same(wire: &[u8], earlier: usize, later: usize) -> bool {
    let Some(pointer) = word(wire, later).filter(|pointer| *pointer >= 0xc000) else { return false };
    let target = usize::from(pointer & 0x3fff);
    target == earlier || word(wire, earlier) == Some(pointer)
}

/// The end of a name of ours: labels up to the root or a pointer.
fn skip_name(wire: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match usize::from(*wire.get(at)?) {
            0 => return Some(at + 1),
            length if length < 0x40 => at += length + 1,
            _ => return Some(at + 2),
        }
    }
}

/// Writes the question's name over the one that is there, which differs in the case of letters at most.
fn patch_name(name: &Name, out: &mut [u8]) {
    let mut at = HEADER;
    for label in name {
        put(out, at + 1, label);
        at += label.len() + 1;
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    match bytes.get(at..at + 2)? {
        [high, low] => Some(u16::from_be_bytes([*high, *low])),
        _ => None,
    }
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = out.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
