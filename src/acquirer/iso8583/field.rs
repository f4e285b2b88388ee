//! One field's value on the wire.

use super::dialect::{Bytes, Charset, Dialect, Digits, Elements, Field, Lengths, Odd, Type};
use super::ebcdic;
use super::message::room;
use std::iter::repeat_n;

/// What is left of the bytes that are read.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// # Errors
    /// When there are fewer bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("cut off")?;
        self.0 = rest;
        Ok(taken)
    }
}

/// A field of a dialect, made ready for work.
pub struct Layout {
    kind: Type,
    /// Digits, characters or bytes: the fixed length, or the greatest.
    length: usize,
    /// In front of a value of variable length.
    prefix: Option<Prefix>,
    wire: Wire,
    pub elements: Option<Elements>,
}

#[derive(Clone, Copy)]
struct Prefix {
    digits: u8,
    wire: Lengths,
}

#[derive(Clone, Copy)]
enum Wire {
    /// One byte for each character.
    Text(Charset),
    Bcd(Odd),
    Raw,
    Hex(Charset),
}

impl Layout {
    /// # Errors
    /// What cannot be, with the key behind the field's number.
    pub fn new(dialect: &Dialect, field: &Field) -> Result<Layout, String> {
        let format = field.format;
        let variable = format.dots > 0;
        let prefix =
            variable.then(|| Prefix { digits: format.dots, wire: field.length.unwrap_or(dialect.encoding.length) });
        if prefix.is_some_and(|prefix| format.length > prefix.greatest()) {
            return Err("format: the length in front cannot say the greatest length".to_owned());
        }
        if field.length.is_some() && !variable {
            return Err("length: a fixed length does not stand on the wire".to_owned());
        }
        let wire = Wire::of(dialect, field)?;
        if field.odd.is_some() && !matches!(wire, Wire::Bcd(_)) {
            return Err("odd: only BCD has half bytes to spare".to_owned());
        }
        if let (Wire::Hex(_), Some(prefix)) = (wire, prefix)
            && format.length * 2 > prefix.greatest()
        {
            return Err("format: the length in front counts hexadecimal digits, and cannot say the greatest".to_owned());
        }
        let fits = match field.elements {
            None => field.named.is_empty(),
            Some(Elements::Text { .. }) => variable && matches!(format.kind, Type::An | Type::Ans),
            Some(Elements::Ber) => variable && format.kind == Type::B,
        };
        if !fits {
            return Err(
                "elements: ber is for b, others for an and ans, of variable length; named is for what has elements"
                    .to_owned(),
            );
        }
        Ok(Layout { kind: format.kind, length: format.length, prefix, wire, elements: field.elements })
    }

    /// Appends a value.
    ///
    /// # Errors
    /// Why it does not fit.
    pub fn put(&self, value: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        let (count, missing) = self.fits(value)?;
        // Hexadecimal digits and spaces at most; the longest length in front.
        room(out, 2 * value.len() + missing + 4);
        if let Some(prefix) = self.prefix {
            prefix.put(if matches!(self.wire, Wire::Hex(_)) { 2 * count } else { count }, out);
        }
        match self.wire {
            Wire::Raw => out.extend_from_slice(value),
            Wire::Hex(charset) => put_hex(value, charset, out),
            Wire::Bcd(odd) => put_bcd(missing, value, odd, out),
            Wire::Text(charset) => {
                if self.kind == Type::N {
                    out.extend(repeat_n(charset.byte(b'0'), missing));
                }
                charset.put(value, out);
                if self.kind != Type::N {
                    out.extend(repeat_n(charset.byte(b' '), missing));
                }
            }
        }
        Ok(())
    }

