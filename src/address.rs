//! Which network addresses are public: a webhook goes to no other (contract section 9), and no risk rule counts another
//! (contract section 2). The special-purpose registries of IANA (RFC 6890 and what has been added since). Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address is not a public one, in a word; `None` for a public one. An address inside another (IPv4-mapped, NAT64,
/// 6to4) is judged by what is inside.
pub fn refusal(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(ip) => refusal_v4(ip),
        IpAddr::V6(ip) => refusal_v6(ip),
    }
}

pub fn is_public(ip: IpAddr) -> bool {
    refusal(ip).is_none()
}

/// The IPv4 address inside an IPv6 one: mapped (`::ffff:0:0/96`), NAT64 (`64:ff9b::/96`, RFC 6052) or 6to4 (`2002::/16`, RFC
/// 3056), and how many bits stand behind it.
pub fn inner_v4(ip: Ipv6Addr) -> Option<(Ipv4Addr, u32)> {
    let number = u128::from(ip);
    let (bits, behind) = match ip.segments() {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => (number & 0xffff_ffff, 0),
        [0x2002, ..] => (number >> 80 & 0xffff_ffff, 80),
        _ => return None,
    };
    Some((Ipv4Addr::from(u32::try_from(bits).ok()?), behind))
}

/// The address whose owner it is: the one inside, if there is one.
pub fn unwrapped(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(outer) => inner_v4(outer).map_or(ip, |(inner, _)| inner.into()),
        IpAddr::V4(_) => ip,
    }
}

fn refusal_v4(ip: Ipv4Addr) -> Option<&'static str> {
    match ip.octets() {
        [0, ..] => Some("unspecified"),
        [127, ..] => Some("loopback"),
        [10, ..] | [192, 168, ..] => Some("private"),
        [172, second, ..] if second & 0xf0 == 16 => Some("private"),
        [100, second, ..] if second & 0xc0 == 64 => Some("carrier-grade NAT"),
        // Also the metadata service of most clouds, 169.254.169.254.
        [169, 254, ..] => Some("link-local"),
        // The metadata service of one cloud, on an address that is public for others.
        [168, 63, 129, 16] => Some("metadata"),
        [192, 0, 0, _] => Some("protocol assignments"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Some("documentation"),
        [192, 88, 99, _] => Some("6to4 relay"),
        [198, 18 | 19, ..] => Some("benchmarking"),
        [first, ..] if first & 0xf0 == 224 => Some("multicast"),
        [255, 255, 255, 255] => Some("broadcast"),
        [first, ..] if first & 0xf0 == 240 => Some("reserved"),
        _ => None,
    }
}

