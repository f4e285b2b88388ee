//! From a message to the bytes of the wire and back, as a dialect says.

use super::Wrong;
use super::dialect::{Bytes, Charset, Dialect, Digits, Odd};
use super::field::{self, Layout, Reader};
use super::message::{Message, Mti, room};
use zeroize::Zeroizing;

/// A dialect made ready for work.
///
/// What it reads, it writes again as the same bytes, but for three liberties of hosts: small letters in hexadecimal digits, a
/// second bitmap without fields, and lengths in BER-TLV that are longer than they need be.
pub struct Codec {
    /// The first digit of a message type.
    version: u8,
    mti: Digits,
    bitmap: Bytes,
    text: Charset,
    /// By number.
    fields: Vec<Option<Layout>>,
}

impl Codec {
    /// # Errors
    /// What in the dialect's fields cannot be, with the key.
    pub fn new(dialect: &Dialect) -> Result<Codec, String> {
        let mut fields: Vec<Option<Layout>> = (0..=128).map(|_| None).collect();
        for (number, field) in &dialect.fields {
            let layout = Layout::new(dialect, field).map_err(|why| format!("fields.{number}.{why}"))?;
            fields[usize::from(*number)] = Some(layout);
        }
        let encoding = dialect.encoding;
        let version = dialect.version.digit();
        Ok(Codec { version, mti: encoding.mti, bitmap: encoding.bitmap, text: encoding.text, fields })
    }

    /// Appends the message to `out`, without a frame. `out` grows without leaving copies behind; after an error it is as before.
    ///
    /// # Errors
    /// What does not fit: an unknown field, a value too long or of the wrong characters.
    pub fn encode(&self, message: &Message, out: &mut Vec<u8>) -> Result<(), Wrong> {
        let start = out.len();
        let done = self.put(message, out);
        if done.is_err() {
            out.truncate(start);
        }
        done
    }

    /// Reads one whole message.
    ///
    /// # Errors
    /// Whatever is malformed: cut off, too long, of other characters, unknown, left over.
    pub fn decode(&self, bytes: &[u8]) -> Result<Message, Wrong> {
        let mut reader = Reader(bytes);
        let mti = self.take_mti(&mut reader).map_err(|why| Wrong::new(None, format!("the message type is {why}")))?;
        let mut message = Message::new(mti);
        let mut present =
            self.take_bitmap(&mut reader).map_err(|why| Wrong::new(None, format!("the bitmap is {why}")))?;
        while present != 0 {
            // The highest bit is field 1.
            let field = present.leading_zeros() as u8 + 1;
            present &= !bit(field);
            let wrong = |why: String| Wrong::new(field, why);
            let layout = self.layout(field)?;
            match layout.elements {
                None => message.add_from(field, |buffer| layout.take(&mut reader, buffer)).map_err(wrong)?,
                Some(elements) => {
                    let mut value = Zeroizing::new(Vec::new());
                    layout.take(&mut reader, &mut value).map_err(wrong)?;
                    if value.is_empty() {
                        message.add(field, "", b"");
                    }
                    elements.split(&value, |tag, value| message.add(field, tag, value)).map_err(wrong)?;
                }
            }
        }
        match reader.0.len() {
            0 => Ok(message),
            left => Err(Wrong::new(None, format!("{left} bytes are left over behind the last field"))),
        }
    }

    /// Whether the dialect has the field, and the value fits it. An empty tag is the whole field.
    ///
    /// # Errors
    /// Why not.
    pub fn fits(&self, field: u8, tag: &str, value: &[u8]) -> Result<(), Wrong> {
        let layout = self.layout(field)?;
        let fits = match (layout.elements, tag) {
            (None, "") => layout.fits(value).map(drop),
            (None, _) => Err("has no sub-elements".to_owned()),
            (Some(_), "") => Err("is made of sub-elements".to_owned()),
            (Some(elements), tag) => {
                let mut whole = Zeroizing::new(Vec::new());
                elements.put(tag, value, &mut whole).and_then(|()| layout.fits(&whole)).map(drop)
            }
        };
        fits.map_err(|why| Wrong::new(field, why))
    }

