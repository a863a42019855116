//! Receive buffers of the epoll driver.
//!
//! In      buffers that come back
//! Out     buffers to receive into
//! Bounds  `count_max` of them; each is made when it is first needed, because few are out at a time
//! Source  -

use std::ops::{Deref, DerefMut};

/// See the module.
pub(super) struct Buffers {
    /// Those that nobody holds.
    free: Vec<Box<[u8]>>,
    made: u16,
    count_max: u16,
    buffer_bytes: u32,
}

impl Buffers {
    pub(super) fn new(count_max: u16, buffer_bytes: u32) -> Self {
        Self { free: Vec::new(), made: 0, count_max, buffer_bytes }
    }

    /// A buffer, unless all are out.
    pub(super) fn take(&mut self) -> Option<Box<[u8]>> {
        if self.free.is_empty() && self.made < self.count_max {
            self.made += 1;
            return Some(vec![0; self.buffer_bytes as usize].into_boxed_slice());
        }
        self.free.pop()
    }

    pub(super) fn give_back(&mut self, bytes: Box<[u8]>) {
        self.free.push(bytes);
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        u64::from(self.count_max) * u64::from(self.buffer_bytes)
    }
}

/// One receive buffer, as long as what was received.
pub(crate) struct EpollBuffer {
    pub(super) bytes: Box<[u8]>,
    pub(super) count: usize,
}

impl Deref for EpollBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.count]
    }
}

impl DerefMut for EpollBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.count]
    }
}
