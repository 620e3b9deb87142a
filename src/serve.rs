//! `callsign serve`, `callsign dns` and `callsign controller`: the whole against a cluster, or one half.

use std::{net::SocketAddr, time::Duration};

use callsign_controller::{
    Config as ControllerConfig, EndpointsMode, Limit, Limits, Mode, Patience, guard::Config as GuardConfig,
};
use callsign_shared::{Key, index::Source as Endpoints};

use crate::{
    args::{
        AdminArgs, ClusterArgs, ControllerArgs, ControllerCommandArgs, ControllerMode, CorefileArgs, DnsArgs,
        DnsCommandArgs, EndpointsWritten, GuardMode, ListenArgs, ServeArgs,
    },
    blocks, client,
    coredns::{self, Read, Reloads, Source},
    engine::{Admin, DnsSettings, Engine, Settings},
    exit::Exit,
    leader, signals,
};

/// The shortest time between two looks for other controllers.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// Runs DNS and the controllers.
pub(crate) async fn serve(args: ServeArgs) -> Result<(), Exit> {
    let mode = match args.controller {
        ControllerMode::On => Some(Mode::On),
        ControllerMode::Shadow => Some(Mode::Shadow),
        ControllerMode::Off => None,
    };
    let (dns, admin, file) = served(&args.corefile, &args.dns, &args.listen, args.admin)?;
    let settings = Settings {
        dns: Some(dns),
        controller: mode.map(|mode| controller_config(mode, &args.write)),
        leader: leader::config(mode, &args.leader)?,
        // In shadow somebody else decides what becomes an endpoint.
        source: if mode == Some(Mode::On) { Endpoints::Memberships } else { Endpoints::Slices },
        admin,
    };
    run(&args.cluster, settings, file).await
}

/// Runs DNS alone.
pub(crate) async fn dns(args: DnsCommandArgs) -> Result<(), Exit> {
    let (dns, admin, file) = served(&args.corefile, &args.dns, &args.listen, args.admin)?;
    let settings =
        Settings { dns: Some(dns), controller: None, leader: None, source: Endpoints::Slices, admin };
    run(&args.cluster, settings, file).await
}

/// Runs the controllers alone.
pub(crate) async fn controller(args: ControllerCommandArgs) -> Result<(), Exit> {
    let mode = if args.shadow { Mode::Shadow } else { Mode::On };
    let settings = Settings {
        dns: None,
        controller: Some(controller_config(mode, &args.write)),
        leader: leader::config(Some(mode), &args.leader)?,
        source: Endpoints::Memberships,
        admin: Admin::Flags(args.admin),
    };
    run(&args.cluster, settings, None).await
}

/// A file that is served, and the hash of what was read.
type Followed = (Source, String);

/// What DNS to serve: a Corefile's, which says where the pages are too, or that of the flags.
fn served(
    corefile: &CorefileArgs,
    dns: &DnsArgs,
    listen: &ListenArgs,
    admin: AdminArgs,
) -> Result<(DnsSettings, Admin, Option<Followed>), Exit> {
    let Some(path) = &corefile.corefile else {
        return Ok((dns_settings(dns, &listen.listen)?, Admin::Flags(admin), None));
    };
    let source = Source::file(path);
    let Read { config, sha512 } =
        source.read().map_err(|error| Exit::configuration(anyhow::anyhow!(error)))?;
    coredns::comment(&config);
    let settings = DnsSettings {
        config,
        own_addresses: dns.own_address.clone(),
        upstreams: Vec::new(),
        loop_is_fatal: false,
    };
    Ok((settings, Admin::Blocks, Some((source, sha512))))
}

/// What DNS to serve from the command line.
///
/// # Errors
/// When a flag's value makes no sense.
pub(crate) fn dns_settings(args: &DnsArgs, listen: &[SocketAddr]) -> Result<DnsSettings, Exit> {
    Ok(DnsSettings {
        config: blocks::of_flags(args, listen).map_err(Exit::configuration)?,
        own_addresses: args.own_address.clone(),
        upstreams: args.upstream.clone(),
        loop_is_fatal: false,
    })
}

/// The controllers' settings from the command line.
pub(crate) fn controller_config(mode: Mode, args: &ControllerArgs) -> ControllerConfig {
    ControllerConfig {
        mode,
        workers: usize::from(args.concurrent_service_endpoint_syncs),
        limits: Limits {
            endpoints_per_slice: usize::from(args.max_endpoints_per_slice),
            mirrored_per_subset: usize::from(args.mirroring_max_endpoints_per_subset),
        },
        endpoints: match args.endpoints {
            EndpointsWritten::On => EndpointsMode::On,
            EndpointsWritten::Existing => EndpointsMode::Existing,
            EndpointsWritten::Off => EndpointsMode::Off,
        },
        slices_batch_period: args.endpointslice_updates_batch_period,
        mirror_batch_period: args.mirroring_endpointslice_updates_batch_period,
        endpoints_batch_period: args.endpoint_updates_batch_period,
        patience: Patience {
            calm: args.unready_updates_delay,
            churning: Patience::default().churning.max(args.unready_updates_delay),
        },
        event_after: Some(args.event_after),
        limit: args.kube_api_qps.map(|qps| Limit { per_second: qps.into(), burst: args.kube_api_burst }),
        guard: (args.guard == GuardMode::On).then(|| GuardConfig {
            namespace: args.guard_namespace.clone().unwrap_or_default().into(),
            wait: args.guard_wait,
            every: args.guard_interval.max(SHORTEST_INTERVAL),
            lease: None,
        }),
        removal_fuse: args.removal_fuse,
    }
}

async fn run(cluster: &ClusterArgs, mut settings: Settings, file: Option<Followed>) -> Result<(), Exit> {
    let end = signals::ending().map_err(|error| Exit::from(anyhow::Error::new(error)))?;
    let config = client::config(cluster).await?;
    if let Some(leader) = &mut settings.leader {
        leader::place(leader, &config);
    }
    if let Some(guard) = settings.controller.as_mut().and_then(|controller| controller.guard.as_mut()) {
        if guard.namespace.is_empty() {
            let own = client::account_namespace(&config);
            guard.namespace = own.unwrap_or_else(|| leader::NAMESPACE.to_owned()).into();
        }
        guard.lease = settings.leader.as_ref().map(|leader| Key::new(&leader.namespace, &leader.name));
    }
    let engine = Engine::start(Some(&config), settings).await?;
    let reloads = match (file, engine.reloader()) {
        (Some((source, sha512)), Some(reloader)) => {
            let again = signals::again().map_err(|error| Exit::from(anyhow::Error::new(error)))?;
            let reloads = Reloads::new(source, reloader, None, sha512);
            reloads.announce();
            Some(tokio::spawn(reloads.run(again, end.clone())))
        }
        _ => None,
    };
    let ran = engine.run(end).await;
    if let Some(reloads) = reloads {
        reloads.abort();
    }
    ran
}
