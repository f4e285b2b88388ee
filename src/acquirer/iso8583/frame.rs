//! Where a message begins and ends in a stream: a length in front, and for some hosts a TPDU.

use super::Wrong;
use super::dialect::{Charset, Dialect, HeaderLength};
use super::field;
use super::message::room;

/// The longest message that any host may send, bytes: what four ASCII digits can say.
pub const LIMIT: usize = 9_999;

/// The addresses in front of a message: its kind (`60`), whom it goes to, whom it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tpdu(pub [u8; 5]);

impl Tpdu {
    /// In an answer the addresses have changed places.
    #[must_use]
    pub fn answer(self) -> Tpdu {
        let [kind, a, b, c, d] = self.0;
        Tpdu([kind, c, d, a, b])
    }
}

/// What `split` found at the beginning of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framed<'a> {
    pub tpdu: Option<Tpdu>,
    /// Empty for a keep-alive: a length of zero.
    pub message: &'a [u8],
    /// How many bytes of the buffer it was, with all that stands in front.
    pub taken: usize,
}

/// How a dialect puts its messages in a stream.
#[derive(Clone, Debug)]
pub struct Frame {
    length: HeaderLength,
    counts_itself: bool,
    tpdu: Option<Tpdu>,
    /// Bytes behind the length.
    limit: usize,
}

impl Frame {
    /// # Errors
    /// What in the dialect's header cannot be, with the key.
    pub fn new(dialect: &Dialect) -> Result<Frame, String> {
        let header = &dialect.header;
        let tpdu = |text: &String| {
            let mut bytes = Vec::new();
            let read = field::take_hex(text.as_bytes(), Charset::Ascii, &mut bytes);
            let five = bytes.try_into().ok().filter(|_| text.len() == 10 && read.is_ok());
            five.map(Tpdu).ok_or("header.tpdu: ten hexadecimal digits, as in 6000010000")
        };
        let limit = header.limit.unwrap_or(LIMIT);
        if !(1..=LIMIT).contains(&limit) {
            return Err(format!("header.limit: 1 to {LIMIT}"));
        }
        let tpdu = header.tpdu.as_ref().map(tpdu).transpose()?;
        Ok(Frame { length: header.length, counts_itself: header.counts_itself, tpdu, limit })
    }

    /// Appends what stands in front of a message, and the message. A request goes with the dialect's own TPDU (`None`), an
    /// answer with [`Tpdu::answer`] of the request's; without a TPDU in the dialect it is not looked at.
    ///
    /// # Errors
    /// When the message is too long for a frame.
    pub fn wrap(&self, tpdu: Option<Tpdu>, message: &[u8], out: &mut Vec<u8>) -> Result<(), Wrong> {
        let tpdu = self.tpdu.map(|own| tpdu.unwrap_or(own).0);
        let tpdu = tpdu.as_ref().map_or(&[][..], |bytes| bytes);
        let length = tpdu.len() + message.len();
        let said = length + self.own();
        // The digits' own limit comes first where the length counts itself.
        if length > self.limit || said > self.greatest() {
            return Err(Wrong::new(None, "the message is too long for a frame"));
        }
        room(out, self.size() + length);
        match self.length {
            HeaderLength::Binary => out.extend_from_slice(&(said as u16).to_be_bytes()),
            HeaderLength::Ascii => out.extend((0..4).rev().map(|place| b'0' | (said / 10_usize.pow(place) % 10) as u8)),
        }
        out.extend_from_slice(tpdu);
        out.extend_from_slice(message);
        Ok(())
    }

