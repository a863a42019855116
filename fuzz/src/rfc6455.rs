//! A decoder written straight from the RFC, slow and plain: the twin of the one under test.
//!
//! In      all bytes that one end of a connection has received
//! Out     what they say, with the byte at which each thing is known; and how they end
//! Bounds  none: it copies and counts everything
//! Source  RFC 6455 sections 5.1 to 5.5, 7.4 and 8.1

use fanwire_ws::{DecodeError, Kind, Limit, Opcode, Role, Violation};

/// What a stream of frames says.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// Each event, behind the number of bytes after which it is known.
    pub(crate) events: Vec<(usize, Said)>,
    pub(crate) end: End,
    /// Whether the bytes end between two frames.
    pub(crate) at_boundary: bool,
}

/// One event. Payloads are unmasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    Message(Kind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

/// How a stream ends.
#[derive(Debug, Default)]
pub(crate) enum End {
    /// Nothing is wrong; more may come.
    #[default]
    Open,
    /// A close frame came, and what is behind it does not count.
    Closed,
    /// The byte in front of `at` breaks these rules, which stand at the same place.
    Failed { at: usize, reasons: Vec<DecodeError> },
}

/// What the frames before have left open.
struct Stream<'a> {
    bytes: &'a [u8],
    at: usize,
    role: Role,
    message_bytes_max: u64,
    message: Option<(Kind, Vec<u8>)>,
    reading: Reading,
}

/// Reads `bytes` as the end `role` of a connection.
pub(crate) fn read(bytes: &[u8], role: Role, message_bytes_max: u64) -> Reading {
    let reading = Reading::default();
    let mut stream = Stream { bytes, at: 0, role, message_bytes_max, message: None, reading };
    loop {
        stream.reading.at_boundary = stream.at == bytes.len();
        match stream.frame() {
            Some(Ok(true)) => {}
            Some(Ok(false)) => {
                stream.reading.end = End::Closed;
                stream.reading.at_boundary = stream.at == bytes.len();
                return stream.reading;
            }
            Some(Err(reasons)) => {
                stream.reading.end = End::Failed { at: stream.at, reasons };
                return stream.reading;
            }
            None => return stream.reading,
        }
    }
}

/// `None`: bytes are missing. Else whether the stream goes on, or what is wrong with the last byte looked at.
type Step<T> = Option<Result<T, Vec<DecodeError>>>;

/// The value of a step, or out with its lack.
macro_rules! step {
    ($step:expr) => {
        match $step {
            Some(Ok(value)) => value,
            Some(Err(reasons)) => return Some(Err(reasons)),
            None => return None,
        }
    };
}