    fn put(&self, message: &Message, out: &mut Vec<u8>) -> Result<(), Wrong> {
        let mut present = 0;
        for field in message.fields() {
            self.layout(field)?;
            present |= bit(field);
        }
        if message.mti().version() != self.version {
            return Err(Wrong::new(None, "the message type is of another version"));
        }
        // A message type and two bitmaps in hexadecimal digits.
        room(out, 36);
        self.put_mti(message.mti(), out);
        self.put_bitmap(present, out);
        let mut parts = message.parts().peekable();
        while let Some((field, tag, value)) = parts.next() {
            let wrong = |why: String| Wrong::new(field, why);
            let layout = self.layout(field)?;
            match layout.elements {
                None if tag.is_empty() => layout.put(value, out).map_err(wrong)?,
                None => return Err(wrong("has no sub-elements".to_owned())),
                Some(_) if tag.is_empty() && !value.is_empty() => {
                    return Err(wrong("is made of sub-elements".to_owned()));
                }
                Some(elements) => {
                    let mut whole = Zeroizing::new(Vec::new());
                    if !tag.is_empty() {
                        elements.put(tag, value, &mut whole).map_err(wrong)?;
                    }
                    while let Some((_, tag, value)) = parts.next_if(|part| part.0 == field) {
                        elements.put(tag, value, &mut whole).map_err(wrong)?;
                    }
                    layout.put(&whole, out).map_err(wrong)?;
                }
            }
        }
        Ok(())
    }

    fn layout(&self, field: u8) -> Result<&Layout, Wrong> {
        let layout = self.fields.get(usize::from(field)).and_then(Option::as_ref);
        layout.ok_or_else(|| Wrong::new(field, "not in the dialect"))
    }

    fn put_mti(&self, mti: Mti, out: &mut Vec<u8>) {
        match self.mti {
            Digits::Ascii => out.extend_from_slice(&mti.digits()),
            Digits::Ebcdic => out.extend(mti.digits().map(|digit| Charset::Ebcdic.byte(digit))),
            Digits::Bcd => field::put_bcd(0, &mti.digits(), Odd::Left, out),
        }
    }

    fn take_mti(&self, reader: &mut Reader) -> Result<Mti, String> {
        let mti = match self.mti {
            Digits::Ascii => Mti::parse(reader.take(4)?),
            Digits::Ebcdic => {
                // All that is no digit of EBCDIC becomes none of ASCII.
                let ascii = |byte: &u8| byte.wrapping_sub(0xf0).saturating_add(b'0');
                Mti::parse(&reader.take(4)?.iter().map(ascii).collect::<Vec<u8>>())
            }
            Digits::Bcd => {
                let mut digits = Vec::new();
                field::take_bcd(reader.take(2)?, false, Odd::Left, &mut digits)?;
                Mti::parse(&digits)
            }
        };
        let mti = mti.ok_or("no number")?;
        if mti.version() == self.version { Ok(mti) } else { Err("of another version".to_owned()) }
    }

    fn put_bitmap(&self, present: u128, out: &mut Vec<u8>) {
        let second = present << 64 != 0;
        let bits = if second { present | bit(1) } else { present }.to_be_bytes();
        let used = &bits[..if second { 16 } else { 8 }];
        match self.bitmap {
            Bytes::Binary => out.extend_from_slice(used),
            Bytes::Hex => field::put_hex(used, self.text, out),
        }
    }

    /// The fields' bits, without those that say that another bitmap follows.
    fn take_bitmap(&self, reader: &mut Reader) -> Result<u128, String> {
        let first = self.take_bits(reader)?;
        if first & bit(1) == 0 {
            return Ok(first);
        }
        let both = first & !bit(1) | self.take_bits(reader)? >> 64;
        if both & bit(65) == 0 { Ok(both) } else { Err("followed by a third one".to_owned()) }
    }

    /// Of one bitmap, as those of fields 1 to 64.
    fn take_bits(&self, reader: &mut Reader) -> Result<u128, String> {
        let bits = |bytes: &[u8]| bytes.iter().fold(0, |bits: u128, byte| bits << 8 | u128::from(*byte)) << 64;
        match self.bitmap {
            Bytes::Binary => Ok(bits(reader.take(8)?)),
            Bytes::Hex => {
                let mut bytes = Vec::new();
                field::take_hex(reader.take(16)?, self.text, &mut bytes)?;
                Ok(bits(&bytes))
            }
        }
    }
}

