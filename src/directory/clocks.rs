//! The entities' test clocks (contract section 7). Which entities have one stands in memory with the directory, so that nobody
//! else pays a look; how far one is ahead is read each time.

use super::{BUMP, Caller, Directory, REFRESH_MS, entity};
use crate::clock::Millis;
use crate::db::{Stmt, Written, args};
use crate::error::Error;
use crate::id::EntityId;
use std::collections::HashSet;

/// How long a new clock stands still on an engine that several processes share, milliseconds: by then every process has read
/// that it is there, and what it had begun before that is written.
const SETTLES_MS: Millis = REFRESH_MS as Millis + 1_100;

impl Directory {
    /// Test keys alone.
    pub fn has_clock(&self, caller: Caller) -> bool {
        !caller.live && self.snapshot().clocks.contains(&caller.entity)
    }

    /// What the entity's clock was moved in all, milliseconds.
    pub async fn ahead(&self, entity: EntityId) -> Result<Millis, Error> {
        let sql = "SELECT ahead_ms FROM test_clocks WHERE entity_id = $1";
        self.db.rows(sql, args![entity]).await?.first().map_or(Ok(0), |row| row.int(0))
    }

    /// Begins the entity's clock, if it has none. How long it must stand still until every process knows of it, milliseconds:
    /// nobody can move it before. `now` is the database's time.
    pub async fn begin_clock(&self, entity: EntityId, now: Millis) -> Result<Millis, Error> {
        if self.has_clock(Caller { entity, live: false }) {
            return Ok(0);
        }
        // One process alone serves a file.
        let still = if self.db.is_sqlite() { 0 } else { SETTLES_MS };
        let insert = "INSERT INTO test_clocks (entity_id, ahead_ms, moving_until) VALUES ($1, 0, $2) \
                      ON CONFLICT (entity_id) DO NOTHING";
        let writes = vec![Stmt::new(insert, args![entity, now + still]).exactly(1), Stmt::new(BUMP, vec![])];
        let written = self.db.write(writes).await?;
        self.read().await?;
        match written {
            Written::Applied(_) => Ok(still),
            // Another process has: its row says when.
            Written::GuardFailed(_) => Ok(0),
            Written::Ambiguous => Err(Error::internal("the database was lost while a test clock was being made")),
        }
    }

    pub(super) async fn clocks(&self) -> Result<HashSet<EntityId>, Error> {
        let rows = self.db.rows("SELECT entity_id FROM test_clocks", vec![]).await?;
        rows.iter().map(|row| entity(row, 0)).collect()
    }

    /// All entities with a clock.
    pub fn clocked(&self) -> Vec<EntityId> {
        self.snapshot().clocks.iter().copied().collect()
    }
}