impl Stream<'_> {
    fn frame(&mut self) -> Step<bool> {
        let first = self.byte()?;
        let (fin, opcode) = step!(self.first_byte(first));
        let second = self.byte()?;
        step!(self.second_byte(second, opcode));
        let payload_bytes = step!(self.length(second & 0x7F));
        let key = if second & 0x80 == 0 {
            [0; 4]
        } else {
            [self.byte()?, self.byte()?, self.byte()?, self.byte()?]
        };
        if opcode.is_control() {
            self.control(opcode, payload_bytes, key)
        } else {
            self.data(fin, opcode, payload_bytes, key)
        }
    }

    fn first_byte(&self, first: u8) -> Step<(bool, Opcode)> {
        let mut reasons = Vec::new();
        let fin = first & 0x80 != 0;
        // s5.2: "MUST be 0 unless an extension is negotiated"
        if first & 0x70 != 0 {
            reasons.push(Violation::ReservedBits.into());
        }
        let opcode = match first & 0x0F {
            0x0 => Some(Opcode::Continuation),
            0x1 => Some(Opcode::Text),
            0x2 => Some(Opcode::Binary),
            0x8 => Some(Opcode::Close),
            0x9 => Some(Opcode::Ping),
            0xA => Some(Opcode::Pong),
            // s5.2: "If an unknown opcode is received, the receiving endpoint MUST _Fail the WebSocket Connection_."
            _ => None,
        };
        match opcode {
            None => reasons.push(Violation::UnknownOpcode.into()),
            // s5.5: "MUST NOT be fragmented"
            Some(opcode) if opcode.is_control() && !fin => reasons.push(Violation::ControlFragmented.into()),
            // s5.4: fragments follow the frame that begins their message, and no other message comes between.
            Some(Opcode::Continuation) if self.message.is_none() => {
                reasons.push(Violation::ContinuationStray.into());
            }
            Some(Opcode::Text | Opcode::Binary) if self.message.is_some() => {
                reasons.push(Violation::MessageInterleaved.into());
            }
            Some(_) => {}
        }
        Some(opcode.filter(|_| reasons.is_empty()).map(|opcode| (fin, opcode)).ok_or(reasons))
    }

    fn second_byte(&self, second: u8, opcode: Opcode) -> Step<()> {
        let mut reasons = Vec::new();
        // s5.1: "a client MUST mask all frames", "A server MUST NOT mask any frames"
        match (self.role, second & 0x80 != 0) {
            (Role::Server, false) => reasons.push(Violation::Unmasked.into()),
            (Role::Client, true) => reasons.push(Violation::Masked.into()),
            _ => {}
        }
        // s5.5: "All control frames MUST have a payload length of 125 bytes or less"
        if opcode.is_control() && second & 0x7F > 125 {
            reasons.push(Violation::ControlTooLong.into());
        }
        Some(if reasons.is_empty() { Ok(()) } else { Err(reasons) })
    }

    /// s5.2: "the minimal number of bytes MUST be used to encode the length", "the most significant bit MUST be 0"
    fn length(&mut self, short: u8) -> Step<u64> {
        let mut length = 0;
        match short {
            126 => {
                for _ in 0..2 {
                    length = length << 8 | u64::from(self.byte()?);
                }
                Some(if length > 125 { Ok(length) } else { Err(vec![Violation::LengthNotMinimal.into()]) })
            }
            127 => {
                for index in 0..8 {
                    length = length << 8 | u64::from(self.byte()?);
                    if index == 0 && length > 127 {
                        return Some(Err(vec![Violation::LengthTopBit.into()]));
                    }
                    // Six bytes of zeros leave 16 bits, which have a shorter form.
                    if index == 5 && length == 0 {
                        return Some(Err(vec![Violation::LengthNotMinimal.into()]));
                    }
                }
                Some(Ok(length))
            }
            short => Some(Ok(short.into())),
        }
    }

    fn control(&mut self, opcode: Opcode, payload_bytes: u64, key: [u8; 4]) -> Step<bool> {
        let payload = self.payload(payload_bytes, key);
        if (payload.len() as u64) < payload_bytes {
            return None;
        }
        match opcode {
            Opcode::Ping => self.say(Said::Ping(payload)),
            Opcode::Pong => self.say(Said::Pong(payload)),
            _ => {
                let close = step!(Some(read_close(&payload).map_err(|violation| vec![violation.into()])));
                self.say(Said::Close(close));
                return Some(Ok(false));
            }
        }
        Some(Ok(true))
    }

    fn data(&mut self, fin: bool, opcode: Opcode, payload_bytes: u64, key: [u8; 4]) -> Step<bool> {
        let (kind, mut message) = match opcode {
            Opcode::Text => (Kind::Text, Vec::new()),
            Opcode::Binary => (Kind::Binary, Vec::new()),
            _ => self.message.take().expect("strays are refused above"),
        };
        if message.len() as u64 + payload_bytes > self.message_bytes_max {
            return Some(Err(vec![Limit::MessageBytes.into()]));
        }
        let (start, before) = (self.at, message.len());
        let payload = self.payload(payload_bytes, key);
        let is_whole = payload.len() as u64 == payload_bytes;
        message.extend(payload);
        // s8.1: "that endpoint MUST _Fail the WebSocket Connection_"
        if kind == Kind::Text {
            if let Some(sound) = utf8_broken_after(&message) {
                self.at = start + sound + 1 - before;
                return Some(Err(vec![Violation::TextNotUtf8.into()]));
            }
            if is_whole && fin && std::str::from_utf8(&message).is_err() {
                return Some(Err(vec![Violation::TextNotUtf8.into()]));
            }
        }
        if !is_whole {
            return None;
        }
        if fin {
            self.say(Said::Message(kind, message))
        } else {
            self.message = Some((kind, message))
        }
        Some(Ok(true))
    }

    /// As much of a payload as there is, unmasked byte by byte: "octet i of the transformed data is the XOR of
    /// octet i of the original data with octet at index i modulo 4 of the masking key" (s5.3).
    fn payload(&mut self, payload_bytes: u64, key: [u8; 4]) -> Vec<u8> {
        let rest = &self.bytes[self.at..];
        let count = usize::try_from(payload_bytes).map_or(rest.len(), |bytes| bytes.min(rest.len()));
        self.at += count;
        rest[..count].iter().enumerate().map(|(index, byte)| byte ^ key[index % 4]).collect()
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn say(&mut self, said: Said) {
        self.reading.events.push((self.at, said));
    }
}

