//! The outbox against lists of what each session was promised: random publishes, sockets that take what they like,
//! every policy. Equal chains mean equal content, and nobody gets a byte that was meant for another.

mod control;
mod fanout;
mod flush;
mod overflow;
mod pages;
mod sessions;

use std::{collections::BTreeSet, net::SocketAddr, os::fd::OwnedFd};

use fanwire_ws::{CloseCode, Header, Opcode, Parsed, encode_close};
use proptest::prelude::*;

use super::*;
use crate::{
    driver::{
        Driver, DriverCounts, DriverMemory, Event, PARTS_PER_SEND_MAX, PageRange, SENDS_PER_BATCH_MAX, Wake,
        page_bytes,
    },
    frame::{Frame, Payload},
    shard::{fanout::Receivers, frames::FRAME_OVERHEAD_BYTES, parking::Parking},
};

#[derive(Clone, Debug)]
enum Op {
    Publish {
        mask: u8,
        bytes: usize,
        except: Option<u32>,
    },
    /// Many publishes one after the other, which are queued as bundles: queues fill, and grow into blocks.
    Burst {
        mask: u8,
        count: u8,
    },
    Send {
        slot: u32,
        bytes: usize,
    },
    /// Bytes of a handshake: whatever the limits, but at a session's beginning only.
    Raw {
        slot: u32,
    },
    Ping {
        slot: u32,
    },
    Pong {
        slot: u32,
    },
    /// The close frame, after all that is queued.
    Close {
        slot: u32,
    },
    /// The socket is gone, and a new session has its slot.
    Replace {
        slot: u32,
    },
    Flush,
    FlushOne {
        slot: u32,
    },
    Socket {
        slot: u32,
        takes: Takes,
    },
    Writable {
        slot: u32,
    },
    Retry,
}

/// What a socket does with the next sends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Takes {
    All,
    /// So many bytes, then nothing until it is writable.
    Bytes(usize),
    NoMemory,
    Fails,
}

fn op() -> impl Strategy<Value = Op> {
    let slot = || 0..SLOTS;
    let takes = prop_oneof![
        2 => Just(Takes::All),
        4 => (0..200usize).prop_map(Takes::Bytes),
        1 => Just(Takes::NoMemory),
        1 => Just(Takes::Fails),
    ];
    // Everybody's mask is frequent, so that queues come to be in step.
    let mask = || prop_oneof![3 => Just(u8::MAX), 1 => any::<u8>()];
    let except = prop_oneof![3 => Just(None), 1 => slot().prop_map(Some)];
    prop_oneof![
        8 => (mask(), 4..130usize, except)
            .prop_map(|(mask, bytes, except)| Op::Publish { mask, bytes, except }),
        1 => (mask(), 1..90u8).prop_map(|(mask, count)| Op::Burst { mask, count }),
        2 => (slot(), 4..130usize).prop_map(|(slot, bytes)| Op::Send { slot, bytes }),
        1 => slot().prop_map(|slot| Op::Raw { slot }),
        1 => slot().prop_map(|slot| Op::Ping { slot }),
        1 => slot().prop_map(|slot| Op::Pong { slot }),
        1 => slot().prop_map(|slot| Op::Close { slot }),
        1 => slot().prop_map(|slot| Op::Replace { slot }),
        4 => Just(Op::Flush),
        1 => slot().prop_map(|slot| Op::FlushOne { slot }),
        5 => (slot(), takes).prop_map(|(slot, takes)| Op::Socket { slot, takes }),
        4 => slot().prop_map(|slot| Op::Writable { slot }),
        1 => Just(Op::Retry),
    ]
}

/// One use of a slot: what it was promised, and what has come.
#[derive(Default)]
struct Client {
    promised: Vec<u32>,
    stream: Vec<u8>,
    /// The end has begun; what is promised may be dropped without being counted.
    is_ending: bool,
}

struct World {
    outbox: Outbox,
    driver: Sockets,
    clients: Vec<Client>,
    next_id: u32,
    queue_size: u32,
    pages: u64,
}

