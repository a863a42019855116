//! The io_uring driver: `Ring` here is the one place that hands memory to the kernel; `driver` is the state
//! of sockets on top of it, `probe` says whether this machine can run it. Both are free of unsafe code.
//!
//! In      requests, each under a `Token`
//! Out     `Completion`s, in the kernel's order; the results of a batch of sends inside the call
//! Bounds  `SUBMISSIONS` entries before the kernel is entered, `COMPLETIONS` before it queues by itself
//! Source  io_uring(7), io_uring_setup(2), io_uring_enter(2), io_uring_register_buf_ring(3)
//!
//! Why the kernel never touches memory that is not ours any more: with `SINGLE_ISSUER | DEFER_TASKRUN` a
//! request runs only inside `io_uring_enter` of this thread (sockets never need a kernel worker). So
//! nothing is read or written between two enters, and nothing after the last one: closing the ring marks
//! its context as dying, and the work that is left is only cancelled. `Ring` owns all memory that a request
//! may name past the call that made it (addresses of accepts, receive buffers) and drops the ring first.

mod accepts;
mod driver;
mod probe;
mod token;

use std::{
    alloc::{self, Layout},
    cell::{RefCell, UnsafeCell},
    collections::{HashMap, VecDeque},
    io::{self, IoSlice},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    ops::{Deref, DerefMut},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd},
    ptr::{self, NonNull},
    rc::Rc,
    sync::atomic::{AtomicU16, Ordering},
    thread,
};

use io_uring::{
    EnterFlags, IoUring, cqueue, opcode, squeue,
    types::{BufRingEntry, CancelBuilder, Fd, SubmitArgs, Timespec},
};
use rustix::{event::PollFlags, io::Errno, net::SocketFlags};

use self::token::{CANCEL_BIT, Token};
pub(crate) use self::{
    driver::UringDriver,
    probe::{Unavailable, probe},
};
use super::{
    Key, PARTS_PER_SEND_MAX, SENDS_PER_BATCH_MAX, Send,
    socket::{NANOSECONDS_PER_SECOND, NO_ADDRESS},
};

/// A ring and all memory that its requests refer to.
struct Ring {
    /// INVARIANT: dropped before the memory below.
    ring: IoUring,
    provided: ProvidedBuffers,
    /// Where each ACCEPT has its peer's address written.
    addresses: Box<[AcceptAddress]>,
    /// One header per send of a batch; in use only inside `send_batch`.
    headers: Box<[MessageHeader]>,
    /// Completions found while waiting for those of a batch.
    pending: VecDeque<cqueue::Entry>,
    /// Descriptors whose CLOSE has not been confirmed.
    closing: HashMap<u64, RawFd>,
    /// An enter failed for a reason that leaves entries in the submission queue whose memory may be gone.
    poisoned: bool,
    system_calls: u64,
    completions_overflowed: u64,
}

