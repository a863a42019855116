//! The decoder against bytes of the RFC, against every rule it enforces, and against a naive reference decoder.

use proptest::prelude::*;

use super::*;
use crate::{CloseCode, Role, encode_frame};

const SERVER: Rules = Rules { role: Role::Server, message_bytes_max: 1000 };
const CLIENT: Rules = Rules { role: Role::Client, message_bytes_max: 1000 };
const KEY: Option<[u8; 4]> = Some([0x37, 0xFA, 0x21, 0x3D]);

/// An event that owns its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Owned {
    Message(Kind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl Owned {
    fn new(event: Event<'_>) -> Option<Owned> {
        Some(match event {
            Event::Partial => return None,
            Event::Message { kind, payload } => Owned::Message(kind, payload.to_vec()),
            Event::Ping(payload) => Owned::Ping(payload.to_vec()),
            Event::Pong(payload) => Owned::Pong(payload.to_vec()),
            Event::Close(frame) => {
                Owned::Close(frame.map(|frame| (frame.code.value(), frame.reason.to_owned())))
            }
        })
    }
}

type Outcome = (Vec<Owned>, Option<DecodeError>);

/// Decodes `stream`, cut at `cuts`, and checks what must hold after every call.
fn decoded(rules: &Rules, stream: &[u8], cuts: &[usize]) -> Outcome {
    let mut budget = Budget::new(1 << 20);
    let mut decoder = Decoder::new();
    let mut events = Vec::new();
    let mut error = None;
    for (start, end) in pieces(stream.len(), cuts) {
        let mut input = stream[start..end].to_vec();
        let mut rest = &mut input[..];
        loop {
            let rest_bytes = rest.len();
            let (consumed, event) = decoder.decode(rules, &mut budget, rest);
            assert!(consumed <= rest_bytes);
            match event {
                Ok(Event::Partial) => {
                    assert_eq!(consumed, rest_bytes, "a partial event leaves nothing");
                    break;
                }
                Ok(event) => {
                    assert_eq!(error, None, "no event after an error");
                    events.extend(Owned::new(event));
                }
                Err(now) => {
                    assert_eq!(consumed, rest_bytes, "an error leaves nothing");
                    assert_eq!(*error.get_or_insert(now), now, "an error stays the same");
                    break;
                }
            }
            assert_eq!(budget.used(), decoder.assembled_bytes() as u64);
            rest = &mut rest[consumed..];
        }
        assert_eq!(budget.used(), decoder.assembled_bytes() as u64);
        assert!(budget.used() <= rules.message_bytes_max, "more held than a message may have");
    }
    decoder.release(&mut budget);
    assert_eq!((budget.used(), decoder.assembled_bytes()), (0, 0));
    (events, error)
}

fn pieces(bytes: usize, cuts: &[usize]) -> Vec<(usize, usize)> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| (*cut).min(bytes)).chain([0, bytes]).collect();
    ends.sort_unstable();
    ends.windows(2).map(|pair| (pair[0], pair[1])).collect()
}

/// What the RFC says of a whole stream, without any care for speed, memory or early answers.
fn reference(rules: &Rules, stream: &[u8]) -> Outcome {
    let mut events = Vec::new();
    let mut message: Option<(Kind, Vec<u8>)> = None;
    let mut at = 0;
    loop {
        match reference_frame(rules, stream, &mut at, &mut message) {
            Ok(Some(event)) => {
                let is_close = matches!(event, Owned::Close(_));
                events.push(event);
                if is_close {
                    return (events, None);
                }
            }
            Ok(None) if at < stream.len() && at != usize::MAX => {}
            Ok(None) => return (events, None),
            Err(error) => return (events, Some(error)),
        }
    }
}