impl World {
    fn new(overflow: Overflow, queue_size: u32) -> Self {
        Self::sharing(overflow, queue_size, 0, 0)
    }

    /// One whose sockets share pages from so many bytes on, with memory for so many pages beside the frames.
    fn sharing(overflow: Overflow, queue_size: u32, page_share_bytes_min: u32, pages: u64) -> Self {
        let options = Options::default()
            .page_share_bytes_min(page_share_bytes_min)
            .queue_size(queue_size)
            .queue_bytes(queue_size * QUEUE_BYTES_EACH)
            .frame_bytes_max(u64::from(queue_size * FRAME_BYTES_EACH) + pages * page_bytes())
            .overflow(overflow)
            .codec(crate::Raw);
        let seeds = [1, 2, 3, 4];
        let parkings = vec![Parking::new()];
        let shared = Shared::new(options.codec.clone(), options.limits(SLOTS), seeds, 1, parkings);
        let mut world = Self {
            outbox: Outbox::new(&options, Arc::new(shared), 0, seeds),
            driver: Sockets::default(),
            clients: Vec::new(),
            next_id: 0,
            queue_size,
            pages,
        };
        for slot in 0..SLOTS {
            world.clients.push(Client::default());
            world.add(slot, 1);
        }
        world
    }

    fn add(&mut self, slot: u32, generation: u32) {
        self.driver.sockets.insert(slot, Socket::default());
        self.clients[slot as usize] = Client::default();
        self.outbox.add(Key { slot, generation });
        self.outbox.open(slot);
    }

    fn replace(&mut self, slot: u32) {
        self.collect(slot);
        self.check_stream(slot);
        self.outbox.kill(slot);
        self.outbox.remove(slot);
        self.add(slot, self.outbox.generations[slot as usize] + 1);
    }