impl Ring {
    fn new(size: &RingSize) -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_cqsize(size.completions)
            .setup_clamp()
            // Without SUBMIT_ALL one refused entry would end the batch and leave the rest queued.
            .setup_submit_all()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .build(size.submissions)?;
        let provided = ProvidedBuffers::new(size.buffers, size.buffer_bytes);
        let ring_address = provided.entries.as_ptr() as u64;
        // SAFETY:
        // - lifetime: `provided` lives in the same `Ring`, which drops the io_uring first;
        // - bounds:   it has `size.buffers` entries, in an allocation aligned to a page.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(ring_address, size.buffers, BUFFER_GROUP, 0)
        }?;
        let mut this = Self {
            ring,
            provided,
            addresses: (0..size.accepts).map(|_| AcceptAddress::default()).collect(),
            headers: (0..SENDS_PER_BATCH_MAX).map(|_| MessageHeader::of(&[])).collect(),
            pending: VecDeque::new(),
            closing: HashMap::new(),
            poisoned: false,
            system_calls: 0,
            completions_overflowed: 0,
        };
        this.provided.publish_all();
        Ok(this)
    }

    /// Arms a receive that completes again and again, each time with one buffer, until `more` is false.
    fn receive(&mut self, key: Key, socket: BorrowedFd<'_>) {
        let entry = opcode::RecvMulti::new(fd(socket), BUFFER_GROUP).build();
        // SAFETY: it names no memory of ours; the buffers that it selects are in `self.provided`.
        unsafe { self.push(entry.user_data(Token::Receive(key).into())) };
    }

    /// Arms one completion for when the socket takes bytes, or has failed.
    fn wait_writable(&mut self, key: Key, socket: BorrowedFd<'_>) {
        let entry = opcode::PollAdd::new(fd(socket), u32::from(PollFlags::OUT.bits())).build();
        // SAFETY: it names no memory.
        unsafe { self.push(entry.user_data(Token::Writable(key).into())) };
    }

    /// Arms a completion for each wake.
    fn watch_wake(&mut self, event: BorrowedFd<'_>) {
        let entry = opcode::PollAdd::new(fd(event), u32::from(PollFlags::IN.bits())).multi(true).build();
        // SAFETY: it names no memory.
        unsafe { self.push(entry.user_data(Token::Wake.into())) };
    }

    /// Arms one accept; `index` names the place for its peer's address.
    fn accept(&mut self, index: u16, listener: BorrowedFd<'_>) {
        let address = &self.addresses[usize::from(index)];
        // SAFETY: the kernel writes here only inside an enter, and no reference to it is ever made.
        unsafe { address.length.get().write(SOCKET_ADDRESS_BYTES) };
        let flags = (SocketFlags::CLOEXEC | SocketFlags::NONBLOCK).bits();
        let (bytes, length) = (address.bytes.get().cast(), address.length.get());
        let entry = opcode::Accept::new(fd(listener), bytes, length).flags(flags.cast_signed()).build();
        // SAFETY: `bytes` and `length` lie in `self.addresses`, which outlives the ring and is never moved.
        unsafe { self.push(entry.user_data(Token::Accept(index).into())) };
    }

    /// Ends an armed request; its last completion still comes. One that has ended already is left alone.
    fn cancel(&mut self, token: Token) {
        let target = u64::from(token);
        let entry = opcode::AsyncCancel::new(target).build().flags(squeue::Flags::SKIP_SUCCESS);
        // SAFETY: it names no memory.
        unsafe { self.push(entry.user_data(target | CANCEL_BIT)) };
    }

    /// Closes a descriptor after what has been pushed before.
    fn close(&mut self, key: Key, socket: OwnedFd) {
        let token = u64::from(Token::Close(key));
        let socket = socket.into_raw_fd();
        self.closing.insert(token, socket);
        let entry = opcode::Close::new(Fd(socket)).build();
        // SAFETY: it names no memory.
        unsafe { self.push(entry.user_data(token)) };
    }

    /// Puts a request in the submission queue.
    ///
    /// # Safety
    /// Memory that `entry` points to is valid until its last completion, and no reference is made to what
    /// the kernel may write.
    unsafe fn push(&mut self, entry: squeue::Entry) {
        loop {
            // SAFETY: the caller vouches for the memory that the entry names.
            let pushed = unsafe { self.ring.submission().push(&entry) };
            if pushed.is_ok() {
                return;
            }
            self.submit();
        }
    }

    /// Hands everything in the submission queue to the kernel.
    fn submit(&mut self) {
        while self.submissions() > 0 {
            self.enter(0, EnterFlags::empty(), None);
        }
    }

    /// Requests that the kernel has not seen yet.
    fn submissions(&mut self) -> usize {
        self.ring.submission().len()
    }

    /// Submits, waits up to `wait` nanoseconds for a completion, and has the kernel run what is ready.
    ///
    /// One enter runs at most max(20, min_complete) pieces of deferred work, so a busy ring is entered
    /// again. A large min_complete with a time-out of zero would run more at once, but while fewer are
    /// there it sleeps for the timer's slack: 43 us per poll, measured, against 0.5 us.
    fn wait(&mut self, wait: Option<u64>) {
        let mut known = self.ring.completion().len();
        match wait {
            Some(0) => self.enter(0, EnterFlags::GETEVENTS, None),
            wait => self.enter(1, EnterFlags::GETEVENTS, wait),
        }
        for _ in 1..BUSY_ENTERS {
            let count = self.ring.completion().len();
            if count.saturating_sub(known) < WORK_PER_ENTER {
                break;
            }
            known = count;
            self.enter(0, EnterFlags::GETEVENTS, None);
        }
        // The kernel was short of memory for all of it, or a signal came first.
        self.submit();
    }

    fn enter(&mut self, min_complete: u32, flags: EnterFlags, wait: Option<u64>) {
        assert!(!self.poisoned, "the ring has failed before");
        self.system_calls += 1;
        if self.ring.submission().cq_overflow() {
            self.completions_overflowed += 1;
        }
        let to_submit = u32::try_from(self.submissions()).expect("the queue has SUBMISSIONS entries");
        let time = wait.map(timespec);
        let arguments = match &time {
            Some(time) => SubmitArgs::new().timespec(time),
            None => SubmitArgs::new(),
        };
        let flags = flags | EnterFlags::EXT_ARG;
        // SAFETY:
        // - lifetime: `arguments` and `time` outlive the call; for requests see `push`;
        // - bounds:   EXT_ARG says that the argument is a `SubmitArgs`, and its length is passed with it.
        let outcome =
            unsafe { self.ring.submitter().enter(to_submit, min_complete, flags.bits(), Some(&arguments)) };
        match outcome.map_err(|error| Errno::from_io_error(&error)) {
            // ETIME: nothing came in time. EINTR: a signal ends a wait early, as a wake does.
            Ok(_) | Err(Some(Errno::TIME | Errno::INTR)) => {}
            // The kernel wants its queued completions collected first.
            Err(Some(Errno::BUSY)) => self.collect(),
            // No memory for requests at this moment.
            Err(Some(Errno::AGAIN)) => thread::yield_now(),
            Err(error) => {
                self.poisoned = true;
                panic!("io_uring_enter on our own ring cannot fail: {error:?}");
            }
        }
    }

    /// Moves completions out of the ring, which makes room for those that the kernel has queued itself.
    fn collect(&mut self) {
        self.pending.extend(self.ring.completion());
    }

    /// Whether `next_completion` would give one.
    fn has_completion(&mut self) -> bool {
        !self.pending.is_empty() || !self.ring.completion().is_empty()
    }

    fn next_completion(&mut self) -> Option<Completion> {
        loop {
            let entry = self.pending.pop_front().or_else(|| self.ring.completion().next())?;
            if let Some(completion) = self.completion_of(&entry) {
                return Some(completion);
            }
        }
    }

    fn completion_of(&mut self, entry: &cqueue::Entry) -> Option<Completion> {
        let outcome = outcome(entry);
        let more = cqueue::more(entry.flags());
        let buffer = cqueue::buffer_select(entry.flags());
        if entry.user_data() & CANCEL_BIT != 0 {
            let token = Token::try_from(entry.user_data() & !CANCEL_BIT).ok()?;
            // ENOENT: it had ended. EALREADY: it is about to. Anything else: it is still armed.
            let ended = matches!(outcome, Ok(_) | Err(Errno::NOENT | Errno::ALREADY));
            if !ended {
                self.cancel(token);
            }
            return None;
        }
        Some(match Token::try_from(entry.user_data()).ok()? {
            Token::Receive(key) => {
                let count = outcome.unwrap_or(0);
                // Made even if it is empty, so that the buffer goes back.
                let buffer = buffer.map(|id| self.provided.lend(id, count));
                let outcome = outcome.map(|count| buffer.filter(|_| count > 0));
                Completion::Receive { key, outcome, more }
            }
            Token::Writable(key) => Completion::Writable { key },
            Token::Accept(index) => {
                let outcome = outcome.and_then(|count| self.accepted(index, count));
                Completion::Accept { index, outcome }
            }
            Token::Close(key) => {
                let socket = self.closing.remove(&entry.user_data());
                if let (Some(socket), Err(Errno::NOMEM | Errno::AGAIN | Errno::CANCELED)) = (socket, outcome)
                {
                    // SAFETY: the request failed before it closed this descriptor, which we own.
                    drop(unsafe { OwnedFd::from_raw_fd(socket) });
                }
                Completion::Closed { key }
            }
            Token::Wake => Completion::Wake { more },
            Token::Send(_) => unreachable!("send_batch reaps its own completions"),
        })
    }

    fn accepted(&self, index: u16, descriptor: usize) -> Result<(OwnedFd, SocketAddr), Errno> {
        let descriptor = RawFd::try_from(descriptor).map_err(|_| Errno::BADF)?;
        // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
        let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
        // SAFETY: the ACCEPT has ended, so nothing writes here, and no reference to it is ever made.
        let bytes = unsafe { self.addresses[usize::from(index)].bytes.get().read() };
        // A connection that was reset before it was accepted may have no address any more.
        let peer = socket_address(&bytes).ok_or(Errno::CONNABORTED)?;
        Ok((socket, peer))
    }

    /// See `Driver::send_batch`. MSG_DONTWAIT makes every send end inside its enter: with all bytes, a short
    /// count (MSG_WAITALL makes the kernel go on as long as there is room), or EAGAIN.
    fn send_batch(
        &mut self,
        sends: &[Send],
        parts: &[IoSlice<'_>],
        results: &mut Vec<Result<usize, Errno>>,
        socket_of: impl Fn(Key) -> RawFd,
    ) {
        // All that can panic comes before the first push: from there on the kernel has our pointers.
        assert!(sends.len() <= self.headers.len() && !self.poisoned);
        let headers = self.headers.as_mut_ptr();
        results.clear();
        for (index, send) in sends.iter().enumerate() {
            let parts = &parts[send.parts.start as usize..send.parts.end as usize];
            assert!((1..=PARTS_PER_SEND_MAX).contains(&parts.len()));
            let descriptor = socket_of(send.key);
            let header = MessageHeader { descriptor, ..MessageHeader::of(parts) };
            // SAFETY: `index` is below `headers.len()`, asserted above.
            unsafe { headers.wrapping_add(index).write(header) };
            results.push(Err(Errno::AGAIN));
        }
        for index in 0..sends.len() {
            let entry = self.send_entry(headers.wrapping_add(index), index);
            // SAFETY: header, parts and bytes live until this call returns, which is after the last result.
            unsafe { self.push(entry) };
        }
        self.reap_sends(results);
    }

    fn send_entry(&self, header: *const MessageHeader, index: usize) -> squeue::Entry {
        // SAFETY: `send_batch` has written this header; the kernel only reads it.
        let MessageHeader { parts, part_count, descriptor, .. } = unsafe { header.read() };
        let entry = if part_count == 1 {
            // SAFETY: `parts` points to `part_count` slices that live as long as `send_batch` runs.
            let part = unsafe { &*parts };
            // A longer one gives a short count.
            let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
            opcode::Send::new(Fd(descriptor), part.as_ptr(), length).flags(SEND_FLAGS.cast_signed()).build()
        } else {
            opcode::SendMsg::new(Fd(descriptor), header.cast()).flags(SEND_FLAGS).build()
        };
        let index = u32::try_from(index).expect("a batch has at most SENDS_PER_BATCH_MAX sends");
        entry.user_data(Token::Send(index).into())
    }

    /// Submits, and returns when each send has its result: then the kernel refers to none of their memory.
    fn reap_sends(&mut self, results: &mut [Result<usize, Errno>]) {
        let mut missing = results.len();
        self.submit();
        loop {
            while let Some(entry) = self.ring.completion().next() {
                match Token::try_from(entry.user_data()) {
                    Ok(Token::Send(index)) => {
                        results[index as usize] = outcome(&entry);
                        missing -= 1;
                    }
                    _ => self.pending.push_back(entry),
                }
            }
            if missing == 0 {
                return;
            }
            // The completion ring was full: the kernel has the others, and gives them at GETEVENTS.
            self.enter(0, EnterFlags::GETEVENTS, None);
        }
    }

    fn memory_bytes(&self) -> u64 {
        let parameters = self.ring.params();
        let queues = parameters.sq_entries() as usize * (size_of::<squeue::Entry>() + size_of::<u32>())
            + parameters.cq_entries() as usize * size_of::<cqueue::Entry>();
        let own = size_of_val(&*self.addresses) + size_of_val(&*self.headers);
        (queues + own + self.provided.memory_bytes()) as u64
    }
}

