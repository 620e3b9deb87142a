//! The counters as metrics.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder},
    metrics::{MetricType, counter::ConstCounter, exemplar::Exemplar, gauge::ConstGauge},
};

use super::{
    Enabled, Histogram, HttpsMetrics, Metrics, Shard, Tallies,
    labels::{FAMILIES, PROTOCOLS, RCODES, SIZES, STATUSES, TYPES, duration_bound},
};

impl Collector for Tallies {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let all: Vec<Arc<Metrics>> = self.all.lock().values().cloned().collect();
        // Not one was ever asked for.
        let all: Vec<Arc<Metrics>> =
            all.into_iter().filter(|metrics| metrics.shards().next().is_some()).collect();
        let counter = MetricType::Counter;
        let help = "Counter of DNS requests made per zone, protocol and family.";
        let mut requests = encoder.encode_descriptor("coredns_dns_requests", help, None, counter)?;
        for metrics in &all {
            for (p, protocol) in PROTOCOLS.iter().enumerate() {
                for (f, family) in FAMILIES.iter().enumerate() {
                    for (t, kind) in TYPES.iter().enumerate() {
                        let count = metrics.sum(|shard| shard.requests.get(p)?.get(f)?.get(t));
                        let more = [("proto", *protocol), ("family", *family), ("type", *kind)];
                        encode_counter(&mut requests, &metrics.labels(), &more, count)?;
                    }
                }
            }
        }
        let help = "Counter of response status codes.";
        let mut responses = encoder.encode_descriptor("coredns_dns_responses", help, None, counter)?;
        for metrics in &all {
            for (plugin, rcodes) in metrics.responses() {
                for (rcode, count) in RCODES.iter().zip(rcodes) {
                    let more = [("rcode", *rcode), ("plugin", plugin)];
                    encode_counter(&mut responses, &metrics.labels(), &more, count)?;
                }
            }
        }
        let help = "Counter of DNS requests with DO bit set per zone.";
        let mut dnssec_ok = encoder.encode_descriptor("coredns_dns_do_requests", help, None, counter)?;
        for metrics in &all {
            let count = metrics.sum(|shard| Some(&shard.dnssec_ok));
            encode_counter(&mut dnssec_ok, &metrics.labels(), &[], count)?;
        }
        let name = "coredns_dns_request_duration_seconds";
        let help = "Histogram of the time (in seconds) each request took per zone.";
        let mut duration = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for metrics in &all {
            let (buckets, nanos) = metrics.histogram(|shard| Some(&shard.duration));
            let sum = nanos as f64 / 1e9;
            encode_histogram(&mut duration, &metrics.labels(), &[], &buckets, duration_bound, sum)?;
        }
        encode_sizes(&mut encoder, &all, "request", |shard| &shard.request_size)?;
        encode_sizes(&mut encoder, &all, "response", |shard| &shard.response_size)?;
        let help = "A metrics that counts the number of panics.";
        let panics = encoder.encode_descriptor("coredns_panics", help, None, counter)?;
        ConstCounter::new(self.panics.load(Ordering::Relaxed)).encode(panics)?;
        let help = "Questions that were dropped because too many were being answered.";
        let dropped = encoder.encode_descriptor("callsign_dns_questions_dropped", help, None, counter)?;
        ConstCounter::new(self.dropped.load(Ordering::Relaxed)).encode(dropped)?;
        self.tcp.encode(&mut encoder)?;
        self.encode_https(&mut encoder)?;
        self.encode_enabled(&mut encoder)
    }
}

impl Tallies {
    fn encode_https(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let https: Vec<(Arc<str>, Arc<HttpsMetrics>)> = self
            .https
            .lock()
            .iter()
            .map(|(server, metrics)| (Arc::clone(server), Arc::clone(metrics)))
            .collect();
        let help = "Counter of DoH responses per server and http status code.";
        let name = "coredns_dns_https_responses";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (server, metrics) in https {
            for (status, count) in STATUSES.iter().zip(&metrics.responses) {
                let status = status.to_string();
                let labels = [("server", &*server), ("status", &*status)];
                encode_counter(&mut family, &labels, &[], count.load(Ordering::Relaxed))?;
            }
        }
        Ok(())
    }

