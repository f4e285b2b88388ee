//! Who looks at a page or sends its form: the address, and whether the form is ours. Pages use no cookies; what a visitor may do
//! stands in the link's address.

use crate::app::App;
use crate::rate::{Buckets, Limit};
use crate::threeds::messages::Browser;
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;

pub struct Visitor {
    /// The connection's, or what a trusted proxy says of it.
    pub ip: Option<IpAddr>,
    /// The request was sent from another site's page.
    pub foreign: bool,
    /// What the browser says of itself, for the issuer (EMV 3-D Secure, browser fields).
    pub browser: Browser,
}

impl FromRequestParts<App> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Visitor, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
        let forwarded = parts.headers.get_all("x-forwarded-for").iter().map(HeaderValue::as_bytes);
        let forwarded: Vec<&[u8]> = forwarded.collect();
        Ok(Visitor {
            ip: peer.map(|peer| app.proxies.caller(peer, forwarded.into_iter())),
            foreign: is_foreign(&parts.headers, &app.checkout),
            browser: browser(&parts.headers),
        })
    }
}

/// What every request tells; a page without scripts cannot ask for the screen.
fn browser(headers: &HeaderMap) -> Browser {
    let text = |name: header::HeaderName, most: usize| {
        headers.get(name).and_then(|value| value.to_str().ok()).map(|text| text.chars().take(most).collect::<String>())
    };
    let language = text(header::ACCEPT_LANGUAGE, 256);
    let first = language.as_deref().and_then(|text| text.split([',', ';']).next()).map(str::trim);
    Browser {
        accept: text(header::ACCEPT, 2_048),
        language: first.filter(|tag| !tag.is_empty() && tag.len() <= 35).map(str::to_owned),
        user_agent: text(header::USER_AGENT, 2_048),
        ..Browser::default()
    }
}

/// Whether the browser says that another site sent this. What no browser sends is let through: nobody's session could be
/// abused by it.
fn is_foreign(headers: &HeaderMap, checkout: &str) -> bool {
    let text = |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let site = headers.get("sec-fetch-site").map(|value| value.to_str().unwrap_or("?"));
    if site.is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return true;
    }
    let Some(origin) = text(header::ORIGIN) else { return false };
    let ours = url::Url::parse(checkout).is_ok_and(|url| url.origin().ascii_serialization() == origin);
    // Behind a proxy the checkout's name; without one the name that was called.
    let called = text(header::HOST).is_some_and(|host| origin.split_once("://").is_some_and(|(_, rest)| rest == host));
    !(ours || called)
}

/// How often forms may be sent, in each process by itself. A person needs a handful; a machine that tries cards needs thousands.
pub struct Limits {
    /// Two each second, 60 at once: many people may share an address.
    addresses: Buckets,
    /// One each second, 20 at once.
    links: Buckets,
}

impl Limits {
    pub fn new() -> Limits {
        let buckets = |per_second: u32, burst: u32| {
            let number = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
            Buckets::new(Limit { per_second: number(per_second), burst: number(burst) })
        };
        Limits { addresses: buckets(2, 60), links: buckets(1, 20) }
    }

    /// # Errors
    /// The seconds after which the address may send again.
    pub fn of_address(&self, ip: Option<IpAddr>) -> Result<(), u64> {
        match ip {
            Some(IpAddr::V4(ip)) => self.addresses.take(&ip.octets()),
            // One subscriber has a network of 64 bits.
            Some(IpAddr::V6(ip)) => self.addresses.take(&ip.octets()[..8]),
            None => Ok(()),
        }
    }

    /// # Errors
    /// The seconds after which the link's form may be sent again.
    pub fn of_link(&self, link: &[u8]) -> Result<(), u64> {
        self.links.take(link)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_other_sites() {
        let foreign = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            is_foreign(&headers, "https://pay.example")
        };
        for ours in [
            &[][..],
            &[("sec-fetch-site", "same-origin"), ("origin", "https://pay.example")],
            &[("sec-fetch-site", "none")],
            &[("origin", "http://127.0.0.1:8080"), ("host", "127.0.0.1:8080")],
        ] {
            assert!(!foreign(ours), "{ours:?}");
        }
        for theirs in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site")],
            &[("origin", "null")],
            &[("origin", "https://evil.example"), ("host", "pay.example")],
            &[("origin", "https://pay.example.evil"), ("sec-fetch-site", "same-origin")],
            &[("origin", "https://evil.example/pay.example"), ("host", "pay.example")],
        ] {
            assert!(foreign(theirs), "{theirs:?}");
        }
    }

    #[test]
    fn limits_are_by_address_and_by_link() {
        let limits = Limits::new();
        let ip = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        assert!((0..60).all(|_| limits.of_address(ip("192.0.2.1")).is_ok()));
        assert_eq!(limits.of_address(ip("192.0.2.1")), Err(1));
        assert!((0..60).all(|at| limits.of_address(ip(&format!("2001:db8::{at}"))).is_ok()));
        assert!(limits.of_address(ip("2001:db8::ffff")).is_err());
        assert!((0..20).all(|_| limits.of_link(b"a link").is_ok()) && limits.of_link(b"a link").is_err());
    }
}
