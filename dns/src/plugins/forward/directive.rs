//! Reading the directive (`coredns` `plugin/forward/setup.go`).

use std::{collections::HashSet, time::Duration};

use hickory_proto::{op::ResponseCode, rr::Name};

use super::{
    ForwardConfig, Policy,
    stream::{Keeping, Security},
    target,
    trust::{self, TlsWords},
    upstream::Checks,
};
use crate::{
    block::{BlockConfig, key_zones},
    corefile::{Directive, Error, Token},
    plugin::{Note, Setup},
    plugins::reading::{duration_text, named_rcode},
};

const EXPIRE: Duration = Duration::from_secs(10);
const CHECK_INTERVAL: Duration = Duration::from_millis(500);
const MOST_FAILURES: u32 = 2;

/// Reads a block's directives: steps one after another, in the order of the file.
///
/// # Errors
/// When an option is unknown or has a value that makes no sense, or a file cannot be read.
pub(in crate::plugins) fn setup(
    block: &BlockConfig,
    directives: &[&Directive],
) -> Result<Vec<Box<dyn Setup>>, Error> {
    let count = directives.len();
    let read = (1..).zip(directives).map(|(number, directive)| {
        let mut config = read(block, directive)?;
        config.before_another = number < count;
        Ok(Box::new(config) as Box<dyn Setup>)
    });
    read.collect()
}

fn read(block: &BlockConfig, directive: &Directive) -> Result<ForwardConfig, Error> {
    let [from, to @ ..] = directive.some()? else { return Err(directive.wrong_count()) };
    if to.is_empty() {
        return Err(directive.wrong_count());
    }
    let zones = key_zones(from, &from.text)?;
    let Some(zone) = zones.first() else {
        return Err(from.error(format!("unable to normalize '{}'", from.text)));
    };
    let targets = target::read(to)?;
    let mut config = ForwardConfig {
        from: zone.clone(),
        upstreams: Vec::new(),
        except: Vec::new(),
        force_tcp: false,
        prefer_udp: false,
        keeping: Keeping { idle: EXPIRE, age: Duration::ZERO, count: 0 },
        checks: Checks {
            interval: CHECK_INTERVAL,
            recursion_desired: true,
            domain: Name::root(),
            most_failures: MOST_FAILURES,
        },
        most_attempts: 0,
        policy: Policy::Random,
        most_concurrent: 0,
        next: HashSet::new(),
        next_on_nodata: false,
        failover: HashSet::new(),
        failfast: false,
        random_case: false,
        before_another: false,
        lines: Vec::new(),
        notes: Vec::new(),
    };
    if zones.len() > 1 {
        let message = format!(
            "Unsupported CIDR notation: '{}' expands to multiple zones. Using only '{}'.",
            from.text,
            crate::presentation::written(zone)
        );
        config.notes.push(Note { at: from.at.clone(), message });
    }
    let mut tls = TlsWords::default();
    let mut server_name = None;
    for option in &directive.body {
        match option.name.text.as_str() {
            "tls" => tls = TlsWords::read(option)?,
            "tls_servername" => server_name = Some(one(option)?.clone()),
            _ => read_option(&mut config, option)?,
        }
    }
    // The configuration of TLS is only looked at where it is used, files included.
    let connector =
        if targets.iter().any(|target| target.tls) { Some(tls.config(&block.root)?) } else { None };
    for target in &targets {
        let security = match connector.as_ref().filter(|_| target.tls) {
            None => Security::Plain,
            Some(connector) => {
                if let (Some(global), Some(own)) = (&server_name, &target.server_name) {
                    return Err(global.error(format!(
                        "both forward ('{}') and proxy level ('{own}') TLS servernames are set for upstream proxy '{}'",
                        global.text, target.address
                    )));
                }
                let written = server_name.as_ref().map(|name| name.text.as_str());
                let name = trust::server_name(written.or(target.server_name.as_deref()), target.address.ip());
                Security::Tls(connector.clone(), name.map_err(|error| directive.error(error))?)
            }
        };
        config.upstreams.push((target.address, security));
    }
    config.lines = describe(&config, directive, &targets);
    Ok(config)
}

