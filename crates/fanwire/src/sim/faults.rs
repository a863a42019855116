//! Faults: what goes wrong by chance.
//!
//! In      rates, chosen by whoever runs the simulation
//! Out     nothing by itself: network and driver ask it
//! Bounds  every rate is in so many of a thousand cases, and means never at 0

/// What goes wrong by chance, each in so many of a thousand cases. Start with [`Faults::none`] and set what is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Faults {
    /// A send takes less than there is room for.
    pub send_short_per_mille: u32,
    /// A send takes nothing, although there is room.
    pub send_refused_per_mille: u32,
    /// The kernel has no memory for a send (ENOBUFS).
    pub send_starved_per_mille: u32,
    /// There is no memory for pages that sockets would share, or the kernel refuses to send from them.
    pub share_refused_per_mille: u32,
    /// A receive gives at most 64 bytes, often one.
    pub receive_short_per_mille: u32,
    /// The network resets the connection at a send or a receive.
    pub reset_per_mille: u32,
    /// An accept fails because a table is full.
    pub accept_failed_per_mille: u32,
    /// What is sent, or comes to an end, arrives later: at most by `delay_ns_max`.
    pub delayed_per_mille: u32,
    /// See `delayed_per_mille`.
    pub delay_ns_max: u64,
    /// Something that is ready is reported only by a later poll. At most 900 count.
    pub event_late_per_mille: u32,
    /// The last completion of a socket that was closed or taken comes late; otherwise it comes at once, and the slot
    /// is used again right after the close.
    pub closed_late_per_mille: u32,
    /// See `closed_late_per_mille`.
    pub closed_delay_ns_max: u64,
    /// A completion is posted when it is found and not when it is fetched, so that it still comes after a pause or
    /// a close. At most 900 count.
    pub received_after_pause_per_mille: u32,
    /// A socket is reported writable that is not.
    pub writable_spurious_per_mille: u32,
    /// A shard that sleeps wakes up for nothing. At most 500 count.
    pub wake_spurious_per_mille: u32,
}

impl Faults {
    /// Nothing goes wrong: for tests of many megabytes.
    pub const fn none() -> Self {
        Self {
            send_short_per_mille: 0,
            send_refused_per_mille: 0,
            send_starved_per_mille: 0,
            share_refused_per_mille: 0,
            receive_short_per_mille: 0,
            reset_per_mille: 0,
            accept_failed_per_mille: 0,
            delayed_per_mille: 0,
            delay_ns_max: 0,
            event_late_per_mille: 0,
            closed_late_per_mille: 0,
            closed_delay_ns_max: 0,
            received_after_pause_per_mille: 0,
            writable_spurious_per_mille: 0,
            wake_spurious_per_mille: 0,
        }
    }
}

impl Default for Faults {
    /// What any healthy TCP connection may show at any time, but more often.
    fn default() -> Self {
        Self {
            send_short_per_mille: 100,
            send_refused_per_mille: 50,
            share_refused_per_mille: 50,
            receive_short_per_mille: 200,
            delayed_per_mille: 200,
            delay_ns_max: 2_000_000,
            event_late_per_mille: 50,
            closed_late_per_mille: 500,
            closed_delay_ns_max: 1_000_000,
            received_after_pause_per_mille: 300,
            writable_spurious_per_mille: 50,
            wake_spurious_per_mille: 10,
            ..Self::none()
        }
    }
}
