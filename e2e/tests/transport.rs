//! Packets as clients send them: EDNS of every kind, odd questions, TCP in pieces, answers that are too large.

#![expect(clippy::indexing_slicing, reason = "a test may panic, its helpers too")]

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use callsign_e2e::{
    apiserver::Options,
    harness::{
        build,
        process::{Callsign, Signal},
        resolver::question,
        world::World,
    },
};
use hickory_proto::op::{Message, ResponseCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");
const WEB: &str = "web.n.svc.cluster.local.";

async fn world(arguments: &[&str]) -> Result<World> {
    let world = World::start(Path::new(BINARY), Options::default(), arguments).await?;
    world.cluster.apply(&build::namespace("n")).await?;
    let mut web = build::service("n", "web");
    web["spec"]["clusterIP"] = json!("10.96.7.7");
    world.cluster.apply(&web).await?;
    world.answers(WEB, "A", &["10.96.7.7"]).await?;
    Ok(world)
}

/// A headless Service of this many addresses, in slices of a thousand.
async fn headless(world: &World, name: &str, endpoints: u16) -> Result<()> {
    let mut service = build::headless("n", name);
    service["spec"].as_object_mut().context("spec")?.remove("selector");
    world.cluster.apply(&service).await?;
    let addresses: Vec<String> = (0..endpoints).map(|at| format!("10.{}.0.{}", at / 250, at % 250)).collect();
    for (at, part) in addresses.chunks(1000).enumerate() {
        let endpoints: Vec<Value> = part.iter().map(|ip| json!({"addresses": [ip]})).collect();
        world
            .cluster
            .apply(&json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {"namespace": "n", "name": format!("{name}-{at}"),
                    "labels": {"kubernetes.io/service-name": name}},
                "addressType": "IPv4", "ports": [{"name": "http", "port": 80}], "endpoints": endpoints,
            }))
            .await?;
    }
    let mut sorted = addresses;
    sorted.sort();
    world
        .answers(
            &format!("{name}.n.svc.cluster.local."),
            "A",
            &sorted.iter().map(String::as_str).collect::<Vec<_>>(),
        )
        .await
}

/// Sends a packet over UDP from a socket of its own; the answer as it came, `None` for silence.
async fn exchange(server: SocketAddr, packet: &[u8]) -> Result<Option<Vec<u8>>> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.send_to(packet, server).await?;
    let mut buffer = vec![0; 65535];
    match timeout(Duration::from_millis(500), socket.recv(&mut buffer)).await {
        Ok(length) => Ok(Some(buffer[..length?].to_vec())),
        Err(_) => Ok(None),
    }
}

async fn reply(server: SocketAddr, packet: &[u8]) -> Result<(Message, usize)> {
    let bytes = exchange(server, packet).await?.context("no answer")?;
    Ok((Message::from_vec(&bytes)?, bytes.len()))
}

/// A question with an OPT of this version, payload size and options.
fn with_opt(name: &str, version: u8, payload: u16, options: &[u8]) -> Result<Vec<u8>> {
    let mut packet = question(name, "A", None)?;
    packet[11] = 1;
    packet.extend([0, 0, 41]);
    packet.extend(payload.to_be_bytes());
    packet.extend([0, version, 0x80, 0]);
    packet.extend(u16::try_from(options.len())?.to_be_bytes());
    packet.extend(options);
    Ok(packet)
}