fn read_option(config: &mut ForwardConfig, option: &Directive) -> Result<(), Error> {
    match option.name.text.as_str() {
        "except" => {
            for token in option.some()? {
                config.except.extend(key_zones(token, &token.text)?);
            }
        }
        "force_tcp" => config.force_tcp = flag(option)?,
        "prefer_udp" => config.prefer_udp = flag(option)?,
        "failfast_all_unhealthy_upstreams" => config.failfast = flag(option)?,
        "next_on_nodata" => config.next_on_nodata = flag(option)?,
        "randomize_case" => config.random_case = flag(option)?,
        "expire" => config.keeping.idle = one(option)?.duration()?,
        "max_age" => config.keeping.age = one(option)?.duration()?,
        "max_idle_conns" => config.keeping.count = number(one(option)?)?,
        "max_fails" => config.checks.most_failures = number(one(option)?)?,
        "max_connect_attempts" => config.most_attempts = number(one(option)?)?,
        "max_concurrent" => config.most_concurrent = number(one(option)?)?,
        "policy" => {
            let word = one(option)?;
            config.policy = match word.text.as_str() {
                "random" => Policy::Random,
                "round_robin" => Policy::RoundRobin,
                "sequential" => Policy::Sequential,
                other => return Err(word.error(format!("unknown policy '{other}'"))),
            };
        }
        "health_check" => read_health_check(config, option)?,
        "next" => config.next.extend(rcodes(option, |_| true)?),
        "failover" => {
            config.failover.extend(rcodes(option, |rcode| rcode != ResponseCode::NoError)?);
        }
        _ => return Err(option.unknown()),
    }
    Ok(())
}

fn read_health_check(config: &mut ForwardConfig, option: &Directive) -> Result<(), Error> {
    let [interval, options @ ..] = option.some()? else { return Err(option.wrong_count()) };
    config.checks.interval = interval.duration()?;
    config.checks.domain = Name::root();
    let mut words = options.iter();
    while let Some(word) = words.next() {
        match word.text.as_str() {
            "no_rec" => config.checks.recursion_desired = false,
            "domain" => {
                let domain = words.next().ok_or_else(|| option.wrong_count())?;
                let mut name = Name::from_ascii(&domain.text).map_err(|_| {
                    domain.error(format!("health_check: invalid domain name {}", domain.text))
                })?;
                name.set_fqdn(true);
                config.checks.domain = name.to_lowercase();
            }
            other => return Err(word.error(format!("health_check: unknown option {other}"))),
        }
    }
    Ok(())
}

fn one(option: &Directive) -> Result<&Token, Error> {
    let [word] = option.exactly::<1>()?;
    Ok(word)
}

fn flag(option: &Directive) -> Result<bool, Error> {
    option.exactly::<0>()?;
    Ok(true)
}

fn number<T: std::str::FromStr>(word: &Token) -> Result<T, Error> {
    if word.text.starts_with('-') {
        return Err(word.error(format!("can't be negative: {}", word.text)));
    }
    word.parse("a number")
}

fn rcodes(option: &Directive, takes: impl Fn(ResponseCode) -> bool) -> Result<Vec<ResponseCode>, Error> {
    let read = option.some()?.iter().map(|word| {
        let rcode = named_rcode(&word.text);
        rcode
            .filter(|rcode| takes(*rcode))
            .ok_or_else(|| word.error(format!("{} is not a valid rcode", word.text)))
    });
    read.collect()
}

/// The directive with its defaults filled in.
fn describe(config: &ForwardConfig, directive: &Directive, targets: &[target::Target]) -> Vec<String> {
    let to = targets.iter().map(|target| match (&target.server_name, target.tls) {
        (None, false) => format!(" {}", target.address),
        (None, true) => format!(" tls://{}", target.address),
        (Some(name), _) => format!(" tls://{}%{name}:{}", target.address.ip(), target.address.port()),
    });
    let mut lines =
        vec![format!("forward {}{} {{", crate::presentation::written(&config.from), to.collect::<String>())];
    let policy = match config.policy {
        Policy::Random => "random",
        Policy::RoundRobin => "round_robin",
        Policy::Sequential => "sequential",
    };
    lines.push(format!("    policy {policy}"));
    lines.push(format!("    max_fails {}", config.checks.most_failures));
    lines.push(format!("    max_concurrent {}", config.most_concurrent));
    lines.push(format!("    expire {}", duration_text(config.keeping.idle)));
    for option in &directive.body {
        if !matches!(option.name.text.as_str(), "policy" | "max_fails" | "max_concurrent" | "expire") {
            let words: Vec<&str> =
                std::iter::once(&option.name).chain(&option.args).map(|token| token.text.as_str()).collect();
            lines.push(format!("    {}", words.join(" ")));
        }
    }
    lines.push("}".to_owned());
    lines
}