/// One frame at `at`, which it moves on: to `usize::MAX` where the stream ends inside the frame.
fn reference_frame(
    rules: &Rules,
    stream: &[u8],
    at: &mut usize,
    message: &mut Option<(Kind, Vec<u8>)>,
) -> Result<Option<Owned>, DecodeError> {
    let bytes = &stream[*at..];
    *at = usize::MAX;
    let Some(first) = bytes.first() else { return Ok(None) };
    let (fin, opcode) = (first >> 7 == 1, first & 15);
    if first >> 4 & 7 != 0 {
        return Err(Violation::ReservedBits.into());
    }
    if ![0, 1, 2, 8, 9, 10].contains(&opcode) {
        return Err(Violation::UnknownOpcode.into());
    }
    if opcode >= 8 && !fin {
        return Err(Violation::ControlFragmented.into());
    }
    if opcode == 0 && message.is_none() {
        return Err(Violation::ContinuationStray.into());
    }
    if (opcode == 1 || opcode == 2) && message.is_some() {
        return Err(Violation::MessageInterleaved.into());
    }
    let Some(second) = bytes.get(1) else { return Ok(None) };
    let masked = second >> 7 == 1;
    if masked != (rules.role == Role::Server) {
        return Err(if masked { Violation::Masked } else { Violation::Unmasked }.into());
    }
    let short = second & 127;
    if opcode >= 8 && short > 125 {
        return Err(Violation::ControlTooLong.into());
    }
    let extended = match short {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    if extended == 8 && bytes.get(2).is_some_and(|byte| byte >> 7 == 1) {
        return Err(Violation::LengthTopBit.into());
    }
    if extended == 8 && bytes.len() >= 8 && bytes[2..8].iter().all(|byte| *byte == 0) {
        return Err(Violation::LengthNotMinimal.into());
    }
    if bytes.len() < 2 + extended {
        return Ok(None);
    }
    let length = bytes[2..2 + extended].iter().fold(0u64, |length, byte| length << 8 | u64::from(*byte));
    if extended == 2 && length < 126 {
        return Err(Violation::LengthNotMinimal.into());
    }
    let length = if extended == 0 { u64::from(short) } else { length };
    let head = 2 + extended + if masked { 4 } else { 0 };
    if bytes.len() < head {
        return Ok(None);
    }
    let held = message.as_ref().map_or(0, |(_, payload)| payload.len() as u64);
    if opcode < 8 && held + length > rules.message_bytes_max {
        return Err(Limit::MessageBytes.into());
    }
    let have = usize::try_from(length).unwrap().min(bytes.len() - head);
    let whole = have as u64 == length;
    let mut payload = bytes[head..head + have].to_vec();
    if masked {
        payload.iter_mut().enumerate().for_each(|(index, byte)| *byte ^= bytes[head - 4 + index % 4]);
    }
    if opcode >= 8 {
        if !whole {
            return Ok(None);
        }
        *at = stream.len() - bytes.len() + head + have;
        return reference_control(opcode, payload).map(Some);
    }
    let kind = if opcode == 1 { Kind::Text } else { Kind::Binary };
    let (kind, so_far) = message.get_or_insert((kind, Vec::new()));
    so_far.extend_from_slice(&payload);
    let is_end = fin && whole;
    if *kind == Kind::Text {
        match std::str::from_utf8(so_far) {
            Err(error) if is_end || error.error_len().is_some() => return Err(Violation::TextNotUtf8.into()),
            _ => {}
        }
    }
    if whole {
        *at = stream.len() - bytes.len() + head + have;
    }
    if !is_end {
        return Ok(None);
    }
    Ok(message.take().map(|(kind, payload)| Owned::Message(kind, payload)))
}

fn reference_control(opcode: u8, payload: Vec<u8>) -> Result<Owned, DecodeError> {
    match (opcode, payload.as_slice()) {
        (9, _) => Ok(Owned::Ping(payload)),
        (10, _) => Ok(Owned::Pong(payload)),
        (_, []) => Ok(Owned::Close(None)),
        (_, [_]) => Err(Violation::ClosePayloadTruncated.into()),
        (_, [high, low, reason @ ..]) => {
            let code = u16::from(*high) << 8 | u16::from(*low);
            if !(1000..=1003).contains(&code)
                && !(1007..=1014).contains(&code)
                && !(3000..=4999).contains(&code)
            {
                return Err(Violation::CloseCodeInvalid.into());
            }
            let reason = String::from_utf8(reason.to_vec()).map_err(|_| Violation::ReasonNotUtf8)?;
            Ok(Owned::Close(Some((code, reason))))
        }
    }
}

fn frame(fin: bool, opcode: Opcode, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_frame(&mut out, fin, opcode, mask, payload);
    out
}

/// The stream whole, then cut at every single place, then byte by byte: always the same outcome.
fn outcome_however_cut(rules: &Rules, stream: &[u8]) -> Outcome {
    let whole = decoded(rules, stream, &[]);
    for cut in 0..=stream.len() {
        assert_eq!(decoded(rules, stream, &[cut]), whole, "cut at {cut} of {stream:x?}");
    }
    let all: Vec<usize> = (0..stream.len()).collect();
    assert_eq!(decoded(rules, stream, &all), whole, "bytewise {stream:x?}");
    assert_eq!(reference(rules, stream), whole, "reference {stream:x?}");
    whole
}

fn message(kind: Kind, payload: &[u8]) -> Owned {
    Owned::Message(kind, payload.to_vec())
}

#[test]
fn examples_of_the_rfc_decode() {
    // RFC 6455 s5.7
    let hello = || message(Kind::Text, b"Hello");
    assert_eq!(outcome_however_cut(&CLIENT, b"\x81\x05Hello"), (vec![hello()], None));
    let masked = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    assert_eq!(outcome_however_cut(&SERVER, masked), (vec![hello()], None));
    assert_eq!(outcome_however_cut(&CLIENT, b"\x01\x03Hel\x80\x02lo"), (vec![hello()], None));
    let ping = b"\x89\x05Hello\x8a\x00";
    let expected = vec![Owned::Ping(b"Hello".to_vec()), Owned::Pong(Vec::new())];
    assert_eq!(outcome_however_cut(&CLIENT, ping), (expected, None));
    let binary = frame(true, Opcode::Binary, None, &[7; 256]);
    assert_eq!(outcome_however_cut(&CLIENT, &binary), (vec![message(Kind::Binary, &[7; 256])], None));
}

#[test]
fn control_frames_come_between_fragments() {
    let stream = [
        frame(false, Opcode::Text, KEY, "gr\u{fc}".as_bytes()),
        frame(true, Opcode::Ping, KEY, b"1"),
        frame(false, Opcode::Continuation, KEY, b""),
        frame(true, Opcode::Pong, KEY, b"2"),
        frame(true, Opcode::Continuation, KEY, "\u{df}e".as_bytes()),
        frame(true, Opcode::Binary, KEY, b""),
    ]
    .concat();
    let expected = vec![
        Owned::Ping(b"1".to_vec()),
        Owned::Pong(b"2".to_vec()),
        message(Kind::Text, "gr\u{fc}\u{df}e".as_bytes()),
        message(Kind::Binary, b""),
    ];
    assert_eq!(outcome_however_cut(&SERVER, &stream), (expected, None));
}

#[test]
fn characters_may_be_cut_by_fragments() {
    let text = "\u{20ac}\u{10348}\u{e9}".as_bytes();
    for cut in 0..=text.len() {
        let (front, back) = text.split_at(cut);
        let stream =
            [frame(false, Opcode::Text, KEY, front), frame(true, Opcode::Continuation, KEY, back)].concat();
        assert_eq!(outcome_however_cut(&SERVER, &stream), (vec![message(Kind::Text, text)], None));
    }
}

#[test]
fn every_violation_ends_the_stream_with_its_code() {
    let fragment = frame(false, Opcode::Text, KEY, b"a");
    let closing = |payload: &[u8]| frame(true, Opcode::Close, KEY, payload);
    for (stream, violation) in [
        (b"\xC1\x80\0\0\0\0".to_vec(), Violation::ReservedBits),
        (b"\x83\x80\0\0\0\0".to_vec(), Violation::UnknownOpcode),
        (b"\x09\x80\0\0\0\0".to_vec(), Violation::ControlFragmented),
        (b"\x89\xFE\0\x7E".to_vec(), Violation::ControlTooLong),
        (b"\x81\xFE\0\x7D".to_vec(), Violation::LengthNotMinimal),
        (b"\x81\xFF\0\0\0\0\0\0\xFF\xFF".to_vec(), Violation::LengthNotMinimal),
        (b"\x81\xFF\x80\0\0\0\0\0\0\0".to_vec(), Violation::LengthTopBit),
        (b"\x81\x01a".to_vec(), Violation::Unmasked),
        (frame(true, Opcode::Continuation, KEY, b"a"), Violation::ContinuationStray),
        ([fragment.clone(), frame(true, Opcode::Binary, KEY, b"b")].concat(), Violation::MessageInterleaved),
        (closing(b"\x03"), Violation::ClosePayloadTruncated),
        (closing(b"\x03\xEE"), Violation::CloseCodeInvalid),
        (closing(b"\x03\xE8\xFF"), Violation::ReasonNotUtf8),
        (frame(true, Opcode::Text, KEY, b"a\xFFb"), Violation::TextNotUtf8),
        (frame(true, Opcode::Text, KEY, b"a\xE2\x82"), Violation::TextNotUtf8),
        (
            [fragment.clone(), frame(true, Opcode::Continuation, KEY, b"\xE2\x82")].concat(),
            Violation::TextNotUtf8,
        ),
    ] {
        let after = [stream.clone(), frame(true, Opcode::Text, KEY, b"never seen")].concat();
        assert_eq!(outcome_however_cut(&SERVER, &stream), (vec![], Some(violation.into())));
        assert_eq!(outcome_however_cut(&SERVER, &after), (vec![], Some(violation.into())));
    }
    let masked = frame(true, Opcode::Text, KEY, b"a");
    assert_eq!(outcome_however_cut(&CLIENT, &masked), (vec![], Some(Violation::Masked.into())));
}

#[test]
fn bad_text_fails_at_its_first_bad_byte_inside_a_frame_that_is_not_whole() {
    let bytes = frame(false, Opcode::Text, KEY, b"ab\xED\xA0cdefgh");
    let bad_at = bytes.len() - 7;
    assert_eq!(decoded(&SERVER, &bytes[..bad_at], &[]), (vec![], None));
    assert_eq!(decoded(&SERVER, &bytes[..=bad_at], &[bad_at]), (vec![], Some(Violation::TextNotUtf8.into())));
}

#[test]
fn stray_continuations_and_unmasked_frames_fail_at_their_byte() {
    assert_eq!(decoded(&SERVER, b"\x80", &[]).1, Some(Violation::ContinuationStray.into()));
    assert_eq!(decoded(&SERVER, b"\x81\x7E", &[]).1, Some(Violation::Unmasked.into()));
}

#[test]
fn messages_over_the_limit_fail_at_the_header_and_those_at_the_limit_pass() {
    let full = frame(true, Opcode::Binary, KEY, &[1; 1000]);
    assert_eq!(decoded(&SERVER, &full, &[600]), (vec![message(Kind::Binary, &[1; 1000])], None));
    let over = Some(Limit::MessageBytes.into());
    let long = frame(true, Opcode::Binary, KEY, &[1; 1001]);
    assert_eq!(decoded(&SERVER, &long[..8], &[]), (vec![], over));
    assert_eq!(decoded(&SERVER, b"\x82\xFF\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF\0\0\0\0", &[]), (vec![], over));
    let sum = [frame(false, Opcode::Binary, KEY, &[1; 999]), frame(true, Opcode::Continuation, KEY, &[1; 2])]
        .concat();
    assert_eq!(outcome_however_cut(&SERVER, &sum[..sum.len() - 2]), (vec![], over));
}

#[test]
fn what_follows_a_close_frame_is_ignored() {
    let stream = [
        frame(false, Opcode::Text, KEY, b"never whole"),
        frame(true, Opcode::Close, KEY, b"\x0F\xA0later"),
        b"\xFF\xFF garbage".to_vec(),
    ]
    .concat();
    let expected = vec![Owned::Close(Some((4000, "later".to_owned())))];
    assert_eq!(outcome_however_cut(&SERVER, &stream), (expected, None));
    let empty = frame(true, Opcode::Close, KEY, b"");
    assert_eq!(outcome_however_cut(&SERVER, &empty), (vec![Owned::Close(None)], None));
    let mut budget = Budget::new(100);
    let mut decoder = Decoder::new();
    let mut input = stream;
    let (_, event) = decoder.decode(&SERVER, &mut budget, &mut input);
    assert!(matches!(event, Ok(Event::Close(Some(CloseFrame { code, .. }))) if code == CloseCode::new(4000)));
    assert_eq!(budget.used(), 0, "the message that will never be whole is freed");
}

#[test]
fn a_whole_message_is_lent_from_the_input_and_takes_no_budget() {
    let mut input = frame(true, Opcode::Text, KEY, b"Hello");
    let payload_at = input.as_ptr() as usize + 6;
    let mut budget = Budget::new(0);
    let mut decoder = Decoder::new();
    let (consumed, event) = decoder.decode(&SERVER, &mut budget, &mut input);
    let Ok(Event::Message { payload, .. }) = event else { panic!("{event:?}") };
    assert_eq!((consumed, payload, payload.as_ptr() as usize), (11, &b"Hello"[..], payload_at));
}

#[test]
fn memory_grows_with_what_arrived_and_goes_back_at_the_next_call() {
    let mut stream = frame(true, Opcode::Binary, KEY, &[1; 1000]);
    let mut budget = Budget::new(1000);
    let mut decoder = Decoder::new();
    let mut held = Vec::new();
    for piece in stream.chunks_mut(108) {
        let (_, event) = decoder.decode(&SERVER, &mut budget, piece);
        assert!(event.is_ok());
        held.push(decoder.assembled_bytes());
    }
    assert_eq!(held, [100, 208, 416, 832, 832, 832, 832, 1000, 1000, 1000]);
    assert_eq!(budget.used(), 1000);
    assert_eq!(decoder.decode(&SERVER, &mut budget, &mut []), (0, Ok(Event::Partial)));
    assert_eq!((budget.used(), decoder.assembled_bytes()), (0, 0));
}

#[test]
fn a_control_frame_between_fragments_frees_nothing_of_the_message() {
    let mut budget = Budget::new(100);
    let mut decoder = Decoder::new();
    for (mut input, expected) in [
        (frame(false, Opcode::Text, KEY, b"ab"), None),
        (frame(true, Opcode::Ping, KEY, b"hey")[..7].to_vec(), None),
        (frame(true, Opcode::Ping, KEY, b"hey")[7..].to_vec(), Some(Owned::Ping(b"hey".to_vec()))),
        (frame(true, Opcode::Continuation, KEY, b"c"), Some(message(Kind::Text, b"abc"))),
    ] {
        let (_, event) = decoder.decode(&SERVER, &mut budget, &mut input);
        assert_eq!(event.map(Owned::new), Ok(expected));
    }
}

#[test]
fn a_full_budget_fails_only_the_decoder_that_asks_for_more() {
    let mut budget = Budget::new(100);
    let (mut first, mut second) = (Decoder::new(), Decoder::new());
    let mut piece = frame(false, Opcode::Binary, KEY, &[1; 60]);
    assert_eq!(first.decode(&SERVER, &mut budget, &mut piece.clone()).1, Ok(Event::Partial));
    let over = Err(Limit::AssemblyBytes.into());
    assert_eq!(second.decode(&SERVER, &mut budget, &mut piece).1, over);
    assert_eq!((second.assembled_bytes(), budget.used()), (0, 60));
    assert_eq!(second.decode(&SERVER, &mut budget, &mut [1, 2, 3]), (3, over));
    let mut end = frame(true, Opcode::Continuation, KEY, &[1; 40]);
    assert_eq!(
        first.decode(&SERVER, &mut budget, &mut end).1.map(Owned::new),
        Ok(Some(message(Kind::Binary, &[1; 100])))
    );
    first.release(&mut budget);
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_short_budget_is_used_to_the_last_byte() {
    let mut budget = Budget::new(70);
    let mut decoder = Decoder::new();
    let mut fragments =
        [frame(false, Opcode::Binary, KEY, &[1; 60]), frame(false, Opcode::Continuation, KEY, &[1; 10])];
    for fragment in &mut fragments {
        assert_eq!(decoder.decode(&SERVER, &mut budget, fragment).1, Ok(Event::Partial));
    }
    assert_eq!((decoder.assembled_bytes(), budget.used()), (70, 70));
    decoder.release(&mut budget);
}

#[test]
fn a_released_decoder_is_at_its_end_and_keeps_its_error() {
    let mut budget = Budget::new(100);
    let mut decoder = Decoder::new();
    decoder.release(&mut budget);
    let mut sound = frame(true, Opcode::Text, KEY, b"a");
    let bytes = sound.len();
    assert_eq!(decoder.decode(&SERVER, &mut budget, &mut sound), (bytes, Ok(Event::Partial)));
    let mut decoder = Decoder::new();
    let error = Err(Violation::ReservedBits.into());
    assert_eq!(decoder.decode(&SERVER, &mut budget, &mut [0xC1]), (1, error));
    decoder.release(&mut budget);
    assert_eq!(decoder.decode(&SERVER, &mut budget, &mut [0x81]), (1, error));
}

#[test]
fn a_piece_that_fills_what_is_held_takes_no_more() {
    let mut budget = Budget::new(1000);
    let mut decoder = Decoder::new();
    let mut held = Vec::new();
    for (opcode, bytes) in [
        (Opcode::Binary, 10),
        (Opcode::Continuation, 10),
        (Opcode::Continuation, 5),
        (Opcode::Continuation, 15),
    ] {
        let mut fragment = frame(false, opcode, KEY, &[1; 15][..bytes]);
        assert_eq!(decoder.decode(&SERVER, &mut budget, &mut fragment).1, Ok(Event::Partial));
        held.push(decoder.assembled_bytes());
    }
    assert_eq!(held, [10, 20, 40, 40]);
    decoder.release(&mut budget);
}

/// A frame as a peer might send it: mostly sound, now and then not.
fn any_frame(masked: bool) -> impl Strategy<Value = Vec<u8>> {
    let mask = if masked { any::<[u8; 4]>().prop_map(Some).boxed() } else { Just(None).boxed() };
    let text = "[a-z\u{e9}\u{20ac}\u{10348}]{0,40}".prop_map(String::into_bytes);
    let data = prop_oneof![
        8 => text,
        3 => prop::collection::vec(any::<u8>(), 0..4),
        1 => prop::collection::vec(Just(b'x'), 100..400),
    ];
    let opcode = prop::sample::select(vec![Opcode::Continuation, Opcode::Text, Opcode::Binary]);
    let data = (mask.clone(), any::<bool>(), opcode, data)
        .prop_map(|(mask, fin, opcode, payload)| frame(fin, opcode, mask, &payload));
    let ping = (mask.clone(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..=125)).prop_map(
        |(mask, ping, payload)| frame(true, if ping { Opcode::Ping } else { Opcode::Pong }, mask, &payload),
    );
    let code = prop_oneof![Just(1000u16), Just(3000), any::<u16>()];
    let close = (mask, code, "[a-z\u{e9}]{0,9}", 0usize..20).prop_map(|(mask, code, reason, end)| {
        let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
        frame(true, Opcode::Close, mask, &payload[..end.min(payload.len())])
    });
    let garbage = prop::collection::vec(any::<u8>(), 0..20);
    prop_oneof![30 => data, 8 => ping, 1 => close, 1 => garbage]
}

/// Frames whose fragments fit together, so that streams get past the second frame.
fn any_message(masked: bool) -> impl Strategy<Value = Vec<u8>> {
    let mask = if masked { any::<[u8; 4]>().prop_map(Some).boxed() } else { Just(None).boxed() };
    let ping = prop::option::of(prop::collection::vec(any::<u8>(), 0..=125));
    let cuts = prop::collection::vec((any::<prop::sample::Index>(), ping), 0..4);
    (mask, any::<bool>(), "\\PC{0,60}", cuts).prop_map(|(mask, is_text, text, cuts)| {
        let mut ends: Vec<usize> = cuts.iter().map(|(cut, _)| cut.index(text.len() + 1)).collect();
        ends.extend([0, text.len()]);
        ends.sort_unstable();
        let mut opcode = if is_text { Opcode::Text } else { Opcode::Binary };
        let mut out = Vec::new();
        for (index, pair) in ends.windows(2).enumerate() {
            let payload = &text.as_bytes()[pair[0]..pair[1]];
            encode_frame(&mut out, index + 2 == ends.len(), opcode, mask, payload);
            opcode = Opcode::Continuation;
            if let Some((_, Some(ping))) = cuts.get(index) {
                encode_frame(&mut out, true, Opcode::Ping, mask, ping);
            }
        }
        out
    })
}

fn any_stream(masked: bool) -> impl Strategy<Value = Vec<u8>> {
    let frames = prop_oneof![3 => any_message(masked), 1 => any_frame(masked)];
    prop::collection::vec(frames, 0..8).prop_map(|frames| frames.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn any_stream_to_a_server_decodes_as_the_reference_does_however_it_is_cut(
        stream in any_stream(true),
        cuts in prop::collection::vec(0usize..600, 0..12),
        message_bytes_max in prop_oneof![Just(1000u64), Just(20)],
    ) {
        let rules = Rules { message_bytes_max, ..SERVER };
        prop_assert_eq!(decoded(&rules, &stream, &cuts), reference(&rules, &stream));
    }

    #[test]
    fn any_stream_to_a_client_decodes_as_the_reference_does_however_it_is_cut(
        stream in any_stream(false),
        cuts in prop::collection::vec(0usize..600, 0..12),
    ) {
        prop_assert_eq!(decoded(&CLIENT, &stream, &cuts), reference(&CLIENT, &stream));
    }

    #[test]
    fn any_bytes_at_all_decode_as_the_reference_does(
        stream in prop::collection::vec(any::<u8>(), 0..60),
        cuts in prop::collection::vec(0usize..60, 0..6),
    ) {
        prop_assert_eq!(decoded(&SERVER, &stream, &cuts), reference(&SERVER, &stream));
    }
}
