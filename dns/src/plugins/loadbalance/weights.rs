//! The file of `weighted`: names, and under each its addresses with their weights.
//!
//! ```text
//! # comment
//! www.example.org
//! 192.0.2.1 3
//! 192.0.2.2 1
//! ```

use std::{collections::HashMap, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use hickory_proto::rr::{Name, Record};
use tokio_util::sync::CancellationToken;

use crate::plugin::StartError;

/// By name in lower case.
type Table = HashMap<Name, Vec<(IpAddr, u8)>>;

/// Weights that follow their file.
pub(super) struct Weights {
    file: PathBuf,
    table: ArcSwap<Table>,
}

impl Weights {
    /// Reads the file, and reads it again every `reload`; never where that is zero.
    ///
    /// # Errors
    /// When it is wrong. A file that is not there may come later if it is read again.
    pub(super) fn start(
        file: PathBuf,
        reload: Duration,
        stop: &CancellationToken,
    ) -> Result<Arc<Self>, StartError> {
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if !reload.is_zero() => {
                tracing::warn!(target: "plugin/loadbalance", "Failed to open weight file:{error}. Will try again in {reload:?}");
                String::new()
            }
            Err(error) => return Err(StartError(format!("plugin/loadbalance: {}: {error}", file.display()))),
        };
        let named = |message| format!("plugin/loadbalance: {message} in weight file {}", file.display());
        let table = read(&text).map_err(|message| StartError(named(message)))?;
        let weights = Arc::new(Self { table: ArcSwap::from_pointee(table), file });
        if !reload.is_zero() {
            tokio::spawn(Arc::clone(&weights).follow(text, reload, stop.clone()));
        }
        Ok(weights)
    }

    async fn follow(self: Arc<Self>, mut known: String, reload: Duration, stop: CancellationToken) {
        while tokio::time::timeout(reload, stop.cancelled()).await.is_err() {
            let file = self.file.display();
            match tokio::fs::read_to_string(&self.file).await {
                Ok(text) if text == known => {}
                Ok(text) => {
                    match read(&text) {
                        Ok(table) => {
                            self.table.store(Arc::new(table));
                            tracing::info!(target: "plugin/loadbalance", "Successfully reloaded weight file {file}");
                        }
                        Err(message) => {
                            tracing::error!(target: "plugin/loadbalance", "{message} in weight file {file}");
                        }
                    }
                    known = text;
                }
                Err(error) => {
                    tracing::error!(target: "plugin/loadbalance", "weight file open error: {file}: {error}");
                }
            }
        }
    }

    /// Puts one of a name's addresses first: each as often as its weight says, 1 where it says nothing.
    pub(super) fn choose(&self, set: &mut [Record]) {
        let Some(first) = set.first() else { return };
        let table = self.table.load();
        let weights = table.get(&first.name.to_lowercase());
        let weight = |record: &Record| {
            let ip = super::address(record);
            let known = weights.into_iter().flatten().find(|(other, _)| Some(*other) == ip);
            known.map_or(1, |(_, weight)| u32::from(*weight))
        };
        let sum: u32 = set.iter().map(weight).sum();
        let mut left = fastrand::u32(..sum.max(1));
        let chosen = set.iter().position(|record| {
            let weight = weight(record);
            let found = left < weight;
            left = left.saturating_sub(weight);
            found
        });
        if let Some(chosen) = chosen {
            set.swap(0, chosen);
        }
    }
}

/// Reads a file's text; what is wrong, in CoreDNS's words.
fn read(text: &str) -> Result<Table, String> {
    let mut table = Table::new();
    let mut name: Option<Name> = None;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [word] if word.parse::<IpAddr>().is_ok() => {
                return Err(format!("wrong domain name:\"{word}\" (Maybe a missing weight value?)"));
            }
            [word] => {
                let wrong = |_| format!("wrong domain name:\"{word}\"");
                let mut read = Name::from_ascii(word).map_err(wrong)?.to_lowercase();
                read.set_fqdn(true);
                table.entry(read.clone()).or_default();
                name = Some(read);
            }
            [ip, weight] => {
                let address = ip.parse().map_err(|_| format!("wrong IP address:\"{ip}\""))?;
                let value = weight.parse::<u8>().ok().filter(|value| *value > 0);
                let value = value.ok_or_else(|| format!("wrong weight value:\"{weight}\""))?;
                let name = name.clone().ok_or("missing domain name")?;
                table.entry(name).or_default().push((address, value));
            }
            _ => return Err(format!("could not parse weight line:\"{line}\"")),
        }
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_checked() {
        for (text, message) in [
            ("192.0.2.1", "wrong domain name:\"192.0.2.1\" (Maybe a missing weight value?)"),
            ("192.0.2.1 3", "missing domain name"),
            ("a.org\n192.0.2 3", "wrong IP address:\"192.0.2\""),
            ("a.org\n192.0.2.1 0", "wrong weight value:\"0\""),
            ("a.org\n192.0.2.1 256", "wrong weight value:\"256\""),
            ("a.org b c", "could not parse weight line:\"a.org b c\""),
        ] {
            assert_eq!(read(text).unwrap_err(), message);
        }
        let table = read("# weights\n\nWww.Example.org\n 192.0.2.1 3\n2001:db8::1 2\n").unwrap();
        let name = Name::from_ascii("www.example.org.").unwrap();
        assert_eq!(table[&name], [("192.0.2.1".parse().unwrap(), 3), ("2001:db8::1".parse().unwrap(), 2)]);
    }
}
