//! The encoder: what is encoded is decoded again, in both roles, and is what the RFC says byte for byte.
//!
//! In      messages: how each is cut into frames, what stands between them, masks, lengths around 125 and 65,535
//! Out     the decoder gives the messages back in any split; a naive encoder makes the same bytes
//! Bounds  `STREAM_BYTES_MAX`, or `LONG_STREAM_BYTES_MAX` if long payloads are asked for
//! Source  RFC 6455 sections 5.2, 5.3 and 5.4
//!
//! Layout: a byte of flags, the count of piece lengths (modulo 16), those lengths, then messages.

use fanwire_ws::{
    Budget, Decoder, Event, HEADER_BYTES_MAX, Header, Kind, Opcode, Parsed, Role, Rules, encode_frame,
};

use crate::{
    input::{Input, pieces},
    rfc6455::{self, Said},
};

/// Checks one sequence of messages.
pub fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let flags = input.byte();
    let sender = if flags & 1 == 0 { Role::Server } else { Role::Client };
    let lengths_count = usize::from(input.byte() % 16);
    let lengths = input.take(lengths_count);
    let is_long = flags & LONG == LONG;
    let mut sent =
        Sent { sender, is_long, out: Vec::new(), twin: Vec::new(), said: Vec::new(), masks: 0x9E37_79B9 };
    let stream_bytes_max = if is_long { LONG_STREAM_BYTES_MAX } else { STREAM_BYTES_MAX };
    while !input.is_empty() && sent.out.len() < stream_bytes_max {
        sent.message(&mut input);
    }
    assert_eq!(sent.out, sent.twin, "both encoders make the same bytes");
    let reader = if sender == Role::Server { Role::Client } else { Role::Server };
    for lengths in [&[][..], &[0], lengths] {
        assert_eq!(decoded(&sent.out, reader, lengths), sent.said);
    }
    let reading = rfc6455::read(&sent.out, reader, MESSAGE_BYTES_MAX);
    assert!(reading.at_boundary && reading.events.iter().map(|(_, said)| said).eq(&sent.said));
}

/// What was sent so far, by both encoders, and what it says.
struct Sent {
    sender: Role,
    /// Whether there are payloads of 64 KiB.
    is_long: bool,
    out: Vec<u8>,
    twin: Vec<u8>,
    said: Vec<Said>,
    masks: u32,
}

impl Sent {
    /// One message in up to four frames, with a control frame behind any of them.
    fn message(&mut self, input: &mut Input<'_>) {
        let shape = input.byte();
        let kind = if shape & 1 == 0 { Kind::Binary } else { Kind::Text };
        let fragments = 1 + usize::from(shape >> 1 & 3);
        let mut message = Vec::new();
        let mut said_between = Vec::new();
        for index in 0..fragments {
            let payload = payload(input, kind, self.is_long);
            let opcode = if index == 0 { kind.opcode() } else { Opcode::Continuation };
            let is_last = index + 1 == fragments;
            self.frame(is_last, opcode, &payload);
            message.extend_from_slice(&payload);
            if is_last {
                self.said.append(&mut said_between);
                self.said.push(Said::Message(kind, std::mem::take(&mut message)));
            }
            if shape >> 3 & 3 == 3 && index == usize::from(shape >> 5 & 3) {
                let payload = input.short();
                let payload = payload[..payload.len().min(125)].to_vec();
                let opcode = if shape & 0x80 == 0 { Opcode::Ping } else { Opcode::Pong };
                self.frame(true, opcode, &payload);
                let said = if opcode == Opcode::Ping { Said::Ping(payload) } else { Said::Pong(payload) };
                if is_last { self.said.push(said) } else { said_between.push(said) }
            }
        }
    }

    fn frame(&mut self, fin: bool, opcode: Opcode, payload: &[u8]) {
        let mask = (self.sender == Role::Client).then(|| self.next_mask());
        let before = self.out.len();
        encode_frame(&mut self.out, fin, opcode, mask, payload);
        check_header(&self.out[before..], Header { fin, opcode, mask, payload_bytes: payload.len() as u64 });
        encode_naively(&mut self.twin, fin, opcode, mask, payload);
    }

    /// Any four bytes, zero among them, never twice the same in a row.
    fn next_mask(&mut self) -> [u8; 4] {
        self.masks = self.masks.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if self.masks.is_multiple_of(16) { [0; 4] } else { self.masks.to_be_bytes() }
    }
}