    fn frame(&mut self, bytes: usize) -> (u32, Frame) {
        let mut payload = vec![0; bytes];
        payload[..4].copy_from_slice(&self.next_id.to_be_bytes());
        self.next_id += 1;
        let frame = Frame::encode(&crate::Raw, "", &Payload::from(&payload[..]), &mut Vec::new()).unwrap();
        (self.next_id - 1, frame)
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Publish { mask, bytes, except } => self.publish(mask, bytes, except),
            Op::Burst { mask, count } => self.burst(mask, count.into(), 4, None),
            Op::Send { slot, bytes } => {
                let (id, frame) = self.frame(bytes);
                let is_open = self.outbox.is_open(slot);
                match self.outbox.send(&mut self.driver, slot, frame) {
                    // What was dropped was promised, and is counted.
                    Some(Delivery::Queued | Delivery::Dropped) => {
                        self.clients[slot as usize].promised.push(id);
                    }
                    Some(Delivery::Closed) => assert!(!is_open || !self.outbox.is_open(slot)),
                    None => {}
                }
            }
            Op::Raw { slot } => {
                let client = &self.clients[slot as usize];
                if client.promised.is_empty() && !client.is_ending {
                    let (id, frame) = self.frame(RAW_BYTES - FRAME_HEADER_BYTES);
                    self.outbox.send_raw(slot, frame.as_bytes());
                    self.clients[slot as usize].promised.push(id);
                }
            }
            Op::Ping { slot } if self.outbox.is_open(slot) => self.outbox.ping(slot),
            Op::Pong { slot } if self.outbox.is_open(slot) => drop(self.outbox.pong(slot, b"payload")),
            Op::Close { slot } if self.outbox.is_open(slot) => self.close(slot),
            Op::Replace { slot } => self.replace(slot),
            Op::Flush => self.outbox.flush(&mut self.driver),
            Op::FlushOne { slot } => self.outbox.try_flush(&mut self.driver, slot),
            Op::Socket { slot, takes } => self.set_takes(slot, takes),
            Op::Writable { slot } => self.writable(slot),
            Op::Retry => self.outbox.retry_starved(),
            Op::Ping { .. } | Op::Pong { .. } | Op::Close { .. } => {}
        }
        self.handle_events();
        self.outbox.free_pages(&mut self.driver);
        (0..SLOTS).for_each(|slot| self.collect(slot));
    }

    fn publish(&mut self, mask: u8, bytes: usize, except: Option<u32>) {
        self.burst(mask, 1, bytes, except);
    }

    /// So many publishes, as a shard queues them: together, but for those whose memory others must make room for.
    fn burst(&mut self, mask: u8, count: usize, bytes: usize, except: Option<u32>) {
        let mut waiting = Vec::new();
        for _ in 0..count {
            let (id, frame) = self.frame(bytes);
            if self.outbox.lacks_room(FrameTable::bytes_of(&frame)) {
                self.deliver(&std::mem::take(&mut waiting), mask, except);
            }
            if let Some(frame_id) = self.outbox.admit(&mut self.driver, frame) {
                waiting.push((id, frame_id));
            }
        }
        self.deliver(&waiting, mask, except);
    }

    fn deliver(&mut self, frames: &[(u32, FrameId)], mask: u8, except: Option<u32>) {
        // Making room may have ended some of them.
        let open: Vec<u32> = (0..SLOTS).filter(|&slot| mask >> slot & 1 == 1).collect();
        for &slot in &open {
            if self.outbox.is_open(slot) && Some(slot) != except {
                self.clients[slot as usize].promised.extend(frames.iter().map(|(id, _)| id));
            }
        }
        let to = Receivers { subscribers: &open, start: open.len() / 2, except };
        let frames: Vec<FrameId> = frames.iter().map(|(_, id)| *id).collect();
        let count = self.outbox.deliver_in_order(&mut self.driver, &frames, &to);
        assert!(count <= (frames.len() * open.len()) as u64);
    }

    /// A frame of 6 bytes to these slots; how many have it queued.
    fn fan_out(&mut self, slots: &[u32], except: Option<u32>) -> u64 {
        let (_, frame) = self.frame(4);
        let id = self.outbox.admit(&mut self.driver, frame).expect("there is room for it");
        self.outbox.deliver_to_all(&mut self.driver, id, &Receivers { subscribers: slots, start: 0, except })
    }

    fn set_takes(&mut self, slot: u32, takes: Takes) {
        self.driver.sockets.get_mut(&slot).unwrap().takes = takes;
    }

    fn flush(&mut self) {
        self.outbox.flush(&mut self.driver);
    }

    fn tries(&self, slot: u32) -> u32 {
        self.driver.sockets[&slot].tries
    }

    /// What has come out of the socket of `slot`.
    fn stream(&self, slot: u32) -> &[u8] {
        &self.driver.sockets[&slot].taken
    }

    fn events(&mut self) -> Vec<Outcome> {
        std::iter::from_fn(|| self.outbox.next_event()).collect()
    }

    fn close(&mut self, slot: u32) {
        self.outbox.stop_intake(slot);
        self.outbox.close(slot, close_frame());
        self.outbox.finish(slot);
        self.clients[slot as usize].is_ending = true;
    }

    fn writable(&mut self, slot: u32) {
        let socket = self.driver.sockets.get_mut(&slot).unwrap();
        if std::mem::take(&mut socket.is_wanted) {
            socket.is_refusing = false;
            if socket.takes == Takes::Bytes(0) {
                socket.takes = Takes::Bytes(100);
            }
            self.outbox.writable(slot);
        }
    }

    /// What a shard does about what sending found out.
    fn handle_events(&mut self) {
        while let Some(event) = self.outbox.next_event() {
            match event {
                Outcome::Overflowed(slot) => {
                    self.clients[slot as usize].is_ending = true;
                    if self.outbox.queues[slot as usize].flags & DEAD == 0 {
                        self.outbox.drop_unbegun(slot);
                        self.close(slot);
                    }
                }
                Outcome::Failed(slot) => {
                    self.clients[slot as usize].is_ending = true;
                    self.replace(slot);
                }
                Outcome::Drained(slot) => {
                    self.collect(slot);
                    let client = &self.clients[slot as usize];
                    assert!(client.stream.ends_with(&close_frame()), "the close frame comes last");
                    self.replace(slot);
                }
            }
        }
    }

    /// Takes over what the socket has taken.
    fn collect(&mut self, slot: u32) {
        let taken = &mut self.driver.sockets.get_mut(&slot).unwrap().taken;
        self.clients[slot as usize].stream.append(taken);
    }

    fn check(&mut self) {
        let queues = &self.outbox.queues;
        for (index, one) in queues.iter().enumerate() {
            assert_eq!(one.chain() == 0, one.is_empty());
            for other in &queues[..index] {
                if one.chain() == other.chain() && one.chain() != 0 {
                    assert_eq!(self.frames_in(one), self.frames_in(other), "one chain");
                    assert_eq!((one.cursor(), other.cursor()), (0, 0), "nothing of it has been sent");
                }
            }
        }
        self.check_lists();
        self.check_frames();
        (0..SLOTS).for_each(|slot| self.check_stream(slot));
    }

    fn check_lists(&self) {
        let with = |flag: u8| {
            let slots = 0..SLOTS;
            slots.filter(|&slot| self.outbox.queues[slot as usize].flags & flag != 0).collect::<BTreeSet<_>>()
        };
        assert_eq!(self.outbox.dirty.iter().copied().collect::<BTreeSet<_>>(), with(DIRTY));
        assert_eq!(self.outbox.dirty.len(), with(DIRTY).len(), "each once");
        assert_eq!(self.outbox.controls.keys().copied().collect::<BTreeSet<_>>(), with(CONTROL));
        assert_eq!(self.outbox.blocked.iter().copied().collect::<BTreeSet<_>>(), with(LISTED));
        assert_eq!(self.outbox.blocked.len(), with(LISTED).len(), "each once");
        assert_eq!(self.outbox.blocked_count, with(BLOCKED).len() as u64);
        for slot in 0..SLOTS {
            let queue = &self.outbox.queues[slot as usize];
            let has_work = !queue.is_empty() || queue.flags & (CONTROL | FINISH) != 0;
            assert!(!has_work || queue.flags & (DIRTY | BLOCKED) != 0, "nobody is forgotten");
            assert!(queue.len() <= self.queue_size);
            assert!(queue.bytes() <= u64::from(self.queue_size * QUEUE_BYTES_EACH));
        }
    }

    fn frames_in(&self, queue: &Queue) -> Vec<FrameId> {
        let frames = &self.outbox.frames;
        queue.iter(&self.outbox.pool).flat_map(|id| frames.frames_of(&id).to_vec()).collect()
    }

    /// A frame is live as long as a queue holds it, and no longer.
    fn check_frames(&self) {
        let queues = &self.outbox.queues;
        let ids = queues.iter().flat_map(|queue| queue.iter(&self.outbox.pool)).map(|id| id.0);
        let bundles: BTreeSet<u32> = ids.filter(|&id| self.outbox.frames.is_bundle(FrameId(id))).collect();
        let held: BTreeSet<u32> =
            queues.iter().flat_map(|queue| self.frames_in(queue)).map(|id| id.0).collect();
        let frames_of = |id: &u32| self.outbox.frames.frames_of(&FrameId(*id)).len();
        let bundle_bytes: u64 = bundles.iter().map(|id| FrameTable::bytes_of_bundle(frames_of(id))).sum();
        assert_eq!(self.outbox.frames.live_frames(), held.len());
        let cost = |&id: &u32| u64::from(self.outbox.frames.len(FrameId(id))) + FRAME_OVERHEAD_BYTES;
        let live: u64 = held.iter().map(cost).sum();
        assert_eq!(self.outbox.frames.live_bytes(), live + bundle_bytes);
        let page_bytes_live = self.outbox.frames.pages.live_bytes();
        let live = live + bundle_bytes + page_bytes_live;
        let raw_bytes = u64::from(SLOTS) * (RAW_BYTES as u64 + FRAME_OVERHEAD_BYTES);
        let limit = u64::from(self.queue_size * FRAME_BYTES_EACH) + self.pages * page_bytes();
        assert!(live <= limit + raw_bytes, "the shard's memory");
        let freed = self.outbox.frames.pages.live_bytes() - self.driver.page_bytes();
        assert_eq!(freed, 0, "what nobody sends from is given back");
    }

    /// Whole frames, in order, of what was promised to this client; what misses was dropped and counted, or waits.
    fn check_stream(&self, slot: u32) {
        let client = &self.clients[slot as usize];
        let mut received = ids(&client.stream);
        let queue = &self.outbox.queues[slot as usize];
        let waiting = self.frames_in(queue);
        received.extend(waiting.iter().map(|&id| id_of(self.outbox.frames.bytes(id))));
        let mut promised = client.promised.iter();
        for id in &received {
            assert!(
                promised.any(|promise| promise == id),
                "{id} was not promised to {slot}, or out of order"
            );
        }
        if !client.is_ending {
            let missing = client.promised.len() - received.len();
            assert_eq!(missing, self.outbox.dropped_count(slot) as usize, "what misses is counted");
        }
    }

    /// All sockets take everything, and everything leaves.
    fn finish(&mut self) {
        for slot in 0..SLOTS {
            self.set_takes(slot, Takes::All);
            self.writable(slot);
        }
        self.outbox.retry_starved();
        for _ in 0..TURNS_MAX {
            self.apply(&Op::Flush);
        }
        self.check();
        assert!(!self.outbox.has_dirty() && self.outbox.blocked_count == 0, "nothing is left");
        assert_eq!(self.outbox.frames.live_frames(), 0);
        assert_eq!(self.outbox.frames.pages.live_bytes(), 0);
        assert_eq!(self.outbox.pool.used_blocks(), 0);
    }
}

