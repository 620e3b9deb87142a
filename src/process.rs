//! What the kernel knows of this process, under the names that every Prometheus client has for it.

use std::fmt;

use procfs::{
    CurrentSI, KernelStats,
    process::{LimitValue, Process},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

/// Read at each scrape. Where there is no `/proc` there are no such metrics.
#[derive(Debug)]
pub(crate) struct ProcessMetrics;

/// What is read.
struct Figures {
    cpu_seconds: f64,
    start_seconds: f64,
    resident: u64,
    virtual_: u64,
    most_virtual: f64,
    open_files: Option<u64>,
    most_files: f64,
}

impl Figures {
    fn read() -> Option<Self> {
        let process = Process::myself().ok()?;
        let stat = process.stat().ok()?;
        let ticks = procfs::ticks_per_second() as f64;
        let limits = process.limits().ok();
        let most = |limit: Option<LimitValue>| match limit {
            Some(LimitValue::Value(most)) => most as f64,
            Some(LimitValue::Unlimited) => -1.0,
            None => 0.0,
        };
        // The kernel counts from its own start.
        let booted = KernelStats::current().map_or(0, |stats| stats.btime);
        Some(Self {
            cpu_seconds: (stat.utime + stat.stime) as f64 / ticks,
            start_seconds: booted as f64 + stat.starttime as f64 / ticks,
            resident: stat.rss * procfs::page_size(),
            virtual_: stat.vsize,
            most_virtual: most(limits.as_ref().map(|limits| limits.max_address_space.soft_limit)),
            open_files: process.fd_count().ok().map(|count| count as u64),
            most_files: most(limits.as_ref().map(|limits| limits.max_open_files.soft_limit)),
        })
    }
}

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(figures) = Figures::read() else { return Ok(()) };
        let help = "Total user and system CPU time spent in seconds.";
        let cpu = encoder.encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?;
        ConstCounter::new(figures.cpu_seconds).encode(cpu)?;
        let mut gauge = |name: &str, help: &str, value: f64| {
            let gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(gauge)
        };
        if let Some(open) = figures.open_files {
            gauge("process_open_fds", "Number of open file descriptors.", open as f64)?;
        }
        gauge("process_max_fds", "Maximum number of open file descriptors.", figures.most_files)?;
        let resident = figures.resident as f64;
        gauge("process_resident_memory_bytes", "Resident memory size in bytes.", resident)?;
        let start = "Start time of the process since unix epoch in seconds.";
        gauge("process_start_time_seconds", start, figures.start_seconds)?;
        gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", figures.virtual_ as f64)?;
        let most = "Maximum amount of virtual memory available in bytes.";
        gauge("process_virtual_memory_max_bytes", most, figures.most_virtual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_this_process() {
        let figures = Figures::read().unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((figures.start_seconds - now).abs() < 600.0, "{} {now}", figures.start_seconds);
        assert!(figures.resident > 1 << 20 && figures.virtual_ > figures.resident);
        assert!(figures.open_files.unwrap() > 2);
        let before = figures.cpu_seconds;
        let started = std::time::Instant::now();
        while started.elapsed().as_millis() < 60 {
            std::hint::black_box(0);
        }
        assert!(Figures::read().unwrap().cpu_seconds > before);
    }
}
