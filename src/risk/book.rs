//! All rules in force, in memory; every process reads them again within a second of a change. A rule is immutable, so only
//! what is new is read.

use super::lists::List;
use super::rule::{Effect, Rule, Spec, Testing};
use crate::db::{Db, Row, args};
use crate::directory::Caller;
use crate::error::Error;
use crate::id::EntityId;
use std::collections::HashMap;
use std::sync::Arc;

macro_rules! columns {
    () => {
        "number, id, entity_id, live, merchant_id, effect, score, spec, entries, created_at"
    };
}

/// The rules of one entity in one mode, in the order in which they are asked.
#[derive(Default)]
pub struct Rules {
    pub all: Vec<Arc<Rule>>,
    pub testing: Testing,
    /// Whether a charge has a score at all.
    pub scored: bool,
}

#[derive(Default)]
pub struct Book {
    pub version: i64,
    by_caller: HashMap<Caller, Arc<Rules>>,
    by_number: HashMap<i64, Arc<Rule>>,
}

impl Book {
    pub fn rules(&self, caller: Caller) -> Option<&Arc<Rules>> {
        self.by_caller.get(&caller)
    }

    /// Rules that stood in `before` are taken from there.
    pub async fn read(db: &Db, before: &Book) -> Result<Book, Error> {
        // The version first: a change between the two reads makes us read once more, never once too few.
        let mut book = Book { version: version(db).await?, ..Book::default() };
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM risk_rules WHERE removed_at IS NULL AND begun_at IS NOT NULL ORDER BY number"
        );
        let mut by_caller: HashMap<Caller, Vec<Arc<Rule>>> = HashMap::new();
        for row in db.rows(sql, vec![]).await? {
            let rule = match before.by_number.get(&row.int(0)?) {
                Some(known) => known.clone(),
                None => {
                    let mut rule = rule(&row)?;
                    rule.list = list(db, &rule).await?;
                    Arc::new(rule)
                }
            };
            by_caller.entry(rule.caller).or_default().push(rule.clone());
            book.by_number.insert(rule.number, rule);
        }
        book.by_caller = by_caller.into_iter().map(|(caller, rules)| (caller, Arc::new(in_order(rules)))).collect();
        Ok(book)
    }
}

pub async fn version(db: &Db) -> Result<i64, Error> {
    let rows = db.rows("SELECT version FROM risk_version WHERE id = 1", vec![]).await?;
    rows.first().map_or(Ok(0), |row| row.int(0))
}

fn in_order(mut rules: Vec<Arc<Rule>>) -> Rules {
    let scored = rules.iter().any(|rule| rule.effect == Effect::Score);
    // The newest settings are in force.
    let testing = rules.iter().rev().find_map(|rule| match &rule.spec {
        Spec::CardTesting(testing) => Some(testing.clone()),
        _ => None,
    });
    rules.sort_by_key(|rule| (rule.turn(), rule.number));
    Rules { all: rules, testing: testing.unwrap_or_default(), scored }
}

/// Without its list.
pub fn rule(row: &Row) -> Result<Rule, Error> {
    let corrupt = |what: &str| Error::internal(format!("a risk rule's {what} is not one that this version knows"));
    Ok(Rule {
        number: row.int(0)?,
        id: row.text(1)?.to_owned(),
        caller: Caller {
            entity: EntityId::from_bytes(row.bytes(2)?).ok_or_else(|| corrupt("entity"))?,
            live: row.bool(3)?,
        },
        merchant: row.opt_text(4)?.map(str::to_owned),
        effect: Effect::from_id(row.int(5)?).ok_or_else(|| corrupt("effect"))?,
        score: row.int(6)?,
        spec: serde_json::from_str(row.text(7)?).map_err(|_| corrupt("specification"))?,
        list: List::default(),
        entries: row.int(8)?,
        created_at: row.int(9)?,
    })
}

/// Part after part: no read is long.
async fn list(db: &Db, rule: &Rule) -> Result<List, Error> {
    if rule.entries == 0 {
        return Ok(List::default());
    }
    let sql = "SELECT data FROM risk_lists WHERE rule_number = $1 AND part = $2";
    let mut bytes = Vec::new();
    for part in 0.. {
        let rows = db.rows(sql, args![rule.number, part]).await?;
        let Some(row) = rows.first() else { break };
        bytes.extend_from_slice(row.bytes(0)?);
    }
    List::unpack(&bytes)
}

/// The rules of an entity in one mode, or all, as they were added; at most 1,000 of each entity and mode stand.
pub async fn stored(db: &Db, caller: Option<Caller>) -> Result<Vec<Rule>, Error> {
    let rows = match caller {
        Some(caller) => {
            let sql = concat!(
                "SELECT ",
                columns!(),
                " FROM risk_rules WHERE entity_id = $1 AND live = $2 AND removed_at IS NULL AND begun_at IS NOT NULL \
                 ORDER BY number"
            );
            db.rows(sql, args![caller.entity, caller.live]).await?
        }
        None => {
            let sql = concat!(
                "SELECT ",
                columns!(),
                " FROM risk_rules WHERE removed_at IS NULL AND begun_at IS NOT NULL ORDER BY number"
            );
            db.rows(sql, vec![]).await?
        }
    };
    rows.iter().map(rule).collect()
}

/// All rules with their lists, for those who ask them of what is stored.
pub async fn stored_with_lists(db: &Db) -> Result<Vec<Rule>, Error> {
    let mut rules = stored(db, None).await?;
    for rule in &mut rules {
        rule.list = list(db, rule).await?;
    }
    Ok(rules)
}
