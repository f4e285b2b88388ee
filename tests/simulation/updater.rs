//! An expired card, and what the acquirer knows of a newer one; the service's answers, silence and faults are each asked for.

use crate::weather::Dice;
use crate::world::{Process, Stores, World};
use axum::body::Body;
use axum::http::Request;
use fuda::acquirer::updater::Updater;
use fuda::app::App;
use fuda::card::{Card, Expiry};
use fuda::db::Wait;
use fuda::directory::Caller;
use fuda::error::Error;
use fuda::id::{EntityId, TokenId};
use fuda::pay::means::Means;
use fuda::pay::stored::renewed_expiry;
use fuda::pay::tokens::{self, Change};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tower::ServiceExt as _;

const OLD: Expiry = Expiry { month: 12, year: 2040 };
const NEWER: Expiry = Expiry { month: 12, year: 2045 };

/// 2041-02-01: the stored card is past.
const LATER: i64 = 2_243_289_600_000;

enum Says {
    This(Option<Expiry>),
    Silent,
    Fails,
    /// While it is asked, somebody else gives the token this expiry, or deletes it.
    Meanwhile(Option<Expiry>),
}

struct Service {
    says: Says,
    app: App,
    caller: Caller,
    token: TokenId,
    asked: AtomicU32,
}

impl Updater for Service {
    fn deadline_ms(&self) -> u64 {
        3_000
    }

    fn newer<'a>(&'a self, _: &'a Card) -> Wait<'a, Result<Option<Expiry>, Error>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            match &self.says {
                Says::This(expiry) => return Ok(*expiry),
                Says::Silent => std::future::pending().await,
                Says::Fails => return Err(Error::internal("the updater is away")),
                Says::Meanwhile(None) => drop(tokens::delete(&self.app, self.caller, self.token, false).await?),
                Says::Meanwhile(expiry) => {
                    let change = Change { expiry: *expiry, name: None };
                    tokens::change(&self.app, self.caller, self.token, change).await?;
                }
            }
            Ok(Some(NEWER))
        })
    }
}

pub fn story() -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(renewed())
}

async fn renewed() -> Result<(), String> {
    let dice = Dice::new(1);
    let world = Arc::new(World::new(&dice, &Stores::new()).await);
    world.calm.store(true, Ordering::Relaxed);
    let process = world.start(&dice, None, false).await.ok_or("no process")?;
    let caller = Caller { entity: entity(&process).await, live: false };
    // What is said; at which time the card is looked at; what is told, what the token has then, and how often was asked.
    let past = Expiry { month: 11, year: 2040 };
    let other = Expiry { month: 3, year: 2044 };
    for (name, says, now, told, kept, asked) in [
        ("newer", Says::This(Some(NEWER)), LATER, Some(NEWER), NEWER, 1),
        ("not past", Says::This(Some(NEWER)), LATER - 60 * 86_400_000, None, OLD, 0),
        ("none", Says::This(None), LATER, None, OLD, 1),
        ("past too", Says::This(Some(past)), LATER, None, OLD, 1),
        ("silent", Says::Silent, LATER, None, OLD, 1),
        ("fails", Says::Fails, LATER, None, OLD, 1),
    ] {
        let token = stored(&world, &process).await?;
        let found = ask(&process.app, caller, token, says, now).await;
        assert_eq!(found, (told, asked), "{name}");
        assert_eq!(expiry(&process.app, caller, token).await, kept, "{name}");
    }
    // Another renewal, or the merchant, was faster: what it wrote stands, if it is any good.
    for (meanwhile, told) in [(Some(other), Some(other)), (Some(past), None)] {
        let token = stored(&world, &process).await?;
        let says = Says::Meanwhile(meanwhile);
        assert_eq!(ask(&process.app, caller, token, says, LATER).await, (told, 1), "{meanwhile:?}");
        assert_eq!(Some(expiry(&process.app, caller, token).await), meanwhile);
    }
    let token = stored(&world, &process).await?;
    let says = Says::Meanwhile(None);
    assert_eq!(ask(&process.app, caller, token, says, LATER).await, (None, 1), "deleted");
    assert!(tokens::get(&process.app, caller, token).await.is_err(), "it stays deleted");
    // No acquirer answers for live money yet, and none is asked.
    let token = stored(&world, &process).await?;
    let live = Caller { live: true, ..caller };
    let card = card(&process.app, caller, token).await;
    assert_eq!(
        renewed_expiry(&process.app, live, &card, (token, None), LATER).await.map_err(|e| format!("{e:?}"))?,
        None
    );
    Ok(())
}

async fn ask(app: &App, caller: Caller, token: TokenId, says: Says, now: i64) -> (Option<Expiry>, u32) {
    let card = card(app, caller, token).await;
    let service = Arc::new(Service { says, app: app.clone(), caller, token, asked: AtomicU32::new(0) });
    let app = App { sandbox_updater: service.clone(), ..app.clone() };
    let began = app.clock.now();
    let found = renewed_expiry(&app, caller, &card, (token, None), now).await.unwrap_or_else(|e| panic!("{e:?}"));
    assert!(app.clock.now() - began <= 3_500, "it waits no longer than its deadline");
    (found, service.asked.load(Ordering::Relaxed))
}

async fn card(app: &App, caller: Caller, token: TokenId) -> Card {
    match tokens::open(app, caller, token).await {
        Ok(Means::Card(card)) => card,
        _ => panic!("no card"),
    }
}

async fn expiry(app: &App, caller: Caller, token: TokenId) -> Expiry {
    card(app, caller, token).await.expiry
}

async fn entity(process: &Process) -> EntityId {
    process.app.directory.merchants().await.ok().unwrap()[0].entity
}

/// The bank declines some by their reference: then another try.
async fn stored(world: &World, process: &Arc<Process>) -> Result<TokenId, String> {
    let body = json!({"merchant_id": world.merchant_id, "currency": "JPY",
        "card": {"number": "4111111111111111", "expiry_month": "12", "expiry_year": "2040", "cvc": "123", "name": "A B"}});
    for _ in 0..20 {
        let request = Request::builder()
            .method("POST")
            .uri("/api/v1/server-to-server-interface/tokens")
            .header("x-api-key", &world.secret)
            .header("authorization", &world.secret)
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()));
        let router = fuda::http::router(process.app.clone(), crate::world::probe());
        let response = router.oneshot(request.unwrap()).await.unwrap();
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let answer: Value = serde_json::from_slice(&bytes).unwrap();
        if let Some(token) = answer["token"]["id"].as_str().and_then(TokenId::parse) {
            return Ok(token);
        }
    }
    Err("no card could be stored".to_owned())
}
