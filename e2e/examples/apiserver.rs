//! Runs the embedded API server alone, for trying `kubectl`, Helm or the binary against it:
//! `cargo run -p callsign-e2e --example apiserver [ADDR:PORT] [bare] [--rbac] [--admin-token-file FILE] [--tls-dir DIR]`.
//!
//! With `--rbac` everybody has to show a token and may do what roles say; the administrator's token is read from the file,
//! or made up and written there if the file is not. With `--tls-dir` it speaks HTTPS, and writes `ca.crt` into the folder.
//! Beside it goes `kubeconfig`, the administrator's. `--account NAMESPACE/NAME`, which may be repeated, makes that
//! ServiceAccount and writes `NAMESPACE/NAME/{token,ca.crt,namespace}` there: what a pod finds in
//! `/var/run/secrets/kubernetes.io/serviceaccount`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use callsign_e2e::apiserver::kind::Kind;
use callsign_e2e::apiserver::{AccessOptions, ApiServer, Options, Running, WriteOptions};
use serde_json::json;

/// How long the tokens of `--account` are good: longer than anybody tries something.
const DAY: i64 = 24 * 3600;

#[derive(Default)]
struct Args {
    listen: Option<SocketAddr>,
    bare: bool,
    rbac: bool,
    admin_token_file: Option<PathBuf>,
    tls_dir: Option<PathBuf>,
    accounts: Vec<(String, String)>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::read(std::env::args().skip(1))?;
    let listen = args.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 1064)));
    let mut options = if args.bare { Options::bare(listen) } else { Options::sandbox(listen) };
    options.tls = args.tls_dir.is_some();
    if args.rbac {
        options.access = Some(AccessOptions { admin_token: admin_token(args.admin_token_file.as_deref())? });
    }
    let server = ApiServer::start(options).await?;
    if let (Some(file), Some(token)) = (&args.admin_token_file, server.access().admin_token()) {
        write(file, token)?;
    }
    if let Some(dir) = &args.tls_dir {
        write(&dir.join("ca.crt"), server.authority().unwrap_or_default())?;
        write(&dir.join("kubeconfig"), &server.kubeconfig())?;
        for (namespace, name) in &args.accounts {
            account(&server, &dir.join(namespace).join(name), namespace, name)?;
        }
    }
    println!("{}", server.url());
    tokio::signal::ctrl_c().await?;
    server.shutdown().await;
    Ok(())
}

impl Args {
    fn read(mut given: impl Iterator<Item = String>) -> Result<Self> {
        let mut args = Self::default();
        while let Some(arg) = given.next() {
            let mut value = || given.next().with_context(|| format!("{arg} wants a value"));
            match arg.as_str() {
                "bare" | "--bare" => args.bare = true,
                "--rbac" => args.rbac = true,
                "--admin-token-file" => args.admin_token_file = Some(value()?.into()),
                "--tls-dir" => args.tls_dir = Some(value()?.into()),
                "--account" => {
                    let value = value()?;
                    let (namespace, name) = value
                        .split_once('/')
                        .with_context(|| format!("{value}: an account is NAMESPACE/NAME"))?;
                    args.accounts.push((namespace.to_owned(), name.to_owned()));
                }
                other if other.starts_with('-') => bail!("unknown flag {other}"),
                listen => {
                    args.listen = Some(listen.parse().with_context(|| format!("{listen}: no address"))?);
                }
            }
        }
        if args.tls_dir.is_none() && !args.accounts.is_empty() {
            bail!("--account writes into the folder of --tls-dir, which is missing");
        }
        Ok(args)
    }
}

/// The token in a file, if the file is there.
fn admin_token(file: Option<&Path>) -> Result<Option<String>> {
    let Some(file) = file.filter(|file| file.exists()) else { return Ok(None) };
    let token = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    Ok(Some(token.trim().to_owned()).filter(|token| !token.is_empty()))
}

/// Makes a ServiceAccount, and the files its pods find.
fn account(server: &Running, dir: &Path, namespace: &str, name: &str) -> Result<()> {
    let object = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": name } });
    server.store().create(Kind::ServiceAccount, namespace, object, &WriteOptions::by("apiserver"))?;
    let issued = server.access().issue(namespace, name, DAY, None, &[])?;
    write(&dir.join("token"), &issued.token)?;
    write(&dir.join("ca.crt"), server.authority().unwrap_or_default())?;
    write(&dir.join("namespace"), namespace)
}

fn write(file: &Path, text: &str) -> Result<()> {
    let put = || -> std::io::Result<()> {
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(file, text)
    };
    put().with_context(|| file.display().to_string())
}
