//! The table's rows: parts of one packed text, under a generation of their own. An import writes its parts beside those in
//! force, and one last write changes over: readers see the old table or the new one.

use super::table::Table;
use crate::audit::Deed;
use crate::clock::Millis;
use crate::db::{Db, Stmt, Written, args};
use crate::error::Error;

/// Bytes of one row.
const PART: usize = 64 * 1024;

/// Parts of one write, and of one read: some 2 MB.
const PARTS_AT_ONCE: usize = 32;

/// Who changes the table, for the audit log.
pub struct Change<'a> {
    pub who: &'a str,
    pub action: &'static str,
    pub detail: &'a str,
    pub now: Millis,
}

/// The generation in force, if it is not `known`; 0 before the first import.
pub async fn generation(db: &Db, known: i64) -> Result<Option<i64>, Error> {
    let rows = db.rows("SELECT generation FROM bin_table WHERE id = 1", vec![]).await?;
    let generation = rows.first().map_or(Ok(0), |row| row.int(0))?;
    Ok((generation != known).then_some(generation))
}

/// `None` when it is no longer the one in force: its parts may be gone.
pub async fn read(db: &Db, generation: i64) -> Result<Option<Table>, Error> {
    let sql = "SELECT r.part, r.data, t.parts FROM bin_table t JOIN bin_ranges r ON r.generation = t.generation \
               WHERE t.id = 1 AND t.generation = $1 AND r.part >= $2 ORDER BY r.part LIMIT $3";
    let mut bytes = Vec::new();
    let (mut next, mut parts) = (0, 1);
    let at_once = i64::try_from(PARTS_AT_ONCE).unwrap_or(1);
    while next < parts {
        let rows = db.rows(sql, args![generation, next, at_once]).await?;
        if rows.is_empty() {
            return match self::generation(db, generation).await? {
                Some(_) => Ok(None),
                None => Err(Error::internal("parts of the BIN table are missing: import its file again")),
            };
        }
        for row in rows {
            parts = row.int(2)?;
            bytes.extend_from_slice(row.bytes(1)?);
            next = row.int(0)? + 1;
        }
    }
    Table::decode(&bytes).map(Some)
}

pub async fn write(db: &Db, table: &Table, change: &Change<'_>) -> Result<i64, Error> {
    let draw = "UPDATE bin_table SET drawn = drawn + 1 WHERE id = 1 RETURNING drawn";
    let drawn = applied(db.write(vec![Stmt::new(draw, vec![]).exactly(1)]).await?)?;
    let generation = drawn.first().ok_or_else(|| Error::internal("the BIN table has no row"))?.int(0)?;
    let bytes = table.encode();
    let parts: Vec<&[u8]> = bytes.chunks(PART).collect();
    let insert = "INSERT INTO bin_ranges (generation, part, data) VALUES ($1, $2, $3)";
    let mut number = 0;
    for some in parts.chunks(PARTS_AT_ONCE) {
        let mut rows = Vec::with_capacity(some.len());
        for part in some {
            rows.push(Stmt::new(insert, args![generation, number, *part]));
            number += 1;
        }
        applied(db.write(rows).await?)?;
    }
    let deed = Deed { who: change.who, action: change.action, subject: "bins", detail: change.detail };
    let over = "UPDATE bin_table SET generation = $1, parts = $2 WHERE id = 1 AND generation < $1";
    let changed = db.write(vec![
        Stmt::new(over, args![generation, number]).exactly(1),
        // Also what an import left behind that did not come to its end.
        Stmt::new("DELETE FROM bin_ranges WHERE generation < $1", args![generation]),
        deed.insert(change.now),
    ]);
    match changed.await? {
        Written::GuardFailed(_) => {
            // Written after the other had looked for what was left behind.
            let own = Stmt::new("DELETE FROM bin_ranges WHERE generation = $1", args![generation]);
            applied(db.write(vec![own]).await?)?;
            Err(Error::internal("another import ended meanwhile, and its table is in force"))
        }
        written => applied(written).map(|_| generation),
    }
}

fn applied(written: Written) -> Result<Vec<crate::db::Row>, Error> {
    match written {
        Written::Applied(rows) => Ok(rows),
        Written::GuardFailed(_) | Written::Ambiguous => {
            Err(Error::internal("the database did not confirm the change: try again"))
        }
    }
}
