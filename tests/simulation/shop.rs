//! The merchant's receiver: it hears every webhook that reaches it, and answers as receivers do. Reached over a network of
//! the simulation's own.

use crate::weather::{Dice, Life};
use crate::world::World;
use fuda::clock::Clock;
use fuda::db::Db;
use fuda::id::TransactionId;
use fuda::pay::transaction::{State, Transaction};
use fuda::subscription::Status;
use fuda::tls::Stream;
use fuda::webhook::courier::{Network, Pending};
use fuda::webhook::sign::{self, Secret};
use fuda::webhook::{self, Delivery, Event};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

/// After which a delivery has failed.
const TRIES: i64 = 8;

pub const URL: &str = "http://shop.example.jp/fuda?a=1";

/// A webhook that arrived; in the order of arrival.
pub struct Heard {
    pub id: String,
    /// Of what it tells: the transaction's id, or the subscription's and its state.
    pub subject: String,
    pub code: String,
    /// What the shop answered; 0 for none.
    pub status: u16,
}

pub type Ears = Arc<Mutex<Vec<Heard>>>;

/// One process's way to the shop.
pub struct Road {
    pub ears: Ears,
    pub secret: String,
    pub life: Arc<Life>,
    pub dice: Dice,
    pub clock: Clock,
}

impl Network for Road {
    fn resolve(&self, _: String) -> Pending<Vec<IpAddr>> {
        Box::pin(async { Ok(vec![IpAddr::from([93, 184, 216, 34])]) })
    }

    fn connect(&self, _: SocketAddr) -> Pending<Box<dyn Stream>> {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (ears, secret, life) = (self.ears.clone(), self.secret.clone(), self.life.clone());
        let (dice, clock) = (Dice::new(self.dice.below(u64::MAX)), self.clock.clone());
        Box::pin(async move {
            life.step().await;
            tokio::spawn(async move { serve(theirs, &ears, &secret, &life, (dice, clock)).await });
            Ok(Box::new(ours) as Box<dyn Stream>)
        })
    }
}

/// Requests of one connection, until somebody has had enough.
async fn serve(mut wire: DuplexStream, ears: &Ears, secret: &str, life: &Arc<Life>, (dice, clock): (Dice, Clock)) {
    while let Some((head, body)) = request(&mut wire).await {
        let status = if life.is_calm() { 200 } else { *dice.pick(&[200, 200, 200, 500, 302, 410, 0, 1]).unwrap() };
        clock.sleep(dice.below(40)).await;
        ears.lock().unwrap().push(heard(&head, &body, secret, status));
        match status {
            // It hangs, or cuts the connection.
            0 => return clock.sleep(60_000).await,
            1 => return,
            _ => {}
        }
        let answer = format!("HTTP/1.1 {status} -\r\ncontent-length: 2\r\nretry-after: 1\r\n\r\nok");
        if wire.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        // A dead process hears nothing.
        life.step().await;
    }
}

async fn request(wire: &mut DuplexStream) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if wire.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let length: usize = header(&head, "content-length").parse().unwrap();
    while bytes.len() < end + length {
        if wire.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some((head, String::from_utf8(bytes[end..end + length].to_vec()).unwrap()))
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let line = head.lines().find_map(|line| line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)));
    line.unwrap_or_else(|| panic!("no {name} in {head}")).1
}

fn heard(head: &str, body: &str, secret: &str, status: u16) -> Heard {
    assert!(head.starts_with("POST /fuda?a=1 HTTP/1.1\r\n"), "{head}");
    let (id, at) = (header(head, "webhook-id"), header(head, "webhook-timestamp").parse().unwrap());
    let signature = sign::header(&[Secret::parse(secret).unwrap()], id, at, body);
    assert_eq!(header(head, "webhook-signature"), signature);
    let body: Value = serde_json::from_str(body).unwrap();
    let subject = match body["transaction_details"]["id"].as_str() {
        Some(id) => id.to_owned(),
        None => {
            let [id, status] = ["id", "status"].map(|name| body["subscription_details"][name].as_str().unwrap());
            format!("{id} {status}")
        }
    };
    Heard { id: id.to_owned(), subject, code: body["gateway_response"]["code"].as_str().unwrap().to_owned(), status }
}

