//! `errors`: tells what went wrong while a question was answered.
//!
//! Only what a plugin calls an error is told: SERVFAIL from an upstream is an answer. Errors that a pattern matches are
//! counted and told together, once its period is over.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use regex::Regex;
use tokio_util::sync::CancellationToken;

use super::reading::{duration_text, name_text, once, pattern, type_text};
use crate::{
    block::BlockConfig,
    corefile::{Directive, Error},
    plugin::{Next, Plugin, Prepared, Query, Quick, Quickly, Reply, Setup, lines},
};

/// Reads the directive (`coredns` `plugin/errors/setup.go`).
///
/// # Errors
/// When an option is unknown or wrong.
pub(super) fn setup(_: &BlockConfig, directives: &[&Directive]) -> Result<Vec<Box<dyn Setup>>, Error> {
    let directive = once(directives)?;
    match directive.args.as_slice() {
        [] => {}
        [word] if word.text == "stdout" => {}
        [word] => return Err(word.error(format!("invalid log file: {}", word.text))),
        _ => return Err(directive.wrong_count()),
    }
    let mut kinds = Vec::new();
    let mut notes = Vec::new();
    for option in &directive.body {
        match option.name.text.as_str() {
            "stacktrace" => {
                option.exactly::<0>()?;
                notes.push(&option.name.at);
            }
            "consolidate" => kinds.push(Kind::read(option)?),
            _ => return Err(option.unknown()),
        }
    }
    let mut setup = Prepared::new(lines(directive), move |world| {
        let counts = kinds.iter().map(|kind| Counted { kind: kind.clone(), count: AtomicU32::new(0) });
        Ok(Arc::new(Errors { counts: counts.map(Arc::new).collect(), stop: world.stop.clone() }))
    });
    for at in notes {
        setup = setup.note(at, "a panic is told with its place in the code in any case");
    }
    Ok(setup.alone())
}

/// `consolidate DURATION REGEX [LEVEL] [show_first]`
#[derive(Clone, Debug)]
struct Kind {
    period: Duration,
    pattern: Regex,
    level: Level,
    show_first: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Error,
    Warning,
    Info,
    Debug,
}

impl Kind {
    fn read(option: &Directive) -> Result<Self, Error> {
        let [period, regex, rest @ ..] = option.args.as_slice() else { return Err(option.wrong_count()) };
        let mut kind = Self {
            period: period.duration()?,
            pattern: pattern(regex)?,
            level: Level::Error,
            show_first: false,
        };
        let rest = match rest {
            [rest @ .., last] if last.text == "show_first" => {
                kind.show_first = true;
                rest
            }
            rest => rest,
        };
        kind.level = match rest {
            [] => Level::Error,
            [level] => match level.text.as_str() {
                "error" => Level::Error,
                "warning" => Level::Warning,
                "info" => Level::Info,
                "debug" => Level::Debug,
                other => {
                    return Err(level.error(format!("unknown log level argument in consolidate: {other}")));
                }
            },
            _ => return Err(option.wrong_count()),
        };
        Ok(kind)
    }
}

struct Counted {
    kind: Kind,
    count: AtomicU32,
}

impl Counted {
    /// Counts one; whether it is the first of its period.
    fn add(&self) -> bool {
        self.count.fetch_add(1, Ordering::Relaxed) == 0
    }

    /// Tells how many there were, and begins anew.
    fn tell(&self) {
        let count = self.count.swap(0, Ordering::Relaxed);
        if count > 0 {
            let (pattern, period) = (self.kind.pattern.as_str(), duration_text(self.kind.period));
            say(self.kind.level, &format!("{count} errors like '{pattern}' occurred in last {period}"));
        }
    }
}

struct Errors {
    counts: Vec<Arc<Counted>>,
    stop: CancellationToken,
}

