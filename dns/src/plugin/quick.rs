//! The quick way through a block.

use std::{sync::Arc, time::Instant};

use hickory_proto::rr::Name;

use crate::{
    answer::{Answered, Asked},
    server::Peer,
};

/// A question of class IN that may be answered at once.
#[derive(Clone, Copy, Debug)]
pub struct Quick<'a> {
    /// The request.
    pub asked: &'a Asked<'a>,
    /// Who asks.
    pub peer: &'a Peer,
    /// The server's name in metrics and logs: `dns://:53`.
    pub server: &'a Arc<str>,
    /// When it came.
    pub started: Instant,
    /// Decides which of several addresses comes first.
    pub rotation: u32,
    /// Bounds on the TTLs of answers.
    pub bounds: TtlBounds,
    /// The block's bound on datagrams.
    pub payload: u16,
}

impl Quick<'_> {
    /// The name asked for, in the form that costs something. What is asked of every question is asked of
    /// [`Asked::name`].
    pub fn name(&self) -> &Name {
        &self.asked.request().question.name
    }
}

/// What a plugin says to a question, at once.
#[derive(Clone, Copy, Debug)]
pub enum Quickly {
    /// It neither answers nor alters this question's answer.
    Pass,
    /// The answer has been written.
    Answered(Answered),
    /// It must be asked the slow way. Nothing has been written.
    Slow,
}

/// The least and the most that TTLs may be, in seconds, of positive and of negative answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TtlBounds {
    /// Of answers with records.
    pub positive: (u32, u32),
    /// Of NXDOMAIN and NODATA.
    pub negative: (u32, u32),
}

impl Default for TtlBounds {
    fn default() -> Self {
        Self { positive: (0, u32::MAX), negative: (0, u32::MAX) }
    }
}

impl TtlBounds {
    /// These bounds, after `outer` ones: outer plugins have the last word.
    #[must_use]
    pub fn within(self, outer: Self) -> Self {
        let both = |inner: (u32, u32), outer: (u32, u32)| {
            (inner.0.clamp(outer.0, outer.1.max(outer.0)), inner.1.clamp(outer.0, outer.1.max(outer.0)))
        };
        Self { positive: both(self.positive, outer.positive), negative: both(self.negative, outer.negative) }
    }
}
