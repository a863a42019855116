//! The frame decoder: any bytes in any split, against a naive twin and against tungstenite.
//!
//! In      role, limits and piece lengths; then bytes as they are, or frames to be built from what follows
//! Out     every split gives the twin's events and its end, bytewise at the twin's byte; tungstenite agrees but for
//!         what `strict` lists; what is held is what the budget says, and never more than has arrived, doubled
//! Source  RFC 6455; the documents of `Decoder`
//!
//! Layout: a byte of flags (`ROLE_CLIENT`, `LIMIT`, `BUDGET`, `BUILT`, `LONG`), the count of piece lengths (modulo 16), those
//! lengths, the rest.

use fanwire_ws::{
    Budget, DecodeError, Decoder, Event, HEADER_BYTES_MAX, Limit, Role, Rules, Violation, mask,
};

use crate::{
    input::{Input, PIECES_BYTES, pieces},
    rfc6455::{self, End, Reading, Said},
    strict,
};

/// Checks one stream.
pub fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let flags = input.byte();
    let role = if flags & ROLE_CLIENT == 0 { Role::Server } else { Role::Client };
    let message_bytes_max = [1 << 20, 70_000, 200, 0][usize::from(flags & LIMIT) >> 1];
    let budget_bytes = [8, 64, 300, 5_000][usize::from(flags & BUDGET) >> 3];
    let lengths_count = usize::from(input.byte() % 16);
    let lengths = input.take(lengths_count);
    let stream = if flags & BUILT == 0 {
        input.rest().to_vec()
    } else {
        built(&mut input, role, flags & LONG == LONG)
    };

    let rules = Rules { role, message_bytes_max };
    let twin = rfc6455::read(&stream, role, message_bytes_max);
    for lengths in [&[][..], &[1], &[0], lengths] {
        let heard = hear(&rules, &mut Budget::new(u64::MAX), &pieces(&stream, lengths));
        assert_heard(&heard, &twin);
        if lengths == [1] && stream.len() < PIECES_BYTES {
            assert_bytewise(&heard, &twin);
        }
    }
    // A budget that is short may end a message, but not change one.
    let heard = hear(&rules, &mut Budget::new(budget_bytes), &pieces(&stream, lengths));
    if heard.error == Some(Limit::AssemblyBytes.into()) {
        assert!(heard.events.len() <= twin.events.len());
        assert!(heard.events.iter().zip(&twin.events).all(|(heard, twin)| heard.1 == twin.1));
    } else {
        assert_heard(&heard, &twin);
    }
    assert_strict(&stream, &rules, &twin);
}

/// What a decoder said of a stream.
struct Heard {
    /// Each event, behind the number of bytes fed so far.
    events: Vec<(usize, Said)>,
    error: Option<DecodeError>,
    /// Bytes fed when the error came.
    error_at: usize,
}

/// Feeds `pieces` to a fresh decoder as a caller would.
fn hear(rules: &Rules, budget: &mut Budget, pieces: &[&[u8]]) -> Heard {
    let mut heard = Heard { events: Vec::new(), error: None, error_at: 0 };
    let mut decoder = Decoder::new();
    let mut fed = 0;
    for piece in pieces {
        let mut piece = piece.to_vec();
        fed += piece.len();
        let mut rest = &mut piece[..];
        loop {
            let offered = rest.len();
            let (consumed, event) = decoder.decode(rules, budget, rest);
            let said = match event {
                Ok(Event::Partial) => None,
                Ok(Event::Message { kind, payload }) => Some(Said::Message(kind, payload.to_vec())),
                Ok(Event::Ping(payload)) => Some(Said::Ping(payload.to_vec())),
                Ok(Event::Pong(payload)) => Some(Said::Pong(payload.to_vec())),
                Ok(Event::Close(frame)) => {
                    let close = frame.map(|frame| (frame.code.value(), frame.reason.to_owned()));
                    Some(Said::Close(close))
                }
                Err(error) => {
                    if heard.error.is_none() {
                        (heard.error, heard.error_at) = (Some(error), fed);
                    }
                    assert_eq!(heard.error, Some(error), "an error stays");
                    None
                }
            };
            assert!(consumed <= offered);
            assert_eq!(budget.used(), decoder.assembled_bytes() as u64, "the budget knows what is held");
            assert!(decoder.assembled_bytes() <= 2 * fed, "what is held has arrived, or half of it");
            assert!(decoder.assembled_bytes() as u64 <= rules.message_bytes_max);
            match said {
                Some(said) => {
                    assert!(heard.error.is_none(), "nothing comes after an error");
                    heard.events.push((fed, said));
                }
                None => {
                    assert_eq!(consumed, offered, "what is not an event is consumed");
                    break;
                }
            }
            rest = &mut rest[consumed..];
        }
        if heard.error.is_some() {
            assert_eq!(decoder.assembled_bytes(), 0, "nothing is held after an error");
        }
    }
    decoder.release(budget);
    assert_eq!((budget.used(), decoder.assembled_bytes()), (0, 0), "everything is given back");
    heard
}

fn assert_heard(heard: &Heard, twin: &Reading) {
    for (index, (heard, twin)) in heard.events.iter().zip(&twin.events).enumerate() {
        assert_eq!(heard.1, twin.1, "event {index}");
    }
    assert_eq!(heard.events.len(), twin.events.len(), "heard {:?}, twin {:?}", heard.error, twin.end);
    match (&twin.end, heard.error) {
        (End::Failed { reasons, .. }, Some(error)) => {
            assert!(reasons.contains(&error), "failed with {error}, not with one of {reasons:?}");
        }
        (End::Open | End::Closed, None) => {}
        (end, error) => panic!("ends with {error:?}, the twin with {end:?}"),
    }
}