#[tokio::test(flavor = "multi_thread")]
async fn edns_of_every_kind() -> Result<()> {
    let world = world(&[]).await?;
    let cookie = [0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
    let nsid = [0, 3, 0, 0];
    let padding = [0, 12, 0, 4, 0, 0, 0, 0];
    let unknown = [0xff, 0xf0, 0, 1, 9];
    for options in
        [&[][..], &cookie, &nsid, &padding, &unknown, &[cookie.as_slice(), &nsid, &padding].concat()]
    {
        for payload in [0, 1, 512, 1232, 65535] {
            let (message, _) = reply(world.dns, &with_opt(WEB, 0, payload, options)?).await?;
            assert_eq!((message.metadata.response_code, message.answers.len()), (ResponseCode::NoError, 1));
            let edns = message.edns.context("an OPT")?;
            assert_eq!((edns.max_payload(), edns.version(), edns.flags().dnssec_ok), (1232, 0, true));
            assert!(edns.options().as_ref().is_empty(), "nothing is echoed");
        }
    }
    let (message, _) = reply(world.dns, &with_opt(WEB, 1, 4096, &cookie)?).await?;
    assert_eq!((u16::from(message.metadata.response_code), message.answers.len()), (16, 0), "BADVERS");
    // An option that ends beyond its record.
    let (message, _) = reply(world.dns, &with_opt(WEB, 0, 4096, &[0, 10, 0, 9, 1])?).await?;
    assert_eq!(message.metadata.response_code, ResponseCode::FormErr);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_that_are_not_one_plain_question() -> Result<()> {
    let world = world(&[]).await?;
    let rcode = async |change: &dyn Fn(&mut Vec<u8>)| -> Result<Option<ResponseCode>> {
        let mut packet = question(WEB, "A", None)?;
        change(&mut packet);
        let bytes = exchange(world.dns, &packet).await?;
        bytes.map(|bytes| Ok(Message::from_vec(&bytes)?.metadata.response_code)).transpose()
    };
    let kind = |kind: u16| {
        move |packet: &mut Vec<u8>| {
            let at = packet.len() - 4;
            packet[at..at + 2].copy_from_slice(&kind.to_be_bytes());
        }
    };
    let class = |class: u16| {
        move |packet: &mut Vec<u8>| {
            let at = packet.len() - 2;
            packet[at..].copy_from_slice(&class.to_be_bytes());
        }
    };
    assert_eq!(rcode(&|_| {}).await?, Some(ResponseCode::NoError));
    for count in [0, 2, 255] {
        assert_eq!(
            rcode(&|packet| packet[5] = count).await?,
            Some(ResponseCode::FormErr),
            "{count} questions"
        );
    }
    // AXFR and IXFR; ANY, OPT, type 0 and one that nobody knows are answered with what there is: nothing.
    for (number, wanted) in [
        (252, ResponseCode::Refused),
        (251, ResponseCode::Refused),
        (255, ResponseCode::NoError),
        (41, ResponseCode::NoError),
        (0, ResponseCode::NoError),
        (65280, ResponseCode::NoError),
    ] {
        assert_eq!(rcode(&kind(number)).await?, Some(wanted), "type {number}");
    }
    for number in [3, 4, 254, 255, 0] {
        assert_eq!(rcode(&class(number)).await?, Some(ResponseCode::Refused), "class {number}");
    }
    // Names by pointers: to itself, forwards, into the header.
    for target in [12_u8, 14, 0, 200] {
        let pointer = move |packet: &mut Vec<u8>| {
            packet.truncate(12);
            packet.extend([0xc0, target, 0, 1, 0, 1]);
        };
        let found = rcode(&pointer).await?;
        assert!(
            matches!(found, Some(ResponseCode::FormErr | ResponseCode::Refused)),
            "to {target}: {found:?}"
        );
    }
    // A response, and less than a header.
    assert_eq!(rcode(&|packet| packet[2] |= 0x80).await?, None);
    assert_eq!(rcode(&|packet| packet.truncate(11)).await?, None);
    assert_eq!(rcode(&|packet| packet[2] = 5 << 3).await?, Some(ResponseCode::NotImp), "UPDATE");
    assert_eq!(rcode(&|_| {}).await?, Some(ResponseCode::NoError), "it is still there");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_in_pieces_and_in_heaps() -> Result<()> {
    let world = world(&[]).await?;
    let framed = |packet: &[u8]| [&(packet.len() as u16).to_be_bytes(), packet].concat();
    let packets = [question(WEB, "A", None)?, question("nosuch.n.svc.cluster.local.", "A", Some(4096))?];
    let read = async |stream: &mut TcpStream| -> Result<Message> {
        let length = timeout(Duration::from_secs(5), stream.read_u16()).await??;
        let mut bytes = vec![0; usize::from(length)];
        stream.read_exact(&mut bytes).await?;
        Ok(Message::from_vec(&bytes)?)
    };
    let mut stream = TcpStream::connect(world.dns).await?;
    // Two in one segment, then one byte by byte.
    stream.write_all(&[framed(&packets[0]), framed(&packets[1])].concat()).await?;
    assert_eq!(read(&mut stream).await?.answers.len(), 1);
    assert_eq!(read(&mut stream).await?.metadata.response_code, ResponseCode::NXDomain);
    for byte in framed(&packets[0]) {
        stream.write_all(&[byte]).await?;
        stream.flush().await?;
    }
    assert_eq!(read(&mut stream).await?.answers.len(), 1);
    // One and a half, and no more: the whole one is answered, then the connection ends.
    let mut half = framed(&packets[0]);
    half.extend(&framed(&packets[1])[..9]);
    stream.write_all(&half).await?;
    stream.shutdown().await?;
    assert_eq!(read(&mut stream).await?.answers.len(), 1);
    assert_eq!(timeout(Duration::from_secs(5), stream.read(&mut [0; 16])).await??, 0);
    // A message of no bytes is nothing to answer; what follows is.
    let mut stream = TcpStream::connect(world.dns).await?;
    stream.write_all(&[vec![0, 0], framed(&packets[0])].concat()).await?;
    assert_eq!(read(&mut stream).await?.answers.len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sets_are_whole_or_absent_at_every_limit() -> Result<()> {
    let world = world(&[]).await?;
    let name = "many.n.svc.cluster.local.";
    // 12 + 30 + 16 n bytes: 29 addresses are 506, and 11 more with an OPT.
    headless(&world, "many", 29).await?;
    let asked = async |payload| -> Result<(bool, usize, usize)> {
        let (message, length) = reply(world.dns, &question(name, "A", payload)?).await?;
        ensure!(message.metadata.truncation == message.answers.is_empty(), "{message}");
        Ok((message.metadata.truncation, message.answers.len(), length))
    };
    assert_eq!(asked(None).await?, (false, 29, 506));
    assert_eq!(asked(Some(512)).await?, (true, 0, 53), "the OPT counts");
    assert_eq!(asked(Some(516)).await?, (true, 0, 53));
    assert_eq!(asked(Some(517)).await?, (false, 29, 517));
    assert_eq!(asked(Some(0)).await?, (true, 0, 53), "less than 512 is 512");
    headless(&world, "many", 80).await?;
    assert_eq!(asked(Some(65535)).await?, (true, 0, 53), "never more than 1232");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_endpoints_over_tcp() -> Result<()> {
    let world = world(&[]).await?;
    headless(&world, "huge", 2000).await?;
    let ask = async |name: &str, kind: &str| world.resolver.tcp(&question(name, kind, Some(1232))?).await;
    let message = ask("huge.n.svc.cluster.local.", "A").await?;
    assert_eq!((message.answers.len(), message.metadata.truncation), (2000, false));
    // Two thousand SRV records are more than 65,535 bytes, which no message can have.
    let message = ask("huge.n.svc.cluster.local.", "SRV").await?;
    assert_eq!((message.answers.len(), message.metadata.truncation), (0, true));
    assert!(message.edns.is_some());
    let message = ask("10-7-0-249.huge.n.svc.cluster.local.", "SRV").await?;
    assert_eq!((message.answers.len(), message.additionals.len()), (1, 1));
    Ok(())
}

/// An upstream that answers every question over UDP with what `change` makes of it.
async fn upstream(change: fn(Vec<u8>) -> Vec<Vec<u8>>) -> Result<SocketAddr> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    let address = socket.local_addr()?;
    tokio::spawn(async move {
        let mut buffer = vec![0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            // The question, as an answer without records.
            let mut packet = buffer[..length].to_vec();
            packet[2] |= 0x80;
            packet[3] |= 0x80;
            for packet in change(packet) {
                let _ = socket.send_to(&packet, from).await;
            }
        }
    });
    Ok(address)
}

#[tokio::test(flavor = "multi_thread")]
async fn upstreams_that_fail_each_in_its_way() -> Result<()> {
    let ask = async |upstreams: &[SocketAddr]| -> Result<Message> {
        let list = upstreams.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let world = world(&["--upstream", &list]).await?;
        let packet = question("WwW.eXample.COM.", "A", None)?;
        let message = world.resolver.udp(&packet).await?;
        assert_eq!(message.queries[0].name().to_ascii(), "WwW.eXample.COM.", "the case is the client's");
        assert_eq!(world.data(WEB, "A").await?, ["10.96.7.7"], "the cluster's names do not depend on it");
        Ok(message)
    };
    let good = upstream(|packet| vec![packet]).await?;
    let lower = upstream(|mut packet| {
        packet[12..].make_ascii_lowercase();
        vec![packet]
    })
    .await?;
    let silent = upstream(|_| Vec::new()).await?;
    // Wrong id, another question, a question, garbage; then the answer.
    let noisy = upstream(|packet| {
        let mut wrong = vec![packet.clone(); 3];
        wrong[0][0] ^= 0xff;
        wrong[1][14] ^= 1;
        wrong[2][2] &= 0x7f;
        wrong.extend([vec![7; 5], packet]);
        wrong
    })
    .await?;
    // Cut, and not there over TCP.
    let cut = upstream(|mut packet| {
        packet[2] |= 2;
        vec![packet]
    })
    .await?;
    let failing = upstream(|mut packet| {
        packet[3] |= 2;
        vec![packet]
    })
    .await?;
    let dead = {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        socket.local_addr()?
    };
    for upstreams in
        [vec![good], vec![lower], vec![noisy], vec![dead, good], vec![failing, good], vec![silent, good]]
    {
        let message = ask(&upstreams).await?;
        assert_eq!(message.metadata.response_code, ResponseCode::NoError, "{upstreams:?}");
        assert!(message.metadata.recursion_available && !message.metadata.truncation);
    }
    let message = ask(&[cut]).await?;
    assert!(message.metadata.truncation, "a cut answer is passed on");
    for upstreams in [vec![dead], vec![failing]] {
        assert_eq!(ask(&upstreams).await?.metadata.response_code, ResponseCode::ServFail, "{upstreams:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_its_own_upstream_does_not_start() -> Result<()> {
    let free = UdpSocket::bind("127.0.0.1:0").await?.local_addr()?.to_string();
    let arguments =
        ["sandbox", "--no-samples", "--api-listen", "127.0.0.1:0", "--listen", &free, "--upstream", &free];
    let mut callsign = Callsign::start(Path::new(BINARY), arguments)?;
    let status = callsign.ended(Duration::from_secs(10)).await?;
    assert_eq!(status.code(), Some(2), "{}", callsign.said());
    assert!(callsign.said().contains("that is this server"), "{}", callsign.said());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_process_goes_on_where_it_was() -> Result<()> {
    let world = world(&[]).await?;
    world.callsign.signal(Signal::SIGSTOP)?;
    let packet = question(WEB, "A", None)?;
    let waiting = tokio::spawn({
        let server = world.dns;
        async move {
            let socket = UdpSocket::bind("127.0.0.1:0").await?;
            socket.send_to(&packet, server).await?;
            let mut buffer = vec![0; 512];
            let length = timeout(Duration::from_secs(10), socket.recv(&mut buffer)).await??;
            Ok::<_, anyhow::Error>(Message::from_vec(&buffer[..length])?.answers.len())
        }
    });
    world.cluster.apply(&build::service("n", "during")).await?;
    world.callsign.signal(Signal::SIGCONT)?;
    assert_eq!(waiting.await??, 1);
    world.rcode("during.n.svc.cluster.local.", "A", "NOERROR").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_term_signal_ends_it_at_once() -> Result<()> {
    let mut world = world(&["--lameduck", "10m"]).await?;
    world.callsign.signal(Signal::SIGTERM)?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    world.callsign.signal(Signal::SIGTERM)?;
    let status = world.callsign.ended(Duration::from_secs(5)).await?;
    assert_eq!(status.code(), Some(2), "{}", world.callsign.said());
    Ok(())
}
