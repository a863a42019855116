//! Where in the stream a decoder is: what must be known of the bytes before.
//!
//! Bounds  24 bytes

use crate::header::HEADER_BYTES_MAX;
use crate::{DecodeError, Opcode};

/// Where in the stream a decoder is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// At a frame boundary, or inside a header.
    Header(HeaderBegun),
    /// Inside a payload, or right in front of it.
    Payload(Frame),
    /// After the peer's close frame.
    Closed,
    /// After an error.
    Failed(DecodeError),
}

impl Default for Place {
    fn default() -> Place {
        Place::Header(HeaderBegun::default())
    }
}

/// The front of a header that is not whole yet.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct HeaderBegun {
    pub(super) count: u8,
    pub(super) bytes: [u8; HEADER_BYTES_MAX - 1],
}

impl HeaderBegun {
    /// With `more` of the header, which is still not whole.
    pub(super) fn with(mut self, more: &[u8]) -> HeaderBegun {
        for byte in more {
            self.bytes[usize::from(self.count)] = *byte;
            self.count += 1;
        }
        self
    }
}

/// What is still to come of a frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) rest: u64,
    /// The mask, turned so that its first byte is for the first byte of the rest.
    pub(super) mask: Option<[u8; 4]>,
    pub(super) opcode: Opcode,
    pub(super) fin: bool,
}

impl Frame {
    /// The frame after `bytes` of it were taken.
    pub(super) fn after(self, bytes: usize) -> Frame {
        let turned = self.mask.map(|mut mask| {
            mask.rotate_left(bytes % 4);
            mask
        });
        Frame { rest: self.rest - bytes as u64, mask: turned, ..self }
    }
}

const _: () = assert!(size_of::<Place>() <= 24);
