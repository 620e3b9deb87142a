//! The table of mixes: all servers in turn, as much as they answer or at a rate.

use anyhow::{Context, Result, bail};
use callsign_e2e::load::{
    mix::{Edns, Mix},
    outcome::{Comparison, Outcome},
    question::Question,
};

use crate::{
    Bench,
    client::{Client, Pace, WARM},
    cores,
    report::{Sample, Table, micros, middle, range},
    servers::{Kind, Server},
};

/// What was measured of one server with one mix.
struct Row {
    server: Kind,
    comparison: Comparison,
    questions: usize,
    samples: Vec<Sample>,
}

/// A server under one mix.
struct Measured<'a> {
    server: &'a Server,
    client: Client,
    outcomes: Vec<Outcome>,
    row: Row,
}

/// Measures mixes and prints a line for each of them and each server.
///
/// # Errors
/// When a server fails, or answers otherwise than Callsign.
pub(crate) fn run(
    bench: &Bench<'_>,
    servers: &[Server],
    title: &str,
    mixes: &[Mix],
    edns: &[Edns],
    pace: Pace,
) -> Result<()> {
    let columns = [
        ("mix", 8),
        ("EDNS", 7),
        ("server", 8),
        ("CPU-s/M", 7),
        ("least–most", 11),
        ("answers/s", 9),
        ("busy", 5),
        ("bytes", 5),
        ("p50", 8),
        ("p99", 8),
        ("lost", 5),
        ("/floor", 6),
        ("/NSD", 6),
        ("/Knot", 6),
    ];
    let table = Table::new(title, 3, columns, bench.args.markdown);
    let mut notes = Vec::new();
    for mix in mixes {
        for edns in edns {
            let rows = measure(bench, servers, *mix, *edns, pace)?;
            rows.iter().for_each(|row| table.row(row.cells(*mix, *edns, &rows)));
            notes.extend(rows.iter().filter_map(|row| row.note(*mix, *edns)));
        }
    }
    if !notes.is_empty() {
        println!();
    }
    notes.iter().for_each(|note| println!("{}{note}", if bench.args.markdown { "* " } else { "" }));
    Ok(())
}

fn measure(bench: &Bench<'_>, servers: &[Server], mix: Mix, edns: Edns, pace: Pace) -> Result<Vec<Row>> {
    let questions = mix.questions(&bench.start.cluster, edns);
    let mut measured = Vec::new();
    for server in servers {
        let mut client = Client::new(server.address)?;
        let outcomes = client.learn(&questions)?;
        let row = Row {
            server: server.kind,
            comparison: Comparison::default(),
            questions: questions.len(),
            samples: Vec::new(),
        };
        measured.push(Measured { server, client, outcomes, row });
    }
    let ours = measured.iter().find(|measured| measured.server.kind == Kind::Callsign);
    let ours = ours.map(|measured| measured.outcomes.clone()).context("Callsign")?;
    let mut left = Vec::new();
    for mut one in measured {
        let name = one.server.kind.name();
        match compare(&questions, &ours, &mut one) {
            None => left.push(one),
            Some(why) if one.server.kind == Kind::Callsign => bail!("{mix}, {edns} EDNS: {name}: {why}"),
            Some(why) => println!("{name} is left out of {mix}, {edns} EDNS: {why}"),
        }
    }
    let mut measured = left;
    for _ in 0..bench.args.rounds {
        for Measured { server, client, outcomes, row } in &mut measured {
            client.load(&questions, outcomes, pace, WARM)?;
            let before = cores::spent(&server.processes)?;
            let run = client.load(&questions, outcomes, pace, bench.args.seconds)?;
            let cpu = cores::spent(&server.processes)?.saturating_sub(before);
            run.is_right().with_context(|| server.kind.name())?;
            row.samples.push(Sample::new(&run, cpu));
        }
    }
    Ok(measured.into_iter().map(|measured| measured.row).collect())
}

/// Holds the answers of a server against Callsign's. Why it cannot be measured, if that is so.
fn compare(questions: &[Question], ours: &[Outcome], measured: &mut Measured<'_>) -> Option<String> {
    let Measured { outcomes, row, .. } = measured;
    let text = |at| questions.get(at).map(Question::text).unwrap_or_default();
    if let Some(at) = outcomes.iter().position(|outcome| outcome.code().is_none()) {
        return Some(format!("it does not answer {}", text(at)));
    }
    if row.server == Kind::Floor {
        return None;
    }
    row.comparison = Comparison::of(ours, outcomes);
    let at = row.comparison.first?;
    Some(format!(
        "it answers {} of {} questions otherwise than Callsign, first {}: {:?}, not {:?}",
        row.comparison.answers,
        questions.len(),
        text(at),
        outcomes.get(at),
        ours.get(at),
    ))
}

impl Row {
    fn cells(&self, mix: Mix, edns: Edns, rows: &[Self]) -> [String; 14] {
        let cost = middle(&self.samples, |sample| sample.cost);
        let of = |kind: Kind| {
            let other = rows.iter().find(|other| other.server == kind && kind != self.server);
            other.map_or_else(
                || "–".to_owned(),
                |other| format!("{:.2}", cost / middle(&other.samples, |sample| sample.cost)),
            )
        };
        let latency = |of: fn([f64; 3]) -> f64| micros(middle(&self.samples, |sample| of(sample.latency)));
        [
            mix.to_string(),
            edns.to_string(),
            self.server.name().to_owned(),
            format!("{cost:.2}"),
            range(&self.samples, |sample| sample.cost),
            format!("{:.0}", middle(&self.samples, |sample| sample.rate)),
            format!("{:.0} %", middle(&self.samples, |sample| sample.busy) * 100.0),
            format!("{:.0}", middle(&self.samples, |sample| sample.bytes)),
            latency(|[median, ..]| median),
            latency(|[_, p99, _]| p99),
            self.samples.iter().map(|sample| sample.lost).sum::<u64>().to_string(),
            of(Kind::Floor),
            of(Kind::Nsd),
            of(Kind::Knot),
        ]
    }

    /// In what its answers differ from Callsign's, though a client acts on neither.
    fn note(&self, mix: Mix, edns: Edns) -> Option<String> {
        let Comparison { authority, additional, .. } = self.comparison;
        let name = self.server.name();
        let of = self.questions;
        (authority + additional > 0).then(|| {
            format!(
                "{mix}, {edns} EDNS: {name} has another number of authority records in {authority} of {of} answers, of \
                 additional records in {additional}"
            )
        })
    }
}
