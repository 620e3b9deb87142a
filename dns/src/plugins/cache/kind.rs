//! What may be kept of a reply, and for how long: plain functions of the reply and the bounds.

use hickory_proto::{
    op::ResponseCode,
    rr::{RData, Record, RecordType},
};

use crate::{
    plugin::{Reply, TtlBounds},
    plugins::class::{Class, classify},
};

/// A kind of reply that may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Records, or an empty answer that nothing proves.
    Data,
    /// Where else to ask.
    Referral,
    /// NXDOMAIN or NODATA, with the SOA that says so.
    Denial,
    /// SERVFAIL or NOTIMP.
    Failure,
}

/// Seconds, where a reply says nothing (`coredns` `plugin/pkg/dnsutil/ttl.go`).
const LEAST: u32 = 5;
const MOST: u32 = 3600;

impl Kind {
    /// The kind of a reply; `None` for one that is never kept, whole or not.
    pub(super) fn of(reply: &Reply, qtype: RecordType) -> Option<Self> {
        if reply.transfer.is_some() || matches!(qtype, RecordType::AXFR | RecordType::IXFR) {
            return None;
        }
        match classify(reply, qtype) {
            (Class::Success, false) => Some(Self::Data),
            (Class::Success, true) => Some(Self::Referral),
            (Class::Denial, _) => Some(Self::Denial),
            (Class::Error, _) if matches!(reply.rcode, ResponseCode::ServFail | ResponseCode::NotImp) => {
                Some(Self::Failure)
            }
            (Class::Error, _) => None,
        }
    }

    /// Whether it says that there is nothing.
    pub(super) fn is_denial(self) -> bool {
        matches!(self, Self::Denial | Self::Failure)
    }
}

/// For how many seconds a reply of this kind is true.
pub(super) fn lifetime(kind: Kind, reply: &Reply, bounds: TtlBounds, failures: u32) -> u32 {
    let (least, most) = match kind {
        Kind::Failure => return failures,
        Kind::Denial => bounds.negative,
        Kind::Data | Kind::Referral => bounds.positive,
    };
    let stated = if kind == Kind::Referral { LEAST } else { stated(kind, reply) };
    stated.max(least).min(most)
}

/// The least of what its records say. A denial is also bounded by its SOA (RFC 2308 5).
fn stated(kind: Kind, reply: &Reply) -> u32 {
    let records = reply.answers.iter().chain(&reply.authorities).chain(&reply.additionals);
    let lives =
        records.filter(|record| record.record_type() != RecordType::RRSIG).map(
            |record: &Record| match &record.data {
                RData::SOA(soa) if kind == Kind::Denial => record.ttl.min(soa.minimum),
                _ => record.ttl,
            },
        );
    lives.min().unwrap_or(LEAST).min(MOST)
}
