//! A subscription as answers show it (contract section 7).

use super::transaction::Transaction;
use crate::clock::{Millis, timestamp};
use crate::id::{SubscriptionId, TransactionId};
use crate::money::Money;
use crate::subscription::{End, Status, Subscription};
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Clone, Serialize, ToSchema)]
pub struct SubscriptionDetails {
    #[schema(value_type = String)]
    pub id: SubscriptionId,
    /// `CYCLE`, `FOREVER` or `DATE`.
    pub r#type: &'static str,
    /// Of the type `CYCLE`.
    pub max_cycle_count: Option<i64>,
    /// `ACTIVE`, `PAUSED`, `PAST_DUE`, `CANCELLED` or `EXPIRED` (all cycles are done).
    pub status: &'static str,
    pub completed_payment_cycle: i64,
    /// `SUCCESSFUL` or `NOTSUCCESSFUL`; null before the first payment. Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, required = false)]
    pub last_payment_status: Option<Option<&'static str>>,
    /// When a payment is due, or tried again; null after the end.
    pub next_payment_date: Option<String>,
    pub next_payment_cycle: Option<i64>,
    pub subscription_plan_details: PlanDetails,
    /// The payments in their order: the newest 1,000, in lists the newest 20.
    pub subscription_transaction_details: Vec<ChargeDetails>,
}

#[derive(Clone, Serialize, ToSchema)]
pub struct PlanDetails {
    pub name: String,
    pub desc: Option<String>,
    /// `DAYS`, `WEEKLY`, `MONTHLY` or `YEARLY`.
    pub billing_cycle_type: &'static str,
    pub billing_cycle_interval: i64,
    /// Of a cycle without discount, major units.
    #[schema(value_type = f64, example = 1000)]
    pub amount: Money,
    pub ccy: &'static str,
    /// A number; an empty text where there is no trial.
    pub trial_period_duration: TrialDuration,
    /// `NONE` where there is no trial.
    pub trial_period_duration_type: &'static str,
    pub plan_discount_percentage: Option<i64>,
    /// How many of the first cycles.
    pub plan_discount_duration: Option<i64>,
}

#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(untagged)]
pub enum TrialDuration {
    Units(i64),
    None(&'static str),
}

#[derive(Clone, Serialize, ToSchema)]
pub struct ChargeDetails {
    #[schema(value_type = String)]
    pub id: TransactionId,
    pub r#ref: i64,
    pub cycle: i64,
    /// `SUCCESSFUL` or `NOTSUCCESSFUL`.
    pub status: &'static str,
    pub transaction_date: String,
    #[schema(value_type = f64, example = 900)]
    pub amount: Money,
    pub ccy: &'static str,
    /// `CAPTURED` or `DECLINED`.
    pub event: &'static str,
}

/// A payment of a subscription with a known result.
#[derive(Clone)]
pub struct Charged {
    pub id: TransactionId,
    pub reference: i64,
    pub cycle: i64,
    pub paid: bool,
    pub at: Millis,
    pub money: Money,
}

impl Charged {
    pub fn of(charge: &Transaction, cycle: i64) -> Charged {
        let (id, reference, at) = (charge.id, charge.reference, charge.created_at);
        Charged { id, reference, cycle, paid: charge.state.succeeded(), at, money: charge.money }
    }

    fn view(&self) -> ChargeDetails {
        ChargeDetails {
            id: self.id,
            r#ref: self.reference,
            cycle: self.cycle,
            status: outcome(self.paid),
            transaction_date: timestamp(self.at),
            amount: self.money,
            ccy: self.money.currency.code(),
            event: if self.paid { "CAPTURED" } else { "DECLINED" },
        }
    }
}

fn outcome(paid: bool) -> &'static str {
    if paid { "SUCCESSFUL" } else { "NOTSUCCESSFUL" }
}

pub fn details(one: &Subscription, charges: &[Charged]) -> SubscriptionDetails {
    let (r#type, max_cycle_count) = match one.terms.end {
        End::Cycles(most) => ("CYCLE", Some(most)),
        End::Forever => ("FOREVER", None),
        End::Until(_) => ("DATE", None),
    };
    let over = matches!(one.status, Status::Cancelled | Status::Expired);
    SubscriptionDetails {
        id: one.id,
        r#type,
        max_cycle_count,
        status: one.status.name(),
        completed_payment_cycle: one.completed,
        last_payment_status: Some(one.last_paid.map(outcome)),
        next_payment_date: one.due_at.filter(|_| !over).map(timestamp),
        next_payment_cycle: (!over).then(|| one.cycle()),
        subscription_plan_details: plan(one),
        subscription_transaction_details: charges.iter().map(Charged::view).collect(),
    }
}

fn plan(one: &Subscription) -> PlanDetails {
    let terms = &one.terms;
    PlanDetails {
        name: terms.plan_name.clone(),
        desc: terms.plan_desc.clone(),
        billing_cycle_type: terms.unit.name(),
        billing_cycle_interval: terms.interval,
        amount: one.money,
        ccy: one.money.currency.code(),
        trial_period_duration: terms.trial.map_or(TrialDuration::None(""), |trial| TrialDuration::Units(trial.length)),
        trial_period_duration_type: terms.trial.map_or("NONE", |trial| trial.unit.name()),
        plan_discount_percentage: terms.discount.map(|discount| discount.percentage),
        plan_discount_duration: terms.discount.map(|discount| discount.cycles),
    }
}
