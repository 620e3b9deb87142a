//! Reading the directive (`coredns` `plugin/transfer/setup.go`).

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use hickory_proto::rr::Name;
use ipnet::IpNet;

use super::{Transfer, notify};
use crate::{
    block::BlockConfig,
    corefile::{Directive, Error, Token},
    plugin::{Prepared, lines},
    plugins::{
        Steps,
        reading::{self, Zones},
    },
};

/// One directive.
#[derive(Clone, Debug)]
pub(super) struct Stanza {
    pub(super) zones: Zones,
    pub(super) to: Vec<To>,
}

/// Who may have a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// Everyone.
    Anyone,
    /// This address; at this port it is told of changes.
    Host(SocketAddr),
    /// Every address of a network. None of them is told of anything.
    Network(IpNet),
}

impl Stanza {
    pub(super) fn allows(&self, client: IpAddr) -> bool {
        self.to.iter().any(|to| match to {
            To::Anyone => true,
            To::Host(host) => host.ip() == client,
            To::Network(network) => network.contains(&client),
        })
    }
}

/// The directive that has the longest zone of a name; of several the first.
pub(super) fn longest<'a>(stanzas: &'a [Stanza], name: &Name) -> Option<&'a Stanza> {
    let mut best: Option<(u8, &Stanza)> = None;
    for stanza in stanzas {
        let Some(zone) = stanza.zones.longest(name) else { continue };
        if best.is_none_or(|(labels, _)| zone.num_labels() > labels) {
            best = Some((zone.num_labels(), stanza));
        }
    }
    best.map(|(_, stanza)| stanza)
}

/// Reads a block's directives, which are one plugin.
///
/// # Errors
/// When an option is unknown, an address is none, or `to` is missing.
pub fn setup(block: &BlockConfig, directives: &[&Directive]) -> Result<Steps, Error> {
    let stanzas = directives.iter().map(|directive| read(block, directive));
    let stanzas: Arc<[Stanza]> = stanzas.collect::<Result<Vec<_>, _>>()?.into();
    let shown = directives.iter().flat_map(|directive| lines(directive)).collect();
    let start = move |world: &crate::plugin::World| {
        notify::follow(world, Arc::clone(&stanzas));
        Ok(Arc::new(Transfer::new(Arc::clone(&stanzas))) as Arc<dyn crate::plugin::Plugin>)
    };
    Ok(Prepared::new(shown, start).alone())
}

fn read(block: &BlockConfig, directive: &Directive) -> Result<Stanza, Error> {
    let mut stanza = Stanza { zones: reading::zones(block, &directive.args)?, to: Vec::new() };
    for option in &directive.body {
        if option.name.text != "to" {
            return Err(option.error(format!("unknown property {:?}", option.name.text)));
        }
        for token in option.some()? {
            stanza.to.push(read_to(token)?);
        }
    }
    if stanza.to.is_empty() {
        return Err(directive.error("'to' is required"));
    }
    Ok(stanza)
}

fn read_to(token: &Token) -> Result<To, Error> {
    const PORT: u16 = 53;
    let text = token.text.as_str();
    if text == "*" {
        return Ok(To::Anyone);
    }
    let plain = text.strip_prefix("dns://").unwrap_or(text);
    let bare = plain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(plain);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(To::Host(SocketAddr::new(ip.to_canonical(), PORT)));
    }
    if let Ok(host) = plain.parse::<SocketAddr>() {
        return Ok(To::Host(SocketAddr::new(host.ip().to_canonical(), host.port())));
    }
    if let Ok(network) = plain.parse::<IpNet>() {
        return Ok(To::Network(network));
    }
    Err(token.error(format!("must specify an IP address with an optional port, a network or *: {text:?}")))
}
