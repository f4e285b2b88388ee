//! Dialects and messages at random, from a seed.

use fuda::acquirer::iso8583::dialect::{Charset, Dialect, Digits, Elements, Format, Lengths, Odd, Type};
use fuda::acquirer::iso8583::message::{Message, Mti};
use fuda::random::Random;
use std::fmt::Write;

pub struct Dice(Random);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(Random::seeded(seed))
    }

    /// 0 to below `end`.
    pub fn below(&self, end: usize) -> usize {
        usize::try_from(u64::from_le_bytes(self.0.bytes())).unwrap() % end
    }

    pub fn one<T: Clone>(&self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    pub fn chance(&self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn bytes(&self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.0.bytes::<1>()[0]).collect()
    }
}

/// A dialect's file: every encoding, and fields that have others than the rest. `elements` says whether fields are made of
/// sub-elements.
pub fn dialect(dice: &Dice, elements: bool) -> String {
    let mut text = format!("version = {}\n", dice.one(&["1987", "1993"]));
    let three = ["ascii", "bcd", "ebcdic"];
    let _ = writeln!(text, "[encoding]\nmti = '{}'\ndigits = '{}'", dice.one(&three), dice.one(&three));
    let _ = writeln!(text, "bitmap = '{}'\nbytes = '{}'", dice.one(&["binary", "hex"]), dice.one(&["binary", "hex"]));
    let lengths = ["ascii", "bcd", "binary", "ebcdic"];
    let _ = writeln!(text, "text = '{}'\nlength = '{}'", dice.one(&["ascii", "ebcdic"]), dice.one(&lengths));
    let _ = writeln!(text, "odd = '{}'\n[fields]", dice.one(&["left", "right"]));
    for number in (2..=128).filter(|number| *number != 65) {
        if dice.chance(60) {
            let _ = writeln!(text, "{number} = {{ {}, name = 'Field' }}", field(dice, elements, &three, &lengths));
        }
    }
    text
}

fn field(dice: &Dice, elements: bool, digits: &[&str], lengths: &[&str]) -> String {
    let kind = dice.one(&["n", "a", "an", "ans", "z", "b"]);
    let dots = dice.below(5);
    let numbers = matches!(kind, "n" | "z");
    let mut more = String::new();
    let encoding = match kind {
        "n" | "z" => dice.one(digits),
        "b" => dice.one(&["binary", "hex"]),
        _ => dice.one(&["ascii", "ebcdic"]),
    };
    if dice.chance(30) {
        let _ = write!(more, ", encoding = '{encoding}'");
        if encoding == "bcd" && dice.chance(50) {
            let _ = write!(more, ", odd = '{}'", dice.one(&["left", "right"]));
        }
    }
    if dots > 0 && dice.chance(30) {
        let _ = write!(more, ", length = '{}'", dice.one(lengths));
    }
    if elements && dots > 2 && !numbers && kind != "a" && dice.chance(70) {
        let form = if kind == "b" { "ber" } else { dice.one(&["2+2", "1+3", "3+1", "4+4"]) };
        let _ = write!(more, ", elements = '{form}'");
    }
    // The length in front counts hexadecimal digits where it must.
    let greatest = [40, 4, 49, 499, 1200][dots];
    let between = if dots == 0 { " ".to_owned() } else { ".".repeat(dots) };
    format!("format = '{kind}{between}{}'{more}", 1 + dice.below(greatest))
}

/// A message of that dialect, with values of the greatest length and of none now and then; of each hundred fields `share`.
pub fn message(dice: &Dice, dialect: &Dialect, share: usize) -> Message {
    let digits =
        [dialect.version.digit(), b'1' + dice.below(8) as u8, b'0' + dice.below(6) as u8, b'0' + dice.below(6) as u8];
    let mut message = Message::new(Mti::parse(&digits).unwrap());
    for (number, field) in &dialect.fields {
        if !dice.chance(share) {
            continue;
        }
        match field.elements {
            None => message.set(*number, &value(dice, field.format, wide(dialect, field.encoding.as_deref()))),
            Some(elements) => fill(dice, &mut message, *number, elements, field.format.length),
        }
    }
    message
}

/// Whether text may have accents.
fn wide(dialect: &Dialect, encoding: Option<&str>) -> bool {
    encoding.map_or(dialect.encoding.text == Charset::Ebcdic, |encoding| encoding == "ebcdic")
}

fn value(dice: &Dice, format: Format, wide: bool) -> Vec<u8> {
    let full = format.dots == 0 || dice.chance(10);
    let length = if full { format.length } else { dice.below(format.length.min(60) + 1) };
    let of = |allowed: &[u8]| (0..length).map(|_| dice.one(allowed)).collect();
    match format.kind {
        Type::N => of(b"0123456789"),
        Type::Z => of(b"0123456789:;<=>?"),
        Type::A => trimmed(of(b"ABCXYZabcxyz "), format),
        Type::An => trimmed(of(b"ABCXYZabcxyz0189 "), format),
        Type::Ans if wide => {
            let text: String =
                (0..length).map(|_| dice.one(&['a', 'Z', '0', ' ', '~', '|', 'é', 'ÿ', '\u{a0}', '¬'])).collect();
            trimmed(text.into_bytes(), format)
        }
        Type::Ans => trimmed((0..length).map(|_| b' ' + dice.below(95) as u8).collect(), format),
        Type::B => dice.bytes(length),
    }
}

