//! Fuda: a card payment gateway with a token vault. The modules stand in the order in which a charge meets them; imports
//! go down this list, never up (`tests/layers.rs`, by the ranks in it).

// Request in.
pub mod http;
// What cardholders see.
pub mod page;
// The payment.
pub mod pay;
// What every flow is given.
pub mod app;
// What was agreed for later, and when that is.
pub mod subscription;
// May it go on? Is it the cardholder? Does the account's holder agree? What does a wallet's token hold?
pub mod consent;
pub mod risk;
pub mod threeds;
pub mod wallet;
// Ask the bank; keep the card; who may call; write it down; tell the merchant; what happens later; what people did by hand;
// what a number's first digits tell.
pub mod acquirer;
pub mod audit;
pub mod bins;
pub mod directory;
pub mod jobs;
pub mod ledger;
pub mod vault;
pub mod webhook;
// The only code that knows which engine is running.
pub mod db;
// The vocabulary: values, parsing, arithmetic. No I/O, no async.
pub mod acceptor;
pub mod address;
pub mod card;
pub mod clock;
pub mod codes;
pub mod error;
pub mod id;
pub mod json;
pub mod language;
pub mod money;
pub mod proxies;
pub mod random;
pub mod rate;
pub mod response_codes;
pub mod tls;
// The shell around it.
pub mod cli;
pub mod config;
pub mod telemetry;
