//! The secrets that webhooks are signed with: one for each entity and mode, sealed in the vault. While one is being changed
//! the one before signs too, so that a merchant changes its side in its own time.

use super::sign::Secret;
use crate::audit::Deed;
use crate::clock::Millis;
use crate::db::{Db, Row, Stmt, Written, args};
use crate::directory::{Caller, new_webhook_secret};
use crate::error::Error;
use crate::random::Random;
use crate::vault::{Bound, Owner, Sealed, Vault};

/// The columns that [`read`] takes, of a row `s` of `webhook_secrets`; seven.
macro_rules! columns {
    () => {
        "s.key_id, s.wrapped_key, s.sealed, s.before_key_id, s.before_wrapped_key, s.before_sealed, s.before_until"
    };
}
pub(super) use columns;

fn bound(caller: Caller) -> Bound {
    Bound { entity: caller.entity, live: caller.live, owner: Owner::WebhookSecret }
}

/// What signs at `now`, the newest first. Empty for an entity that has no secret in this mode.
pub(super) async fn read(
    (db, vault): (&Db, &Vault),
    caller: Caller,
    row: &Row,
    first: usize,
    now: Millis,
) -> Result<Vec<Secret>, Error> {
    let mut secrets = Vec::with_capacity(2);
    for (place, in_force) in [(first, true), (first + 3, row.opt_int(first + 6)?.is_some_and(|until| now < until))] {
        let Some(key_id) = row.opt_int(place)?.filter(|_| in_force) else { continue };
        let sealed =
            Sealed { key_id, wrapped_key: row.bytes(place + 1)?.to_vec(), ciphertext: row.bytes(place + 2)?.to_vec() };
        if !vault.knows(key_id) {
            vault.refresh(db).await?;
        }
        let text = vault.open_text(&bound(caller), &sealed)?;
        secrets.push(Secret::parse(&text).ok_or_else(|| Error::internal("a webhook secret is not one"))?);
    }
    Ok(secrets)
}

/// What signs for this caller at `now`.
pub async fn of(db: &Db, vault: &Vault, caller: Caller, now: Millis) -> Result<Vec<Secret>, Error> {
    let sql = concat!("SELECT ", columns!(), " FROM webhook_secrets s WHERE s.entity_id = $1 AND s.live = $2");
    let rows = db.rows(sql, args![caller.entity, caller.live]).await?;
    match rows.first() {
        Some(row) => read((db, vault), caller, row, 0, now).await,
        None => Ok(Vec::new()),
    }
}

/// Makes a new secret, or the first one; the old one signs too until `until`. When one is being changed already, the secret of
/// that change is taken for lost: the one before it stays. The new one, in the form that is shown once.
pub async fn rotate(
    (db, vault): (&Db, &Vault),
    caller: Caller,
    (now, until): (Millis, Millis),
    who: &str,
    random: &Random,
) -> Result<String, Error> {
    let text = new_webhook_secret(random);
    let sealed = vault.seal_text(&bound(caller), &text)?;
    let write = Stmt::new(
        "INSERT INTO webhook_secrets (entity_id, live, key_id, wrapped_key, sealed, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (entity_id, live) DO UPDATE SET \
         before_key_id = CASE WHEN $6 < webhook_secrets.before_until AND $6 < $7 THEN webhook_secrets.before_key_id \
         ELSE webhook_secrets.key_id END, \
         before_wrapped_key = CASE WHEN $6 < webhook_secrets.before_until AND $6 < $7 \
         THEN webhook_secrets.before_wrapped_key ELSE webhook_secrets.wrapped_key END, \
         before_sealed = CASE WHEN $6 < webhook_secrets.before_until AND $6 < $7 THEN webhook_secrets.before_sealed \
         ELSE webhook_secrets.sealed END, before_until = $7, key_id = $3, wrapped_key = $4, sealed = $5, \
         created_at = $6",
        args![caller.entity, caller.live, sealed.key_id, sealed.wrapped_key, sealed.ciphertext, now, until],
    );
    let (subject, mode) = (caller.entity.to_string(), if caller.live { "live" } else { "test" });
    let detail = format!("{mode}; the one before signs until {}", crate::clock::timestamp(until));
    let deed = Deed { who, action: "webhook_secret.rotate", subject: &subject, detail: &detail };
    match db.write(vec![write.exactly(1), deed.insert(now)]).await? {
        Written::Applied(_) => Ok(text),
        Written::GuardFailed(_) | Written::Ambiguous => {
            Err(Error::internal("the database did not confirm the new secret: rotate once more"))
        }
    }
}
