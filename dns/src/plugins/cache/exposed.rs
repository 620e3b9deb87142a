//! Keeping one answer and giving it again, without a chain: for fuzz targets.

use std::time::Instant;

use hickory_proto::rr::Name;

use super::{
    entry::{Entry, Sending},
    kind::{Kind, lifetime},
};
use crate::{
    answer::{Asked, Question},
    plugin::{Reply, TtlBounds},
};

/// A kept answer.
#[derive(Debug)]
pub struct Kept(Entry);

impl Kept {
    /// What is to be kept of a reply, if it can be.
    pub fn of(question: &Question, reply: &Reply) -> Option<Self> {
        let kind = Kind::of(reply, question.qtype)?;
        let lifetime = lifetime(kind, reply, TtlBounds::default(), 5);
        Entry::new(question, reply, kind, lifetime, Instant::now()).map(Self)
    }

    /// Seconds for which it is true.
    pub fn lifetime(&self) -> u32 {
        self.0.lifetime()
    }

    /// Writes it in answer to a request, within so many bytes, if it fits and can be turned.
    pub fn write(&self, asked: &Asked<'_>, ttl: u32, limit: usize, rotation: u32) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let sending = Sending { ttl, limit, payload: u16::MAX, rotation };
        self.0.write(asked, sending, &mut out).then_some(out)
    }

    /// It as records.
    pub fn reply(&self, name: &Name, ttl: u32) -> Option<Reply> {
        self.0.reply(name, ttl, true)
    }
}
