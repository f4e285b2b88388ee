//! A BIN table as a CSV file. The first line names the columns, in any order and in any case; other columns are passed
//! over. Lines that begin with `#` are comments.

use super::table::{Builder, DIGITS, Table, widen};
use super::{Bin, Funding};
use crate::card::{Scheme, contains_any_number};
use csv::ByteRecord;
use std::io::Read;

/// The columns, and what each holds. Either `bin`, or `bin_start` and `bin_end`; the rest may be missing or empty.
pub const COLUMNS: [&str; 8] =
    ["bin", "bin_start", "bin_end", "country", "issuer_country", "funding", "scheme", "issuer"];

/// Faults that are named; beyond this the file is not the right one.
pub const NAMED: usize = 20;

/// A file of more lines is refused: nobody issues so many, and it would not fit into memory.
const LINES: u32 = 5_000_000;

/// Characters of an issuer's name.
const NAME: usize = 100;

/// What is wrong with a line. Never quotes it: it may hold a card number.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong {
    /// From 1; 0 for the file as a whole.
    pub line: u64,
    /// A column, or empty for the line as a whole.
    pub field: &'static str,
    pub message: String,
}

pub struct Found {
    pub table: Table,
    /// Ranges that the file holds.
    pub ranges: usize,
    /// Columns that were passed over.
    pub ignored: Vec<String>,
}

/// The file with plain line ends and one at its very end: so each record ends where a line does, and its line is known.
struct Plain<R> {
    source: R,
    ended: bool,
}

impl<R: Read> Plain<R> {
    fn of(source: R) -> Plain<R> {
        Plain { source, ended: false }
    }
}

impl<R: Read> Read for Plain<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let count = self.source.read(buffer)?;
            if count == 0 {
                let last = !std::mem::replace(&mut self.ended, true) && !buffer.is_empty();
                buffer.iter_mut().take(usize::from(last)).for_each(|byte| *byte = b'\n');
                return Ok(usize::from(last));
            }
            let mut kept = 0;
            for index in 0..count {
                if buffer[index] != b'\r' {
                    buffer[kept] = buffer[index];
                    kept += 1;
                }
            }
            // Nothing but returns: not the end.
            if kept > 0 {
                return Ok(kept);
            }
        }
    }
}

/// Where in a line each of [`COLUMNS`] stands.
struct Columns([Option<usize>; COLUMNS.len()]);

/// Reads the whole file; `progress` is told the lines so far, now and then.
///
/// # Errors
/// The first [`NAMED`] faults of the file.
pub fn read(source: impl Read, progress: &mut dyn FnMut(u64)) -> Result<Found, Vec<Wrong>> {
    let mut reader =
        csv::ReaderBuilder::new().comment(Some(b'#')).has_headers(false).flexible(true).from_reader(Plain::of(source));
    let mut record = ByteRecord::new();
    let file = |message: &str| vec![Wrong { line: 0, field: "", message: message.to_owned() }];
    match reader.read_byte_record(&mut record) {
        Ok(true) => {}
        Ok(false) => return Err(file("the file is empty: its first line names the columns")),
        Err(_) => return Err(file("cannot be read")),
    }
    let (columns, ignored) = Columns::read(&record).map_err(|wrong| vec![wrong])?;
    let width = record.len();
    let (mut builder, mut wrong) = (Builder::default(), Vec::new());
    loop {
        match reader.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(_) => return Err(file("cannot be read to its end")),
        }
        // The reader says where a record's search began; comments and empty lines are before it.
        let inside = record.as_slice().iter().filter(|byte| **byte == b'\n').count() as u64;
        let line = reader.position().line().saturating_sub(1 + inside);
        match columns.range(&record, width) {
            Ok((first, last, bin)) => builder.add(first, last, &bin, u32::try_from(line).unwrap_or(u32::MAX)),
            Err((field, message)) => wrong.push(Wrong { line, field, message: message.to_owned() }),
        }
        if wrong.len() >= NAMED {
            break;
        }
        if builder.count() > LINES as usize {
            return Err(file("the file has more than 5 000 000 lines"));
        }
        if line.is_multiple_of(50_000) {
            progress(line);
        }
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let ranges = builder.count();
    if ranges == 0 {
        return Err(file("the file holds no range; to remove the imported table: fuda bin clear"));
    }
    let table = builder.build(NAMED).map_err(|clashes| {
        let name = |clash: super::table::Clash| Wrong {
            line: u64::from(clash.line),
            field: "bin",
            message: format!("is the range of line {} too, with other values: keep one of them", clash.earlier),
        };
        clashes.into_iter().map(name).collect::<Vec<_>>()
    })?;
    Ok(Found { table, ranges, ignored })
}

