//! What a later message is about: the charge or capture as its acquirer knows it.

use super::attempts::{self, Sent};
use super::store;
use super::transaction::{Kind, Transaction};
use crate::acquirer::{Asked, Original};
use crate::app::App;
use crate::card::{Expiry, Pan};
use crate::error::Error;
use crate::money::Money;
use crate::vault::{Bound, Owner};

pub struct Referred {
    reference: String,
    /// Its message: what follows goes the same way.
    pub sent: Sent,
    asked: Asked,
    money: Money,
    auth_code: Option<String>,
    network_transaction_id: Option<String>,
    card: Option<(Pan, Expiry)>,
}

impl Referred {
    /// # Errors
    /// ERR1015: this process knows nothing of its acquirer.
    pub async fn to(app: &App, transaction: &Transaction) -> Result<Referred, Error> {
        let sent = attempts::sent(app, transaction).await?;
        let card = if sent.line.abilities().names_cards { card(app, transaction).await? } else { None };
        Ok(Referred {
            reference: transaction.id.to_string(),
            sent,
            asked: asked(transaction),
            money: transaction.money,
            auth_code: transaction.auth_code.clone(),
            network_transaction_id: transaction.network_transaction_id.clone(),
            card,
        })
    }

    pub fn original(&self) -> Original<'_> {
        Original {
            reference: &self.reference,
            asked: self.asked,
            trace: self.sent.trace.as_ref(),
            money: self.money,
            auth_code: self.auth_code.as_deref(),
            network_transaction_id: self.network_transaction_id.as_deref(),
            card: self.card.as_ref().map(|(pan, expiry)| (pan, *expiry)),
        }
    }
}

fn asked(transaction: &Transaction) -> Asked {
    match (transaction.kind, transaction.is_charge()) {
        (Kind::PreAuth, _) if transaction.money.minor == 0 => Asked::Verification,
        (Kind::PreAuth, _) => Asked::Authorization,
        (Kind::Capture, true) => Asked::Purchase,
        (Kind::Capture, false) => Asked::Capture,
        (Kind::Refund | Kind::Void, _) => Asked::Other,
    }
}

/// Its charge's own card, while it is kept.
async fn card(app: &App, transaction: &Transaction) -> Result<Option<(Pan, Expiry)>, Error> {
    let charge = transaction.parent.unwrap_or(transaction.id);
    let Some(sealed) = store::sealed(&app.db, charge).await? else { return Ok(None) };
    if !app.vault.knows(sealed.key_id) {
        app.vault.refresh(&app.db).await?;
    }
    let caller = transaction.caller;
    let bound = Bound { entity: caller.entity, live: caller.live, owner: Owner::Transaction(charge) };
    Ok(Some((app.vault.open_pan(&bound, &sealed)?, transaction.expiry)))
}
