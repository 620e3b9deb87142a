//! What accounts may do: the API server is asked for each right, by reviews that change nothing.

use std::collections::BTreeSet;

use futures::{StreamExt as _, stream};

use super::{
    super::{
        facts::{AccountFacts, Cluster, Known, Missing, PermissionFacts},
        rights::{Asked, Duty, asked, of_pods},
    },
    asker::Asker,
};
use crate::args::{HealthArgs, InstallMode};

/// Accounts that are looked at, at most.
const MOST: usize = 10;
const AT_ONCE: usize = 8;

/// What accounts may do, and with --pre what the caller may.
pub(super) async fn gather(
    asker: &Asker,
    args: &HealthArgs,
    cluster: &Cluster,
    corefile: &str,
    account: Option<&str>,
) -> PermissionFacts {
    let install = if args.pre { Some(refused(asker, args).await) } else { None };
    if args.pre {
        let accounts = Err(Missing::NotAsked("there is no installation yet".to_owned()));
        return PermissionFacts { accounts, install };
    }
    let pods = match (&cluster.own, account) {
        (Ok(pods), _) => pods,
        // A pod of ours may ask for itself, whatever else it may not.
        (Err(_), Some(namespace)) => {
            let duty = if args.mode.writes() { Duty::Writer } else { Duty::Dns };
            let own = format!("{namespace}, that of this process");
            let facts = of(asker, None, own, duty, namespace, corefile).await;
            return PermissionFacts { accounts: Ok(vec![facts]), install };
        }
        (Err(missing), None) => {
            return PermissionFacts { accounts: Err(Missing::NotAsked(missing.to_string())), install };
        }
    };
    let accounts: BTreeSet<(String, String, Duty)> = pods
        .iter()
        .filter_map(|pod| {
            let name = match pod.spec.service_account_name.as_str() {
                "" => "default",
                name => name,
            };
            Some((pod.metadata.namespace.clone(), name.to_owned(), Duty::of(pod)?))
        })
        .collect();
    if accounts.is_empty() {
        return PermissionFacts { accounts: Err(Missing::Absent("Callsign pod".to_owned())), install };
    }
    let mut found = Vec::new();
    for (namespace, name, duty) in accounts.into_iter().take(MOST) {
        let who = Some((namespace.as_str(), name.as_str()));
        found.push(of(asker, who, format!("{namespace}/{name}"), duty, &namespace, corefile).await);
    }
    PermissionFacts { accounts: Ok(found), install }
}

async fn of(
    asker: &Asker,
    who: Option<(&str, &str)>,
    account: String,
    duty: Duty,
    namespace: &str,
    corefile: &str,
) -> AccountFacts {
    let mut needed = asked(duty.rights(), namespace);
    // `pods verified` watches pods too.
    if duty == Duty::Dns && corefile.lines().any(|line| line.split_whitespace().eq(["pods", "verified"])) {
        needed.extend(asked(of_pods(), namespace));
    }
    AccountFacts {
        account,
        duty,
        answers: all(asker, who, needed).await,
        beyond: all(asker, who, asked(duty.beyond(), namespace)).await,
    }
}

async fn all(asker: &Asker, who: Option<(&str, &str)>, all: Vec<Asked>) -> Vec<(Asked, Known<bool>)> {
    let each = all.into_iter().map(async |asked| {
        let may = asker.may(who, &asked).await;
        (asked, may)
    });
    stream::iter(each).buffered(AT_ONCE).collect().await
}

/// What the caller may not create, of what an installation has.
async fn refused(asker: &Asker, args: &HealthArgs) -> Known<Vec<String>> {
    const RBAC: &str = "rbac.authorization.k8s.io";
    let own = Some(args.namespace.clone());
    let create = |group, resource, namespace: Option<String>| Asked {
        verb: "create",
        group,
        resource,
        name: None,
        namespace,
        lost: None,
    };
    let mut wanted = vec![
        create("", "configmaps", own.clone()),
        create("", "serviceaccounts", own.clone()),
        create("", "services", own.clone()),
        create("apps", "deployments", own.clone()),
        create("policy", "poddisruptionbudgets", own.clone()),
        create(RBAC, "clusterroles", None),
        create(RBAC, "clusterrolebindings", None),
    ];
    if args.mode != InstallMode::Dns {
        wanted.extend([create(RBAC, "roles", own.clone()), create(RBAC, "rolebindings", own)]);
        if args.namespace != "kube-system" {
            let system = Some("kube-system".to_owned());
            wanted.extend([create(RBAC, "roles", system.clone()), create(RBAC, "rolebindings", system)]);
        }
    }
    let mut refused = Vec::new();
    for (asked, may) in all(asker, None, wanted).await {
        if !may? {
            refused.push(asked.to_string());
        }
    }
    Ok(refused)
}