/// The ids of the data frames of a stream; a frame that has begun to arrive counts as not yet there.
fn ids(mut stream: &[u8]) -> Vec<u32> {
    let mut ids = Vec::new();
    while let Ok(Parsed::Header(header, header_bytes)) = Header::parse(stream) {
        let frame_bytes = header_bytes + usize::try_from(header.payload_bytes).unwrap();
        if stream.len() < frame_bytes {
            break;
        }
        if header.opcode == Opcode::Binary {
            ids.push(id_of(&stream[..frame_bytes]));
        } else {
            assert!(matches!(header.opcode, Opcode::Ping | Opcode::Pong | Opcode::Close));
        }
        stream = &stream[frame_bytes..];
    }
    ids
}

fn id_of(frame: &[u8]) -> u32 {
    let Ok(Parsed::Header(header, header_bytes)) = Header::parse(frame) else { panic!("a whole frame") };
    assert!(header.fin && header.opcode == Opcode::Binary);
    assert_eq!(frame.len(), header_bytes + usize::try_from(header.payload_bytes).unwrap());
    u32::from_be_bytes(frame[header_bytes..header_bytes + 4].try_into().unwrap())
}

fn close_frame() -> Vec<u8> {
    let mut frame = Vec::new();
    encode_close(&mut frame, None, CloseCode::NORMAL, "bye");
    frame
}

