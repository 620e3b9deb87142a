//! `metadata`: asks the plugins of the block what they know about a query, before any of them answers it.

use futures::future::BoxFuture;

use super::reading::{Zones, no_body, once, zones};
use crate::{
    block::{Block, BlockConfig},
    corefile::{Directive, Error},
    plugin::{Label, Next, Plugin, Prepared, Query, Quick, Quickly, Reply, Setup, lines},
};

/// Reads the directive.
///
/// # Errors
/// When a zone is none, or it has braces.
pub(super) fn setup(block: &BlockConfig, directives: &[&Directive]) -> Result<Vec<Box<dyn Setup>>, Error> {
    let directive = once(directives)?;
    no_body(directive)?;
    let zones = zones(block, &directive.args)?;
    Ok(Prepared::of(lines(directive), Metadata { zones }).alone())
}

/// What the plugins of a block know about a query: label and value.
pub(crate) fn known(block: &Block, query: &Query) -> Vec<(Label, String)> {
    let view = block.view.as_ref().map(|view| (Label::Borrowed("view/name"), view.name().to_owned()));
    let mut known: Vec<_> = view.into_iter().collect();
    for plugin in &block.plugins {
        plugin.metadata(query, &mut |label, value| known.push((label, value)));
    }
    known
}

struct Metadata {
    zones: Zones,
}

impl Plugin for Metadata {
    fn name(&self) -> &'static str {
        "metadata"
    }

    /// Those who use it ask for the slow way themselves.
    fn quick(&self, _: &Quick<'_>, _: &mut Vec<u8>) -> Quickly {
        Quickly::Pass
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> BoxFuture<'a, Reply> {
        if self.zones.have(query.name()) {
            query.metadata = known(&query.block, query);
        }
        next.serve(query)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use hickory_proto::{op::ResponseCode, rr::RecordType};

    use super::*;
    use crate::testing;

    /// Knows the name, and remembers what the query carried.
    #[derive(Default)]
    struct Knows(Mutex<Vec<(Label, String)>>);

    impl Plugin for Knows {
        fn name(&self) -> &'static str {
            "knows"
        }

        fn metadata(&self, query: &Query, add: &mut dyn FnMut(Label, String)) {
            add("knows/name".into(), query.name().to_string());
        }

        fn serve<'a>(&'a self, query: &'a mut Query, _: Next<'a>) -> BoxFuture<'a, Reply> {
            *self.0.lock().unwrap() = query.metadata.clone();
            Box::pin(std::future::ready(Reply::new("knows", ResponseCode::NoError)))
        }
    }

    #[tokio::test]
    async fn what_plugins_know_is_collected_in_the_zones() {
        let config = testing::config(".:53 {\n metadata example.org\n}").unwrap();
        let mut block = Block::start(&config.blocks[0], &testing::world()).unwrap();
        let knows = Arc::new(Knows::default());
        block.plugins.push(knows.clone());
        let block = Arc::new(block);
        for (name, wanted) in [
            ("Www.Example.org.", vec![(Label::Borrowed("knows/name"), "Www.Example.org.".to_owned())]),
            ("example.net.", vec![]),
        ] {
            let mut query = testing::query(name, RecordType::A);
            query.block = Arc::clone(&block);
            block.serve(&mut query).await;
            assert_eq!(*knows.0.lock().unwrap(), wanted);
        }
    }
}
