//! `callsign manifest`: what it prints is accepted as it is, field by field, and what makes no sense is refused.

use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use callsign_e2e::{
    apiserver::{ApiServer, Options, manifest},
    harness::{cluster::Cluster, world::client},
};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");

/// Runs it with nothing of this process's environment.
fn run(arguments: &[&str]) -> Result<Output> {
    Ok(Command::new(BINARY).env_clear().arg("manifest").args(arguments).output()?)
}

fn print(arguments: &[&str]) -> Result<String> {
    let output = run(arguments)?;
    ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    ensure!(output.stderr.is_empty(), "{arguments:?} talks: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// Has a server of its own take in all objects, without writing them (`--dry-run=server`) and then in earnest.
async fn accepted(text: &str) -> Result<usize> {
    let server = ApiServer::start(Options::default()).await?;
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, server.kubeconfig())?;
    let cluster = Cluster::new(client(&kubeconfig).await?);
    let manifests = manifest::parse(&folder.path().join("callsign.yaml"), text)?;
    ensure!(manifests.unknown.is_empty(), "{:?}", manifests.unknown);
    for namespace in ["kube-system", "dns"] {
        cluster
            .apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}))
            .await?;
    }
    for dry_run in ["&dryRun=All", ""] {
        for manifest in &manifests.objects {
            let (api, name) = cluster.api(&manifest.value)?;
            // Unknown and doubled fields are refused, as kubectl has it.
            let path = format!("{}?fieldValidation=Strict{dry_run}", api.resource_url());
            let request = http::Request::post(path).header("content-type", "application/json");
            let request = request.body(manifest.value.to_string().into_bytes())?;
            let written = cluster.client().request::<Value>(request).await;
            written.with_context(|| format!("{} {name}", manifest.source))?;
        }
    }
    for manifest in &manifests.objects {
        let (api, name) = cluster.api(&manifest.value)?;
        let found = serde_json::to_value(api.get(&name).await?)?;
        let lost = lost(&manifest.value, &found, &name);
        ensure!(lost.is_empty(), "{lost:?}");
    }
    Ok(manifests.objects.len())
}

/// The fields that the server did not keep as they were: what a typed API drops.
fn lost(wanted: &Value, found: &Value, at: &str) -> Vec<String> {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => wanted
            .iter()
            .flat_map(|(key, wanted)| {
                lost(wanted, found.get(key).unwrap_or(&Value::Null), &format!("{at}.{key}"))
            })
            .collect(),
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => wanted
            .iter()
            .zip(found)
            .flat_map(|(wanted, found)| lost(wanted, found, &format!("{at}[]")))
            .collect(),
        (wanted, found) if wanted == found => Vec::new(),
        (wanted, found) => vec![format!("{at}: {wanted} became {found}")],
    }
}

const COREFILE: &str = ".:5353 {\n    errors\n    health\n    ready\n    prometheus :9153\n    kubernetes cluster.local in-addr.arpa {\n        pods verified\n    }\n    forward . /etc/resolv.conf\n    loop\n    reload\n}\n";

#[tokio::test]
async fn every_mode_with_every_service_is_accepted() -> Result<()> {
    for mode in ["dns", "all-in-one", "split"] {
        for service in ["own", "join", "adopt"] {
            let text = print(&["--mode", mode, "--strategy", service])?;
            let file = format!("{}/deploy/{mode}-{service}/callsign.yaml", env!("CARGO_MANIFEST_DIR"));
            ensure!(text == std::fs::read_to_string(&file)?, "{file}");
            let count = accepted(&text).await.with_context(|| format!("{mode}-{service}"))?;
            ensure!(count >= 5, "{mode}-{service}: {count} objects");
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_flags_change_is_accepted_too() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let corefile = folder.path().join("Corefile");
    std::fs::write(&corefile, COREFILE)?;
    let corefile = corefile.display().to_string();
    let rest = [
        "-n",
        "dns",
        "--image",
        "r.example/callsign:9",
        "--replicas",
        "3",
        "--cluster-ip",
        "10.96.0.77",
        "--corefile",
        &corefile,
    ];
    for mode in ["dns", "all-in-one", "split"] {
        let text = print(&[&["--mode", mode], rest.as_slice()].concat())?;
        for wanted in [
            "namespace: dns\n",
            "image: \"r.example/callsign:9\"",
            "replicas: 3\n",
            "clusterIP: ",
            "pods verified",
        ] {
            ensure!(text.contains(wanted) || text.contains(&wanted.replace('"', "")), "{wanted}\n{text}");
        }
        accepted(&text).await.with_context(|| mode.to_owned())?;
        accepted(&print(&[
            "--mode",
            mode,
            "--strategy",
            "adopt",
            "--config-map",
            "coredns",
            "--cluster-ip",
            "10.96.0.12",
        ])?)
        .await?;
    }
    Ok(())
}

#[test]
fn contradictions_are_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str, text: &str| -> Result<String> {
        let path = folder.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    };
    let good = file("good", COREFILE)?;
    let typo = file("typo", &COREFILE.replace("errors", "erors"))?;
    let cases: [(&[&str], &str); 9] = [
        (&["--strategy", "join", "--cluster-ip", "10.96.0.10"], "keeps its address"),
        (&["--strategy", "join", "-n", "dns"], "use --strategy own"),
        (&["--strategy", "adopt", "-n", "dns"], "use --strategy own"),
        (&["--corefile", &good, "--config-map", "coredns"], "cannot be used with"),
        (&["--strategy", "join", "--corefile", &good], "questions come to port 53"),
        (&["--corefile", &typo], "typo:2 - Error during parsing: Unknown directive 'erors'"),
        (&["--corefile", "/nowhere"], "open /nowhere"),
        (&["--image", "callsign"], "want an image with its tag"),
        (&["--cluster-ip", "None"], "invalid value 'None'"),
    ];
    for (arguments, wanted) in cases {
        let output = run(arguments)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(2) && output.stdout.is_empty(), "{arguments:?}: {output:?}");
        ensure!(said.contains(wanted), "{arguments:?}: {said}");
    }
    Ok(())
}
