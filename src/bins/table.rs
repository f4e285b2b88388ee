//! A BIN table, packed: the ranges of a file laid flat, so that every number has one answer and a look-up is one binary
//! search. A million ranges take some 30 MB. Pure.

use super::{Bin, Funding};
use crate::card::Scheme;
use crate::error::Error;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// How many digits a position has: the longest range's.
pub const DIGITS: usize = 11;

/// One past the last position.
const END: u64 = 10_u64.pow(DIGITS as u32);

/// Bits of a step that say which profile holds from there on; the position is above them.
const PROFILE_BITS: u32 = 27;
const PROFILE_MASK: u64 = (1 << PROFILE_BITS) - 1;

/// The profile of what no range covers.
const NOTHING: u64 = PROFILE_MASK;

/// No issuer is named.
const UNNAMED: u32 = u32::MAX;

/// The layout of [`Table::encode`].
const LAYOUT: u32 = 1;

/// What a range says; ranges that say the same share one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Profile {
    /// Two letters, or two zeros.
    country: [u8; 2],
    issuer_country: [u8; 2],
    /// As [`Funding::id`]; 0 where it is not known.
    funding: u8,
    /// As [`Scheme::id`]; 0 where it is not known.
    scheme: u8,
    issuer: u32,
}

const PROFILE_BYTES: usize = 10;

#[derive(Default)]
pub struct Table {
    /// Position and profile, ascending: the profile holds up to the next step.
    steps: Vec<u64>,
    profiles: Vec<Profile>,
    /// Where each issuer's name ends in `names`.
    name_ends: Vec<u32>,
    names: String,
}

/// From `first` to `last`, eleven digits each, inclusive.
struct Range {
    first: u64,
    last: u64,
    profile: u32,
    line: u32,
}

/// A stretch of positions with one answer.
pub struct Stretch {
    pub first: u64,
    pub last: u64,
    pub bin: Bin,
}

/// Two lines of a file that are about the same range and do not say the same.
#[derive(Debug, PartialEq, Eq)]
pub struct Clash {
    pub line: u32,
    pub earlier: u32,
}

#[derive(Default)]
pub struct Builder {
    table: Table,
    ranges: Vec<Range>,
    known: HashMap<Profile, u32>,
    named: HashMap<String, u32>,
}

impl Builder {
    /// `first` and `last` have eleven digits each ([`widen`]).
    pub fn add(&mut self, first: u64, last: u64, bin: &Bin, line: u32) {
        let issuer = match &bin.issuer {
            Some(name) => self.name(name),
            None => UNNAMED,
        };
        let letters = |country: &Option<String>| {
            country.as_ref().and_then(|code| code.as_bytes().try_into().ok()).unwrap_or([0, 0])
        };
        let profile = Profile {
            country: letters(&bin.country),
            issuer_country: letters(&bin.issuer_country),
            funding: bin.funding.map_or(0, Funding::id),
            scheme: bin.scheme.map_or(0, |scheme| scheme as u8),
            issuer,
        };
        let next = length(&self.table.profiles);
        let profile = *self.known.entry(profile).or_insert_with(|| {
            self.table.profiles.push(profile);
            next
        });
        self.ranges.push(Range { first, last, profile, line });
    }

    fn name(&mut self, name: &str) -> u32 {
        if let Some(known) = self.named.get(name) {
            return *known;
        }
        let number = length(&self.table.name_ends);
        self.table.names.push_str(name);
        self.table.name_ends.push(u32::try_from(self.table.names.len()).unwrap_or(u32::MAX));
        self.named.insert(name.to_owned(), number);
        number
    }

    /// How many were added.
    pub fn count(&self) -> usize {
        self.ranges.len()
    }

