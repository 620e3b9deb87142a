//! Reading the directive (`coredns` `plugin/k8s_external/setup.go`).

use std::sync::{Arc, OnceLock};

use super::{External, Settings};
use crate::{
    block::BlockConfig,
    corefile::{Directive, Error},
    plugin::{Plugin, Prepared, World, lines},
    plugins::{
        Steps,
        kubernetes::read_ttl,
        reading::{self, Zones},
    },
    zone::is_reverse,
};

/// The TTL where none is written.
const TTL: u32 = 5;

/// Reads a block's directives. They are one plugin: the zones are the last one's.
///
/// # Errors
/// When an option is unknown or has a value that makes no sense.
pub fn setup(block: &BlockConfig, directives: &[&Directive]) -> Result<Steps, Error> {
    let mut settings = Settings {
        zones: Zones::default(),
        apex: "dns".to_owned(),
        ttl: TTL,
        headless: false,
        fallthrough: Zones::default(),
    };
    for directive in directives {
        settings.zones = reading::zones(block, &directive.args)?;
        if settings.zones.0.iter().all(is_reverse) {
            return Err(directive.error("non-reverse zone name must be used"));
        }
        for option in &directive.body {
            match option.name.text.as_str() {
                "ttl" => {
                    let [ttl, ..] = option.some()? else { return Err(option.wrong_count()) };
                    settings.ttl = read_ttl(ttl)?;
                }
                "apex" => {
                    let [apex, ..] = option.some()? else { return Err(option.wrong_count()) };
                    let is_label = !apex.text.contains('.') && (1..=63).contains(&apex.text.len());
                    if !is_label {
                        return Err(apex.error(format!("'{}' is not a DNS label", apex.text)));
                    }
                    settings.apex = apex.text.to_ascii_lowercase();
                }
                "headless" => settings.headless = true,
                "fallthrough" => settings.fallthrough = reading::fallthrough(option)?,
                _ => return Err(option.unknown()),
            }
        }
    }
    let shown = directives.iter().flat_map(|directive| lines(directive)).collect();
    let settings = Arc::new(settings);
    let start = move |_: &World| {
        let external =
            External { settings: Arc::clone(&settings), zone: OnceLock::new(), reverse: None.into() };
        Ok(Arc::new(external) as Arc<dyn Plugin>)
    };
    Ok(Prepared::new(shown, start).alone())
}
