use hickory_proto::{op::ResponseCode, rr::RecordType};

use crate::testing;

const COREFILE: &str = ".:53 {
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }
}";

#[tokio::test]
async fn names_that_are_not_there_fall_through() {
    let router = testing::router(COREFILE);
    let rcode = async |name| testing::ask(&router, name, RecordType::PTR).await;
    // Nobody is behind it in this chain: SERVFAIL says that it was asked.
    for (name, wanted) in [
        ("1.0.96.10.in-addr.arpa.", ResponseCode::NoError),
        ("9.9.9.9.in-addr.arpa.", ResponseCode::ServFail),
        ("96.10.in-addr.arpa.", ResponseCode::ServFail),
        ("nosuch.ns.svc.cluster.local.", ResponseCode::NXDomain),
        ("example.org.", ResponseCode::ServFail),
    ] {
        assert_eq!(rcode(name).await.rcode, wanted, "{name}");
    }
}

#[tokio::test]
async fn options_that_make_no_sense_are_refused_with_their_line() {
    for (option, message) in [
        ("bogus", "unknown property 'bogus'"),
        ("ttl 3601", "ttl must be in range [0, 3600]: 3601"),
        ("ttl -1", "ttl must be in range [0, 3600]: -1"),
        ("ttl", "Wrong argument count or unexpected line ending after 'ttl'"),
        ("pods all", "wrong value for pods: all,  must be one of: disabled, verified, insecure"),
        ("upstream", "unknown property 'upstream'"),
        ("resyncperiod 5m", "unknown property 'resyncperiod'"),
        ("transfer to *", "unknown property 'transfer'"),
        ("namespace_labels a in b", "unable to parse namespace_label selector value: 'a in b'"),
        ("startup_timeout soon", "invalid duration 'soon': want for example 30s, 500ms, 1h"),
        ("apiserver_qps -1", "apiserver_qps must be at least 0: -1"),
        ("endpoint_pod_names now", "Wrong argument count or unexpected line ending after 'now'"),
        ("noendpoints now", "Wrong argument count or unexpected line ending after 'now'"),
        ("kubeconfig", "Wrong argument count or unexpected line ending after 'kubeconfig'"),
        ("tls a b", "Wrong argument count or unexpected line ending after 'b'"),
        ("labels a in b", "unable to parse label selector value: 'a in b'"),
        ("ignore all", "unable to parse ignore value: 'all'"),
    ] {
        let text = format!(".:53 {{\n kubernetes cluster.local {{\n {option}\n }}\n}}");
        let error = testing::config(&text).unwrap_err().to_string();
        assert_eq!(error, format!("plugin/kubernetes: Corefile:3 - Error during parsing: {message}"));
    }
}
