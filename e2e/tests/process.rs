//! The process in the place of CoreDNS, from outside: flags, lines, exit codes, signals, pages, and reloads.

use std::{net::SocketAddr, os::unix::fs::symlink, path::Path, process::Output, time::Duration};

use anyhow::{Context, Result, ensure};
use callsign_e2e::{
    apiserver::{ApiServer, Options},
    harness::{
        in_place::{Place, free_port},
        process::{Callsign, Signal},
        scrape::{self, get},
        world::eventually,
    },
};
use tokio::{io::AsyncWriteExt, net::TcpStream, process::Command};

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");
const PATIENCE: Duration = Duration::from_secs(20);
const NAME: &str = "here.example.org.";

/// A Corefile without a cluster: one name, and pages of its own.
struct Files {
    folder: tempfile::TempDir,
    dns: u16,
    health: u16,
    ready: u16,
    metrics: u16,
}

impl Files {
    fn new() -> Result<Self> {
        let [dns, health, ready, metrics] = [free_port()?, free_port()?, free_port()?, free_port()?];
        Ok(Self { folder: tempfile::tempdir()?, dns, health, ready, metrics })
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn text(&self, address: &str, more: &str) -> String {
        format!(
            ".:{} {{\n    bind 127.0.0.1\n    health 127.0.0.1:{} {{\n        lameduck 1s\n    }}\n    \
             ready 127.0.0.1:{}\n    prometheus 127.0.0.1:{}\n    reload 2s 1s\n    hosts {{\n        \
             {address} here.example.org\n    }}\n{more}}}\n",
            self.dns, self.health, self.ready, self.metrics
        )
    }

    fn write(&self, text: &str) -> Result<()> {
        Ok(std::fs::write(self.path("Corefile"), text)?)
    }

    fn start(&self, arguments: &[&str]) -> Result<Callsign> {
        let corefile = self.path("Corefile");
        let mut all = vec!["-conf", corefile.as_str()];
        all.extend(arguments);
        Callsign::start_with(Path::new(BINARY), all, [("RUST_BACKTRACE", "0")])
    }

    async fn answers(&self, address: &str) -> Result<()> {
        eventually(&format!("{NAME} is {address}"), async || {
            let resolver = callsign_e2e::harness::resolver::Resolver::new(at(self.dns)).await?;
            let answer = resolver.ask(NAME, "A").await?;
            ensure!(answer.answer.iter().any(|record| record.to_string().contains(address)), "{answer:?}");
            Ok(())
        })
        .await
    }
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

async fn said(callsign: &Callsign, what: &str) -> Result<()> {
    eventually(&format!("it says {what:?}"), async || {
        let said = callsign.said();
        ensure!(said.contains(what), "{said}");
        Ok(())
    })
    .await
}

async fn run(arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(BINARY);
    command.args(arguments).kill_on_drop(true);
    Ok(tokio::time::timeout(PATIENCE, command.output()).await??)
}

#[tokio::test]
async fn flags_are_coredns_and_so_are_exit_codes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let text = |output: &[u8]| String::from_utf8_lossy(output).into_owned();
    let version = run(&["-version"]).await?;
    assert_eq!(version.status.code(), Some(0));
    assert!(text(&version.stdout).starts_with("CoreDNS-"), "{version:?}");
    let plugins = run(&["-plugins"]).await?;
    assert!(text(&plugins.stdout).contains("\n  dns.kubernetes\n"), "{plugins:?}");
    // Nothing is on stdout of one that does not start.
    let missing = path("missing");
    std::fs::write(path("unknown"), ". {\n    errors\n    foo\n}\n")?;
    std::fs::write(path("bogus"), ".:1 {\n    kubernetes {\n        bogus\n    }\n}\n")?;
    let unknown = path("unknown");
    let bogus = path("bogus");
    for (arguments, code, wanted) in [
        (vec!["-conf", missing.as_str()], 1, format!("open {missing}: no such file or directory")),
        (vec!["-conf", &unknown], 1, format!("{unknown}:3 - Error during parsing: Unknown directive 'foo'")),
        (vec!["-conf", &bogus], 1, format!("plugin/kubernetes: {bogus}:3 - Error during parsing: ")),
        (vec!["-conf", &unknown, "more"], 1, "extra command line arguments: [more]".to_owned()),
        (vec!["-conf", &unknown, "-bogus"], 2, "flag provided but not defined: -bogus".to_owned()),
    ] {
        let output = run(&arguments).await?;
        assert_eq!(output.status.code(), Some(code), "{arguments:?} {output:?}");
        assert!(text(&output.stderr).contains(&wanted), "{wanted} is not in {}", text(&output.stderr));
        assert!(output.stdout.is_empty(), "{output:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_port_of_somebody_else_is_named_and_ends_it_with_1() -> Result<()> {
    let files = Files::new()?;
    files.write(&files.text("192.0.2.1", ""))?;
    let _taken = std::net::TcpListener::bind(at(files.dns))?;
    let mut callsign = files.start(&[])?;
    assert_eq!(callsign.ended(PATIENCE).await?.code(), Some(1));
    let said = callsign.said();
    assert!(said.contains(&format!("127.0.0.1:{}", files.dns)) && said.contains("in use"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_and_ends_as_coredns_does() -> Result<()> {
    let files = Files::new()?;
    files.write(&files.text("192.0.2.1", ""))?;
    let pidfile = files.path("pid");
    let mut callsign = files.start(&["-pidfile", &pidfile])?;
    files.answers("192.0.2.1").await?;
    said(&callsign, "linux/").await?;
    let said = callsign.said();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.first(), Some(&&*format!(".:{} on 127.0.0.1", files.dns)), "{said}");
    assert!(lines.iter().any(|line| line.starts_with("CoreDNS-")), "{said}");
    assert!(lines.iter().any(|line| line.starts_with("linux/")), "{said}");
    let sha = "[INFO] plugin/reload: Running configuration SHA512 = ";
    let sha = lines.iter().find_map(|line| line.strip_prefix(sha)).context(said.clone())?;
    assert_eq!(sha.len(), 128, "{sha}");
    eventually("the pid file", async || {
        let id = std::fs::read_to_string(&pidfile)?;
        ensure!(id.trim() == callsign.id().context("ended")?.to_string(), "{id}");
        Ok(())
    })
    .await?;
    assert_eq!(get(at(files.health), "/health").await?, (200, "OK".to_owned()));
    assert_eq!(get(at(files.ready), "/ready").await?, (200, "OK".to_owned()));
    assert_eq!(get(at(files.ready), "/metrics").await?.0, 404, "a page of another address");
    let metrics = scrape::Metrics::of(at(files.metrics)).await?;
    for name in [
        "coredns_panics_total",
        "coredns_reload_failed_total",
        "coredns_health_request_failures_total",
        "callsign_dns_questions_dropped_total",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_start_time_seconds",
    ] {
        assert!(metrics.samples.contains_key(name), "{name} is not in {:?}", metrics.samples.keys());
    }
    let block = format!("server=\"dns://127.0.0.1:{}\",zone=\".\",view=\"\"", files.dns);
    for sample in [
        format!("coredns_plugin_enabled{{{block},name=\"hosts\"}}"),
        format!("coredns_plugin_enabled{{{block},name=\"prometheus\"}}"),
        format!("coredns_reload_version_info{{hash=\"sha512\",value=\"{sha}\"}}"),
    ] {
        assert_eq!(
            metrics.samples.get(&sample),
            Some(&1.0),
            "{sample} is not in {:?}",
            metrics.samples.keys()
        );
    }
    assert!(metrics.samples.keys().any(|name| name.starts_with("coredns_build_info{version=")));
    let answered = format!("coredns_dns_responses_total{{{block},rcode=\"NOERROR\",plugin=\"hosts\"}}");
    assert!(
        metrics.samples.get(&answered).is_some_and(|count| *count >= 1.0),
        "{:?}",
        metrics.samples.keys()
    );
    eventually("the health page is polled", async || {
        let metrics = scrape::Metrics::of(at(files.metrics)).await?;
        let polls = metrics.samples.get("coredns_health_request_duration_seconds_count");
        ensure!(polls.is_some_and(|count| *count >= 1.0), "{polls:?}");
        Ok(())
    })
    .await?;
    // SIGHUP is not the end.
    callsign.signal(Signal::SIGHUP)?;
    callsign.signal(Signal::SIGTERM)?;
    self::said(&callsign, "[INFO] SIGTERM: Shutting down servers then terminating").await?;
    eventually("not ready", async || {
        let (code, _) = get(at(files.ready), "/ready").await?;
        ensure!(code == 503, "{code}");
        Ok(())
    })
    .await?;
    assert_eq!(get(at(files.health), "/health").await?.0, 200, "healthy while lame");
    // Nor does anything begin anew.
    callsign.signal(Signal::SIGUSR1)?;
    self::said(&callsign, "[INFO] SIGUSR1: Reloading").await?;
    files.answers("192.0.2.1").await?;
    assert_eq!(callsign.ended(PATIENCE).await?.code(), Some(0));
    assert!(callsign.said().contains("[INFO] plugin/health: Going into lameduck mode for 1s"));
    assert!(!callsign.said().contains("[INFO] Reloading"), "{}", callsign.said());
    assert!(!Path::new(&pidfile).exists(), "the pid file is left");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_end_it_in_their_own_ways() -> Result<()> {
    for (signals, code) in [
        (vec![Signal::SIGQUIT], 0),
        (vec![Signal::SIGINT], 0),
        // The second does not wait for the lameduck time.
        (vec![Signal::SIGINT, Signal::SIGINT], 2),
    ] {
        let files = Files::new()?;
        files.write(&files.text("192.0.2.1", "").replace("lameduck 1s", "lameduck 5s"))?;
        let mut callsign = files.start(&["-quiet"])?;
        files.answers("192.0.2.1").await?;
        assert!(!callsign.said().contains("CoreDNS-"), "{}", callsign.said());
        let started = std::time::Instant::now();
        for (at, signal) in signals.iter().enumerate() {
            callsign.signal(*signal)?;
            if at == 0 && signals.len() > 1 {
                said(&callsign, "SIGINT: Shutting down").await?;
            }
        }
        assert_eq!(callsign.ended(PATIENCE).await?.code(), Some(code), "{signals:?} {}", callsign.said());
        let lame = signals == [Signal::SIGINT];
        assert_eq!(started.elapsed() >= Duration::from_secs(5), lame, "{signals:?} {:?}", started.elapsed());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_is_served_and_a_bad_one_is_not() -> Result<()> {
    let files = Files::new()?;
    files.write(&files.text("192.0.2.1", ""))?;
    let callsign = files.start(&[])?;
    files.answers("192.0.2.1").await?;
    // A connection from before goes on.
    let mut stream = TcpStream::connect(at(files.dns)).await?;
    files.write(&files.text("192.0.2.2", ""))?;
    files.answers("192.0.2.2").await?;
    said(&callsign, "[INFO] Reloading complete").await?;
    stream.write_all(&[0]).await.context("the connection was cut")?;
    let sound = callsign.said().matches("[INFO] Reloading complete").count();
    // Wrong in its words, in what it names, and in a port that somebody else has.
    let taken = std::net::TcpListener::bind(at(free_port()?))?;
    let port = taken.local_addr()?.port();
    let text = files.text("192.0.2.3", "");
    for (bad, wanted) in [
        (
            files.text("192.0.2.3", "    bogus\n"),
            format!("{}:12 - Error during parsing: Unknown directive", files.path("Corefile")),
        ),
        (text.replace("health 127.0.0.1", "health nosuch.invalid"), "nosuch.invalid".to_owned()),
        (text.replace(&files.health.to_string(), &port.to_string()), format!("127.0.0.1:{port}")),
        (format!("{text}x.org:{port} {{\n    bind 127.0.0.1\n    whoami\n}}\n"), format!("127.0.0.1:{port}")),
    ] {
        files.write(&bad)?;
        let reload = || callsign.signal(Signal::SIGUSR1);
        reload()?;
        said(&callsign, &wanted).await?;
        let lines = callsign.said();
        let line = lines.lines().rev().find(|line| line.contains(&wanted)).context("no line")?;
        ensure!(line.starts_with("[ERROR] "), "{line}");
        ensure!(lines.contains("[ERROR] Restart failed: "), "{lines}");
        // Everything is as it was.
        files.answers("192.0.2.2").await?;
        assert_eq!(get(at(files.health), "/health").await?.0, 200);
        assert_eq!(get(at(files.ready), "/ready").await?.0, 200);
        assert_eq!(get(at(files.metrics), "/metrics").await?.0, 200);
    }
    let metrics = scrape::Metrics::of(at(files.metrics)).await?;
    assert!(metrics.samples.get("coredns_reload_failed_total").is_some_and(|count| *count >= 4.0));
    assert_eq!(callsign.said().matches("[INFO] Reloading complete").count(), sound, "{}", callsign.said());
    drop(taken);
    files.write(&files.text("192.0.2.4", ""))?;
    callsign.signal(Signal::SIGUSR1)?;
    files.answers("192.0.2.4").await
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_move_without_a_gap() -> Result<()> {
    let mut files = Files::new()?;
    let text = files.text("192.0.2.1", "");
    files.write(&text)?;
    let callsign = files.start(&[])?;
    files.answers("192.0.2.1").await?;
    // All at one address, on all addresses, and DNS on all addresses too.
    let all = format!(":{}", files.health);
    let moved = [files.health, files.ready, files.metrics]
        .iter()
        .fold(text.clone(), |text, port| text.replace(&format!("127.0.0.1:{port}"), &all));
    files.write(&moved.replace("    bind 127.0.0.1\n", "").replace("192.0.2.1", "192.0.2.2"))?;
    callsign.signal(Signal::SIGUSR1)?;
    files.answers("192.0.2.2").await?;
    for page in ["/health", "/ready", "/metrics"] {
        assert_eq!(get(at(files.health), page).await?.0, 200, "{page}\n{}", callsign.said());
    }
    eventually("the old address is left", async || {
        ensure!(get(at(files.ready), "/ready").await.is_err());
        Ok(())
    })
    .await?;
    // And back, with two of them at one address.
    files.ready = files.health;
    files.write(&files.text("192.0.2.3", ""))?;
    callsign.signal(Signal::SIGUSR1)?;
    files.answers("192.0.2.3").await?;
    assert_eq!(get(at(files.ready), "/ready").await?.0, 200, "{}", callsign.said());
    assert_eq!(get(at(files.health), "/metrics").await?.0, 404);
    assert_eq!(get(at(files.metrics), "/metrics").await?.0, 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_map_is_swapped_by_its_link() -> Result<()> {
    let files = Files::new()?;
    let root = files.folder.path();
    let volume = |number: u32, address: &str| -> Result<()> {
        let name = format!("..{number}");
        std::fs::create_dir(root.join(&name))?;
        std::fs::write(root.join(&name).join("Corefile"), files.text(address, "    import more.override\n"))?;
        std::fs::write(
            root.join(&name).join("more.override"),
            format!("template IN TXT . {{\n answer \"{{{{ .Name }}}} 5 IN TXT {number}\"\n}}\n"),
        )?;
        symlink(&name, root.join("..fresh"))?;
        Ok(std::fs::rename(root.join("..fresh"), root.join("..data"))?)
    };
    volume(1, "192.0.2.1")?;
    for name in ["Corefile", "more.override"] {
        symlink(Path::new("..data").join(name), root.join(name))?;
    }
    let callsign = files.start(&[])?;
    files.answers("192.0.2.1").await?;
    volume(2, "192.0.2.2")?;
    std::fs::remove_dir_all(root.join("..1"))?;
    files.answers("192.0.2.2").await?;
    ensure!(!callsign.said().contains("[ERROR]"), "{}", callsign.said());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_is_told_or_ends_it() -> Result<()> {
    let files = Files::new()?;
    let text = format!("    loop\n    forward . 127.0.0.1:{}\n", files.dns);
    files.write(
        &files.text("192.0.2.1", &text).replace("    }\n    loop", "        fallthrough\n    }\n    loop"),
    )?;
    let callsign = files.start(&[])?;
    said(&callsign, "[ERROR] plugin/loop: Loop (127.0.0.1:").await?;
    said(&callsign, &format!("the upstream 127.0.0.1:{} leads back to this server", files.dns)).await?;
    files.answers("192.0.2.1").await?;
    let resolver = callsign_e2e::harness::resolver::Resolver::new(at(files.dns)).await?;
    assert_eq!(resolver.ask("www.example.org.", "A").await?.rcode, "SERVFAIL");
    drop(callsign);
    let mut callsign = files.start(&["-loop-fatal"])?;
    assert_eq!(callsign.ended(PATIENCE).await?.code(), Some(1));
    ensure!(callsign.said().contains("[FATAL] plugin/loop: Loop (127.0.0.1:"), "{}", callsign.said());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_names_what_is_missing() -> Result<()> {
    // A port that nobody listens on: the server that had it is gone.
    let server = ApiServer::start(Options::default()).await?;
    let address = server.addr();
    let place = Place::new(&server)?;
    server.shutdown().await;
    let (ready, health) = (free_port()?, free_port()?);
    place.write(
        "Corefile",
        &format!(
            "cluster.local {{\n    health 127.0.0.1:{health}\n    ready 127.0.0.1:{ready}\n    kubernetes\n}}\n\
             example.org {{\n    whoami\n}}\n"
        ),
    )?;
    let callsign = place.start(Path::new(BINARY), &[])?;
    eventually("it answers", async || {
        ensure!(get(at(health), "/health").await?.0 == 200);
        Ok(())
    })
    .await?;
    // CoreDNS's line, and what is the matter in more.
    eventually("reasons", async || {
        let (code, page) = get(at(ready), "/ready").await?;
        let mut lines = page.lines();
        ensure!((code, lines.next()) == (503, Some("kubernetes")), "{code} {page}");
        let named = lines.filter(|line| line.contains("Connection refused"));
        ensure!(named.count() == 3, "namespaces, services and slices: {page}");
        Ok(())
    })
    .await?;
    said(&callsign, "[INFO] plugin/ready: Plugins not ready: \"kubernetes\"").await?;
    let server = ApiServer::start(Options::bare(address)).await?;
    eventually("ready", async || {
        let page = get(at(ready), "/ready").await?;
        ensure!(page == (200, "OK".to_owned()), "{page:?}");
        Ok(())
    })
    .await?;
    server.shutdown().await;
    // What has been ready stays so.
    assert_eq!(get(at(ready), "/ready").await?.0, 200);
    Ok(())
}
