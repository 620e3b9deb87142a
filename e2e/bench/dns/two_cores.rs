//! Two cores against one, where the load needs a core as well.
//!
//! On a machine of two cores no load can be elsewhere, so how much more two cores answer cannot be seen. What can be is what an
//! answer costs: threads that disturb each other, by locks or by lines of memory that both write, pay for it in CPU time. So
//! there are two loads, one on each core, whether Callsign has one core and one socket or both and two: as many datagrams
//! cross from core to core. Two cores are worth twice one, divided by how much dearer an answer has become; and its threads
//! must have worked alike.

use std::{thread, time::Duration};

use anyhow::{Context, Result};
use callsign_e2e::load::{
    mix::{Edns, Mix},
    outcome::Outcome,
    question::Question,
};

use crate::{
    Bench,
    client::{Client, Pace, WARM},
    cores,
    report::{Sample, Table, middle, range},
    run::Run,
    servers::{Kind, Server},
};

/// A server and what was measured of it.
struct Measured {
    /// On how many cores it is.
    cores: usize,
    server: Server,
    /// The loads, and the core of each.
    clients: Vec<(usize, Client)>,
    outcomes: Vec<Outcome>,
    samples: Vec<Sample>,
    /// The CPU time of each thread that answers, of all rounds, in seconds.
    threads: Vec<f64>,
}

/// Measures one core and two in turn.
///
/// # Errors
/// When the server fails.
pub(crate) fn run(bench: &Bench<'_>) -> Result<()> {
    let questions = Mix::Mix.questions(&bench.start.cluster, Edns::Some);
    let both = [bench.cores.server, bench.cores.client];
    let mut measured = Vec::new();
    for cores in [&both[..1], &both[..]] {
        let server = bench.start.on(cores).start(Kind::Callsign)?;
        let client = |core: &usize| Ok((*core, Client::new(server.address)?));
        let clients = both.iter().map(client).collect::<Result<_>>()?;
        let outcomes = Client::new(server.address)?.learn(&questions)?;
        let (cores, samples, threads) = (cores.len(), Vec::new(), Vec::new());
        measured.push(Measured { cores, server, clients, outcomes, samples, threads });
    }
    for _ in 0..bench.args.rounds {
        measured.iter_mut().try_for_each(|measured| measured.round(&questions, bench.args.seconds))?;
    }
    let columns = [
        ("Callsign on", 12),
        ("CPU-s/M", 7),
        ("least–most", 11),
        ("answers/s", 9),
        ("its CPU", 7),
        ("its threads", 12),
        ("the loads'", 10),
        ("worth", 6),
    ];
    let table = Table::new("Two cores against one: mix", 1, columns, bench.args.markdown);
    let one = measured.first().map(|measured| middle(&measured.samples, |sample| sample.cost));
    let one = one.unwrap_or(f64::NAN);
    for Measured { cores, samples, threads, .. } in &measured {
        let cost = middle(samples, |sample| sample.cost);
        let total: f64 = threads.iter().sum();
        let shares: Vec<String> = threads.iter().map(|time| format!("{:.0}", time * 100.0 / total)).collect();
        table.row([
            if *cores == 1 { "one core".to_owned() } else { format!("{cores} cores") },
            format!("{cost:.2}"),
            range(samples, |sample| sample.cost),
            format!("{:.0}", middle(samples, |sample| sample.rate)),
            format!("{:.0} %", middle(samples, |sample| sample.busy) * 100.0),
            format!("{} %", shares.join(" + ")),
            format!("{:.0} %", middle(samples, |sample| sample.client) * 100.0),
            format!("{:.2}", *cores as f64 * one / cost),
        ]);
    }
    Ok(())
}

impl Measured {
    fn round(&mut self, questions: &[Question], time: Duration) -> Result<()> {
        self.load(questions, WARM)?;
        let before = cores::threads(&self.server.processes)?;
        let run = self.load(questions, time)?;
        let after = cores::threads(&self.server.processes)?;
        run.is_right().context("callsign")?;
        let used: Vec<(&str, Duration)> = after
            .iter()
            .map(|(number, name, time)| {
                let start = before.iter().find(|(before, ..)| before == number);
                (name.as_str(), start.map_or(*time, |(.., start)| time.saturating_sub(*start)))
            })
            .collect();
        self.samples.push(Sample::new(&run, used.iter().map(|(_, time)| *time).sum()));
        let answering = used.iter().filter(|(name, _)| name.starts_with("dns-udp"));
        let times: Vec<f64> = answering.map(|(_, time)| time.as_secs_f64()).collect();
        self.threads.resize(times.len().max(self.threads.len()), 0.0);
        self.threads.iter_mut().zip(times).for_each(|(sum, time)| *sum += time);
        Ok(())
    }

    /// Asks from each core at once.
    fn load(&mut self, questions: &[Question], time: Duration) -> Result<Run> {
        let Self { clients, outcomes, .. } = self;
        let outcomes = &**outcomes;
        let runs: Vec<Result<Run>> = thread::scope(|scope| {
            let loads: Vec<_> = clients
                .iter_mut()
                .map(|(core, client)| {
                    scope.spawn(move || {
                        cores::keep_to(&[*core])?;
                        client.load(questions, outcomes, Pace::Closed, time)
                    })
                })
                .collect();
            let ended = loads.into_iter().map(|load| load.join());
            ended.map(|load| load.unwrap_or_else(|_| Err(anyhow::anyhow!("the load ended")))).collect()
        });
        let mut sum = Run::new()?;
        for run in runs {
            sum.add(&run?)?;
        }
        Ok(sum)
    }
}
