//! Rules come and go; each change is in the audit log with who and when, in the same write.

use super::asked::Draft;
use super::lists::PART;
use super::rule::{Rule, Spec};
use crate::audit::Deed;
use crate::clock::Millis;
use crate::db::{Db, Stmt, Written, args};
use crate::directory::Caller;
use crate::error::Error;
use crate::random::Random;

/// The most rules of one entity in one mode.
pub const MOST_RULES: i64 = 1_000;

/// The most entries of all lists of one entity in one mode: some 64 MB in memory.
pub const MOST_ENTRIES: i64 = 4_000_000;

/// The most rules of one merchant that count: each is a row of the database for every charge or refund.
pub const MOST_COUNTING: i64 = 64;

/// Parts that go in one write: a mebibyte, so that payments do not wait for a long list.
const PARTS_AT_ONCE: usize = 16;

/// How many rows one round of forgetting takes.
const FORGOTTEN_AT_ONCE: i64 = 1_000;

const BUMP: &str = "UPDATE risk_version SET version = version + 1 WHERE id = 1";

/// Who changes whose rules, and when.
pub struct Author<'a> {
    /// A key's id, or who was at the command line.
    pub who: &'a str,
    pub caller: Caller,
    pub now: Millis,
}

/// What became of a rule that was asked for.
pub enum Added {
    Rule(Box<Rule>),
    /// One of `first` did not hold.
    FirstFailed,
}

/// `first` and `last` frame the write that brings the rule into force: what the caller must know of it.
pub async fn add(
    db: &Db,
    random: &Random,
    author: &Author<'_>,
    draft: Draft,
    framed: impl FnOnce(&Rule) -> (Vec<Stmt>, Vec<Stmt>),
) -> Result<Added, Error> {
    let rule = named(random, author, draft);
    let parts = parts(&rule);
    let staged = parts.len() > PARTS_AT_ONCE;
    let (first, last) = framed(&rule);
    let (before, mut writes) = (first.len(), first);
    let insert = insert(&rule, (!staged).then_some(author.now))?;
    if staged {
        let begun = room(&rule).into_iter().chain([insert]);
        applied(db.write(begun.collect()).await?, 0)?;
        for some in parts.chunks(PARTS_AT_ONCE) {
            applied(db.write(some.to_vec()).await?, usize::MAX)?;
        }
        // Once more: other lists may have come while this one was being written.
        writes.extend(room(&rule));
        let begin = "UPDATE risk_rules SET begun_at = $2 WHERE id = $1 AND begun_at IS NULL AND removed_at IS NULL";
        writes.push(Stmt::new(begin, args![rule.id.as_str(), author.now]).exactly(1));
    } else {
        writes.extend(room(&rule));
        writes.push(insert);
        writes.extend(parts);
    }
    if matches!(rule.spec, Spec::CardTesting(_)) {
        writes.extend(replaced(author, &rule));
    }
    writes.push(Stmt::new(BUMP, vec![]));
    let detail = describe(&rule);
    let deed = Deed { who: author.who, action: "risk_rule.add", subject: &rule.id, detail: &detail };
    writes.push(deed.insert(author.now));
    writes.extend(last);
    match db.write(writes).await? {
        Written::GuardFailed(at) if at < before => Ok(Added::FirstFailed),
        written => applied(written, before).map(|()| Added::Rule(Box::new(rule))),
    }
}

/// `room`: where the statements of [`room`] begin.
fn applied(written: Written, room: usize) -> Result<(), Error> {
    let Written::GuardFailed(at) = written else {
        return match written {
            Written::Applied(_) => Ok(()),
            _ => Err(unconfirmed()),
        };
    };
    let (field, message) = match at.checked_sub(room) {
        Some(0) => ("kind", format!("There are {MOST_RULES} rules already: remove one first.")),
        Some(1) => ("entries", format!("All lists together may have {MOST_ENTRIES} entries: remove a list first.")),
        Some(2) => ("kind", format!("The merchant has {MOST_COUNTING} rules that count already: remove one first.")),
        _ => return Err(unconfirmed()),
    };
    Err(Error::field(field, "too_many", &message))
}