    /// Lays the ranges flat: of those that cover a number the narrowest wins, of equally narrow ones that which begins
    /// later.
    ///
    /// # Errors
    /// The first lines that contradict an earlier one, at most `most`.
    pub fn build(mut self, most: usize) -> Result<Table, Vec<Clash>> {
        let mut ranges = std::mem::take(&mut self.ranges);
        ranges.sort_unstable_by_key(|range| (range.first, range.last, range.line));
        let same = |pair: &&[Range]| (pair[0].first, pair[0].last) == (pair[1].first, pair[1].last);
        let clashes: Vec<Clash> = ranges
            .windows(2)
            .filter(same)
            .filter(|pair| pair[0].profile != pair[1].profile)
            .take(most)
            .map(|pair| Clash { line: pair[1].line, earlier: pair[0].line })
            .collect();
        if !clashes.is_empty() {
            return Err(clashes);
        }
        self.table.steps = flatten(&ranges);
        Ok(self.table)
    }
}

/// A sweep over the positions at which a range begins or has ended. `ranges` is sorted by `first`.
fn flatten(ranges: &[Range]) -> Vec<u64> {
    let mut edges: Vec<u64> = ranges.iter().flat_map(|range| [range.first, range.last + 1]).collect();
    edges.sort_unstable();
    edges.dedup();
    let mut steps: Vec<u64> = Vec::with_capacity(edges.len());
    // The narrowest on top, of equally narrow ones the later.
    let mut open = BinaryHeap::new();
    let mut next = 0;
    for edge in edges {
        while let Some(range) = ranges.get(next).filter(|range| range.first == edge) {
            open.push((Reverse(range.last - range.first), range.first, next));
            next += 1;
        }
        while open.peek().is_some_and(|(_, _, index)| ranges[*index].last < edge) {
            open.pop();
        }
        let profile = open.peek().map_or(NOTHING, |(_, _, index)| u64::from(ranges[*index].profile));
        if steps.last().map_or(profile != NOTHING, |step| step & PROFILE_MASK != profile) {
            steps.push(edge << PROFILE_BITS | profile);
        }
    }
    steps.shrink_to_fit();
    steps
}

/// The positions that begin with these digits, 6 to 11 of them.
pub fn widen(digits: &str) -> Option<(u64, u64)> {
    let fits = (6..=DIGITS).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| fits)?;
    let width = 10_u64.pow(u32::try_from(DIGITS - digits.len()).ok()?);
    Some((number * width, number * width + (width - 1)))
}

fn length<T>(list: &[T]) -> u32 {
    u32::try_from(list.len()).unwrap_or(u32::MAX)
}

impl Table {
    /// `position`: the first eleven digits of a card number.
    pub fn find(&self, position: u64) -> Option<Bin> {
        let after = self.steps.partition_point(|step| step >> PROFILE_BITS <= position);
        self.bin(self.steps.get(after.checked_sub(1)?)? & PROFILE_MASK)
    }

    /// Everything that is known of the positions from `first` to `last`, in their order.
    pub fn stretches(&self, first: u64, last: u64) -> impl Iterator<Item = Stretch> + '_ {
        let from = self.steps.partition_point(|step| step >> PROFILE_BITS <= first).saturating_sub(1);
        let begin = |index: usize| self.steps.get(index).map_or(END, |step| step >> PROFILE_BITS);
        let covering = (from..self.steps.len()).take_while(move |index| begin(*index) <= last);
        covering.filter_map(move |index| {
            let bin = self.bin(self.steps[index] & PROFILE_MASK)?;
            let (first, last) = (begin(index).max(first), (begin(index + 1) - 1).min(last));
            (first <= last).then_some(Stretch { first, last, bin })
        })
    }

    fn bin(&self, profile: u64) -> Option<Bin> {
        let profile = self.profiles.get(usize::try_from(profile).ok()?)?;
        let letters =
            |code: [u8; 2]| (code != [0, 0]).then(|| code.iter().map(|letter| char::from(*letter)).collect::<String>());
        Some(Bin {
            country: letters(profile.country),
            issuer_country: letters(profile.issuer_country),
            funding: Funding::from_id(profile.funding),
            scheme: Scheme::from_id(i64::from(profile.scheme)),
            issuer: self.issuer(profile.issuer).map(str::to_owned),
        })
    }

    fn issuer(&self, number: u32) -> Option<&str> {
        let number = usize::try_from(number).ok()?;
        let end = usize::try_from(*self.name_ends.get(number)?).ok()?;
        let start = match number.checked_sub(1) {
            Some(before) => usize::try_from(self.name_ends[before]).ok()?,
            None => 0,
        };
        self.names.get(start..end)
    }

    /// As it is stored: layout, the four lengths, then steps, profiles, name ends and names; numbers little-endian.
    pub fn encode(&self) -> Vec<u8> {
        let lengths = [LAYOUT, length(&self.steps), length(&self.profiles), length(&self.name_ends)];
        let mut bytes = Vec::with_capacity(
            20 + self.steps.len() * 8
                + self.profiles.len() * PROFILE_BYTES
                + self.name_ends.len() * 4
                + self.names.len(),
        );
        bytes.extend(lengths.iter().chain([&length(self.names.as_bytes())]).flat_map(|number| number.to_le_bytes()));
        bytes.extend(self.steps.iter().flat_map(|step| step.to_le_bytes()));
        for profile in &self.profiles {
            bytes.extend(profile.country);
            bytes.extend(profile.issuer_country);
            bytes.extend([profile.funding, profile.scheme]);
            bytes.extend(profile.issuer.to_le_bytes());
        }
        bytes.extend(self.name_ends.iter().flat_map(|end| end.to_le_bytes()));
        bytes.extend(self.names.as_bytes());
        bytes
    }

    /// # Errors
    /// Bytes that [`Table::encode`] did not make: a look-up in them could give any answer.
    pub fn decode(bytes: &[u8]) -> Result<Table, Error> {
        read(bytes).ok_or_else(|| Error::internal("the stored BIN table is damaged: import its file again"))
    }
}

