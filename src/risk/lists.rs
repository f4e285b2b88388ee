//! The entries of a blocking or allowing list: packed and sorted, so that a million of them is a few megabytes and a
//! look-up twenty steps. In the database the same bytes, in parts.

use crate::address;
use crate::error::Error;
use std::net::{IpAddr, Ipv6Addr};

/// The longest part of a list in one row, bytes.
pub const PART: usize = 64 * 1024;

/// The digits of a BIN that a list may hold: the six of old and the eight of ISO/IEC 7812-1:2017.
pub const BIN_DIGITS: std::ops::RangeInclusive<usize> = 6..=8;

/// A card's fingerprint, 128 bits of the vault's keyed digest.
pub type Fingerprint = [u8; 16];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// First and last address of each range; ranges neither meet nor overlap.
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
    /// See [`bin_key`].
    bins: Vec<u32>,
    cards: Vec<Fingerprint>,
}

/// What a text of a list is.
pub enum Entry {
    V4(u32, u32),
    V6(u128, u128),
    Bin(u32),
    Card(Fingerprint),
}

impl List {
    pub fn of(entries: impl Iterator<Item = Entry>) -> List {
        let mut list = List::default();
        for entry in entries {
            match entry {
                Entry::V4(first, last) => list.v4.push((first, last)),
                Entry::V6(first, last) => list.v6.push((first, last)),
                Entry::Bin(key) => list.bins.push(key),
                Entry::Card(fingerprint) => list.cards.push(fingerprint),
            }
        }
        list.v4 = joined(list.v4, |last| last.checked_add(1));
        list.v6 = joined(list.v6, |last| last.checked_add(1));
        list.bins.sort_unstable();
        list.bins.dedup();
        list.cards.sort_unstable();
        list.cards.dedup();
        list
    }

    /// Entries as they are kept: ranges that touch have become one.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len() + self.bins.len() + self.cards.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn has_ip(&self, ip: IpAddr) -> bool {
        match ip.to_canonical() {
            IpAddr::V4(ip) => within(&self.v4, u32::from(ip)),
            IpAddr::V6(ip) => {
                let inner = address::inner_v4(ip).is_some_and(|(inner, _)| within(&self.v4, u32::from(inner)));
                inner || within(&self.v6, u128::from(ip))
            }
        }
    }

    /// `digits`: the first eight of the card.
    pub fn has_bin(&self, digits: &str) -> bool {
        BIN_DIGITS.filter_map(|count| bin_key(digits.get(..count)?)).any(|key| self.bins.binary_search(&key).is_ok())
    }

    pub fn has_card(&self, fingerprint: &Fingerprint) -> bool {
        self.cards.binary_search(fingerprint).is_ok()
    }

    /// Four counts, then the entries, all big-endian.
    pub fn pack(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 + self.v4.len() * 8 + self.v6.len() * 32 + self.bins.len() * 4);
        for count in [self.v4.len(), self.v6.len(), self.bins.len(), self.cards.len()] {
            bytes.extend(u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
        }
        for (first, last) in &self.v4 {
            bytes.extend(first.to_be_bytes());
            bytes.extend(last.to_be_bytes());
        }
        for (first, last) in &self.v6 {
            bytes.extend(first.to_be_bytes());
            bytes.extend(last.to_be_bytes());
        }
        for key in &self.bins {
            bytes.extend(key.to_be_bytes());
        }
        self.cards.iter().for_each(|card| bytes.extend(card));
        bytes
    }

    pub fn unpack(bytes: &[u8]) -> Result<List, Error> {
        let mut reader = Reader(bytes);
        let counts = [reader.count()?, reader.count()?, reader.count()?, reader.count()?];
        let list = List {
            v4: reader.many(counts[0], |reader| Some((reader.u32()?, reader.u32()?)))?,
            v6: reader.many(counts[1], |reader| Some((reader.u128()?, reader.u128()?)))?,
            bins: reader.many(counts[2], Reader::u32)?,
            cards: reader.many(counts[3], Reader::take::<16>)?,
        };
        if reader.0.is_empty() { Ok(list) } else { Err(broken()) }
    }
}

