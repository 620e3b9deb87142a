//! `callsign config check FILE`: what becomes of a Corefile, without a cluster and without opening a port.

use std::{
    fmt::{self, Write as _},
    path::Path,
};

use callsign_dns::{
    block::{BlockConfig, Config, Verdict},
    corefile::{Corefile, Files as _, FilesOnDisk, Warning, read_error, read_text},
};
use serde::Serialize;

use crate::{
    args::{CheckArgs, ConfigCommand, OutputForm},
    exit::Exit,
    log::say,
};

/// Does what the command says.
///
/// # Errors
/// With code 2 when the file cannot be read or is wrong.
pub(crate) fn run(command: &ConfigCommand) -> Result<(), Exit> {
    match command {
        ConfigCommand::Check(args) => check(args),
    }
}

fn check(args: &CheckArgs) -> Result<(), Exit> {
    let (name, text) = read(&args.file)?;
    let corefile = Corefile::parse(&name, &text, &FilesOnDisk).map_err(Exit::configuration)?;
    let config = Config::read(&corefile, args.dns_port).map_err(Exit::configuration)?;
    let report = Report::new(&name, &corefile, &config);
    match args.output {
        OutputForm::Text => say(report.to_string().trim_end()),
        OutputForm::Json => {
            let json = serde_json::to_string_pretty(&report);
            say(&json.map_err(|error| Exit::from(anyhow::Error::new(error)))?);
        }
    }
    Ok(())
}

/// A file's name for messages, and its text.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn read(file: &Path) -> Result<(String, String), Exit> {
    if file.as_os_str() != "-" {
        let text = FilesOnDisk.read(file);
        let text = text.map_err(|error| Exit::configuration(anyhow::anyhow!(read_error(file, &error))))?;
        return Ok((file.display().to_string(), text));
    }
    let text = read_text(std::io::stdin());
    let text = text.map_err(|error| Exit::configuration(anyhow::anyhow!("stdin: {error}")))?;
    Ok(("stdin".to_owned(), text))
}

/// What there is to say of a file.
#[derive(Debug, Serialize)]
struct Report<'a> {
    file: &'a str,
    /// The hash that `reload` logs.
    sha512: &'a str,
    /// Imported files, in alphabetical order.
    imports: Vec<String>,
    warnings: Vec<Said<'a>>,
    blocks: Vec<BlockReport<'a>>,
}

/// Something that is said of a line.
#[derive(Debug, Serialize)]
struct Said<'a> {
    at: String,
    message: &'a str,
}

#[derive(Debug, Serialize)]
struct BlockReport<'a> {
    at: String,
    keys: Vec<String>,
    directives: Vec<DirectiveReport<'a>>,
    /// The block with its defaults, as lines of a Corefile.
    understood: Vec<String>,
}

#[derive(Debug, Serialize)]
struct DirectiveReport<'a> {
    at: String,
    directive: &'a str,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
}

impl<'a> Report<'a> {
    fn new(file: &'a str, corefile: &'a Corefile, config: &'a Config) -> Self {
        Self {
            file,
            sha512: &corefile.sha512,
            imports: corefile.sources.files.iter().map(|file| file.display().to_string()).collect(),
            warnings: config.warnings.iter().map(Said::new).collect(),
            blocks: config.blocks.iter().map(BlockReport::new).collect(),
        }
    }
}

impl<'a> Said<'a> {
    fn new(warning: &'a Warning) -> Self {
        Self { at: warning.at.to_string(), message: &warning.message }
    }
}

impl<'a> BlockReport<'a> {
    fn new(block: &'a BlockConfig) -> Self {
        Self {
            at: block.at.to_string(),
            keys: block.keys.iter().map(ToString::to_string).collect(),
            directives: block.verdicts.iter().map(DirectiveReport::new).collect(),
            understood: block.describe(),
        }
    }
}

impl<'a> DirectiveReport<'a> {
    fn new(verdict: &'a Verdict) -> Self {
        let why = verdict.without_effect.as_deref();
        Self {
            at: verdict.at.to_string(),
            directive: verdict.directive,
            verdict: if why.is_some() { "without effect" } else { "native" },
            why,
        }
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: good", self.file)?;
        for file in &self.imports {
            writeln!(f, "imports {file}")?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {} - {}", warning.at, warning.message)?;
        }
        if self.blocks.is_empty() {
            writeln!(f, "warning: nothing is served: there is no server block")?;
        }
        for block in &self.blocks {
            writeln!(f, "\n{} at {}", summary(&block.keys), block.at)?;
            write!(f, "{}", table(&block.directives))?;
            if block.directives.is_empty() {
                writeln!(f, "    no directive: every question is refused")?;
            }
        }
        writeln!(f, "\nUnderstood as:\n")?;
        for line in self.blocks.iter().flat_map(|block| &block.understood) {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "\nSHA512 = {}", self.sha512)
    }
}