fn bit(field: u8) -> u128 {
    1 << (128 - field)
}

#[cfg(test)]
mod tests {
    use super::super::dialect::GENERIC;
    use super::*;

    fn codec(encoding: &str, fields: &str) -> Codec {
        let text = format!("version = 1987\n[encoding]\n{encoding}\n[fields]\n{fields}");
        Codec::new(&Dialect::parse(&text).unwrap()).unwrap()
    }

    fn message(fields: &[(u8, &[u8])]) -> Message {
        let mut message = Message::new(Mti::parse(b"0100").unwrap());
        for (field, value) in fields {
            message.set(*field, value);
        }
        message
    }

    /// Everything that a decoded message holds, to compare.
    fn parts(message: &Message) -> Vec<(u8, &str, &[u8])> {
        message.parts().collect()
    }

    const FIELDS: &str = "
        2 = { format = 'n..19', name = '' }
        3 = { format = 'n 3', name = '' }
        35 = { format = 'z..37', name = '' }
        38 = { format = 'an 6', name = '' }
        44 = { format = 'ans...999', name = '' }
        48 = { format = 'ans...999', name = '', elements = '2+2' }
        52 = { format = 'b 2', name = '' }
        55 = { format = 'b...499', name = '', elements = 'ber' }
        102 = { format = 'b..3', name = '' }";

    fn sample() -> Message {
        let mut sample = message(&[
            (2, b"4000000000001"),
            (3, b"7"),
            (35, b"40=1"),
            (38, b"A1"),
            (44, b"ok"),
            (52, b"\x01\xab"),
            (102, b"\x02"),
        ]);
        sample.set_sub(48, "42", b"212");
        sample.set_sub(55, "9F26", b"\xff");
        sample.set_sub(55, "84", b"");
        sample
    }

