//! `chaos`: what server this is, in class CHAOS (RFC 4892).

use futures::future::BoxFuture;
use hickory_proto::{
    op::ResponseCode,
    rr::{DNSClass, RData, Record, RecordType, rdata},
};

use super::{
    nsid::host_name,
    reading::{name_text, no_body, once},
};
use crate::{
    VERSION,
    block::BlockConfig,
    corefile::{Directive, Error},
    plugin::{Next, Plugin, Prepared, Query, Quick, Quickly, Reply, Setup, lines},
};

const AUTHORS: &str = "The Callsign authors";
const CHAOS: u16 = 3;
/// A string of a TXT record.
const LONGEST: usize = 255;

/// Reads the directive: `chaos [VERSION] [AUTHORS…]`.
///
/// # Errors
/// When it stands twice in a block.
pub(super) fn setup(_: &BlockConfig, directives: &[&Directive]) -> Result<Vec<Box<dyn Setup>>, Error> {
    let directive = once(directives)?;
    no_body(directive)?;
    let mut words = directive.args.iter().map(|token| cut(&token.text));
    let version = words.next().unwrap_or_else(|| format!("CoreDNS-{VERSION}"));
    let mut authors: Vec<String> = words.collect();
    authors.sort_unstable();
    authors.dedup();
    if authors.is_empty() {
        authors.push(AUTHORS.to_owned());
    }
    Ok(Prepared::of(lines(directive), Chaos { version, authors }).alone())
}

struct Chaos {
    version: String,
    authors: Vec<String>,
}

impl Plugin for Chaos {
    fn name(&self) -> &'static str {
        "chaos"
    }

    /// What is asked the quick way is of class IN.
    fn quick(&self, _: &Quick<'_>, _: &mut Vec<u8>) -> Quickly {
        Quickly::Pass
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> BoxFuture<'a, Reply> {
        if query.question.qclass != CHAOS || query.qtype() != RecordType::TXT {
            return next.serve(query);
        }
        let texts = match name_text(query.name()).as_str() {
            "version.bind." | "version.server." => vec![self.version.clone()],
            "hostname.bind." | "id.server." => vec![cut(&host_name())],
            "authors.bind." => {
                let mut authors = self.authors.clone();
                fastrand::shuffle(&mut authors);
                authors
            }
            _ => return next.serve(query),
        };
        let mut reply = Reply::new(self.name(), ResponseCode::NoError);
        reply.answers = (texts.into_iter())
            .map(|text| {
                let mut record =
                    Record::from_rdata(query.name().clone(), 0, RData::TXT(rdata::TXT::new(vec![text])));
                record.dns_class = DNSClass::CH;
                record
            })
            .collect();
        Box::pin(std::future::ready(reply))
    }
}

fn cut(text: &str) -> String {
    let end = (0..=LONGEST.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    async fn texts(corefile: &str, name: &str, class: u16) -> Option<Vec<String>> {
        let router = testing::router(corefile);
        let mut query = Query { router: router.clone(), ..testing::query(name, RecordType::TXT) };
        query.question.qclass = class;
        let reply = router.serve(&mut query).await;
        assert!(reply.answers.iter().all(|record| record.dns_class == DNSClass::CH));
        let mut texts: Vec<String> = reply.answers.iter().map(|record| record.data.to_string()).collect();
        texts.sort();
        (reply.plugin == "chaos").then_some(texts)
    }

    #[tokio::test]
    async fn the_server_tells_its_version_name_and_authors() {
        let corefile = ".:53 {\n chaos Version-1 miek alice miek\n}";
        assert_eq!(texts(corefile, "version.BIND.", 3).await.unwrap(), ["Version-1"]);
        assert_eq!(texts(corefile, "version.server.", 3).await.unwrap(), ["Version-1"]);
        assert_eq!(texts(corefile, "authors.bind.", 3).await.unwrap(), ["alice", "miek"]);
        assert_eq!(texts(corefile, "hostname.bind.", 3).await.unwrap(), [cut(&host_name())]);
        assert_eq!(texts(corefile, "version.bind.", 1).await, None);
        assert_eq!(texts(corefile, "other.bind.", 3).await, None);
        assert_eq!(
            texts(".:53 {\n chaos\n}", "version.bind.", 3).await.unwrap(),
            [format!("CoreDNS-{VERSION}")]
        );
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(cut(&"ä".repeat(200)).len(), 254);
    }
}