impl Drop for Ring {
    /// Cancels what is armed and closes what was accepted for nobody. All other descriptors are the driver's.
    fn drop(&mut self) {
        if self.poisoned || thread::panicking() {
            return; // Closing the ring cancels too, only later.
        }
        self.submit(); // What is cancelled next must be there.
        // Nothing armed is an error too (ENOENT); the ring is closed in any case.
        let _ = self.ring.submitter().register_sync_cancel(None, CancelBuilder::any());
        self.wait(Some(0));
        while self.next_completion().is_some() {}
    }
}

/// How large a ring is.
struct RingSize {
    submissions: u32,
    completions: u32,
    accepts: u16,
    /// A power of two.
    buffers: u16,
    buffer_bytes: u32,
}

/// One completion, with what it brought.
enum Completion {
    /// `Ok(None)` is the end of the stream.
    Receive {
        key: Key,
        outcome: Result<Option<UringBuffer>, Errno>,
        more: bool,
    },
    Writable {
        key: Key,
    },
    Closed {
        key: Key,
    },
    Accept {
        index: u16,
        outcome: Result<(OwnedFd, SocketAddr), Errno>,
    },
    Wake {
        more: bool,
    },
}

/// The receive buffers, and the ring by which they are given to the kernel.
struct ProvidedBuffers {
    /// Shared with the kernel: an array of `count` entries; the tail lies in the first one.
    entries: NonNull<BufRingEntry>,
    layout: Layout,
    tail: u16,
    count: u16,
    /// Buffers that the kernel does not have.
    lent: u16,
    memory: Rc<BufferMemory>,
}

