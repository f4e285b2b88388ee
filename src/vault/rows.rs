//! The keys in the database, each wrapped by the master key and bound to its purpose and number (PCI DSS 3.6.1, 3.7).

use super::keys::{Cipher, Key};
use crate::clock::Clock;
use crate::db::{Db, Row, Stmt, Written, args};
use crate::error::Error;
use crate::random::Random;

/// What each key in `vault_keys` is for; at the first start one of each is made, in this order from id 1 on.
pub const DATA: &str = "data";
pub const FINGERPRINT: &str = "fingerprint";
pub const CREDENTIAL: &str = "credential";
pub const REQUEST: &str = "request";
const PURPOSES: [&str; 4] = [DATA, FINGERPRINT, CREDENTIAL, REQUEST];

/// How often a new key's number may be taken by another process before we give up: people rotate, not programs.
const RACES: usize = 8;

pub struct KeyRow {
    pub id: i64,
    pub purpose: String,
    pub wrapped: Vec<u8>,
}

impl KeyRow {
    fn new(id: i64, purpose: &str, key: &Key, master: &Cipher, random: &Random) -> Result<KeyRow, Error> {
        let wrapped = master.seal(random, &label(id, purpose), key.bytes())?;
        Ok(KeyRow { id, purpose: purpose.to_owned(), wrapped })
    }

    pub fn unwrap(&self, master: &Cipher) -> Result<Key, Error> {
        master.open_key(&label(self.id, &self.purpose), &self.wrapped)
    }

    fn insert(&self, clock: &Clock) -> Stmt {
        Stmt::new(
            "INSERT INTO vault_keys (id, purpose, wrapped, created_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (id) DO NOTHING",
            args![self.id, self.purpose.as_str(), self.wrapped.clone(), clock.now()],
        )
        .exactly(1)
    }
}

fn label(id: i64, purpose: &str) -> Vec<u8> {
    format!("fuda key 1/{id}/{purpose}").into_bytes()
}

pub async fn read(db: &Db) -> Result<Vec<KeyRow>, Error> {
    let rows = db.rows("SELECT id, purpose, wrapped FROM vault_keys ORDER BY id", vec![]).await?;
    let read =
        |row: &Row| Ok(KeyRow { id: row.int(0)?, purpose: row.text(1)?.to_owned(), wrapped: row.bytes(2)?.to_vec() });
    rows.iter().map(read).collect()
}

/// One of each, all or none, and what stands there then: a process that was faster has made them.
pub async fn create(db: &Db, master: &Cipher, clock: &Clock, random: &Random) -> Result<Vec<KeyRow>, Error> {
    let mut writes = Vec::new();
    for (id, purpose) in (1..).zip(PURPOSES) {
        writes.push(KeyRow::new(id, purpose, &Key::new(random), master, random)?.insert(clock));
    }
    // Also after an unknown end the rows tell what happened.
    db.write(writes).await?;
    let rows = read(db).await?;
    if rows.is_empty() {
        return Err(Error::internal("the database was lost while its keys were being made: start again"));
    }
    Ok(rows)
}

/// One more data key, durable before anybody uses it: a record under a key that is lost would never open again.
pub async fn add_data_key(db: &Db, master: &Cipher, clock: &Clock, random: &Random) -> Result<(i64, Key), Error> {
    let key = Key::new(random);
    for _ in 0..RACES {
        let id = read(db).await?.iter().map(|row| row.id).max().unwrap_or(0) + 1;
        let row = KeyRow::new(id, DATA, &key, master, random)?;
        match db.write(vec![row.insert(clock)]).await? {
            Written::Applied(_) => return Ok((id, key)),
            Written::Ambiguous => {
                if read(db).await?.iter().any(|found| found.id == id && found.wrapped == row.wrapped) {
                    return Ok((id, key));
                }
            }
            Written::GuardFailed(_) => {}
        }
    }
    Err(Error::internal("no new data key was made: other processes took each number first; try again"))
}
