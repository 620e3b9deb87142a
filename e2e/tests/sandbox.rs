//! `callsign sandbox`: one command, a cluster, its endpoints and its names.

use std::{net::SocketAddr, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use callsign_e2e::harness::{
    build,
    cluster::Cluster,
    process::{Callsign, Signal},
    resolver::Resolver,
    world::{client, eventually},
};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");

/// A running sandbox on free ports.
struct Sandbox {
    callsign: Callsign,
    resolver: Resolver,
    cluster: Cluster,
    api: SocketAddr,
    #[expect(dead_code, reason = "holds the kubeconfig until the test ends")]
    folder: tempfile::TempDir,
}

impl Sandbox {
    async fn start(arguments: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let kubeconfig = folder.path().join("kubeconfig");
        let mut all: Vec<String> =
            ["sandbox", "--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0", "--write-kubeconfig"]
                .map(str::to_owned)
                .into();
        all.push(kubeconfig.display().to_string());
        all.extend(arguments.iter().map(|&argument| argument.to_owned()));
        let mut callsign = Callsign::start(Path::new(BINARY), all)?;
        let dns = callsign.address("dns").await?;
        let api = callsign.address("api").await?;
        eventually("kubeconfig", async || {
            ensure!(kubeconfig.exists());
            Ok(())
        })
        .await?;
        let cluster = Cluster::new(client(&kubeconfig).await?);
        Ok(Self { callsign, resolver: Resolver::new(dns).await?, cluster, api, folder })
    }

    /// Waits until the records' data, sorted, satisfy `wanted`.
    async fn answers(
        &self,
        name: &str,
        kind: &str,
        wanted: impl Fn(&[String]) -> bool,
    ) -> Result<Vec<String>> {
        let mut found = Vec::new();
        eventually(&format!("{name} {kind}"), async || {
            let answer = self.resolver.ask(name, kind).await?.answer;
            let mut data: Vec<String> =
                answer.iter().map(|line| line.splitn(4, ' ').nth(3).unwrap_or_default().to_owned()).collect();
            data.sort();
            ensure!(wanted(&data), "{data:?}\n{}", self.callsign.said());
            Ok(())
        })
        .await?;
        let answer = self.resolver.ask(name, kind).await?.answer;
        found.extend(answer);
        Ok(found)
    }
}

fn kubectl(api: SocketAddr, arguments: &[&str]) -> Result<String> {
    let output = Command::new("kubectl")
        .args(["--server", &format!("http://{api}")])
        .args(arguments)
        .output()
        .context("kubectl")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_for_every_type_of_service() -> Result<()> {
    let sandbox = Sandbox::start(&[]).await?;
    let one = |data: &[String]| data.len() == 1;
    let three = |data: &[String]| data.len() == 3;
    sandbox.answers("web.default.svc.cluster.local.", "A", one).await?;
    sandbox.answers("_http._tcp.web.default.svc.cluster.local.", "SRV", one).await?;
    sandbox.answers("db.shop.svc.cluster.local.", "A", three).await?;
    sandbox.answers("db-0.db.shop.svc.cluster.local.", "A", one).await?;
    let services = sandbox.cluster.list(callsign_e2e::apiserver::kind::Kind::Service).await?;
    let mut types: Vec<&str> = services.iter().filter_map(|s| s.pointer("/spec/type")?.as_str()).collect();
    types.sort_unstable();
    types.dedup();
    assert_eq!(types, ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]);
    for service in &services {
        let text = |pointer: &str| service.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let name = format!("{}.{}.svc.cluster.local.", text("/metadata/name"), text("/metadata/namespace"));
        let kind = if text("/spec/clusterIPs/0").contains(':') { "AAAA" } else { "A" };
        sandbox.answers(&name, kind, |data| !data.is_empty()).await.with_context(|| name.clone())?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_to_the_api_server_is_answered() -> Result<()> {
    let sandbox = Sandbox::start(&["--no-samples"]).await?;
    let deployment = |replicas: u32| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "default", "name": "hello"},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "hello"}},
                "template": {"metadata": {"labels": {"app": "hello"}},
                    "spec": {"containers": [{"name": "c", "image": "registry.invalid/app:1"}]}}}})
    };
    sandbox.cluster.apply(&build::headless("default", "hello")).await?;
    for replicas in [2, 3] {
        sandbox.cluster.apply(&deployment(replicas)).await?;
        let wanted = usize::try_from(replicas)?;
        sandbox.answers("hello.default.svc.cluster.local.", "A", |data| data.len() == wanted).await?;
    }
    sandbox.cluster.delete(&build::headless("default", "hello")).await?;
    gone(&sandbox, "hello.default.svc.cluster.local.").await
}

async fn gone(sandbox: &Sandbox, name: &str) -> Result<()> {
    eventually("gone", async || {
        let rcode = sandbox.resolver.ask(name, "A").await?.rcode;
        ensure!(rcode == "NXDOMAIN", "{rcode}");
        Ok(())
    })
    .await
}

