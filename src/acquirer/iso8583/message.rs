//! A message apart from the wire: its type and its fields, all in one buffer that is zeroed when it is let go (PCI DSS 3.5:
//! field 2 is a card number).

use std::fmt;
use zeroize::{Zeroize, Zeroizing};

/// A message type, four ASCII digits: version, class, function, origin (ISO 8583 section 4.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mti([u8; 4]);

impl Mti {
    /// `None` unless it is four digits.
    pub fn parse(text: &[u8]) -> Option<Mti> {
        let digits: [u8; 4] = text.try_into().ok()?;
        digits.iter().all(u8::is_ascii_digit).then_some(Mti(digits))
    }

    pub fn digits(self) -> [u8; 4] {
        self.0
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// `0` of 1987, `1` of 1993, an ASCII digit.
    pub fn version(self) -> u8 {
        self.0[0]
    }

    /// `1` authorization, `2` financial, `4` reversal, `8` network management, an ASCII digit.
    pub fn class(self) -> u8 {
        self.0[1]
    }

    /// `0` request, `1` its answer, `2` advice, `3` its answer, an ASCII digit.
    pub fn function(self) -> u8 {
        self.0[2]
    }

    /// The type of the answer: 0100 -> 0110, 0421 -> 0430: the origin says no longer that it was a repeat. `None` for what is
    /// not answered: an answer, a notification.
    pub fn answer(self) -> Option<Mti> {
        let [version, class, function, origin] = self.0;
        let repeats = matches!(origin, b'1' | b'3' | b'5');
        matches!(function, b'0' | b'2' | b'6' | b'8').then_some(Mti([
            version,
            class,
            function + 1,
            if repeats { origin - 1 } else { origin },
        ]))
    }

    /// Whether this is an answer to `request`: also 0431 to 0421, as some hosts do.
    pub fn answers(self, request: Mti) -> bool {
        let Some(answer) = request.answer() else { return false };
        self == answer || (self.0[..3] == answer.0[..3] && self.0[3] == request.0[3])
    }
}

impl fmt::Display for Mti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Mti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Makes room for `more` bytes: a `Vec` that grew by itself would leave a copy behind that is not zeroed.
pub fn room(buffer: &mut Vec<u8>, more: usize) {
    if buffer.capacity() - buffer.len() < more {
        let mut larger = Vec::with_capacity((buffer.len() + more).max(buffer.capacity() * 2));
        larger.extend_from_slice(buffer);
        std::mem::replace(buffer, larger).zeroize();
    }
}

/// One value: a field's, or a sub-element's of it. In the buffer its tag comes first.
#[derive(Clone, Copy)]
struct Span {
    field: u8,
    start: usize,
    /// Where the tag ends and the value begins; `start` for a whole field.
    value: usize,
    end: usize,
}

/// A message: values as people write them, whatever the wire's encodings. Type n: ASCII digits; a, an, ans and z: UTF-8 of the
/// characters that the wire can hold; b: raw bytes. The encoder pads what is of fixed length, and the decoder takes the
/// spaces off again.
///
/// A field whose dialect says `elements` has no value of its own: it is made of its sub-elements, in the order in which
/// they were set.
#[derive(Clone)]
pub struct Message {
    mti: Mti,
    bytes: Zeroizing<Vec<u8>>,
    /// By field, and within a field as set.
    spans: Vec<Span>,
}

impl Message {
    pub fn new(mti: Mti) -> Message {
        // Enough for most authorizations: growing costs a copy and its zeroing, and so does room that is not used.
        Message { mti, bytes: Zeroizing::new(Vec::with_capacity(320)), spans: Vec::with_capacity(32) }
    }

    pub fn mti(&self) -> Mti {
        self.mti
    }

    /// Sets a field as a whole, in the place of what it had. Whether the dialect has the field and the value fits, the encoder
    /// says.
    pub fn set(&mut self, field: u8, value: &[u8]) {
        self.remove(field);
        self.add(field, "", value);
    }

    /// `None` when the field is not there, or is made of sub-elements.
    pub fn get(&self, field: u8) -> Option<&[u8]> {
        self.sub(field, "")
    }