fn subject(event: &Event) -> String {
    match event.subscription.zip(event.stood.map(|stood| stood.status)) {
        Some((id, status)) => format!("{id} {}", Status::from_id(status).map_or("", Status::name)),
        None => event.transaction.to_string(),
    }
}

/// Every final result has its event; the shop heard each, of a family in order, and what it heard is true.
pub async fn check(world: &World, db: &Db, all: &[Transaction]) -> Result<(), String> {
    let events = webhook::page(db, 0, i64::MIN, 100_000).await.map_err(|error| format!("{error:?}"))?;
    let mut of: BTreeMap<TransactionId, Vec<&Event>> = BTreeMap::new();
    for event in events.iter().filter(|event| event.subscription.is_none()) {
        of.entry(event.transaction).or_default().push(event);
    }
    // The answer to a charge that was reversed, or to what follows one and had been declined.
    let again = "SELECT t.id FROM transactions t JOIN attempts a ON a.transaction_id = t.id WHERE a.result = 1 \
                 AND (t.parent_id IS NULL AND a.operation = 1 AND t.state = 5 OR t.parent_id IS NOT NULL AND EXISTS \
                 (SELECT 1 FROM attempts b WHERE b.transaction_id = t.id AND b.result = 2))";
    let again = db.rows(again, vec![]).await.map_err(|error| format!("{error:?}"))?;
    let again: BTreeSet<Vec<u8>> = again.iter().map(|row| row.bytes(0).unwrap().to_vec()).collect();
    // Where the gateway could not make one twice, later ones waited no longer.
    let unmade = "SELECT event_id FROM webhook_tries WHERE number <= 2 AND problem LIKE 'fault%' \
                  GROUP BY event_id HAVING COUNT(*) = 2";
    let unmade = db.rows(unmade, vec![]).await.map_err(|error| format!("{error:?}"))?;
    let unmade: BTreeSet<Vec<u8>> = unmade.iter().map(|row| row.bytes(0).unwrap().to_vec()).collect();
    let late = world.bank.lock().unwrap().names.approved_late();
    let ears = world.ears.lock().unwrap();
    for one in all {
        let events = of.get(&one.id).map_or(&[][..], Vec::as_slice);
        let wanted = usize::from(one.state != State::NotSent);
        // Only what was given up and then approved by the bank all the same is told twice.
        let again = again.contains(one.id.as_bytes().as_slice()) || late.contains(&one.id.to_string());
        let twice = again && one.state != State::Declined;
        if events.len() != wanted && !(twice && events.len() == 2) {
            return Err(format!("{} events for {one:?}", events.len()));
        }
    }
    let mut first_heard: BTreeMap<String, usize> = BTreeMap::new();
    for (place, heard) in ears.iter().enumerate() {
        first_heard.entry(heard.id.clone()).or_insert(place);
    }
    let mut last_of: BTreeMap<TransactionId, usize> = BTreeMap::new();
    for event in &events {
        let id = event.id.to_string();
        let Some(first) = first_heard.get(&id) else { return Err(format!("the shop never heard {event:?}")) };
        let in_order = last_of.get(&event.first).is_none_or(|before| before < first);
        if !unmade.contains(event.id.as_bytes().as_slice()) {
            last_of.insert(event.first, *first);
        }
        if !in_order {
            return Err(format!("{event:?} came before an earlier one of its charge"));
        }
        let of_it = || ears.iter().filter(|heard| heard.id == id);
        let ended = match event.delivery {
            Delivery::Delivered => of_it().any(|heard| heard.status == 200),
            Delivery::Gone => of_it().any(|heard| heard.status == 410),
            // Over days the schedule comes to its end.
            Delivery::Failed => event.step == TRIES,
            _ => false,
        };
        if !ended || of_it().any(|heard| heard.subject != subject(event)) {
            return Err(format!("{event:?} did not end as the shop answered"));
        }
    }
    for one in all {
        let Some(last) = of.get(&one.id).and_then(|events| events.last()) else { continue };
        let code = one.code.map_or("", |code| code.name());
        let id = last.id.to_string();
        if !ears.iter().any(|heard| heard.id == id && heard.code == code) {
            return Err(format!("what the shop heard of {one:?} is not {code}"));
        }
    }
    Ok(())
}
