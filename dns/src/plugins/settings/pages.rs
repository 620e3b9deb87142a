//! `health`, `ready` and `prometheus`: what the process says of itself over HTTP.

use std::time::Duration;

use super::host_port;
use crate::{
    block::{BlockConfig, Health, Ready, Verdict},
    corefile::{Directive, Error},
    plugins::reading::once,
};

const HEALTH: &str = ":8080";
const READY: &str = ":8181";
const METRICS: &str = "localhost:9153";

/// `health [ADDRESS] { lameduck DURATION }`
///
/// # Errors
/// When the address has no port, or the duration is none.
pub fn health(block: &mut BlockConfig, directives: &[&Directive]) -> Result<(), Error> {
    for directive in directives {
        let mut health = Health { address: address(directive, HEALTH)?, lameduck: Duration::ZERO };
        for option in &directive.body {
            match option.name.text.as_str() {
                "lameduck" => {
                    let [time] = option.exactly::<1>()?;
                    health.lameduck = time.duration().map_err(|_| {
                        time.error(format!("unable to parse lameduck duration value: '{}'", time.text))
                    })?;
                }
                _ => return Err(option.unknown()),
            }
        }
        block.health = Some(health);
    }
    Ok(())
}

/// `ready [ADDRESS] { monitor until-ready|continuously }`
///
/// # Errors
/// When the address has no port, or it is monitored in another way.
pub fn ready(block: &mut BlockConfig, directives: &[&Directive]) -> Result<(), Error> {
    let directive = once(directives)?;
    let mut ready = Ready { address: address(directive, READY)?, continuously: false };
    for option in &directive.body {
        match option.name.text.as_str() {
            "monitor" => {
                let [how] = option.exactly::<1>()?;
                ready.continuously = match how.text.as_str() {
                    "until-ready" => false,
                    "continuously" => true,
                    other => return Err(how.error(format!("monitor type '{other}' not supported"))),
                };
            }
            _ => return Err(option.unknown()),
        }
    }
    block.ready = Some(ready);
    Ok(())
}

/// `prometheus [ADDRESS] { runtime_metrics }`
///
/// # Errors
/// When the address has no port, or an option is not ours to serve.
pub fn prometheus(block: &mut BlockConfig, directives: &[&Directive]) -> Result<(), Error> {
    let directive = once(directives)?;
    block.prometheus = Some(address(directive, METRICS)?);
    for option in &directive.body {
        match option.name.text.as_str() {
            "runtime_metrics" => {
                option.exactly::<0>()?;
                block.verdicts.push(Verdict {
                    directive: "prometheus",
                    at: option.name.at.clone(),
                    without_effect: Some("runtime_metrics: there is no Go runtime to measure".to_owned()),
                });
            }
            "tls" => {
                return Err(option.error(
                    "tls: metrics are served over plain HTTP only; leave it out, and let a proxy beside it speak TLS",
                ));
            }
            _ => return Err(option.unknown()),
        }
    }
    Ok(())
}

/// The address of a directive that may name one.
fn address(directive: &Directive, default: &str) -> Result<String, Error> {
    match directive.args.as_slice() {
        [] => Ok(default.to_owned()),
        [address] => host_port(address),
        _ => Err(directive.wrong_count()),
    }
}
