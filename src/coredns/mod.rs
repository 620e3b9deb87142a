//! `callsign -conf FILE`: in the place of CoreDNS, with its flags, files, signals, lines and exit codes.
//!
//! ```text
//!   flags ─▶ Corefile ─▶ Config ─▶ Engine ─▶ serves until a signal
//!                │                    ▲
//!                └── changed? ── Reloads ── SIGUSR1
//! ```
//!
//! Errors go to stderr and end the process with 1, before anything is served. Later ones leave what is served as it is.

mod banner;
mod flags;
mod pidfile;
mod reloads;
mod signals;
mod source;

use std::{ffi::OsString, net::IpAddr, process::ExitCode};

use callsign_shared::index::Source as Endpoints;
use tracing::{info, warn};

pub(crate) use banner::{REVISION, VERSION};
use flags::{Flags, Refused};
use pidfile::PidFile;
pub(crate) use reloads::Reloads;
pub(crate) use source::{Read, Source};

use crate::{
    engine::{Admin, DnsSettings, Engine, Settings},
    exit::Exit,
    log::{self, Levels, say},
};

/// Whether a process that was started with these words stands in for CoreDNS.
pub(crate) fn is_meant(words: &[OsString]) -> bool {
    flags::are_meant(words.first(), words.get(1))
}

/// Does what CoreDNS's flags say.
pub(crate) fn main(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let flags = match Flags::read(words) {
        Ok(flags) => flags,
        Err(Refused::Help) => {
            eprint!("{}", flags::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(Refused::Usage(why)) => {
            eprint!("{why}\n{}", flags::USAGE);
            return ExitCode::from(2);
        }
        Err(Refused::Extra(why)) => {
            eprintln!("{why}");
            return ExitCode::FAILURE;
        }
    };
    if flags.version {
        say(&banner::version());
        return ExitCode::SUCCESS;
    }
    if flags.plugins {
        say(banner::plugins().trim_end());
        return ExitCode::SUCCESS;
    }
    let ran = log::start_as_coredns().and_then(|levels| {
        let runtime =
            tokio::runtime::Runtime::new().map_err(|error| Exit::from(anyhow::Error::new(error)))?;
        runtime.block_on(run(flags, levels))
    });
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => {
            eprintln!("{exit}");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Flags, levels: Levels) -> Result<(), Exit> {
    let source = Source::of(&flags)?;
    let Read { config, sha512 } =
        source.read().map_err(|error| Exit::configuration(anyhow::anyhow!(error)))?;
    comment(&config);
    levels.debug(config.blocks.iter().any(|block| block.debug));
    let zones = banner::zones(&config);
    let pidfile = PidFile::at(flags.pidfile.clone());
    let signals = signals::listen(&pidfile).map_err(|error| Exit::from(anyhow::Error::new(error)))?;
    let dns = DnsSettings {
        config,
        own_addresses: own_addresses()?,
        upstreams: Vec::new(),
        loop_is_fatal: flags.loop_is_fatal,
    };
    let settings = Settings {
        dns: Some(dns),
        controller: None,
        leader: None,
        source: Endpoints::Slices,
        admin: Admin::Blocks,
    };
    let engine = Engine::start(None, settings).await?;
    pidfile.write();
    if !flags.quiet {
        zones.iter().for_each(|line| say(line));
    }
    let reloads = engine.reloader().map(|reloader| Reloads::new(source, reloader, Some(levels), sha512));
    let reloads = reloads.map(|reloads| {
        reloads.announce();
        tokio::spawn(reloads.run(signals.reload, signals.end.clone()))
    });
    if !flags.quiet {
        say(&banner::version());
    }
    let ran = engine.run(signals.end).await;
    if let Some(reloads) = reloads {
        reloads.abort();
    }
    pidfile.remove();
    ran
}

/// Says what is odd about a file, and what in it has no effect.
pub(crate) fn comment(config: &callsign_dns::block::Config) {
    for warning in &config.warnings {
        warn!("{warning}");
    }
    for verdict in config.blocks.iter().flat_map(|block| &block.verdicts) {
        if let Some(why) = &verdict.without_effect {
            info!("{}: {} has no effect here: {why}", verdict.at, verdict.directive);
        }
    }
}

/// The addresses under which clients reach this server, where the environment says so.
fn own_addresses() -> Result<Vec<IpAddr>, Exit> {
    let Ok(text) = std::env::var("CALLSIGN_OWN_ADDRESS") else { return Ok(Vec::new()) };
    let addresses = text.split(',').filter(|address| !address.is_empty()).map(str::parse);
    addresses.collect::<Result<_, _>>().map_err(|_| {
        Exit::configuration(anyhow::anyhow!("CALLSIGN_OWN_ADDRESS: '{text}' is not a list of addresses"))
    })
}
