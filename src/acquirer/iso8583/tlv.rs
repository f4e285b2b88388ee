//! Sub-elements of a field: tag, length, value.

use super::dialect::Elements;
use super::field::Reader;
use super::message::room;

/// The longest tag of EMV's, bytes.
const LONGEST_TAG: usize = 4;

impl Elements {
    /// Appends a sub-element to a field's value.
    ///
    /// # Errors
    /// Why it does not fit.
    pub fn put(self, tag: &str, value: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        let wrong = |why: &str| format!("sub-element {tag}: {why}");
        room(out, tag.len() + value.len() + 4);
        match self {
            Elements::Text { tag: characters, length: digits } => {
                if tag.len() != characters || !tag.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                    return Err(wrong("not a tag of this field"));
                }
                let text = std::str::from_utf8(value).map_err(|_| wrong("not text"))?;
                let length = text.chars().count();
                if length >= 10_usize.pow(digits as u32) {
                    return Err(wrong("too long"));
                }
                out.extend_from_slice(tag.as_bytes());
                out.extend((0..digits as u32).rev().map(|place| b'0' | (length / 10_usize.pow(place) % 10) as u8));
            }
            Elements::Ber => {
                let bytes = tag_bytes(tag).ok_or_else(|| wrong("not a tag"))?;
                out.extend_from_slice(&bytes);
                match value.len() {
                    short @ 0..=0x7f => out.push(short as u8),
                    long @ 0x80..=0xff => out.extend_from_slice(&[0x81, long as u8]),
                    longer @ 0x100..=0xffff => {
                        out.push(0x82);
                        out.extend_from_slice(&(longer as u16).to_be_bytes());
                    }
                    _ => return Err(wrong("too long")),
                }
            }
        }
        out.extend_from_slice(value);
        Ok(())
    }

    /// Takes a field's value apart.
    ///
    /// # Errors
    /// Why it is not made of sub-elements; never what stands in it.
    pub fn split(self, value: &[u8], mut found: impl FnMut(&str, &[u8])) -> Result<(), String> {
        let mut reader = Reader(value);
        while !reader.0.is_empty() {
            match self {
                Elements::Text { tag, length } => text_element(&mut reader, tag, length, &mut found),
                Elements::Ber => ber_element(&mut reader, &mut found),
            }
            .map_err(|why| format!("a sub-element is {why}"))?;
        }
        Ok(())
    }
}

fn text_element(
    reader: &mut Reader,
    tag: usize,
    digits: usize,
    found: &mut impl FnMut(&str, &[u8]),
) -> Result<(), String> {
    let tag = reader.take(tag)?;
    if !tag.iter().all(u8::is_ascii_alphanumeric) {
        return Err("without a tag".to_owned());
    }
    let mut length = 0;
    for digit in reader.take(digits)? {
        if !digit.is_ascii_digit() {
            return Err("without a length".to_owned());
        }
        length = length * 10 + usize::from(digit & 0x0f);
    }
    let text = std::str::from_utf8(reader.0).map_err(|_| "no text")?;
    // Characters, not bytes: EBCDIC has accents.
    let end = text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(length).ok_or("cut off")?;
    let value = reader.take(end)?;
    found(std::str::from_utf8(tag).unwrap_or_default(), value);
    Ok(())
}

fn ber_element(reader: &mut Reader, found: &mut impl FnMut(&str, &[u8])) -> Result<(), String> {
    let whole = reader.0;
    let size = tag_size(whole).ok_or("without a tag")?;
    let tag = reader.take(size)?;
    let length = match reader.take(1)?[0] {
        short @ 0..=0x7f => usize::from(short),
        0x81 => usize::from(reader.take(1)?[0]),
        0x82 => reader.take(2)?.iter().fold(0, |length, byte| length * 256 + usize::from(*byte)),
        _ => return Err("without a length".to_owned()),
    };
    let value = reader.take(length)?;
    let mut text = [0; 2 * LONGEST_TAG];
    for (byte, digits) in tag.iter().zip(text.chunks_exact_mut(2)) {
        digits.copy_from_slice(&[
            b"0123456789ABCDEF"[usize::from(byte >> 4)],
            b"0123456789ABCDEF"[usize::from(byte & 0x0f)],
        ]);
    }
    found(std::str::from_utf8(&text[..2 * size]).unwrap_or_default(), value);
    Ok(())
}

/// How long the tag is that the bytes begin with: another byte follows one with 5 low bits, and behind that one with the
/// high bit.
fn tag_size(bytes: &[u8]) -> Option<usize> {
    let first = *bytes.first().filter(|byte| **byte != 0)?;
    if first & 0x1f != 0x1f {
        return Some(1);
    }
    let last = bytes[1..].iter().take(LONGEST_TAG - 1).position(|byte| byte & 0x80 == 0)?;
    Some(last + 2)
}

/// From hexadecimal digits in capitals: `9F26`.
fn tag_bytes(tag: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| b"0123456789ABCDEF".iter().position(|digit| *digit == byte).map(|value| value as u8);
    let pair = |pair: &[u8]| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?);
    let bytes: Option<Vec<u8>> = tag.as_bytes().chunks(2).map(pair).collect();
    bytes.filter(|bytes| tag_size(bytes) == Some(bytes.len()))
}
