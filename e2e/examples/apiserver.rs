//! Runs the embedded API server alone, for trying `kubectl` against it: `cargo run -p callsign-e2e --example apiserver
//! [ADDR:PORT] [bare]`.

use std::net::SocketAddr;

use callsign_e2e::apiserver::{ApiServer, Options};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let listen: SocketAddr = args.next().as_deref().unwrap_or("127.0.0.1:1064").parse()?;
    let options =
        if args.next().as_deref() == Some("bare") { Options::bare(listen) } else { Options::sandbox(listen) };
    let server = ApiServer::start(options).await?;
    println!("{}", server.url());
    tokio::signal::ctrl_c().await?;
    server.shutdown().await;
    Ok(())
}
