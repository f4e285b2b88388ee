//! An acquirer's own record: the sandbox bank's books, those of its host, or a CSV file.

use super::{Side, Span};
use crate::acquirer::sandbox::{Record as Operation, RecordKind, Sandbox};
use crate::card::contains_any_number;
use crate::db::Db;
use crate::error::Error;
use crate::id::TransactionId;
use crate::money::Currency;
use crate::pay::attempts;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::Path;

/// Where the acquirer's record is.
pub enum Record {
    Bank(Sandbox),
    File(HashMap<String, Operation>),
}

impl Record {
    pub async fn find(&self, reference: &str) -> Result<Option<Side>, Error> {
        let found = match self {
            Record::Bank(bank) => bank.record(reference).await?,
            Record::File(operations) => operations.get(reference).cloned(),
        };
        Ok(found.map(|one| Side {
            kind: one.kind.name(),
            amount_minor: one.amount_minor,
            currency: one.currency,
            ledger_minor: None,
        }))
    }
}

/// A CSV file's.
pub async fn of_file(db: &Db, acquirer: Option<&str>, path: &Path) -> Result<Record, Error> {
    let operations = read_file(path)?;
    Ok(Record::File(match acquirer {
        Some(name) => named_here(db, name, operations).await?,
        None => operations,
    }))
}

/// What came to the bank by its own host.
pub async fn of_host(db: &Db, acquirer: &str, bank: &Sandbox, span: &Span) -> Result<Record, Error> {
    let (mut operations, mut after) = (HashMap::new(), 0);
    while let (page, Some(last)) = bank.records(after, span.from, span.to).await? {
        after = last;
        for one in page {
            let Some(rrn) = one.rrn.clone() else { continue };
            // Twice under one number: the second is found by its own name, and nothing here goes by that.
            let name = if operations.contains_key(&rrn) { one.reference.clone() } else { rrn };
            operations.insert(name, one);
        }
    }
    if operations.is_empty() {
        return Err(Error::internal(
            "these books hold nothing that came by a host: name the file of `fuda sandbox-bank` by --sandbox-bank, or the \
             acquirer's own record by --file",
        ));
    }
    Ok(Record::File(named_here(db, acquirer, operations).await?))
}

/// By our own ids; what nothing of ours goes by keeps the acquirer's name, and is missing here. So does what is booked twice.
async fn named_here(
    db: &Db,
    acquirer: &str,
    operations: HashMap<String, Operation>,
) -> Result<HashMap<String, Operation>, Error> {
    let mut named = HashMap::with_capacity(operations.len());
    for (reference, operation) in &operations {
        let id = match TransactionId::parse(reference) {
            Some(_) => None,
            None => attempts::called(db, acquirer, reference).await?,
        };
        let ours = id.map(|id| id.to_string()).filter(|id| !named.contains_key(id) && !operations.contains_key(id));
        named.insert(ours.unwrap_or_else(|| reference.clone()), operation.clone());
    }
    Ok(named)
}

/// A line of the file; columns may stand in any order, and others are ignored.
#[derive(Deserialize)]
struct Line {
    reference: String,
    kind: String,
    amount: String,
    currency: String,
}

/// A bank's amounts may be longer than a request's, and 0.00.
fn minor(text: &str, currency: Currency) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let decimals = currency.decimals() as usize;
    let (kept, beyond) = fraction.split_at_checked(fraction.len().min(decimals))?;
    let good = !whole.is_empty() && digits(whole) && digits(fraction) && beyond.bytes().all(|byte| byte == b'0');
    good.then(|| format!("{whole}{kept:0<decimals$}").parse().ok())?
}

fn read_file(path: &Path) -> Result<HashMap<String, Operation>, Error> {
    let place = |line: usize| format!("{} line {line}", path.display());
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_path(path)
        .map_err(|error| Error::internal(format!("{}: {error}", path.display())))?;
    let headers = reader.headers().map_err(|error| Error::internal(format!("{}: {error}", path.display())))?;
    if let Some(missing) =
        ["reference", "kind", "amount", "currency"].iter().find(|name| !headers.iter().any(|one| one == **name))
    {
        return Err(Error::internal(format!(
            "{}: no column {missing}: the columns reference, kind, amount and currency are needed",
            path.display()
        )));
    }
    let mut operations = HashMap::new();
    for (index, line) in reader.deserialize::<Line>().enumerate() {
        // The header is line 1. The parser's own text would quote the line.
        let number = index + 2;
        let wrong = |what: &str| Error::internal(format!("{}: {what}", place(number)));
        let line = line.map_err(|_| wrong("the columns reference, kind, amount and currency are needed"))?;
        // It would be printed where the books differ.
        if TransactionId::parse(&line.reference).is_none() && contains_any_number(&line.reference) {
            return Err(wrong("the reference may be a card number"));
        }
        let currency = Currency::parse(&line.currency).ok_or_else(|| wrong("currency is no ISO 4217 code"))?;
        let amount_minor = minor(&line.amount, currency).ok_or_else(|| wrong("amount is not in major units"))?;
        let kind = RecordKind::parse(&line.kind).ok_or_else(|| wrong("kind is not one of those that --help lists"))?;
        let operation =
            Operation { reference: line.reference.clone(), kind, amount_minor, currency: line.currency, rrn: None };
        if operations.insert(line.reference, operation).is_some() {
            return Err(wrong("this reference stands twice"));
        }
    }
    Ok(operations)
}