impl ProvidedBuffers {
    fn new(count: u16, buffer_bytes: u32) -> Self {
        assert!(count.is_power_of_two(), "io_uring asks for a power of two of buffers");
        let layout =
            Layout::array::<BufRingEntry>(count.into()).and_then(|layout| layout.align_to(PAGE_BYTES));
        let layout = layout.expect("65,535 entries of 16 bytes fit the address space");
        let memory = Rc::new(BufferMemory::new(count, buffer_bytes));
        Self { entries: allocate(layout).cast(), layout, tail: 0, count, lent: count, memory }
    }

    fn publish_all(&mut self) {
        self.memory.returned.borrow_mut().extend(0..self.count);
        self.publish();
    }

    /// Gives the kernel all buffers that have come back.
    fn publish(&mut self) {
        let mut returned = self.memory.returned.borrow_mut();
        if returned.is_empty() {
            return;
        }
        for id in returned.drain(..) {
            let place = usize::from(self.tail & (self.count - 1));
            // SAFETY:
            // - bounds:   `place` is below `count`;
            // - aliasing: the kernel reads entries only inside an enter, and we are outside; the reference
            //   ends with this turn of the loop.
            let entry = unsafe { &mut *self.entries.as_ptr().wrapping_add(place) };
            entry.set_addr(self.memory.start_of(id) as u64);
            entry.set_len(self.memory.buffer_bytes);
            entry.set_bid(id);
            self.tail = self.tail.wrapping_add(1);
            self.lent -= 1;
        }
        // SAFETY: `entries` points to the first entry, which is initialised (zeroed at least).
        let tail = unsafe { BufRingEntry::tail(self.entries.as_ptr()) };
        // SAFETY: the tail lies in our allocation, is aligned, and is written by nobody else.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    /// Takes over a buffer that a completion names.
    fn lend(&mut self, id: u16, length: usize) -> UringBuffer {
        assert!(id < self.count && length <= self.memory.buffer_bytes as usize);
        self.lent += 1;
        UringBuffer { memory: Rc::clone(&self.memory), id, length }
    }

    /// Buffers that the kernel has, less those in completions that were not fetched yet.
    fn free(&self) -> u16 {
        self.count - self.lent
    }

    fn memory_bytes(&self) -> usize {
        self.layout.size() + self.memory.layout.size()
    }
}

impl Drop for ProvidedBuffers {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout in `new`, and the ring that knew it has been closed.
        unsafe { alloc::dealloc(self.entries.as_ptr().cast(), self.layout) };
    }
}

