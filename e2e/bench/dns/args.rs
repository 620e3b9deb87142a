//! The command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use callsign_e2e::load::mix::{Edns, Mix};
use clap::{Parser, ValueEnum};

/// What an answer costs, beside a bare reflector, NSD and Knot.
#[derive(Parser)]
pub(crate) struct Args {
    /// What is measured.
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = Regime::value_variants().to_vec())]
    pub(crate) regimes: Vec<Regime>,
    /// What is asked where a regime has no mixes of its own.
    #[arg(long, value_delimiter = ',', default_values_t = Mix::ALL)]
    pub(crate) mixes: Vec<Mix>,
    /// Which questions of these have an OPT: none, each, 40 of 100.
    #[arg(long, value_delimiter = ',', default_values = ["without", "with"])]
    pub(crate) edns: Vec<Edns>,
    /// Questions a second where there is a rate.
    #[arg(short = 'Q', long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: u32,
    /// How long a round is, of each server.
    #[arg(long, default_value = "3", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// How many rounds there are.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// The build of Callsign that is measured.
    #[arg(long, env = "CALLSIGN_BENCH_BINARY", default_value = env!("CARGO_BIN_EXE_callsign"))]
    pub(crate) binary: PathBuf,
    /// Another one, beside it.
    #[arg(long)]
    pub(crate) against: Option<PathBuf>,
    /// The CoreDNS that is measured, where there is one.
    #[arg(long, env = "CALLSIGN_BENCH_COREDNS", default_value = "coredns")]
    pub(crate) coredns: PathBuf,
    /// Tables as they are in docs/benchmarks.md.
    #[arg(long)]
    pub(crate) markdown: bool,
    /// Be the reflector.
    #[arg(long, hide = true)]
    pub(crate) reflect: Option<SocketAddr>,
    /// Cargo says it.
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Regime {
    /// Each mix, as much of it as a server on one core answers.
    Saturated,
    /// `mix` and `M1` at a rate that leaves servers time to wait.
    Rate,
    /// `mix`, one core of Callsign against two.
    Cores,
    /// `M1` at the rate, while the cluster changes a hundred times a second.
    Churn,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds".to_owned())?;
    let time = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
    if time < Duration::from_millis(100) { Err("at least 0.1".to_owned()) } else { Ok(time) }
}