fn refusal_v6(ip: Ipv6Addr) -> Option<&'static str> {
    if let Some((inner, _)) = inner_v4(ip) {
        return refusal_v4(inner);
    }
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("unspecified"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("loopback"),
        // Older forms than the mapped one.
        [0, 0, 0, 0, 0, 0, ..] => Some("IPv4-compatible"),
        [0, 0, 0, 0, 0xffff, 0, ..] => Some("IPv4-translated"),
        // A network's own NAT64 prefix: where it leads is that network's secret.
        [0x64, 0xff9b, 1, ..] => Some("local NAT64"),
        [0x100, 0, 0, 0 | 1, ..] => Some("discard-only"),
        [0x2001, 0, ..] => Some("Teredo"),
        [0x2001, 2, 0, ..] => Some("benchmarking"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some("documentation"),
        [0x2001, second, ..] if second < 0x200 => Some("protocol assignments"),
        [first, ..] if first & 0xfe00 == 0xfc00 => Some("private"),
        [first, ..] if first & 0xffc0 == 0xfe80 => Some("link-local"),
        [first, ..] if first & 0xffc0 == 0xfec0 => Some("site-local"),
        [first, ..] if first & 0xff00 == 0xff00 => Some("multicast"),
        // Global unicast is 2000::/3; nothing else is given out.
        [first, ..] if first & 0xe000 != 0x2000 => Some("reserved"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_special_range_has_its_edges() {
        for (first, last, word) in [
            ("0.0.0.0", "0.255.255.255", "unspecified"),
            ("10.0.0.0", "10.255.255.255", "private"),
            ("100.64.0.0", "100.127.255.255", "carrier-grade NAT"),
            ("127.0.0.0", "127.255.255.255", "loopback"),
            ("169.254.0.0", "169.254.255.255", "link-local"),
            ("172.16.0.0", "172.31.255.255", "private"),
            ("192.0.0.0", "192.0.0.255", "protocol assignments"),
            ("192.0.2.0", "192.0.2.255", "documentation"),
            ("192.88.99.0", "192.88.99.255", "6to4 relay"),
            ("192.168.0.0", "192.168.255.255", "private"),
            ("198.18.0.0", "198.19.255.255", "benchmarking"),
            ("198.51.100.0", "198.51.100.255", "documentation"),
            ("203.0.113.0", "203.0.113.255", "documentation"),
            ("224.0.0.0", "239.255.255.255", "multicast"),
            ("240.0.0.0", "255.255.255.254", "reserved"),
        ] {
            let number = |text: &str| u32::from(text.parse::<Ipv4Addr>().unwrap());
            for inside in [number(first), number(last)] {
                assert_eq!(refusal(Ipv4Addr::from(inside).into()), Some(word), "{first}");
                let mapped = Ipv4Addr::from(inside).to_ipv6_mapped();
                assert_eq!(refusal(mapped.into()), Some(word), "{mapped}");
            }
            if !matches!(word, "reserved" | "multicast" | "unspecified") {
                assert!(refusal(Ipv4Addr::from(number(last) + 1).into()) != Some(word), "after {last}");
            }
            if word != "unspecified" {
                assert!(refusal(Ipv4Addr::from(number(first) - 1).into()) != Some(word), "before {first}");
            }
        }
        assert_eq!(refusal("255.255.255.255".parse().unwrap()), Some("broadcast"));
    }

    #[test]
    fn what_is_inside_an_address() {
        let of = |text: &str| unwrapped(text.parse().unwrap()).to_string();
        for text in
            ["8.8.4.1", "::ffff:8.8.4.1", "64:ff9b::8.8.4.1", "2002:808:401::", "2002:808:401:ffff:ffff:ffff:ffff:ffff"]
        {
            assert_eq!(of(text), "8.8.4.1", "{text}");
        }
        for text in ["64:ff9b:1::808:401", "::808:401", "2001:808:401::", "2003:808:401::", "64:ff9b::1:808:401"] {
            assert_eq!(of(text), text.parse::<IpAddr>().unwrap().to_string());
        }
    }

    #[test]
    fn addresses_of_version_six() {
        for (text, word) in [
            ("::", Some("unspecified")),
            ("::1", Some("loopback")),
            ("::ffff:127.0.0.1", Some("loopback")),
            ("::ffff:8.8.8.8", None),
            ("::127.0.0.1", Some("IPv4-compatible")),
            ("::ffff:0:8.8.8.8", Some("IPv4-translated")),
            ("64:ff9b::10.0.0.1", Some("private")),
            ("64:ff9b::8.8.8.8", None),
            ("64:ff9b:1::8.8.8.8", Some("local NAT64")),
            ("100::1", Some("discard-only")),
            ("2001::1", Some("Teredo")),
            ("2001:2::1", Some("benchmarking")),
            ("2001:db8::1", Some("documentation")),
            ("3fff:fff::1", Some("documentation")),
            ("2001:1ff::1", Some("protocol assignments")),
            ("2001:200::1", None),
            ("2002:7f00:1::", Some("loopback")),
            ("2002:808:808::", None),
            ("fc00::1", Some("private")),
            ("fdff::1", Some("private")),
            ("fe80::1", Some("link-local")),
            ("fec0::1", Some("site-local")),
            ("ff02::1", Some("multicast")),
            ("4000::1", Some("reserved")),
            ("2606:4700::1111", None),
            ("240b:10::1", None),
        ] {
            assert_eq!(refusal(text.parse().unwrap()), word, "{text}");
        }
        assert!(is_public("1.1.1.1".parse().unwrap()) && !is_public("::1".parse().unwrap()));
    }
}
