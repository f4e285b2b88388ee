//! One visit to a link's page, and what it is shown: the form, or how the link stands.

use super::buttons::Buttons;
use super::form::Typed;
use super::shell::{Action, Policy, Shell, Told, respond, see_other};
use super::texts::{Language, Texts};
use super::view::{Alert, PayPage};
use super::{go_back, reason};
use crate::app::App;
use crate::card::Scheme;
use crate::clock::Millis;
use crate::codes::Code;
use crate::consent::Connector;
use crate::directory::Merchant;
use crate::error::Error;
use crate::id::{LinkId, RequestId};
use crate::pay::links::{self, Link, Standing};
use crate::pay::transaction::{State as Stage, Transaction};
use crate::pay::{store, waiting};
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use std::borrow::Cow;
use std::sync::Arc;

/// One visit to one link's page.
pub struct Visit {
    pub app: App,
    pub language: Language,
    code: String,
    pub request_id: String,
}

/// A link with what belongs to it.
pub struct Shown {
    pub link: Link,
    pub merchant: Arc<Merchant>,
    /// Of the last try.
    pub transaction: Option<Transaction>,
    /// When it was read, by its entity's time.
    pub now: Millis,
}

impl Shown {
    /// The result of a try comes by itself, without the cardholder.
    pub fn is_busy(&self) -> bool {
        let stage = self.transaction.as_ref().map(|transaction| transaction.state);
        self.link.standing == Standing::Busy && stage != Some(Stage::Waiting)
    }

    /// Why a try ended before it began; it is not recorded and does not count.
    pub fn not_begun(&self, texts: &'static Texts, code: Code) -> String {
        let (card, account) = (&texts.declined, &texts.account);
        match (self.link.account(), code) {
            (Some(wallet), Code::Err1011) => (account.not_sent)(wallet.label()),
            (Some(wallet), _) => (account.shop)(wallet.label()),
            (None, Code::Err1011) => card.not_sent.to_owned(),
            (None, Code::Err1015) => card.shop.to_owned(),
            (None, _) => card.wallet.to_owned(),
        }
    }
}

impl FromRequestParts<App> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Visit, Response> {
        let japanese = parts.uri.path().starts_with(Language::Japanese.prefix());
        let language = if japanese { Language::Japanese } else { Language::English };
        // What is no UTF-8 is no code either.
        let code = Path::<String>::from_request_parts(parts, app).await.map(|Path(code)| code).unwrap_or_default();
        let code = if code.bytes().all(|byte| byte.is_ascii_alphanumeric()) { code } else { String::new() };
        let request_id = parts.extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
        Ok(Visit { app: app.clone(), language, code, request_id })
    }
}

/// The page of a link, for other pages that its browser comes from.
pub fn result_of(app: &App, language: Language, link: LinkId) -> String {
    let code = links::code(&app.vault, link);
    Shell::plain(app, language).path(&format!("/HostedPaymentPage/{code}/result"))
}

impl Visit {
    fn path(&self, below: &str) -> String {
        format!("/HostedPaymentPage/{}{below}", self.code)
    }

    /// This page's address, or one below it.
    pub fn own(&self, below: &str) -> String {
        Shell::plain(&self.app, self.language).path(&self.path(below))
    }

    pub fn back(&self) -> Action {
        Action::link("back", self.own(""), self.language.texts().told.back_to_page)
    }

    pub async fn read(&self) -> Result<Option<Shown>, Error> {
        let Some(link) = links::by_code(&self.app, &self.code).await? else { return Ok(None) };
        let merchant = self.app.directory.merchant(link.caller, &link.merchant_id);
        let merchant = merchant.ok_or_else(|| Error::internal("a link's merchant is gone"))?;
        let transaction = match link.transaction {
            Some(id) => store::reread(&self.app.db, id).await?,
            None => None,
        };
        let now = self.app.time(link.caller).await?;
        Ok(Some(Shown { link, merchant, transaction, now }))
    }

    /// Where a try goes that has no result yet: to its bank, or to the page that waits.
    pub fn way_on(&self, shown: &Shown) -> String {
        let waits = shown.transaction.as_ref().filter(|transaction| transaction.state == Stage::Waiting);
        waits.map_or_else(|| self.own("/result"), |transaction| waiting::entrance(&self.app, transaction.id))
    }

    /// Back to the shop, once there is nothing left to do here.
    pub fn outcome(&self, shown: &Shown) -> Option<Response> {
        let urls = &shown.link.details.return_url;
        let url = match shown.link.standing {
            Standing::Paid => &urls.success_url,
            Standing::Declined => &urls.decline_url,
            _ => return None,
        };
        let tried = shown.transaction.as_ref().map(|transaction| transaction.id);
        Some(see_other(&self.app, &go_back(url.as_deref()?, tried)))
    }

    /// Why the last try did not go through.
    pub fn declined(&self, shown: &Shown) -> Option<Alert> {
        let t = &self.language.texts().declined;
        let why = reason::of(shown.transaction.as_ref()?, self.language.texts())?;
        let lines = vec![why, (t.left)(shown.link.tries_left())];
        Some(Alert { title: t.heading, heading: t.heading, lines, fields: Vec::new() })
    }

