//! The countries of an address, by their names in both languages.

use super::texts::Language;
use std::sync::LazyLock;

/// Codes of ISO 3166-1 with their names from Unicode's CLDR.
pub struct Country {
    pub code: &'static str,
    pub en: &'static str,
    pub ja: &'static str,
}

static COUNTRIES: LazyLock<[Vec<Country>; 2]> = LazyLock::new(|| {
    let rows = || {
        include_str!("countries.tsv").lines().filter_map(|line| {
            let mut columns = line.split('\t');
            Some(Country { code: columns.next()?, en: columns.next()?, ja: columns.next()? })
        })
    };
    let mut japanese: Vec<Country> = rows().collect();
    // The country of most readers first, then by their syllabary.
    japanese.sort_by_key(|country| (country.code != "JP", country.ja));
    [rows().collect(), japanese]
});

/// In the order of the language.
pub fn countries(language: Language) -> &'static [Country] {
    &COUNTRIES[usize::from(language == Language::Japanese)]
}
