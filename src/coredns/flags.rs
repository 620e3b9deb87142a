//! CoreDNS's flags (`coredns` `coremain/run.go`), in the syntax of Go's `flag` package: `-x` is `--x`, a value comes after `=`
//! or as the next word, and the first word that is no flag ends them.

use std::{ffi::OsString, path::PathBuf};

/// What the command line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flags {
    /// `-conf`: the Corefile, `stdin` for that; without it the file `Corefile` of the working folder, if there is one.
    pub(crate) conf: Option<PathBuf>,
    /// `-dns.port`, `-p`: the port of keys that name none.
    pub(crate) port: u16,
    /// `-quiet`: no words at the start.
    pub(crate) quiet: bool,
    /// `-pidfile`: where to write the process's id.
    pub(crate) pidfile: Option<PathBuf>,
    /// `-plugins`: only list the plugins.
    pub(crate) plugins: bool,
    /// `-version`: only say which version this is.
    pub(crate) version: bool,
    /// `-loop-fatal`: a detected loop ends the process.
    pub(crate) loop_is_fatal: bool,
}

/// Why a command line is not one of CoreDNS's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Help was asked for.
    Help,
    /// It cannot be read; Go's words. The process ends with 2.
    Usage(String),
    /// There is more than flags. The process ends with 1.
    Extra(String),
}

impl Default for Flags {
    fn default() -> Self {
        Self {
            conf: None,
            port: 53,
            quiet: false,
            pidfile: None,
            plugins: false,
            version: false,
            loop_is_fatal: false,
        }
    }
}

