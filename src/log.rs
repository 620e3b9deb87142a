//! The log: on stderr for the commands, and on stdout in CoreDNS's form in its place.

use std::{
    fmt,
    io::{IsTerminal, Write},
};

use tracing::{Event, Level, Subscriber, field::Visit};
use tracing_subscriber::{
    EnvFilter, Registry,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    layer::SubscriberExt,
    registry::LookupSpan,
    reload,
    util::SubscriberInitExt,
};

use crate::{
    args::{LogArgs, LogFormat},
    exit::Exit,
};

/// Starts logging.
///
/// # Errors
/// When the filter cannot be read.
pub(crate) fn start(args: &LogArgs) -> Result<(), Exit> {
    let wanted = if args.log_level == "info" { QUIET } else { &args.log_level };
    let filter = EnvFilter::try_new(wanted)
        .map_err(|error| Exit::configuration(anyhow::anyhow!("--log-level {}: {error}", args.log_level)))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

/// Libraries repeat what a watch says once.
const QUIET: &str = "info,kube_client=off,kube_runtime=off";

/// What is logged in the place of CoreDNS: information and worse, or all that plugins say.
pub(crate) struct Levels {
    base: String,
    handle: reload::Handle<EnvFilter, Registry>,
}

/// Starts logging as CoreDNS does: lines on stdout, without times. `CALLSIGN_LOG_LEVEL` may name a filter, and
/// `CALLSIGN_LOG_FORMAT=json` asks for JSON on stderr instead.
///
/// # Errors
/// When the filter cannot be read.
pub(crate) fn start_as_coredns() -> Result<Levels, Exit> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let json = variable("CALLSIGN_LOG_FORMAT").is_some_and(|form| form == "json");
    let base = variable("CALLSIGN_LOG_LEVEL").unwrap_or_else(|| QUIET.to_owned());
    // Where it listens is told by the lines of the zones.
    let base = if json { base } else { format!("{base},listening=off") };
    let filter = EnvFilter::try_new(&base)
        .map_err(|error| Exit::configuration(anyhow::anyhow!("CALLSIGN_LOG_LEVEL {base}: {error}")))?;
    let (filter, handle) = reload::Layer::new(filter);
    let registry = tracing_subscriber::registry().with(filter);
    if json {
        registry.with(tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr)).init();
    } else {
        let layer = tracing_subscriber::fmt::layer().event_format(Lines).with_writer(std::io::stdout);
        // A reader of stdout that has gone away is no reason to say so on stderr, or to stop.
        registry.with(layer.with_ansi(false).log_internal_errors(false)).init();
    }
    Ok(Levels { base, handle })
}

impl Levels {
    /// Whether plugins' details are wanted too (`debug`).
    pub(crate) fn debug(&self, wanted: bool) {
        let more = if wanted { ",plugin=debug,callsign=debug,callsign_dns=debug" } else { "" };
        if let Ok(filter) = EnvFilter::try_new(format!("{}{more}", self.base)) {
            let _ = self.handle.reload(filter);
        }
    }
}

/// A line of initialization. A reader that has gone away is no reason to stop.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// `[INFO] plugin/x: message field=value`. The target `plugin/x` is the prefix; lines of `plugin/log` have none.
struct Lines;

/// What an event says.
#[derive(Default)]
struct Said {
    message: String,
    fields: String,
    fatal: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut said = Said::default();
        event.record(&mut said);
        let level = match *event.metadata().level() {
            _ if said.fatal => "FATAL",
            Level::ERROR => "ERROR",
            Level::WARN => "WARNING",
            Level::INFO => "INFO",
            Level::DEBUG | Level::TRACE => "DEBUG",
        };
        let target = event.metadata().target();
        let plugin = target.starts_with("plugin/") && target != "plugin/log";
        let (name, colon) = if plugin { (target, ": ") } else { ("", "") };
        writeln!(writer, "[{level}] {name}{colon}{}{}", said.message, said.fields)
    }
}

impl Visit for Said {
    fn record_bool(&mut self, field: &tracing::field::Field, value: bool) {
        if field.name() == "fatal" {
            self.fatal = value;
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        use fmt::Write as _;
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_have_the_form_of_coredns() {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let layer = tracing_subscriber::fmt::layer().event_format(Lines).with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(layer.with_ansi(false));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "plugin/reload", "Running configuration SHA512 = {:x}", 0xabc);
            tracing::info!(target: "plugin/log", "127.0.0.1:1 - 7 \"A IN x. udp\"");
            tracing::warn!(kind = "pods", error = %"gone", "cannot be watched");
            tracing::error!(target: "plugin/loop", fatal = true, "Loop");
            tracing::error!("Restart failed");
        });
        let text = String::from_utf8(buffer.0.lock().clone()).unwrap();
        let wanted = "[INFO] plugin/reload: Running configuration SHA512 = abc\n\
                      [INFO] 127.0.0.1:1 - 7 \"A IN x. udp\"\n\
                      [WARNING] cannot be watched kind=\"pods\" error=gone\n\
                      [FATAL] plugin/loop: Loop\n\
                      [ERROR] Restart failed\n";
        assert_eq!(text, wanted);
    }
}
