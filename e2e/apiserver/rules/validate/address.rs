//! Addresses in objects. 1.36 is strict: octets with leading zeros and IPv4 addresses written as IPv6 are refused
//! (KEP-4858), which is also what Rust's parser does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::apiserver::rules::error::FieldError;

/// Any address.
pub(in crate::apiserver::rules) fn valid_ip(field: &str, value: &str) -> Vec<FieldError> {
    match value.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_some() => {
            vec![FieldError::invalid(field, value, "must not be an IPv4-mapped IPv6 address")]
        }
        Ok(_) => Vec::new(),
        Err(_) if has_leading_zeros(value) => {
            vec![FieldError::invalid(field, value, "must not have leading 0s")]
        }
        Err(_) => vec![FieldError::invalid(
            field,
            value,
            "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        )],
    }
}

/// An IPv4 address.
pub(in crate::apiserver::rules) fn valid_ipv4(field: &str, value: &str) -> Vec<FieldError> {
    match value.parse::<Ipv4Addr>() {
        Ok(_) => Vec::new(),
        Err(_) => vec![FieldError::invalid(field, value, "must be a valid IPv4 address")],
    }
}

/// An IPv6 address.
pub(in crate::apiserver::rules) fn valid_ipv6(field: &str, value: &str) -> Vec<FieldError> {
    match value.parse::<Ipv6Addr>() {
        Ok(address) if address.to_ipv4_mapped().is_none() => Vec::new(),
        _ => vec![FieldError::invalid(field, value, "must be a valid IPv6 address")],
    }
}

/// Addresses that can be an endpoint or an external address: none that mean this host or this link.
pub(in crate::apiserver::rules) fn non_special(field: &str, value: &str) -> Vec<FieldError> {
    let Ok(address) = value.parse::<IpAddr>() else {
        return vec![FieldError::invalid(field, value, "must be a valid IP address")];
    };
    let (link_local, link_local_multicast) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets().starts_with(&[224, 0, 0])),
        IpAddr::V6(v6) => (v6.segments()[0] & 0xffc0 == 0xfe80, v6.segments()[0] & 0xff0f == 0xff02),
    };
    let mut errors = Vec::new();
    let mut refuse = |wrong: bool, detail: String| {
        if wrong {
            errors.push(FieldError::invalid(field, value, detail));
        }
    };
    refuse(address.is_unspecified(), format!("may not be unspecified ({value})"));
    refuse(address.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)".to_owned());
    refuse(link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned());
    refuse(
        link_local_multicast,
        "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".to_owned(),
    );
    errors
}

/// A network in CIDR form.
pub(in crate::apiserver::rules) fn valid_cidr(field: &str, value: &str) -> Vec<FieldError> {
    let Ok(network) = value.parse::<ipnet::IpNet>() else {
        let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
        return vec![FieldError::invalid(field, value, detail)];
    };
    if network.trunc() != network {
        let detail = "must not have bits set beyond the prefix length";
        return vec![FieldError::invalid(field, value, detail)];
    }
    Vec::new()
}

/// At most one address of each family.
pub(in crate::apiserver::rules) fn is_dual_stack(values: &[&str]) -> bool {
    let v6 = values.iter().filter(|value| value.contains(':')).count();
    v6 >= 1 && values.len() > v6
}

fn has_leading_zeros(value: &str) -> bool {
    let octets: Vec<&str> = value.split('.').collect();
    octets.len() == 4 && octets.iter().all(|octet| octet.parse::<u8>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(errors: Vec<FieldError>) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn any_address() {
        assert!(valid_ip("f", "10.0.0.1").is_empty() && valid_ip("f", "fd00::1").is_empty());
        assert_eq!(
            texts(valid_ip("f", "10.0.0")),
            ["f: Invalid value: \"10.0.0\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]
        );
        assert_eq!(
            texts(valid_ip("f", "010.0.0.1")),
            ["f: Invalid value: \"010.0.0.1\": must not have leading 0s"]
        );
        assert_eq!(valid_ip("f", "::ffff:10.0.0.1").len(), 1);
    }

    #[test]
    fn special_addresses() {
        for (address, what) in [
            ("0.0.0.0", "may not be unspecified (0.0.0.0)"),
            ("::", "may not be unspecified (::)"),
            ("127.0.0.1", "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
            ("169.254.1.1", "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
            ("fe80::1", "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
            ("224.0.0.251", "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
            ("ff02::1", "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
        ] {
            assert_eq!(
                texts(non_special("f", address)),
                [format!("f: Invalid value: \"{address}\": {what}")]
            );
        }
        assert!(non_special("f", "8.8.8.8").is_empty());
    }

    #[test]
    fn networks() {
        assert!(valid_cidr("f", "10.0.0.0/8").is_empty());
        assert_eq!(valid_cidr("f", "10.0.0.1/8").len(), 1);
        assert_eq!(valid_cidr("f", "10.0.0.0").len(), 1);
    }
}