    /// How long the value is, and how much shorter than its field.
    ///
    /// # Errors
    /// Why it does not fit.
    pub fn fits(&self, value: &[u8]) -> Result<(usize, usize), String> {
        let count = self.check(value)?;
        if count > self.length {
            return Err(format!("longer than {} {}", self.length, self.unit()));
        }
        let missing = if self.prefix.is_some() { 0 } else { self.length - count };
        if missing > 0 && (matches!(self.kind, Type::B | Type::Z) || (self.kind == Type::N && count == 0)) {
            return Err(format!("shorter than {} {}", self.length, self.unit()));
        }
        Ok((count, missing))
    }

    /// Reads a value and appends it.
    ///
    /// # Errors
    /// Why it is none.
    pub fn take(&self, reader: &mut Reader, out: &mut Vec<u8>) -> Result<(), String> {
        let hex = matches!(self.wire, Wire::Hex(_));
        let count = match self.prefix {
            None => self.length,
            Some(prefix) => {
                let count = prefix.take(reader)?;
                if hex && count % 2 != 0 {
                    return Err("an odd number of hexadecimal digits".to_owned());
                }
                if hex { count / 2 } else { count }
            }
        };
        if count > self.length {
            return Err(format!("longer than {} {}", self.length, self.unit()));
        }
        let start = out.len();
        match self.wire {
            Wire::Raw => {
                let wire = reader.take(count)?;
                room(out, count);
                out.extend_from_slice(wire);
            }
            Wire::Hex(charset) => take_hex(reader.take(2 * count)?, charset, out)?,
            Wire::Bcd(odd) => take_bcd(reader.take(count.div_ceil(2))?, count % 2 == 1, odd, out)?,
            Wire::Text(charset) => {
                let mut wire = reader.take(count)?;
                let space = charset.byte(b' ');
                while self.prefix.is_none() && self.is_text() && wire.last() == Some(&space) {
                    wire = &wire[..wire.len() - 1];
                }
                charset.take(wire, out)?;
            }
        }
        self.check(&out[start..]).map(drop)
    }

    /// The value's length, when it is made of what its type allows.
    fn check(&self, value: &[u8]) -> Result<usize, String> {
        match self.kind {
            Type::B => Ok(value.len()),
            Type::N => all(value, |byte| byte.is_ascii_digit(), "not digits alone"),
            Type::Z => all(value, |byte| (b'0'..=b'?').contains(&byte), "not a track's characters alone"),
            Type::A => all(value, |byte| byte.is_ascii_alphabetic() || byte == b' ', "not letters alone"),
            Type::An => all(value, |byte| byte.is_ascii_alphanumeric() || byte == b' ', "not letters and digits alone"),
            Type::Ans if self.wire_is_ebcdic() && !value.is_ascii() => latin(value),
            Type::Ans => all(value, |byte| matches!(byte, b' '..=b'~'), "not printable ASCII characters alone"),
        }
    }

    fn is_text(&self) -> bool {
        matches!(self.kind, Type::A | Type::An | Type::Ans)
    }

    fn wire_is_ebcdic(&self) -> bool {
        matches!(self.wire, Wire::Text(Charset::Ebcdic))
    }

    fn unit(&self) -> &'static str {
        match self.kind {
            Type::N | Type::Z => "digits",
            Type::B => "bytes",
            _ => "characters",
        }
    }
}

/// How many bytes, when all of them are allowed.
fn all(value: &[u8], allowed: impl Fn(u8) -> bool, what: &str) -> Result<usize, String> {
    // Without an early end: values are short, and this way it is done for many bytes at once.
    match value.iter().fold(true, |all, byte| all & allowed(*byte)) {
        true => Ok(value.len()),
        false => Err(what.to_owned()),
    }
}

/// How many characters, when all of them are printable ones of Latin-1, which EBCDIC has.
fn latin(value: &[u8]) -> Result<usize, String> {
    let text = std::str::from_utf8(value).map_err(|_| "not text")?;
    match text.chars().all(|c| matches!(c, ' '..='~' | '\u{a0}'..='\u{ff}')) {
        true => Ok(text.chars().count()),
        false => Err("not characters of Latin-1 alone".to_owned()),
    }
}