    fn encode_enabled(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let enabled = self.enabled.lock().clone();
        let help = "A metric that indicates whether a plugin is enabled on per server and zone basis.";
        let mut family =
            encoder.encode_descriptor("coredns_plugin_enabled", help, None, MetricType::Gauge)?;
        for Enabled { labels: (server, zone, view), plugin } in &enabled {
            let labels = [("server", &**server), ("zone", &**zone), ("view", &**view), ("name", *plugin)];
            ConstGauge::new(1_i64).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl Metrics {
    fn labels(&self) -> [(&str, &str); 3] {
        [("server", &*self.server), ("zone", &*self.zone), ("view", &*self.view)]
    }

    fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.shards.iter().filter_map(|shard| shard.get().map(|shard| &**shard))
    }

    fn sum(&self, of: impl Fn(&Shard) -> Option<&AtomicU64>) -> u64 {
        self.shards().filter_map(of).map(|counter| counter.load(Ordering::Relaxed)).sum()
    }

    /// Answers by plugin, and of each by code.
    fn responses(&self) -> BTreeMap<&'static str, [u64; RCODES.len()]> {
        let mut all = BTreeMap::new();
        for responses in self.shards().flat_map(|shard| &shard.responses).filter_map(OnceLock::get) {
            let sums = all.entry(responses.plugin).or_insert([0; RCODES.len()]);
            for (sum, count) in sums.iter_mut().zip(&responses.rcodes) {
                *sum += count.load(Ordering::Relaxed);
            }
        }
        all
    }

    fn histogram<const N: usize>(&self, of: impl Fn(&Shard) -> Option<&Histogram<N>>) -> ([u64; N], u64) {
        let mut buckets = [0; N];
        let mut sum = 0_u64;
        for histogram in self.shards().filter_map(of) {
            for (total, bucket) in buckets.iter_mut().zip(&histogram.buckets) {
                *total += bucket.load(Ordering::Relaxed);
            }
            sum = sum.wrapping_add(histogram.sum.load(Ordering::Relaxed));
        }
        (buckets, sum)
    }
}

fn encode_sizes(
    encoder: &mut DescriptorEncoder<'_>,
    all: &[Arc<Metrics>],
    of: &str,
    sizes: impl Fn(&Shard) -> &[Histogram<{ SIZES.len() + 1 }>; 2],
) -> Result<(), fmt::Error> {
    let name = format!("coredns_dns_{of}_size_bytes");
    let help = format!("Size of the {of} in bytes, per zone and protocol.");
    let mut family = encoder.encode_descriptor(&name, &help, None, MetricType::Histogram)?;
    for metrics in all {
        for (at, protocol) in PROTOCOLS.iter().enumerate() {
            let (buckets, sum) = metrics.histogram(|shard| sizes(shard).get(at));
            let bound = |bucket: usize| SIZES.get(bucket).copied().unwrap_or(f64::INFINITY);
            encode_histogram(
                &mut family,
                &metrics.labels(),
                &[("proto", *protocol)],
                &buckets,
                bound,
                sum as f64,
            )?;
        }
    }
    Ok(())
}

/// Counters that never counted are left out: most types are never asked for.
fn encode_counter(
    family: &mut MetricEncoder<'_>,
    block: &[(&str, &str)],
    more: &[(&str, &str)],
    count: u64,
) -> Result<(), fmt::Error> {
    if count == 0 {
        return Ok(());
    }
    let labels = [block, more].concat();
    let labels = labels.as_slice();
    family.encode_family(&labels)?.encode_counter(&count, None::<&Exemplar<[(&str, &str); 0], u64>>)
}

fn encode_histogram(
    family: &mut MetricEncoder<'_>,
    block: &[(&str, &str)],
    more: &[(&str, &str)],
    buckets: &[u64],
    bound: impl Fn(usize) -> f64,
    sum: f64,
) -> Result<(), fmt::Error> {
    let count = buckets.iter().sum();
    if count == 0 {
        return Ok(());
    }
    let last = buckets.len() - 1;
    let bounds = (0..).map(|at| if at == last { f64::INFINITY } else { bound(at) });
    let buckets: Vec<(f64, u64)> = bounds.zip(buckets.iter().copied()).collect();
    let labels = [block, more].concat();
    let labels = labels.as_slice();
    family.encode_family(&labels)?.encode_histogram::<[(&str, &str); 0]>(sum, count, &buckets, None)
}
