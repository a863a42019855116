//! Decoding: received bytes become messages and control frames.
//!
//! In      bytes of one connection in order, split anywhere, still masked
//! Out     one event at a time; payloads unmasked in place and borrowed wherever they lie whole in the input
//! Bounds  64 bytes per connection; memory only for messages and control frames that arrive in pieces: messages up
//!         to `Rules::message_bytes_max`, all decoders together up to their `Budget`; control frames 126 bytes each
//! Source  RFC 6455 sections 5.1 to 5.5, 7.4 and 8.1

mod assembly;
mod control;
mod place;

use std::ops::Range;

use crate::header::{HEADER_BYTES_MAX, is_masked, parse_first};
use crate::{
    Budget, CloseFrame, DecodeError, Header, InvalidUtf8, Kind, Limit, Opcode, Parsed, Role, Rules, Utf8,
    Violation, mask,
};
use assembly::Assembly;
use control::Control;
use place::{Frame, HeaderBegun, Place};

/// What the peer sent. Payloads are unmasked; they lie in the input or in the decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// The whole input is consumed; the next event needs more of it.
    Partial,
    /// A whole message, however many frames it came in. The payload of text is valid UTF-8.
    Message {
        /// Text or binary.
        kind: Kind,
        /// All of it.
        payload: &'a [u8],
    },
    /// A ping, to be answered by a pong with the same payload of at most 125 bytes.
    Ping(&'a [u8]),
    /// A pong.
    Pong(&'a [u8]),
    /// The peer's close frame, with its code and reason if it has any. Nothing comes after it: later input is
    /// consumed and ignored (RFC 6455 s1.4).
    Close(Option<CloseFrame<'a>>),
}

/// The decoder of one connection: where it is in the stream, and what it holds of messages not whole yet.
///
/// 64 bytes, and nothing else while messages lie whole in the input. Not to be dropped while it holds memory of a
/// budget: call [`Decoder::release`] first.
/// ```
/// use fanwire_ws::{Budget, Decoder, Event, Role, Rules};
///
/// let rules = Rules { role: Role::Client, message_bytes_max: 1024 };
/// let mut budget = Budget::new(4096);
/// let mut decoder = Decoder::new();
/// let mut input = *b"\x89\x02hi\x82\x01!\x81";
/// let mut rest = &mut input[..];
/// let mut events = 0;
/// loop {
///     let (consumed, event) = decoder.decode(&rules, &mut budget, rest);
///     match event? {
///         Event::Partial => break,
///         _ => events += 1,
///     }
///     rest = &mut rest[consumed..];
/// }
/// assert_eq!(events, 2);
/// decoder.release(&mut budget);
/// # Ok::<(), fanwire_ws::DecodeError>(())
/// ```
#[derive(Debug, Default)]
pub struct Decoder {
    place: Place,
    /// The fragments of the message under way, or of the one delivered last.
    message: Assembly,
    /// INVARIANT: `Some` only inside a control frame that began in an earlier input, and until the call after the
    /// one that delivered it.
    control: Option<Box<Control>>,
    /// Where `message` ends within a character, if it is text.
    utf8: Utf8,
    /// INVARIANT: `Some` from the first frame of a message until the last one is whole.
    kind: Option<Kind>,
    delivered: Delivered,
}

impl Decoder {
    /// A decoder at the start of a connection, right after the handshake.
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// Consumes from the front of `input`, unmasking it in place, and returns how much, with one event.
    ///
    /// Call it again with the rest until it returns [`Event::Partial`], also if nothing is left: that call frees
    /// what an assembled message held. The same bytes give the same events however they are split, except that only
    /// what arrives in pieces takes from `budget`.
    ///
    /// Cost: `O(consumed)`; a message that lies whole in `input` is unmasked, checked if it is text, and not copied.
    ///
    /// # Errors
    /// `Violation` as soon as the byte that breaks the rule is there; `Limit::MessageBytes` as soon as a header
    /// announces more than the limit; `Limit::AssemblyBytes` when a piece does not fit into `budget`. After an error
    /// every call consumes everything and returns the same error.
    pub fn decode<'a>(
        &'a mut self,
        rules: &Rules,
        budget: &mut Budget,
        input: &'a mut [u8],
    ) -> (usize, Result<Event<'a>, DecodeError>) {
        self.forget_delivered(budget);
        let input_bytes = input.len();
        let (consumed, found) = match self.advance(rules, budget, input) {
            Ok(advanced) => advanced,
            Err(error) => {
                self.fail(error, budget);
                return (input_bytes, Err(error));
            }
        };
        let event = match found {
            Found::Nothing => Event::Partial,
            Found::Message(kind, Payload::Input(range)) => Event::Message { kind, payload: &input[range] },
            Found::Message(kind, Payload::Held) => Event::Message { kind, payload: self.message.payload() },
            Found::Control(opcode, payload) => {
                let payload = match payload {
                    Payload::Input(range) => &input[range],
                    Payload::Held => self.control.as_deref().map_or(&[][..], Control::payload),
                };
                match opcode {
                    Opcode::Ping => Event::Ping(payload),
                    Opcode::Pong => Event::Pong(payload),
                    _ => match CloseFrame::parse(payload) {
                        Ok(frame) => {
                            self.message.free(budget);
                            Event::Close(frame)
                        }
                        Err(violation) => {
                            self.message.free(budget);
                            self.place = Place::Failed(violation.into());
                            return (input_bytes, Err(violation.into()));
                        }
                    },
                }
            }
        };
        (consumed, Ok(event))
    }

    /// Gives back to `budget` what the decoder holds of it, and frees that memory. For the end of a connection: what
    /// had arrived of a message is lost, and the decoder is consumed in all but name.
    pub fn release(&mut self, budget: &mut Budget) {
        self.message.free(budget);
        self.control = None;
        self.delivered = Delivered::Nothing;
        if !matches!(self.place, Place::Failed(_)) {
            self.place = Place::Closed;
        }
    }

    /// Bytes that the decoder holds for a message that is not whole yet or was delivered last: its capacity, as
    /// counted in the budget.
    pub fn assembled_bytes(&self) -> usize {
        self.message.capacity()
    }

    /// Frees what held the payload that the caller has done with. Nothing is kept while a connection is idle.
    fn forget_delivered(&mut self, budget: &mut Budget) {
        match self.delivered {
            Delivered::Nothing => return,
            Delivered::Message => self.message.free(budget),
            Delivered::Control => self.control = None,
        }
        self.delivered = Delivered::Nothing;
    }

    fn fail(&mut self, error: DecodeError, budget: &mut Budget) {
        self.release(budget);
        self.place = Place::Failed(error);
    }

    /// Goes through the input until something is found or the input ends; returns how much was consumed.
    fn advance(
        &mut self,
        rules: &Rules,
        budget: &mut Budget,
        input: &mut [u8],
    ) -> Result<(usize, Found), DecodeError> {
        let mut at = 0;
        loop {
            let frame = match self.place {
                Place::Header(begun) => match self.take_header(begun, rules, &input[at..])? {
                    Some((frame, bytes)) => {
                        at += bytes;
                        frame
                    }
                    None => return Ok((input.len(), Found::Nothing)),
                },
                Place::Payload(frame) => frame,
                Place::Closed => return Ok((input.len(), Found::Nothing)),
                Place::Failed(error) => return Err(error),
            };
            let rest = input.len() - at;
            let part = at..at + usize::try_from(frame.rest).map_or(rest, |bytes| bytes.min(rest));
            at = part.end;
            if let Some(mask) = frame.mask {
                mask::apply(mask, 0, &mut input[part.clone()]);
            }
            let found = if frame.opcode.is_control() {
                self.take_control(frame, input, part)
            } else {
                self.take_message(frame, input, part, rules, budget)?
            };
            if found != Found::Nothing || matches!(self.place, Place::Payload(_)) {
                return Ok((at, found));
            }
        }
    }

    /// Takes the rest of a header from the front of `input`; returns the frame it begins and the bytes it took, or
    /// keeps all of `input` if the header is still not whole.
    fn take_header(
        &mut self,
        begun: HeaderBegun,
        rules: &Rules,
        input: &[u8],
    ) -> Result<Option<(Frame, usize)>, DecodeError> {
        if begun.count == 0 {
            return match self.parse_header(rules, input)? {
                Parsed::Header(header, bytes) => Ok(Some((self.begin(header, rules)?, bytes))),
                Parsed::Partial => {
                    self.place = Place::Header(HeaderBegun::default().with(input));
                    Ok(None)
                }
            };
        }
        let held = usize::from(begun.count);
        let mut bytes = [0; HEADER_BYTES_MAX];
        let end = HEADER_BYTES_MAX.min(held + input.len());
        bytes[..held].copy_from_slice(&begun.bytes[..held]);
        bytes[held..end].copy_from_slice(&input[..end - held]);
        match self.parse_header(rules, &bytes[..end])? {
            Parsed::Header(header, bytes) => Ok(Some((self.begin(header, rules)?, bytes - held))),
            Parsed::Partial => {
                self.place = Place::Header(begun.with(input));
                Ok(None)
            }
        }
    }

    /// `Header::parse`, with the rules that depend on our role and on the frames before, each at its byte.
    fn parse_header(&self, rules: &Rules, bytes: &[u8]) -> Result<Parsed, Violation> {
        if let Some(first) = bytes.first() {
            let (_, opcode) = parse_first(*first)?;
            // RFC 6455 s5.4: the fragments of one message are not interleaved with those of another.
            match (opcode, self.kind) {
                (Opcode::Continuation, None) => return Err(Violation::ContinuationStray),
                (Opcode::Text | Opcode::Binary, Some(_)) => return Err(Violation::MessageInterleaved),
                _ => {}
            }
        }
        if let Some(second) = bytes.get(1) {
            // RFC 6455 s5.1: a client masks all frames, a server none.
            match (rules.role, is_masked(*second)) {
                (Role::Server, false) => return Err(Violation::Unmasked),
                (Role::Client, true) => return Err(Violation::Masked),
                _ => {}
            }
        }
        Header::parse(bytes)
    }

    /// Begins the frame that `header` announces.
    fn begin(&mut self, header: Header, rules: &Rules) -> Result<Frame, Limit> {
        let Header { fin, opcode, mask, payload_bytes } = header;
        if !opcode.is_control() {
            let message_bytes_rest =
                rules.message_bytes_max.saturating_sub(self.message.payload().len() as u64);
            if payload_bytes > message_bytes_rest {
                return Err(Limit::MessageBytes);
            }
            self.kind = self.kind.or(opcode.kind());
        }
        Ok(Frame { rest: payload_bytes, mask, opcode, fin })
    }

    /// Takes `part` of a control frame's payload from the input.
    fn take_control(&mut self, frame: Frame, input: &[u8], part: Range<usize>) -> Found {
        let rest = frame.rest - part.len() as u64;
        let held = self.control.is_some();
        if rest > 0 || held {
            self.control.get_or_insert_default().append(&input[part.clone()]);
        }
        if rest > 0 {
            self.place = Place::Payload(frame.after(part.len()));
            return Found::Nothing;
        }
        self.place = if frame.opcode == Opcode::Close { Place::Closed } else { Place::default() };
        if held {
            self.delivered = Delivered::Control;
            Found::Control(frame.opcode, Payload::Held)
        } else {
            Found::Control(frame.opcode, Payload::Input(part))
        }
    }

    /// Takes `part` of a data frame's payload from the input.
    fn take_message(
        &mut self,
        frame: Frame,
        input: &[u8],
        part: Range<usize>,
        rules: &Rules,
        budget: &mut Budget,
    ) -> Result<Found, DecodeError> {
        let piece = &input[part.clone()];
        let rest = frame.rest - piece.len() as u64;
        if self.kind == Some(Kind::Text) {
            self.utf8.push(piece).map_err(text_not_utf8)?;
        }
        let is_end = frame.fin && rest == 0;
        // Empty fragments before it do not keep the last one from being the whole message.
        let lies_whole = is_end && self.message.payload().is_empty();
        if !lies_whole {
            // After the last fragment nothing grows any more; before it the message may, up to the limit.
            let frame_end = self.message.payload().len() as u64 + frame.rest;
            let message_end = if frame.fin { frame_end } else { frame_end.max(rules.message_bytes_max) };
            self.message.append(piece, message_end, budget)?;
        }
        self.place = if rest > 0 { Place::Payload(frame.after(piece.len())) } else { Place::default() };
        let (true, Some(kind)) = (is_end, self.kind) else { return Ok(Found::Nothing) };
        if !self.utf8.is_complete() {
            return Err(text_not_utf8(InvalidUtf8).into());
        }
        self.kind = None;
        if lies_whole {
            return Ok(Found::Message(kind, Payload::Input(part)));
        }
        self.delivered = Delivered::Message;
        Ok(Found::Message(kind, Payload::Held))
    }
}

/// Whose memory the last event lent to the caller.
#[derive(Debug, Clone, Copy, Default)]
enum Delivered {
    #[default]
    Nothing,
    Message,
    Control,
}

/// An event whose payload is not borrowed yet.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Message(Kind, Payload),
    Control(Opcode, Payload),
}

/// Where a payload lies.
#[derive(Debug, PartialEq, Eq)]
enum Payload {
    Input(Range<usize>),
    Held,
}

fn text_not_utf8(_: InvalidUtf8) -> Violation {
    Violation::TextNotUtf8
}

/// Hundreds of thousands of connections have one each.
const _: () = assert!(size_of::<Decoder>() <= 64);

#[cfg(test)]
mod tests;
