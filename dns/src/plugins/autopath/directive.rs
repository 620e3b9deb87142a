//! Reading the directive (`coredns` `plugin/autopath/setup.go`).

use std::{
    io::Read,
    path::Path,
    sync::{Arc, OnceLock},
};

use hickory_proto::rr::Name;

use super::{Autopath, Source};
use crate::{
    block::BlockConfig,
    corefile::{Directive, Error},
    plugin::{Plugin, Prepared, World, lines},
    plugins::{
        Steps,
        reading::{no_body, zones},
    },
};

/// The most that is read of a resolv.conf.
const LARGEST: u64 = 64 << 10;
/// The most domains of a search path.
const LONGEST: usize = 32;

/// Reads a block's directives, of which the last counts.
///
/// # Errors
/// When there is no source of search paths, or its file cannot be read.
pub fn setup(block: &BlockConfig, directives: &[&Directive]) -> Result<Steps, Error> {
    let mut read = None;
    for directive in directives {
        no_body(directive)?;
        let Some((last, named)) = directive.args.split_last() else {
            return Err(directive.error("no resolv-conf specified"));
        };
        let source = match last.text.strip_prefix('@') {
            Some(plugin) => Source::Plugin(plugin.to_owned()),
            None => {
                let search = search_path(Path::new(&last.text));
                let failed = |error| last.error(format!("failed to parse {:?}: {error}", last.text));
                Source::List(search.map_err(failed)?.into())
            }
        };
        read = Some((zones(block, named)?, source));
    }
    let Some((zones, source)) = read else { return Ok(Steps::new()) };
    let shown = directives.iter().flat_map(|directive| lines(directive)).collect();
    let start = move |world: &World| {
        let (zones, source, meter) = (zones.clone(), source.clone(), world.meters.of());
        Ok(Arc::new(Autopath { zones, source, provider: OnceLock::new(), meter }) as Arc<dyn Plugin>)
    };
    Ok(Prepared::new(shown, start).alone())
}

/// The search path of a resolv.conf: of `search` and `domain` lines the last counts (resolv.conf(5)).
///
/// # Errors
/// When it cannot be read, or names what is no domain.
pub(crate) fn search_path(path: &Path) -> std::io::Result<Vec<Name>> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(LARGEST).read_to_string(&mut text)?;
    let mut search = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if matches!(words.next(), Some("search" | "domain")) {
            let names = words.take_while(|word| !word.starts_with(['#', ';'])).take(LONGEST).map(|word| {
                let mut name = Name::from_ascii(word)
                    .map_err(|error| std::io::Error::other(format!("search domain {word:?}: {error}")))?
                    .to_lowercase();
                name.set_fqdn(true);
                Ok(name)
            });
            search = names.collect::<std::io::Result<Vec<Name>>>()?;
        }
    }
    Ok(search)
}
