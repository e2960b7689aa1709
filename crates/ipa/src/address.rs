//! Addresses of servers as they come from eIMs, activation codes, cards and Profile metadata.

/// Octets of an address (a host name has at most 253).
const ADDRESS_OCTETS_MAX: usize = 260;

/// Whether text is a host name or IPv4 address, possibly with a port, and nothing more: no scheme, path or user that would
/// change where a request goes.
pub(crate) fn is_address(text: &str) -> bool {
    let (host, port) = split(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    text.len() <= ADDRESS_OCTETS_MAX
        && host.split('.').all(is_label)
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|number| number != 0))
}

/// Whether the address that a server signed is the one that was called. Case does not matter; a port, which servers leave
/// out, only when both name one.
pub(crate) fn is_same(signed: &str, called: &str) -> bool {
    let ((signed_host, signed_port), (called_host, called_port)) = (split(signed), split(called));
    let same_port = match (signed_port, called_port) {
        (Some(signed), Some(called)) => signed == called,
        _ => true,
    };
    signed_host.eq_ignore_ascii_case(called_host) && same_port
}

fn split(address: &str) -> (&str, Option<&str>) {
    match address.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (address, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_with_ports_are_addresses() {
        for good in [
            "smdp.example.com",
            "localhost",
            "127.0.0.1:8443",
            "a_b.example",
        ] {
            assert!(is_address(good), "{good}");
        }
        for bad in [
            "",
            ".",
            "a..b",
            "a/b",
            "user@host",
            "https://host",
            "host:0",
            "host:65536",
            "host:",
            "ho st",
            "host?x",
            "host#x",
            "[::1]",
            "höst",
            &"a".repeat(64),
            &"a.".repeat(131),
        ] {
            assert!(!is_address(bad), "{bad}");
        }
    }

    #[test]
    fn signed_addresses_are_compared_without_case() {
        assert!(is_same("SMDP.example.com", "smdp.Example.com"));
        assert!(is_same("smdp.example.com", "smdp.example.com:8443"));
        assert!(!is_same("smdp.example.com:1", "smdp.example.com:2"));
        assert!(!is_same("smdp.example.com.evil", "smdp.example.com"));
        assert!(!is_same("", "smdp.example.com"));
    }
}