/// The header in front of `frame` is the one meant; each way of asking for its length agrees.
fn check_header(frame: &[u8], header: Header) {
    let header_bytes = Header::bytes(header.payload_bytes, header.mask.is_some());
    assert_eq!(header_bytes as u64 + header.payload_bytes, frame.len() as u64);
    assert_eq!(Header::parse(frame), Ok(Parsed::Header(header, header_bytes)));
    assert_eq!(Header::parse(&frame[..header_bytes - 1]), Ok(Parsed::Partial));
    let mut alone = [0xEE; HEADER_BYTES_MAX];
    assert_eq!(header.encode(&mut alone), header_bytes);
    assert_eq!(alone[..header_bytes], frame[..header_bytes]);
}

/// s5.2, bit by bit.
fn encode_naively(out: &mut Vec<u8>, fin: bool, opcode: Opcode, mask: Option<[u8; 4]>, payload: &[u8]) {
    let opcode = match opcode {
        Opcode::Continuation => 0,
        Opcode::Text => 1,
        Opcode::Binary => 2,
        Opcode::Close => 8,
        Opcode::Ping => 9,
        Opcode::Pong => 10,
    };
    out.push(if fin { 0b1000_0000 + opcode } else { opcode });
    let mask_bit = if mask.is_some() { 0b1000_0000 } else { 0 };
    let bytes = payload.len() as u64;
    let in_bytes = bytes.to_be_bytes();
    if bytes < 126 {
        out.push(mask_bit + in_bytes[7]);
    } else if bytes < 65_536 {
        out.push(mask_bit + 126);
        out.extend(&in_bytes[6..]);
    } else {
        out.push(mask_bit + 127);
        out.extend(in_bytes);
    }
    out.extend(mask.iter().flatten());
    let mask = mask.unwrap_or_default();
    out.extend(payload.iter().enumerate().map(|(index, byte)| byte ^ mask[index % 4]));
}

/// What a decoder says of the bytes.
fn decoded(bytes: &[u8], role: Role, lengths: &[u8]) -> Vec<Said> {
    let rules = Rules { role, message_bytes_max: MESSAGE_BYTES_MAX };
    let (mut decoder, mut budget) = (Decoder::new(), Budget::new(MESSAGE_BYTES_MAX));
    let mut said = Vec::new();
    for piece in pieces(bytes, lengths) {
        let mut piece = piece.to_vec();
        let mut rest = &mut piece[..];
        loop {
            let (consumed, event) = decoder.decode(&rules, &mut budget, rest);
            match event.expect("what we encode is sound") {
                Event::Partial => break,
                Event::Message { kind, payload } => said.push(Said::Message(kind, payload.to_vec())),
                Event::Ping(payload) => said.push(Said::Ping(payload.to_vec())),
                Event::Pong(payload) => said.push(Said::Pong(payload.to_vec())),
                Event::Close(_) => panic!("no close frame was sent"),
            }
            rest = &mut rest[consumed..];
        }
    }
    decoder.release(&mut budget);
    said
}

/// Text of whole characters, or any bytes; of the input, or as long as one of the lengths where headers change.
fn payload(input: &mut Input<'_>, kind: Kind, is_long: bool) -> Vec<u8> {
    let form = input.byte();
    let payload = if form < 200 {
        input.take(form.into()).to_vec()
    } else {
        let bytes = match form {
            240.. if is_long => LONG_LENGTHS[usize::from(form) % LONG_LENGTHS.len()],
            _ => LENGTHS[usize::from(form) % LENGTHS.len()],
        };
        let seed = input.word();
        (0..bytes).map(|index| ((index as u64 * u64::from(seed)) >> 3).to_le_bytes()[0]).collect()
    };
    match kind {
        Kind::Binary => payload,
        Kind::Text if form < 200 => String::from_utf8_lossy(&payload).into_owned().into_bytes(),
        Kind::Text => payload.iter().map(|byte| byte & 0x7F).collect(),
    }
}

const LENGTHS: [usize; 10] = [0, 1, 2, 124, 125, 126, 127, 128, 255, 256];

const LONG_LENGTHS: [usize; 4] = [65_534, 65_535, 65_536, 65_537];

/// All these flags ask for long payloads: each costs as much as a hundred short streams.
const LONG: u8 = 0xE0;
const MESSAGE_BYTES_MAX: u64 = 1 << 20;

const STREAM_BYTES_MAX: usize = 4_096;

/// Several of the longest frames.
const LONG_STREAM_BYTES_MAX: usize = 200_000;
