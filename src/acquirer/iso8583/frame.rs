//! Where a message begins and ends in a stream: a length in front, and for some hosts a TPDU.

use super::Wrong;
use super::dialect::Dialect;

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
pub struct Frame {}

impl Frame {
    /// # Errors
    /// What in the dialect's header cannot be, with the key.
    pub fn new(_dialect: &Dialect) -> Result<Frame, String> {
        Ok(Frame {})
    }

    /// Appends what stands in front of a message, and the message. A request goes with the dialect's own TPDU (`None`), an
    /// answer with [`Tpdu::answer`] of the request's; without a TPDU in the dialect it is not looked at.
    ///
    /// # Errors
    /// When the message is too long for a frame.
    pub fn wrap(&self, _tpdu: Option<Tpdu>, _message: &[u8], _out: &mut Vec<u8>) -> Result<(), Wrong> {
        Err(Wrong::new(None, "not yet"))
    }

    /// The first message of a buffer that grows; `None` until all of it has come.
    ///
    /// # Errors
    /// When the length in front cannot be: from there the stream is lost.
    pub fn split<'a>(&self, _buffer: &'a [u8]) -> Result<Option<Framed<'a>>, Wrong> {
        Err(Wrong::new(None, "not yet"))
    }
}
