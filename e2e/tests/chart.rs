//! What the Helm chart renders, as the binary meets it: Corefiles that it reads, arguments that it understands, ports that agree.
//!
//! `charts/golden` holds what the real Helm renders of each preset; `charts/check` proves that it does. Nothing here needs Helm.

use std::{
    collections::BTreeSet,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, ensure};
use callsign_e2e::{
    apiserver::{
        ApiServer, Options,
        manifest::{self, Manifests},
    },
    harness::{
        in_place::{Place, free_port},
        process::Callsign,
        upstream::Upstream,
    },
};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");
/// What a pod's Corefile is where it comes from a ConfigMap that is not the chart's: CoreDNS's, on kubeadm.
const KUBEADM: &str = "dns/tests/corefiles/kubeadm-1.33/Corefile";
/// Presets whose Corefile names files that are only in the pod.
const WITH_FILES: [&str; 1] = ["coredns"];

/// One preset, rendered.
struct Golden {
    name: String,
    manifests: Manifests,
}

impl Golden {
    /// Every one of them.
    fn all() -> Result<Vec<Self>> {
        let folder = root().join("charts/golden");
        let mut goldens = Vec::new();
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                let manifests = manifest::parse(&path, &std::fs::read_to_string(&path)?)?;
                goldens.push(Self { name, manifests });
            }
        }
        ensure!(goldens.len() >= 9, "three modes with three Services, at least: {}", goldens.len());
        Ok(goldens)
    }

    fn objects(&self, kind: &str) -> impl Iterator<Item = &Value> {
        let all = self.manifests.objects.iter().map(|manifest| &manifest.value);
        all.filter(move |value| value.get("kind").is_some_and(|found| found == kind))
    }

    /// Every pod's spec: those of Deployments, and the test's.
    fn pods(&self) -> Vec<&Value> {
        let templates =
            self.objects("Deployment").filter_map(|deployment| deployment.pointer("/spec/template/spec"));
        templates.chain(self.objects("Pod").filter_map(|pod| pod.get("spec"))).collect()
    }

    /// Our containers.
    fn containers(&self) -> Vec<&Value> {
        let all = self
            .pods()
            .into_iter()
            .flat_map(|pod| pod.get("containers").and_then(Value::as_array).into_iter().flatten());
        all.filter(|container| {
            container
                .get("image")
                .and_then(Value::as_str)
                .is_some_and(|image| image.contains("callsign-dns/callsign"))
        })
        .collect()
    }

    /// The Corefile of the pods that answer DNS.
    fn corefile(&self) -> Result<String> {
        let own = self.objects("ConfigMap").find_map(|map| map.pointer("/data/Corefile")?.as_str());
        match own {
            Some(text) => Ok(text.to_owned()),
            None => Ok(std::fs::read_to_string(root().join(KUBEADM))?),
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Runs the binary to its end, with nothing of this process's environment.
fn run(arguments: &[String], input: &str) -> Result<Output> {
    let mut command = Command::new(BINARY);
    command.env_clear().args(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    Ok(child.wait_with_output()?)
}

/// What `callsign config check` says of a Corefile.
fn report(corefile: &str) -> Result<Value> {
    let arguments = ["config", "check", "-o", "json", "-"].map(str::to_owned);
    let output = run(&arguments, corefile)?;
    ensure!(output.status.success(), "{}\n{corefile}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// A Corefile without the directives that name files.
fn without_files(corefile: &str) -> String {
    let names =
        |line: &str| ["import ", "tls ", "file "].iter().any(|name| line.trim_start().starts_with(name));
    corefile.lines().filter(|line| !names(line)).map(|line| format!("{line}\n")).collect()
}

fn texts(value: &Value) -> Vec<String> {
    let all = value.as_array().into_iter().flatten();
    all.filter_map(Value::as_str).map(str::to_owned).collect()
}

#[test]
fn every_corefile_is_read_as_it_is_meant() -> Result<()> {
    for golden in Golden::all()? {
        let mut corefile = golden.corefile()?;
        if WITH_FILES.contains(&golden.name.as_str()) {
            corefile = without_files(&corefile);
        }
        let report = report(&corefile).with_context(|| golden.name.clone())?;
        let warnings = &report["warnings"];
        ensure!(warnings.as_array().is_some_and(Vec::is_empty), "{}: {warnings}", golden.name);
        for block in report["blocks"].as_array().into_iter().flatten() {
            for row in block["directives"].as_array().into_iter().flatten() {
                ensure!(row["verdict"] == "native", "{}: {row}", golden.name);
            }
        }
    }
    Ok(())
}

#[test]
fn every_argument_is_understood() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let corefile = folder.path().join("Corefile");
    for golden in Golden::all()? {
        std::fs::write(&corefile, without_files(&golden.corefile()?))?;
        let containers = golden.containers();
        ensure!(!containers.is_empty(), "{}: nothing runs", golden.name);
        for container in containers {
            let mut arguments = texts(&container["args"]);
            if arguments.first().is_some_and(|command| command == "check") {
                continue;
            }
            for argument in &mut arguments {
                if argument.ends_with("/Corefile") {
                    *argument = corefile.display().to_string();
                }
            }
            // It gets as far as the cluster, of which there is none.
            arguments.extend(["--kubeconfig".to_owned(), "/nowhere/kubeconfig".to_owned()]);
            let output = run(&arguments, "")?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(
                output.status.code() == Some(2) && said.contains("--kubeconfig /nowhere/kubeconfig: "),
                "{}: {arguments:?}: {said}",
                golden.name
            );
        }
    }
    Ok(())
}

/// The port at the end of a line that begins with this word.
fn port_of(lines: &[String], word: &str) -> Option<i64> {
    let line = lines.iter().map(|line| line.trim()).find(|line| line.split(' ').next() == Some(word))?;
    let digits: String = line.rsplit_once(':')?.1.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[test]
fn ports_of_corefile_container_and_probes_agree() -> Result<()> {
    for golden in Golden::all()? {
        let report = report(&without_files(&golden.corefile()?)).with_context(|| golden.name.clone())?;
        let blocks = report["blocks"].as_array().into_iter().flatten();
        let (mut keys, mut lines) = (Vec::new(), Vec::new());
        for block in blocks {
            keys.extend(texts(&block["keys"]));
            lines.extend(texts(&block["understood"]));
        }
        let listened: BTreeSet<i64> =
            keys.iter().filter_map(|key| key.rsplit_once(':')?.1.parse().ok()).collect();
        for container in golden.containers() {
            let ports = container["ports"].as_array().into_iter().flatten();
            let named = |name: &str| {
                let mut ports = ports.clone().filter(move |port| port["name"] == name);
                ports.find_map(|port| port["containerPort"].as_i64())
            };
            let dns: BTreeSet<i64> = (ports.clone())
                .filter(|port| port["name"].as_str().is_some_and(|name| name.starts_with("dns")))
                .filter_map(|port| port["containerPort"].as_i64())
                .collect();
            if dns.is_empty() {
                continue;
            }
            ensure!(dns == listened, "{}: container {dns:?}, Corefile {listened:?}", golden.name);
            for (name, word) in [("health", "health"), ("ready", "ready"), ("metrics", "prometheus")] {
                let (container, corefile) = (named(name), port_of(&lines, word));
                ensure!(
                    container.is_some() && container == corefile,
                    "{}: {name} {container:?} {corefile:?}",
                    golden.name
                );
            }
            for (probe, path, port) in
                [("livenessProbe", "/health", "health"), ("readinessProbe", "/ready", "ready")]
            {
                let asked = &container[probe]["httpGet"];
                ensure!(asked["path"] == path && asked["port"] == port, "{}: {probe} {asked}", golden.name);
            }
        }
    }
    Ok(())
}

/// The pods of the chart answer what the chart's own test asks: `helm test`, with processes in the place of pods.
#[tokio::test(flavor = "multi_thread")]
async fn the_charts_test_passes_against_the_charts_pods() -> Result<()> {
    let goldens = Golden::all()?;
    let golden = goldens.iter().find(|golden| golden.name == "dns-own").context("dns-own")?;
    let (server, upstream) = (ApiServer::start(Options::default()).await?, Upstream::of_example().await?);
    let place = Place::new(&server)?;
    let [health, ready, metrics] = [free_port()?, free_port()?, free_port()?];
    // What would listen everywhere, and ask the node's servers, is at home on loopback.
    let corefile = (golden.corefile()?)
        .replace(".:1053 {", &format!(".:{} {{\n    bind 127.0.0.1", place.port))
        .replace("    health {", &format!("    health 127.0.0.1:{health} {{"))
        .replace("    ready\n", &format!("    ready 127.0.0.1:{ready}\n"))
        .replace("prometheus :9153", &format!("prometheus 127.0.0.1:{metrics}"))
        .replace("/etc/resolv.conf", &upstream.address.to_string());
    place.write("Corefile", &corefile)?;
    let arguments = |command: &str| -> Result<Vec<String>> {
        let mut all = golden.containers().into_iter().map(|container| texts(&container["args"]));
        all.find(|arguments| arguments.first().is_some_and(|first| first == command))
            .context("no such container")
    };
    let mut dns = arguments("dns")?;
    for argument in &mut dns {
        *argument = argument.replace("/etc/callsign/Corefile", &place.path("Corefile").display().to_string());
    }
    let kubeconfig = place.path("kubeconfig").display().to_string();
    let callsign = Callsign::start_with(Path::new(BINARY), dns, [("KUBECONFIG", kubeconfig.as_str())])?;

    let mut check = arguments("check")?;
    for argument in &mut check {
        // The variable is the kubelet's, from the Service; the name outside is one that is served here.
        *argument = argument
            .replace("$(CALLSIGN_SERVICE_HOST)", &format!("127.0.0.1:{}", place.port))
            .replace("example.com", "www.example.org");
    }
    ensure!(check.iter().any(|argument| argument.starts_with("--server=127.0.0.1")), "{check:?}");
    let output = tokio::task::spawn_blocking({
        let check = check.clone();
        move || run(&check, "")
    });
    let output = output.await??;
    let (said, more) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{check:?}: {said}{more}{}", callsign.said());
    Ok(())
}