/// The bytes of all receive buffers; lives as long as any buffer of it.
struct BufferMemory {
    start: NonNull<u8>,
    layout: Layout,
    buffer_bytes: u32,
    /// Buffers that nobody uses, on their way back to the kernel.
    returned: RefCell<Vec<u16>>,
}

impl BufferMemory {
    fn new(count: u16, buffer_bytes: u32) -> Self {
        let layout = Layout::from_size_align(usize::from(count) * buffer_bytes as usize, PAGE_BYTES)
            .expect("receive buffers fit the address space");
        let returned = RefCell::new(Vec::with_capacity(count.into()));
        Self { start: allocate(layout), layout, buffer_bytes, returned }
    }

    fn start_of(&self, id: u16) -> *mut u8 {
        self.start.as_ptr().wrapping_add(usize::from(id) * self.buffer_bytes as usize)
    }
}

impl Drop for BufferMemory {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout in `new`; no buffer is left, and the ring was closed before
        // `ProvidedBuffers` gave its own share of this memory up.
        unsafe { alloc::dealloc(self.start.as_ptr(), self.layout) };
    }
}

/// One receive buffer, as long as what was received. Dropping it gives it back.
pub(crate) struct UringBuffer {
    memory: Rc<BufferMemory>,
    id: u16,
    length: usize,
}

impl Deref for UringBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY:
        // - lifetime: `memory` is held by this buffer;
        // - aliasing: the kernel has given this id to one completion and gets it back when we are dropped;
        // - bounds:   `lend` asserts id and length; the bytes are initialised (zeroed at least).
        unsafe { std::slice::from_raw_parts(self.memory.start_of(self.id), self.length) }
    }
}

