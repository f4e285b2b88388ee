//! From a message to the bytes of the wire and back, as a dialect says.

use super::Wrong;
use super::dialect::Dialect;
use super::message::Message;

/// A dialect made ready for work.
pub struct Codec {}

impl Codec {
    /// # Errors
    /// What in the dialect's fields cannot be, with the key.
    pub fn new(_dialect: &Dialect) -> Result<Codec, String> {
        Ok(Codec {})
    }

    /// Appends the message to `out`, without a frame. `out` grows without leaving copies behind; after an error it is as before.
    ///
    /// # Errors
    /// What does not fit: an unknown field, a value too long or of the wrong characters.
    pub fn encode(&self, _message: &Message, _out: &mut Vec<u8>) -> Result<(), Wrong> {
        Err(Wrong::new(None, "not yet"))
    }

    /// Reads one whole message.
    ///
    /// # Errors
    /// Whatever is malformed: cut off, too long, of other characters, unknown, left over.
    pub fn decode(&self, _bytes: &[u8]) -> Result<Message, Wrong> {
        Err(Wrong::new(None, "not yet"))
    }
}
