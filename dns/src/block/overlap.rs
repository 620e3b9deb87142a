//! Blocks that would take the same questions (`coredns` `core/dnsserver/address.go`).
//!
//! A zone can be served once on a port of every address, or once on each of several addresses, but not both: which block were
//! to answer would be left to chance. A block with a `view` may overlap others with one; it stands before a block without.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

use super::config::{BlockConfig, BlockKey};
use crate::corefile::{Error, Position};

/// Where blocks without a view are served.
#[derive(Default)]
struct Served<'a> {
    /// On this address, or on every one.
    exactly: HashMap<(&'a BlockKey, Option<IpAddr>), &'a Position>,
    /// On any: the last of them.
    somewhere: HashMap<&'a BlockKey, (Option<IpAddr>, &'a Position)>,
}

/// Refuses blocks that overlap.
///
/// # Errors
/// At the second of two.
pub(super) fn check(blocks: &[BlockConfig]) -> Result<(), Error> {
    let mut served = Served::default();
    for block in blocks {
        let addresses: Vec<Option<IpAddr>> = match block.bind.as_slice() {
            [] => vec![None],
            bound => bound.iter().copied().map(Some).collect(),
        };
        for key in &block.keys {
            for address in &addresses {
                served.check(key, *address, block)?;
                if block.view.is_none() {
                    served.exactly.insert((key, *address), &block.at);
                    served.somewhere.insert(key, (*address, &block.at));
                }
            }
        }
    }
    Ok(())
}

impl Served<'_> {
    fn check(&self, key: &BlockKey, address: Option<IpAddr>, block: &BlockConfig) -> Result<(), Error> {
        if let Some(at) = self.exactly.get(&(key, address)) {
            let message = format!("cannot serve {} - it is already defined ({at})", place(key, address));
            return Err(Error::at(&block.at, message));
        }
        let unbound = self.exactly.get(&(key, None)).map(|at| (None, *at));
        let other = match address {
            None => self.somewhere.get(key).copied(),
            Some(_) => unbound,
        };
        let Some((other, at)) = other else { return Ok(()) };
        let message = format!(
            "cannot serve {} - zone overlap listener capacity with {} ({at})",
            place(key, address),
            place(key, other)
        );
        Err(Error::at(&block.at, message))
    }
}

/// A key and the address it is served on, as CoreDNS names them: `dns://.:53 on 10.0.0.1`.
fn place(key: &BlockKey, address: Option<IpAddr>) -> String {
    match address.map(|ip| SocketAddr::new(ip, key.port)) {
        Some(address) => format!("{key} on {}", address.ip()),
        None => key.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        block::{Config, View},
        plugin::Query,
        testing::config,
    };

    fn wrong(text: &str) -> String {
        config(text).expect_err(text).to_string()
    }

    #[test]
    fn a_zone_is_served_once() {
        let error = wrong("a.test {\n}\n.:53 {\n}\nA.TEST:53 {\n}");
        assert_eq!(
            error,
            "Corefile:5 - Error during parsing: cannot serve dns://a.test.:53 - it is already defined (Corefile:1)"
        );
        assert!(wrong("a.test a.test {\n}").ends_with("it is already defined (Corefile:1)"));
        assert!(wrong("10.0.0.0/23 1.0.10.in-addr.arpa {\n}").contains("dns://1.0.10.in-addr.arpa.:53"));
        for good in
            ["a.test {\n}\na.test:54 {\n}", "a.test {\n}\nb.a.test {\n}", "a.test {\n}\ntls://a.test:53 {\n}"]
        {
            assert!(config(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn addresses_and_all_addresses_overlap() {
        let bound = ". {\n bind 127.0.0.1\n}\n";
        let other = ". {\n bind 127.0.0.2 127.0.0.3\n}\n";
        assert!(config(&format!("{bound}{other}")).is_ok());
        assert_eq!(
            wrong(&format!("{bound}. {{\n}}")),
            "Corefile:4 - Error during parsing: cannot serve dns://.:53 - zone overlap listener capacity with \
             dns://.:53 on 127.0.0.1 (Corefile:1)"
        );
        assert_eq!(
            wrong(&format!(". {{\n}}\n{other}")),
            "Corefile:3 - Error during parsing: cannot serve dns://.:53 on 127.0.0.2 - zone overlap listener \
             capacity with dns://.:53 (Corefile:1)"
        );
        assert!(
            wrong(&format!("{other}{other}")).contains("dns://.:53 on 127.0.0.2 - it is already defined")
        );
    }

    #[derive(Debug)]
    struct Nobody;

    impl View for Nobody {
        fn name(&self) -> &str {
            "nobody"
        }

        fn describe(&self) -> Vec<String> {
            Vec::new()
        }

        fn selects(&self, _: &Query, _: &crate::block::Block) -> bool {
            false
        }
    }

    #[test]
    fn views_stand_before_the_block_without() {
        let blocks = |views: [bool; 3]| {
            let Config { mut blocks, .. } = config(". {\n}\n.:54 {\n}\n.:55 {\n}").unwrap();
            for (block, view) in blocks.iter_mut().zip(views) {
                block.keys[0].port = 53;
                block.view = view.then(|| Arc::new(Nobody) as Arc<dyn View>);
            }
            check(&blocks)
        };
        assert!(blocks([true, true, false]).is_ok());
        assert!(blocks([true, true, true]).is_ok());
        assert!(blocks([true, false, false]).is_err());
        assert!(blocks([true, false, true]).is_err());
    }
}
