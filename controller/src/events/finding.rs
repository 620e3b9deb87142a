//! Findings: what keeps a Service from answering, that people hunt for. Plain functions of a view.

use std::fmt::Write as _;

use callsign_shared::{Membership, ServiceView, object::Service};

/// The most pairs of a selector that are said.
const PAIRS: usize = 8;

/// What is wrong with a Service with a selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Cause {
    /// Its selector matches no pod.
    NoPods,
    /// Pods match, and none of them is ready.
    NoneReady,
    /// A pod lacks a port that the Service names.
    PortMissing,
}

impl Cause {
    /// The reason of its Event.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::NoPods => "NoMatchingPods",
            Self::NoneReady => "NoReadyPods",
            Self::PortMissing => "TargetPortNotFound",
        }
    }
}

/// What is wrong with the Service of a view. Nothing is with one that is going, or has no selector.
pub(crate) fn causes(view: &ServiceView) -> impl Iterator<Item = Cause> {
    let service = selecting(view);
    let none_ready = service.filter(|service| !view.members.iter().any(|member| is_ready(member, service)));
    let empty = if view.members.is_empty() { Cause::NoPods } else { Cause::NoneReady };
    let missing = service.and_then(|_| lacking(view)).map(|_| Cause::PortMissing);
    none_ready.map(|_| empty).into_iter().chain(missing)
}

/// The words about a cause; `None` where it is not one.
pub(crate) fn note(view: &ServiceView, cause: Cause) -> Option<String> {
    let service = selecting(view)?;
    causes(view).find(|found| *found == cause)?;
    match cause {
        Cause::NoPods => Some(format!("The selector {} matches no pod", selector(service))),
        Cause::NoneReady => {
            let families = service.slice_families();
            let first = view.members.iter().find_map(|member| {
                Some((&member.pod.meta.key.name, member.reasons(&families).into_iter().next()?))
            });
            let pods = view.members.len();
            let mut text = match pods {
                1 => "The one pod that the selector matches is not ready".to_owned(),
                pods => format!("None of the {pods} pods that the selector matches is ready"),
            };
            if let Some((name, reason)) = first {
                // Writing to a String does not fail.
                let _ = write!(text, "; pod {name}: {reason}");
            }
            Some(text)
        }
        Cause::PortMissing => {
            let (member, port) = lacking(view)?;
            let lack = view.members.iter().filter(|member| is_lacking(member)).count();
            let mut text = format!(
                "No container of pod {} has a port named {port}, the targetPort of the service",
                member.pod.meta.key.name
            );
            if lack > 1 {
                let _ = write!(text, "; {} more pods lack a port", lack - 1);
            }
            Some(text)
        }
    }
}

fn selecting(view: &ServiceView) -> Option<&Service> {
    view.service.as_deref().filter(|service| service.selects() && !service.meta.deleting)
}

fn is_ready(member: &Membership, service: &Service) -> bool {
    service.slice_families().iter().any(|family| member.answers(*family))
}

/// The first pod that lacks a port, and the port's name.
fn lacking(view: &ServiceView) -> Option<(&Membership, &str)> {
    let member = view.members.iter().find(|member| is_lacking(member))?;
    Some((member, member.missing_ports.first()?))
}

/// A pod that is on its way out may be of an older make.
fn is_lacking(member: &Membership) -> bool {
    !member.missing_ports.is_empty() && !member.terminating && !member.pod.finished()
}

fn selector(service: &Service) -> String {
    let mut text = String::new();
    for (at, (key, value)) in service.selector.iter().take(PAIRS).enumerate() {
        let _ = write!(text, "{}{key}={value}", if at == 0 { "" } else { "," });
    }
    if service.selector.iter().count() > PAIRS {
        text.push_str(",…");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{Cluster, node, pod, service};

    fn cluster(edit: impl FnOnce(&mut Value), pods: Vec<Value>) -> Cluster {
        let cluster = Cluster::default();
        cluster.apply(node("node-a", "zone-a"));
        let mut web = service("n", "web");
        edit(&mut web);
        cluster.apply(web);
        pods.into_iter().for_each(|pod| cluster.apply(pod));
        cluster
    }

    fn found(cluster: &Cluster) -> Vec<(Cause, String)> {
        let view = cluster.view("n", "web");
        causes(&view).map(|cause| (cause, note(&view, cause).unwrap())).collect()
    }

    fn unready(name: &str, ip: &str) -> Value {
        let mut pod = pod("n", name, "web", ip);
        pod["status"]["conditions"][0] = json!({"type": "Ready", "status": "False", "message": "probe failed",
            "lastTransitionTime": "2026-01-01T00:00:00Z"});
        pod
    }

    #[test]
    fn a_service_that_answers_has_none() {
        let ready = pod("n", "a", "web", "10.0.0.1");
        assert_eq!(found(&cluster(|_| {}, vec![ready, unready("b", "10.0.0.2")])), []);
        let publishing = |web: &mut Value| web["spec"]["publishNotReadyAddresses"] = json!(true);
        assert_eq!(found(&cluster(publishing, vec![unready("b", "10.0.0.2")])), []);
    }

    #[test]
    fn each_cause_in_words() {
        assert_eq!(
            found(&cluster(|_| {}, vec![])),
            [(Cause::NoPods, "The selector app=web matches no pod".into())]
        );
        let why = "not ready since 2026-01-01T00:00:00Z: probe failed";
        assert_eq!(
            found(&cluster(|_| {}, vec![unready("b", "10.0.0.2")])),
            [(Cause::NoneReady, format!("The one pod that the selector matches is not ready; pod b: {why}"))]
        );
        assert_eq!(
            found(&cluster(|_| {}, vec![unready("c", "10.0.0.3"), unready("b", "10.0.0.2")])),
            [(
                Cause::NoneReady,
                format!("None of the 2 pods that the selector matches is ready; pod b: {why}")
            )]
        );
        let named = |web: &mut Value| web["spec"]["ports"][0]["targetPort"] = json!("http");
        let pods = ["a", "b"].map(|name| pod("n", name, "web", &format!("10.0.0.{}", name.len()))).to_vec();
        assert_eq!(
            found(&cluster(named, pods)),
            [(
                Cause::PortMissing,
                "No container of pod a has a port named http, the targetPort of the service; 1 more pods lack a port"
                    .into()
            )]
        );
    }

    #[test]
    fn services_that_are_not_ours_to_judge_have_none() {
        for spec in [
            json!({"type": "ExternalName", "externalName": "x.example", "selector": {"app": "web"}}),
            json!({"ports": [{"port": 80}]}),
        ] {
            assert_eq!(found(&cluster(|web| web["spec"] = spec, vec![])), []);
        }
        let view =
            cluster(|web| web["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"), vec![]);
        assert_eq!(found(&view), []);
    }
}