fn broken() -> Error {
    Error::internal("a risk rule's list is not whole")
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn u128(&mut self) -> Option<u128> {
        self.take().map(u128::from_be_bytes)
    }

    fn count(&mut self) -> Result<usize, Error> {
        self.u32().and_then(|count| usize::try_from(count).ok()).ok_or_else(broken)
    }

    fn many<T>(&mut self, count: usize, mut one: impl FnMut(&mut Self) -> Option<T>) -> Result<Vec<T>, Error> {
        // No more than the bytes can hold: a spoiled count must not ask for the machine's memory.
        let mut found = Vec::with_capacity(count.min(self.0.len()));
        for _ in 0..count {
            found.push(one(self).ok_or_else(broken)?);
        }
        Ok(found)
    }
}

/// Sorted, and what touches or overlaps made one.
fn joined<T: Copy + Ord>(mut ranges: Vec<(T, T)>, next: impl Fn(T) -> Option<T>) -> Vec<(T, T)> {
    ranges.sort_unstable();
    let mut out: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match out.last_mut() {
            Some(before) if next(before.1).is_none_or(|next| first <= next) => before.1 = before.1.max(last),
            _ => out.push((first, last)),
        }
    }
    out.shrink_to_fit();
    out
}

fn within<T: Copy + Ord>(ranges: &[(T, T)], value: T) -> bool {
    let after = ranges.partition_point(|range| range.0 <= value);
    after > 0 && ranges[after - 1].1 >= value
}

/// Six to eight digits as one number that keeps their count: `400000` and `04000000` differ.
pub fn bin_key(digits: &str) -> Option<u32> {
    let good = BIN_DIGITS.contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let count = u32::try_from(digits.len()).ok()?;
    if good { Some(count * 100_000_000 + digits.parse::<u32>().ok()?) } else { None }
}

/// An address or a CIDR block; an address alone is a block of one. Bits behind the prefix must be zero: `10.0.0.1/8` is a
/// typing mistake that would block a whole network.
pub fn ip_entry(text: &str) -> Option<Entry> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) if !prefix.starts_with('+') => (address, Some(prefix.parse::<u32>().ok()?)),
        Some(_) => return None,
        None => (text, None),
    };
    match address.parse::<IpAddr>().ok()? {
        IpAddr::V4(ip) => {
            let first = u32::from(ip);
            let rest = rest_of(prefix, 32)?.map_or(0, |bits| u32::MAX.checked_shr(32 - bits).unwrap_or(0));
            (first & rest == 0).then_some(Entry::V4(first, first | rest))
        }
        IpAddr::V6(ip) => {
            let rest = rest_of(prefix, 128)?.map_or(0, |bits| u128::MAX.checked_shr(128 - bits).unwrap_or(0));
            v6_entry(ip, u128::from(ip), rest)
        }
    }
}

/// An IPv4 address in IPv6 clothes is looked up as IPv4, and so must stand in the list.
fn v6_entry(ip: Ipv6Addr, first: u128, rest: u128) -> Option<Entry> {
    if first & rest != 0 {
        return None;
    }
    let Some((inner, behind)) = address::inner_v4(ip) else { return Some(Entry::V6(first, first | rest)) };
    match u32::try_from(rest >> behind) {
        // All of NAT64 or 6to4: those addresses are meant, not every IPv4 one.
        Ok(u32::MAX) if ip.to_ipv4_mapped().is_none() => Some(Entry::V6(first, first | rest)),
        Ok(rest) => Some(Entry::V4(u32::from(inner), u32::from(inner) | rest)),
        Err(_) => Some(Entry::V6(first, first | rest)),
    }
}

/// How many bits are free behind a prefix; `Some(None)`: none.
fn rest_of(prefix: Option<u32>, width: u32) -> Option<Option<u32>> {
    match prefix {
        None => Some(None),
        Some(prefix) => width.checked_sub(prefix).map(|bits| Some(bits).filter(|bits| *bits > 0)),
    }
}

