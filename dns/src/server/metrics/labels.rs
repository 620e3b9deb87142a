//! Labels and buckets, as arrays: what is counted is an index.

use hickory_proto::rr::RecordType;

pub(super) const PROTOCOLS: [&str; 2] = ["udp", "tcp"];
pub(super) const FAMILIES: [&str; 2] = ["1", "2"];

/// Types that are counted by their own name (`coredns` `plugin/metrics/vars/monitor.go`).
pub(super) const TYPES: [&str; 20] = [
    "other", "A", "AAAA", "SRV", "PTR", "CNAME", "TXT", "NS", "SOA", "MX", "DNSKEY", "DS", "HTTPS", "SVCB",
    "NSEC", "NSEC3", "RRSIG", "AXFR", "IXFR", "ANY",
];

/// Response codes, those of EDNS included (RFC 6895 2.3).
pub(super) const RCODES: [&str; 24] = [
    "NOERROR",
    "FORMERR",
    "SERVFAIL",
    "NXDOMAIN",
    "NOTIMP",
    "REFUSED",
    "YXDOMAIN",
    "YXRRSET",
    "NXRRSET",
    "NOTAUTH",
    "NOTZONE",
    "DSOTYPENI",
    "RCODE12",
    "RCODE13",
    "RCODE14",
    "RCODE15",
    "BADVERS",
    "BADKEY",
    "BADTIME",
    "BADMODE",
    "BADNAME",
    "BADALG",
    "BADTRUNC",
    "BADCOOKIE",
];

/// Upper bounds of sizes, bytes.
pub(super) const SIZES: [f64; 14] =
    [0.0, 100.0, 200.0, 300.0, 400.0, 511.0, 1023.0, 2047.0, 4095.0, 8291.0, 16e3, 32e3, 48e3, 64e3];

/// How many upper bounds of durations there are.
pub(super) const DURATIONS: usize = 16;

/// HTTP's codes that DoH answers with.
pub(super) const STATUSES: [u16; 8] = [200, 400, 404, 405, 408, 413, 415, 500];

/// The upper bound of a bucket, seconds: a quarter of a millisecond, doubled each time.
pub(super) fn duration_bound(bucket: usize) -> f64 {
    0.000_25 * f64::from(1_u32 << bucket.min(31))
}

pub(super) fn duration_bucket(nanos: u64) -> usize {
    let quarters = nanos.div_ceil(250_000).max(1);
    (u64::BITS - (quarters - 1).leading_zeros()).min(DURATIONS as u32) as usize
}

pub(super) fn size_bucket(size: usize) -> usize {
    SIZES.iter().position(|bound| size as f64 <= *bound).unwrap_or(SIZES.len())
}

/// The index of a type. The commonest come first.
pub(super) fn type_index(qtype: RecordType) -> usize {
    match qtype {
        RecordType::A => 1,
        RecordType::AAAA => 2,
        RecordType::SRV => 3,
        RecordType::PTR => 4,
        RecordType::CNAME => 5,
        RecordType::TXT => 6,
        RecordType::NS => 7,
        RecordType::SOA => 8,
        RecordType::MX => 9,
        RecordType::DNSKEY => 10,
        RecordType::DS => 11,
        RecordType::HTTPS => 12,
        RecordType::SVCB => 13,
        RecordType::NSEC => 14,
        RecordType::NSEC3 => 15,
        RecordType::RRSIG => 16,
        RecordType::AXFR => 17,
        RecordType::IXFR => 18,
        RecordType::ANY => 19,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_its_own_index() {
        for code in 0..=u16::MAX {
            let qtype = RecordType::from(code);
            let name: &str = qtype.into();
            let known = TYPES.iter().skip(1).position(|known| *known == name).map_or(0, |at| at + 1);
            assert_eq!(type_index(qtype), known, "{name}");
        }
    }

    #[test]
    fn buckets_end_at_their_bounds() {
        for bucket in 0..DURATIONS {
            let nanos = (duration_bound(bucket) * 1e9) as u64;
            assert_eq!(duration_bucket(nanos), bucket);
            assert_eq!(duration_bucket(nanos + 1), bucket + 1);
        }
        assert_eq!(duration_bucket(0), 0);
        assert_eq!(duration_bucket(u64::MAX), DURATIONS);
        assert_eq!([0, 1, 100, 101, 511, 64_000, 65_535].map(size_bucket), [0, 1, 1, 2, 5, 13, 14]);
    }
}
