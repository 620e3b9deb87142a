//! `callsign serve`, `callsign dns` and `callsign controller`: the whole against a cluster, or one half.

use std::{net::SocketAddr, time::Duration};

use callsign_controller::{
    Config as ControllerConfig, EndpointsMode, Limit, Limits, Mode, Patience, guard::Config as GuardConfig,
};
use callsign_shared::{Key, index::Source};

use crate::{
    args::{
        ClusterArgs, ControllerArgs, ControllerCommandArgs, ControllerMode, DnsArgs, DnsCommandArgs,
        EndpointsWritten, GuardMode, ServeArgs,
    },
    blocks, client,
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
    let settings = Settings {
        dns: Some(dns_settings(&args.dns, &args.listen.listen)?),
        controller: mode.map(|mode| controller_config(mode, &args.write)),
        leader: leader::config(mode, &args.leader)?,
        // In shadow somebody else decides what becomes an endpoint.
        source: if mode == Some(Mode::On) { Source::Memberships } else { Source::Slices },
        admin: Admin::Flags(args.admin),
    };
    run(&args.cluster, settings).await
}

/// Runs DNS alone.
pub(crate) async fn dns(args: DnsCommandArgs) -> Result<(), Exit> {
    let settings = Settings {
        dns: Some(dns_settings(&args.dns, &args.listen.listen)?),
        controller: None,
        leader: None,
        source: Source::Slices,
        admin: Admin::Flags(args.admin),
    };
    run(&args.cluster, settings).await
}

/// Runs the controllers alone.
pub(crate) async fn controller(args: ControllerCommandArgs) -> Result<(), Exit> {
    let mode = if args.shadow { Mode::Shadow } else { Mode::On };
    let settings = Settings {
        dns: None,
        controller: Some(controller_config(mode, &args.write)),
        leader: leader::config(Some(mode), &args.leader)?,
        source: Source::Memberships,
        admin: Admin::Flags(args.admin),
    };
    run(&args.cluster, settings).await
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

async fn run(cluster: &ClusterArgs, mut settings: Settings) -> Result<(), Exit> {
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
    Engine::start(Some(&config), settings).await?.run(end).await
}
