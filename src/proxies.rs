//! Whose word counts when a request came through proxies: `X-Forwarded-For` is a text that anybody can send, so it is
//! believed only as far as trusted proxies wrote it. Pure.

use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The networks of our own proxies; none by default.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Arc<[IpNet]>);

impl Proxies {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Networks (`10.0.0.0/8`) and single addresses.
    ///
    /// # Errors
    /// What is wrong with the first that is neither.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Proxies, String> {
        let texts = texts.into_iter().map(str::trim).filter(|text| !text.is_empty());
        texts.map(network).collect::<Result<Vec<IpNet>, String>>().map(|nets| Proxies(nets.into()))
    }

    fn trusts(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&ip))
    }

    /// Who called: the connection's `peer`, or, when that is trusted, whom its `X-Forwarded-For` headers name. They are
    /// read from the right: the first address that is not trusted is the caller, and what stands left of it is its own
    /// claim. An entry that is no address ends the walk at the last one that was.
    pub fn caller<'a>(&self, peer: IpAddr, headers: impl DoubleEndedIterator<Item = &'a [u8]>) -> IpAddr {
        let mut caller = peer.to_canonical();
        // Several headers are one list (RFC 9110 section 5.3), and empty entries of a list are none (5.6.1).
        let entries = headers.rev().flat_map(|value| value.rsplit(|byte| *byte == b','));
        for entry in entries.map(<[u8]>::trim_ascii).filter(|entry| !entry.is_empty()) {
            if !self.trusts(caller) {
                return caller;
            }
            match address(entry) {
                Some(next) => caller = next,
                None => return caller,
            }
        }
        caller
    }
}

/// An IPv4 network in IPv6 clothes is the IPv4 network, as its addresses are.
fn network(text: &str) -> Result<IpNet, String> {
    let single = || text.parse::<IpAddr>().ok().map(|ip| IpNet::from(ip.to_canonical()));
    let net = text.parse::<IpNet>().ok().or_else(single);
    let net = net.ok_or_else(|| format!("{text:?} is no network such as 10.0.0.0/8 or 2001:db8::/32"))?;
    match net {
        _ if net.prefix_len() == 0 => Err(format!("{text} would trust every address: name your proxies alone")),
        IpNet::V6(v6) => match (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(96)) {
            (Some(ip), Some(length)) if length > 0 => {
                IpNet::new(ip.into(), length).map_err(|_| format!("{text:?} is no network"))
            }
            (Some(_), _) => Err(format!("{text} would trust every IPv4 address: name your proxies alone")),
            (None, _) => Ok(net),
        },
        IpNet::V4(_) => Ok(net),
    }
}

/// `192.0.2.1`, `192.0.2.1:443`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:443`.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?;
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<std::net::Ipv6Addr>().ok().map(IpAddr::V6);
    text.parse::<IpAddr>().ok().or_else(with_port).or_else(bracketed).map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(peer: &str, headers: &[&str]) -> String {
        let proxies = Proxies::parse(["10.0.0.0/8", "2001:db8::/32", "192.0.2.7", "::ffff:172.16.0.0/108"]).unwrap();
        proxies.caller(peer.parse().unwrap(), headers.iter().map(|header| header.as_bytes())).to_string()
    }

    #[test]
    fn the_first_untrusted_from_the_right() {
        for (peer, headers, wanted) in [
            ("203.0.113.9", &["1.1.1.1"][..], "203.0.113.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["1.1.1.1"], "1.1.1.1"),
            ("10.0.0.1", &["9.9.9.9, 1.1.1.1"], "1.1.1.1"),
            ("10.0.0.1", &["9.9.9.9, 1.1.1.1, 10.2.3.4,192.0.2.7"], "1.1.1.1"),
            ("10.0.0.1", &["9.9.9.9, 1.1.1.1", "10.2.3.4"], "1.1.1.1"),
            ("10.0.0.1", &["10.9.9.9, 10.2.3.4"], "10.9.9.9"),
            ("10.0.0.1", &["9.9.9.9, unknown, 10.2.3.4"], "10.2.3.4"),
            ("10.0.0.1", &["unknown"], "10.0.0.1"),
            ("10.0.0.1", &["", " , ,", "1.1.1.1,,"], "1.1.1.1"),
            ("10.0.0.1", &["1.1.1.1:4711"], "1.1.1.1"),
            ("10.0.0.1", &["[2606:4700::1111]:443"], "2606:4700::1111"),
            ("10.0.0.1", &["[2606:4700::1111]"], "2606:4700::1111"),
            ("10.0.0.1", &["2606:4700:0::1111 , 2001:db8::9"], "2606:4700::1111"),
            ("2001:db8::1", &["::ffff:1.1.1.1"], "1.1.1.1"),
            ("::ffff:10.0.0.1", &["1.1.1.1"], "1.1.1.1"),
            ("172.16.0.1", &["1.1.1.1"], "1.1.1.1"),
            ("10.0.0.1", &["1.1.1.1:99999"], "10.0.0.1"),
            ("10.0.0.1", &["1.1.1"], "10.0.0.1"),
            ("10.0.0.1", &["01.1.1.1"], "10.0.0.1"),
            ("10.0.0.1", &["fe80::1%eth0"], "10.0.0.1"),
            ("10.0.0.1", &["１.1.1.1"], "10.0.0.1"),
            ("10.0.0.1", &["[1.1.1.1]"], "10.0.0.1"),
            ("10.0.0.1", &["1.1.1.1 2.2.2.2"], "10.0.0.1"),
            ("10.0.0.1", &["\"1.1.1.1\""], "10.0.0.1"),
        ] {
            assert_eq!(caller(peer, headers), wanted, "{peer} {headers:?}");
        }
        let nobody = Proxies::default();
        let forged = [&b"1.1.1.1"[..]].into_iter();
        assert_eq!(nobody.caller("10.0.0.1".parse().unwrap(), forged).to_string(), "10.0.0.1");
        let proxies = Proxies::parse(["10.0.0.0/8"]).unwrap();
        let bytes = [&b"\xff\xfe, 1.1.1.1, 10.1.1.1"[..], b"\xff"].into_iter();
        assert_eq!(proxies.caller("10.0.0.1".parse().unwrap(), bytes).to_string(), "10.0.0.1");
    }

    #[test]
    fn networks() {
        for bad in ["10.0.0.0/33", "proxy.example.jp", "0.0.0.0/0", "::/0", "::ffff:0:0/96", "10.0.0.0-10.0.0.9", "/8"]
        {
            assert!(Proxies::parse([bad]).is_err(), "{bad}");
        }
        assert!(Proxies::parse(["", " "]).unwrap().is_empty());
    }

    proptest::proptest! {
        /// What a caller writes into the header before our proxy adds its address changes nothing.
        #[test]
        fn forged_entries_change_nothing(forged in "\\PC{0,60}") {
            let honest = caller("10.0.0.1", &["203.0.113.9, 10.2.3.4"]);
            let header = format!("{forged}, 203.0.113.9, 10.2.3.4");
            proptest::prop_assert_eq!(caller("10.0.0.1", &[&header]), honest.clone());
            proptest::prop_assert_eq!(caller("10.0.0.1", &[&forged, "203.0.113.9, 10.2.3.4"]), honest);
        }
    }
}
