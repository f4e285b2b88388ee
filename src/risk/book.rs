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

    /// Rules that stood in `before` are taken from there. One that cannot be read is not in force, and must not take the others
    /// with it: it is in the log, and counted.
    pub async fn read(db: &Db, before: &Book) -> Result<Book, Error> {
        // The version first: a change between the two reads makes us read once more, never once too few.
        let mut book = Book { version: version(db).await?, ..Book::default() };
        let mut by_caller: HashMap<Caller, Vec<Arc<Rule>>> = HashMap::new();
        let mut unreadable = 0_u32;
        for row in in_force(db).await? {
            let rule = match before.by_number.get(&row.int(0)?) {
                Some(known) => known.clone(),
                None => match with_list(db, &row).await? {
                    Some(rule) => Arc::new(rule),
                    None => {
                        unreadable += 1;
                        continue;
                    }
                },
            };
            by_caller.entry(rule.caller).or_default().push(rule.clone());
            book.by_number.insert(rule.number, rule);
        }
        metrics::gauge!("fuda_risk_rules_unreadable").set(unreadable);
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

/// `None`, and a line in the log, when the row or its list is not one that this version can read.
async fn with_list(db: &Db, row: &Row) -> Result<Option<Rule>, Error> {
    let Some(mut rule) = readable(row) else { return Ok(None) };
    let packed = packed(db, &rule).await?;
    match packed.map_or_else(|| Ok(List::default()), |bytes| List::unpack(&bytes)) {
        Ok(list) => {
            rule.list = list;
            Ok(Some(rule))
        }
        Err(error) => {
            unreadable(&rule.id, &error);
            Ok(None)
        }
    }
}

fn readable(row: &Row) -> Option<Rule> {
    rule(row).inspect_err(|error| unreadable(row.text(1).unwrap_or_default(), error)).ok()
}

fn unreadable(id: &str, error: &Error) {
    tracing::error!(
        rule = id,
        cause = error.cause(),
        "a risk rule is NOT in force: it cannot be read; remove it and add it again"
    );
}

/// Part after part: no read is long.
async fn packed(db: &Db, rule: &Rule) -> Result<Option<Vec<u8>>, Error> {
    if rule.entries == 0 {
        return Ok(None);
    }
    let sql = "SELECT data FROM risk_lists WHERE rule_number = $1 AND part = $2";
    let mut bytes = Vec::new();
    for part in 0.. {
        let rows = db.rows(sql, args![rule.number, part]).await?;
        let Some(row) = rows.first() else { break };
        bytes.extend_from_slice(row.bytes(0)?);
    }
    Ok(Some(bytes))
}

/// The rules of an entity in one mode as they were added; at most 1,000 stand. Without those that cannot be read.
pub async fn stored(db: &Db, caller: Caller) -> Result<Vec<Rule>, Error> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM risk_rules WHERE entity_id = $1 AND live = $2 AND removed_at IS NULL AND begun_at IS NOT NULL \
         ORDER BY number"
    );
    Ok(db.rows(sql, args![caller.entity, caller.live]).await?.iter().filter_map(readable).collect())
}

/// All rules, those that cannot be read by their ids alone.
pub async fn all_stored(db: &Db) -> Result<Vec<Result<Rule, String>>, Error> {
    let id_of = |row: &Row| row.text(1).unwrap_or_default().to_owned();
    let rows = in_force(db).await?;
    Ok(rows.iter().map(|row| rule(row).map_err(|_| id_of(row))).collect())
}

/// All rules with their lists, for those who ask them of what is stored.
pub async fn stored_with_lists(db: &Db) -> Result<Vec<Rule>, Error> {
    let mut rules = Vec::new();
    for row in in_force(db).await? {
        rules.extend(with_list(db, &row).await?);
    }
    Ok(rules)
}

/// Whose rule it is, readable or not.
pub async fn owner(db: &Db, id: &str) -> Result<Option<Caller>, Error> {
    let sql = "SELECT entity_id, live FROM risk_rules WHERE id = $1 AND removed_at IS NULL AND begun_at IS NOT NULL";
    let rows = db.rows(sql, args![id]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let live = row.bool(1)?;
    Ok(EntityId::from_bytes(row.bytes(0)?).map(|entity| Caller { entity, live }))
}

async fn in_force(db: &Db) -> Result<Vec<Row>, Error> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM risk_rules WHERE removed_at IS NULL AND begun_at IS NOT NULL ORDER BY number"
    );
    db.rows(sql, vec![]).await
}
