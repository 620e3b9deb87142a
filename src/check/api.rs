//! `api`: whether the API server answers, how old it is, and whether it serves what is needed.

use std::time::Duration;

use super::{
    codes,
    facts::{ApiFacts, ApiFailure},
    finding::Item,
};

/// The oldest Kubernetes that is supported.
const OLDEST: (u32, u32) = (1, 28);
/// What Callsign reads and writes that not every server has.
const NEEDED: [&str; 1] = ["discovery.k8s.io/v1"];
/// What only the controllers need.
const NEEDED_TO_WRITE: [&str; 2] = ["coordination.k8s.io/v1", "events.k8s.io/v1"];
/// What an answer may take.
const SLOW: Duration = Duration::from_secs(1);

/// What there is to say of an API server.
pub(super) fn check(facts: &ApiFacts, writes: bool) -> Vec<Item> {
    let url = &facts.url;
    let version = match &facts.version {
        Ok(version) => version,
        Err(failure) => return vec![unreachable(url, failure)],
    };
    let millis = facts.latency.as_millis();
    let mut items = vec![Item::good(format!("{url} answers: Kubernetes {version}, {millis} ms"))];
    match minor(version) {
        Some(found) if found < OLDEST => items.push(codes::API_OLD.is(
            format!("Kubernetes {version} is older than {}.{}", OLDEST.0, OLDEST.1),
            "upgrade the cluster; older ones are not tested and lack what the controllers write",
        )),
        Some(_) => {}
        None => items.push(Item::not_checked("Kubernetes' version", format!("{version} is no version"))),
    }
    match &facts.groups {
        Ok(groups) => {
            let wanted = NEEDED.iter().chain(NEEDED_TO_WRITE.iter().filter(|_| writes));
            let absent: Vec<&str> =
                wanted.copied().filter(|name| !groups.iter().any(|group| group == name)).collect();
            if absent.is_empty() {
                items.push(Item::good("the APIs it needs are served"));
            } else {
                items.push(codes::API_GROUP.is(
                    format!("{} not served", absent.join(", ")),
                    "look for --runtime-config in the arguments of kube-apiserver that turns it off",
                ));
            }
        }
        Err(missing) => items.push(Item::not_checked("the APIs that are served", missing)),
    }
    if facts.latency > SLOW {
        items.push(codes::API_SLOW.is(
            format!("an answer took {millis} ms"),
            "look at the API server's load and at the way to it; changes reach DNS as late",
        ));
    }
    items
}

fn unreachable(url: &str, failure: &ApiFailure) -> Item {
    match failure {
        ApiFailure::Refused(how) => codes::API_REFUSED.is(
            format!("{url}: {how}"),
            "nothing listens there: is the server of the kubeconfig right, does kube-apiserver run, is a tunnel or \
             VPN down?",
        ),
        ApiFailure::Silent(how) => codes::API_SILENT.is(
            format!("{url}: {how}"),
            "a firewall, a NetworkPolicy or a route drops packets on the way, or the API server is overloaded",
        ),
        ApiFailure::Tls(how) => codes::API_TLS.is(
            format!("{url}: {how}"),
            "the kubeconfig's certificate-authority-data must be the cluster's, the certificate must name the host \
             and be in date; http:// where the server speaks TLS, or the reverse, ends so too",
        ),
        ApiFailure::Unauthorized(how) => codes::API_UNAUTHORIZED.is(
            format!("{url}: {how}"),
            "the token or client certificate has expired or is of another cluster: get new credentials",
        ),
        ApiFailure::NoAddress(how) => codes::API_NO_ADDRESS.is(
            format!("{url}: {how}"),
            "the host name of the kubeconfig cannot be resolved here: a typo, or a name that only the VPN knows",
        ),
        ApiFailure::Other(how) => codes::API_FAILS.is(
            format!("{url}: {how}"),
            "look at kube-apiserver's log, and at any proxy between",
        ),
    }
}

/// `v1.28.3+k3s1` → (1, 28)
pub(super) fn minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim_start_matches('v').split('.');
    let major = parts.next()?.parse().ok()?;
    let minor: String = parts.next()?.chars().take_while(char::is_ascii_digit).collect();
    Some((major, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{facts::Missing, finding::ids},
        *,
    };

    fn facts(version: &str) -> ApiFacts {
        ApiFacts {
            url: "https://a:6443".to_owned(),
            version: Ok(version.to_owned()),
            latency: Duration::from_millis(4),
            groups: Ok(["discovery.k8s.io/v1", "coordination.k8s.io/v1", "events.k8s.io/v1"]
                .map(str::to_owned)
                .into()),
        }
    }

    #[test]
    fn a_good_server() {
        let items = check(&facts("v1.36.2"), true);
        assert_eq!(items[0], Item::good("https://a:6443 answers: Kubernetes v1.36.2, 4 ms"));
        assert_eq!(ids(&items), [""; 0]);
    }

    #[test]
    fn each_failure_has_its_code_and_nothing_follows() {
        let text = || "why".to_owned();
        let cases = [
            (ApiFailure::Refused(text()), "CHK101"),
            (ApiFailure::Silent(text()), "CHK102"),
            (ApiFailure::Tls(text()), "CHK103"),
            (ApiFailure::Unauthorized(text()), "CHK104"),
            (ApiFailure::NoAddress(text()), "CHK105"),
            (ApiFailure::Other(text()), "CHK106"),
        ];
        for (failure, code) in cases {
            let items = check(&ApiFacts { version: Err(failure), ..facts("") }, false);
            assert_eq!((ids(&items), items.len()), (vec![code], 1));
        }
    }

    #[test]
    fn versions_groups_and_latency() {
        assert_eq!(ids(&check(&facts("v1.27.9-eks-1"), false)), ["CHK107"]);
        assert_eq!(ids(&check(&facts("v1.28.0+k3s1"), false)), [""; 0]);
        assert_eq!(minor("v1.30+"), Some((1, 30)));
        assert!(matches!(check(&facts("odd"), false)[1], Item::NotChecked { .. }));
        let groups = ApiFacts { groups: Ok(vec!["discovery.k8s.io/v1".to_owned()]), ..facts("v1.30.1") };
        assert_eq!(ids(&check(&groups, false)), [""; 0]);
        assert_eq!(ids(&check(&groups, true)), ["CHK108"]);
        let unknown =
            ApiFacts { groups: Err(Missing::Forbidden("list APIs".to_owned())), ..facts("v1.30.1") };
        assert_eq!(
            check(&unknown, true)[1],
            Item::not_checked("the APIs that are served", "may not list APIs")
        );
        let slow = ApiFacts { latency: Duration::from_secs(2), ..facts("v1.30.1") };
        assert_eq!(ids(&check(&slow, false)), ["CHK109"]);
    }
}
