//! What an API server should not send: objects that cannot be read, lines that are no events, lists that take their time.
//!
//! The embedded API server sends no such things, so a small one stands in: it answers lists that are streamed and watches
//! with the lines it is given.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use callsign_e2e::harness::{process::Callsign, resolver::Resolver, world::eventually};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::broadcast,
    task::JoinSet,
};

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");

/// What the API server says.
#[derive(Default)]
struct Script {
    /// The lines of a list of Services.
    services: Vec<String>,
    /// Lists end only when this is false.
    held: bool,
    /// How many lists of Services there were.
    lists: usize,
}

struct FakeServer {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    /// Lines for the watches of Services.
    lines: broadcast::Sender<String>,
    _tasks: JoinSet<()>,
}

impl FakeServer {
    async fn start(services: Vec<String>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let script = Arc::new(Mutex::new(Script { services, ..Script::default() }));
        let lines = broadcast::Sender::new(64);
        let mut tasks = JoinSet::new();
        tasks.spawn({
            let (script, lines) = (Arc::clone(&script), lines.clone());
            async move {
                let mut connections = JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    connections.spawn(serve(stream, Arc::clone(&script), lines.clone()));
                }
            }
        });
        Ok(Self { address, script, lines, _tasks: tasks })
    }

    /// Sends a line to the watches of Services.
    fn say(&self, line: impl Into<String>) -> Result<()> {
        self.lines.send(line.into()).context("nobody watches Services")?;
        Ok(())
    }

    fn lists(&self) -> usize {
        self.script.lock().lists
    }

    /// Waits until the watch that follows a list is there to hear.
    async fn watched(&self) -> Result<()> {
        eventually("a watch of Services", async || {
            ensure!(self.lines.receiver_count() > 0);
            Ok(())
        })
        .await
    }
}

/// One watch: the list if it asks for one, then lines as they come.
async fn serve(mut stream: TcpStream, script: Arc<Mutex<Script>>, lines: broadcast::Sender<String>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let services = head.contains("/services?");
    let mut more = lines.subscribe();
    let mut first = Vec::new();
    if head.contains("sendInitialEvents=true") {
        if services {
            let mut script = script.lock();
            script.lists += 1;
            first.clone_from(&script.services);
        } else if head.contains("/namespaces?") {
            first.push(event("ADDED", &json!({"metadata": {"name": "n", "resourceVersion": "1"}})));
        }
    }
    let start = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";
    let mut say = async |line: &str| stream.write_all(format!("{line}\n").as_bytes()).await.is_ok();
    if !say(start.trim_end_matches('\n')).await {
        return;
    }
    if !services {
        drop(more);
        more = broadcast::Sender::new(1).subscribe();
    }
    for line in &first {
        if !say(line).await {
            return;
        }
    }
    while script.lock().held {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    if head.contains("sendInitialEvents=true") {
        let end = json!({"apiVersion": "v1", "kind": "Any", "metadata": {"resourceVersion": "10", "annotations": {"k8s.io/initial-events-end": "true"}}});
        if !say(&event("BOOKMARK", &end)).await {
            return;
        }
    }
    while let Ok(line) = more.recv().await {
        if !say(&line).await {
            return;
        }
    }
    // A watch of another kind is quiet for as long as the test lasts.
    std::future::pending::<()>().await;
}

fn event(kind: &str, object: &Value) -> String {
    // The type comes first, as from every API server.
    format!(r#"{{"type":"{kind}","object":{object}}}"#)
}

fn service(name: &str, version: u32, ip: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "n", "uid": name, "resourceVersion": version.to_string()},
        "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"port": 80}]},
    })
}

struct Started {
    server: FakeServer,
    callsign: Callsign,
    resolver: Resolver,
    _folder: tempfile::TempDir,
}

impl Started {
    async fn new(services: &[Value], held: bool) -> Result<Self> {
        let listed = services.iter().map(|service| event("ADDED", service)).collect();
        let server = FakeServer::start(listed).await?;
        server.script.lock().held = held;
        let folder = tempfile::tempdir()?;
        let kubeconfig = folder.path().join("kubeconfig");
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{}", server.address)}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        });
        std::fs::write(&kubeconfig, text.to_string())?;
        let path = kubeconfig.display().to_string();
        let any = "127.0.0.1:0";
        let mut arguments = vec!["dns", "--kubeconfig", &path];
        for flag in ["--listen", "--health-listen", "--ready-listen", "--metrics-listen"] {
            arguments.extend([flag, any]);
        }
        let mut callsign = Callsign::start(Path::new(BINARY), arguments)?;
        let resolver = Resolver::new(callsign.address("dns").await?).await?;
        Ok(Self { server, callsign, resolver, _folder: folder })
    }