/// Sockets that take what they are told to, and remember it.
#[derive(Default)]
struct Sockets {
    sockets: HashMap<u32, Socket>,
    /// How many sends each batch had.
    batches: Vec<usize>,
    /// Who has met the overflow policy.
    policies: BTreeSet<u32>,
    /// Runs in pages, by offset.
    pages: HashMap<u64, Vec<u8>>,
    /// Where the pages end that were ever written.
    pages_end: u64,
    refuses: Refuses,
}

fn range_of(offset: u64, bytes: &[u8]) -> PageRange {
    PageRange { offset, bytes: u32::try_from(bytes.len()).unwrap() }
}

/// What of the pages does not work.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Refuses {
    #[default]
    Nothing,
    Writes,
    Sends,
}

impl Sockets {
    fn page_bytes(&self) -> u64 {
        let range = |(&offset, bytes): (&u64, &Vec<u8>)| range_of(offset, bytes);
        self.pages.iter().map(range).map(PageRange::page_bytes).sum()
    }
}

struct Socket {
    takes: Takes,
    taken: Vec<u8>,
    /// Times that it was asked to take something.
    tries: u32,
    is_wanted: bool,
    /// It did not take all of the last send, and has not become writable since.
    is_refusing: bool,
}

impl Default for Socket {
    fn default() -> Self {
        Self { takes: Takes::All, taken: Vec::new(), tries: 0, is_wanted: false, is_refusing: false }
    }
}

