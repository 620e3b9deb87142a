//! `bind ADDRESS|INTERFACE… { except ADDRESS|INTERFACE… }`: where a block listens (`coredns` `plugin/bind/setup.go`).

use std::net::IpAddr;

use if_addrs::Interface;

use crate::{
    block::BlockConfig,
    corefile::{Directive, Error, Token},
};

/// Reads a block's directives: what each names, together. Names of interfaces stand for the addresses they have now.
///
/// # Errors
/// When a word is neither an address nor an interface, or no address is left.
pub fn bind(block: &mut BlockConfig, directives: &[&Directive]) -> Result<(), Error> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        tracing::warn!(target: "plugin/bind", "failed to get interfaces list, cannot bind by interface name: {error}");
        Vec::new()
    });
    for directive in directives {
        read(block, directive, &interfaces)?;
    }
    Ok(())
}

fn read(block: &mut BlockConfig, directive: &Directive, interfaces: &[Interface]) -> Result<(), Error> {
    if directive.args.is_empty() {
        return Err(directive.error("at least one address or interface name is expected"));
    }
    let mut except = Vec::new();
    for option in &directive.body {
        if option.name.text != "except" {
            return Err(option.error(format!("invalid option \"{}\"", option.name.text)));
        }
        if option.args.is_empty() {
            return Err(
                option.error("at least one address or interface must be given to except subdirective")
            );
        }
        except.extend(addresses(&option.args, interfaces)?);
    }
    let all = addresses(&directive.args, interfaces)?;
    for ip in all.into_iter().filter(|ip| !except.contains(ip)) {
        if !block.bind.contains(&ip) {
            block.bind.push(ip);
        }
    }
    if block.bind.is_empty() {
        // Listening nowhere is never meant, and listening everywhere instead would be worse.
        return Err(directive.error("no address is left to listen on"));
    }
    Ok(())
}

fn addresses(words: &[Token], interfaces: &[Interface]) -> Result<Vec<IpAddr>, Error> {
    let mut all = Vec::new();
    for word in words {
        if interfaces.iter().any(|interface| interface.name == word.text) {
            let own = interfaces.iter().filter(|interface| interface.name == word.text).map(Interface::ip);
            all.extend(own.filter(|ip| !is_link_local(*ip)));
        } else {
            let ip = word.text.parse().map_err(|_| {
                word.error(format!("not a valid IP address or interface name: \"{}\"", word.text))
            })?;
            all.push(ip);
        }
    }
    Ok(all)
}

/// Without its interface such an address means nothing.
fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local())
}
