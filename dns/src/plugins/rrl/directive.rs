//! `rrl [ZONE…] { … }`: reading it.

use std::{str::FromStr, time::Duration};

use super::{
    Limits,
    accounts::{SECOND, SLOWEST, ticks},
};
use crate::{
    block::BlockConfig,
    corefile::{Directive, Error, Token},
    plugins::reading::zones,
};

/// The window, where none is given.
const WINDOW: Duration = Duration::from_secs(15);
/// The longest: longer than anybody waits.
const LONGEST: f64 = 86_400.0;
/// The networks that clients are told apart by, bits of IPv4 and of IPv6.
const PREFIXES: (u8, u8) = (24, 56);
/// Accounts.
const TABLE: usize = 100_000;
/// The most of them: 64 MiB.
const MOST: usize = 4 << 20;

/// Reads the directive (`coredns/rrl` `plugins/rrl/setup.go`).
///
/// # Errors
/// When an option is unknown or its value is none.
pub(super) fn read(block: &BlockConfig, directive: &Directive) -> Result<Limits, Error> {
    let mut limits = Limits {
        zones: zones(block, &directive.args)?.0.iter().map(|zone| super::wire(zone.iter())).collect(),
        window: ticks(WINDOW),
        prefixes: PREFIXES,
        intervals: [None; 5],
        requests: None,
        slip: 0,
        table: TABLE,
        report_only: false,
    };
    let mut responses = None;
    // By the order of kinds: those that are not given are the first.
    let mut own: [Option<Option<i64>>; 5] = [None; 5];
    for option in &directive.body {
        let name = option.name.text.as_str();
        let value = || option.exactly::<1>().map(|[value]| value);
        match name {
            "report-only" => {
                option.exactly::<0>()?;
                limits.report_only = true;
            }
            "window" => {
                let value = value()?;
                let seconds: f64 = number(value)?;
                if seconds <= 0.0 || seconds.is_nan() {
                    return Err(value.error("window must be greater than zero"));
                }
                limits.window = ticks(Duration::from_secs_f64(seconds.min(LONGEST)));
            }
            "ipv4-prefix-length" => limits.prefixes.0 = within(value()?, name, 1, 32)?,
            "ipv6-prefix-length" => limits.prefixes.1 = within(value()?, name, 1, 128)?,
            "responses-per-second" => responses = interval(value()?, name)?,
            "nodata-per-second" => own[1] = Some(interval(value()?, name)?),
            "nxdomains-per-second" => own[2] = Some(interval(value()?, name)?),
            "referrals-per-second" => own[3] = Some(interval(value()?, name)?),
            "errors-per-second" => own[4] = Some(interval(value()?, name)?),
            "requests-per-second" => limits.requests = interval(value()?, name)?,
            "slip-ratio" => limits.slip = within(value()?, name, 0, u8::MAX)?,
            "max-table-size" => {
                let value = value()?;
                let size: i64 = number(value)?;
                limits.table = match usize::try_from(size) {
                    Ok(size) if size <= MOST => size,
                    Ok(_) => return Err(value.error(format!("{name} must be at most {MOST}"))),
                    Err(_) => return Err(value.error(format!("{name} cannot be negative"))),
                };
            }
            other => return Err(option.error(format!("unknown property '{other}'"))),
        }
    }
    limits.intervals = own.map(|own| own.unwrap_or(responses));
    Ok(limits)
}

fn number<T: FromStr>(value: &Token) -> Result<T, Error>
where
    T::Err: std::fmt::Display,
{
    value.text.parse().map_err(|error| value.error(format!("{} invalid value. {error}", value.text)))
}

fn within(value: &Token, name: &str, least: u8, most: u8) -> Result<u8, Error> {
    let number: i64 = number(value)?;
    u8::try_from(number)
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| value.error(format!("{name} must be between {least} and {most}")))
}

/// The ticks between two of so many a second; `None` for no limit.
fn interval(value: &Token, name: &str) -> Result<Option<i64>, Error> {
    let rate: f64 = number(value)?;
    if rate < 0.0 || rate.is_nan() {
        return Err(value.error(format!("{name} cannot be negative")));
    }
    // Less than one a day is one a day, and more than one a tick is one a tick.
    let interval = (SECOND as f64 / rate).clamp(1.0, SLOWEST as f64);
    Ok((rate > 0.0).then_some(interval as i64))
}