type Fault = (&'static str, &'static str);

impl Columns {
    fn read(header: &ByteRecord) -> Result<(Columns, Vec<String>), Wrong> {
        let mut columns = Columns([None; COLUMNS.len()]);
        let mut ignored = Vec::new();
        let wrong = |message: String| Wrong { line: 1, field: "", message };
        for (position, name) in header.iter().enumerate() {
            let name = String::from_utf8_lossy(name).trim().to_ascii_lowercase();
            match COLUMNS.iter().position(|known| *known == name) {
                Some(known) if columns.0[known].is_some() => {
                    return Err(wrong(format!("names the column {name} twice")));
                }
                Some(known) => columns.0[known] = Some(position),
                None if name.bytes().any(|byte| byte.is_ascii_digit()) => {
                    return Err(wrong("names no columns; it takes some of ".to_owned() + &COLUMNS.join(",")));
                }
                None => ignored.push(name.chars().filter(|c| !c.is_control()).take(40).collect()),
            }
        }
        match &columns.0 {
            [Some(_), None, None, ..] | [None, Some(_), Some(_), ..] => Ok((columns, ignored)),
            _ => Err(wrong(format!(
                "has either the column bin, or bin_start and bin_end, separated from the others by commas; all columns: {}",
                COLUMNS.join(",")
            ))),
        }
    }

    fn text<'a>(&self, record: &'a ByteRecord, column: usize) -> Result<&'a str, Fault> {
        let bytes = self.0[column].and_then(|position| record.get(position)).unwrap_or_default();
        std::str::from_utf8(bytes).map(str::trim).map_err(|_| (COLUMNS[column], "is not UTF-8"))
    }

    fn range(&self, record: &ByteRecord, width: usize) -> Result<(u64, u64, Bin), Fault> {
        if record.len() != width {
            return Err(("", "has more or fewer fields than the first line has columns"));
        }
        let (first, last) = match self.0[0] {
            Some(_) => digits(self.text(record, 0)?, 0)?,
            None => {
                let (start, end) = (self.text(record, 1)?, self.text(record, 2)?);
                let (first, only) = digits(start, 1)?;
                let last = if end.is_empty() { only } else { digits(end, 2)?.1 };
                if !end.is_empty() && start.len() != end.len() {
                    return Err((COLUMNS[2], "has not as many digits as bin_start"));
                }
                (first, last)
            }
        };
        if last < first {
            return Err((COLUMNS[2], "is below bin_start"));
        }
        let country = country(self.text(record, 3)?, 3)?;
        let issuer_country = country_or(self.text(record, 4)?, &country)?;
        let funding =
            named(self.text(record, 5)?, Funding::parse, (COLUMNS[5], "is none of credit, debit, prepaid, charge"))?;
        let scheme = named(
            self.text(record, 6)?,
            Scheme::parse,
            (COLUMNS[6], "is none of VISA, MASTERCARD, AMEX, JCB, DINERS, DISCOVER, UNIONPAY"),
        )?;
        Ok((first, last, Bin { country, issuer_country, funding, scheme, issuer: issuer(self.text(record, 7)?)? }))
    }
}

fn digits(text: &str, column: usize) -> Result<(u64, u64), Fault> {
    widen(text).ok_or_else(|| {
        let number = text.len() > DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
        let message = if number {
            "has more than 11 digits: a whole card number must not be here"
        } else {
            "is not 6 to 11 digits"
        };
        (COLUMNS[column], message)
    })
}

/// As for addresses (contract section 2): any two letters. `UK`, a frequent mistake, would match no rule about `GB`.
fn country(text: &str, column: usize) -> Result<Option<String>, Fault> {
    match text {
        "" => Ok(None),
        "UK" | "uk" => Err((COLUMNS[column], "is not UK but GB in ISO 3166-1")),
        _ if text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
            Ok(Some(text.to_ascii_uppercase()))
        }
        _ => Err((COLUMNS[column], "is not two letters, ISO 3166-1 alpha-2, such as JP")),
    }
}

fn country_or(text: &str, other: &Option<String>) -> Result<Option<String>, Fault> {
    Ok(country(text, 4)?.or_else(|| other.clone()))
}

fn named<T>(text: &str, parse: impl Fn(&str) -> Option<T>, fault: Fault) -> Result<Option<T>, Fault> {
    if text.is_empty() { Ok(None) } else { parse(text).map(Some).ok_or(fault) }
}

