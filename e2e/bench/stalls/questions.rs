//! What is asked, and how long each answer took.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use callsign_dns::{Transport, Zone, answer};
use hdrhistogram::Histogram;
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query},
    rr::{Name, RecordType},
};

use crate::{
    cluster::{Headless, LARGE, Size, nanoseconds, plain},
    thread::{Switches, switches},
};

/// A kind of question, with how many of it are in each round of questions.
const KINDS: [(&str, usize); 7] = [
    ("A of a cluster IP", 96),
    ("A of no Service", 96),
    ("A of an endpoint of the large Service", 24),
    ("PTR of an endpoint of the large Service", 24),
    ("an inner reverse name", 14),
    ("A of the large Service (truncated)", 1),
    ("SRV of a port of the large Service (truncated)", 1),
];

/// Questions, in the order in which they are asked over and over.
pub(crate) struct Questions(Vec<(usize, Vec<u8>)>);

/// The times of all answers, by the kind of question, and what the thread was kept from running by.
pub(crate) struct Times {
    pub(crate) kinds: Vec<(&'static str, Histogram<u64>)>,
    pub(crate) switches: Switches,
}

impl Questions {
    /// Some thousands of questions about this cluster, mixed.
    pub(crate) fn about(size: Size) -> Result<Self> {
        let mut random = fastrand::Rng::with_seed(11);
        let mut questions = Vec::new();
        for _ in 0..32 {
            for (kind, (_, count)) in KINDS.iter().enumerate() {
                for _ in 0..*count {
                    questions.push((kind, question(kind, size, &mut random)?));
                }
            }
        }
        random.shuffle(&mut questions);
        Ok(Self(questions))
    }

    /// Asks until it is told to stop.
    pub(crate) fn ask(&self, zone: &Zone, stop: &AtomicBool) -> Result<Times> {
        let mut times = Times::new()?;
        let mut out = Vec::with_capacity(4096);
        let before = switches()?;
        let mut asked = 0_u64;
        for (rotation, (kind, question)) in self.0.iter().cycle().enumerate() {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let began = Instant::now();
            answer(zone, question, Transport::Udp, rotation as u32, &mut out);
            let took = nanoseconds(began);
            let (_, histogram) = times.kinds.get_mut(*kind).context("a kind")?;
            histogram.saturating_record(took);
            asked += 1;
        }
        times.switches = switches()?.since(before);
        ensure!(asked == 0 || !out.is_empty(), "the last question was not answered");
        Ok(times)
    }
}

impl Times {
    pub(crate) fn new() -> Result<Self> {
        let kinds =
            KINDS.iter().map(|(name, _)| Ok((*name, Histogram::new_with_bounds(10, 60_000_000_000, 3)?)));
        Ok(Self { kinds: kinds.collect::<Result<_>>()?, switches: Switches::default() })
    }

    pub(crate) fn add(&mut self, other: &Self) -> Result<()> {
        for ((_, all), (_, more)) in self.kinds.iter_mut().zip(&other.kinds) {
            all.add(more)?;
        }
        self.switches = self.switches.and(other.switches);
        Ok(())
    }

    /// All kinds in one.
    pub(crate) fn all(&self) -> Result<Histogram<u64>> {
        let mut all = Histogram::new_with_bounds(10, 60_000_000_000, 3)?;
        for (_, one) in &self.kinds {
            all.add(one)?;
        }
        Ok(all)
    }
}

fn question(kind: usize, size: Size, random: &mut fastrand::Rng) -> Result<Vec<u8>> {
    let endpoint = random.usize(0..LARGE);
    let [a, b, c, d] = Headless::LARGE.address(endpoint).octets();
    let large = Headless::LARGE.name();
    let (name, qtype) = match kind {
        0 => (plain(random.usize(0..size.plain)), RecordType::A),
        1 => (format!("www.example.com.ns-{}.svc.cluster.local", random.usize(0..100)), RecordType::A),
        2 => (format!("heads-0-{endpoint}.{large}"), RecordType::A),
        3 => (format!("{d}.{c}.{b}.{a}.in-addr.arpa"), RecordType::PTR),
        4 => (format!("{c}.{b}.{a}.in-addr.arpa"), RecordType::PTR),
        5 => (large, RecordType::A),
        _ => (format!("_http._tcp.{large}"), RecordType::SRV),
    };
    let mut message = Message::new(random.u16(..), MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name + ".")?, qtype));
    Ok(message.to_vec()?)
}