    async fn a(&self, name: &str) -> Result<(String, Vec<String>)> {
        let answer = self.resolver.ask(&format!("{name}.n.svc.cluster.local."), "A").await?;
        let data = answer.answer.iter().map(|line| line.rsplit(' ').next().unwrap_or_default().to_owned());
        Ok((answer.rcode, data.collect()))
    }

    async fn answers(&self, name: &str, ip: &str) -> Result<()> {
        eventually(name, async || {
            let found = self.a(name).await?;
            ensure!(found.1 == [ip], "{found:?}\n{}", self.callsign.said());
            Ok(())
        })
        .await
    }

    /// How often the log says this.
    fn said(&self, text: &str) -> usize {
        self.callsign.said().matches(text).count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_good_form_of_a_bad_object_stays() -> Result<()> {
    let it = Started::new(&[service("web", 1, "10.96.0.1")], false).await?;
    it.answers("web", "10.96.0.1").await?;
    it.server.watched().await?;
    for version in [11, 12, 13] {
        it.server.say(event("MODIFIED", &service("web", version, "nonsense")))?;
    }
    it.server.say(event(
        "MODIFIED",
        &json!({"metadata": {"name": "web", "namespace": "n", "resourceVersion": "14"},
        "spec": {"ports": "none"}}),
    ))?;
    it.server.say(event("ADDED", &service("other", 15, "10.96.0.2")))?;
    it.answers("other", "10.96.0.2").await?;
    assert_eq!(it.a("web").await?.1, ["10.96.0.1"]);
    assert_eq!(it.said("skipping an object that cannot be read"), 2, "{}", it.callsign.said());
    assert_eq!(it.said("n/web"), 2, "it is named: {}", it.callsign.said());
    it.server.say(event("MODIFIED", &service("web", 16, "10.96.0.3")))?;
    it.answers("web", "10.96.0.3").await?;
    // It can be deleted in a form that cannot be read.
    it.server.say(event("DELETED", &service("web", 17, "nonsense")))?;
    eventually("deleted", async || {
        let found = it.a("web").await?;
        ensure!(found.0 == "NXDOMAIN", "{found:?}");
        Ok(())
    })
    .await?;
    assert_eq!(it.server.lists(), 1, "no bad object makes the watch start over");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_no_event_is_made_good_by_a_list() -> Result<()> {
    let it = Started::new(&[service("web", 1, "10.96.0.1")], false).await?;
    it.answers("web", "10.96.0.1").await?;
    it.server.watched().await?;
    // The line was to add this one; nobody will say it again.
    it.server.script.lock().services.push(event("ADDED", &service("late", 2, "10.96.0.2")));
    it.server.say("}garbage{")?;
    it.answers("late", "10.96.0.2").await?;
    assert_eq!(it.a("web").await?.1, ["10.96.0.1"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_with_a_line_that_is_no_event_removes_nothing() -> Result<()> {
    let it = Started::new(&[service("web", 1, "10.96.0.1")], false).await?;
    it.answers("web", "10.96.0.1").await?;
    it.server.watched().await?;
    let good = std::mem::replace(&mut it.server.script.lock().services, vec!["}garbage{".to_owned()]);
    it.server.say(r#"{"type": "SOMETHING", "object": 7}"#)?;
    eventually("more lists", async || {
        ensure!(it.server.lists() >= 4, "{}", it.server.lists());
        ensure!(it.a("web").await?.1 == ["10.96.0.1"]);
        Ok(())
    })
    .await?;
    assert_eq!(it.a("web").await?.1, ["10.96.0.1"]);
    let mut after = good;
    after.push(event("ADDED", &service("late", 2, "10.96.0.2")));
    it.server.script.lock().services = after;
    it.answers("late", "10.96.0.2").await?;
    assert_eq!(it.a("web").await?.1, ["10.96.0.1"]);
    assert!(it.server.lists() < 40, "the delays grow: {}", it.server.lists());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_list_affirms_and_denies_nothing() -> Result<()> {
    let it = Started::new(&[service("web", 1, "10.96.0.1")], true).await?;
    eventually("the list has begun", async || {
        ensure!(it.server.lists() > 0);
        Ok(())
    })
    .await?;
    for name in ["web", "nosuch"] {
        assert_eq!(it.a(name).await?.0, "SERVFAIL");
    }
    it.server.script.lock().held = false;
    it.answers("web", "10.96.0.1").await?;
    assert_eq!(it.a("nosuch").await?.0, "NXDOMAIN");
    Ok(())
}
