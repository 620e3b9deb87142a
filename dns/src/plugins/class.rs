//! What kind of answer an answer is (`coredns` `plugin/pkg/response`): `log` and `minimal` go by it.

use hickory_proto::{
    op::ResponseCode,
    rr::{Record, RecordType},
};

use crate::plugin::Reply;

/// A kind of answer, as `class` of `log` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// There is such data, or a referral.
    Success,
    /// There is no such name or no such data, and a SOA says so.
    Denial,
    /// Everything else, transfers too.
    Error,
}

/// The class of an answer to a question for this type, and whether it is a referral.
pub(crate) fn classify(reply: &Reply, qtype: RecordType) -> (Class, bool) {
    let has = |kind| reply.authorities.iter().any(|record: &Record| record.record_type() == kind);
    of(reply.rcode, qtype, !reply.answers.is_empty(), has(RecordType::SOA), has(RecordType::NS))
}

/// The same, of an answer on the wire. Only its header and its authority are looked at; one that cannot be read is an error.
pub(crate) fn classify_message(message: &hickory_proto::op::Message, qtype: RecordType) -> Class {
    let has = |kind| message.authorities.iter().any(|record| record.record_type() == kind);
    let rcode = message.metadata.response_code;
    of(rcode, qtype, !message.answers.is_empty(), has(RecordType::SOA), has(RecordType::NS)).0
}

fn of(rcode: ResponseCode, qtype: RecordType, answered: bool, soa: bool, ns: bool) -> (Class, bool) {
    if matches!(qtype, RecordType::AXFR | RecordType::IXFR) {
        return (Class::Error, false);
    }
    match rcode {
        ResponseCode::NoError if answered => (Class::Success, false),
        ResponseCode::NoError if soa => (Class::Denial, false),
        ResponseCode::NoError => (Class::Success, ns),
        ResponseCode::NXDomain if soa => (Class::Denial, false),
        _ => (Class::Error, false),
    }
}