/// s7.4.1, s7.4.2 and the registry: what may stand in a close frame.
pub(crate) fn close_code_allowed(code: u16) -> bool {
    match code {
        0..=999 => false,
        1004 | 1005 | 1006 | 1015 => false,
        1000..=1014 => true,
        1016..=2999 => false,
        3000..=4999 => true,
        _ => false,
    }
}

/// s5.5.1: "If there is a body, the first two bytes of the body MUST be a 2-byte unsigned integer"
fn read_close(payload: &[u8]) -> Result<Option<(u16, String)>, Violation> {
    match payload {
        [] => Ok(None),
        [_] => Err(Violation::ClosePayloadTruncated),
        [high, low, reason @ ..] => {
            let code = u16::from(*high) << 8 | u16::from(*low);
            if !close_code_allowed(code) {
                return Err(Violation::CloseCodeInvalid);
            }
            let reason = String::from_utf8(reason.to_vec()).map_err(|_| Violation::ReasonNotUtf8)?;
            Ok(Some((code, reason)))
        }
    }
}

/// How many bytes of `text` stand in front of the first after which nothing can make it UTF-8.
fn utf8_broken_after(text: &[u8]) -> Option<usize> {
    let error = std::str::from_utf8(text).err()?;
    error.error_len()?;
    let start = error.valid_up_to();
    let is_broken = |end: &usize| {
        std::str::from_utf8(&text[start..=*end]).is_err_and(|error| error.error_len().is_some())
    };
    (start..text.len()).find(is_broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(bytes: &[u8], role: Role) -> Vec<Said> {
        read(bytes, role, 1 << 20).events.into_iter().map(|(_, said)| said).collect()
    }

    #[test]
    fn examples_of_the_rfc_read() {
        // s5.7
        let hello = Said::Message(Kind::Text, b"Hello".to_vec());
        assert_eq!(said(b"\x81\x05Hello", Role::Client), std::slice::from_ref(&hello));
        assert_eq!(
            said(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", Role::Server),
            std::slice::from_ref(&hello)
        );
        assert_eq!(
            said(b"\x01\x03Hel\x89\x05Hello\x80\x02lo", Role::Client),
            [Said::Ping(b"Hello".to_vec()), hello]
        );
    }

    #[test]
    fn failures_stand_at_their_byte() {
        for (bytes, at_expected, reason) in [
            (&b"\x81\x05H\xC3(llo"[..], 5, Violation::TextNotUtf8),
            (b"\x81\x02H\xC3", 4, Violation::TextNotUtf8),
            (b"\x81\x85", 2, Violation::Masked),
            (b"\x81\x05Hello\x80", 8, Violation::ContinuationStray),
            (b"\x82\x7F\x00\x00\x00\x00\x00\x00", 8, Violation::LengthNotMinimal),
            (b"\x88\x02\x03\xED", 4, Violation::CloseCodeInvalid),
        ] {
            let End::Failed { at, reasons } = read(bytes, Role::Client, 1 << 20).end else {
                panic!("{bytes:x?}")
            };
            assert_eq!((at, reasons), (at_expected, vec![reason.into()]), "{bytes:x?}");
        }
    }
}
