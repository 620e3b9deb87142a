//! Every kind of finding. The hundreds are the category; a code that is no longer used is not used again.

use super::finding::{Code, Severity};

macro_rules! codes {
    ($($name:ident $id:literal $severity:ident $title:literal)*) => {
        $(
            #[doc = $title]
            pub(super) const $name: Code = Code { id: $id, severity: Severity::$severity, title: $title };
        )*
        /// All of them.
        #[cfg(test)]
        pub(super) const ALL: &[Code] = &[$($name),*];
    };
}

codes! {
    API_REFUSED "CHK101" Error "The API server refuses connections"
    API_SILENT "CHK102" Error "The API server does not answer in time"
    API_TLS "CHK103" Error "No TLS connection to the API server"
    API_UNAUTHORIZED "CHK104" Error "The API server does not accept the credentials"
    API_NO_ADDRESS "CHK105" Error "The API server's name has no address"
    API_FAILS "CHK106" Error "The API server answers with an error"
    API_OLD "CHK107" Error "Kubernetes is older than 1.28"
    API_GROUP "CHK108" Error "An API that Callsign needs is not served"
    API_SLOW "CHK109" Warning "The API server is slow"

    RIGHT_MISSING "CHK201" Error "The account lacks a right that it needs"
    RIGHT_WANTED "CHK202" Warning "The account lacks a right, and something is lost"
    RIGHT_TOO_MUCH "CHK203" Warning "The account may do more than it needs to"
    MAY_NOT_INSTALL "CHK204" Error "You may not create what an installation has"

    COREFILE_WRONG "CHK301" Error "The Corefile is refused"
    COREFILE_NO_EFFECT "CHK302" Warning "A directive has no effect"
    COREFILE_DOMAIN "CHK303" Error "The cluster's domain is not served"
    COREFILE_LOOP "CHK304" Error "Questions are forwarded back to the server itself"
    COREFILE_READY "CHK305" Error "The Corefile has no `ready`"
    COREFILE_HEALTH "CHK306" Error "The Corefile has no `health`"
    COREFILE_RELOAD "CHK307" Warning "The Corefile has no `reload`"
    COREFILE_NO_LOOP "CHK308" Warning "The Corefile has no `loop`"
    COREFILE_MISSING "CHK309" Error "There is no Corefile"
    COREFILE_PORT "CHK310" Error "The Corefile's port is not that of the pods"
    COREFILE_NO_FORWARD "CHK311" Warning "Names outside the cluster are refused"
    COREFILE_ODD "CHK312" Warning "The Corefile is odd"
    COREFILE_METRICS "CHK313" Warning "The Corefile has no `prometheus`"

    SERVICE_MISSING "CHK401" Error "The Service that pods ask is not there"
    SERVICE_PORTS "CHK402" Error "The Service lacks port 53 over UDP or TCP"
    SERVICE_TARGET "CHK403" Error "The Service's port leads to no port of a pod"
    SERVICE_EMPTY "CHK404" Error "No ready endpoint stands behind the Service"
    SERVICE_MIXED "CHK405" Warning "Different servers stand behind the Service"
    SERVICE_NOT_READY "CHK406" Warning "Pods of the Service are not ready"
    SERVICE_NOT_WRITTEN "CHK407" Error "Ready pods are not among the Service's endpoints"
    SERVICE_FAMILY "CHK408" Warning "An IP family of the Service has no endpoint"
    SERVICE_UNKNOWN "CHK409" Warning "An unknown server stands behind the Service"
    SERVICE_NO_ADDRESS "CHK410" Error "The Service has no cluster IP"
    SERVICE_SELECTOR "CHK411" Warning "The Service has no selector"

    SERVERS_NONE "CHK501" Error "There is no Callsign pod"
    SERVER_NOT_READY "CHK502" Error "A pod is not ready"
    SERVER_CRASHES "CHK503" Error "A pod does not stay up"
    SERVER_MEMORY "CHK504" Error "A pod was ended for want of memory"
    SERVER_IMAGE "CHK505" Error "A pod's image cannot be had"
    SERVER_PORT "CHK506" Error "A pod may not listen on its port"
    SERVER_PENDING "CHK507" Error "A pod has no node"
    SERVER_VERSIONS "CHK508" Warning "Pods run different versions"
    SERVER_RELOAD "CHK509" Warning "A changed Corefile was refused"
    SERVER_DROPPED "CHK510" Warning "Questions were dropped"
    SERVER_PANIC "CHK511" Error "A pod has panicked"
    SERVER_FAILURES "CHK512" Warning "Many answers are SERVFAIL"
    SERVER_NEAR_LIMIT "CHK513" Warning "A pod is near its memory limit"
    SERVER_RESTARTS "CHK514" Warning "A pod has restarted"
    SERVER_ONE_NODE "CHK515" Warning "All pods are on one node"
    SERVER_BUDGET "CHK516" Warning "No PodDisruptionBudget keeps pods up"
    SERVER_REPLICAS "CHK517" Warning "A Deployment has fewer ready pods than it wants"
    SERVER_NO_LEADER "CHK518" Error "Not one of the pods that may write leads"
    SERVER_LEADERS "CHK519" Error "More than one pod of an installation leads"
    SERVER_FUSE "CHK520" Error "Writing has stopped before most endpoints would go"

    WRITERS_TWO_KINDS "CHK601" Error "kube-controller-manager writes endpoints too"
    WRITERS_NONE "CHK602" Error "Nobody writes endpoints"
    WRITERS_TWO_CALLSIGNS "CHK603" Error "Two installations of Callsign write"
    WRITERS_LEASE "CHK604" Warning "The Lease of the controllers is not renewed"
    WRITERS_LEFT_ALONE "CHK605" Warning "Services are left to another writer"
    WRITERS_STILL_ON "CHK606" Error "kube-controller-manager's endpoint controllers are on"

    ANSWER_UDP "CHK701" Error "No answer over UDP"
    ANSWER_TCP "CHK702" Error "No answer over TCP"
    ANSWER_CLUSTER "CHK703" Error "A cluster name is not answered"
    ANSWER_MISSING "CHK704" Error "A name that does not exist is not denied"
    ANSWER_FAMILY "CHK705" Error "An address of the other family is denied wrongly"
    ANSWER_REVERSE "CHK706" Warning "A reverse name is not answered"
    ANSWER_EXTERNAL "CHK707" Warning "A name outside the cluster is not answered"
    ANSWER_EDNS "CHK708" Warning "EDNS is not understood"
    ANSWER_SLOW "CHK709" Warning "Answers are slow"
    ANSWER_AUTHORITY "CHK710" Warning "Answers are not authoritative"
    ANSWER_VERSION "CHK711" Warning "The server does not tell the version of the DNS specification"
    ANSWER_WRONG "CHK712" Error "A cluster name has another address than its Service"

    INSTALL_THERE "CHK801" Warning "There is an installation already"
    INSTALL_PLATFORM "CHK802" Error "The platform manages cluster DNS itself"
    INSTALL_CONTROLLERS "CHK803" Error "The control plane's controllers cannot be turned off"
    INSTALL_POD_SECURITY "CHK804" Error "The namespace does not let the pods in"
    INSTALL_NODES "CHK805" Error "No node can run the image"
    INSTALL_ONE_NODE "CHK806" Warning "There is one node"
    INSTALL_NAMESPACE "CHK807" Warning "The namespace is not there"
    INSTALL_HOST_PORT "CHK808" Warning "A pod has port 53 of its node"
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_is_explained() {
        let docs = include_str!("../../docs/check.md");
        let severity = |code: &Code| match code.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let wanted: Vec<String> =
            ALL.iter().map(|code| format!("{}: {} ({})", code.id, code.title, severity(code))).collect();
        // GitHub makes `#chk101` of a heading that is `CHK101` alone; the title is the line below it.
        let mut found = Vec::new();
        let mut lines = docs.lines();
        while let Some(line) = lines.next() {
            let Some(id) = line.strip_prefix("### ") else { continue };
            let title = lines.by_ref().find(|line| !line.is_empty()).unwrap();
            let (title, severity) = title.strip_prefix("**").unwrap().split_once("**, ").unwrap();
            found.push(format!("{id}: {title} ({})", severity.trim_end_matches('.')));
            let text = lines.by_ref().find(|line| !line.is_empty()).unwrap();
            assert!(text.len() > 40 && !text.starts_with('#'), "{id} is not explained: {text}");
        }
        assert_eq!(found, wanted);
    }

    #[test]
    fn codes_are_ordered_and_given_once() {
        let ids: Vec<&str> = ALL.iter().map(|code| code.id).collect();
        assert!(ids.is_sorted());
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    }
}
