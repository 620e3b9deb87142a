//! `bufsize`, `debug`, `multisocket` and `timeouts`: how a block's listeners work.

use std::{num::NonZeroUsize, time::Duration};

use super::seconds_or_duration;
use crate::{
    block::BlockConfig,
    corefile::{Directive, Error, Token},
};

/// The datagrams that cross every link in one piece (DNS Flag Day 2020).
const PAYLOAD: u16 = 1232;
/// Sockets on one address.
const MOST_SOCKETS: usize = 1024;
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// `bufsize [SIZE]`: the largest datagram, 512 to 4096 bytes.
///
/// # Errors
/// When it is another size.
pub fn bufsize(block: &mut BlockConfig, directives: &[&Directive]) -> Result<(), Error> {
    for directive in directives {
        block.payload = Some(match directive.args.as_slice() {
            [] => PAYLOAD,
            [size] => match size.text.parse() {
                Ok(bytes @ 512..=4096) => bytes,
                _ => return Err(size.error(format!("bufsize '{}' is not within 512 - 4096", size.text))),
            },
            _ => return Err(directive.wrong_count()),
        });
    }
    Ok(())
}

/// `debug`: a panic ends the process.
///
/// # Errors
/// When it has arguments.
pub fn debug(block: &mut BlockConfig, directives: &[&Directive]) -> Result<(), Error> {
    for directive in directives {
        directive.exactly::<0>()?;
    }
    block.debug = true;
    Ok(())
}

/// `multisocket [NUMBER]`: sockets on each address; without a number as many as there are cores.
///
/// # Errors
/// When the number is not within 1 and 1024.
pub fn multisocket(block: &mut BlockConfig, directives: &[&Directive]) -> Result<(), Error> {
    for directive in directives {
        block.sockets = Some(match directive.args.as_slice() {
            [] => std::thread::available_parallelism().map_or(1, usize::from),
            [number] => {
                let count: i64 = number.text.parse().map_err(|error| {
                    number.error(format!("invalid num sockets: '{}': {error}", number.text))
                })?;
                match usize::try_from(count) {
                    Ok(count @ 1..=MOST_SOCKETS) => count,
                    Ok(count @ 1..) => {
                        return Err(
                            number.error(format!("num sockets exceeds maximum ({MOST_SOCKETS}): {count}"))
                        );
                    }
                    _ => {
                        return Err(number.error(format!("num sockets can not be zero or negative: {count}")));
                    }
                }
            }
            _ => return Err(directive.wrong_count()),
        });
    }
    Ok(())
}

/// `timeouts { read D; write D; idle D; max_queries N }`: of connections, each within a second and a day.
///
/// # Errors
/// When there is none, another one, or one out of bounds.
pub fn timeouts(block: &mut BlockConfig, directives: &[&Directive]) -> Result<(), Error> {
    for directive in directives {
        directive.exactly::<0>()?;
        if directive.body.is_empty() {
            return Err(directive.error("timeouts block with no timeouts or limits specified"));
        }
        for option in &directive.body {
            let [value] = option.exactly::<1>()?;
            let timeouts = &mut block.timeouts;
            match option.name.text.as_str() {
                "read" => timeouts.read = Some(bounded(value)?),
                "write" => timeouts.write = Some(bounded(value)?),
                "idle" => timeouts.idle = Some(bounded(value)?),
                // None is no limit.
                "max_queries" => {
                    timeouts.queries = NonZeroUsize::new(value.parse("max_queries, a number of queries")?);
                }
                other => return Err(option.error(format!("unknown option: '{other}'"))),
            }
        }
    }
    Ok(())
}

fn bounded(value: &Token) -> Result<Duration, Error> {
    let duration = seconds_or_duration(value)?;
    if (SHORTEST..=LONGEST).contains(&duration) {
        return Ok(duration);
    }
    Err(value.error(format!("timeout provided '{}' needs to be between 1 second and 24 hours", value.text)))
}
