//! Figures of rounds, and tables of them.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::run::Run;

/// One round of one server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// CPU-seconds of the server per million answers.
    pub(crate) cost: f64,
    /// Answers a second.
    pub(crate) rate: f64,
    /// The size of an answer.
    pub(crate) bytes: f64,
    /// Microseconds until the load has an answer: the median, of 99 in 100, of 999 in 1000.
    pub(crate) latency: [f64; 3],
    /// The same until the kernel has it.
    pub(crate) served: [f64; 3],
    pub(crate) lost: u64,
    /// How much of a core the server used, and how much the load.
    pub(crate) busy: f64,
    pub(crate) client: f64,
}

impl Sample {
    /// Of a run in which the server has used so much.
    pub(crate) fn new(run: &Run, cpu: Duration) -> Self {
        let answered = run.answered.max(1) as f64;
        let took = run.took.as_secs_f64().max(f64::MIN_POSITIVE);
        let quantiles = |histogram: &Histogram<u64>| {
            [0.5, 0.99, 0.999].map(|at| histogram.value_at_quantile(at) as f64 / 1e3)
        };
        Self {
            cost: cpu.as_secs_f64() / answered * 1e6,
            rate: answered / took,
            bytes: run.bytes as f64 / answered,
            latency: quantiles(&run.latency),
            served: quantiles(&run.served),
            lost: run.lost,
            busy: cpu.as_secs_f64() / took,
            client: run.client.as_secs_f64() / took,
        }
    }
}

/// The least, the middle and the most of a figure of some rounds.
pub(crate) fn spread(samples: &[Sample], figure: impl Fn(&Sample) -> f64) -> [f64; 3] {
    let mut values: Vec<f64> = samples.iter().map(figure).collect();
    values.sort_by(f64::total_cmp);
    [0, values.len() / 2, values.len().saturating_sub(1)]
        .map(|at| values.get(at).copied().unwrap_or(f64::NAN))
}

/// The middle of it.
pub(crate) fn middle(samples: &[Sample], figure: impl Fn(&Sample) -> f64) -> f64 {
    let [_, middle, _] = spread(samples, figure);
    middle
}

/// `3.10–3.40`
pub(crate) fn range(samples: &[Sample], figure: impl Fn(&Sample) -> f64) -> String {
    let [least, _, most] = spread(samples, figure);
    format!("{least:.2}–{most:.2}")
}

/// `412 µs`
pub(crate) fn micros(value: f64) -> String {
    if value < 10_000.0 { format!("{value:.0} µs") } else { format!("{:.0} ms", value / 1e3) }
}

/// A table that is printed line by line.
pub(crate) struct Table<const N: usize> {
    columns: [(&'static str, usize); N],
    /// How many of the columns, from the first, are words.
    words: usize,
    markdown: bool,
}

impl<const N: usize> Table<N> {
    /// Prints the heading: names of columns and how wide they are.
    pub(crate) fn new(
        title: &str,
        words: usize,
        columns: [(&'static str, usize); N],
        markdown: bool,
    ) -> Self {
        let table = Self { columns, words, markdown };
        println!("\n{}{title}\n", if markdown { "### " } else { "" });
        table.row(columns.map(|(name, _)| name.to_owned()));
        if markdown {
            let rule = |at: usize| if at < words { "---|" } else { "--:|" };
            println!("|{}", (0..N).map(rule).collect::<String>());
        }
        table
    }

    /// Prints a line.
    pub(crate) fn row(&self, cells: [String; N]) {
        if self.markdown {
            println!("| {} |", cells.join(" | "));
            return;
        }
        let mut text = String::new();
        for (at, (cell, (_, width))) in cells.iter().zip(self.columns).enumerate() {
            let padded = if at < self.words { format!("{cell:<width$}") } else { format!("{cell:>width$}") };
            text.push_str(&padded);
            text.push(' ');
        }
        println!("{}", text.trim_end());
    }
}