    pub fn page(&self, shown: &Shown) -> Response {
        let t = &self.language.texts().told;
        let urls = &shown.link.details.return_url;
        let tried = shown.transaction.as_ref().map(|transaction| transaction.id);
        let shop = |url: Option<&String>| -> Vec<Action> {
            let text = self.language.texts().back_to_shop;
            url.map(|url| Action::link("shop", go_back(url, tried), text)).into_iter().collect()
        };
        let ok = StatusCode::OK;
        match shown.link.standing {
            Standing::Open if shown.link.is_open(shown.now) => {
                self.form(shown, ok, &Typed::default(), self.declined(shown))
            }
            Standing::Open => {
                let url = urls.cancel_url.as_ref().or(urls.decline_url.as_ref());
                self.told(Some(shown), StatusCode::GONE, t.expired, t.expired_why, shop(url))
            }
            Standing::Busy => self.waiting(shown),
            Standing::Paid => {
                let why = (t.paid_why)(&shown.merchant.legal_name);
                self.told(Some(shown), ok, t.paid, &why, shop(urls.success_url.as_ref()))
            }
            Standing::Declined => self.told(Some(shown), ok, t.failed, t.failed_why, shop(urls.decline_url.as_ref())),
            Standing::Cancelled => {
                let url = urls.cancel_url.as_ref().or(urls.decline_url.as_ref());
                self.told(Some(shown), ok, t.cancelled, t.cancelled_why, shop(url))
            }
        }
    }

    /// A try is on its way: this page looks again by itself, also without scripts. What waits for its cardholder can be gone on
    /// with, or given up.
    fn waiting(&self, shown: &Shown) -> Response {
        let (t, account) = (&self.language.texts().told, &self.language.texts().account);
        let stage = shown.transaction.as_ref().map(|transaction| transaction.state);
        let wallet = shown.link.account().map(Scheme::label);
        if stage == Some(Stage::Waiting) {
            let (on, again) = match wallet {
                Some(wallet) => ((account.go_on)(wallet).into(), account.again),
                None => (Cow::from(t.continue_at_bank), t.other_card),
            };
            let on = Action::link("continue", self.way_on(shown), on);
            let other = Action::post("other-card", self.own("/other-card"), again).second();
            let (heading, why) = match wallet {
                Some(wallet) => ((account.waiting)(wallet), (account.waiting_why)(wallet)),
                None => (t.waiting.to_owned(), t.waiting_why.to_owned()),
            };
            return self.told(Some(shown), StatusCode::OK, &heading, &why, vec![on, other]);
        }
        let settling = stage == Some(Stage::Unknown);
        let (heading, why) = if settling { (t.settling, t.settling_why) } else { (t.processing, t.processing_why) };
        let heading = wallet.filter(|_| settling).map_or_else(|| heading.to_owned(), account.settling);
        let result = self.own("/result");
        let shell = self.shell(shown).waiting_for(&self.app, &result);
        let actions = vec![Action::link("again", result, t.look_again).second()];
        let page = Told { shell: &shell, heading: &heading, lines: vec![why.to_owned()], busy: true, actions };
        respond(&self.app, StatusCode::OK, &page, &policy(&self.app, Some(shown)))
    }

    fn shell(&self, shown: &Shown) -> Shell {
        let shell = Shell::of(&self.app, self.language, &shown.merchant, shown.link.caller.live);
        shell.switched_by(&self.path("")).paid_with(shown.link.account())
    }

    pub fn form(&self, shown: &Shown, status: StatusCode, typed: &Typed, alert: Option<Alert>) -> Response {
        let shell = self.shell(shown);
        let buttons = Buttons::of(&self.app, shown);
        let policy = Policy { wallets: &buttons.wallets, ..policy(&self.app, Some(shown)) };
        let page = PayPage::new(&shell, &shown.link, self.own(""), (typed, &buttons), alert);
        respond(&self.app, status, &page, &policy)
    }

    pub fn told(
        &self,
        shown: Option<&Shown>,
        status: StatusCode,
        heading: &str,
        why: &str,
        actions: Vec<Action>,
    ) -> Response {
        let shell = match shown {
            Some(shown) => self.shell(shown),
            None => Shell::plain(&self.app, self.language).switched_by(&self.path("")),
        };
        let page = Told { shell: &shell, heading, lines: vec![why.to_owned()], busy: false, actions };
        respond(&self.app, status, &page, &policy(&self.app, shown))
    }

    pub fn not_found(&self) -> Response {
        let t = &self.language.texts().told;
        self.told(None, StatusCode::NOT_FOUND, t.not_found, t.not_found_why, vec![])
    }

    pub fn too_often(&self, shown: Option<&Shown>, seconds: u64) -> Response {
        let t = &self.language.texts().told;
        let why = (t.too_many_why)(seconds);
        let mut response = self.told(shown, StatusCode::TOO_MANY_REQUESTS, t.too_many, &why, vec![self.back()]);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        response
    }

    pub fn failed(&self, shown: Option<&Shown>, error: &Error) -> Response {
        let (cause, code, request) = (error.cause(), error.code.name(), self.request_id.as_str());
        tracing::error!(cause, code, request, "a payment page failed");
        let t = &self.language.texts().told;
        self.told(shown, StatusCode::INTERNAL_SERVER_ERROR, t.broken, t.broken_why, vec![self.back()])
    }
}

/// The origins of the shop, and of the wallet in whose page it is paid: its forms lead there by a redirect, and browsers hold
/// the policy against that too.
fn policy<'a>(app: &'a App, shown: Option<&'a Shown>) -> Policy<'a> {
    let Some(shown) = shown else { return Policy::default() };
    let urls = &shown.link.details.return_url;
    let shop = [&urls.success_url, &urls.decline_url, &urls.cancel_url].into_iter().flatten().map(String::as_str);
    let connector = shown.link.account().and_then(|_| app.connector(shown.link.caller.live));
    Policy {
        leads_to: shop.chain(connector.map(Connector::hosts).unwrap_or_default()).collect(),
        framed_by: &shown.merchant.look.framed_by,
        ..Policy::default()
    }
}
