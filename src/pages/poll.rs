//! The process asks its own `/health` every second (`coredns` `plugin/health/overloaded.go`).

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use callsign_dns::plugin::Meter;
use prometheus_client::{
    metrics::{counter::Counter, histogram::Histogram},
    registry::Registry,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tracing::warn;

const EVERY: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(3);
/// More than a second is worth a line.
const SLOW: Duration = Duration::from_secs(1);

/// How long it took, and how often there was no answer.
#[derive(Debug)]
pub(crate) struct Polled {
    duration: Histogram,
    failures: Counter,
}

impl Meter for Polled {
    fn register(registry: &mut Registry) -> Self {
        // A quarter of a millisecond and four times ten times more.
        let buckets = (0..5).map(|power| 0.000_25 * 10_f64.powi(power));
        let polled = Self { duration: Histogram::new(buckets), failures: Counter::default() };
        registry.register(
            "coredns_health_request_duration_seconds",
            "Histogram of the time (in seconds) each request took",
            polled.duration.clone(),
        );
        registry.register(
            "coredns_health_request_failures",
            "The number of times the health check failed",
            polled.failures.clone(),
        );
        polled
    }
}

/// Asks until it is dropped.
pub(super) async fn every_second(local: SocketAddr, polled: Arc<Polled>) {
    let to = match local.ip() {
        std::net::IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, local.port()).into(),
        std::net::IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, local.port()).into(),
        _ => local,
    };
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first is at once.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let started = Instant::now();
        match timeout(PATIENCE, ask(to)).await {
            Ok(Ok(())) => {
                let elapsed = started.elapsed();
                polled.duration.observe(elapsed.as_secs_f64());
                if elapsed > SLOW {
                    warn!(target: "plugin/health", "Local health request to \"http://{to}/health\" took more than 1s: {elapsed:?}");
                }
            }
            failed => {
                polled.duration.observe(started.elapsed().as_secs_f64());
                polled.failures.inc();
                let why = match failed {
                    Ok(Err(error)) => error.to_string(),
                    _ => format!("no answer within {PATIENCE:?}"),
                };
                warn!(target: "plugin/health", "Local health request to \"http://{to}/health\" failed: {why}");
            }
        }
    }
}

async fn ask(to: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(to).await?;
    let request = format!("GET /health HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).await?;
    if status.ends_with(b" 200") { Ok(()) } else { Err(io::Error::other("the answer is not 200")) }
}
