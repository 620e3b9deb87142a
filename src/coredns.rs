//! `callsign -conf FILE`: in the place of CoreDNS, with its Corefile.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use callsign_dns::{
    block::Config,
    corefile::{Corefile, Files},
};
use callsign_shared::index::Source;

use crate::{
    engine::{Admin, DnsSettings, Engine, Settings},
    exit::Exit,
    signals,
};

/// Serves a Corefile until it is told to end.
///
/// # Errors
/// When the file cannot be read or is wrong, or what it names cannot be had.
pub(crate) async fn run(conf: &Path, port: u16) -> Result<(), Exit> {
    let end = signals::ending().map_err(|error| Exit::from(anyhow::Error::new(error)))?;
    let text = Disk.read(conf).map_err(|error| {
        Exit::configuration(anyhow::anyhow!("loading Caddyfile via flag: open {}: {error}", conf.display()))
    })?;
    let corefile = Corefile::parse(&conf.display().to_string(), &text, &Disk).map_err(Exit::configuration)?;
    let config = Config::read(&corefile, port).map_err(Exit::configuration)?;
    let dns =
        DnsSettings { config, own_addresses: own_addresses()?, upstreams: Vec::new(), loop_is_fatal: false };
    let settings = Settings {
        dns: Some(dns),
        controller: None,
        leader: None,
        source: Source::Slices,
        admin: Admin::Blocks,
    };
    Engine::start(None, settings).await?.run(end).await
}

/// The addresses under which clients reach this server, where the environment says so.
fn own_addresses() -> Result<Vec<IpAddr>, Exit> {
    let Ok(text) = std::env::var("CALLSIGN_OWN_ADDRESS") else { return Ok(Vec::new()) };
    let addresses = text.split(',').filter(|address| !address.is_empty()).map(str::parse);
    addresses.collect::<Result<_, _>>().map_err(|_| {
        Exit::configuration(anyhow::anyhow!("CALLSIGN_OWN_ADDRESS: '{text}' is not a list of addresses"))
    })
}

/// This machine's files and variables.
struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> std::io::Result<String> {
        std::fs::read_to_string(path)
    }

    fn glob(&self, _: &Path) -> std::io::Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}
