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
        // Enough for an authorization: growing costs a copy and its zeroing.
        Message { mti, bytes: Zeroizing::new(Vec::with_capacity(512)), spans: Vec::with_capacity(32) }
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
        let span = Span { field, start, value: start + tag.len(), end: self.bytes.len() };
        let at = match self.spans.last() {
            Some(last) if last.field > field => self.spans.partition_point(|other| other.field <= field),
            _ => self.spans.len(),
        };
        self.spans.insert(at, span);
    }

    fn find(&self, field: u8, tag: &str) -> Option<usize> {
        let first = self.spans.partition_point(|span| span.field < field);
        let own = self.spans[first..].iter().take_while(|span| span.field == field);
        own.map(|span| self.part(span)).position(|part| part.1 == tag).map(|at| first + at)
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