    /// Encodes, compares with hexadecimal digits (spaces are ours), and decodes again.
    fn stands(codec: &Codec, message: &Message, wire: &str) {
        let mut out = b"before".to_vec();
        codec.encode(message, &mut out).unwrap();
        let hex: String = out[6..].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, wire.split_whitespace().collect::<String>());
        let again = codec.decode(&out[6..]).unwrap();
        let mut twice = Vec::new();
        codec.encode(&again, &mut twice).unwrap();
        assert_eq!(twice, &out[6..]);
    }

    #[test]
    fn every_encoding_has_its_bytes() {
        let ascii = codec("", FIELDS);
        stands(
            &ascii,
            &sample(),
            "30313030 e000000024111200 0000000004000000 3133 34303030303030303030303031 303037 3034 34303d31 \
             413120202020 303032 6f6b 303037 3432 3033 323132 01ab 303036 9f2601ff 8400 3031 02",
        );
        let packed = codec("mti = 'bcd'\ndigits = 'bcd'\nlength = 'bcd'", FIELDS);
        stands(
            &packed,
            &sample(),
            "0100 e000000024111200 0000000004000000 13 04000000000001 0007 04 40d1 \
             413120202020 0002 6f6b 0007 3432 3033 323132 01ab 0006 9f2601ff 8400 01 02",
        );
        let right = codec("digits = 'bcd'\nlength = 'binary'\nodd = 'right'", FIELDS);
        stands(
            &right,
            &sample(),
            "30313030 e000000024111200 0000000004000000 0d 4000000000001f 0007 04 40d1 \
             413120202020 0002 6f6b 0007 3432 3033 323132 01ab 0006 9f2601ff 8400 01 02",
        );
        let mainframe = codec("mti = 'ebcdic'\ndigits = 'ebcdic'\ntext = 'ebcdic'\nlength = 'ebcdic'", FIELDS);
        stands(
            &mainframe,
            &sample(),
            "f0f1f0f0 e000000024111200 0000000004000000 f1f3 f4f0f0f0f0f0f0f0f0f0f0f0f1 f0f0f7 f0f4 f4f07ef1 \
             c1f140404040 f0f0f2 9692 f0f0f7 f4f2 f0f3 f2f1f2 01ab f0f0f6 9f2601ff 8400 f0f1 02",
        );
        let hex = codec(
            "bitmap = 'hex'\nbytes = 'hex'",
            "52 = { format = 'b 2', name = '' }\n102 = { format = 'b..3', name = '' }",
        );
        stands(
            &hex,
            &message(&[(52, b"\x01\xab"), (102, b"\x02")]),
            "30313030 38303030303030303030303031303030 30303030303030303034303030303030 30314142 3032 3032",
        );
    }

    #[test]
    fn values_come_back_as_they_were_set() {
        let codec = codec("digits = 'bcd'\ntext = 'ebcdic'", FIELDS);
        let mut sample = sample();
        sample.set(44, "café".as_bytes());
        sample.set_sub(48, "43", "à".as_bytes());
        let mut out = Vec::new();
        codec.encode(&sample, &mut out).unwrap();
        let mut wanted = sample.clone();
        // Of fixed length.
        wanted.set(3, b"007");
        assert_eq!(parts(&codec.decode(&out).unwrap()), parts(&wanted));
    }

    #[test]
    fn what_does_not_fit_is_told_without_its_value() {
        let codec = codec("", FIELDS);
        let told = |field: u8, tag: &str, value: &[u8]| {
            let mut message = message(&[]);
            message.set_sub(field, tag, value);
            let mut out = b"before".to_vec();
            let error = codec.encode(&message, &mut out).unwrap_err();
            assert_eq!((error.field, &out[..]), (Some(field), &b"before"[..]));
            error.to_string()
        };
        assert_eq!(told(2, "", b"40000000000000000000"), "field 2: longer than 19 digits");
        assert_eq!(told(2, "", b"4000x"), "field 2: not digits alone");
        assert_eq!(told(3, "", b""), "field 3: shorter than 3 digits");
        assert_eq!(told(35, "", b"4D1"), "field 35: not a track's characters alone");
        assert_eq!(told(38, "", b"A-1"), "field 38: not letters and digits alone");
        assert_eq!(told(38, "", b"A123456"), "field 38: longer than 6 characters");
        assert_eq!(told(44, "", "é".as_bytes()), "field 44: not printable ASCII characters alone");
        assert_eq!(told(44, "", b"\xff"), "field 44: not printable ASCII characters alone");
        assert_eq!(told(44, "", b"\n"), "field 44: not printable ASCII characters alone");
        assert_eq!(told(44, "1", b"x"), "field 44: has no sub-elements");
        assert_eq!(told(48, "", b"4203212"), "field 48: is made of sub-elements");
        assert_eq!(told(48, "1", b"x"), "field 48: sub-element 1: not a tag of this field");
        assert_eq!(told(48, "42", &[b'x'; 100]), "field 48: sub-element 42: too long");
        assert_eq!(told(48, "42", b"\xff"), "field 48: sub-element 42: not text");
        assert_eq!(told(52, "", b"1"), "field 52: shorter than 2 bytes");
        assert_eq!(told(52, "", b"123"), "field 52: longer than 2 bytes");
        assert_eq!(told(55, "9F", b""), "field 55: sub-element 9F: not a tag");
        assert_eq!(told(55, "9f26", b""), "field 55: sub-element 9f26: not a tag");
        assert_eq!(told(55, "9", b""), "field 55: sub-element 9: not a tag");
        assert_eq!(told(55, "84", &[0; 500]), "field 55: longer than 499 bytes");
        for unknown in [0, 1, 4, 65, 129, 255] {
            assert_eq!(told(unknown, "", b""), format!("field {unknown}: not in the dialect"));
        }
        let newer = Message::new(Mti::parse(b"1100").unwrap());
        let error = codec.encode(&newer, &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "the message type is of another version");
    }

    #[test]
    fn what_is_malformed_is_told() {
        let told = |encoding: &str, bitmap: u128, rest: &[u8]| {
            let mut wire = b"0100".to_vec();
            wire.extend_from_slice(&bitmap.to_be_bytes()[..if bitmap & bit(1) != 0 { 16 } else { 8 }]);
            wire.extend_from_slice(rest);
            codec(encoding, FIELDS).decode(&wire).unwrap_err().to_string()
        };
        assert_eq!(told("", bit(2), b"1"), "field 2: cut off");
        assert_eq!(told("", bit(2), b"03"), "field 2: cut off");
        assert_eq!(told("", bit(2), b"0312"), "field 2: cut off");
        assert_eq!(told("", bit(2), b"20"), "field 2: longer than 19 digits");
        assert_eq!(told("", bit(2), b"x1"), "field 2: its length is no number");
        assert_eq!(told("length = 'bcd'", bit(2), b"\x0a"), "field 2: its length is no number");
        assert_eq!(told("length = 'ebcdic'", bit(2), b"03"), "field 2: its length is no number");
        assert_eq!(told("length = 'binary'", bit(44), b"\xff\xff"), "field 44: longer than 999 characters");
        assert_eq!(told("", bit(2), b"021x"), "field 2: not digits alone");
        assert_eq!(told("", bit(2), b"021\xb1"), "field 2: not ASCII");
        assert_eq!(told("digits = 'bcd'", bit(2), b"02\x1a"), "field 2: not digits alone");
        assert_eq!(told("digits = 'bcd'", bit(2), b"03\x12\x34"), "field 2: the spare half byte is not empty");
        assert_eq!(
            told("digits = 'bcd'\nodd = 'right'", bit(2), b"03\x12\x34"),
            "field 2: the spare half byte is not empty"
        );
        assert_eq!(told("bytes = 'hex'", bit(52), b"0x00"), "field 52: not hexadecimal digits");
        assert_eq!(told("bytes = 'hex'", bit(1) | bit(102), b"010"), "field 102: an odd number of hexadecimal digits");
        assert_eq!(told("", bit(48), b"00242"), "field 48: a sub-element is cut off");
        assert_eq!(told("", bit(48), b"0044205"), "field 48: a sub-element is cut off");
        assert_eq!(told("", bit(48), b"0044x-1"), "field 48: a sub-element is without a length");
        assert_eq!(told("", bit(48), b"004--01"), "field 48: a sub-element is without a tag");
        assert_eq!(told("", bit(55), b"001\x9f"), "field 55: a sub-element is without a tag");
        assert_eq!(told("", bit(55), b"002\x00\x00"), "field 55: a sub-element is without a tag");
        assert_eq!(told("", bit(55), b"005\x9f\xff\xff\xff\x01"), "field 55: a sub-element is without a tag");
        assert_eq!(told("", bit(55), b"002\x84\x80"), "field 55: a sub-element is without a length");
        assert_eq!(told("", bit(55), b"002\x84\x01"), "field 55: a sub-element is cut off");
        assert_eq!(told("", bit(4), b"1"), "field 4: not in the dialect");
        assert_eq!(told("", bit(1) | bit(65), b""), "the bitmap is followed by a third one");
        assert_eq!(told("", bit(38), b"123456x"), "1 bytes are left over behind the last field");
        let codec = codec("bitmap = 'hex'", FIELDS);
        for (wire, error) in [
            (&b""[..], "the message type is cut off"),
            (b"01x0", "the message type is no number"),
            (b"1100", "the message type is of another version"),
            (b"0100123", "the bitmap is cut off"),
            (b"0100g000000000000000", "the bitmap is not hexadecimal digits"),
            (b"01008000000000000000123", "the bitmap is cut off"),
        ] {
            assert_eq!(codec.decode(wire).unwrap_err().to_string(), error);
        }
    }

    /// What hosts may do and we do not.
    #[test]
    fn liberties_are_read() {
        let codec = codec("bitmap = 'hex'\nbytes = 'hex'", FIELDS);
        let small = codec.decode(b"0100000000000000100001ab").unwrap();
        assert_eq!(small.get(52), Some(&b"\x01\xab"[..]));
        let empty = codec.decode(b"010080000000040000000000000000000000A1    ").unwrap();
        assert_eq!(parts(&empty), [(38, "", &b"A1"[..])]);
        let long = codec.decode(b"0100000000000000020001084820001ff").unwrap();
        assert_eq!(parts(&long), [(55, "84", &b"\xff"[..])]);
    }

    #[test]
    fn the_built_in_dialect_speaks() {
        let codec = Codec::new(&Dialect::parse(GENERIC.1).unwrap()).unwrap();
        stands(&codec, &message(&[(3, b"0"), (39, b"00")]), "30313030 2000000002000000 303030303030 3030");
    }
}
