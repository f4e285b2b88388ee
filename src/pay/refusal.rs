//! A refusal that is recorded (contract section 10): it begins and ends in one write, before any bank is asked. Every one of
//! them, of a charge or of what follows it, is written here.

use super::idempotency::Claim;
use super::transaction::{State, Transaction};
use super::{Answer, envelope, links, outcome, store};
use crate::app::App;
use crate::codes::Code;
use crate::db::{Stmt, Written};
use crate::directory::Merchant;
use crate::error::Error;

/// As a rule or a balance refuses it, before the bank is asked.
pub fn refused(draft: Transaction, code: Code) -> Transaction {
    Transaction {
        state: State::Declined,
        settle_after: None,
        code: Some(code),
        response_code: code.meaning().response_code,
        auth_code: None,
        ..draft
    }
}

/// Who asked for what is refused.
pub struct Refusal<'a> {
    pub app: &'a App,
    pub merchant: &'a Merchant,
    pub request_id: &'a str,
    pub claim: Option<&'a Claim>,
    /// What was to follow it.
    pub parent: Option<&'a Transaction>,
    /// What else is written with it.
    pub rows: Vec<Stmt>,
}

impl Refusal<'_> {
    /// The key's final answer. `None` when another request has taken the key. No card is kept.
    pub async fn record(self, draft: Transaction, code: Code) -> Result<Option<Answer>, Error> {
        let refused = refused(draft, code);
        let answer = envelope::answer(&refused, self.merchant, self.request_id);
        let mut writes = Vec::with_capacity(7);
        if let Some(link) = refused.details.link {
            writes.extend(links::refused(link, refused.id, self.app.time(refused.caller).await?));
        }
        if let Some(claim) = self.claim {
            writes.push(claim.insert(refused.id, self.app.clock.now()));
        }
        writes.push(store::insert(&refused, None)?);
        if let Some(claim) = self.claim {
            writes.push(claim.answered_at_once(refused.id, &answer));
        }
        writes.extend(self.rows);
        writes.extend(outcome::news(self.app, &refused, self.parent));
        match self.app.db.write(writes).await? {
            Written::Applied(rows) => {
                self.app.nudge.notify_one();
                let reference = rows.last().map_or(Ok(0), |row| row.int(0))?;
                let kind = refused.kind.name();
                tracing::info!(transaction = %refused.id, kind, code = code.name(), request = self.request_id, "refused");
                metrics::counter!("fuda_transactions_total", "kind" => kind, "state" => "REFUSED").increment(1);
                Ok(Some(answer.with_reference(reference)))
            }
            Written::GuardFailed(0) if refused.details.link.is_some() => Err(Error::new(Code::Err1014)),
            Written::GuardFailed(_) => Ok(None),
            Written::Ambiguous => Err(Error::internal("the database was lost while a refusal was being written")),
        }
    }
}
