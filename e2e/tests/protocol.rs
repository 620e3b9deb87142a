//! Single packets, well formed and hostile, over UDP and TCP, to the binary in the place of CoreDNS: what was recorded, but
//! for the differences that the RFCs want; the probes of RFC 8906; the questions of `dig`'s EDNS compliance set.

#![expect(clippy::indexing_slicing, clippy::panic, reason = "a test may panic, its helpers too")]

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use callsign_e2e::{
    apiserver::Options,
    harness::{
        case::{self, Case},
        in_place::Place,
        packets,
        process::Callsign,
        resolver::question,
        world::World,
    },
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");
const PATIENCE: Duration = Duration::from_secs(5);
/// How long an answer that is not given at once may come after that to the next packet.
const GRACE: Duration = Duration::from_millis(300);
const COREFILE: &str = ". {
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        ttl 30
    }
    loadbalance
}
";
const NGINX: &str = "nginx.basic-nginx.svc.cluster.local.";

/// A cluster with the scenarios that the packets ask for.
struct Served {
    #[expect(dead_code, reason = "the API server and the controllers run as long as this")]
    world: World,
    #[expect(dead_code, reason = "the process lives as long as this")]
    callsign: Callsign,
    dns: SocketAddr,
}

async fn served() -> Result<Served> {
    let world = World::start(Path::new(BINARY), Options::default(), &[]).await?;
    for case in Case::all()? {
        if ["basic-nginx", "basic-headless", "many-endpoints"].contains(&&*case.scenario) {
            world.cluster.play(&case.prelude).await?;
            world.cluster.play(&case.steps).await?;
        }
    }
    world.cluster.settle().await?;
    let place = Place::beside(&world)?;
    place.write("Corefile", COREFILE)?;
    let callsign = place.start(Path::new(BINARY), &[])?;
    place.answers(&callsign, NGINX, "A").await?;
    Ok(Served { world, callsign, dns: place.dns() })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Udp,
    Tcp,
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_are_answered_as_recorded() -> Result<()> {
    let served = served().await?;
    let probes: Vec<Value> =
        serde_json::from_str(&std::fs::read_to_string(case::folder().join("protocol.json"))?)?;
    ensure!(probes.len() == 84, "{} probes", probes.len());
    let mut differences = Vec::new();
    for probe in &probes {
        let name = probe["probe"].as_str().context("a probe's name")?;
        let query = unhex(probe["query"].as_str().context("a packet")?)?;
        for (field, transport) in [("udp", Transport::Udp), ("tcp", Transport::Tcp)] {
            let wanted = packets::wanted(name, &probe[field], transport == Transport::Udp);
            let found = match send(served.dns, &query, transport).await? {
                Some(reply) => shape(&reply),
                None => Value::Null,
            };
            if found != wanted {
                differences.push(format!("{name} over {field}\n    wanted {wanted}\n    found  {found}"));
            }
        }
    }
    ensure!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    Ok(())
}

/// A probe of RFC 8906 8, or a question of `dig`'s compliance set: flags and opcode of the header, the OPT if there is one,
/// and what must be in the answer.
struct Probe {
    name: &'static str,
    kind: &'static str,
    header: u16,
    /// Payload size, version, flags, options.
    opt: Option<(u16, u8, u16, &'static [u8])>,
    transport: Transport,
    rcode: &'static str,
    /// DO is to be repeated.
    dnssec_ok: bool,
}

const RD: u16 = 0x0100;
/// NSID, a client's cookie, ECS of 192.0.2.0/24, EXPIRE.
const OPTIONS: &[u8] =
    &[0, 3, 0, 0, 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 8, 0, 7, 0, 1, 24, 0, 192, 0, 2, 0, 9, 0, 0];
/// Option 100, which nobody has.
const UNKNOWN: &[u8] = &[0, 100, 0, 2, 0xab, 0xcd];

const fn probe(name: &'static str, header: u16, opt: Option<(u16, u8, u16, &'static [u8])>) -> Probe {
    Probe { name, kind: "SOA", header, opt, transport: Transport::Udp, rcode: "NOERROR", dnssec_ok: false }
}

const fn bad(probe: Probe) -> Probe {
    Probe { rcode: "BADVERS", ..probe }
}

const PROBES: [Probe; 24] = [
    // RFC 8906 8.1: the basic ones.
    probe("SOA", 0, None),
    Probe { kind: "TYPE1000", ..probe("unknown type", 0, None) },
    probe("CD", 0x0010, None),
    probe("AD", 0x0020, None),
    probe("Z", 0x0040, None),
    probe("RD", RD, None),
    Probe { rcode: "NOTIMP", ..probe("unknown opcode", 15 << 11, None) },
    Probe { transport: Transport::Tcp, ..probe("TCP", 0, None) },
    // 8.2: the extended ones.
    probe("EDNS", 0, Some((4096, 0, 0, &[]))),
    bad(probe("version 1", 0, Some((4096, 1, 0, &[])))),
    probe("unknown option", 0, Some((4096, 0, 0, UNKNOWN))),
    probe("unknown flag", 0, Some((4096, 0, 0x0040, &[]))),
    bad(probe("version 1 and unknown flag", 0, Some((4096, 1, 0x0040, &[])))),
    bad(probe("version 1 and unknown option", 0, Some((4096, 1, 0, UNKNOWN)))),
    Probe { dnssec_ok: true, ..probe("small payload and DO", 0, Some((512, 0, 0x8000, &[]))) },
    Probe { dnssec_ok: true, ..probe("DO", 0, Some((4096, 0, 0x8000, &[]))) },
    Probe { dnssec_ok: true, ..bad(probe("version 1 and DO", 0, Some((4096, 1, 0x8000, &[])))) },
    probe("several options", 0, Some((4096, 0, 0, OPTIONS))),
    // dig's set, where it asks something else.
    probe("+norec +noedns", 0, None),
    probe("+edns=0", RD, Some((1232, 0, 0, &[]))),
    bad(probe("+edns=100 +noednsneg", RD, Some((1232, 100, 0, &[])))),
    probe("+ednsopt=100", RD, Some((1232, 0, 0, &[0, 100, 0, 0]))),
    probe("+ednsflags=0x80", RD, Some((1232, 0, 0x0080, &[]))),
    bad(probe("+edns=100 +noednsneg +ednsopt=100", RD, Some((1232, 100, 0, &[0, 100, 0, 0])))),
];

#[tokio::test(flavor = "multi_thread")]
async fn probes_of_rfc_8906_and_of_dig_are_answered() -> Result<()> {
    let served = served().await?;
    for probe in &PROBES {
        let reply = send(served.dns, &probe.packet()?, probe.transport).await?;
        let reply = shape(&reply.with_context(|| format!("{}: no answer", probe.name))?);
        let told = format!("{}: {reply}", probe.name);
        ensure!(reply["rcode"] == probe.rcode, "{told}");
        // What is not understood is not repeated: Z, AD, other flags, options.
        let flags = reply["flags"].as_str().unwrap_or_default();
        ensure!(!flags.contains("AD") && !flags.contains("RA") && !flags.contains("TC"), "{told}");
        ensure!(reply["options"] == json!([]), "{told}");
        match probe.opt {
            None => ensure!(reply["edns"] == -1, "{told}"),
            Some(_) => {
                ensure!(reply["edns"] == 0 && reply["payload"] == 1232, "{told}");
                let repeated = if probe.dnssec_ok { 0x8000 } else { 0 };
                ensure!(reply["ednsflags"] == repeated, "{told}");
            }
        }
        let answers = u64::from(probe.rcode == "NOERROR" && probe.kind == "SOA");
        ensure!(reply["answers"] == answers, "{told}");
    }
    Ok(())
}

impl Probe {
    fn packet(&self) -> Result<Vec<u8>> {
        let mut packet = question("cluster.local.", "SOA", None)?;
        if self.kind == "TYPE1000" {
            let at = packet.len() - 4;
            packet[at..at + 2].copy_from_slice(&1000_u16.to_be_bytes());
        }
        packet[2..4].copy_from_slice(&self.header.to_be_bytes());
        if let Some((payload, version, flags, options)) = self.opt {
            packet[11] = 1;
            packet.extend([0, 0, 41]);
            packet.extend(payload.to_be_bytes());
            packet.extend([0, version]);
            packet.extend(flags.to_be_bytes());
            packet.extend(u16::try_from(options.len())?.to_be_bytes());
            packet.extend(options);
        }
        Ok(packet)
    }
}

/// Sends a packet; `None` where the server stays silent, and answers what comes next.
async fn send(to: SocketAddr, packet: &[u8], transport: Transport) -> Result<Option<Vec<u8>>> {
    let mut next = question(NGINX, "A", None)?;
    // No probe has this id.
    next[..2].copy_from_slice(&0xfefe_u16.to_be_bytes());
    let is_next = |reply: &[u8]| reply.get(..2) == Some(&[0xfe, 0xfe]);
    match transport {
        Transport::Udp => {
            let socket = UdpSocket::bind("127.0.0.1:0").await?;
            socket.connect(to).await?;
            socket.send(packet).await?;
            socket.send(&next).await?;
            let mut buffer = vec![0; 65535];
            let length = timeout(PATIENCE, socket.recv(&mut buffer)).await.context("nothing at all")??;
            if !is_next(buffer.get(..length).unwrap_or_default()) {
                buffer.truncate(length);
                return Ok(Some(buffer));
            }
            let Ok(length) = timeout(GRACE, socket.recv(&mut buffer)).await else { return Ok(None) };
            buffer.truncate(length?);
            Ok(Some(buffer))
        }
        Transport::Tcp => {
            let mut stream = TcpStream::connect(to).await?;
            for message in [packet, &next] {
                stream.write_all(&u16::try_from(message.len())?.to_be_bytes()).await?;
                stream.write_all(message).await?;
            }
            // A server may close a connection over what is no message.
            let mut reading = async || {
                let length = stream.read_u16().await?;
                let mut reply = vec![0; usize::from(length)];
                stream.read_exact(&mut reply).await?;
                Ok::<_, std::io::Error>(reply)
            };
            match timeout(PATIENCE, reading()).await? {
                Ok(reply) if !is_next(&reply) => Ok(Some(reply)),
                Ok(_) => Ok(timeout(GRACE, reading()).await.ok().and_then(Result::ok)),
                Err(_) => Ok(None),
            }
        }
    }
}

/// The header, the counts and the OPT of an answer. The OPT is the last record.
fn shape(reply: &[u8]) -> Value {
    let word = |at: usize| u16::from_be_bytes([reply[at], reply[at + 1]]);
    let flags = word(2);
    let names = [("QR", 15), ("AA", 10), ("TC", 9), ("RD", 8), ("RA", 7), ("AD", 5), ("CD", 4)];
    let set: Vec<&str> =
        names.iter().filter(|(_, bit)| flags >> bit & 1 == 1).map(|(name, _)| *name).collect();
    let opt = reply.len().checked_sub(11).filter(|at| word(10) > 0 && reply[*at..at + 3] == [0, 0, 41]);
    let extended = opt.map_or(0, |at| u16::from(reply[at + 5]));
    let rcode = match flags & 0xf | extended << 4 {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        16 => "BADVERS",
        other => panic!("rcode {other}"),
    };
    json!({
        "id": format!("{:04x}", word(0)),
        "rcode": rcode,
        "flags": set.join(" "),
        "opcode": flags >> 11 & 0xf,
        "questions": word(4),
        "answers": word(6),
        "authority": word(8),
        "additional": word(10) - u16::from(opt.is_some()),
        "edns": opt.map_or(-1, |at| i32::from(reply[at + 6])),
        // An OPT with options would not be eleven bytes long, and not be found.
        "options": [],
        "payload": opt.map(|at| word(at + 3)),
        "ednsflags": opt.map(|at| word(at + 7)),
    })
}

fn unhex(text: &str) -> Result<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        bail!("half a byte in {text}");
    }
    (0..text.len()).step_by(2).map(|at| Ok(u8::from_str_radix(&text[at..at + 2], 16)?)).collect()
}