fn unconfirmed() -> Error {
    Error::internal("the database did not confirm the change: list the rules and try again")
}

fn named(random: &Random, author: &Author<'_>, draft: Draft) -> Rule {
    let word: String = random.bytes::<12>().iter().map(|byte| format!("{byte:02x}")).collect();
    Rule {
        number: 0,
        id: format!("rule_{word}"),
        caller: author.caller,
        merchant: draft.merchant,
        effect: draft.effect,
        score: draft.score,
        spec: draft.spec,
        entries: i64::try_from(draft.list.len()).unwrap_or(i64::MAX),
        list: draft.list,
        created_at: author.now,
    }
}

/// Whether one more fits: guards for the number of rules, for what their lists take in memory, and for how many rows each
/// charge of a merchant writes.
fn room(rule: &Rule) -> [Stmt; 3] {
    let rules = "SELECT CAST(1 AS BIGINT) WHERE (SELECT COUNT(*) FROM risk_rules WHERE entity_id = $1 AND live = $2 \
                 AND removed_at IS NULL AND begun_at IS NOT NULL) < $3";
    let entries = "SELECT CAST(1 AS BIGINT) WHERE (SELECT CAST(COALESCE(SUM(entries), 0) AS BIGINT) FROM risk_rules \
                   WHERE entity_id = $1 AND live = $2 AND removed_at IS NULL AND begun_at IS NOT NULL) <= $3";
    let counting = "SELECT CAST(1 AS BIGINT) WHERE (SELECT COUNT(*) FROM risk_rules WHERE entity_id = $1 AND live = $2 \
                    AND merchant_id = $3 AND kind IN ('card_velocity', 'ip_velocity', 'refund_volume') \
                    AND removed_at IS NULL AND begun_at IS NOT NULL) < $4";
    let Caller { entity, live } = rule.caller;
    // A rule that does not count asks about the rules of nobody.
    let counts = matches!(rule.spec, Spec::CardVelocity(_) | Spec::IpVelocity(_) | Spec::RefundVolume(_));
    let merchant = rule.merchant.as_deref().filter(|_| counts).unwrap_or_default();
    [
        Stmt::new(rules, args![entity, live, MOST_RULES]).exactly(1),
        Stmt::new(entries, args![entity, live, MOST_ENTRIES.saturating_sub(rule.entries)]).exactly(1),
        Stmt::new(counting, args![entity, live, merchant, MOST_COUNTING]).exactly(1),
    ]
}

/// Settings take the place of earlier ones for good: an `off` of long ago must not be in force again when they are removed.
fn replaced(author: &Author<'_>, rule: &Rule) -> [Stmt; 2] {
    let note = "INSERT INTO audit_log (at, who, action, subject, detail) SELECT CAST($4 AS BIGINT), CAST($5 AS TEXT), \
                'risk_rule.remove', id, CAST($6 AS TEXT) FROM risk_rules WHERE entity_id = $1 AND live = $2 AND id <> $3 \
                AND kind = 'card_testing' AND removed_at IS NULL AND begun_at IS NOT NULL";
    let remove = "UPDATE risk_rules SET removed_at = $4 WHERE entity_id = $1 AND live = $2 AND id <> $3 \
                  AND kind = 'card_testing' AND removed_at IS NULL AND begun_at IS NOT NULL";
    let Caller { entity, live } = author.caller;
    let detail = format!("replaced by {}", rule.id);
    [
        Stmt::new(note, args![entity, live, rule.id.as_str(), author.now, author.who, detail]),
        Stmt::new(remove, args![entity, live, rule.id.as_str(), author.now]),
    ]
}

fn insert(rule: &Rule, begun_at: Option<Millis>) -> Result<Stmt, Error> {
    let spec = serde_json::to_string(&rule.spec).map_err(Error::internal)?;
    Ok(Stmt::new(
        "INSERT INTO risk_rules (id, entity_id, live, merchant_id, kind, effect, score, spec, entries, created_at, \
         begun_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        args![
            rule.id.as_str(),
            rule.caller.entity,
            rule.caller.live,
            rule.merchant.as_deref(),
            rule.spec.kind(),
            rule.effect as i64,
            rule.score,
            spec,
            rule.entries,
            rule.created_at,
            begun_at
        ],
    ))
}