pub fn fingerprint_of(text: &str) -> Option<Fingerprint> {
    if text.len() != 32 || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> List {
        List::of(texts.iter().map(|text| ip_entry(text).unwrap_or_else(|| panic!("{text}"))))
    }

    #[test]
    fn addresses_are_found_in_their_blocks() {
        let list = list(&[
            "10.0.0.0/8",
            "192.0.2.7",
            "192.0.2.8",
            "192.0.2.9/32",
            "255.255.255.255",
            "2001:db8::/32",
            "::ffff:198.51.100.0/120",
        ]);
        assert_eq!(list.v4.len(), 4, "what touches is one range: {list:?}");
        for (text, found) in [
            ("10.0.0.0", true),
            ("10.255.255.255", true),
            ("9.255.255.255", false),
            ("11.0.0.0", false),
            ("192.0.2.6", false),
            ("192.0.2.9", true),
            ("192.0.2.10", false),
            ("255.255.255.255", true),
            ("2001:db8:ffff::1", true),
            ("2001:db9::", false),
            ("198.51.100.255", true),
            ("::ffff:198.51.100.4", true),
            ("198.51.101.0", false),
        ] {
            assert_eq!(list.has_ip(text.parse().unwrap()), found, "{text}");
        }
        assert_eq!(List::unpack(&list.pack()).unwrap(), list);
        let all = super::List::of(["0.0.0.0/0", "::/0"].iter().filter_map(|text| ip_entry(text)));
        assert!(all.has_ip("255.1.2.3".parse().unwrap()) && all.has_ip("ffff::".parse().unwrap()));
    }

    #[test]
    fn one_address_in_all_its_clothes() {
        let clothes = ["8.8.4.1", "::ffff:8.8.4.1", "64:ff9b::8.8.4.1", "2002:808:401::1"];
        for entry in
            ["8.8.4.0/24", "::ffff:8.8.4.0/120", "64:ff9b::8.8.4.0/120", "2002:808:400::/40", "2002:808:401::/64"]
        {
            let list = list(&[entry]);
            assert!(clothes.iter().all(|text| list.has_ip(text.parse().unwrap())), "{entry}");
            assert!(!list.has_ip("8.8.5.1".parse().unwrap()) && list.v6.is_empty(), "{entry}");
        }
        let all = list(&["2002::/16", "64:ff9b::/32"]);
        let found: Vec<bool> = clothes.iter().map(|text| all.has_ip(text.parse().unwrap())).collect();
        assert_eq!(found, [false, false, true, true], "all of a form is not all of IPv4");
    }

    #[test]
    fn mistakes_are_no_entries() {
        for text in
            ["", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "2001:db8::1/64", "::/129", "a", "1.2.3"]
        {
            assert!(ip_entry(text).is_none(), "{text}");
        }
        for text in ["40000", "400000000", "40000x", "４０００００", ""] {
            assert!(bin_key(text).is_none(), "{text}");
        }
        assert!(fingerprint_of(&"F".repeat(32)).is_none() && fingerprint_of(&"f".repeat(32)).is_some());
    }

    #[test]
    fn bins_of_each_length() {
        let list = List::of(["400000", "5200001", "41111111"].iter().filter_map(|text| bin_key(text).map(Entry::Bin)));
        for (digits, found) in
            [("40000099", true), ("52000019", true), ("52000029", false), ("41111111", true), ("41111112", false)]
        {
            assert_eq!(list.has_bin(digits), found, "{digits}");
        }
        assert_eq!(List::unpack(&list.pack()).unwrap(), list);
    }

    #[test]
    fn a_spoiled_list_is_noticed() {
        let bytes = List::of(std::iter::once(Entry::Card([7; 16]))).pack();
        assert!(List::unpack(&bytes).unwrap().has_card(&[7; 16]));
        for end in 0..bytes.len() {
            assert!(List::unpack(&bytes[..end]).is_err());
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(List::unpack(&longer).is_err());
        let mut huge = bytes;
        huge[..4].copy_from_slice(&[255; 4]);
        assert!(List::unpack(&huge).is_err());
    }
}