impl Wire {
    fn of(dialect: &Dialect, field: &Field) -> Result<Wire, String> {
        let usual = dialect.encoding;
        // A fixed number keeps its zeros in front, whatever is done with a variable one.
        let odd = field.odd.unwrap_or(if field.format.dots > 0 { usual.odd } else { Odd::Left });
        let said = field.encoding.as_deref();
        Ok(match (field.format.kind, said) {
            (Type::N | Type::Z, None) => match usual.digits {
                Digits::Ascii => Wire::Text(Charset::Ascii),
                Digits::Ebcdic => Wire::Text(Charset::Ebcdic),
                Digits::Bcd => Wire::Bcd(odd),
            },
            (Type::N | Type::Z, Some("bcd")) => Wire::Bcd(odd),
            (Type::B, None) if usual.bytes == Bytes::Hex => Wire::Hex(usual.text),
            (Type::B, Some("hex")) => Wire::Hex(usual.text),
            (Type::B, None | Some("binary")) => Wire::Raw,
            (Type::A | Type::An | Type::Ans, None) => Wire::Text(usual.text),
            (kind, Some("ascii")) if kind != Type::B => Wire::Text(Charset::Ascii),
            (kind, Some("ebcdic")) if kind != Type::B => Wire::Text(Charset::Ebcdic),
            _ => return Err("encoding: not one of the field's type".to_owned()),
        })
    }
}

impl Prefix {
    fn greatest(self) -> usize {
        match (self.wire, self.digits) {
            (Lengths::Binary, 1 | 2) => 0xff,
            (Lengths::Binary, _) => 0xffff,
            (_, digits) => 10_usize.pow(u32::from(digits)) - 1,
        }
    }

    /// `count` is at most `greatest`.
    fn put(self, count: usize, out: &mut Vec<u8>) {
        let wide = self.digits > 2;
        let digit = |place: u32| (count / 10_usize.pow(place) % 10) as u8;
        match self.wire {
            Lengths::Ascii => out.extend((0..u32::from(self.digits)).rev().map(|place| b'0' | digit(place))),
            Lengths::Ebcdic => out.extend((0..u32::from(self.digits)).rev().map(|place| 0xf0 | digit(place))),
            Lengths::Bcd if wide => out.extend([digit(3) << 4 | digit(2), digit(1) << 4 | digit(0)]),
            Lengths::Bcd => out.push(digit(1) << 4 | digit(0)),
            Lengths::Binary if wide => out.extend_from_slice(&(count as u16).to_be_bytes()),
            Lengths::Binary => out.push(count as u8),
        }
    }

    fn take(self, reader: &mut Reader) -> Result<usize, String> {
        let halves = if self.digits > 2 { 2 } else { 1 };
        let wire = match self.wire {
            Lengths::Ascii | Lengths::Ebcdic => reader.take(usize::from(self.digits)),
            Lengths::Bcd | Lengths::Binary => reader.take(halves),
        }?;
        let mut count = 0;
        for byte in wire {
            count = match (self.wire, byte) {
                (Lengths::Ascii, b'0'..=b'9') | (Lengths::Ebcdic, 0xf0..=0xf9) => count * 10 + usize::from(byte & 0x0f),
                (Lengths::Bcd, byte) if byte >> 4 < 10 && byte & 0x0f < 10 => {
                    count * 100 + usize::from(byte >> 4) * 10 + usize::from(byte & 0x0f)
                }
                (Lengths::Binary, byte) => count * 256 + usize::from(*byte),
                _ => return Err("its length is no number".to_owned()),
            };
        }
        Ok(count)
    }
}

impl Charset {
    /// The byte of an ASCII character.
    pub fn byte(self, ascii: u8) -> u8 {
        match self {
            Charset::Ascii => ascii,
            Charset::Ebcdic => ebcdic::from_latin(ascii),
        }
    }