/// What `-h` prints.
pub(crate) const USAGE: &str = "Usage of coredns:
  -conf string
    \tCorefile to load (default \"Corefile\")
  -dns.port string
    \tDefault port (default \"53\")
  -loop-fatal
    \tEnd with code 1 when a forwarding loop is detected, as CoreDNS does; twin CALLSIGN_LOOP_FATAL
  -p string
    \tDefault port (default \"53\")
  -pidfile string
    \tPath to write pid file
  -plugins
    \tList installed plugins
  -quiet
    \tQuiet mode (no initialization output)
  -version
    \tShow version
  -windows-service
    \tAccepted, and without effect here
";

/// Names that are CoreDNS's alone: a command line that begins with one is meant for it.
const OWN: [&str; 8] =
    ["conf", "dns.port", "p", "pidfile", "plugins", "quiet", "loop-fatal", "windows-service"];

/// Whether a process that was started by this name, with this first word, stands in for CoreDNS. `--version` alone is left to
/// the commands.
pub(crate) fn are_meant(program: Option<&OsString>, first: Option<&OsString>) -> bool {
    let name = program.and_then(|path| std::path::Path::new(path).file_name().map(ToOwned::to_owned));
    if name.is_some_and(|name| name == "coredns") {
        return true;
    }
    let Some(word) = first.and_then(|word| word.to_str()) else { return false };
    // One dash and more than a letter is how Go writes flags, and none of the commands': an unknown one gets Go's answer.
    if word.len() > 2 && word.starts_with('-') && !word.starts_with("--") {
        return true;
    }
    let Some(flag) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else { return false };
    let name = flag.split_once('=').map_or(flag, |(name, _)| name);
    OWN.contains(&name)
}

impl Flags {
    /// Reads the words after the program's name.
    ///
    /// # Errors
    /// When a flag is unknown, lacks its value or has a wrong one, and when there is more than flags.
    pub(crate) fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, Refused> {
        let mut flags = Self { loop_is_fatal: variable_is_true("CALLSIGN_LOOP_FATAL")?, ..Self::default() };
        let words = words.into_iter().map(|word| {
            word.into_string().map_err(|word| Refused::Usage(format!("{}: not UTF-8", word.display())))
        });
        let mut words = words.collect::<Result<Vec<_>, _>>()?.into_iter();
        while let Some(word) = words.next() {
            let flag = match word.strip_prefix("--").or_else(|| word.strip_prefix('-')) {
                Some("") if word == "--" => return no_more(words.collect(), flags),
                Some(flag) if !flag.is_empty() => flag,
                _ => return no_more(std::iter::once(word).chain(words).collect(), flags),
            };
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            let truth = || boolean(name, value.as_deref());
            match name {
                "quiet" => flags.quiet = truth()?,
                "plugins" => flags.plugins = truth()?,
                "version" => flags.version = truth()?,
                "loop-fatal" => flags.loop_is_fatal = truth()?,
                "windows-service" => drop(truth()?),
                "h" | "help" => return Err(Refused::Help),
                "conf" | "dns.port" | "p" | "pidfile" => {
                    let missing = || Refused::Usage(format!("flag needs an argument: -{name}"));
                    let value = value.or_else(|| words.next()).ok_or_else(missing)?;
                    match name {
                        "conf" => flags.conf = (!value.is_empty()).then(|| value.into()),
                        "pidfile" => flags.pidfile = (!value.is_empty()).then(|| value.into()),
                        _ => {
                            flags.port = value
                                .parse()
                                .map_err(|_| Refused::Usage(format!("-{name}: '{value}' is not a port")))?;
                        }
                    }
                }
                _ => return Err(Refused::Usage(format!("flag provided but not defined: -{name}"))),
            }
        }
        Ok(flags)
    }
}

fn no_more(rest: Vec<String>, flags: Flags) -> Result<Flags, Refused> {
    if rest.is_empty() {
        return Ok(flags);
    }
    Err(Refused::Extra(format!("extra command line arguments: [{}]", rest.join(" "))))
}

/// Go's `strconv.ParseBool`; a flag without a value is true.
fn boolean(name: &str, value: Option<&str>) -> Result<bool, Refused> {
    match value {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(other) => {
            Err(Refused::Usage(format!("invalid boolean value \"{other}\" for -{name}: parse error")))
        }
    }
}

fn variable_is_true(name: &str) -> Result<bool, Refused> {
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => boolean(name, Some(&value)),
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> Result<Flags, Refused> {
        Flags::read(words.split_whitespace().map(OsString::from))
    }

    #[test]
    fn flags_are_gos() {
        let wanted = Flags { conf: Some("/x".into()), port: 1053, quiet: true, ..Flags::default() };
        for words in [
            "-conf /x -dns.port 1053 -quiet",
            "--conf=/x -p=1053 --quiet=true",
            "-p 53 -dns.port 1053 -quiet -conf /x --",
        ] {
            assert_eq!(read(words), Ok(wanted.clone()), "{words}");
        }
        assert_eq!(read(""), Ok(Flags::default()));
        assert!(!read("-quiet=false").unwrap().quiet);
        assert_eq!(read("-pidfile /run/x").unwrap().pidfile, Some("/run/x".into()));
        let usage = |words| match read(words) {
            Err(Refused::Usage(why)) => why,
            other => panic!("{words}: {other:?}"),
        };
        assert_eq!(usage("-bogus"), "flag provided but not defined: -bogus");
        assert_eq!(usage("-conf"), "flag needs an argument: -conf");
        assert_eq!(usage("-quiet=perhaps"), "invalid boolean value \"perhaps\" for -quiet: parse error");
        assert!(usage("-p 70000").contains("70000"));
        assert_eq!(read("-h"), Err(Refused::Help));
        for words in ["-quiet x", "x", "-- x", "-"] {
            let Err(Refused::Extra(why)) = read(words) else { panic!("{words}") };
            assert!(why.starts_with("extra command line arguments: ["), "{why}");
        }
    }

    #[test]
    fn who_is_meant_is_told_by_the_first_word() {
        let meant = |program: &str, first: &str| {
            let first = (!first.is_empty()).then(|| OsString::from(first));
            are_meant(Some(&program.into()), first.as_ref())
        };
        for first in
            ["-conf", "--conf", "-conf=x", "-dns.port=1", "-p", "-version", "-quiet", "--plugins", "-bogus"]
        {
            assert!(meant("/bin/callsign", first), "{first}");
        }
        for first in ["serve", "--version", "--help", "", "-h", "config"] {
            assert!(!meant("callsign", first), "{first}");
        }
        assert!(meant("/coredns", "") && meant("coredns", "-h"));
    }
}
