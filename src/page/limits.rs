//! How often pages may be asked for and their forms sent, in each process by itself. A person needs a handful; a machine that
//! tries cards needs thousands.

use super::checkout::too_often;
use super::language;
use super::texts::Language;
use super::visitor::Visitor;
use crate::app::App;
use crate::id::LinkId;
use crate::rate::{Buckets, Limit};
use axum::Extension;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;

pub struct Limits {
    /// 50 each second, 300 at once, of whatever page: many people may share an address.
    requests: Buckets<IpAddr>,
    /// Two each second, 60 at once, for live links and for test links by themselves.
    forms: Buckets<(IpAddr, bool)>,
    /// One each second, 20 at once: forms of links that do not exist. Guesses do not use up what an address may pay.
    unknown: Buckets<IpAddr>,
    /// One each second, 20 at once.
    links: Buckets<LinkId>,
}

fn buckets<K: Eq + Hash>(per_second: u32, burst: u32) -> Buckets<K> {
    let number = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    Buckets::new(Limit { per_second: number(per_second), burst: number(burst) })
}

impl Limits {
    pub fn new() -> Limits {
        Limits { requests: buckets(50, 300), forms: buckets(2, 60), unknown: buckets(1, 20), links: buckets(1, 20) }
    }

    fn of_request(&self, ip: Option<IpAddr>) -> Result<(), u64> {
        ip.map_or(Ok(()), |ip| self.requests.take(network(ip)))
    }

    /// A form of a link of this mode.
    ///
    /// # Errors
    /// The seconds after which the address may send again.
    pub fn of_form(&self, ip: Option<IpAddr>, live: bool) -> Result<(), u64> {
        ip.map_or(Ok(()), |ip| self.forms.take((network(ip), live)))
    }

    /// A form of a link that does not exist.
    ///
    /// # Errors
    /// As [`Limits::of_form`].
    pub fn of_unknown(&self, ip: Option<IpAddr>) -> Result<(), u64> {
        ip.map_or(Ok(()), |ip| self.unknown.take(network(ip)))
    }

    /// # Errors
    /// The seconds after which the link's form may be sent again.
    pub fn of_link(&self, link: LinkId) -> Result<(), u64> {
        self.links.take(link)
    }
}

/// Subscribers of IPv6 have networks of 56 bits, many of them, and 64 at least (RIPE-690): what one can change at will is one.
fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 72)).into(),
    }
}

/// Before each page: too many of them for one address are answered without a look at anything.
pub async fn limit(
    State(app): State<App>,
    Extension(limits): Extension<Arc<Limits>>,
    visitor: Visitor,
    request: Request,
    next: Next,
) -> Response {
    match limits.of_request(visitor.ip) {
        Ok(()) => next.run(request).await,
        Err(seconds) => {
            let path = request.uri().path();
            let language = match path.split('/').nth(1) {
                Some("jp") => Language::Japanese,
                Some("HostedPaymentPage") => Language::English,
                _ => language(request.headers()),
            };
            too_often(&app, language, seconds)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_by_network_and_mode_and_link() {
        let limits = Limits::new();
        let ip = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        assert!((0..60).all(|_| limits.of_form(ip("192.0.2.1"), false).is_ok()));
        assert_eq!(limits.of_form(ip("192.0.2.1"), false), Err(1));
        assert!(limits.of_form(ip("192.0.2.1"), true).is_ok() && limits.of_form(ip("192.0.2.2"), false).is_ok());
        assert!(
            (0..20).all(|_| limits.of_unknown(ip("192.0.2.2")).is_ok()) && limits.of_unknown(ip("192.0.2.2")).is_err()
        );
        assert!((0..300).all(|_| limits.of_request(ip("192.0.2.1")).is_ok()), "forms are counted by themselves");
        assert!((0..60).all(|at| limits.of_form(ip(&format!("2001:db8:0:{at:x}::{at:x}")), true).is_ok()));
        assert!(limits.of_form(ip("2001:db8:0:ff:ffff::1"), true).is_err());
        assert!(limits.of_form(ip("2001:db8:0:100::1"), true).is_ok());
        let link = |byte| LinkId::from_bytes(&[byte; 16]).unwrap();
        assert!((0..20).all(|_| limits.of_link(link(1)).is_ok()) && limits.of_link(link(1)).is_err());
        assert!(limits.of_link(link(2)).is_ok());
    }

    #[test]
    fn a_subscriber_empties_nobodys_bucket() {
        let limits = Limits::new();
        // A network of 48 bits has 65,536 of 64.
        for at in 0..=u16::MAX {
            let _ = limits.of_form(Some(Ipv6Addr::new(0x2001, 0xdb8, 1, at, 0, 0, 0, 1).into()), true);
        }
        let others = (0..=u8::MAX).map(|at| IpAddr::from([198, 51, 100, at]));
        assert!(others.map(|ip| limits.of_form(Some(ip), true)).all(|taken| taken.is_ok()));
    }
}
