//! One slot of the epoll driver, and how the kernel names it to us.
//!
//! In      what the shard wants of a socket
//! Out     what epoll is to watch for; the 64 bits that come back with an event
//! Bounds  12 bytes a slot
//! Source  epoll_ctl(2)

use std::os::fd::OwnedFd;

use rustix::event::epoll::EventFlags;

use crate::driver::Key;

/// One slot. Dense, because an idle connection costs nothing else here.
#[derive(Default)]
pub(super) struct Entry {
    pub(super) socket: Option<OwnedFd>,
    pub(super) generation: u32,
    pub(super) paused: bool,
    /// Eof or Failed was reported; nothing more is read.
    pub(super) ended: bool,
    pub(super) writable_wanted: bool,
}

const _: () = assert!(size_of::<Entry>() <= 12);

impl Entry {
    pub(super) fn is(&self, key: Key) -> bool {
        self.socket.is_some() && self.generation == key.generation
    }

    pub(super) fn receives(&self) -> bool {
        !self.paused && !self.ended
    }

    pub(super) fn interest(&self) -> EventFlags {
        let mut interest = EventFlags::empty();
        interest.set(EventFlags::IN, self.receives());
        interest.set(EventFlags::OUT, self.writable_wanted);
        interest
    }
}

/// Connections: generation above slot. Listeners: their index (generation 0 is never live).
pub(super) fn token(key: Key) -> u64 {
    u64::from(key.generation) << 32 | u64::from(key.slot)
}

pub(super) fn key_of(token: u64) -> Option<Key> {
    let generation = u32::try_from(token >> 32).expect("a shifted u64 has 32 bits");
    let slot = u32::try_from(token & u64::from(u32::MAX)).expect("a masked u64 has 32 bits");
    (generation != 0).then_some(Key { slot, generation })
}

/// What the wake event is named: no key has this generation.
pub(super) const WAKE_TOKEN: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::GENERATION_MAX;

    #[test]
    fn keys_come_back_from_their_tokens() {
        for slot in [0, 1, u32::MAX] {
            for generation in [1, GENERATION_MAX] {
                let key = Key { slot, generation };
                assert_eq!(key_of(token(key)), Some(key));
                assert_ne!(token(key), WAKE_TOKEN);
            }
        }
    }

    #[test]
    fn indices_of_listeners_are_no_keys() {
        assert_eq!(key_of(0), None);
        assert_eq!(key_of(u64::from(u32::MAX)), None);
    }
}
