//! `minimal`: answers without the sections that nobody asked for.

use futures::future::BoxFuture;

use super::{
    class::{Class, classify},
    reading::{no_body, once},
};
use crate::{
    block::BlockConfig,
    corefile::{Directive, Error},
    plugin::{Next, Plugin, Prepared, Query, Quick, Quickly, Reply, Setup, lines},
};

/// Reads the directive.
///
/// # Errors
/// When it has arguments.
pub(super) fn setup(_: &BlockConfig, directives: &[&Directive]) -> Result<Vec<Box<dyn Setup>>, Error> {
    let directive = once(directives)?;
    directive.exactly::<0>()?;
    no_body(directive)?;
    Ok(Prepared::of(lines(directive), Minimal).alone())
}

struct Minimal;

impl Plugin for Minimal {
    fn name(&self) -> &'static str {
        "minimal"
    }

    fn quick(&self, _: &Quick<'_>, _: &mut Vec<u8>) -> Quickly {
        Quickly::Pass
    }

    fn touches(&self) -> bool {
        true
    }

    fn touch(&self, _: &Quick<'_>, out: &mut Vec<u8>) {
        // What cannot be walked through stays as it is.
        let _ = strip(out);
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> BoxFuture<'a, Reply> {
        Box::pin(async move {
            let qtype = query.qtype();
            let mut reply = next.serve(query).await;
            if classify(&reply, qtype) == (Class::Success, false) {
                reply.authorities.clear();
                reply.additionals.clear();
            }
            reply
        })
    }
}

/// The length of an OPT without options, which is the last record of what is answered at once.
const OPT: usize = 11;
const TYPE_OPT: u16 = 41;

/// Takes authority and additional section out of a positive answer, but for the OPT. Names may point back into what
/// stays, never into what goes.
fn strip(out: &mut Vec<u8>) -> Option<()> {
    let word = |at: usize| Some(u16::from_be_bytes([*out.get(at)?, *out.get(at + 1)?]));
    let (questions, answers, authorities, additionals) = (word(4)?, word(6)?, word(8)?, word(10)?);
    let opt_at = out.len().checked_sub(OPT)?;
    let has_opt = additionals > 0 && out.get(opt_at) == Some(&0) && word(opt_at + 1)? == TYPE_OPT;
    let is_positive = word(2)? & 0xf == 0 && (answers > 0 || authorities == 0);
    if !is_positive || authorities == 0 && additionals == u16::from(has_opt) {
        return None;
    }
    let mut at = 12;
    for _ in 0..questions {
        at = after_name(out, at)? + 4;
    }
    for _ in 0..answers {
        at = after_name(out, at)? + 10;
        at += usize::from(u16::from_be_bytes([*out.get(at - 2)?, *out.get(at - 1)?]));
    }
    let end = if has_opt { opt_at } else { out.len() };
    if at > end {
        return None;
    }
    out.drain(at..end);
    for (place, byte) in out.iter_mut().skip(8).zip([0, 0, 0, u8::from(has_opt)]) {
        *place = byte;
    }
    Some(())
}

/// Where a name ends.
fn after_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length if length & 0xc0 == 0xc0 => return Some(at + 2),
            length => at += usize::from(length) + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hickory_proto::{op::ResponseCode, rr::RecordType};

    use super::*;
    use crate::testing::{self, record};

    #[tokio::test]
    async fn positive_answers_lose_what_was_not_asked() {
        let ns = "example.org. 60 NS ns.example.org.";
        let soa = "example.org. 60 SOA ns. host. 1 2 3 4 5";
        for (answer, authority, left) in [
            (Some("example.org. 60 A 192.0.2.1"), ns, (1, 0, 0)),
            (None, ns, (0, 1, 1)),
            (None, soa, (0, 1, 1)),
        ] {
            let mut query = testing::query("example.org.", RecordType::A);
            let reply = testing::ask_one(Arc::new(Minimal), &mut query, move |_| Reply {
                answers: answer.map(record).into_iter().collect(),
                authorities: vec![record(authority)],
                additionals: vec![record("ns.example.org. 60 A 192.0.2.2")],
                ..Reply::new("tail", ResponseCode::NoError)
            })
            .await;
            assert_eq!((reply.answers.len(), reply.authorities.len(), reply.additionals.len()), left);
        }
    }

    #[tokio::test]
    async fn both_ways_say_the_same() {
        let router = testing::router(".:53 {\n minimal\n kubernetes cluster.local\n}");
        for name in [
            "vip.ns.svc.cluster.local.",
            "heads.ns.svc.cluster.local.",
            "nowhere.ns.svc.cluster.local.",
            "no.ns.svc.cluster.local.",
        ] {
            for qtype in [RecordType::A, RecordType::AAAA, RecordType::SRV, RecordType::TXT] {
                let query = testing::query(name, qtype);
                let quick = testing::quickly(&router, &query).unwrap();
                assert_eq!(quick, testing::slowly(&router, &query).await, "{name} {qtype}");
            }
        }
        let reply = testing::ask(&router, "heads.ns.svc.cluster.local.", RecordType::SRV).await;
        assert!(!reply.answers.is_empty() && reply.additionals.is_empty());
    }
}
