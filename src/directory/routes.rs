//! By which acquirer a merchant's payments go. The routes in force stand in memory with the directory; one that has ended is
//! read where something that went by it is followed.

use super::{BUMP, Directory, Merchant};
use crate::acceptor::{Acceptor, SANDBOX, is_acquirer_name};
use crate::audit::Deed;
use crate::clock::{Clock, Millis};
use crate::db::{Row, Stmt, Written, args};
use crate::error::Error;
use crate::money::Currency;
use std::collections::HashMap;
use std::sync::Arc;

/// Which acquirer is asked, and which where the first certainly got nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    First = 1,
    Second = 2,
}

/// A route as it was made: nothing of it changes but its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub id: i64,
    pub merchant_id: String,
    pub live: bool,
    /// `None`: every currency that has no route of its own.
    pub currency: Option<Currency>,
    pub rank: Rank,
    pub acquirer: String,
    pub acceptor: Acceptor,
    pub created: Millis,
    pub ended: Option<Millis>,
}

/// What is to become a route.
pub struct RouteSpec {
    pub live: bool,
    pub currency: Option<Currency>,
    pub rank: Rank,
    pub acquirer: String,
    pub acceptor: Acceptor,
}

/// The new route, and the one whose place it took.
pub struct Added {
    pub id: i64,
    pub replaced: Option<i64>,
}

/// Those in force.
#[derive(Default)]
pub(super) struct Routes {
    /// By merchant, in the order in which they are asked.
    of_merchants: HashMap<String, Vec<Arc<Route>>>,
    by_id: HashMap<i64, Arc<Route>>,
}

macro_rules! columns {
    () => {
        "SELECT id, merchant_id, live, currency, rank, acquirer, terminal, acceptor, category, place, created_at, ended_at \
         FROM routes "
    };
}

impl Rank {
    pub fn word(self) -> &'static str {
        match self {
            Rank::First => "first",
            Rank::Second => "second",
        }
    }
}

impl Route {
    /// Which payments it is for.
    fn payments(&self) -> (&str, bool, Option<Currency>) {
        (&self.merchant_id, self.live, self.currency)
    }

    /// `live JPY, first`: what of a merchant's it is for.
    pub fn purpose(&self) -> String {
        purpose(self.live, self.currency, self.rank)
    }
}

impl Directory {
    /// By which acquirers such a payment may go, in the order in which they are asked, at most two. Those of its very currency,
    /// where there are any; else those without a currency. Empty where the merchant has neither.
    pub fn routes(&self, live: bool, merchant_id: &str, currency: Currency) -> Vec<Arc<Route>> {
        let snapshot = self.snapshot();
        let Some(routes) = snapshot.routes.of_merchants.get(merchant_id) else { return Vec::new() };
        let of = |wanted| -> Vec<Arc<Route>> {
            routes.iter().filter(|route| route.live == live && route.currency == wanted).cloned().collect()
        };
        let exact = of(Some(currency));
        if exact.is_empty() { of(None) } else { exact }
    }

    /// Also one that has ended, or that another process has just made: those are read from the store. `None`: there never was
    /// such a route.
    pub async fn route(&self, id: i64) -> Result<Option<Arc<Route>>, Error> {
        if let Some(route) = self.snapshot().routes.by_id.get(&id) {
            return Ok(Some(route.clone()));
        }
        let rows = self.db.rows(concat!(columns!(), "WHERE id = $1"), args![id]).await?;
        rows.first().map(|row| route_from(row).map(Arc::new)).transpose()
    }

    /// All in force, of all merchants.
    pub fn routes_in_force(&self) -> Vec<Arc<Route>> {
        self.snapshot().routes.by_id.values().cloned().collect()
    }

    /// Those that have ended among them, the oldest first.
    pub async fn all_routes(&self) -> Result<Vec<Route>, Error> {
        self.db.rows(concat!(columns!(), "ORDER BY id"), vec![]).await?.iter().map(route_from).collect()
    }

