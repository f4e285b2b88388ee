//! Cardholders as they are: they go where the redirect leads, think, answer the issuer or the wallet or do not, and come back
//! once, several times at once, to another process, too late or never.

use crate::weather::Dice;
use crate::world::World;
use axum::body::Body;
use axum::http::{Request, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fuda::consent::sandbox::PATH as WALLET_PATH;
use fuda::pay::waiting::LIMIT_MS;
use fuda::threeds::messages::CReq;
use fuda::threeds::sandbox::Entered;
use std::sync::Arc;
use tower::ServiceExt as _;

pub const PAID: &str = "https://shop.example.jp/paid";
pub const FAILED: &str = "https://shop.example.jp/failed";

/// Where a browser was sent at the end.
#[derive(Clone, Debug)]
pub struct Seen {
    pub id: String,
    pub success: bool,
}

/// One who was sent to `url` to pay.
#[derive(Clone)]
pub struct Cardholder {
    pub world: Arc<World>,
    pub dice: Dice,
    pub url: String,
    /// When the redirect was told.
    pub at: i64,
    /// As others may build on the charge: its kind and amount.
    pub kind: &'static str,
    pub amount: u64,
}

/// What a visit to the payment's page showed.
enum Shown {
    Challenge(CReq),
    /// The key of the wallet's page.
    Wallet(String),
    /// The charge has ended, and the browser was sent to the shop.
    Shop,
    /// Another visit pays, or the wallet does not know yet.
    Wait,
    /// A failure, or no answer.
    Nothing,
}

/// How somebody comes to the payment's page.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Open,
    Back,
    Leave,
}

impl Cardholder {
    /// `late`: the answer comes when the time is nearly over, or after that.
    pub async fn run(self, late: bool) {
        let Some(asked) = self.arrive().await else { return };
        if late {
            let at = self.at + LIMIT_MS - 9_000 + i64::try_from(self.dice.below(20_000)).unwrap();
            self.world.clock.sleep(u64::try_from(at - self.world.clock.now()).unwrap_or(0)).await;
        } else {
            self.world.clock.sleep(self.dice.below(8_000)).await;
        }
        // Somebody else's tab, or the one with the wallet's page, comes back before there is an answer.
        let mut visits = tokio::task::JoinSet::new();
        if self.dice.chance(150) {
            let way = if self.dice.chance(400) { Way::Leave } else { Way::Back };
            visits.spawn(self.other().come_back(way));
        }
        if !self.answer(&asked).await && self.dice.chance(700) {
            return;
        }
        let tabs = *self.dice.pick(&[0, 1, 1, 1, 1, 1, 2, 2, 3, 4]).unwrap();
        for _ in 0..tabs {
            let way = if self.dice.chance(60) { Way::Leave } else { Way::Back };
            visits.spawn(self.other().come_back(way));
        }
        while visits.join_next().await.is_some() {}
        if self.dice.chance(200) {
            self.world.clock.sleep(self.dice.below(8_000)).await;
            self.come_back(Way::Back).await;
        }
    }

    fn other(&self) -> Cardholder {
        Cardholder { dice: Dice::new(self.dice.below(u64::MAX)), ..self.clone() }
    }

    /// Opens the page until it leads to the issuer or the wallet.
    async fn arrive(&self) -> Option<Shown> {
        for _ in 0..5 {
            match self.visit(Way::Open, 10_000).await {
                shown @ (Shown::Challenge(_) | Shown::Wallet(_)) => return Some(shown),
                Shown::Shop => return None,
                Shown::Wait | Shown::Nothing => self.world.clock.sleep(1_000 + self.dice.below(1_000)).await,
            }
        }
        None
    }

    /// Yes, no or nothing, at the issuer or in the wallet. `false` for nothing.
    async fn answer(&self, asked: &Shown) -> bool {
        let (issuer, wallet) = self.world.sandbox();
        let yes = match self.dice.below(10) {
            0 => return false,
            1..=2 => false,
            _ => true,
        };
        match asked {
            Shown::Challenge(request) => {
                let entered = match (yes, self.dice.chance(500)) {
                    (true, _) => Entered::Code("123456"),
                    (false, true) => Entered::Code("000000"),
                    (false, false) => Entered::Cancel,
                };
                issuer.enter(request, entered).await.unwrap();
                self.world.answers.lock().unwrap().entry(request.server_id.clone()).or_insert(self.world.clock.now());
            }
            Shown::Wallet(key) => {
                wallet.decide(key, yes).await.unwrap();
                self.world.answers.lock().unwrap().entry(key.clone()).or_insert(self.world.clock.now());
            }
            _ => return false,
        }
        true
    }

    /// From the issuer or the wallet, until the browser is sent to the shop or its patience ends.
    async fn come_back(self, way: Way) {
        self.world.clock.sleep(self.dice.below(400)).await;
        for _ in 0..1 + self.dice.below(8) {
            let patience = if self.dice.chance(200) { self.dice.below(400) } else { 12_000 };
            if let Shown::Shop = self.visit(way, patience).await {
                return;
            }
            self.world.clock.sleep(1_000 + self.dice.below(1_500)).await;
        }
    }

    /// One visit on some living process.
    async fn visit(&self, way: Way, patience_ms: u64) -> Shown {
        let Some(router) = self.world.some_router(&self.dice) else { return Shown::Nothing };
        let wallet = self.url_of_wallet();
        let (method, uri) = match way {
            Way::Open => ("GET", self.url.clone()),
            Way::Leave => ("POST", format!("{}/leave", self.url)),
            Way::Back if wallet => ("GET", format!("{}?back", self.url)),
            Way::Back => ("POST", self.url.clone()),
        };
        let request = Request::builder().method(method).uri(uri).body(Body::empty()).unwrap();
        let Some(response) = self.world.clock.within(patience_ms, router.oneshot(request)).await else {
            return Shown::Nothing;
        };
        let response = response.unwrap();
        let status = response.status().as_u16();
        let to = response.headers().get(header::LOCATION).map(|to| to.to_str().unwrap().to_owned());
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let page = String::from_utf8(bytes.to_vec()).unwrap();
        match (status, to) {
            (303, Some(to)) => self.sent_on(&to),
            (200, None) => match page.split_once("name=\"creq\" value=\"") {
                Some((_, rest)) => {
                    let message = URL_SAFE_NO_PAD.decode(rest.split('"').next().unwrap()).unwrap();
                    Shown::Challenge(serde_json::from_slice(&message).unwrap())
                }
                None => Shown::Wait,
            },
            (500, None) => Shown::Nothing,
            (status, to) => {
                self.world.check(false, || format!("{method} {} was answered {status} {to:?}: {page}", self.url));
                Shown::Nothing
            }
        }
    }

    fn url_of_wallet(&self) -> bool {
        // Both ways of coming back are understood by both pages; a browser takes the one that it was sent.
        self.dice.chance(500)
    }

    fn sent_on(&self, to: &str) -> Shown {
        if let Some(key) = to.strip_prefix(WALLET_PATH) {
            return Shown::Wallet(key.trim_start_matches('/').to_owned());
        }
        let (url, id) = to.split_once("?transaction_id=").unwrap_or((to, ""));
        self.world.check(url == PAID || url == FAILED, || format!("a browser was sent to {to}"));
        let success = url == PAID;
        self.world.seen.lock().unwrap().push(Seen { id: id.to_owned(), success });
        if success {
            self.world.paid(id, self.kind, self.amount);
        }
        Shown::Shop
    }
}
