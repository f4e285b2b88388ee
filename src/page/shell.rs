//! What every page has around it: its language, its merchant's look, and the headers that say what a browser may do with it.

use super::assets;
use super::patience::{WAITS, asks_in};
use super::texts::{Language, Texts};
use crate::app::App;
use crate::card::Scheme;
use crate::directory::Merchant;
use crate::wallet::Wallet;
use askama::Template;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use std::borrow::Cow;

/// What `layout.html` is filled with.
pub struct Shell {
    pub language: Language,
    pub t: &'static Texts,
    /// The path of the checkout URL, which stands before every path of ours; mostly empty.
    pub base: String,
    /// Empty on pages of nobody's.
    pub merchant: String,
    /// Six hexadecimal digits.
    pub accent: Option<String>,
    /// Below `/page/logo/`.
    pub logo: Option<String>,
    pub test: bool,
    /// The wallet in whose own page it is paid, by its name; `None`: with a card.
    pub wallet: Option<&'static str>,
    /// The same page in the other language.
    pub other: Option<String>,
    /// No seconds and an address, as `<meta http-equiv="refresh">` has them.
    pub refresh: Option<String>,
}

impl Shell {
    /// For pages that belong to no merchant.
    pub fn plain(app: &App, language: Language) -> Shell {
        let base = url::Url::parse(&app.checkout).map_or_else(|_| String::new(), |url| url.path().to_owned());
        Shell {
            language,
            t: language.texts(),
            base: base.trim_end_matches('/').to_owned(),
            merchant: String::new(),
            accent: None,
            logo: None,
            test: false,
            wallet: None,
            other: None,
            refresh: None,
        }
    }

    pub fn of(app: &App, language: Language, merchant: &Merchant, live: bool) -> Shell {
        Shell {
            merchant: merchant.legal_name.clone(),
            accent: merchant.look.accent.clone(),
            logo: merchant.look.logo.as_ref().map(|logo| format!("{}/{logo}", merchant.id)),
            test: !live,
            ..Shell::plain(app, language)
        }
    }

    pub fn asset(&self, name: &str) -> String {
        format!("{}/page/{}", self.base, assets::name(name))
    }

    /// Who sees what is typed.
    pub fn secure(&self) -> String {
        self.wallet.map_or_else(|| self.t.secure.to_owned(), |wallet| (self.t.account.secure)(wallet))
    }

    /// A path of ours in the page's language: `/HostedPaymentPage/…`.
    pub fn path(&self, path: &str) -> String {
        format!("{}{}{path}", self.base, self.language.prefix())
    }

    /// What is paid with; a card's scheme changes nothing.
    #[must_use]
    pub fn paid_with(self, scheme: Option<Scheme>) -> Shell {
        Shell { wallet: scheme.filter(|scheme| scheme.wallet().is_some()).map(Scheme::label), ..self }
    }

    /// The same path in the other language.
    #[must_use]
    pub fn switched_by(self, path: &str) -> Shell {
        let other = format!("{}{}{path}", self.base, self.language.other().prefix());
        Shell { other: Some(other), ..self }
    }

    /// Asks `href`, a path of ours, by itself and, as a rule, at once; it stays on the screen until there is an answer.
    #[must_use]
    pub fn waiting_for(self, app: &App, href: &str) -> Shell {
        Shell { refresh: Some(format!("{};url={href}?{WAITS}", asks_in(&app.held))), ..self }
    }
}

/// A page that only tells something, with what can be done next.
#[derive(Template)]
#[template(path = "page/told.html")]
pub struct Told<'a> {
    pub shell: &'a Shell,
    pub heading: &'a str,
    pub lines: Vec<String>,
    /// Something is going on.
    pub busy: bool,
    pub actions: Vec<Action>,
}

pub struct Action {
    pub id: &'static str,
    pub href: String,
    pub text: Cow<'static, str>,
    /// A button that posts, instead of a link.
    pub post: bool,
    /// The one thing that most people want.
    pub first: bool,
}

impl Action {
    pub fn link(id: &'static str, href: impl Into<String>, text: impl Into<Cow<'static, str>>) -> Action {
        Action { id, href: href.into(), text: text.into(), post: false, first: true }
    }

    pub fn post(id: &'static str, href: impl Into<String>, text: impl Into<Cow<'static, str>>) -> Action {
        Action { post: true, ..Action::link(id, href, text) }
    }

    #[must_use]
    pub fn second(self) -> Action {
        Action { first: false, ..self }
    }

    fn class(&self) -> &'static str {
        if self.first { "button" } else { "button second" }
    }
}

/// What a page's headers let it do beyond its own origin.
#[derive(Default)]
pub struct Policy<'a> {
    /// URLs that its forms may lead to, by redirects too: browsers hold `form-action` against each hop.
    pub leads_to: Vec<&'a str>,
    /// And to any https page: a bank may send its own pages on to other hosts of its own.
    pub leads_on: bool,
    /// Origins that may frame it; none by default.
    pub framed_by: &'a [String],
    /// Wallets whose buttons it shows.
    pub wallets: &'a [Wallet],
}

/// Whose pages Google Pay's script opens, and where its script is.
const GOOGLE: &str = "https://pay.google.com";

