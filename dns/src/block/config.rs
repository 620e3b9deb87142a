//! A server block as one typed value: what its settings are, and the plugins that make its chain.

use std::{fmt, net::IpAddr, num::NonZeroUsize, path::PathBuf, sync::Arc, time::Duration};

use hickory_proto::rr::Name;
use indexmap::IndexSet;

use super::{key, overlap, view::View};
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

/// How many zones a configuration may serve.
const KEYS: usize = 100_000;

impl Config {
    /// What a Corefile means. `port` is that of keys that name none (`-dns.port`).
    ///
    /// # Errors
    /// At the first directive that is unknown, refused or wrong, and at the second of two blocks that would take the same
    /// questions, with file and line.
    pub fn read(corefile: &Corefile, port: u16) -> Result<Self, Error> {
        let mut config = Self { blocks: Vec::new(), warnings: corefile.warnings.clone() };
        let mut keys = 0_usize;
        for block in &corefile.blocks {
            let read = BlockConfig::read(block, port, &mut config.warnings)?;
            keys += read.keys.len();
            if keys > KEYS {
                return Err(Error::at(&read.at, format!("a configuration of more than {KEYS} zones")));
            }
            config.blocks.push(read);
        }
        overlap::check(&config.blocks)?;
        Ok(config)
    }
}

impl BlockConfig {
    fn read(block: &ServerBlock, port: u16, warnings: &mut Vec<Warning>) -> Result<Self, Error> {
        let first = block.keys.first().ok_or_else(|| Error::whole("a server block without a key"))?;
        let mut keys = Vec::new();
        for token in &block.keys {
            let read = key::read(token, port)?;
            if let Some(odd) = read.iter().find(|key| !key::is_preferred(&key.zone)) {
                let zone = key::readable(&odd.zone);
                let message = format!("Domain \"{zone}\" does not follow RFC1035 preferred syntax");
                warnings.push(Warning { at: token.at.clone(), message });
            }
            keys.extend(read);
            if keys.len() > KEYS {
                return Err(token.error(format!("a server block of more than {KEYS} zones")));
            }
        }
        let mut config = Self::new(first.at.clone(), keys);
        for directive in &block.directives {
            if !plugins::TABLE.iter().any(|entry| entry.name == directive.name.text) {
                return Err(directive.error(unknown(&directive.name.text)));
            }
        }
        // What is said of each directive, by its place in the block.
        let mut verdicts: Vec<(usize, Verdict)> = Vec::new();
        for entry in plugins::TABLE {
            let all = block.directives.iter().enumerate();
            let (places, directives): (Vec<usize>, Vec<&Directive>) =
                all.filter(|(_, directive)| directive.name.text == entry.name).unzip();
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
            for (place, directive) in places.iter().zip(&directives) {
                let at = directive.name.at.clone();
                let without_effect = without_effect.clone();
                verdicts.push((*place, Verdict { directive: entry.name, at, without_effect }));
            }
            let noted = notes.into_iter().map(|Note { at, message }| Verdict {
                directive: entry.name,
                at,
                without_effect: Some(message),
            });
            for verdict in std::mem::take(&mut config.verdicts).into_iter().chain(noted) {
                // An option belongs to the last directive that does not stand behind it.
                let owner = directives.iter().rposition(|directive| {
                    directive.name.at.file == verdict.at.file && directive.name.at.line <= verdict.at.line
                });
                let place = owner.and_then(|at| places.get(at)).or_else(|| places.first());
                verdicts.push((place.copied().unwrap_or_default(), verdict));
            }
        }
        verdicts.sort_by_key(|(place, _)| *place);
        config.verdicts = verdicts.into_iter().map(|(_, verdict)| verdict).collect();
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
        let zones: IndexSet<&Name> = self.keys.iter().map(|key| &key.zone).collect();
        zones.into_iter().cloned().collect()
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

/// What is said of a directive that does not exist.
fn unknown(name: &str) -> String {
    let mut message = format!("Unknown directive '{name}'");
    // Ones that CoreDNS has had, or that people take for one.
    let known = [("proxy", "forward"), ("metrics", "prometheus"), ("k8s", "kubernetes")];
    let meant = known.into_iter().find(|(old, _)| *old == name).map(|(_, new)| new);
    // Names that are much longer are near to none, and are not compared.
    let near = || {
        let far = plugins::TABLE.iter().filter(|_| name.len() <= 24).filter_map(|entry| {
            let far = strsim::damerau_levenshtein(name, entry.name);
            (far <= 2 && far < entry.name.len().min(name.len())).then_some((far, entry.name))
        });
        far.min().map(|(_, name)| name)
    };
    if let Some(meant) = meant.or_else(near) {
        message.push_str(&format!(", did you mean '{meant}'?"));
    }
    message
}

#[cfg(test)]
mod tests {
    use crate::testing::config;

    #[test]
    fn unknown_directives_are_named_with_what_is_near() {
        let wrong = |name: &str| config(&format!(". {{\n whoami\n {name} x\n}}")).unwrap_err().to_string();
        assert_eq!(wrong("foobarbaz"), "Corefile:3 - Error during parsing: Unknown directive 'foobarbaz'");
        for (name, near) in [
            ("forwad", "forward"),
            ("Errors", "errors"),
            ("proxy", "forward"),
            ("promethues", "prometheus"),
            ("metrics", "prometheus"),
        ] {
            let want = format!("Unknown directive '{name}', did you mean '{near}'?");
            assert!(wrong(name).ends_with(&want), "{}", wrong(name));
        }
        assert!(!wrong("x").contains("mean") && !wrong("zz").contains("mean"));
        assert!(!wrong(&"forward".repeat(100)).contains("mean"));
    }

    #[test]
    fn odd_names_are_warned_of() {
        let config = config("a.test _x.test:54 10.0.0.0/8 {\n}\nmünchen.test {\n}").unwrap();
        let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            warnings,
            [
                "Corefile:1 - Domain \"_x.test.\" does not follow RFC1035 preferred syntax",
                "Corefile:3 - Domain \"münchen.test.\" does not follow RFC1035 preferred syntax",
            ]
        );
    }

    #[test]
    fn verdicts_stand_in_the_order_of_the_file() {
        let config = config(
            ". {\n whoami\n trace\n debug\n kubernetes a.test {\n  apiserver_qps 5\n }\n \
                             prometheus {\n  runtime_metrics\n }\n pprof\n}",
        )
        .unwrap();
        let verdicts: Vec<_> = (config.blocks[0].verdicts.iter())
            .map(|verdict| (verdict.directive, verdict.at.line, verdict.without_effect.is_some()))
            .collect();
        assert_eq!(
            verdicts,
            [
                ("whoami", 2, false),
                ("trace", 3, true),
                ("debug", 4, false),
                ("kubernetes", 5, false),
                ("kubernetes", 6, true),
                ("prometheus", 8, false),
                ("prometheus", 9, true),
                ("pprof", 11, true),
            ]
        );
    }

    #[test]
    fn zones_are_counted() {
        let ranges =
            (0..1000).map(|at| format!("10.{}.{}.0/25", at / 200, at % 200)).collect::<Vec<_>>().join(" ");
        let wrong = config(&format!("{ranges} {{\n}}")).unwrap_err();
        assert!(wrong.message.contains("more than 100000 zones"), "{wrong}");
    }
}
