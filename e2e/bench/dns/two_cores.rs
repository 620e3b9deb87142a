//! Two cores against one.
//!
//! With a socket on each of two cores the load shares one of them, so what they answer a second is no figure for two cores.
//! What an answer costs is: threads that disturb each other, by locks or by lines of memory that they both write, pay for it
//! in CPU time. Two cores give twice what one gives, divided by how much dearer an answer has become.

use anyhow::{Context, Result};
use callsign_e2e::load::mix::{Edns, Mix};

use crate::{
    Bench,
    client::{Client, Pace, WARM},
    cores,
    report::{Sample, Table, middle, range},
    servers::{Kind, Server},
};

/// A server and what was measured of it.
struct Measured {
    cores: usize,
    server: Server,
    client: Client,
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
        let client = Client::new(server.address)?;
        measured.push(Measured {
            cores: cores.len(),
            server,
            client,
            samples: Vec::new(),
            threads: Vec::new(),
        });
    }
    for _ in 0..bench.args.rounds {
        for Measured { server, client, samples, threads, .. } in &mut measured {
            let outcomes = client.learn(&questions)?;
            client.load(&questions, &outcomes, Pace::Closed, WARM)?;
            let before = cores::threads(&server.processes)?;
            let run = client.load(&questions, &outcomes, Pace::Closed, bench.args.round())?;
            let after = cores::threads(&server.processes)?;
            run.is_right().context("callsign")?;
            let used: Vec<(&str, std::time::Duration)> = after
                .iter()
                .map(|(number, name, time)| {
                    let start = before.iter().find(|(before, ..)| before == number);
                    (name.as_str(), start.map_or(*time, |(.., start)| time.saturating_sub(*start)))
                })
                .collect();
            samples.push(Sample::new(&run, used.iter().map(|(_, time)| *time).sum()));
            let answering = used.iter().filter(|(name, _)| name.starts_with("dns-udp"));
            let times: Vec<f64> = answering.map(|(_, time)| time.as_secs_f64()).collect();
            threads.resize(times.len().max(threads.len()), 0.0);
            threads.iter_mut().zip(times).for_each(|(sum, time)| *sum += time);
        }
    }
    let columns = [
        ("Callsign on", 12),
        ("CPU-s/M", 7),
        ("least–most", 11),
        ("answers/s", 9),
        ("its CPU", 8),
        ("of threads", 14),
        ("the load's", 10),
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