    /// Those in force, as the store has them.
    async fn standing(&self) -> Result<Vec<Route>, Error> {
        let sql = concat!(columns!(), "WHERE ended_at IS NULL ORDER BY rank");
        self.db.rows(sql, vec![]).await?.iter().map(route_from).collect()
    }

    pub(super) async fn standing_routes(&self) -> Result<Routes, Error> {
        let mut routes = Routes::default();
        for route in self.standing().await? {
            let route = Arc::new(route);
            routes.of_merchants.entry(route.merchant_id.clone()).or_default().push(route.clone());
            routes.by_id.insert(route.id, route);
        }
        Ok(routes)
    }

    /// In force in every process within a second; audited. Where a route stands in its place, `replace` ends that one in the
    /// same write.
    ///
    /// # Errors
    /// In words for the operator: what it lacks, or which route is in its way.
    pub async fn add_route(
        &self,
        merchant: &Merchant,
        spec: RouteSpec,
        replace: bool,
        who: &str,
        clock: &Clock,
    ) -> Result<Added, Error> {
        check(merchant, &spec)?;
        let replaced = room(&self.standing().await?, &merchant.id, &spec, replace)?;
        let now = clock.now();
        // First: from here on no other change of the directory runs beside this one.
        let mut writes = vec![Stmt::new(BUMP, vec![]).exactly(1)];
        if let Some(id) = replaced {
            let end = "UPDATE routes SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL";
            writes.push(Stmt::new(end, args![id, now]).exactly(1));
        }
        writes.extend(guards(&merchant.id, &spec));
        writes.push(insert(&merchant.id, &spec, now));
        let mut detail = describe(&spec);
        if let Some(id) = replaced {
            detail.push_str(&format!(", in place of route {id}"));
        }
        writes.push(Deed { who, action: "route.add", subject: &merchant.id, detail: &detail }.insert(now));
        match self.db.write(writes).await? {
            // The guards have returned rows too: the last one is the new route's.
            Written::Applied(rows) => {
                let row = rows.last().ok_or_else(|| Error::internal("the database gave the route no id"))?;
                Ok(Added { id: row.int(0)?, replaced })
            }
            Written::GuardFailed(_) | Written::Ambiguous => Err(unconfirmed()),
        }
    }

    /// Out of force in every process within a second; audited. What went by it is still followed by it.
    ///
    /// # Errors
    /// In words for the operator: there is no such route in force, or another one leans on it.
    pub async fn end_route(&self, id: i64, who: &str, clock: &Clock) -> Result<(), Error> {
        let unknown = || Error::internal("there is no such route in force: fuda route list shows them");
        let standing = self.standing().await?;
        let route = standing.iter().find(|route| route.id == id).ok_or_else(unknown)?;
        let mut same = standing.iter().filter(|other| route.payments() == other.payments());
        if let Some(second) = same.find(|other| (route.rank, other.rank) == (Rank::First, Rank::Second)) {
            let (acquirer, second) = (&second.acquirer, second.id);
            return Err(Error::internal(format!(
                "route {second} to {acquirer} is second to it: end that one first (fuda route end {second}), or put another \
                 first in its place (fuda route add --replace)"
            )));
        }
        let end = "UPDATE routes SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL AND (rank = 2 OR NOT EXISTS \
                   (SELECT 1 FROM routes s WHERE s.merchant_id = routes.merchant_id AND s.live = routes.live \
                   AND COALESCE(s.currency, '') = COALESCE(routes.currency, '') AND s.rank = 2 AND s.ended_at IS NULL))";
        let now = clock.now();
        let detail = format!("route {id}: {} to {}", route.purpose(), route.acquirer);
        let deed = Deed { who, action: "route.end", subject: &route.merchant_id, detail: &detail };
        let end = Stmt::new(end, args![id, now]).exactly(1);
        match self.db.write(vec![Stmt::new(BUMP, vec![]).exactly(1), end, deed.insert(now)]).await? {
            Written::Applied(_) => Ok(()),
            Written::GuardFailed(_) | Written::Ambiguous => Err(unconfirmed()),
        }
    }
}

