//! The log, on stderr.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::{
    args::{LogArgs, LogFormat},
    exit::Exit,
};

/// Starts logging.
///
/// # Errors
/// When the filter cannot be read.
pub(crate) fn start(args: &LogArgs) -> Result<(), Exit> {
    let filter = EnvFilter::try_new(&args.log_level)
        .map_err(|error| Exit::configuration(anyhow::anyhow!("--log-level {}: {error}", args.log_level)))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}
