//! Reading the directive (`coredns` `plugin/cache/setup.go`).

use std::time::Duration;

use hickory_proto::rr::Name;

use super::{CacheConfig, Part, Prefetch, Stale};
use crate::{
    block::{BlockConfig, key_zones},
    corefile::{Directive, Error, Token},
    plugin::{Prepared, Setup},
    plugins::reading::{Zones, duration_text, name_text, once, zones},
};

/// The longest that SERVFAIL may be kept.
const LONGEST_FAILURE: Duration = Duration::from_secs(300);
const STALE: Duration = Duration::from_secs(3600);
const GAP: Duration = Duration::from_secs(60);

/// Reads a block's directive, of which there can be one.
///
/// # Errors
/// When an option is unknown or has a value that makes no sense.
pub(in crate::plugins) fn setup(
    block: &BlockConfig,
    directives: &[&Directive],
) -> Result<Vec<Box<dyn Setup>>, Error> {
    let config = read(block, once(directives)?)?;
    let lines = describe(&config);
    Ok(Prepared::new(lines, move |world| Ok(super::Cache::start(&config, world))).alone())
}

pub(super) fn read(block: &BlockConfig, directive: &Directive) -> Result<CacheConfig, Error> {
    let mut config = CacheConfig::default();
    let mut words = directive.args.as_slice();
    // A number is the TTL, anything else a zone.
    if let [first, rest @ ..] = words
        && first.text.parse::<i64>().is_ok()
    {
        let ttl = ttl(first)?;
        (config.success.most, config.denial.most) = (ttl, ttl);
        words = rest;
    }
    config.zones = zones(block, words)?;
    for option in &directive.body {
        read_option(&mut config, option)?;
    }
    Ok(config)
}

fn read_option(config: &mut CacheConfig, option: &Directive) -> Result<(), Error> {
    match option.name.text.as_str() {
        "success" => read_part(&mut config.success, option)?,
        "denial" => read_part(&mut config.denial, option)?,
        "prefetch" => config.prefetch = read_prefetch(option)?,
        "serve_stale" => config.stale = Some(read_stale(option)?),
        "servfail" => {
            let [word] = option.exactly::<1>()?;
            let time = word.duration()?;
            if time > LONGEST_FAILURE {
                return Err(word.error("caching SERVFAIL responses over 5 minutes is not permitted"));
            }
            config.failures = time;
        }
        "disable" => {
            let [sort, zones @ ..] = option.some()? else { return Err(option.wrong_count()) };
            let mut listed = Vec::new();
            for token in zones {
                listed.extend(key_zones(token, &token.text)?);
            }
            if zones.is_empty() {
                listed.push(Name::root());
            }
            let part = match sort.text.as_str() {
                "success" => &mut config.success,
                "denial" => &mut config.denial,
                _ => {
                    return Err(sort.error("cache type for disable must be \"success\" or \"denial\""));
                }
            };
            part.disabled = Zones(listed);
        }
        "keepttl" => {
            option.exactly::<0>()?;
            config.keep_ttl = true;
        }
        _ => return Err(option.unknown()),
    }
    Ok(())
}

/// `success|denial CAPACITY [TTL] [MINTTL]`
fn read_part(part: &mut Part, option: &Directive) -> Result<(), Error> {
    let (capacity, rest) = option.args.split_first().ok_or_else(|| option.wrong_count())?;
    part.capacity = usize::try_from(number(capacity)?).unwrap_or_default();
    match rest {
        [] => {}
        [most] => part.most = ttl(most)?,
        [most, least] => {
            part.most = ttl(most)?;
            let seconds = number(least)?;
            part.least = u32::try_from(seconds)
                .map_err(|_| least.error(format!("cache min TTL can not be negative: {seconds}")))?;
        }
        _ => return Err(option.wrong_count()),
    }
    Ok(())
}

/// `prefetch AMOUNT [DURATION [PERCENTAGE%]]`
fn read_prefetch(option: &Directive) -> Result<Option<Prefetch>, Error> {
    let [amount, rest @ ..] = option.some()? else { return Err(option.wrong_count()) };
    let count = number(amount)?;
    let count = u32::try_from(count)
        .map_err(|_| amount.error(format!("prefetch amount should be positive: {count}")))?;
    let mut prefetch = Prefetch { amount: count, gap: GAP, percentage: 10 };
    match rest {
        [] => {}
        [gap] => prefetch.gap = gap.duration()?,
        [gap, share] => {
            prefetch.gap = gap.duration()?;
            let digits = share.text.strip_suffix('%').ok_or_else(|| {
                share.error(format!("last character of percentage should be `%`, but is: '{}'", share.text))
            })?;
            let percentage: i64 =
                digits.parse().map_err(|_| share.error(format!("'{}' is not a percentage", share.text)))?;
            prefetch.percentage = u32::try_from(percentage)
                .ok()
                .filter(|percentage| (10..=90).contains(percentage))
                .ok_or_else(|| {
                    share.error(format!("percentage should fall in range [10, 90]: {percentage}"))
                })?;
        }
        _ => return Err(option.wrong_count()),
    }
    Ok(Some(prefetch).filter(|prefetch| prefetch.amount > 0))
}

/// `serve_stale [DURATION] [immediate|verify]`
fn read_stale(option: &Directive) -> Result<Stale, Error> {
    let mut stale = Stale { within: STALE, verify: false };
    if let [_, _, _, ..] = option.args.as_slice() {
        return Err(option.wrong_count());
    }
    if let Some(time) = option.args.first() {
        stale.within = time.duration()?;
    }
    if let Some(mode) = option.args.get(1) {
        stale.verify = match mode.text.to_ascii_lowercase().as_str() {
            "immediate" => false,
            "verify" => true,
            other => {
                return Err(mode.error(format!("invalid value for serve_stale refresh mode: {other}")));
            }
        };
    }
    Ok(stale)
}

fn number(word: &Token) -> Result<i64, Error> {
    word.parse("a number")
}

fn ttl(word: &Token) -> Result<u32, Error> {
    let seconds = number(word)?;
    u32::try_from(seconds)
        .ok()
        .filter(|seconds| *seconds > 0)
        .ok_or_else(|| word.error(format!("cache TTL can not be zero or negative: {seconds}")))
}

/// The directive with its defaults filled in.
fn describe(config: &CacheConfig) -> Vec<String> {
    let names = |zones: &Zones| zones.0.iter().map(name_text).collect::<Vec<_>>().join(" ");
    let mut lines = vec![format!("cache {} {{", names(&config.zones))];
    for (sort, part) in [("success", &config.success), ("denial", &config.denial)] {
        lines.push(format!("    {sort} {} {} {}", part.capacity, part.most, part.least));
    }
    if let Some(prefetch) = config.prefetch {
        let gap = duration_text(prefetch.gap);
        lines.push(format!("    prefetch {} {gap} {}%", prefetch.amount, prefetch.percentage));
    }
    if let Some(stale) = config.stale {
        let mode = if stale.verify { "verify" } else { "immediate" };
        lines.push(format!("    serve_stale {} {mode}", duration_text(stale.within)));
    }
    lines.push(format!("    servfail {}", duration_text(config.failures)));
    for (sort, part) in [("success", &config.success), ("denial", &config.denial)] {
        if !part.disabled.0.is_empty() {
            lines.push(format!("    disable {sort} {}", names(&part.disabled)));
        }
    }
    if config.keep_ttl {
        lines.push("    keepttl".to_owned());
    }
    lines.push("}".to_owned());
    lines
}
