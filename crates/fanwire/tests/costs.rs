//! What a publish costs, by counting: allocations of the shard's thread, and sends.
#![cfg(test)]

#[path = "common/mod.rs"]
mod common;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::{Arc, Mutex},
};

use common::{Client, Setup, World};
use fanwire::{Auth, Handler, Message, Options, Request, Session, sim::Faults};

/// The system's allocator, counting per thread: a shard's count is its own.
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

/// `burst N` publishes N messages; `mark` notes the count of the shard's thread.
#[derive(Clone)]
struct Costs {
    marks: Arc<Mutex<Vec<u64>>>,
}

impl Handler for Costs {
    type Value = ();

    fn on_auth(&mut self, _request: &Request<'_>) -> Auth<()> {
        Auth::accept(())
    }

    fn on_open(&mut self, session: &mut Session<'_, ()>) {
        session.subscribe("costs").expect("one topic is allowed");
    }

    fn on_message(&mut self, session: &mut Session<'_, ()>, message: Message<'_>) {
        match message.topic() {
            "burst" => {
                let count: u32 = message.text().and_then(|text| text.parse().ok()).expect("a number");
                for _ in 0..count {
                    session.publish("costs", PAYLOAD).expect("there is room");
                }
            }
            _ => self.marks.lock().unwrap().push(ALLOCATIONS.get()),
        }
    }
}

struct Rig {
    world: World<Costs>,
    marks: Arc<Mutex<Vec<u64>>>,
    clients: Vec<Client>,
}

impl Rig {
    fn new(setup: Setup, options: Options) -> Self {
        let marks = Arc::new(Mutex::new(Vec::with_capacity(16)));
        let costs = Costs { marks: marks.clone() };
        let world = World::start_with(setup, options, Faults::default(), |_| costs.clone());
        let clients = (0..CLIENTS).map(|_| world.connect("/ws")).collect();
        let mut rig = Self { world, marks, clients };
        // What grows once and is kept grows here.
        for count in [256, 256, 16, 1] {
            rig.burst(count);
        }
        rig
    }

    /// Publishes and waits until everybody has everything, and the shard has booked it.
    fn burst(&mut self, count: u32) {
        let sent = self.world.stats().total.frames_sent + u64::from(count) * self.clients.len() as u64;
        self.clients[0].say("burst", &count.to_string());
        for client in &mut self.clients {
            (0..count).for_each(|_| client.expect("costs", PAYLOAD));
        }
        self.world.until_stats("every frame is booked", |stats| stats.total.frames_sent >= sent);
    }

    fn mark(&mut self) -> u64 {
        let before = self.marks.lock().unwrap().len();
        self.clients[0].say("mark", "0");
        let marks = self.marks.clone();
        self.world.until("the mark is made", || marks.lock().unwrap().len() > before);
        self.marks.lock().unwrap()[before]
    }
}

fn a_publish_allocates_once_and_nothing_per_subscriber_or_send(setup: Setup) {
    allocates_once_per_publish(Rig::new(setup, Options::default()));
}

/// The same if sockets share pages: of each frame, and of each batch.
fn shared_pages_allocate_nothing(setup: Setup) {
    for page_share_bytes_min in [1, 1_000] {
        let rig = Rig::new(setup, Options::default().page_share_bytes_min(page_share_bytes_min));
        assert!(rig.world.stats().total.sends_shared > 0);
        allocates_once_per_publish(rig);
    }
}

fn allocates_once_per_publish(mut rig: Rig) {
    for count in [1, 16, 256] {
        let before = rig.mark();
        rig.burst(count);
        assert_eq!(rig.mark() - before, u64::from(count), "a burst of {count} to {CLIENTS} subscribers");
    }
}

fn a_burst_of_256_leaves_in_two_sends_per_session_at_most(setup: Setup) {
    let mut rig = Rig::new(setup, Options::default());
    let before = rig.world.stats().total.sends;
    rig.burst(256);
    let sends = rig.world.stats().total.sends - before;
    assert!(sends <= 2 * CLIENTS as u64, "{sends} sends to {CLIENTS} sessions");
}

mod allocations {
    crate::in_worlds!(a_publish_allocates_once_and_nothing_per_subscriber_or_send: uring Uring 1, epoll Epoll 1);
}

mod shared_allocations {
    crate::in_worlds!(shared_pages_allocate_nothing: uring Uring 1, epoll Epoll 1);
}

mod sends {
    crate::in_worlds!(a_burst_of_256_leaves_in_two_sends_per_session_at_most: uring Uring 1, epoll Epoll 1);
}

const CLIENTS: usize = 40;

const PAYLOAD: &str = "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"";