/// The same by the stock `kubectl`, on machines that have it.
#[tokio::test(flavor = "multi_thread")]
async fn kubectl_changes_objects_and_answers() -> Result<()> {
    if Command::new("kubectl").args(["version", "--client"]).output().is_err() {
        eprintln!("not run: there is no kubectl on this machine");
        return Ok(());
    }
    let sandbox = Sandbox::start(&["--no-samples"]).await?;
    let manifest = tempfile::Builder::new().suffix(".yaml").tempfile()?;
    std::fs::write(
        manifest.path(),
        r"
apiVersion: v1
kind: Service
metadata: {name: hello}
spec: {clusterIP: None, selector: {app: hello}, ports: [{name: http, port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: hello}
spec:
  replicas: 2
  selector: {matchLabels: {app: hello}}
  template:
    metadata: {labels: {app: hello}}
    spec: {containers: [{name: c, image: registry.invalid/app:1}]}
",
    )?;
    let path = manifest.path().display().to_string();
    kubectl(sandbox.api, &["apply", "-f", &path])?;
    sandbox.answers("hello.default.svc.cluster.local.", "A", |data| data.len() == 2).await?;
    // Two addresses in each; what DNS knows may be written a moment later.
    eventually("objects", async || {
        let endpoints = kubectl(sandbox.api, &["get", "endpoints", "hello", "--no-headers"])?;
        ensure!(endpoints.matches(":80").count() == 2, "{endpoints}");
        let selector = ["-l", "kubernetes.io/service-name=hello", "--no-headers"];
        let slices = kubectl(sandbox.api, &[&["get", "endpointslices"], selector.as_slice()].concat())?;
        ensure!(slices.contains("IPv4") && slices.matches("10.244.").count() == 2, "{slices}");
        Ok(())
    })
    .await?;
    kubectl(sandbox.api, &["scale", "deployment/hello", "--replicas=3"])?;
    sandbox.answers("hello.default.svc.cluster.local.", "A", |data| data.len() == 3).await?;
    kubectl(sandbox.api, &["delete", "-f", &path])?;
    gone(&sandbox, "hello.default.svc.cluster.local.").await
}

#[tokio::test(flavor = "multi_thread")]
async fn loads_files_and_names_what_it_does_not_know() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let unknown = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"}});
    std::fs::write(folder.path().join("a.json"), unknown.to_string())?;
    std::fs::write(folder.path().join("b.json"), build::service("default", "mine").to_string())?;
    let path = folder.path().display().to_string();
    let sandbox = Sandbox::start(&["-f", &path]).await?;
    sandbox.answers("mine.default.svc.cluster.local.", "A", |data| data.len() == 1).await?;
    let missing = sandbox.resolver.ask("web.default.svc.cluster.local.", "A").await?;
    assert_eq!(missing.rcode, "NXDOMAIN", "samples are not loaded beside files");
    // It answers before it says so.
    eventually("said", async || {
        let said = sandbox.callsign.said();
        ensure!(said.contains("batch/v1") && said.contains("Job") && said.contains("once"), "{said}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_manifest_is_named() -> Result<()> {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile()?;
    std::fs::write(file.path(), "kind: Service\n  apiVersion: [\n")?;
    let path = file.path().display().to_string();
    let mut callsign = Callsign::start(
        Path::new(BINARY),
        ["sandbox", "--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0", "-f", &path],
    )?;
    let status = callsign.ended(Duration::from_secs(10)).await?;
    assert_eq!(status.code(), Some(2), "{}", callsign.said());
    assert!(callsign.said().contains(&path), "{}", callsign.said());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_exit_code_5() -> Result<()> {
    let tcp = std::net::TcpListener::bind("127.0.0.1:0")?;
    let taken = tcp.local_addr()?.to_string();
    for (flag, other) in [("--listen", "--api-listen"), ("--api-listen", "--listen")] {
        let mut callsign = Callsign::start(
            Path::new(BINARY),
            ["sandbox", "--no-samples", flag, &taken, other, "127.0.0.1:0"],
        )?;
        let status = callsign.ended(Duration::from_secs(10)).await?;
        assert_eq!(status.code(), Some(5), "{flag}: {}", callsign.said());
        assert!(callsign.said().contains(&taken), "{flag}: {}", callsign.said());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_loopback() -> Result<()> {
    for flag in ["--listen", "--api-listen"] {
        let mut callsign = Callsign::start(Path::new(BINARY), ["sandbox", flag, "0.0.0.0:0"])?;
        let status = callsign.ended(Duration::from_secs(10)).await?;
        assert_eq!(status.code(), Some(2), "{flag}: {}", callsign.said());
        assert!(callsign.said().contains("loopback"), "{flag}: {}", callsign.said());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_it_cleanly() -> Result<()> {
    let mut sandbox = Sandbox::start(&["--no-samples"]).await?;
    sandbox.callsign.signal(Signal::SIGINT)?;
    let status = sandbox.callsign.ended(Duration::from_secs(5)).await?;
    assert_eq!(status.code(), Some(0), "{}", sandbox.callsign.said());
    Ok(())
}