/// Fed bytewise, each event comes with the byte that makes it known, and a failure with the byte that is wrong.
fn assert_bytewise(heard: &Heard, twin: &Reading) {
    assert!(heard.events.iter().zip(&twin.events).all(|(heard, twin)| heard.0 == twin.0));
    if let End::Failed { at, .. } = twin.end {
        assert_eq!(heard.error_at, at, "{:?}", heard.error);
    }
}

fn assert_strict(stream: &[u8], rules: &Rules, twin: &Reading) {
    let message_bytes_max = usize::try_from(rules.message_bytes_max).expect("limits here are small");
    let strict = strict::read(stream, rules.role, message_bytes_max);
    let expected = twin.events.iter().map(|(_, said)| match said {
        Said::Close(Some((1014, _))) => strict::close_replaced(),
        said => said.clone(),
    });
    let expected: Vec<_> = expected.collect();
    assert!(strict.said.starts_with(&expected), "tungstenite: {:?}, twin: {expected:?}", strict.said);
    let more = &strict.said[expected.len()..];
    match &twin.end {
        End::Open => assert_eq!((strict.end, more), (strict::End::Open, &[][..])),
        End::Closed => assert_eq!((strict.end, more), (strict::End::Closed, &[][..])),
        End::Failed { reasons, .. } if LONG_FORMS.iter().any(|form| reasons.contains(&(*form).into())) => {}
        // With a reason that is no UTF-8 as well, it refuses for that.
        End::Failed { reasons, .. } if reasons.contains(&Violation::CloseCodeInvalid.into()) => {
            assert!(
                more == [strict::close_replaced()] || (more.is_empty() && strict.end == strict::End::Refused)
            );
        }
        End::Failed { .. } => {
            assert!(more.is_empty() && strict.end != strict::End::Closed, "tungstenite: {more:?}");
        }
    }
}

/// Frames built from the input: mostly sound, so that what is deep in a stream is reached.
fn built(input: &mut Input<'_>, role: Role, is_long: bool) -> Vec<u8> {
    let mut stream = Vec::new();
    let stream_bytes_max = if is_long { LONG_STREAM_BYTES_MAX } else { STREAM_BYTES_MAX };
    while !input.is_empty() && stream.len() < stream_bytes_max {
        let opcode = input.choice([0x0, 0x1, 0x2, 0x8, 0x9, 0xA, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8A]);
        let oddities = input.byte();
        let payload = payload(input, is_long);
        // The top bits of `oddities` are mostly zero in what a fuzzer starts with, and zero is sound.
        let is_masked = (role == Role::Server) != (oddities & 0x80 != 0);
        let reserved = if oddities & 0x40 != 0 { oddities & 0x70 } else { 0 };
        stream.push(opcode | reserved);
        push_length(&mut stream, payload.len(), is_masked, oddities & 0x03);
        let start = stream.len();
        if is_masked {
            let key = input.word().to_le_bytes();
            let key = [key[0], key[1], !key[0], 0x5A];
            stream.extend(key);
            stream.extend(&payload);
            mask::apply_scalar(key, 0, &mut stream[start + 4..]);
        } else {
            stream.extend(&payload);
        }
    }
    stream
}

/// Bytes of the input, or many of one kind around the lengths where headers change.
fn payload(input: &mut Input<'_>, is_long: bool) -> Vec<u8> {
    match input.byte() {
        short @ 0..=199 => input.take(short.into()).to_vec(),
        form => {
            let bytes = match form {
                240.. if is_long => [65_534, 65_535, 65_536, 65_537][usize::from(form) % 4],
                _ => [125, 126, 127, 128, 200, 256, 1_000][usize::from(form) % 7],
            };
            let seed = [input.byte()];
            let unit = input.choice([&seed[..], b"a", "ä".as_bytes(), "\u{10348}".as_bytes(), b"\x00\xFF"]);
            unit.iter().copied().cycle().take(bytes).collect()
        }
    }
}

/// The second byte and the length: in the shortest form, or in a longer one if `form` says so.
fn push_length(stream: &mut Vec<u8>, bytes: usize, is_masked: bool, form: u8) {
    let masked = if is_masked { 0x80 } else { 0 };
    match (u8::try_from(bytes), u16::try_from(bytes)) {
        (Ok(short @ 0..=125), _) if form < 2 => stream.push(masked | short),
        (_, Ok(medium)) if form < 3 => {
            stream.push(masked | 126);
            stream.extend(medium.to_be_bytes());
        }
        _ => {
            stream.push(masked | 127);
            stream.extend((bytes as u64).to_be_bytes());
        }
    }
}

/// What a length that is not in its shortest form breaks.
const LONG_FORMS: [Violation; 2] = [Violation::LengthNotMinimal, Violation::ControlTooLong];

const ROLE_CLIENT: u8 = 0x01;
const LIMIT: u8 = 0x06;
const BUDGET: u8 = 0x18;
const BUILT: u8 = 0x20;

/// Both ask for payloads of 64 KiB among what is built: each costs as much as many short streams.
const LONG: u8 = 0xC0;

const STREAM_BYTES_MAX: usize = 4_096;

/// Two of the longest payloads and their headers.
const LONG_STREAM_BYTES_MAX: usize = 2 * (65_537 + HEADER_BYTES_MAX);
