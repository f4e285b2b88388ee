//! Where a webhook may go (contract section 9): http or https, a port of the list, and public addresses only, judged after
//! the name is resolved, each of them. A sandbox may allow addresses of its own network.

use crate::address;
use crate::directory::Caller;
use std::net::IpAddr;
use url::{Host, Url};

/// The ports that webhooks go to unless the operator says otherwise.
pub const PORTS: [u16; 4] = [80, 443, 8080, 8443];

/// How many of a name's addresses are judged; a name with more is refused.
const ADDRESSES: usize = 32;

/// Why a webhook does not go out, for the delivery's log: a stable word, a colon, a text. It never tells an address that the
/// receiver's name led to: that would be a map of the network for whoever may write a webhook URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub reason: String,
    /// The URL itself is at fault: trying again is no use.
    pub lasting: bool,
}

impl Refused {
    fn lasting(reason: impl Into<String>) -> Refused {
        Refused { reason: reason.into(), lasting: true }
    }
}

/// The longest name that DNS can hold (RFC 1035 section 2.3.4), bytes.
pub const HOST: usize = 253;

/// What a delivery may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// To any port, and to this machine and the private networks beside it; never to link-local addresses, where clouds keep
    /// their metadata, nor to what is no address of a host.
    pub private: bool,
    pub ports: Vec<u16>,
}

impl Policy {
    fn refusal(&self, ip: IpAddr) -> Option<&'static str> {
        address::refusal(ip).filter(|why| !(self.private && matches!(*why, "loopback" | "private")))
    }
}

/// What the URL says by itself. The parser has brought every spelling of an IPv4 address (octal, hexadecimal, a bare number,
/// full-width digits) into its plain form by then.
pub fn check(text: &str, live: bool, policy: &Policy) -> Result<Url, Refused> {
    let url = Url::parse(text).map_err(|_| Refused::lasting("refused_url: it cannot be read as a URL"))?;
    match url.scheme() {
        "https" => {}
        "http" if live => return Err(Refused::lasting("refused_url: with live keys webhooks go to https only")),
        "http" => {}
        _ => return Err(Refused::lasting("refused_url: webhooks go to https and http only")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refused::lasting("refused_url: it holds a user name or a password"));
    }
    let port = url.port_or_known_default().unwrap_or(0);
    if !policy.private && !policy.ports.contains(&port) {
        let ports: Vec<String> = policy.ports.iter().map(u16::to_string).collect();
        return Err(Refused::lasting(format!("refused_port: {port} is none of {}", ports.join(", "))));
    }
    let literal = match url.host() {
        Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
        Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
        Some(Host::Domain(name)) if !name.trim_end_matches('.').is_empty() => None,
        _ => return Err(Refused::lasting("refused_url: it names no host")),
    };
    if url.host_str().is_none_or(|host| host.len() > HOST) {
        return Err(Refused::lasting("refused_url: its host's name is too long"));
    }
    if let Some(why) = literal.and_then(|ip| policy.refusal(ip)) {
        return Err(Refused::lasting(format!("refused_address: the address is not a public one ({why})")));
    }
    Ok(url)
}

/// All addresses that a name led to, or the one that the URL holds: one that is not public refuses them all.
pub fn judge(addresses: &[IpAddr], policy: &Policy) -> Result<(), Refused> {
    let refused = |reason: String| Err(Refused { reason, lasting: false });
    if addresses.is_empty() {
        return refused("dns: the name leads to no address".to_owned());
    }
    if addresses.len() > ADDRESSES {
        return refused("dns: the name leads to too many addresses".to_owned());
    }
    match addresses.iter().find_map(|ip| policy.refusal(*ip)) {
        Some(why) => refused(format!("refused_address: the name leads to an address that is not public ({why})")),
        None => Ok(()),
    }
}

/// The lane that a receiver's deliveries wait in: whose they are, host and port. One entity's webhooks to somebody else's
/// receiver hold up nobody's but its own. `None` for what is no URL. Bounded, since it stands in an index: a name that is
/// too long is refused when it is told.
pub fn lane(caller: Caller, text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let host = url.host_str().map(|host| host.get(..HOST).unwrap_or(host))?;
    let mode = if caller.live { "live" } else { "test" };
    Some(format!("{} {mode} {host}:{}", caller.entity, url.port_or_known_default()?))
}

/// Whose lane it is.
pub fn owner(lane: &str) -> &str {
    lane.split(' ').next().unwrap_or_default()
}