fn parts(rule: &Rule) -> Vec<Stmt> {
    if rule.list.is_empty() {
        return Vec::new();
    }
    let sql = "INSERT INTO risk_lists (rule_number, part, data) \
               SELECT number, CAST($2 AS BIGINT), CAST($3 AS {bytes}) FROM risk_rules WHERE id = $1";
    let part = |(number, data): (usize, &[u8])| {
        Stmt::new(sql, args![rule.id.as_str(), i64::try_from(number).unwrap_or(i64::MAX), data]).exactly(1)
    };
    rule.list.pack().chunks(PART).enumerate().map(part).collect()
}

/// For the audit log: no entry of a list.
fn describe(rule: &Rule) -> String {
    let merchant = rule.merchant.as_deref().unwrap_or("all merchants");
    let mode = if rule.caller.live { "live" } else { "test" };
    let spec = match &rule.spec {
        Spec::IpBlock | Spec::IpAllow | Spec::BinBlock | Spec::PanBlock => format!("{} entries", rule.entries),
        spec => serde_json::to_string(spec).unwrap_or_default(),
    };
    let (kind, effect) = (rule.spec.kind(), rule.effect.name());
    format!("{kind} {effect} for {merchant} of entity {}, {mode}: {spec}", rule.caller.entity)
}

/// `false` when there is no such rule of this entity and mode in force.
pub async fn remove(db: &Db, author: &Author<'_>, id: &str) -> Result<bool, Error> {
    let sql = "UPDATE risk_rules SET removed_at = $4 WHERE id = $1 AND entity_id = $2 AND live = $3 \
               AND removed_at IS NULL AND begun_at IS NOT NULL";
    let remove = Stmt::new(sql, args![id, author.caller.entity, author.caller.live, author.now]).exactly(1);
    let deed = Deed { who: author.who, action: "risk_rule.remove", subject: id, detail: "" };
    match db.write(vec![remove, Stmt::new(BUMP, vec![]), deed.insert(author.now)]).await? {
        Written::Applied(_) => Ok(true),
        Written::GuardFailed(_) => Ok(false),
        Written::Ambiguous => Err(Error::internal("the database was lost while a rule was being removed: try again")),
    }
}

/// Forgets what nobody will ask for again: windows and volumes past their time, the lists of removed rules, and lists that
/// were never finished. One small write of each; whether there may be more.
pub async fn forget(db: &Db, now: Millis) -> Result<bool, Error> {
    let windows = "DELETE FROM risk_windows WHERE id IN (SELECT id FROM risk_windows WHERE expires_at <= $1 \
                   ORDER BY expires_at LIMIT $2) AND expires_at <= $1 RETURNING CAST(1 AS BIGINT)";
    let volumes = "DELETE FROM risk_volumes WHERE (rule_number, period) IN (SELECT rule_number, period \
                   FROM risk_volumes WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2) RETURNING CAST(1 AS BIGINT)";
    let lists = "DELETE FROM risk_lists WHERE (rule_number, part) IN (SELECT l.rule_number, l.part FROM risk_lists l \
                 JOIN risk_rules r ON r.number = l.rule_number WHERE r.removed_at IS NOT NULL \
                 OR (r.begun_at IS NULL AND r.created_at <= $1) ORDER BY l.rule_number, l.part LIMIT $2) \
                 RETURNING CAST(1 AS BIGINT)";
    let day_before = now - 24 * 60 * 60 * 1000;
    let parts = i64::try_from(PARTS_AT_ONCE).unwrap_or(i64::MAX);
    let mut more = false;
    for (sql, before, limit) in
        [(windows, now, FORGOTTEN_AT_ONCE), (volumes, now, FORGOTTEN_AT_ONCE), (lists, day_before, parts)]
    {
        if let Written::Applied(rows) = db.write(vec![Stmt::new(sql, args![before, limit])]).await? {
            more |= i64::try_from(rows.len()).unwrap_or(0) >= limit;
        }
    }
    Ok(more)
}
