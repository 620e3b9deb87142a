//! `nsid`: says which server answers, to those who ask for it (RFC 5001).

use futures::future::BoxFuture;

use super::reading::{no_body, once};
use crate::{
    block::BlockConfig,
    corefile::{Directive, Error},
    plugin::{Next, Plugin, Prepared, Query, Quick, Quickly, Reply, Setup, lines},
};

/// The option's code (RFC 5001 2.3).
const NSID: u16 = 3;

/// Reads the directive.
///
/// # Errors
/// When it stands twice in a block.
pub(super) fn setup(_: &BlockConfig, directives: &[&Directive]) -> Result<Vec<Box<dyn Setup>>, Error> {
    let directive = once(directives)?;
    no_body(directive)?;
    let words: Vec<&str> = directive.args.iter().map(|token| token.text.as_str()).collect();
    let data = if words.is_empty() { host_name() } else { words.join(" ") };
    if data.len() > 512 {
        return Err(directive.error("the identifier is longer than 512 bytes"));
    }
    Ok(Prepared::of(lines(directive), Nsid { data: data.into_bytes() }).alone())
}

/// This machine's name; `localhost` where it has none.
pub(super) fn host_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.unwrap_or_else(|| "localhost".to_owned())
}

struct Nsid {
    data: Vec<u8>,
}

impl Plugin for Nsid {
    fn name(&self) -> &'static str {
        "nsid"
    }

    fn quick(&self, question: &Quick<'_>, _: &mut Vec<u8>) -> Quickly {
        match question.asked.edns {
            Some(edns) if edns.has_options => Quickly::Slow,
            _ => Quickly::Pass,
        }
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> BoxFuture<'a, Reply> {
        if !query.options.iter().any(|(code, _)| *code == NSID) {
            return next.serve(query);
        }
        Box::pin(async move {
            let mut reply = next.serve(query).await;
            reply.options.retain(|(code, _)| *code != NSID);
            reply.options.push((NSID, self.data.clone()));
            reply
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hickory_proto::{op::ResponseCode, rr::RecordType};

    use super::*;
    use crate::testing;

    #[tokio::test]
    async fn those_who_ask_are_told() {
        let config = testing::config(".:53 {\n nsid Use The Force\n}").unwrap();
        let plugin = config.blocks[0].chain[0].start(&testing::world()).unwrap();
        for (options, told) in [
            (vec![(NSID, vec![])], vec![(NSID, b"Use The Force".to_vec())]),
            (vec![(10, vec![1])], vec![]),
            (vec![], vec![]),
        ] {
            let mut query = testing::query("example.org.", RecordType::A);
            query.options = options;
            let answer = |_: &Query| Reply::new("tail", ResponseCode::NXDomain);
            assert_eq!(testing::ask_one(Arc::clone(&plugin), &mut query, answer).await.options, told);
        }
    }
}
