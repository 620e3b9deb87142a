//! A server block as one typed value: what its settings are, and the plugins that make its chain.

use std::{fmt, net::IpAddr, num::NonZeroUsize, path::PathBuf, sync::Arc, time::Duration};

use hickory_proto::rr::Name;

use super::{key, view::View};
use crate::{
    corefile::{Corefile, Directive, Error, Position, ServerBlock, Warning},
    plugin::{Note, Setup},
    plugins::{self, How},
};

/// A whole configuration: what a Corefile or the flags say.
#[derive(Debug, Default)]
pub struct Config {
    /// The blocks, in the order of the file.
    pub blocks: Vec<BlockConfig>,
    /// What is odd but not wrong.
    pub warnings: Vec<Warning>,
}

/// One server block.
#[derive(Debug)]
pub struct BlockConfig {
    /// Where its first key stands.
    pub at: Position,
    /// What it serves, address ranges expanded.
    pub keys: Vec<BlockKey>,
    /// What becomes of each of its directives, in the order of the file.
    pub verdicts: Vec<Verdict>,
    /// `root`: what relative file names begin at.
    pub root: PathBuf,
    /// `bind`: the addresses to listen on; empty for all.
    pub bind: Vec<IpAddr>,
    /// `multisocket`: UDP sockets on each address.
    pub sockets: Option<usize>,
    /// `bufsize`: the largest datagram to send.
    pub payload: Option<u16>,
    /// `tls`: certificate, key and client authorities of DoT and DoH.
    pub tls: Option<crate::server::TlsFiles>,
    /// `timeouts`
    pub timeouts: Timeouts,
    /// `https`: connections of a DoH listener; 0 for as many as of any other.
    pub https_connections: Option<usize>,
    /// `debug`: panics are not caught.
    pub debug: bool,
    /// `health`
    pub health: Option<Health>,
    /// `ready`
    pub ready: Option<Ready>,
    /// `prometheus`: where metrics are read; the block is counted only with it.
    pub prometheus: Option<String>,
    /// `reload`
    pub reload: Option<Reload>,
    /// `view`: only the questions that it selects.
    pub view: Option<Arc<dyn View>>,
    /// The plugins, in the order they are asked.
    pub chain: Vec<Box<dyn Setup>>,
}

/// One key of a block.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BlockKey {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// The zone, in lower case.
    pub zone: Name,
    /// The port.
    pub port: u16,
}

/// A transport that a block is served over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// UDP and TCP.
    Dns,
    /// DNS over TLS (RFC 7858).
    Tls,
    /// DNS over HTTPS (RFC 8484).
    Https,
}

/// What becomes of a directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Its name.
    pub directive: &'static str,
    /// Where it stands.
    pub at: Position,
    /// Accepted without effect, and why; `None` for one that does what it says.
    pub without_effect: Option<String>,
}

/// `timeouts`: of connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// How long a request may take to arrive.
    pub read: Option<Duration>,
    /// How long an answer may take to be taken.
    pub write: Option<Duration>,
    /// How long a connection may be idle.
    pub idle: Option<Duration>,
    /// How many requests of a connection are answered before it is ended.
    pub queries: Option<NonZeroUsize>,
}

/// `health [ADDRESS] { lameduck DURATION }`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// `[HOST]:PORT`
    pub address: String,
    /// How long to answer on after the end was asked for.
    pub lameduck: Duration,
}

/// `ready [ADDRESS] { monitor until-ready|continuously }`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// `[HOST]:PORT`
    pub address: String,
    /// Whether a plugin that was ready once may be not ready again.
    pub continuously: bool,
}

/// `reload [INTERVAL] [JITTER]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reload {
    /// How often to look.
    pub interval: Duration,
    /// By how much that varies.
    pub jitter: Duration,
}

impl Config {
    /// What a Corefile means. `port` is that of keys that name none (`-dns.port`).
    ///
    /// # Errors
    /// At the first directive that is unknown, refused or wrong, with its file and line.
    pub fn read(corefile: &Corefile, port: u16) -> Result<Self, Error> {
        let blocks = corefile.blocks.iter().map(|block| BlockConfig::read(block, port));
        Ok(Self { blocks: blocks.collect::<Result<_, _>>()?, warnings: corefile.warnings.clone() })
    }
}

impl BlockConfig {
    fn read(block: &ServerBlock, port: u16) -> Result<Self, Error> {
        let first = block.keys.first().ok_or_else(|| Error::whole("a server block without a key"))?;
        let mut keys = Vec::new();
        for token in &block.keys {
            keys.extend(key::read(token, port)?);
        }
        let mut config = Self::new(first.at.clone(), keys);
        for directive in &block.directives {
            if !plugins::TABLE.iter().any(|entry| entry.name == directive.name.text) {
                return Err(directive.error(format!("Unknown directive '{}'", directive.name.text)));
            }
        }
        for entry in plugins::TABLE {
            let named = block.directives.iter().filter(|directive| directive.name.text == entry.name);
            let directives: Vec<&Directive> = named.collect();
            let Some(first) = directives.first() else { continue };
            let mut without_effect = None;
            let mut notes = Vec::new();
            match entry.how {
                How::Chain(setup) => {
                    let setups = setup(&config, &directives).map_err(|error| error.of(entry.name))?;
                    notes.extend(setups.iter().flat_map(|setup| setup.notes()));
                    config.chain.extend(setups);
                }
                How::Settings(set) => set(&mut config, &directives).map_err(|error| error.of(entry.name))?,
                How::Accepted(why) => without_effect = Some(why.to_owned()),
                How::Refused(instead) => return Err(first.error(instead).of(entry.name)),
            }
            for directive in directives {
                let at = directive.name.at.clone();
                config.verdicts.push(Verdict {
                    directive: entry.name,
                    at,
                    without_effect: without_effect.clone(),
                });
            }
            for Note { at, message } in notes {
                config.verdicts.push(Verdict { directive: entry.name, at, without_effect: Some(message) });
            }
        }
        config.verdicts.sort_by_key(|verdict| verdict.at.line);
        Ok(config)
    }

    /// A block without directives.
    pub fn new(at: Position, keys: Vec<BlockKey>) -> Self {
        Self {
            at,
            keys,
            verdicts: Vec::new(),
            root: PathBuf::new(),
            bind: Vec::new(),
            sockets: None,
            payload: None,
            tls: None,
            timeouts: Timeouts::default(),
            https_connections: None,
            debug: false,
            health: None,
            ready: None,
            prometheus: None,
            reload: None,
            view: None,
            chain: Vec::new(),
        }
    }

    /// Its zones, each once, in the order of its keys.
    pub fn zones(&self) -> Vec<Name> {
        let mut zones: Vec<Name> = Vec::new();
        for key in &self.keys {
            if !zones.contains(&key.zone) {
                zones.push(key.zone.clone());
            }
        }
        zones
    }
}

impl Scheme {
    /// As it is written before `://`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Https => "https",
        }
    }

    /// The port where none is written; `None` for the default one.
    pub fn port(self) -> Option<u16> {
        match self {
            Self::Dns => None,
            Self::Tls => Some(853),
            Self::Https => Some(443),
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
