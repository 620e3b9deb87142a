//! What the process tells over HTTP: metrics, the journal, readiness.

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A page of metrics.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// The type of each family, by the name it is announced under.
    pub types: BTreeMap<String, String>,
    /// Every sample, by its name and labels as they are written: `workqueue_depth{name="endpoint"}`.
    pub samples: BTreeMap<String, f64>,
}

/// The status and the body of a page.
///
/// # Errors
/// When there is no answer.
pub async fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    get_as(address, path, "*/*").await
}

/// The same, of a media type.
///
/// # Errors
/// When there is no answer.
pub async fn get_as(address: SocketAddr, path: &str, accept: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no head")?;
    let status = head.split_whitespace().nth(1).context("no status")?.parse()?;
    // Pages come whole here, or in chunks: the sizes between are lines of their own.
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    Ok((status, if chunked { joined(body) } else { body.to_owned() }))
}

fn joined(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or_default();
        let Some(chunk) = rest.get(..size).filter(|chunk| !chunk.is_empty()) else { break };
        whole.push_str(chunk);
        body = rest.get(size + 2..).unwrap_or_default();
    }
    whole
}

/// The lines of a page, each a JSON value.
///
/// # Errors
/// When there is no such page, or a line is no JSON.
pub async fn json_lines(address: SocketAddr, path: &str) -> Result<Vec<Value>> {
    let (status, body) = get(address, path).await?;
    ensure!(status == 200, "{path}: {status} {body}");
    body.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}

impl Metrics {
    /// Reads `/metrics`.
    ///
    /// # Errors
    /// When there is no such page, or a line is none of the format.
    pub async fn of(address: SocketAddr) -> Result<Self> {
        let (status, body) = get_as(address, "/metrics", "application/openmetrics-text").await?;
        ensure!(status == 200, "{status} {body}");
        Self::read(&body)
    }

    /// Reads a page of OpenMetrics.
    ///
    /// # Errors
    /// When a line is none of the format.
    pub fn read(body: &str) -> Result<Self> {
        let mut metrics = Self::default();
        for line in body.lines() {
            if let Some(family) = line.strip_prefix("# TYPE ") {
                let (name, kind) = family.split_once(' ').with_context(|| line.to_owned())?;
                ensure!(
                    metrics.types.insert(name.to_owned(), kind.to_owned()).is_none(),
                    "announced twice: {name}"
                );
            } else if !line.starts_with('#') {
                let (sample, value) = line.rsplit_once(' ').with_context(|| line.to_owned())?;
                let value = value.parse().with_context(|| line.to_owned())?;
                ensure!(metrics.samples.insert(sample.to_owned(), value).is_none(), "twice: {sample}");
            }
        }
        Ok(metrics)
    }

    /// A sample; 0 when it is not there.
    pub fn value(&self, sample: &str) -> f64 {
        self.samples.get(sample).copied().unwrap_or_default()
    }
}