impl Errors {
    fn tell(&self, query: &Query, reply: &Reply) {
        let Some(error) = &reply.error else { return };
        let line = || {
            let (name, kind) = (name_text(query.name()), type_text(query.qtype()));
            format!("{} {name} {kind}: {error}", u16::from(reply.rcode))
        };
        let Some(counted) = self.counts.iter().find(|counted| counted.kind.pattern.is_match(error)) else {
            return say(Level::Error, &line());
        };
        if counted.add() {
            if counted.kind.show_first {
                say(counted.kind.level, &line());
            }
            let (counted, stop) = (Arc::clone(counted), self.stop.clone());
            tokio::spawn(async move {
                // What was counted is told at the end too.
                let _ = tokio::time::timeout(counted.kind.period, stop.cancelled()).await;
                counted.tell();
            });
        }
    }
}

impl Plugin for Errors {
    fn name(&self) -> &'static str {
        "errors"
    }

    fn quick(&self, _: &Quick<'_>, _: &mut Vec<u8>) -> Quickly {
        Quickly::Pass
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> BoxFuture<'a, Reply> {
        Box::pin(async move {
            let reply = next.serve(query).await;
            self.tell(query, &reply);
            reply
        })
    }
}

fn say(level: Level, line: &str) {
    match level {
        Level::Error => tracing::error!(target: "plugin/errors", "{line}"),
        Level::Warning => tracing::warn!(target: "plugin/errors", "{line}"),
        Level::Info => tracing::info!(target: "plugin/errors", "{line}"),
        Level::Debug => tracing::debug!(target: "plugin/errors", "{line}"),
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::RecordType;

    use super::*;
    use crate::testing::{self, Lines};

    async fn told(options: &str, errors: &'static [&'static str], wait: Duration) -> Vec<String> {
        let config = testing::config(&format!(".:53 {{\n errors {{\n {options}\n }}\n}}")).unwrap();
        let plugin = config.blocks[0].chain[0].start(&testing::world()).unwrap();
        let lines = Lines::default();
        let _guard = lines.listen();
        for error in errors.iter().copied() {
            let mut query = testing::query("Www.Example.org.", RecordType::AAAA);
            let reply =
                testing::ask_one(Arc::clone(&plugin), &mut query, move |_| Reply::failed("x", error)).await;
            assert_eq!(reply.error.as_deref(), Some(error), "the error is kept");
        }
        tokio::time::sleep(wait).await;
        lines.take()
    }

    #[tokio::test(start_paused = true)]
    async fn errors_are_told_as_coredns_does() {
        let lines = told("stacktrace", &["read udp: i/o timeout"], Duration::ZERO).await;
        assert_eq!(lines, ["ERROR plugin/errors: 2 www.example.org. AAAA: read udp: i/o timeout"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_matches_is_told_together_and_the_rest_alone() {
        let errors = &["a timeout", "other", "b timeout", "c timeout"];
        let lines = told("consolidate 5m .*timeout$ warning", errors, Duration::from_secs(301)).await;
        assert_eq!(
            lines,
            [
                "ERROR plugin/errors: 2 www.example.org. AAAA: other",
                "WARN plugin/errors: 3 errors like '.*timeout$' occurred in last 5m0s",
            ]
        );
        let lines =
            told("consolidate 30s ^a info show_first", &["a 1", "a 2"], Duration::from_secs(31)).await;
        assert_eq!(
            lines,
            [
                "INFO plugin/errors: 2 www.example.org. AAAA: a 1",
                "INFO plugin/errors: 2 errors like '^a' occurred in last 30s",
            ]
        );
    }

    #[test]
    fn options_are_checked() {
        for (option, message) in [
            ("consolidate 1m", "Wrong argument count or unexpected line ending after '1m'"),
            ("consolidate 1 x", "invalid duration '1': want for example 30s, 500ms, 1h"),
            ("consolidate 1m ( ", "invalid regex pattern '(': unclosed group"),
            ("consolidate 1m x loud", "unknown log level argument in consolidate: loud"),
            (
                "consolidate 1m x show_first error",
                "Wrong argument count or unexpected line ending after 'error'",
            ),
            ("bogus", "unknown property 'bogus'"),
        ] {
            let error = testing::config(&format!(".:53 {{\n errors {{\n {option}\n }}\n}}")).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("plugin/errors: Corefile:3 - Error during parsing: {message}")
            );
        }
        assert!(testing::config(".:53 {\n errors stdout\n}").is_ok());
        assert!(testing::config(".:53 {\n errors\n errors\n}").is_err());
    }
}