/// Spaces at the end of a fixed text do not come back.
fn trimmed(mut text: Vec<u8>, format: Format) -> Vec<u8> {
    while format.dots == 0 && text.last() == Some(&b' ') {
        text.pop();
    }
    text
}

fn fill(dice: &Dice, message: &mut Message, field: u8, elements: Elements, room: usize) {
    let mut left = room;
    message.set(field, b"");
    for _ in 0..dice.below(6) {
        let (tag, greatest) = match elements {
            Elements::Ber => (dice.one(&["84", "9F26", "5F2A", "9F8101", "DF818203"]).to_owned(), 400),
            Elements::Text { tag, length } => {
                let tag = (0..tag).map(|_| dice.one(&['0', '1', '9', 'A', 'z'])).collect();
                (tag, 10_usize.pow(length as u32) - 1)
            }
        };
        let longest = greatest.min(left.saturating_sub(tag.len() + 4));
        if longest == 0 || message.sub(field, &tag).is_some() {
            continue;
        }
        let value = match elements {
            Elements::Ber => dice.bytes(dice.below(longest)),
            Elements::Text { .. } => (0..dice.below(longest)).map(|_| dice.one(b"AZ09a ")).collect(),
        };
        left -= tag.len() + 4 + value.len();
        message.set_sub(field, &tag, &value);
    }
}

/// The dialect as a spec of pyiso8583. Its text fields are padded by whoever fills them.
pub fn spec(dialect: &Dialect) -> serde_json::Value {
    let encoding = dialect.encoding;
    let text = |charset: Charset| if charset == Charset::Ascii { "ascii" } else { "cp037" };
    let digits = |digits: Digits| match digits {
        Digits::Ascii => "ascii",
        Digits::Bcd => "b",
        Digits::Ebcdic => "cp037",
    };
    let hex = |bytes| if bytes == fuda::acquirer::iso8583::dialect::Bytes::Hex { text(encoding.text) } else { "b" };
    let fixed = |data: &str, length: usize| serde_json::json!({"data_enc": data, "len_enc": "ascii", "len_type": 0, "max_len": length});
    let map = hex(encoding.bitmap);
    let size = if map == "b" { 8 } else { 16 };
    let mut spec = serde_json::json!({
        "h": fixed("ascii", 0),
        "t": fixed(digits(encoding.mti), if encoding.mti == Digits::Bcd { 2 } else { 4 }),
        "p": fixed(map, size),
        "1": fixed(map, size),
    });
    for (number, field) in &dialect.fields {
        let format = field.format;
        let said = field.encoding.as_deref();
        let data = match (format.kind, said) {
            (Type::N | Type::Z, None) => digits(encoding.digits),
            (Type::B, None) => hex(encoding.bytes),
            (_, None) => text(encoding.text),
            (_, Some("bcd" | "binary")) => "b",
            (_, Some("hex")) => text(encoding.text),
            (_, Some("ascii")) => "ascii",
            _ => "cp037",
        };
        let hex = format.kind == Type::B && data != "b";
        let mut row = fixed(data, if hex { 2 * format.length } else { format.length });
        let lengths = field.length.unwrap_or(encoding.length);
        let (name, wide) = match lengths {
            Lengths::Ascii => ("ascii", usize::from(format.dots)),
            Lengths::Ebcdic => ("cp037", usize::from(format.dots)),
            Lengths::Bcd => ("bcd", usize::from(format.dots).div_ceil(2)),
            Lengths::Binary => ("b", usize::from(format.dots).div_ceil(2)),
        };
        row["len_enc"] = name.into();
        row["len_type"] = wide.into();
        if data == "b" && format.kind != Type::B {
            let usual = if format.dots > 0 { encoding.odd } else { Odd::Left };
            row["len_count"] = "nibbles".into();
            let (pad, filler) =
                if field.odd.unwrap_or(usual) == Odd::Left { ("left_pad", "0") } else { ("right_pad", "F") };
            row[pad] = filler.into();
        }
        spec[number.to_string()] = row;
    }
    spec
}

/// A message as pyiso8583 has it: texts, bytes in hexadecimal digits, the half bytes of BCD too, spaces where they belong.
pub fn plain(dialect: &Dialect, message: &Message) -> serde_json::Value {
    let mut plain = serde_json::json!({"t": message.mti().as_str()});
    for (number, _, value) in message.parts() {
        let field = &dialect.fields[&number];
        let packed = dialect.encoding.digits == Digits::Bcd && field.encoding.is_none()
            || field.encoding.as_deref() == Some("bcd");
        plain[number.to_string()] = match field.format.kind {
            Type::B => value.iter().map(|byte| format!("{byte:02X}")).collect::<String>(),
            Type::Z if packed => value.iter().map(|byte| format!("{:X}", byte & 0x0f)).collect(),
            Type::N | Type::Z => String::from_utf8(value.to_vec()).unwrap(),
            _ => {
                let text = String::from_utf8(value.to_vec()).unwrap();
                let missing = if field.format.dots == 0 { field.format.length - text.chars().count() } else { 0 };
                text + &" ".repeat(missing)
            }
        }
        .into();
    }
    plain
}