fn unconfirmed() -> Error {
    Error::internal("the routes were changed by somebody else, or the database was lost: list them and try again")
}

/// What can be told without the other routes.
fn check(merchant: &Merchant, spec: &RouteSpec) -> Result<(), Error> {
    if !is_acquirer_name(&spec.acquirer) {
        return Err(Error::internal("an acquirer's name is 1 to 32 of a-z, 0-9 and -"));
    }
    if spec.live && spec.acquirer == SANDBOX {
        return Err(Error::internal("the sandbox takes test payments only"));
    }
    if let Some(currency) = spec.currency.filter(|currency| !merchant.currencies.contains(currency)) {
        let takes: Vec<&str> = merchant.currencies.iter().map(Currency::code).collect();
        let (id, code, takes) = (&merchant.id, currency.code(), takes.join(", "));
        return Err(Error::internal(format!("merchant {id} does not take {code}; it takes {takes}")));
    }
    Ok(())
}

/// The route that has to make room; refused where none may, or where there is no first to a second.
fn room(standing: &[Route], merchant_id: &str, spec: &RouteSpec, replace: bool) -> Result<Option<i64>, Error> {
    let ours = |route: &&Route| route.payments() == (merchant_id, spec.live, spec.currency);
    let (purpose, rank) = (purpose(spec.live, spec.currency, spec.rank), spec.rank);
    let taken = standing.iter().filter(ours).find(|route| route.rank == rank);
    let other = standing.iter().filter(ours).find(|route| route.rank != rank);
    if let Some(other) = other.filter(|other| other.acquirer == spec.acquirer) {
        let (id, word, acquirer) = (other.id, other.rank.word(), &spec.acquirer);
        return Err(Error::internal(format!(
            "route {id} goes to {acquirer} too, as the {word}: name another acquirer"
        )));
    }
    if rank == Rank::Second && other.is_none() {
        let first = self::purpose(spec.live, spec.currency, Rank::First);
        return Err(Error::internal(format!(
            "{merchant_id} has no route {first}: add that one first, without --second"
        )));
    }
    match taken {
        Some(taken) if !replace => {
            let (id, acquirer) = (taken.id, &taken.acquirer);
            Err(Error::internal(format!(
                "{merchant_id} has a route {purpose} already, {id} to {acquirer}: end it (fuda route end {id}), or add \
                 --replace"
            )))
        }
        taken => Ok(taken.map(|taken| taken.id)),
    }
}

/// What [`room`] saw must still be so.
fn guards(merchant_id: &str, spec: &RouteSpec) -> Vec<Stmt> {
    let currency = spec.currency.map_or("", |currency| currency.code());
    let free = "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM routes WHERE merchant_id = $1 AND live = $2 \
                AND COALESCE(currency, '') = $3 AND ended_at IS NULL AND (rank = $4 OR acquirer = $5))";
    let first = "SELECT 1 FROM routes WHERE merchant_id = $1 AND live = $2 AND COALESCE(currency, '') = $3 \
                 AND ended_at IS NULL AND rank = 1";
    let rank = spec.rank as i64;
    let mut guards =
        vec![Stmt::new(free, args![merchant_id, spec.live, currency, rank, spec.acquirer.as_str()]).exactly(1)];
    if spec.rank == Rank::Second {
        guards.push(Stmt::new(first, args![merchant_id, spec.live, currency]).exactly(1));
    }
    guards
}

fn insert(merchant_id: &str, spec: &RouteSpec, now: Millis) -> Stmt {
    let Acceptor { terminal, acceptor, category, place } = &spec.acceptor;
    let insert = "INSERT INTO routes (merchant_id, live, currency, rank, acquirer, terminal, acceptor, category, place, \
                  created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING id";
    let args = args![
        merchant_id,
        spec.live,
        spec.currency.map(|currency| currency.code()),
        spec.rank as i64,
        spec.acquirer.as_str(),
        terminal.as_str(),
        acceptor.as_str(),
        category.as_deref(),
        place.as_deref(),
        now
    ];
    Stmt::new(insert, args).exactly(1)
}