impl Socket {
    fn send(&mut self, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
        assert!((1..=PARTS_PER_SEND_MAX).contains(&parts.len()));
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        assert!(!bytes.is_empty(), "nothing is not sent");
        let result = self.take(&bytes);
        self.tries += 1;
        self.is_refusing = result != Ok(bytes.len());
        result
    }

    fn take(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        let room = match self.takes {
            Takes::All => bytes.len(),
            Takes::Bytes(room) => room.min(bytes.len()),
            Takes::NoMemory => return Err(Errno::NOBUFS),
            Takes::Fails => return Err(Errno::CONNRESET),
        };
        if let Takes::Bytes(left) = &mut self.takes {
            *left -= room;
        }
        self.taken.extend_from_slice(&bytes[..room]);
        if room == 0 { Err(Errno::AGAIN) } else { Ok(room) }
    }
}

impl Driver for Sockets {
    type Socket = ();
    type Buffer = Vec<u8>;

    fn send_batch(&mut self, sends: &[Send], parts: &[IoSlice<'_>], results: &mut Vec<Result<usize, Errno>>) {
        let slots: BTreeSet<u32> = sends.iter().map(|send| send.key.slot).collect();
        assert_eq!(slots.len(), sends.len(), "at most one send for a socket");
        assert!(sends.len() <= SENDS_PER_BATCH_MAX);
        self.batches.push(sends.len());
        results.clear();
        for send in sends {
            let parts = &parts[send.parts.start as usize..send.parts.end as usize];
            results.push(self.send_now(send.key, parts));
        }
    }

    fn send_now(&mut self, key: Key, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
        self.sockets.get_mut(&key.slot).unwrap().send(parts)
    }

    fn write_pages(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        if self.refuses == Refuses::Writes {
            return Err(Errno::NOSYS);
        }
        let range = range_of(offset, bytes);
        assert!(range.first_page() >= self.pages_end, "no page is written twice");
        self.pages_end = range.end();
        self.pages.insert(offset, bytes.to_vec());
        Ok(())
    }

    fn send_pages(&mut self, key: Key, range: PageRange) -> Result<usize, Errno> {
        if self.refuses == Refuses::Sends {
            return Err(Errno::INVAL);
        }
        let run = self
            .pages
            .iter()
            .find(|&(&offset, bytes)| (offset..offset + bytes.len() as u64).contains(&range.offset));
        let (offset, bytes) = run.expect("what is sent was written, and not given back");
        let start = usize::try_from(range.offset - offset).unwrap();
        let part = &bytes[start..start + range.bytes as usize];
        self.sockets.get_mut(&key.slot).unwrap().send(&[IoSlice::new(part)])
    }

    fn free_pages(&mut self, range: PageRange) {
        let bytes = self.pages.remove(&range.offset).expect("pages are given back once");
        assert_eq!(bytes.len(), range.bytes as usize, "whole");
    }

    fn check_refuses(&mut self, key: Key) {
        assert!(self.sockets[&key.slot].is_refusing, "a policy is only for who cannot be sent to");
        self.policies.insert(key.slot);
    }

    fn want_writable(&mut self, key: Key) {
        self.sockets.get_mut(&key.slot).unwrap().is_wanted = true;
    }

    fn now(&self) -> u64 {
        0
    }

    fn fill_random(&mut self, _out: &mut [u8]) {
        unreachable!("{NOT_ASKED}")
    }

    fn waker(&self) -> Arc<dyn Wake> {
        unreachable!("{NOT_ASKED}")
    }

    fn describe(&self) -> String {
        unreachable!("{NOT_ASKED}")
    }

    fn accept(&mut self, _room: usize) {
        unreachable!("{NOT_ASKED}")
    }

    fn stop_accepting(&mut self) {
        unreachable!("{NOT_ASKED}")
    }

    fn adopt(&mut self, _descriptor: OwnedFd) -> Result<((), SocketAddr), Errno> {
        unreachable!("{NOT_ASKED}")
    }

    fn register(&mut self, _key: Key, _socket: ()) {
        unreachable!("{NOT_ASKED}")
    }

    fn pause(&mut self, _key: Key) {
        unreachable!("{NOT_ASKED}")
    }

    fn resume(&mut self, _key: Key) {
        unreachable!("{NOT_ASKED}")
    }

    fn shutdown_write(&mut self, _key: Key) {
        unreachable!("{NOT_ASKED}")
    }

    fn close(&mut self, _key: Key) {
        unreachable!("{NOT_ASKED}")
    }

    fn take(&mut self, _key: Key) {
        unreachable!("{NOT_ASKED}")
    }

    fn poll(&mut self, _wait: Option<u64>) {
        unreachable!("{NOT_ASKED}")
    }

    fn next_event(&mut self) -> Option<Event<Self>> {
        unreachable!("{NOT_ASKED}")
    }

    fn recycle(&mut self, _buffer: Vec<u8>) {
        unreachable!("{NOT_ASKED}")
    }

    fn memory(&self) -> DriverMemory {
        unreachable!("{NOT_ASKED}")
    }

    fn take_counts(&mut self) -> DriverCounts {
        unreachable!("{NOT_ASKED}")
    }
}

proptest! {
    #[test]
    fn each_client_gets_what_it_was_promised_and_one_chain_means_one_content(
        queue_size in prop_oneof![Just(8u32), Just(100u32)],
        overflow in prop_oneof![Just(Overflow::Close), Just(Overflow::DropNewest), Just(Overflow::DropOldest)],
        (page_share_bytes_min, pages) in
            prop_oneof![Just((0, 0)), Just((1, 0)), Just((1, 3)), Just((20, 99))],
        refuses in
            prop_oneof![3 => Just(Refuses::Nothing), 1 => Just(Refuses::Writes), 1 => Just(Refuses::Sends)],
        ops in prop::collection::vec(op(), 1..150),
    ) {
        let mut world = World::sharing(overflow, queue_size, page_share_bytes_min, pages);
        world.driver.refuses = refuses;
        for op in &ops {
            world.apply(op);
            world.check();
        }
        world.finish();
    }
}

/// RFC 6455 s5.4: control frames go between the frames of others, not only after the last.
#[test]
fn a_ping_goes_out_at_the_next_frame_boundary() {
    let mut world = World::new(Overflow::Close, 8);
    world.apply(&Op::Socket { slot: 0, takes: Takes::Bytes(5) });
    world.apply(&Op::Burst { mask: 1, count: 3 });
    world.apply(&Op::Flush);
    world.apply(&Op::Ping { slot: 0 });
    world.apply(&Op::Socket { slot: 0, takes: Takes::All });
    world.writable(0);
    world.apply(&Op::Flush);
    let frames = [Opcode::Binary, Opcode::Ping, Opcode::Binary, Opcode::Binary];
    assert_eq!(opcodes(&world.clients[0].stream), frames);
}

fn opcodes(mut stream: &[u8]) -> Vec<Opcode> {
    let mut opcodes = Vec::new();
    while let Ok(Parsed::Header(header, header_bytes)) = Header::parse(stream) {
        opcodes.push(header.opcode);
        stream = &stream[header_bytes + usize::try_from(header.payload_bytes).unwrap()..];
    }
    opcodes
}

const SLOTS: u32 = 6;
const QUEUE_BYTES_EACH: u32 = 50;
const FRAME_BYTES_EACH: u32 = 206;
/// What `fan_out` sends, and its memory.
const FRAME_BYTES: usize = 6;
const FRAME_COST: u64 = FRAME_BYTES as u64 + FRAME_OVERHEAD_BYTES;
const RAW_BYTES: usize = 22;
const FRAME_HEADER_BYTES: usize = 2;
/// One for each frame of the longest queue, if each is sent by itself.
const TURNS_MAX: u32 = 120;
const NOT_ASKED: &str = "an outbox only sends";