fn issuer(text: &str) -> Result<Option<String>, Fault> {
    let fault = |message| Err((COLUMNS[7], message));
    if text.chars().any(char::is_control) {
        fault("holds a control character")
    } else if text.chars().count() > NAME {
        fault("has more than 100 characters")
    } else if contains_any_number(text) {
        fault("holds a card number")
    } else {
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> Vec<(u64, &'static str, String)> {
        let faults = read(text.as_bytes(), &mut |_| {}).err().unwrap_or_default();
        faults.into_iter().map(|fault| (fault.line, fault.field, fault.message)).collect()
    }

    #[test]
    fn a_file_of_any_order_is_read() {
        let text = "\u{feff}Country, BIN ,funding,Note,issuer\r\njp,400000,CREDIT,x,\"三井, 住友\"\r\n\r\n# note\r\n,41111112345,,,\r\n";
        let found = read(text.as_bytes(), &mut |_| {}).unwrap_or_else(|wrong| panic!("{wrong:?}"));
        assert_eq!((found.ranges, found.ignored), (2, vec!["note".to_owned()]));
        let wanted = Bin {
            country: Some("JP".to_owned()),
            issuer_country: Some("JP".to_owned()),
            funding: Some(Funding::Credit),
            scheme: None,
            issuer: Some("三井, 住友".to_owned()),
        };
        assert_eq!(found.table.find(40_000_012_345), Some(wanted));
        assert_eq!(found.table.find(41_111_112_345), Some(Bin::default()));
        assert_eq!(found.table.find(41_111_112_346), None);
    }

    #[test]
    fn every_fault_has_its_line_and_field() {
        let head = "bin_start,bin_end,country,issuer_country,funding,scheme,issuer\n";
        for (line, field, message) in [
            ("40000,,,,,,", "bin_start", "is not 6 to 11 digits"),
            ("４00000,,,,,,", "bin_start", "is not 6 to 11 digits"),
            ("4.0E+5,,,,,,", "bin_start", "is not 6 to 11 digits"),
            ("4111111111111111,,,,,,", "bin_start", "has more than 11 digits: a whole card number must not be here"),
            ("400000,4000009,,,,,", "bin_end", "has not as many digits as bin_start"),
            ("400001,400000,,,,,", "bin_end", "is below bin_start"),
            ("400000,,JPN,,,,", "country", "is not two letters, ISO 3166-1 alpha-2, such as JP"),
            ("400000,,JP,日本,,,", "issuer_country", "is not two letters, ISO 3166-1 alpha-2, such as JP"),
            ("400000,,UK,,,,", "country", "is not UK but GB in ISO 3166-1"),
            ("400000,,,,gold,,", "funding", "is none of credit, debit, prepaid, charge"),
            ("400000,,,,,V,", "scheme", "is none of VISA, MASTERCARD, AMEX, JCB, DINERS, DISCOVER, UNIONPAY"),
            ("400000,,,,,,a\u{7}", "issuer", "holds a control character"),
            ("400000,,,,,,4111 1111 1111 1111", "issuer", "holds a card number"),
            ("400000", "", "has more or fewer fields than the first line has columns"),
        ] {
            let text = format!("{head}300000,,,,,,\n# a comment\n\n{line}\n300001,,,,,,\n");
            for text in [text.clone(), text.replace('\n', "\r\n"), format!("{head}#\n\n\n{line}")] {
                assert_eq!(wrong(&text), [(5, field, message.to_owned())], "{text:?}");
            }
        }
        let quoted = format!("{head}400000,,,,,,\"a\nb\"\n");
        assert_eq!(wrong(&quoted), [(2, "issuer", "holds a control character".to_owned())]);
        let clash = format!("{head}400000,,JP,,,,\n400001,,,,,,\n400000,400000,US,,,,\n");
        assert_eq!(wrong(&clash)[0].0, 4);
        assert!(wrong(&clash)[0].2.contains("line 2"));
        assert_eq!(wrong(&(head.to_owned() + &"x,,,,,,\n".repeat(1_000))).len(), NAMED);
    }

    #[test]
    fn a_file_that_is_none() {
        for (text, line) in [
            ("", 0),
            ("bin,country\n", 0),
            ("400000,JP\n", 1),
            ("bin;country\n400000;JP\n", 1),
            ("bin,bin\n", 1),
            ("bin,bin_start,bin_end\n", 1),
            ("bin_start,country\n", 1),
            ("{\"bin\": 400000}\n", 1),
            ("4111111111111111\n", 1),
        ] {
            let faults = wrong(text);
            assert_eq!((faults.len(), faults[0].0), (1, line), "{text}: {faults:?}");
            assert!(!faults[0].2.contains("4111"));
        }
    }

    proptest::proptest! {
        #[test]
        fn no_file_panics(text in "(bin,country,issuer\n)?([0-9]{0,13}[,\"\n#\\PC]){0,40}") {
            let _ = read(text.as_bytes(), &mut |_| {}).is_ok();
        }
    }
}
