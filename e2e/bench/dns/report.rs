//! The tables.

use std::time::Duration;

use callsign_e2e::load::{
    mix::{Edns, Mix},
    outcome::Comparison,
};

use crate::{client::Run, servers::Kind};

/// What was measured of one server with one mix.
pub(crate) struct Row {
    pub(crate) mix: Mix,
    pub(crate) edns: Edns,
    pub(crate) server: Kind,
    pub(crate) comparison: Comparison,
    pub(crate) samples: Vec<Sample>,
}

/// One round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// CPU-seconds of the server per million answers.
    pub(crate) cost: f64,
    /// Answers a second.
    pub(crate) rate: f64,
    pub(crate) median: Duration,
    pub(crate) p99: Duration,
    pub(crate) lost: u64,
    /// How much of its core the server used, from 0 to 1.
    pub(crate) busy: f64,
}

impl Row {
    pub(crate) fn new(mix: Mix, edns: Edns, server: Kind) -> Self {
        Self { mix, edns, server, comparison: Comparison::default(), samples: Vec::new() }
    }

    /// The least, the middle and the most of a figure.
    fn of(&self, figure: impl Fn(&Sample) -> f64) -> [f64; 3] {
        let mut values: Vec<f64> = self.samples.iter().map(figure).collect();
        values.sort_by(f64::total_cmp);
        [0, values.len() / 2, values.len().saturating_sub(1)]
            .map(|at| values.get(at).copied().unwrap_or(f64::NAN))
    }

    fn middle(&self, figure: impl Fn(&Sample) -> f64) -> f64 {
        let [_, middle, _] = self.of(figure);
        middle
    }
}

impl Sample {
    pub(crate) fn new(run: &Run, cpu: Duration) -> Self {
        let answered = run.answered.max(1) as f64;
        let took = run.took.as_secs_f64().max(f64::MIN_POSITIVE);
        let latency = |quantile| Duration::from_nanos(run.latency.value_at_quantile(quantile));
        Self {
            cost: cpu.as_secs_f64() / answered * 1e6,
            rate: answered / took,
            median: latency(0.5),
            p99: latency(0.99),
            lost: run.lost,
            busy: cpu.as_secs_f64() / took,
        }
    }
}

const COLUMNS: [(&str, usize); 11] = [
    ("mix", 10),
    ("server", 10),
    ("CPU-s/M", 8),
    ("least-most", 12),
    ("answers/s", 10),
    ("busy", 6),
    ("p50", 9),
    ("p99", 9),
    ("lost", 6),
    ("of floor", 8),
    ("of NSD, Knot", 14),
];

pub(crate) fn heading(markdown: bool) {
    line(&COLUMNS.map(|(name, _)| name.to_owned()), markdown);
    if markdown {
        println!("|---|---|{}", "--:|".repeat(COLUMNS.len() - 2));
    }
}

/// Prints what was measured of one mix.
pub(crate) fn print(rows: &[Row], markdown: bool) {
    for row in rows {
        let [least, cost, most] = row.of(|sample| sample.cost);
        let of = |kind: Kind| {
            let other = rows.iter().find(|other| other.server == kind && kind != row.server)?;
            Some(format!("{:.2}", cost / other.middle(|sample| sample.cost)))
        };
        let edns = match row.edns {
            Edns::Without => "",
            Edns::With => "+E",
            Edns::Some => "+e",
        };
        let two = [Kind::Nsd, Kind::Knot].map(|kind| of(kind).unwrap_or_else(|| "-".to_owned()));
        let micros = |of: fn(&Sample) -> Duration| {
            format!("{:.0} us", row.middle(|sample| of(sample).as_secs_f64() * 1e6))
        };
        line(
            &[
                format!("{}{edns}", row.mix),
                row.server.name().to_owned(),
                format!("{cost:.2}"),
                format!("{least:.2}-{most:.2}"),
                format!("{:.0}", row.middle(|sample| sample.rate)),
                format!("{:.0} %", row.middle(|sample| sample.busy) * 100.0),
                micros(|sample| sample.median),
                micros(|sample| sample.p99),
                row.samples.iter().map(|sample| sample.lost).sum::<u64>().to_string(),
                of(Kind::Floor).unwrap_or_else(|| "-".to_owned()),
                two.join(", "),
            ],
            markdown,
        );
    }
}

fn line(cells: &[String], markdown: bool) {
    if markdown {
        println!("| {} |", cells.join(" | "));
        return;
    }
    let mut text = String::new();
    for (at, (cell, (_, width))) in cells.iter().zip(COLUMNS).enumerate() {
        let width = width + 1;
        let padded = if at < 2 { format!("{cell:<width$}") } else { format!("{cell:>width$}") };
        text.push_str(&padded);
    }
    println!("{}", text.trim_end());
}
