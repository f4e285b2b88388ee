//! What a stored transaction still tells, for `fuda rule test`. Pure.

use super::rule::{Rule, Spec};
use super::{is_allowed, looked_at};
use crate::money::Money;
use std::net::IpAddr;

/// How `fuda rule test` knows what a rule would have refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// A charge's row has all that the rule looks at.
    Row,
    /// The row has the first six digits only: of longer BINs, and of charges before the rule, it cannot tell.
    FirstSix,
    /// Only what the rule itself noted: charges before it are not known.
    Noted,
}

impl Basis {
    pub fn name(self) -> &'static str {
        match self {
            Basis::Row => "asked of each row again",
            Basis::FirstSix => "asked of each row's first six digits; longer BINs as noted since the rule was added",
            Basis::Noted => "as noted since the rule was added: the rows do not keep what it looks at",
        }
    }
}

/// What a charge's row still tells.
pub struct Stored<'a> {
    pub money: Money,
    pub first_six: &'a str,
    pub ip: Option<IpAddr>,
}

impl Rule {
    pub fn basis(&self) -> Basis {
        match &self.spec {
            Spec::MaxAmount { .. } | Spec::MinAmount { .. } | Spec::IpBlock | Spec::IpAllow => Basis::Row,
            Spec::BinBlock => Basis::FirstSix,
            _ => Basis::Noted,
        }
    }

    /// Else of refunds.
    pub fn is_of_charges(&self) -> bool {
        !matches!(self.spec, Spec::RefundVolume(_))
    }

    /// What the row alone tells; see [`Rule::basis`]. `all`: the rules in force.
    pub fn would_fire(&self, all: &[Rule], stored: &Stored<'_>) -> bool {
        looked_at(self, stored.money, stored.ip, stored.first_six) && !is_allowed(all.iter(), self, stored.ip)
    }
}
