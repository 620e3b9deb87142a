//! `minimal`: answers without the sections that nobody asked for.

use futures::future::BoxFuture;
use hickory_proto::rr::RecordType;

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

    fn quick(&self, question: &Quick<'_>, _: &mut Vec<u8>) -> Quickly {
        // What is answered at once to these has an answer and nothing besides, or is a negative answer, which stays whole.
        match question.request.question.qtype {
            RecordType::A | RecordType::AAAA | RecordType::PTR => Quickly::Pass,
            _ => Quickly::Slow,
        }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hickory_proto::op::ResponseCode;

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
        for name in ["vip.ns.svc.cluster.local.", "heads.ns.svc.cluster.local.", "no.ns.svc.cluster.local."] {
            for qtype in [RecordType::A, RecordType::AAAA, RecordType::SRV, RecordType::TXT] {
                let query = testing::query(name, qtype);
                if let Some(quick) = testing::quickly(&router, &query) {
                    assert_eq!(quick, testing::slowly(&router, &query).await, "{name} {qtype}");
                }
            }
        }
        let reply = testing::ask(&router, "heads.ns.svc.cluster.local.", RecordType::SRV).await;
        assert!(!reply.answers.is_empty() && reply.additionals.is_empty());
    }
}