    /// The same as text; `None` for bytes that are no text too.
    pub fn text(&self, field: u8) -> Option<&str> {
        std::str::from_utf8(self.get(field)?).ok()
    }

    /// Sets a sub-element, in the place of the first of that tag, or behind the others. The tag as the dialect writes it: `42` in
    /// field 48, `9F26` in field 55. An empty one is the whole field.
    pub fn set_sub(&mut self, field: u8, tag: &str, value: &[u8]) {
        if tag.is_empty() {
            return self.set(field, value);
        }
        if self.get(field).is_some() {
            self.remove(field);
        }
        match self.find(field, tag) {
            Some(at) => {
                let Span { value: start, end, .. } = self.spans[at];
                self.replace(at, start..end, value);
            }
            None => self.add(field, tag, value),
        }
    }

    /// The first sub-element of that tag.
    pub fn sub(&self, field: u8, tag: &str) -> Option<&[u8]> {
        self.find(field, tag).map(|at| self.part(&self.spans[at]).2)
    }

    /// The numbers of the fields that are there, ascending, each once.
    pub fn fields(&self) -> impl Iterator<Item = u8> + '_ {
        let mut last = None;
        self.spans.iter().map(|span| span.field).filter(move |field| last.replace(*field) != Some(*field))
    }

    /// All there is, by field, and within a field as set: field, tag (empty for a whole field), value.
    pub fn parts(&self) -> impl Iterator<Item = (u8, &str, &[u8])> {
        self.spans.iter().map(|span| self.part(span))
    }

    /// Takes a field out, with its sub-elements.
    pub fn remove(&mut self, field: u8) {
        // Most messages are filled from the first field to the last.
        if self.spans.last().is_none_or(|last| last.field < field) {
            return;
        }
        while let Some(at) = self.spans.iter().position(|span| span.field == field) {
            let Span { start, end, .. } = self.spans[at];
            self.replace(at, start..end, b"");
            self.spans.remove(at);
        }
    }

    /// Adds a part behind those of its field and of lower ones, whether or not there is one of that tag.
    pub(super) fn add(&mut self, field: u8, tag: &str, value: &[u8]) {
        room(&mut self.bytes, tag.len() + value.len());
        let start = self.bytes.len();
        self.bytes.extend_from_slice(tag.as_bytes());
        self.bytes.extend_from_slice(value);
        self.close(Span { field, start, value: start + tag.len(), end: self.bytes.len() });
    }

    /// The same of a whole field, whose value `write` appends with [`room`].
    pub(super) fn add_from<E>(
        &mut self,
        field: u8,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.bytes.len();
        write(&mut self.bytes)?;
        self.close(Span { field, start, value: start, end: self.bytes.len() });
        Ok(())
    }

    fn close(&mut self, span: Span) {
        let at = match self.spans.last() {
            Some(last) if last.field > span.field => self.spans.partition_point(|other| other.field <= span.field),
            _ => self.spans.len(),
        };
        self.spans.insert(at, span);
    }

    fn find(&self, field: u8, tag: &str) -> Option<usize> {
        let first = self.spans.partition_point(|span| span.field < field);
        let own = self.spans[first..].iter().take_while(|span| span.field == field);
        let tagged = |span: &Span| self.bytes[span.start..span.value] == *tag.as_bytes();
        own.map(tagged).position(|is_it| is_it).map(|at| first + at)
    }

    fn part(&self, span: &Span) -> (u8, &str, &[u8]) {
        let tag = std::str::from_utf8(&self.bytes[span.start..span.value]).unwrap_or_default();
        (span.field, tag, &self.bytes[span.value..span.end])
    }

    /// Puts other bytes in a part of the span `at`; what lies behind moves.
    fn replace(&mut self, at: usize, range: std::ops::Range<usize>, value: &[u8]) {
        let (start, end) = (range.start, range.end);
        room(&mut self.bytes, value.len());
        self.bytes.splice(range, value.iter().copied());
        let moved = |position: usize| position - end + start + value.len();
        for span in &mut self.spans {
            if span.start >= end {
                *span = Span { start: moved(span.start), value: moved(span.value), end: moved(span.end), ..*span };
            }
        }
        self.spans[at].end = moved(end);
    }
}

