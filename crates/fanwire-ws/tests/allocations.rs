//! Proof by counting: what lies whole in the input allocates nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use fanwire_ws::{
    Budget, Decoder, Event, HEADER_BYTES_MAX, Header, Opcode, Parsed, Role, Rules, Utf8, encode_close,
    encode_frame,
};

/// The system's allocator, counting per thread so that tests beside this one do not disturb it.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // After a thread's locals are gone nothing is measured on it any more.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes unchanged to `System`, which upholds the contract; counting allocates nothing, because the
// thread-local is initialised at compile time and has no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller upholds the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller upholds the contract of `dealloc`; `pointer` came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller upholds the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        // SAFETY: the caller upholds the contract of `realloc`; `pointer` came from `System`.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations<R>(run: impl FnOnce() -> R) -> (u64, R) {
    let before = ALLOCATIONS.get();
    let result = run();
    (ALLOCATIONS.get() - before, result)
}

const MASK: Option<[u8; 4]> = Some([0x37, 0xFA, 0x21, 0x3D]);
const RULES: Rules = Rules { role: Role::Server, message_bytes_max: 1 << 20 };

/// Decodes `input` to its end; returns how many events it held.
fn decode_all(decoder: &mut Decoder, budget: &mut Budget, input: &mut [u8]) -> usize {
    let mut at = 0;
    let mut events = 0;
    loop {
        let (consumed, event) = decoder.decode(&RULES, budget, &mut input[at..]);
        at += consumed;
        match event {
            Ok(Event::Partial) => return events,
            Ok(_) => events += 1,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| Vec::<u8>::with_capacity(10)).0, 1);
}

#[test]
fn whole_messages_and_control_frames_allocate_nothing() {
    let mut input = Vec::new();
    let payload = vec![b'x'; 70_000];
    for bytes in [0, 5, 125, 126, 65_535, 65_536, 70_000] {
        encode_frame(&mut input, true, Opcode::Text, MASK, &payload[..bytes]);
        encode_frame(&mut input, true, Opcode::Ping, MASK, &payload[..bytes.min(125)]);
        encode_frame(&mut input, true, Opcode::Binary, MASK, &payload[..bytes]);
        encode_frame(&mut input, true, Opcode::Pong, MASK, &payload[..bytes.min(125)]);
    }
    encode_close(&mut input, MASK, fanwire_ws::CloseCode::NORMAL, "done");
    let mut budget = Budget::new(0);
    let (count, events) = allocations(|| {
        let mut decoder = Decoder::new();
        decode_all(&mut decoder, &mut budget, &mut input)
    });
    assert_eq!((count, events), (0, 29));
}

#[test]
fn headers_cut_anywhere_allocate_nothing() {
    let mut input = Vec::new();
    let payload = vec![b'x'; 70_000];
    encode_frame(&mut input, true, Opcode::Binary, MASK, &payload);
    for cut in 0..=HEADER_BYTES_MAX {
        let mut input = input.clone();
        let mut budget = Budget::new(0);
        let (count, events) = allocations(|| {
            let mut decoder = Decoder::new();
            let (front, back) = input.split_at_mut(cut);
            decode_all(&mut decoder, &mut budget, front) + decode_all(&mut decoder, &mut budget, back)
        });
        assert_eq!((count, events), (0, 1), "cut at {cut}");
    }
}

#[test]
fn messages_in_pieces_allocate_only_as_they_double_and_keep_nothing() {
    let mut input = Vec::new();
    encode_frame(&mut input, true, Opcode::Binary, MASK, &vec![b'x'; 64 << 10]);
    let mut budget = Budget::new(1 << 20);
    let mut decoder = Decoder::new();
    let (count, events) = allocations(|| {
        input.chunks_mut(1 << 10).map(|piece| decode_all(&mut decoder, &mut budget, piece)).sum::<usize>()
    });
    assert_eq!(events, 1);
    assert!((1..=8).contains(&count), "{count} allocations for 64 pieces");
    assert_eq!((decoder.assembled_bytes(), budget.used()), (0, 0));
}

#[test]
fn headers_and_text_are_read_and_written_without_allocation() {
    let header = Header { fin: true, opcode: Opcode::Text, mask: MASK, payload_bytes: 1 << 20 };
    let mut out = [0; HEADER_BYTES_MAX];
    let (count, parsed) = allocations(|| {
        let bytes = header.encode(&mut out);
        Header::parse(&out[..bytes])
    });
    assert_eq!((count, parsed), (0, Ok(Parsed::Header(header, HEADER_BYTES_MAX))));
    let (count, checked) = allocations(|| Utf8::new().push("gr\u{fc}n".as_bytes()));
    assert_eq!((count, checked), (0, Ok(())));
}
