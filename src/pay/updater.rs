//! An expired card of a token: its issuer may have made a newer one (account updater).

use super::tokens;
use crate::app::App;
use crate::card::{Card, Expiry};
use crate::clock::Millis;
use crate::db::{Stmt, Written, args};
use crate::directory::Caller;
use crate::error::Error;
use crate::id::TokenId;

/// The acquirer is asked for a newer expiry of a token's card that is past at `now`; the token has it from then on, and `None`
/// is told where there is none. A charge need not wait for a service that is out of order: that is `None` too.
pub async fn renewed_expiry(
    app: &App,
    caller: Caller,
    card: &Card,
    token: TokenId,
    now: Millis,
) -> Result<Option<Expiry>, Error> {
    let Some(updater) = app.updater(caller.live).filter(|_| card.expiry.is_past(now)) else { return Ok(None) };
    let newer = match app.clock.within(updater.deadline_ms(), updater.newer(card)).await {
        Some(Ok(newer)) => newer,
        failed => {
            let cause = failed.and_then(Result::err).map_or("no answer in time".to_owned(), |e| e.cause().to_owned());
            tracing::error!(cause, %token, "the acquirer cannot be asked for a newer card");
            None
        }
    };
    // One that is past too would be declined like the old one.
    let Some(newer) = newer.filter(|newer| !newer.is_past(now)) else { return Ok(None) };
    let sql = "UPDATE tokens SET exp_month = $4, exp_year = $5 \
               WHERE id = $1 AND entity_id = $2 AND live = $3 AND exp_month = $6 AND exp_year = $7";
    let [(month, year), (old_month, old_year)] =
        [newer, card.expiry].map(|expiry| (i64::from(expiry.month), i64::from(expiry.year)));
    let args = args![token, caller.entity, caller.live, month, year, old_month, old_year];
    if let Written::GuardFailed(_) = app.db.write(vec![Stmt::new(sql, args).exactly(1)]).await? {
        // Changed meanwhile, by the merchant or another renewal of the same card: that stands. Or deleted.
        let sql = "SELECT exp_month, exp_year FROM tokens WHERE id = $1 AND entity_id = $2 AND live = $3";
        let rows = app.db.rows(sql, args![token, caller.entity, caller.live]).await?;
        let stands = rows.first().map(|row| tokens::expiry(row, 0)).transpose()?;
        return Ok(stands.filter(|expiry| !expiry.is_past(now)));
    }
    Ok(Some(newer))
}
