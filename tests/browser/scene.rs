//! What most stories begin with: a gateway, a shop with a link to pay, and a visitor.

use crate::chromium::{Habits, Visitor};
use crate::shop::Shop;
use crate::world::{Engine, World, address};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

pub struct Scene {
    pub visitor: Visitor,
    pub shop: Shop,
    pub world: World,
}

#[derive(Clone, Debug)]
pub struct Link {
    pub id: String,
    pub url: String,
}

pub const GOOD: &str = "5200000000001005";
pub const DECLINED: &str = "4000000000000002";
pub const CHALLENGED: &str = "4000002500003155";

impl Scene {
    pub async fn new(engine: Engine, habits: Habits) -> Scene {
        let (world, shop) = (World::new(engine).await, Shop::new().await);
        shop.asks(world.authed(world.http.get(world.url("events")), &world.keys));
        Scene { visitor: Visitor::new(habits).await, shop, world }
    }

    /// URLs with queries and fragments of the shop's own, which must come back as they are.
    pub fn returns(&self) -> Value {
        json!({
            "webhook_url": self.shop.url("/hook"),
            "success_url": self.shop.url("/done?order=%E6%9C%AD%2F1&a#thanks"),
            "decline_url": self.shop.url("/declined?order=%E6%9C%AD%2F1&a#sorry"),
            "cancel_url": self.shop.url("/cart?order=%E6%9C%AD%2F1&a#cart"),
        })
    }

    /// A link as below with a reference of its own, and the shop waits for its visitor.
    pub async fn next_link(&self, reference: &str, mut changes: Value) -> Link {
        self.shop.forgets();
        changes["merchant_txn_ref"] = json!(reference);
        self.link(changes).await
    }

    /// A link of 1,000 yen for somebody whose address is known, with `changes` laid over it.
    pub async fn link(&self, changes: Value) -> Link {
        let mut body = json!({
            "amount": "1000", "currency": "JPY", "merchant_id": self.world.keys.merchant,
            "merchant_txn_ref": "order-1", "merchant_email": "shop@testemail.com",
            "billing_address": address("billing@testemail.com"), "return_url": self.returns(),
        });
        body["billing_address"]["country"] = json!("US");
        for (key, value) in changes.as_object().unwrap() {
            body[key] = value.clone();
        }
        let (status, made) = self.world.post("hpp/generate/link", &body).await;
        assert_eq!(status, 201, "{made}");
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        Link { id: text("id"), url: text("url") }
    }

    /// The link as its merchant sees it.
    pub async fn state(&self, link: &Link) -> Value {
        let (status, found) = self.world.get(&format!("hpp/link/{}", link.id)).await;
        assert_eq!(status, 200, "{found}");
        found
    }

    /// The states of all charges with a reference, oldest first.
    pub async fn charges(&self, reference: &str) -> Vec<String> {
        let path = format!("transaction/status?merchant_id={}&merchant_txn_ref={reference}", self.world.keys.merchant);
        let (status, found) = self.world.get(&path).await;
        assert_eq!(status, 200, "{found}");
        let state = |one: &Value| one["transaction_details"]["state"].as_str().unwrap().to_owned();
        found["transactions"].as_array().unwrap().iter().rev().map(state).collect()
    }

    /// Fills the form with a card, without sending it.
    pub async fn fills(&self, number: &str) {
        let visitor = &self.visitor;
        visitor.sees("[name='number']").await;
        visitor.fills("number", number).await;
        visitor.fills("expiry", "12/40").await;
        visitor.fills("cvc", "123").await;
        visitor.fills("name", "HANAKO YAMADA").await;
    }

    pub async fn pays(&self, number: &str) {
        self.fills(number).await;
        self.visitor.presses("#pay").await;
    }

    /// The only visit to the shop, once it has happened; the browser stands at `path` with exactly the shop's own query
    /// and fragment and the transaction. The shop knew of the result before. Gives the transaction's id.
    pub async fn returned(&self, path: &str, mark: &str) -> String {
        let place = self.visitor.arrives(&self.shop.base).await;
        let begin = format!("{path}?order=%E6%9C%AD%2F1&a&transaction_id=");
        let visits = self.shop.visits();
        let visit = visits.last().unwrap();
        let id = visit.target.strip_prefix(&begin).unwrap_or_else(|| panic!("{visit:?} is not {begin}"));
        assert!(id.len() == 36 && uuid::Uuid::parse_str(id).is_ok(), "{id}");
        assert_eq!(place, self.shop.url(&format!("{begin}{id}#{mark}")));
        assert_eq!(visits.len(), 1, "{visits:?}");
        assert_eq!(visit.referrer, None, "the link is a secret");
        let known = visit.learned["events"].as_array().unwrap_or_else(|| panic!("{}", visit.learned));
        assert!(
            known.iter().any(|event| event["body"].as_str().unwrap().contains(id)),
            "{id} is not in the feed yet: {known:?}"
        );
        id.to_owned()
    }

    /// Waits for the webhook of a transaction.
    pub async fn told(&self, id: &str) -> Value {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let told = self.shop.told();
            if let Some(found) = told.iter().find(|told| told["transaction_details"]["id"] == id) {
                return found.clone();
            }
            assert!(Instant::now() < end, "nobody was told of {id}: {told:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
