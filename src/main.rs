//! Callsign: Kubernetes' endpoint controllers and cluster DNS server, from one in-memory index.

mod args;
mod blocks;
mod check;
mod client;
mod clusters;
mod config;
mod coredns;
mod diff;
mod duty;
mod engine;
mod exit;
mod files;
mod hearing;
mod leader;
mod log;
mod low_ports;
mod manifest;
mod pages;
mod process;
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
    low_ports::allow();
    // There is one provider; it is only an error if somebody else had installed another.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let words: Vec<_> = std::env::args_os().collect();
    if coredns::is_meant(&words) {
        return coredns::main(words.into_iter().skip(1));
    }
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => {
            if !exit.is_said() {
                eprintln!("callsign: {exit}");
            }
            exit.code()
        }
    }
}

fn run(cli: Cli) -> Result<(), Exit> {
    match &cli.command {
        Command::Version => {
            println!("callsign {}", env!("CARGO_PKG_VERSION"));
            return Ok(());
        }
        Command::Config(command) => return config::run(command),
        Command::Manifest(args) => return manifest::run(args),
        Command::Completion { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "callsign", &mut std::io::stdout());
            return Ok(());
        }
        _ => {}
    }
    log::start(&cli.log)?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| Exit::from(anyhow::Error::new(error)))?;
    runtime.block_on(async {
        match cli.command {
            Command::Serve(args) => serve::serve(args).await,
            Command::Dns(args) => serve::dns(args).await,
            Command::Controller(args) => serve::controller(args).await,
            Command::Diff(args) => diff::run(args).await,
            #[cfg(feature = "sandbox")]
            Command::Sandbox(args) => sandbox::run(args).await,
            Command::Check(args) => check::run(&args).await,
            Command::Config(_) | Command::Manifest(_) | Command::Version | Command::Completion { .. } => {
                Ok(())
            }
        }
    })
}