/// The keys of a block, where they are many only some.
fn summary(keys: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<&str> = keys.iter().take(SHOWN).map(String::as_str).collect();
    match keys.len().checked_sub(SHOWN) {
        Some(more @ 1..) => format!("{} and {more} more", shown.join(" ")),
        _ => shown.join(" "),
    }
}

/// Place, directive and verdict in columns.
fn table(directives: &[DirectiveReport<'_>]) -> String {
    let width = |of: fn(&DirectiveReport<'_>) -> usize| directives.iter().map(of).max().unwrap_or_default();
    let (at, name) = (width(|row| row.at.chars().count()), width(|row| row.directive.len()));
    let mut text = String::new();
    for row in directives {
        let why = row.why.map(|why| format!(": {why}")).unwrap_or_default();
        // Writing to a string does not fail.
        let _ = writeln!(text, "    {:at$}  {:name$}  {}{why}", row.at, row.directive, row.verdict);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(text: &str) -> (String, serde_json::Value) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("more"), "trace\n").unwrap();
        let name = folder.path().join("Corefile").display().to_string();
        let corefile = Corefile::parse(&name, text, &FilesOnDisk).unwrap();
        let config = Config::read(&corefile, 1053).unwrap();
        let report = Report::new(&name, &corefile, &config);
        let (text, json) = (report.to_string(), serde_json::to_string(&report).unwrap());
        let here = format!("{}/", folder.path().display());
        (text.replace(&here, ""), serde_json::from_str(&json.replace(&here, "")).unwrap())
    }

    const TEXT: &str = "_a.test {\n whoami\n import more\n import none*\n prometheus :9153 {\n  runtime_metrics\n }\n}\nb.test\n{\n}\n";

    #[test]
    fn every_directive_has_its_verdict() {
        let (text, _) = report(TEXT);
        let (head, hash) = text.split_once("\nSHA512 = ").unwrap();
        assert_eq!(hash.trim_end().len(), 128);
        let want = "\
Corefile: good
imports more
warning: Corefile:4 - No files matching import glob pattern: none*
warning: Corefile:1 - Domain \"_a.test.\" does not follow RFC1035 preferred syntax

dns://_a.test.:1053 at Corefile:1
    Corefile:2  whoami      native
    more:1      trace       without effect: no spans are sent; answers do not depend on them
    Corefile:5  prometheus  native
    Corefile:6  prometheus  without effect: runtime_metrics: there is no Go runtime to measure

dns://b.test.:1053 at Corefile:9
    no directive: every question is refused

Understood as:

dns://_a.test.:1053 {
    prometheus :9153
    whoami
}
dns://b.test.:1053 {
}
";
        assert_eq!(head, want);
    }

    #[test]
    fn programs_read_the_same() {
        let (_, json) = report(TEXT);
        assert_eq!(json["file"], "Corefile");
        assert_eq!(json["imports"], serde_json::json!(["more"]));
        assert_eq!(json["warnings"][0]["at"], "Corefile:4");
        let block = &json["blocks"][0];
        assert_eq!(block["keys"], serde_json::json!(["dns://_a.test.:1053"]));
        let row = |at: &str, directive: &str, verdict: &str| serde_json::json!({"at": at, "directive": directive, "verdict": verdict});
        assert_eq!(block["directives"][0], row("Corefile:2", "whoami", "native"));
        assert_eq!(block["directives"][1]["why"], "no spans are sent; answers do not depend on them");
        assert_eq!(block["understood"][1], "    prometheus :9153");
        assert_eq!(json["sha512"].as_str().map(str::len), Some(128));
    }

    #[test]
    fn many_keys_are_summed_up() {
        let (text, json) = report("10.0.0.0/17 {\n}\n");
        assert!(text.contains(" and 120 more at Corefile:1\n"), "{text}");
        assert_eq!(json["blocks"][0]["keys"].as_array().unwrap().len(), 128);
        assert!(report("# empty").0.contains("nothing is served"));
    }
}
