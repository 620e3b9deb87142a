//! The cluster's records as zone files, for servers that know no Kubernetes.

use std::fmt::Write;

use super::cluster::{Cluster, REVERSE_ZONE, Record, TTL, ZONE};

/// The zones of the cluster: the origin of each, and its file.
pub fn zones(cluster: &Cluster) -> [(&'static str, String); 2] {
    [(ZONE, file(ZONE, cluster.records())), (REVERSE_ZONE, file(REVERSE_ZONE, cluster.reverse_records()))]
}

/// A zone file. SOA and NS are those that the `kubernetes` plugin answers with.
pub fn file(origin: &str, records: impl Iterator<Item = Record>) -> String {
    let mut text = format!(
        "$ORIGIN {origin}.\n$TTL {TTL}\n\
         @ SOA ns.dns.{origin}. hostmaster.{origin}. 1 7200 1800 86400 {TTL}\n\
         @ NS ns.dns.{origin}.\n\
         ns.dns A 10.96.0.10\n"
    );
    for Record { owner, kind, data } in records {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{owner}. {kind} {data}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_every_record() {
        let cluster = Cluster { services: 2, headless: 1, endpoints: 2, aliases: 1, pods: 1, namespaces: 20 };
        let [(zone, forward), (reverse_zone, reverse)] = zones(&cluster);
        assert_eq!((zone, reverse_zone), ("cluster.local", "in-addr.arpa"));
        let lines: Vec<&str> = forward.lines().collect();
        assert_eq!(
            lines[..3],
            [
                "$ORIGIN cluster.local.",
                "$TTL 30",
                "@ SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 30"
            ]
        );
        assert_eq!(
            lines[5..9],
            [
                "svc-0.ns-0.svc.cluster.local. A 10.96.1.1",
                "_http._tcp.svc-0.ns-0.svc.cluster.local. SRV 0 100 80 svc-0.ns-0.svc.cluster.local.",
                "svc-1.ns-1.svc.cluster.local. A 10.96.1.2",
                "_http._tcp.svc-1.ns-1.svc.cluster.local. SRV 0 100 80 svc-1.ns-1.svc.cluster.local."
            ]
        );
        assert_eq!(
            lines[9..12],
            [
                "db-0.ns-0.svc.cluster.local. A 10.140.0.1",
                "_http._tcp.db-0.ns-0.svc.cluster.local. SRV 0 50 80 db-0-0.db-0.ns-0.svc.cluster.local.",
                "db-0-0.db-0.ns-0.svc.cluster.local. A 10.140.0.1"
            ]
        );
        assert_eq!(
            lines[15..],
            [
                "alias-0.ns-0.svc.cluster.local. CNAME svc-0.ns-0.svc.cluster.local.",
                "10-150-0-1.ns-0.pod.cluster.local. A 10.150.0.1"
            ]
        );
        assert_eq!(reverse.lines().count(), 5 + 2 + 2);
        assert!(reverse.contains("1.0.140.10.in-addr.arpa. PTR db-0-0.db-0.ns-0.svc.cluster.local.\n"));
    }
}