fn read(bytes: &[u8]) -> Option<Table> {
    let mut rest = bytes;
    let mut lengths = [0_usize; 5];
    for length in &mut lengths {
        *length = usize::try_from(u32::from_le_bytes(take(&mut rest, 4)?.try_into().ok()?)).ok()?;
    }
    let [layout, steps, profiles, names, text] = lengths;
    if layout != LAYOUT as usize {
        return None;
    }
    let steps: Vec<u64> = take(&mut rest, steps.checked_mul(8)?)?.chunks_exact(8).map(u64_le).collect();
    let profiles: Vec<Profile> = take(&mut rest, profiles.checked_mul(PROFILE_BYTES)?)?
        .chunks_exact(PROFILE_BYTES)
        .map(|row| Profile {
            country: [row[0], row[1]],
            issuer_country: [row[2], row[3]],
            funding: row[4],
            scheme: row[5],
            issuer: u32_le(&row[6..]),
        })
        .collect();
    let name_ends: Vec<u32> = take(&mut rest, names.checked_mul(4)?)?.chunks_exact(4).map(u32_le).collect();
    let names = String::from_utf8(take(&mut rest, text)?.to_vec()).ok()?;
    let sorted = steps.is_sorted_by(|a, b| a >> PROFILE_BITS < b >> PROFILE_BITS) && name_ends.is_sorted();
    let ends = |profile: u64| profile == NOTHING || profile < profiles.len() as u64;
    let whole = rest.is_empty() && steps.iter().all(|step| ends(step & PROFILE_MASK) && step >> PROFILE_BITS <= END);
    let cut = name_ends.last().is_none_or(|end| *end as usize == names.len());
    (sorted && whole && cut).then_some(Table { steps, profiles, name_ends, names })
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

fn u64_le(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn u32_le(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bin(country: &str) -> Bin {
        Bin { country: Some(country.to_owned()), ..Bin::default() }
    }

    fn table(rows: &[(&str, &str, &str)]) -> Result<Table, Vec<Clash>> {
        let mut builder = Builder::default();
        for (line, (first, last, country)) in rows.iter().enumerate() {
            let (first, last) = (widen(first).unwrap().0, widen(last).unwrap().1);
            builder.add(first, last, &bin(country), u32::try_from(line).unwrap() + 1);
        }
        builder.build(20)
    }

    fn country(table: &Table, position: u64) -> Option<String> {
        table.find(position).and_then(|bin| bin.country)
    }

    #[test]
    fn the_narrowest_range_wins() {
        let table = table(&[
            ("400000", "499999", "US"),
            ("411111", "411111", "JP"),
            ("41111111", "41111112", "FR"),
            ("41111111999", "41111111999", "DE"),
            ("999999", "999999", "ZZ"),
        ])
        .unwrap();
        for (position, wanted) in [
            (39_999_999_999, None),
            (40_000_000_000, Some("US")),
            (41_111_099_999, Some("US")),
            (41_111_100_000, Some("JP")),
            (41_111_111_000, Some("FR")),
            (41_111_111_999, Some("DE")),
            (41_111_112_000, Some("FR")),
            (41_111_112_999, Some("FR")),
            (41_111_113_000, Some("JP")),
            (41_111_200_000, Some("US")),
            (49_999_999_999, Some("US")),
            (50_000_000_000, None),
            (99_999_999_999, Some("ZZ")),
            (0, None),
        ] {
            assert_eq!(country(&table, position).as_deref(), wanted, "{position}");
        }
        let found: Vec<(u64, u64)> =
            table.stretches(41_111_111_900, 41_111_113_005).map(|one| (one.first, one.last)).collect();
        let wanted = [
            (41_111_111_900, 41_111_111_998),
            (41_111_111_999, 41_111_111_999),
            (41_111_112_000, 41_111_112_999),
            (41_111_113_000, 41_111_113_005),
        ];
        assert_eq!(found, wanted);
        assert_eq!(table.stretches(50_000_000_000, 60_000_000_000).count(), 0);
    }

    #[test]
    fn contradictions_are_named() {
        let rows = [("400000", "400000", "US"), ("400001", "400001", "JP"), ("400000", "400000", "JP")];
        assert_eq!(table(&rows).map(|_| ()), Err(vec![Clash { line: 3, earlier: 1 }]));
        // Said twice, and the same range of more digits.
        assert!(table(&[("400000", "400000", "US"), ("400000", "400000", "US")]).is_ok());
        assert!(table(&[("400000", "400000", "US"), ("4000000", "4000009", "JP")]).is_err());
    }

    #[test]
    fn damage_is_found() {
        let mut builder = Builder::default();
        let named = Bin { issuer: Some("三菱".to_owned()), funding: Some(Funding::Debit), ..bin("JP") };
        builder.add(1, 2, &named, 1);
        let bytes = builder.build(1).unwrap_or_default().encode();
        assert_eq!(Table::decode(&bytes).unwrap().find(2), Some(named));
        for end in 0..bytes.len() {
            assert!(Table::decode(&bytes[..end]).is_err(), "{end}");
        }
        assert!(Table::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
        assert!(Table::decode(&Table::default().encode()).unwrap().find(5).is_none());
    }

    #[test]
    fn digits_become_positions() {
        assert_eq!(widen("400000"), Some((40_000_000_000, 40_000_099_999)));
        assert_eq!(widen("00000000001"), Some((1, 1)));
        for bad in ["", "40000", "400000000000", "４00000", "+40000", "40000a"] {
            assert_eq!(widen(bad), None, "{bad}");
        }
    }

    proptest::proptest! {
        /// The flat table against looking at every range.
        #[test]
        fn as_if_every_range_were_asked(
            rows in proptest::collection::vec((0_u64..60, 0_u64..30, 0_u8..26), 0..12),
            positions in proptest::collection::vec(0_u64..100, 20),
        ) {
            let mut builder = Builder::default();
            for (line, (first, width, letter)) in (1..).zip(&rows) {
                builder.add(*first, first + width, &bin(&format!("A{}", char::from(b'A' + letter))), line);
            }
            if let Ok(table) = builder.build(1) {
                let table = Table::decode(&table.encode()).unwrap();
                for at in positions {
                    let covering = rows.iter().filter(|(first, width, _)| (*first..=first + width).contains(&at));
                    let best = covering.min_by_key(|(first, width, _)| (*width, Reverse(*first)));
                    let wanted = best.map(|(_, _, letter)| format!("A{}", char::from(b'A' + letter)));
                    proptest::prop_assert_eq!(country(&table, at), wanted);
                    let shown = table.stretches(at, at).next().and_then(|stretch| stretch.bin.country);
                    proptest::prop_assert_eq!(shown, country(&table, at));
                }
            }
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = Table::decode(&bytes).is_ok();
        }
    }
}
