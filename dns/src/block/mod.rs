//! Server blocks: what a Corefile's blocks mean, and what serves them.
//!
//! * [`Config`] is a configuration as one typed value, made from a Corefile.
//! * [`Block`] is a started block: its plugins, and what can be known of them before the first question.
//! * [`Router`] finds the block of a question among those of one listener.

mod config;
mod describe;
mod key;
#[cfg(test)]
mod options;
mod overlap;
#[cfg(test)]
mod random;
mod router;
mod view;

use std::sync::Arc;

pub use config::{BlockConfig, BlockKey, Config, Health, Ready, Reload, Scheme, Timeouts, Verdict};
pub(crate) use key::read as read_key;
pub use key::zones as key_zones;
pub use router::{Route, Router};
pub use view::View;

use crate::{
    answer::Answered,
    folded::{Folded, Suffix},
    plugin::{Next, Plugin, Query, Quick, Quickly, Reply, StartError, TtlBounds, World},
};

/// A started block.
pub struct Block {
    /// Its plugins, in the order they are asked.
    pub plugins: Vec<Arc<dyn Plugin>>,
    /// Its plugins in the order they are asked the quick way.
    pub(crate) quick: Vec<Arc<dyn Plugin>>,
    /// Bounds on the TTLs of what it answers, and for names in which zones; the innermost first.
    pub(crate) bounds: Vec<(TtlBounds, Option<Vec<Suffix>>)>,
    /// The largest datagram it sends.
    pub(crate) payload: u16,
    /// Whether order of addresses changes from answer to answer (`loadbalance`).
    pub(crate) rotates: bool,
    /// Whether a plugin must see answers given the quick way.
    pub(crate) touches: bool,
    /// Whether panics end the process.
    pub(crate) debug: bool,
    /// Whether it is counted.
    pub(crate) counted: bool,
    /// Which questions it takes.
    pub(crate) view: Option<Arc<dyn View>>,
}

impl Block {
    /// Starts the plugins of a block.
    ///
    /// # Errors
    /// When one of them cannot start.
    pub fn start(config: &BlockConfig, world: &World) -> Result<Self, StartError> {
        let plugins: Vec<Arc<dyn Plugin>> =
            config.chain.iter().map(|setup| setup.start(world)).collect::<Result<_, _>>()?;
        plugins.iter().try_for_each(|plugin| plugin.started(&plugins))?;
        Ok(Self {
            quick: quick_order(&plugins),
            bounds: ttl_bounds(&plugins),
            payload: config.payload.unwrap_or(crate::answer::UDP_PAYLOAD),
            rotates: plugins.iter().any(|plugin| plugin.name() == "loadbalance"),
            touches: plugins.iter().any(|plugin| plugin.touches()),
            debug: config.debug,
            counted: config.prometheus.is_some(),
            view: config.view.clone(),
            plugins,
        })
    }

    /// A block of these plugins.
    #[cfg(test)]
    pub(crate) fn of(plugins: Vec<Arc<dyn Plugin>>) -> Self {
        Self {
            quick: quick_order(&plugins),
            bounds: ttl_bounds(&plugins),
            rotates: plugins.iter().any(|plugin| plugin.name() == "loadbalance"),
            plugins,
            ..Self::nothing()
        }
    }

    /// A block without plugins.
    pub(crate) fn nothing() -> Self {
        Self {
            plugins: Vec::new(),
            quick: Vec::new(),
            bounds: Vec::new(),
            payload: crate::answer::UDP_PAYLOAD,
            rotates: false,
            touches: false,
            debug: false,
            counted: false,
            view: None,
        }
    }

    /// The first plugin of this name.
    pub fn plugin(&self, name: &str) -> Option<&Arc<dyn Plugin>> {
        self.plugins.iter().find(|plugin| plugin.name() == name)
    }

    /// Bounds on the TTLs of what it answers about a name.
    pub(crate) fn bounds(&self, name: &Folded) -> TtlBounds {
        let mut bounds = TtlBounds::default();
        for (outer, zones) in &self.bounds {
            if zones.as_ref().is_none_or(|zones| zones.iter().any(|zone| zone.holds(name))) {
                bounds = bounds.within(*outer);
            }
        }
        bounds
    }

    /// Asks the plugins the quick way; those that passed see the answer if they want to.
    pub fn quick(&self, question: &Quick<'_>, out: &mut Vec<u8>) -> Option<Answered> {
        for (at, plugin) in self.quick.iter().enumerate() {
            match plugin.quick(question, out) {
                Quickly::Pass => {}
                Quickly::Answered(answered) => {
                    if self.touches {
                        let passed = self.quick.iter().take(at).rev();
                        passed
                            .filter(|plugin| plugin.touches())
                            .for_each(|plugin| plugin.touch(question, out));
                    }
                    return Some(answered);
                }
                Quickly::Slow => return None,
            }
        }
        None
    }

    /// Runs the chain.
    pub async fn serve(&self, query: &mut Query) -> Reply {
        Next::new(&self.plugins).serve(query).await
    }
}

/// The bounds that plugins set, the innermost first.
fn ttl_bounds(plugins: &[Arc<dyn Plugin>]) -> Vec<(TtlBounds, Option<Vec<Suffix>>)> {
    let folded = |zones: Option<Vec<_>>| zones.map(|zones| zones.iter().map(Suffix::of).collect());
    let bounds = plugins.iter().rev().filter_map(|plugin| plugin.ttl_bounds());
    bounds.map(|(bounds, zones)| (bounds, folded(zones))).collect()
}

/// The cluster's names are never cached, so that the cache need not be asked for them: it comes after the plugins that
/// answer from a cluster.
fn quick_order(plugins: &[Arc<dyn Plugin>]) -> Vec<Arc<dyn Plugin>> {
    let (caches, mut others): (Vec<_>, Vec<_>) =
        plugins.iter().cloned().partition(|plugin| plugin.name() == "cache");
    let after = others.iter().rposition(|plugin| plugin.cluster().is_some()).map_or(0, |at| at + 1);
    let after = match after {
        // Without a cluster the order is the chain's.
        0 => return plugins.to_vec(),
        after => after,
    };
    let tail = others.split_off(after);
    others.into_iter().chain(caches).chain(tail).collect()
}