impl DerefMut for UringBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; and `&mut self` is the only way to these bytes.
        unsafe { std::slice::from_raw_parts_mut(self.memory.start_of(self.id), self.length) }
    }
}

impl Drop for UringBuffer {
    fn drop(&mut self) {
        self.memory.returned.borrow_mut().push(self.id);
    }
}

/// Room for a `sockaddr_in6`, the longest address of a TCP peer, and for its length.
#[derive(Default)]
struct AcceptAddress {
    bytes: UnsafeCell<[u32; SOCKET_ADDRESS_BYTES as usize / 4]>,
    length: UnsafeCell<u32>,
}

/// The kernel's `struct user_msghdr`, and the descriptor behind it.
#[repr(C)]
struct MessageHeader {
    name: *const u8,
    name_bytes: u32,
    /// `IoSlice` has the layout of `struct iovec`, as std guarantees.
    parts: *const IoSlice<'static>,
    part_count: usize,
    control: *const u8,
    control_bytes: usize,
    flags: u32,
    /// Not the kernel's: what the send goes to.
    descriptor: RawFd,
}

const _: () = assert!(
    cfg!(target_pointer_width = "64")
        && std::mem::offset_of!(MessageHeader, parts) == 16
        && std::mem::offset_of!(MessageHeader, flags) == 48
        && size_of::<MessageHeader>() == 56
);

impl MessageHeader {
    fn of(parts: &[IoSlice<'_>]) -> Self {
        Self {
            name: ptr::null(),
            name_bytes: 0,
            parts: parts.as_ptr().cast(),
            part_count: parts.len(),
            control: ptr::null(),
            control_bytes: 0,
            flags: 0,
            descriptor: -1,
        }
    }
}

fn fd(descriptor: BorrowedFd<'_>) -> Fd {
    Fd(descriptor.as_raw_fd())
}

/// The result of a completion: a count (or descriptor), or an error.
fn outcome(entry: &cqueue::Entry) -> Result<usize, Errno> {
    let result = entry.result();
    usize::try_from(result).map_err(|_| Errno::from_raw_os_error(result.wrapping_neg()))
}

/// Reads a `sockaddr_in` or `sockaddr_in6`: family in the machine's order, the rest in the network's.
fn socket_address(words: &[u32; SOCKET_ADDRESS_BYTES as usize / 4]) -> Option<SocketAddr> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let port = u16::from_be_bytes([bytes[2], bytes[3]]);
    let family = u16::from_ne_bytes([bytes[0], bytes[1]]);
    if family == rustix::net::AddressFamily::INET.as_raw() {
        let address: [u8; 4] = bytes[4..8].try_into().ok()?;
        return Some((Ipv4Addr::from(address), port).into());
    }
    if family == rustix::net::AddressFamily::INET6.as_raw() {
        let address: [u8; 16] = bytes[8..24].try_into().ok()?;
        return Some(SocketAddrV6::new(Ipv6Addr::from(address), port, words[1].to_be(), words[6]).into());
    }
    if family == rustix::net::AddressFamily::UNIX.as_raw() {
        return Some(NO_ADDRESS);
    }
    None
}

fn timespec(nanoseconds: u64) -> Timespec {
    let rest = u32::try_from(nanoseconds % NANOSECONDS_PER_SECOND).expect("a remainder below 10^9");
    Timespec::new().sec(nanoseconds / NANOSECONDS_PER_SECOND).nsec(rest)
}

/// Zeroed memory: reading it is sound before anything was received into it.
fn allocate(layout: Layout) -> NonNull<u8> {
    assert!(layout.size() > 0);
    // SAFETY: the layout is not empty.
    let memory = unsafe { alloc::alloc_zeroed(layout) };
    NonNull::new(memory).unwrap_or_else(|| alloc::handle_alloc_error(layout))
}

const BUFFER_GROUP: u16 = 0;
const PAGE_BYTES: usize = 4096;
const SOCKET_ADDRESS_BYTES: u32 = 28;

/// MSG_DONTWAIT | MSG_NOSIGNAL | MSG_WAITALL.
const SEND_FLAGS: u32 = 0x40 | 0x4000 | 0x100;

/// The kernel's IO_LOCAL_TW_DEFAULT_MAX.
const WORK_PER_ENTER: usize = 20;

/// Enters of one busy poll: 256 pieces of work, then the shard looks at them.
const BUSY_ENTERS: usize = 13;
