//! The memory of one control frame that arrives in pieces.
//!
//! Bounds  126 bytes
//! Source  RFC 6455 section 5.5

use crate::header::CONTROL_BYTES_MAX;

/// The payload of a control frame that arrives in pieces.
#[derive(Debug)]
pub(super) struct Control {
    count: u8,
    bytes: [u8; CONTROL_BYTES_MAX],
}

impl Control {
    /// Appends `piece`; the header was refused if it announced more than there is room for.
    pub(super) fn append(&mut self, piece: &[u8]) {
        for byte in piece {
            self.bytes[usize::from(self.count)] = *byte;
            self.count += 1;
        }
    }

    /// The payload so far.
    pub(super) fn payload(&self) -> &[u8] {
        &self.bytes[..usize::from(self.count)]
    }
}

impl Default for Control {
    fn default() -> Control {
        Control { count: 0, bytes: [0; CONTROL_BYTES_MAX] }
    }
}
