//! `any`: a small answer to questions for everything (RFC 8482 4.2).

use futures::future::BoxFuture;
use hickory_proto::{
    op::ResponseCode,
    rr::{RData, Record, RecordType, rdata},
};

use super::reading::{no_body, once};
use crate::{
    block::BlockConfig,
    corefile::{Directive, Error},
    plugin::{Next, Plugin, Prepared, Query, Quick, Quickly, Reply, Setup, lines},
};

const TTL: u32 = 8482;

/// Reads the directive.
///
/// # Errors
/// When it has braces.
pub(super) fn setup(_: &BlockConfig, directives: &[&Directive]) -> Result<Vec<Box<dyn Setup>>, Error> {
    let directive = once(directives)?;
    no_body(directive)?;
    Ok(Prepared::of(lines(directive), Any).alone())
}

struct Any;

impl Plugin for Any {
    fn name(&self) -> &'static str {
        "any"
    }

    fn quick(&self, question: &Quick<'_>, _: &mut Vec<u8>) -> Quickly {
        if question.asked.qtype == RecordType::ANY { Quickly::Slow } else { Quickly::Pass }
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> BoxFuture<'a, Reply> {
        if query.qtype() != RecordType::ANY {
            return next.serve(query);
        }
        let mut reply = Reply::new(self.name(), ResponseCode::NoError);
        let hinfo = rdata::HINFO::new("ANY obsoleted".to_owned(), "See RFC 8482".to_owned());
        reply.answers.push(Record::from_rdata(query.name().clone(), TTL, RData::HINFO(hinfo)));
        Box::pin(std::future::ready(reply))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[tokio::test]
    async fn only_questions_for_everything_are_answered() {
        let router = testing::router(".:53 {\n any\n kubernetes cluster.local\n}");
        let vip = "vip.ns.svc.cluster.local.";
        let reply = testing::ask(&router, vip, RecordType::ANY).await;
        assert_eq!(reply.plugin, "any");
        assert_eq!(reply.answers.len(), 1);
        assert_eq!(reply.answers[0].record_type(), RecordType::HINFO);
        assert_eq!(testing::ask(&router, vip, RecordType::A).await.plugin, "kubernetes");
        assert!(testing::quickly(&router, &testing::query(vip, RecordType::ANY)).is_none());
        assert!(testing::quickly(&router, &testing::query(vip, RecordType::A)).is_some());
    }
}