    /// The first message of a buffer that grows; `None` until all of it has come.
    ///
    /// # Errors
    /// When the length in front cannot be: from there the stream is lost.
    pub fn split<'a>(&self, buffer: &'a [u8]) -> Result<Option<Framed<'a>>, Wrong> {
        let Some((front, rest)) = buffer.split_at_checked(self.size()) else { return Ok(None) };
        let base = match self.length {
            HeaderLength::Binary => 256,
            HeaderLength::Ascii if front.iter().all(u8::is_ascii_digit) => 10,
            HeaderLength::Ascii => return Err(Wrong::new(None, "the length in front is no number")),
        };
        let value = |byte: &u8| usize::from(if base == 10 { byte & 0x0f } else { *byte });
        let said = front.iter().fold(0, |length, byte| length * base + value(byte));
        let Some(length) = said.checked_sub(self.own()) else {
            return Err(Wrong::new(None, "the length in front is less than its own"));
        };
        if length > self.limit {
            return Err(Wrong::new(None, format!("the length in front is over {}", self.limit)));
        }
        let Some(content) = rest.get(..length) else { return Ok(None) };
        let taken = self.size() + length;
        match content.split_first_chunk() {
            _ if self.tpdu.is_none() || length == 0 => Ok(Some(Framed { tpdu: None, message: content, taken })),
            Some((tpdu, message)) => Ok(Some(Framed { tpdu: Some(Tpdu(*tpdu)), message, taken })),
            None => Err(Wrong::new(None, "the length in front is less than a TPDU's")),
        }
    }

    /// Of the length, bytes.
    fn size(&self) -> usize {
        match self.length {
            HeaderLength::Binary => 2,
            HeaderLength::Ascii => 4,
        }
    }

    /// What of the length is its own.
    fn own(&self) -> usize {
        if self.counts_itself { self.size() } else { 0 }
    }

    fn greatest(&self) -> usize {
        match self.length {
            HeaderLength::Binary => 0xffff,
            HeaderLength::Ascii => 9_999,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(header: &str) -> Result<Frame, String> {
        Frame::new(&Dialect::parse(&format!("version = 1987\n[fields]\n[header]\n{header}")).unwrap())
    }

    #[test]
    fn messages_come_out_as_they_went_in() {
        for (header, front) in [
            ("", &b"\0\x03"[..]),
            ("counts_itself = true", b"\0\x05"),
            ("length = 'ascii'", b"0003"),
            ("length = 'ascii'\ncounts_itself = true", b"0007"),
            ("tpdu = '6000010000'", b"\0\x08\x60\0\x01\0\0"),
            ("length = 'ascii'\ncounts_itself = true\ntpdu = '60000100ab'", b"0012\x60\0\x01\0\xab"),
        ] {
            let frame = frame(header).unwrap();
            let mut out = b"before".to_vec();
            frame.wrap(None, b"abc", &mut out).unwrap();
            assert_eq!(out, [b"before", front, b"abc"].concat(), "{header}");
            let stream = [&out[6..], b"\0\x01more"].concat();
            for end in 0..front.len() + 3 {
                assert_eq!(frame.split(&stream[..end]), Ok(None), "{header} {end}");
            }
            let found = frame.split(&stream).unwrap().unwrap();
            assert_eq!((found.message, found.taken), (&b"abc"[..], front.len() + 3), "{header}");
            // An answer goes back to whom the request came from.
            let mut answer = Vec::new();
            frame.wrap(found.tpdu.map(Tpdu::answer), b"", &mut answer).unwrap();
            if let Some(Tpdu(bytes)) = found.tpdu {
                let [_, a, b, c, d] = bytes;
                assert!(answer.ends_with(&[0x60, c, d, a, b]), "{header}");
            }
            assert_eq!(frame.split(&answer).unwrap().unwrap().message, b"");
        }
    }

    #[test]
    fn lengths_that_cannot_be_are_told() {
        for (header, bytes) in [
            ("", &b"\x27\x10"[..]),
            ("", b"\xff\xff"),
            ("limit = 100", b"\0\x65"),
            ("counts_itself = true", b"\0\x01"),
            ("length = 'ascii'", b"00x3"),
            ("length = 'ascii'", b"-001"),
            ("length = 'ascii'\ncounts_itself = true", b"0003"),
            ("tpdu = '6000010000'", b"\0\x03abc"),
        ] {
            assert!(frame(header).unwrap().split(bytes).is_err(), "{header}");
        }
        assert_eq!(frame("").unwrap().split(b"\x27\x0f"), Ok(None));
        let mut out = Vec::new();
        let long = vec![0; LIMIT];
        frame("").unwrap().wrap(None, &long, &mut out).unwrap();
        for header in ["tpdu = '6000010000'", "length = 'ascii'\ncounts_itself = true", "limit = 9998"] {
            let error = frame(header).unwrap().wrap(None, &long, &mut Vec::new()).unwrap_err();
            assert_eq!(error.to_string(), "the message is too long for a frame");
        }
    }

    #[test]
    fn mistakes_in_a_header_are_told_with_the_key() {
        for header in ["tpdu = '60000100'", "tpdu = '600001000x'", "tpdu = '60000100000'"] {
            assert_eq!(frame(header).unwrap_err(), "header.tpdu: ten hexadecimal digits, as in 6000010000");
        }
        assert_eq!(frame("limit = 0").unwrap_err(), "header.limit: 1 to 9999");
        assert_eq!(frame("limit = 10000").unwrap_err(), "header.limit: 1 to 9999");
    }
}
