//! Subscriptions: what is due when (contract section 7). Below `pay`, which charges what is due.

pub mod calendar;