    /// `value` is UTF-8 of Latin-1's characters, or ASCII.
    fn put(self, value: &[u8], out: &mut Vec<u8>) {
        match self {
            Charset::Ascii => out.extend_from_slice(value),
            Charset::Ebcdic if value.is_ascii() => out.extend(value.iter().map(|byte| ebcdic::from_latin(*byte))),
            Charset::Ebcdic => {
                let text = std::str::from_utf8(value).unwrap_or_default();
                out.extend(text.chars().map(|c| ebcdic::from_latin(u8::try_from(c).unwrap_or(b'?'))));
            }
        }
    }

    fn take(self, wire: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        // A character of Latin-1 is two bytes at most.
        room(out, 2 * wire.len());
        match self {
            Charset::Ascii if wire.is_ascii() => out.extend_from_slice(wire),
            Charset::Ascii => return Err("not ASCII".to_owned()),
            Charset::Ebcdic => {
                let start = out.len();
                out.extend(wire.iter().map(|byte| ebcdic::to_latin(*byte)));
                if !out[start..].is_ascii() {
                    out.truncate(start);
                    let mut utf8 = [0; 2];
                    for byte in wire {
                        let character = char::from(ebcdic::to_latin(*byte));
                        out.extend_from_slice(character.encode_utf8(&mut utf8).as_bytes());
                    }
                }
            }
        }
        Ok(())
    }
}

/// Two digits in a byte, of `zeros` and the value; a half byte to spare is 0 in front or F behind.
pub fn put_bcd(zeros: usize, value: &[u8], odd: Odd, out: &mut Vec<u8>) {
    let spare = (zeros + value.len()) % 2 == 1;
    let front = zeros + usize::from(spare && odd == Odd::Left);
    out.extend(repeat_n(0, front / 2));
    let mut rest = value;
    if let (1, Some((low, behind))) = (front % 2, value.split_first()) {
        out.push(low & 0x0f);
        rest = behind;
    }
    let pairs = rest.chunks_exact(2);
    let last = pairs.remainder().first();
    out.extend(pairs.map(|pair| (pair[0] & 0x0f) << 4 | pair[1] & 0x0f));
    // Only a spare half byte behind can leave one digit over.
    out.extend(last.map(|high| high << 4 | 0x0f));
}

/// The half bytes as ASCII digits, A to F as `:` to `?`; `spare` when one of them is none.
pub fn take_bcd(wire: &[u8], spare: bool, odd: Odd, out: &mut Vec<u8>) -> Result<(), String> {
    room(out, 2 * wire.len());
    let start = out.len();
    for byte in wire {
        out.extend_from_slice(&[b'0' | byte >> 4, b'0' | byte & 0x0f]);
    }
    let filler = match odd {
        _ if !spare => return Ok(()),
        Odd::Left => out.remove(start) == b'0',
        Odd::Right => out.pop() == Some(b'?'),
    };
    if filler { Ok(()) } else { Err("the spare half byte is not empty".to_owned()) }
}

pub fn put_hex(value: &[u8], charset: Charset, out: &mut Vec<u8>) {
    let digit = |half: u8| charset.byte(b"0123456789ABCDEF"[usize::from(half)]);
    out.extend(value.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0x0f)]));
}

/// Small letters too.
pub fn take_hex(wire: &[u8], charset: Charset, out: &mut Vec<u8>) -> Result<(), String> {
    let half = |byte: u8| {
        let ascii = if charset == Charset::Ascii { byte } else { ebcdic::to_latin(byte) };
        char::from(ascii).to_digit(16).map(|half| half as u8)
    };
    room(out, wire.len() / 2);
    for pair in wire.chunks_exact(2) {
        let (Some(high), Some(low)) = (half(pair[0]), half(pair[1])) else {
            return Err("not hexadecimal digits".to_owned());
        };
        out.push(high << 4 | low);
    }
    Ok(())
}
