//! `reload [INTERVAL] [JITTER]`: whether and how often a changed file is looked for (`coredns` `plugin/reload/setup.go`).

use std::time::Duration;

use crate::{
    block::{BlockConfig, Reload},
    corefile::{Directive, Error},
    plugins::reading::once,
};

const INTERVAL: Duration = Duration::from_secs(30);
const JITTER: Duration = Duration::from_secs(15);
const LEAST_INTERVAL: Duration = Duration::from_secs(2);
const LEAST_JITTER: Duration = Duration::from_secs(1);

/// Reads the directive. `reload off` looks for nothing, as leaving it out does.
///
/// # Errors
/// When a duration is none or too short.
pub fn reload(block: &mut BlockConfig, directives: &[&Directive]) -> Result<(), Error> {
    let directive = once(directives)?;
    let (interval, jitter) = match directive.args.as_slice() {
        [] => (INTERVAL, JITTER),
        [off] if off.text == "off" => {
            block.reload = None;
            return Ok(());
        }
        [interval] => (interval.duration()?, JITTER),
        [interval, jitter] => (interval.duration()?, jitter.duration()?),
        _ => return Err(directive.wrong_count()),
    };
    if interval < LEAST_INTERVAL {
        return Err(directive.error("interval value must be greater or equal to 2s"));
    }
    if jitter < LEAST_JITTER {
        return Err(directive.error("jitter value must be greater or equal to 1s"));
    }
    block.reload = Some(Reload { interval, jitter: jitter.min(interval / 2) });
    Ok(())
}