/// For the audit log.
fn describe(spec: &RouteSpec) -> String {
    let Acceptor { terminal, acceptor, category, place } = &spec.acceptor;
    let mut text = purpose(spec.live, spec.currency, spec.rank);
    text.push_str(&format!(" to {}: terminal {terminal}, acceptor {acceptor}", spec.acquirer));
    for (name, value) in [("category", category), ("place", place)] {
        if let Some(value) = value {
            text.push_str(&format!(", {name} {value}"));
        }
    }
    text
}

fn purpose(live: bool, currency: Option<Currency>, rank: Rank) -> String {
    let mode = if live { "live" } else { "test" };
    let currency = currency.map_or("any currency", |currency| currency.code());
    format!("{mode} {currency}, {}", rank.word())
}

fn route_from(row: &Row) -> Result<Route, Error> {
    let wrong = |what: &str| Error::internal(format!("a route's {what} is not one that this version knows"));
    let currency = row.opt_text(3)?.map(|code| Currency::parse(code).ok_or_else(|| wrong("currency"))).transpose()?;
    let acceptor = Acceptor::parse(row.text(6)?, row.text(7)?, row.opt_text(8)?, row.opt_text(9)?);
    Ok(Route {
        id: row.int(0)?,
        merchant_id: row.text(1)?.to_owned(),
        live: row.bool(2)?,
        currency,
        rank: match row.int(4)? {
            1 => Rank::First,
            2 => Rank::Second,
            _ => return Err(wrong("rank")),
        },
        acquirer: row.text(5)?.to_owned(),
        acceptor: acceptor.map_err(|error| Error::internal(error.message()).context("a route's acceptor"))?,
        created: row.int(10)?,
        ended: row.opt_int(11)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{Db, Durability, MIGRATIONS};
    use crate::directory::{HOLD_MS, MerchantSpec};
    use crate::random::Random;
    use crate::vault::{KeySource, Vault};

    fn currency(code: &str) -> Currency {
        Currency::parse(code).unwrap()
    }

    fn spec(live: bool, code: Option<&str>, rank: Rank, acquirer: &str) -> RouteSpec {
        let acceptor = Acceptor::parse("T1", "SHOP", None, None).unwrap();
        RouteSpec { live, currency: code.map(currency), rank, acquirer: acquirer.to_owned(), acceptor }
    }

    struct Place {
        folder: std::path::PathBuf,
        clock: Clock,
        one: Directory,
        /// Of another process.
        other: Directory,
        merchants: Vec<Merchant>,
    }

    impl Place {
        async fn new() -> Place {
            let (clock, random) = (Clock::system(), Random::system());
            let folder = std::env::temp_dir().join(format!("fuda_routes_{}", u64::from_le_bytes(random.bytes())));
            std::fs::create_dir(&folder).unwrap();
            let db = Db::open_sqlite(&folder.join("r.db"), Durability::Off).unwrap();
            db.migrate(MIGRATIONS).await.unwrap();
            let vault = Vault::open(&db, &KeySource::Environment("07".repeat(32)), &clock, &random).await.unwrap();
            let one = Directory::load(&db, &vault).await.unwrap();
            for _ in 0..2 {
                let currencies = vec![currency("JPY"), currency("USD"), currency("EUR")];
                let (legal_name, country) = ("店".to_owned(), "JP".to_owned());
                let spec =
                    MerchantSpec { legal_name, country, currencies, entity: None, live: false, hold_ms: HOLD_MS };
                one.add_merchant(spec, &clock, &random).await.unwrap();
            }
            let other = Directory::load(&db, &vault).await.unwrap();
            let merchants = one.merchants().await.unwrap();
            Place { folder, clock, one, other, merchants }
        }

        async fn add(&self, spec: RouteSpec) -> i64 {
            self.one.add_route(&self.merchants[0], spec, true, "somebody", &self.clock).await.unwrap().id
        }

        /// The acquirers of the first merchant's payments, as the other process knows them.
        fn asked(&self, live: bool, code: &str) -> Vec<String> {
            let routes = self.other.routes(live, &self.merchants[0].id, currency(code));
            routes.iter().map(|route| route.acquirer.clone()).collect()
        }
    }

    #[tokio::test]
    async fn the_nearest_routes_count() {
        let place = Place::new().await;
        assert_eq!(place.asked(false, "JPY"), [""; 0]);
        place.add(spec(false, None, Rank::First, "any")).await;
        place.add(spec(false, None, Rank::Second, "any-2")).await;
        let usd = place.add(spec(false, Some("USD"), Rank::First, "usd")).await;
        let jpy = place.add(spec(false, Some("JPY"), Rank::First, "old")).await;
        place.add(spec(false, Some("JPY"), Rank::Second, "jpy-2")).await;
        place.add(spec(false, Some("JPY"), Rank::First, "jpy")).await;
        place.add(spec(true, Some("USD"), Rank::First, "live")).await;
        assert_eq!(place.asked(false, "JPY"), [""; 0], "not read yet");
        assert_eq!(place.other.route(usd).await.unwrap().unwrap().acquirer, "usd", "asked for by its id it is");
        place.other.refresh().await.unwrap();
        assert_eq!(place.asked(false, "JPY"), ["jpy", "jpy-2"], "the first is asked first");
        assert_eq!(place.asked(false, "USD"), ["usd"], "no mixture");
        assert_eq!(place.asked(false, "EUR"), ["any", "any-2"]);
        assert_eq!(place.asked(true, "USD"), ["live"]);
        assert_eq!(place.asked(true, "JPY"), [""; 0], "no test's route for live money");
        assert!(place.other.routes(false, &place.merchants[1].id, currency("JPY")).is_empty());
        let old = place.other.route(jpy).await.unwrap().unwrap();
        assert_eq!((old.acquirer.as_str(), old.ended.is_some()), ("old", true));
        assert_eq!(place.other.route(99).await.unwrap(), None);
        place.one.end_route(usd, "somebody", &place.clock).await.unwrap();
        place.other.refresh().await.unwrap();
        assert_eq!(place.asked(false, "USD"), ["any", "any-2"]);
        assert!(place.other.route(usd).await.unwrap().unwrap().ended.is_some());
        std::fs::remove_dir_all(place.folder).unwrap();
    }

    /// What changes between the look and the write changes nothing of what was promised.
    #[tokio::test]
    async fn guards_hold() {
        let place = Place::new().await;
        let id = place.merchants[0].id.as_str();
        let held = async |spec: &RouteSpec| {
            let writes = [guards(id, spec), vec![insert(id, spec, 7)]].concat();
            matches!(place.one.db.write(writes).await.unwrap(), Written::Applied(_))
        };
        assert!(!held(&spec(false, None, Rank::Second, "b")).await, "there is no first");
        assert!(held(&spec(false, None, Rank::First, "a")).await);
        assert!(!held(&spec(false, None, Rank::First, "b")).await, "there is one");
        assert!(!held(&spec(false, None, Rank::Second, "a")).await, "both would be one");
        assert!(!held(&spec(true, None, Rank::Second, "b")).await, "the first is for tests");
        assert!(!held(&spec(false, Some("JPY"), Rank::Second, "b")).await, "the first has no currency");
        assert!(held(&spec(false, None, Rank::Second, "b")).await);
        // Past every guard the store itself has one of each.
        let twice = place.one.db.write(vec![insert(id, &spec(false, None, Rank::First, "c"), 7)]).await;
        assert!(twice.is_err());
        std::fs::remove_dir_all(place.folder).unwrap();
    }
}
