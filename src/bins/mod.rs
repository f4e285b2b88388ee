//! What the first digits of a card number tell: where the card is from, how it is funded, who issued it. An operator
//! imports a table (`fuda bin import`); a small one is built in. Both stand in memory, and every process reads an import
//! within a second, as it does a change of keys.

pub mod file;
mod store;
pub mod table;

use crate::card::{Pan, Scheme};
use crate::db::Db;
use crate::error::Error;
use std::sync::{Arc, PoisonError, RwLock};
use table::{Stretch, Table};

/// The sandbox's cards, and the schemes' own ranges; the columns are those of an import.
const BUILT_IN: &str = include_str!("built_in.csv");

/// How a card is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Funding {
    Credit = 1,
    Debit,
    Prepaid,
    /// Paid in full each month.
    Charge,
}

impl Funding {
    const ALL: [Funding; 4] = [Funding::Credit, Funding::Debit, Funding::Prepaid, Funding::Charge];

    /// As a table says it.
    pub fn name(self) -> &'static str {
        match self {
            Funding::Credit => "credit",
            Funding::Debit => "debit",
            Funding::Prepaid => "prepaid",
            Funding::Charge => "charge",
        }
    }

    /// In any case.
    pub fn parse(text: &str) -> Option<Funding> {
        Funding::ALL.into_iter().find(|funding| funding.name().eq_ignore_ascii_case(text))
    }

    fn id(self) -> u8 {
        self as u8
    }

    fn from_id(id: u8) -> Option<Funding> {
        Funding::ALL.into_iter().find(|funding| funding.id() == id)
    }
}

/// What a table says of a card; what it does not say is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bin {
    /// Where the card is issued: ISO 3166-1 alpha-2.
    pub country: Option<String>,
    /// Where its issuer is established, ISO 3166-1 alpha-2; a table that does not say means `country`.
    pub issuer_country: Option<String>,
    pub funding: Option<Funding>,
    pub scheme: Option<Scheme>,
    pub issuer: Option<String>,
}

/// The table that is in force, and the built-in one behind it.
#[derive(Clone)]
pub struct Bins {
    db: Db,
    built_in: Arc<Table>,
    current: Arc<RwLock<Arc<Imported>>>,
}

#[derive(Default)]
struct Imported {
    generation: i64,
    table: Table,
}

/// What is known of some first digits.
pub struct Known {
    pub stretches: Vec<Stretch>,
    /// Whether the imported table says it, or the one that is built in.
    pub imported: bool,
    /// There is more than was asked for.
    pub more: bool,
}

impl Bins {
    pub async fn load(db: &Db) -> Result<Bins, Error> {
        let bins = Bins { db: db.clone(), built_in: Arc::new(built_in()?), current: Arc::default() };
        bins.refresh().await?;
        Ok(bins)
    }

    /// Reads the table again if another was imported.
    pub async fn refresh(&self) -> Result<(), Error> {
        let Some(generation) = store::generation(&self.db, self.snapshot().generation).await? else { return Ok(()) };
        let Some(table) = store::read(&self.db, generation).await? else {
            // Replaced while it was read: the next round finds the newer one.
            return Ok(());
        };
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Imported { generation, table });
        Ok(())
    }

    fn snapshot(&self) -> Arc<Imported> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The narrowest range of the imported table that holds this number, else of the built-in one.
    pub fn find(&self, pan: &Pan) -> Option<Bin> {
        let position = pan.first11();
        self.snapshot().table.find(position).or_else(|| self.built_in.find(position))
    }

    /// What is known of all numbers from `first` to `last` (eleven digits each), at most `most` stretches of them. The
    /// built-in table is asked where the imported one says nothing at all.
    pub fn known(&self, first: u64, last: u64, most: usize) -> Known {
        let imported = self.snapshot();
        let ask = |table: &Table| table.stretches(first, last).take(most + 1).collect::<Vec<_>>();
        let found = ask(&imported.table);
        let from_import = !found.is_empty();
        let mut stretches = if from_import { found } else { ask(&self.built_in) };
        let more = stretches.len() > most;
        stretches.truncate(most);
        Known { stretches, imported: from_import, more }
    }

    /// Puts a table in the place of the one before, for all processes at once; its generation.
    pub async fn replace(&self, table: &Table, change: &store::Change<'_>) -> Result<i64, Error> {
        let generation = store::write(&self.db, table, change).await?;
        self.refresh().await?;
        Ok(generation)
    }
}

pub use store::Change;

fn built_in() -> Result<Table, Error> {
    let broken = |_| Error::internal("the built-in BIN table is broken");
    let read = file::read(BUILT_IN.as_bytes(), &mut |_| {}).map_err(broken)?;
    Ok(read.table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_table_knows_the_sandbox_and_the_schemes() {
        let table = built_in().unwrap();
        let of = |number: &str| table.find(Pan::parse(number).unwrap().first11()).unwrap();
        for number in ["5200000000001005", "4000000000001091", "4000000000000002", "3530111333300000"] {
            assert_eq!(of(number).country.as_deref(), Some("JP"), "{number}");
        }
        assert_eq!(of("4111111111111111").country.as_deref(), Some("US"));
        assert_eq!(
            (of("4000002500003155").country.as_deref(), of("4000002500003155").funding),
            (Some("FR"), Some(Funding::Debit))
        );
        // Anybody's card: the scheme is known, and nothing else is claimed.
        let other = of("4242424242424242");
        assert_eq!(other, Bin { scheme: Some(Scheme::Visa), ..Bin::default() });
        // Each range ends where the number's own scheme does.
        for six in (0..1_000_000_u64).step_by(100).flat_map(|six| [six, six + 99]) {
            let numbers = ["555555555", "55555555"].map(|middle| format!("{six:06}{middle}"));
            let pans =
                numbers.iter().flat_map(|number| (0..10).map(move |check| Pan::parse(&format!("{number}{check}"))));
            let wanted = pans.flatten().next().map(|pan| pan.scheme());
            assert_eq!(table.find(six * 100_000 + 55_555).and_then(|bin| bin.scheme), wanted, "{six}");
        }
    }
}
