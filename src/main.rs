//! Callsign: Kubernetes' endpoint controllers and cluster DNS server, from one in-memory index.

mod args;
mod blocks;
mod client;
mod clusters;
mod coredns;
mod duty;
mod engine;
mod exit;
mod leader;
mod log;
mod pages;
mod requests;
#[cfg(feature = "sandbox")]
mod sandbox;
mod serve;
mod signals;
mod watches;
mod writing;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Cli, Command};
use exit::Exit;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == "-conf") {
        let conf = words.next().unwrap_or_default();
        let port = words.next().filter(|word| word == "-dns.port").and_then(|_| words.next());
        let port = port.and_then(|port| port.to_str()?.parse().ok()).unwrap_or(53);
        return in_place_of_coredns(conf.as_ref(), port);
    }
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => {
            eprintln!("callsign: {exit}");
            exit.code()
        }
    }
}

fn in_place_of_coredns(conf: &std::path::Path, port: u16) -> ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    tracing_subscriber::fmt().init();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(coredns::run(conf, port)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => {
            eprintln!("{exit}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<(), Exit> {
    match cli.command {
        Command::Version => {
            println!("callsign {}", env!("CARGO_PKG_VERSION"));
            return Ok(());
        }
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "callsign", &mut std::io::stdout());
            return Ok(());
        }
        _ => {}
    }
    log::start(&cli.log)?;
    // There is one provider; it is only an error if somebody else had installed another.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Runtime::new().map_err(|error| Exit::from(anyhow::Error::new(error)))?;
    runtime.block_on(async {
        match cli.command {
            Command::Serve(args) => serve::serve(args).await,
            Command::Dns(args) => serve::dns(args).await,
            Command::Controller(args) => serve::controller(args).await,
            #[cfg(feature = "sandbox")]
            Command::Sandbox(args) => sandbox::run(args).await,
            Command::Version | Command::Completion { .. } => Ok(()),
        }
    })
}
