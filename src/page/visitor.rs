//! Who looks at a page or sends its form: the address, and whether the form is ours. Pages use no cookies; what a visitor may do
//! stands in the link's address.

use crate::app::App;
use crate::threeds::messages::Browser;
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

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
            foreign: is_foreign(&parts.headers, app),
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
fn is_foreign(headers: &HeaderMap, app: &App) -> bool {
    sent_by_another(headers, &app.checkout, app.checkout_named)
}

/// `named`: the checkout's origin is the only one that is ours, whatever name was called. An attacker's name that leads to
/// this machine (DNS rebinding) is called by its own `Host`.
fn sent_by_another(headers: &HeaderMap, checkout: &str, named: bool) -> bool {
    let text = |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let site = headers.get("sec-fetch-site").map(|value| value.to_str().unwrap_or("?"));
    if site.is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return true;
    }
    let Some(origin) = text(header::ORIGIN) else { return false };
    if url::Url::parse(checkout).is_ok_and(|url| url.origin().ascii_serialization() == origin) {
        return false;
    }
    let called =
        || text(header::HOST).is_some_and(|host| origin.split_once("://").is_some_and(|(_, rest)| rest == host));
    named || !called()
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
            let named = sent_by_another(&headers, "https://pay.example", true);
            (sent_by_another(&headers, "https://pay.example", false), named)
        };
        for ours in [
            &[][..],
            &[("sec-fetch-site", "same-origin"), ("origin", "https://pay.example")],
            &[("sec-fetch-site", "none")],
            &[("origin", "https://pay.example"), ("host", "127.0.0.1:8080")],
        ] {
            assert_eq!(foreign(ours), (false, false), "{ours:?}");
        }
        // The name that was called is ours as long as nobody has said another.
        assert_eq!(foreign(&[("origin", "http://127.0.0.1:8080"), ("host", "127.0.0.1:8080")]), (false, true));
        for theirs in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site")],
            &[("origin", "null")],
            &[("origin", "https://evil.example"), ("host", "pay.example")],
            &[("origin", "https://pay.example.evil"), ("sec-fetch-site", "same-origin")],
            &[("origin", "https://evil.example/pay.example"), ("host", "pay.example")],
        ] {
            assert_eq!(foreign(theirs), (true, true), "{theirs:?}");
        }
    }
}
