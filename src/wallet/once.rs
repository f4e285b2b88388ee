//! A token is charged once (Google: `messageId`; Apple: what it has signed): a row in the intent's write, so that of two that
//! come together one wins, in whichever process.

use super::{Opened, Wallet};
use crate::clock::Millis;
use crate::db::{Db, Stmt, Written, args};
use crate::error::Error;
use crate::vault::Vault;

/// How much longer than its token a row is kept, milliseconds: the clocks of several processes differ.
const MARGIN_MS: Millis = 60 * 60 * 1000;

/// How many rows one round of forgetting takes.
const FORGOTTEN_AT_ONCE: i64 = 1_000;

pub struct Once {
    digest: [u8; 32],
    expires_at: Millis,
}

impl Once {
    /// Of whichever merchant: nobody's payment is taken twice because two of them share a set-up.
    pub fn of(vault: &Vault, live: bool, wallet: Wallet, opened: &Opened) -> Once {
        let digest = vault.request_digest(&[b"wallet", wallet.name().as_bytes(), &[u8::from(live)], &opened.once]);
        Once { digest, expires_at: opened.expires_at }
    }

    /// Part of the intent's write: touches no row when the token was charged before.
    pub fn insert(&self) -> Stmt {
        let sql = "INSERT INTO wallet_tokens (digest, expires_at) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING";
        Stmt::new(sql, args![self.digest, self.expires_at]).exactly(1)
    }

    /// Whether it was charged before: asked before anybody else is. The judge is [`Once::insert`].
    pub async fn seen(&self, db: &Db) -> Result<bool, Error> {
        Ok(!db.rows("SELECT 1 FROM wallet_tokens WHERE digest = $1", args![self.digest]).await?.is_empty())
    }

    /// Part of the write that ends a charge that was never sent: the same token may be sent again.
    pub fn give_back(&self) -> Stmt {
        Stmt::new("DELETE FROM wallet_tokens WHERE digest = $1", args![self.digest])
    }
}

/// Forgets tokens that do not open any more. `true` when there may be more of them.
pub async fn forget(db: &Db, now: Millis) -> Result<bool, Error> {
    let sql = "DELETE FROM wallet_tokens WHERE digest IN \
               (SELECT digest FROM wallet_tokens WHERE expires_at < $1 ORDER BY expires_at LIMIT $2) RETURNING expires_at";
    match db.write(vec![Stmt::new(sql, args![now - MARGIN_MS, FORGOTTEN_AT_ONCE])]).await? {
        Written::Applied(rows) => Ok(!rows.is_empty()),
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{Durability, MIGRATIONS};
    use crate::random::Random;

    #[tokio::test]
    async fn forgotten_when_it_does_not_open_any_more() {
        let number = u64::from_le_bytes(Random::system().bytes());
        let folder = std::env::temp_dir().join(format!("fuda_once_{number}"));
        std::fs::create_dir(&folder).unwrap();
        let db = Db::open_sqlite(&folder.join("o.db"), Durability::Off).unwrap();
        db.migrate(MIGRATIONS).await.unwrap();
        let once = |byte, expires_at| Once { digest: [byte; 32], expires_at };
        let taken = async |once: &Once| matches!(db.write(vec![once.insert()]).await.unwrap(), Written::GuardFailed(0));
        let (first, second) = (once(1, 5_000), once(2, 6_000));
        assert!(!taken(&first).await && !taken(&second).await);
        assert!(taken(&first).await);
        assert!(!forget(&db, 5_000 + MARGIN_MS).await.unwrap());
        assert!(taken(&first).await);
        assert!(forget(&db, 5_001 + MARGIN_MS).await.unwrap());
        assert!(!taken(&first).await && taken(&second).await);
        db.write(vec![second.give_back()]).await.unwrap();
        assert!(!taken(&second).await);
        db.close().await;
        std::fs::remove_dir_all(folder).unwrap();
    }
}