/// Nothing but which fields there are: [`super::mask`] shows what may be seen.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.mti, self.fields().collect::<Vec<u8>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mti(text: &str) -> Mti {
        Mti::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn answers_follow_their_requests() {
        for (request, answer) in [
            ("0100", "0110"),
            ("0200", "0210"),
            ("0201", "0210"),
            ("0220", "0230"),
            ("0221", "0230"),
            ("0400", "0410"),
            ("0420", "0430"),
            ("0421", "0430"),
            ("0800", "0810"),
            ("1423", "1432"),
        ] {
            assert_eq!(mti(request).answer(), Some(mti(answer)), "{request}");
            assert!(mti(answer).answers(mti(request)), "{request}");
        }
        assert!(mti("0431").answers(mti("0421")));
        for wrong in ["0431", "0410", "0420", "0421", "1430", "0230", "0439"] {
            assert!(!mti(wrong).answers(mti("0420")), "{wrong}");
        }
        for silent in ["0110", "0430", "0140", "0190"] {
            assert_eq!(mti(silent).answer(), None, "{silent}");
        }
        for bad in ["", "010", "01000", "01x0", "０１"] {
            assert!(Mti::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn fields_are_set_in_any_order() {
        let mut message = Message::new(mti("0100"));
        message.set(41, b"TERM");
        message.set(3, b"000000");
        message.set_sub(48, "92", b"123");
        message.set_sub(48, "42", b"212");
        message.set(128, b"12345678");
        message.set(4, b"1000");
        message.set(41, b"TERMINAL");
        message.set(4, b"1");
        message.set_sub(48, "92", b"9");
        let parts: Vec<(u8, &str, &[u8])> = message.parts().collect();
        let wanted: Vec<(u8, &str, &[u8])> = vec![
            (3, "", b"000000"),
            (4, "", b"1"),
            (41, "", b"TERMINAL"),
            (48, "92", b"9"),
            (48, "42", b"212"),
            (128, "", b"12345678"),
        ];
        assert_eq!(parts, wanted);
        assert_eq!(message.fields().collect::<Vec<u8>>(), [3, 4, 41, 48, 128]);
        assert_eq!((message.get(48), message.sub(48, "42"), message.sub(48, "1")), (None, Some(&b"212"[..]), None));
        assert_eq!((message.text(41), message.text(5)), (Some("TERMINAL"), None));
        message.set(48, b"whole");
        assert_eq!((message.get(48), message.sub(48, "42")), (Some(&b"whole"[..]), None));
        message.set_sub(48, "42", b"210");
        assert_eq!((message.get(48), message.sub(48, "42")), (None, Some(&b"210"[..])));
        message.remove(48);
        message.remove(3);
        assert_eq!(message.fields().collect::<Vec<u8>>(), [4, 41, 128]);
        assert_eq!(message.get(128), Some(&b"12345678"[..]));
        // No value of it.
        assert_eq!(format!("{message:?}"), "0100 [4, 41, 128]");
    }

    proptest::proptest! {
        /// The same as a map would do, however often a value is set again.
        #[test]
        fn a_message_is_a_map(
            sets in proptest::collection::vec((0_u8..8, 0_u8..4, proptest::collection::vec(0_u8..=255, 0..40)), 0..200),
        ) {
            let mut message = Message::new(mti("0200"));
            let mut map = std::collections::BTreeMap::new();
            for (field, tag, value) in sets {
                let tag = ["", "1", "22", ""][usize::from(tag)];
                map.retain(|(other, kept): &(u8, &str), _| *other != field || (kept.is_empty() == tag.is_empty()));
                map.insert((field, tag), value.clone());
                message.set_sub(field, tag, &value);
            }
            let mut parts: Vec<(u8, &str, Vec<u8>)> = message.parts().map(|part| (part.0, part.1, part.2.to_vec())).collect();
            parts.sort();
            let wanted: Vec<(u8, &str, Vec<u8>)> = map.into_iter().map(|((field, tag), value)| (field, tag, value)).collect();
            proptest::prop_assert_eq!(parts, wanted);
        }
    }
}
