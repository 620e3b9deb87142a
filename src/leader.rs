//! Leader election from the command line: whether, for which Lease, and as whom.

use callsign_controller::{
    Identity, Mode, Timing,
    leader::{Config, election::JITTER},
};

use crate::{args::LeaderArgs, client, exit::Exit};

/// Where the Lease is, when the process does not run in the cluster as somebody's account.
pub(crate) const NAMESPACE: &str = "kube-system";

/// The candidate's settings; `None` where there is nothing to lead: without leader election, and where nothing is written.
///
/// # Errors
/// When the times make no sense together; the error names the flags.
pub(crate) fn config(mode: Option<Mode>, args: &LeaderArgs) -> Result<Option<Config>, Exit> {
    let timing = timing(args)?;
    if !args.leader_elect || mode != Some(Mode::On) {
        return Ok(None);
    }
    Ok(Some(Config {
        namespace: args.leader_elect_resource_namespace.clone().unwrap_or_default(),
        name: args.leader_elect_resource_name.clone(),
        timing,
        identity: args.leader_elect_identity.as_ref().map_or_else(Identity::of_this_process, Identity::named),
    }))
}

/// Puts a Lease without a namespace where it belongs.
pub(crate) fn place(config: &mut Config, cluster: &kube::Config) {
    if config.namespace.is_empty() {
        config.namespace = client::account_namespace(cluster).unwrap_or_else(|| NAMESPACE.to_owned());
    }
}

/// As client-go wants them.
fn timing(args: &LeaderArgs) -> Result<Timing, Exit> {
    let timing = Timing {
        lease: args.leader_elect_lease_duration,
        renew: args.leader_elect_renew_deadline,
        retry: args.leader_elect_retry_period,
    };
    let wrong = |why: String| Err(Exit::configuration(anyhow::anyhow!(why)));
    let Timing { lease, renew, retry } = timing;
    if retry.is_zero() {
        return wrong("--leader-elect-retry-period: must be more than nothing".to_owned());
    }
    if renew <= retry.mul_f64(JITTER) {
        return wrong(format!(
            "--leader-elect-renew-deadline {renew:?}: must be more than {JITTER} times --leader-elect-retry-period {retry:?}"
        ));
    }
    if lease <= renew {
        return wrong(format!(
            "--leader-elect-lease-duration {lease:?}: must be more than --leader-elect-renew-deadline {renew:?}"
        ));
    }
    Ok(timing)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn args(arguments: &[&str]) -> Result<LeaderArgs, String> {
        let all = ["callsign", "controller"].iter().chain(arguments);
        match Cli::try_parse_from(all).map_err(|error| error.to_string())?.command {
            Command::Controller(args) => Ok(args.leader),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_defaults_are_upstreams() {
        let config = config(Some(Mode::On), &args(&[]).unwrap()).unwrap().unwrap();
        let seconds = std::time::Duration::from_secs;
        assert_eq!(config.timing, Timing { lease: seconds(15), renew: seconds(10), retry: seconds(2) });
        assert_eq!((config.namespace.as_str(), config.name.as_str()), ("", "callsign-controller"));
        assert!(config.identity.name().contains('_'), "{}", config.identity);
    }

    #[test]
    fn where_nothing_is_written_nobody_leads() {
        let by_default = args(&[]).unwrap();
        assert!(config(Some(Mode::Shadow), &by_default).unwrap().is_none());
        assert!(config(None, &by_default).unwrap().is_none());
        for (flag, leads) in
            [("--leader-elect", true), ("--leader-elect=true", true), ("--leader-elect=false", false)]
        {
            assert_eq!(config(Some(Mode::On), &args(&[flag]).unwrap()).unwrap().is_some(), leads, "{flag}");
        }
    }

    #[test]
    fn times_that_make_no_sense_are_refused_by_their_flags() {
        let times = |lease: &str, renew: &str, retry: &str| {
            let flags = [
                format!("--leader-elect-lease-duration={lease}"),
                format!("--leader-elect-renew-deadline={renew}"),
                format!("--leader-elect-retry-period={retry}"),
            ];
            let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
            timing(&args(&flags).unwrap()).map_err(|error| error.to_string())
        };
        times("3s", "2s", "500ms").unwrap();
        for (lease, renew, retry, named) in [
            ("10s", "10s", "2s", "--leader-elect-lease-duration"),
            ("15s", "2s", "2s", "--leader-elect-renew-deadline"),
            ("15s", "2400ms", "2s", "--leader-elect-renew-deadline"),
            ("15s", "10s", "0", "--leader-elect-retry-period"),
        ] {
            let error = times(lease, renew, retry).unwrap_err();
            assert!(error.starts_with(named), "{error}");
        }
    }

    #[test]
    fn names_that_cannot_be_are_refused() {
        for flag in [
            "--leader-elect-resource-name=",
            "--leader-elect-resource-name=A",
            "--leader-elect-resource-name=../x",
            "--leader-elect-resource-namespace=a/b",
            "--leader-elect-identity=",
            "--leader-elect-identity=a b",
            "--leader-elect=maybe",
        ] {
            args(&[flag]).unwrap_err();
        }
        let named = args(&["--leader-elect-identity=a_b:1"]).unwrap();
        assert_eq!(config(Some(Mode::On), &named).unwrap().unwrap().identity.name(), "a_b:1");
    }
}