impl Policy<'_> {
    fn shows(&self, wallet: Wallet) -> bool {
        self.wallets.contains(&wallet)
    }

    /// The Content-Security-Policy.
    fn text(&self) -> String {
        let mut actions = vec!["'self'".to_owned()];
        for source in self.leads_to.iter().filter_map(|url| source(url)) {
            if !actions.contains(&source) {
                actions.push(source);
            }
        }
        if self.leads_on {
            actions.push("https:".to_owned());
        }
        let frames = if self.framed_by.is_empty() { "'none'".to_owned() } else { self.framed_by.join(" ") };
        let (scripts, styles, images, rest) = self.of_wallets();
        format!(
            "default-src 'none'; script-src 'self'{scripts}; style-src 'self'{styles}; img-src 'self'{images}; {rest}\
             form-action {}; frame-ancestors {frames}; base-uri 'none'",
            actions.join(" ")
        )
    }

    /// What their buttons need more, behind `'self'` of scripts, styles and images, and as directives of its own. Google's script
    /// draws its button with a style sheet in the page and a picture, opens frames, and has the browser read where `https://google.com/pay`
    /// is. Apple's is the browser's own; our script asks our server for its session.
    fn of_wallets(&self) -> (String, &'static str, String, String) {
        let google = self.shows(Wallet::GooglePay);
        let ours = if self.shows(Wallet::ApplePay) { " 'self'" } else { "" };
        match (google, ours) {
            (true, ours) => (
                format!(" {GOOGLE}"),
                " 'unsafe-inline'",
                format!(" {GOOGLE} https://www.gstatic.com"),
                format!("connect-src{ours} {GOOGLE} https://google.com; frame-src {GOOGLE}; "),
            ),
            (false, "") => (String::new(), "", String::new(), String::new()),
            (false, ours) => (String::new(), "", String::new(), format!("connect-src{ours}; ")),
        }
    }

    /// Google's window talks to the page that opened it, which `same-origin` would forbid.
    fn opener(&self) -> &'static str {
        if self.shows(Wallet::GooglePay) { "same-origin-allow-popups" } else { "same-origin" }
    }

    fn permissions(&self) -> String {
        let google = if self.shows(Wallet::GooglePay) { format!(" \"{GOOGLE}\"") } else { String::new() };
        format!("camera=(), display-capture=(), geolocation=(), microphone=(), payment=(self{google}), usb=()")
    }
}

/// A URL's origin as a policy names it. A host with letters that have a meaning there, or an IPv6 address, which no policy can
/// name, is allowed by its scheme.
pub fn source(url: &str) -> Option<String> {
    let url = url::Url::parse(url).ok()?;
    let host = url.host_str()?;
    let plain = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    match (plain, url.port()) {
        (false, _) => Some(format!("{}:", url.scheme())),
        (true, Some(port)) => Some(format!("{}://{host}:{port}", url.scheme())),
        (true, None) => Some(format!("{}://{host}", url.scheme())),
    }
}

/// A page with all its headers.
pub fn respond(app: &App, status: StatusCode, page: &impl Template, policy: &Policy<'_>) -> Response {
    let html = match page.render() {
        Ok(html) => html,
        Err(error) => {
            tracing::error!(cause = %error, "a page could not be made");
            return dressed(app, StatusCode::INTERNAL_SERVER_ERROR, Body::empty(), policy);
        }
    };
    let mut response = dressed(app, status, html.into(), policy);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

/// `303 See Other`, also with the headers: a page's address stays unknown to where it leads.
pub fn see_other(app: &App, url: &str) -> Response {
    let mut response = dressed(app, StatusCode::SEE_OTHER, Body::empty(), &Policy::default());
    match HeaderValue::from_str(url) {
        Ok(url) => {
            response.headers_mut().insert(header::LOCATION, url);
        }
        Err(_) => *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
    }
    response
}

/// An answer for a script of ours.
pub fn answer(app: &App, status: StatusCode, json: String) -> Response {
    let mut response = dressed(app, status, json.into(), &Policy::default());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn dressed(app: &App, status: StatusCode, body: Body, policy: &Policy<'_>) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        // With `no-referrer` browsers would say `Origin: null` on our own forms.
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("cross-origin-opener-policy"), policy.opener()),
        (HeaderName::from_static("x-robots-tag"), "noindex, nofollow"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if policy.framed_by.is_empty() {
        headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    }
    if app.checkout.starts_with("https:") {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    for (name, text) in [
        (header::CONTENT_SECURITY_POLICY, policy.text()),
        (HeaderName::from_static("permissions-policy"), policy.permissions()),
    ] {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(name, value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_name_origins_and_nothing_else() {
        let urls = [
            "https://shop.example/a?b=c#d",
            "https://shop.example/other",
            "http://shop.example:8080/",
            "https://a;script-src/x",
            "https://*.example/",
            "http://[::1]:9/x",
            "https://店.example/",
            "not a url",
        ];
        let framed = ["https://shop.example".to_owned()];
        let policy = Policy { leads_to: urls.to_vec(), framed_by: &framed, ..Policy::default() };
        assert_eq!(
            policy.text(),
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action 'self' \
             https://shop.example http://shop.example:8080 https: http: https://xn--hxt.example; \
             frame-ancestors https://shop.example; base-uri 'none'"
        );
        assert!(Policy::default().text().contains("form-action 'self'; frame-ancestors 'none';"));
    }

    #[test]
    fn a_wallet_opens_what_its_button_needs() {
        let plain = Policy::default().text();
        let with = |wallets: &[Wallet]| Policy { wallets, ..Policy::default() }.text();
        assert_eq!(
            with(&[Wallet::ApplePay]),
            plain.replace("img-src 'self';", "img-src 'self'; connect-src 'self';"),
            "nothing from another host"
        );
        assert_eq!(
            with(&[Wallet::GooglePay, Wallet::ApplePay]),
            "default-src 'none'; script-src 'self' https://pay.google.com; style-src 'self' 'unsafe-inline'; \
             img-src 'self' https://pay.google.com https://www.gstatic.com; connect-src 'self' https://pay.google.com \
             https://google.com; frame-src https://pay.google.com; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        );
        assert!(with(&[Wallet::GooglePay]).contains("connect-src https://pay.google.com https://google.com; "));
    }
}
