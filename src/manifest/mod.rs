//! `callsign manifest`: the objects of an installation as YAML, for those who do not use Helm. Nothing is applied.
//!
//! ```text
//!   deploy/<mode>-<service>/callsign.yaml, in the binary ─▶ objects ─▶ changes ─▶ YAML
//! ```
//!
//! The files are what the chart renders. Without a change they are printed as they are; what flags change is changed in the
//! objects ([`changes`]), never in their text.

mod changes;
mod yaml;

use crate::{
    args::{InstallMode, ManifestArgs, Strategy},
    check::corefile::in_a_pod,
    config,
    exit::Exit,
    log::say,
};
use changes::{Changes, NewCorefile};

/// Prints the objects.
///
/// # Errors
/// With code 2 when flags contradict each other, or the Corefile is wrong.
pub(crate) fn run(args: &ManifestArgs) -> Result<(), Exit> {
    let file = embedded(args.mode, args.service);
    let changes = Changes {
        strategy: args.service,
        namespace: args.namespace.clone(),
        image: args.image.clone(),
        replicas: args.replicas,
        cluster_ip: args.cluster_ip,
        config_map: args.config_map.clone(),
        corefile: args.corefile.as_deref().map(corefile).transpose()?,
    };
    say(manifest(file, &changes).map_err(Exit::configuration)?.trim_end());
    Ok(())
}

/// A Corefile, checked.
fn corefile(file: &std::path::Path) -> Result<NewCorefile, Exit> {
    let (name, text) = config::read(file)?;
    let (corefile, config) = in_a_pod(&name, &text).map_err(Exit::configuration)?;
    NewCorefile::new(&name, text, &corefile, &config).map_err(Exit::configuration)
}

/// The objects of a file, changed.
///
/// # Errors
/// When a change cannot be made.
fn manifest(file: &str, changes: &Changes) -> anyhow::Result<String> {
    let mut objects = yaml::read(file)?;
    let before = objects.clone();
    changes.apply(&mut objects)?;
    if objects == before { Ok(file.to_owned()) } else { yaml::write(title(file), &objects) }
}

/// The comment that a file begins with.
fn title(file: &str) -> &str {
    file.lines().next().filter(|line| line.starts_with('#')).unwrap_or_default()
}

fn embedded(mode: InstallMode, service: Strategy) -> &'static str {
    macro_rules! file {
        ($name:literal) => {
            include_str!(concat!("../../deploy/", $name, "/callsign.yaml"))
        };
    }
    match (mode, service) {
        (InstallMode::Dns, Strategy::Own) => file!("dns-own"),
        (InstallMode::Dns, Strategy::Join) => file!("dns-join"),
        (InstallMode::Dns, Strategy::Adopt) => file!("dns-adopt"),
        (InstallMode::AllInOne, Strategy::Own) => file!("all-in-one-own"),
        (InstallMode::AllInOne, Strategy::Join) => file!("all-in-one-join"),
        (InstallMode::AllInOne, Strategy::Adopt) => file!("all-in-one-adopt"),
        (InstallMode::Split, Strategy::Own) => file!("split-own"),
        (InstallMode::Split, Strategy::Join) => file!("split-join"),
        (InstallMode::Split, Strategy::Adopt) => file!("split-adopt"),
    }
}

#[cfg(test)]
mod tests;
